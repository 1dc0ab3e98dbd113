import { ActivityFailure } from '@temporalio/common';
import { isCancellation, patched } from '@temporalio/workflow';
import { clocksApart } from '../analysis/clocks-apart';
import type { JudgeState, Judgement } from '../analysis/verdict';
import { measure } from './activity-proxies';
import { ACTIVITY_FAILURES } from './activity-types';
import type { KayentaQuestion, MeasureResult } from './activity-types';
import type { Fence, Measurement } from './api';
import { keepMeasurement, markStep, nextFence, record, targetRef } from './run';
import type { Run } from './run';
import { weightAskedFor } from './shift-weight';
import { causeOf, StepFailure, toStepFailure } from './step-failure';

/** What the workflow goes by after one look. */
export interface Reading {
  readonly measurement: Measurement;
  readonly decision: Judgement['decision'];
  readonly stepVerdict: Judgement['stepVerdict'];
  readonly stepSentence: string;
  /** The canary was proven good enough: the soak may end before its time. */
  readonly enough: boolean;
  /** The judge's memory after it; unchanged when the measurement was lost. */
  readonly judge: JudgeState | null;
  /** The weight is not delivered, found by this very look: why. */
  readonly misrouted: string | null;
  /** The measurement could not be made at all: a stuck activity, a worker that died again and again, a wrong clock. */
  readonly lost: boolean;
}

/** In what a look differs from one of a soak. */
export interface Look {
  /** Which track is judged; the canary unless told. */
  readonly subject?: 'canary' | 'stable';
  /** A place in the order of all writes that was kept for it; the next one unless told. */
  readonly fence?: Fence;
  /** Stable has nothing that the canary could be compared with. */
  readonly alone?: boolean;
  /** False: only looked at, and nothing put right. */
  readonly reassert?: boolean;
  /** Of a soak with Kayenta's judge. */
  readonly kayenta?: KayentaQuestion;
}

/**
 * One short activity: the weight re-asserted, every metric sampled, the judge asked. Throws `StepFailure` where no
 * verdict is needed any more (the target's own guard, another release's fence). A measurement that cannot be made is
 * a reading with verdict `error`: nobody's fault but the backend's, and never a pass.
 */
export async function takeReading(
  run: Run,
  judge: JudgeState | null,
  { subject = 'canary', fence = nextFence(run), alone = false, reassert = true, kayenta }: Look = {},
): Promise<Reading> {
  const { state, plan } = run;
  const at = Date.now();
  const known = state.evidence ?? null;
  // A look tries it, too: putting the higher weight back would be against a person's word.
  const asked = weightAskedFor(state);
  const unsettled = asked < state.weight;
  try {
    const result = await measure.executeWithOptions({ summary: `measure at ${asked} %` }, [
      {
        ...targetRef(run),
        fence,
        match: state.match,
        subject,
        stableVersion: alone ? null : state.stableVersion,
        weight: asked,
        at,
        since: state.weightSince,
        step: state.step,
        analysis: plan.analysis,
        judge,
        routing: { highest: state.routing.highest },
        evidence: known,
        ...(reassert ? {} : { reassert }),
        ...(unsettled ? { unsettled } : {}),
        ...(kayenta === undefined ? {} : { kayenta }),
      },
    ]);
    const apart = sourceAhead(result);
    const { step, weight } = result.measurement;
    const measurement = apart === null ? result.measurement : lostMeasurement({ at, step, weight }, apart);
    if (apart === null && result.evidence !== undefined) {
      // A resume during this very look drops what it has counted, too.
      const forgottenAt = state.evidence?.forgottenAt;
      const isDropped = forgottenAt !== undefined && forgottenAt !== known?.forgottenAt;
      state.evidence = isDropped ? { ...result.evidence, forgottenAt } : result.evidence;
    }
    // What is not as asked for is not known to be somebody else's doing then.
    const foreignEdits = unsettled ? [] : result.foreignEdits;
    for (const edit of foreignEdits) noteForeignEdit(run, edit);
    for (const edit of result.standing ?? []) noteStanding(run, edit);
    note(run, measurement);
    if (result.guardTripped !== null) {
      record(run, 'guardTripped', result.guardTripped, { step: state.step, evidence: measurement });
      throw new StepFailure(result.guardTripped, { final: 'rolledBack', evidence: measurement });
    }
    const [edit] = foreignEdits;
    if (edit !== undefined && plan.target.kind === 'kubernetes' && plan.target.onForeignEdit === 'rollback') {
      throw new StepFailure(`Somebody else changed what the release holds: ${edit}`, {
        final: 'rolledBack',
        evidence: measurement,
      });
    }
    if (apart !== null) return lostReading(measurement, judge);
    const misrouted = noteRouting(run, measurement);
    const { decision, stepVerdict, stepSentence, enough = false } = result.judgement;
    return {
      measurement,
      enough,
      decision,
      stepVerdict,
      stepSentence,
      judge: result.judgement.state,
      misrouted,
      lost: false,
    };
  } catch (error) {
    if (!(error instanceof ActivityFailure) || isCancellation(error)) throw error;
    const { type, message } = causeOf(error);
    if (type === ACTIVITY_FAILURES.fenceLost || type === ACTIVITY_FAILURES.guardTripped)
      throw toStepFailure(run, error);
    const measurement = lostMeasurement({ at, step: state.step, weight: state.weight }, message);
    note(run, measurement);
    return lostReading(measurement, judge);
  }
}

/**
 * Why nothing can be made of a look at a source whose clock is ahead of Temporal's: what it tells of a moment came before
 * it, under another weight perhaps. It is ahead by what it had come to before this moment, and that is beyond it.
 */
function sourceAhead({ sourceClock }: MeasureResult): string | null {
  const apart = clocksApart((sourceClock ?? 0) - Date.now(), "ahead of Temporal's");
  // An older worker has gone by such a look, too.
  return apart === null || !patched('source-clock') ? null : `the metric source ${apart}.`;
}

function lostMeasurement(of: Pick<Measurement, 'at' | 'step' | 'weight'>, why: string): Measurement {
  const sentence = `No measurement could be made: ${why}`;
  return { ...of, observedShare: null, verdict: 'error', sentence, metrics: [] };
}

function lostReading(measurement: Measurement, judge: JudgeState | null): Reading {
  return {
    measurement,
    enough: false,
    decision: 'continue',
    stepVerdict: 'error',
    stepSentence: measurement.sentence,
    judge,
    misrouted: null,
    lost: true,
  };
}

const EDITS_TOLD = 10;

/**
 * Somebody who keeps undoing the weight (a controller that heals itself) is found at every look: all of it would
 * drown the story, and grow the state that is handed from run to run without end. So ever more rarely.
 */
function noteForeignEdit(run: Run, edit: string): void {
  const { state } = run;
  state.foreignEdits += 1;
  const times = state.foreignEdits;
  if (times > EDITS_TOLD && !Number.isInteger(Math.log2(times))) return;
  record(run, 'foreignEdit', times <= EDITS_TOLD ? edit : `${edit} (Edit ${times} at this weight.)`, {
    step: state.step,
  });
}

/** It is found at every look, and is one edit all the same. */
function noteStanding(run: Run, edit: string): void {
  const { events, step } = run.state;
  if (events.some((one) => one.type === 'foreignEdit' && one.step === step && one.message === edit)) return;
  record(run, 'foreignEdit', edit, { step });
}

/** Told once a weight, with what the spec wants of it; answers why where it was told now. */
function noteRouting(run: Run, measurement: Measurement): string | null {
  const { state, plan } = run;
  const { routing } = measurement;
  // Of a weight that is no more: a person has changed it while this was looked at.
  if (routing === undefined || measurement.weight !== state.weight) return null;
  const { told } = state.routing;
  state.routing = { highest: routing.highest, told: told || routing.verdict === 'fail' };
  if (routing.verdict !== 'fail' || told) return null;
  record(run, 'misrouted', routing.sentence, { step: state.step, evidence: measurement });
  if (plan.analysis.routingCheck === 'rollback') {
    throw new StepFailure(routing.sentence, { final: 'rolledBack', verdict: 'error', evidence: measurement });
  }
  return routing.sentence;
}

function note(run: Run, measurement: Measurement): void {
  const { state } = run;
  keepMeasurement(run, measurement);
  const step = state.steps[state.step];
  if (step !== undefined) {
    markStep(run, state.step, { measurements: step.measurements + 1, evidence: measurement });
  }
}
