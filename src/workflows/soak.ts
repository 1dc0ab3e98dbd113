import { condition } from '@temporalio/workflow';
import { addPoints, withKayenta } from '../analysis/kayenta-course';
import { beginSoakClock, decideSoak, EARLY_MS, lastLookAhead, LOOKS_TIMED } from '../analysis/soak-course';
import type { Verdict } from '../analysis/verdict';
import type { WeightStep } from '../spec/plan-types';
import type { KayentaProgress, SoakProgress } from './api';
import { checkpoint, pauseFor } from './hold';
import { takeReading } from './measure';
import type { Reading } from './measure';
import { endStep, enter, record, skipStep } from './run';
import type { Run } from './run';
import { StepFailure } from './step-failure';

/** `again`: the step is to be begun anew (a pause took its soak away); `done`: it is over. */
export type StepEnd = 'done' | 'again';

export function beginSoak(run: Run, step: WeightStep): void {
  const now = Date.now();
  const { initialDelayMs, lagMs = 0, intervalMs, kayenta } = run.plan.analysis;
  const clock = beginSoakClock(now, { soak: step.soakMs, delay: initialDelayMs + lagMs, interval: intervalMs });
  run.state.soak = {
    startedAt: now,
    ...clock,
    judge: null,
    lost: 0,
    ...(kayenta === undefined ? {} : { kayenta: { lookedAt: null, points: [], answer: null } }),
  };
}

/**
 * Holds the weight while it is analysed: a loop of one durable timer and one short activity, so that it can be
 * interrupted at once and resumed anywhere. Ends by the clock, by a failing verdict (throws), or by a person.
 */
export async function soak(run: Run, step: WeightStep): Promise<StepEnd> {
  const { state } = run;
  for (;;) {
    await checkpoint(run);
    if (state.soak === null) return 'again';
    if (endedByPerson(run, step)) return 'done';
    enter(run, 'soaking');

    const { nextAt, endsAt } = state.soak;
    const { kayenta } = state.soak;
    const last = nextAt === endsAt;
    // The last value of Kayenta's judge is of as long a window as the others: it is not begun ahead of its time.
    const ahead = last && kayenta === undefined;
    const lead = ahead ? lastLookAhead(state.looksTook ?? [], run.plan.analysis.intervalMs) : 0;
    // Always a timer where the look's time has not come: a history replayed here may be of a worker that knew no lead.
    const wait = nextAt > Date.now() ? Math.max(nextAt - lead - Date.now(), 1) : 0;
    const begun = Date.now() + wait;
    if (wait > 0 && (await condition(() => interrupted(run), wait, { summary: `soak at ${step.weight} %` }))) continue;

    const asked =
      kayenta === undefined ? {} : { kayenta: { lookedAt: kayenta.lookedAt, points: last ? kayenta.points : null } };
    const reading = await takeReading(run, state.soak.judge, asked);
    if (wait > 0 && !reading.lost)
      state.looksTook = [...(state.looksTook ?? []), Date.now() - begun].slice(-LOOKS_TIMED);
    const early = nextAt - Date.now();
    if (early > EARLY_MS && reading.decision === 'continue') {
      await condition(() => interrupted(run), early, { summary: `soak at ${step.weight} %` });
    }
    const end = weigh(run, step, state.soak, reading);
    if (end !== null) return end;
  }
}

function interrupted(run: Run): boolean {
  const { paused, wishes } = run.state;
  return paused !== null || wishes.promote !== null || wishes.skipSoak !== null || wishes.weight !== null;
}

function endedByPerson(run: Run, step: WeightStep): boolean {
  const { wishes } = run.state;
  if (wishes.promote !== null) {
    skipStep(run, `Cut short by ${wishes.promote.actor.name}, who promotes.`, wishes.promote.actor);
    return true;
  }
  if (wishes.skipSoak !== null) {
    const { actor, reason } = wishes.skipSoak;
    wishes.skipSoak = null;
    const sentence = `The soak at ${step.weight} % was skipped by ${actor.name}${reason === null ? '' : `: ${reason}`}.`;
    record(run, 'soakSkipped', sentence, { actor, step: run.state.step });
    endStep(run, 'skipped', sentence);
    return true;
  }
  return false;
}

/** What follows from one reading; null when the soak goes on. */
function weigh(run: Run, step: WeightStep, soak: SoakProgress, looked: Reading): StepEnd | null {
  const { consecutiveErrorLimit, onNoData, intervalMs, routingCheck } = run.plan.analysis;
  const reading = soak.kayenta === undefined ? looked : askedKayenta(run, soak.kayenta, looked);
  soak.judge = reading.judge;
  soak.lost = reading.lost ? soak.lost + 1 : 0;

  // The last look is begun ahead of its time, and its answer may be there before it.
  const now = Math.max(Date.now(), soak.nextAt);
  const decision = decideSoak(
    soak,
    // However long another look took: at the end Kayenta's judge is asked first.
    soak.kayenta === undefined || soak.nextAt === soak.endsAt ? now : Math.min(now, soak.endsAt - 1),
    {
      ...reading,
      decision: soak.lost > consecutiveErrorLimit && reading.decision === 'continue' ? 'error' : reading.decision,
      held: reading.misrouted !== null && routingCheck === 'pause',
    },
    { interval: intervalMs, extension: onNoData.extendMs },
  );
  switch (decision.kind) {
    case 'failed':
      throw new StepFailure(reading.stepSentence, { evidence: reading.measurement });
    case 'undecided':
      return withoutVerdict(run, decision.verdict, reading);
    case 'held':
      pauseFor(run, 'misrouted', reading.misrouted ?? '', reading.measurement);
      return 'again';
    case 'passed': {
      const early = decision.early ? ' Proven good enough before the end of the soak.' : '';
      const sentence = `${reading.stepSentence}${early}`;
      endStep(run, 'passed', sentence, { verdict: 'pass', evidence: reading.measurement });
      record(run, 'stepPassed', `${step.name} passed: ${sentence}`, {
        step: run.state.step,
        evidence: reading.measurement,
      });
      return 'done';
    }
    case 'goesOn':
      Object.assign(soak, decision.clock);
      if (decision.extendedNow) {
        record(
          run,
          'soakExtended',
          `The soak at ${step.weight} % is extended by up to ${onNoData.extendMs / 1000} s, because the evidence does not suffice: ${reading.stepSentence}`,
          { step: run.state.step, evidence: reading.measurement },
        );
      }
      return null;
  }
}

/** Keeps the look's values for Kayenta's judge, and its answer where it was asked; what the step then comes to. */
function askedKayenta(run: Run, kayenta: KayentaProgress, looked: Reading): Reading {
  const { kayenta: policy, minRequests } = run.plan.analysis;
  const { at, metrics, kayenta: answer } = looked.measurement;
  if (policy !== undefined) kayenta.points = addPoints(policy, kayenta.points, metrics, minRequests);
  kayenta.lookedAt = at;
  kayenta.answer = answer ?? kayenta.answer;
  return { ...looked, ...withKayenta(looked, kayenta.answer) };
}

/** The evidence never sufficed: neither pass nor fail. The weight is held, and the spec says what then. */
function withoutVerdict(run: Run, verdict: Verdict, reading: Reading): StepEnd | null {
  // A person's word, given during this very look, ends the soak; the loop carries it out.
  if (run.state.wishes.skipSoak !== null) return null;
  const sentence = `No verdict could be reached (${verdict}): ${reading.stepSentence}`;
  if (run.plan.analysis.onNoData.then === 'rollback') {
    // The spec's own word for this case, so it stands before what it says about failures in general.
    throw new StepFailure(sentence, { evidence: reading.measurement, verdict, final: 'rolledBack' });
  }
  // Only where there was too little of it: a backend that is away is no quiet service.
  if (run.plan.analysis.onNoData.then === 'promote' && verdict === 'insufficient-data') {
    const goesOn = `${sentence} It goes on without, as onNoData.then says.`;
    endStep(run, 'skipped', goesOn, { verdict, evidence: reading.measurement });
    record(run, 'soakSkipped', goesOn, { step: run.state.step, evidence: reading.measurement });
    return 'done';
  }
  pauseFor(run, 'noData', sentence, reading.measurement);
  return 'again';
}
