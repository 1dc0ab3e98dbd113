import { CancellationScope, condition, patched } from '@temporalio/workflow';
import type { HandBackPlan, Plan, PromoteStep } from '../spec/plan-types';
import { promote, promotionTimeouts } from './activity-proxies';
import type { PromoteInput } from './activity-types';
import type { Fence } from './api';
import { checkpoint, leaveIfRollingBack, pauseFor } from './hold';
import { instant } from './instant';
import { keepUntil, switches } from './keep-old';
import { takeReading } from './measure';
import type { Reading } from './measure';
import { drainUntil, endStep, enter, nextFence, record, recordInverse, targetRef } from './run';
import type { Run } from './run';
import { shiftWeight } from './shift-weight';
import type { StepEnd } from './soak';
import { StepFailure } from './step-failure';

/** What the first version of a service goes back to. */
const NO_VERSION = 'no version';

/** The canary's share while the new stable track is watched: as many requests to either, so that both can be compared. */
const HAND_BACK_WEIGHT = 50;

/** At the canary while stable is made anew: eleven events of history each, in a run that has room for some thousands. */
const MOST_LOOKS = 200;

/**
 * The new version becomes the stable one. Where the stable track is made anew for that, the proven canary carries
 * everything meanwhile, and the traffic comes back in steps that are watched.
 */
export async function promoteStep(run: Run, step: PromoteStep): Promise<StepEnd> {
  const { state, plan } = run;
  if (state.weight < 100) await shiftWeight(run, 100, { actor: state.wishes.promote?.actor });
  await checkpoint(run);
  if (state.weight < 100) return 'again';
  enter(run, 'promoting');
  const from = state.stableVersion ?? NO_VERSION;
  // A switch changes no pods: its way back is the weight's.
  if (!switches(plan)) recordInverse(run, { op: 'restoreStable', version: from });
  const { timeoutMs } = step;
  // A plan of an older client has none.
  const handBack = (step as Partial<PromoteStep>).handBack ?? null;
  // A promotion that was begun before goes on unwatched.
  const watched = handBack !== null && patched('promotion-watched');
  const looks = watched ? planLooks(run, timeoutMs) : null;
  const request: PromoteInput = {
    ...targetRef(run),
    fence: nextFence(run),
    stableVersion: from,
    smokeTest: handBack?.smokeTest ?? null,
    release: run.input.release,
    timeoutMs,
  };
  const { sentence } = await (looks === null ? makeStable(run, request) : makeStableWatched(run, request, looks));
  // Asked for while the promotion's answer was on its way: the way back is still known, so it is taken.
  leaveIfRollingBack(run);
  if (handBack !== null) {
    record(run, 'stableReplaced', sentence, { step: state.step });
    if ((await handTrafficBack(run, handBack)) === 'again') return 'again';
    leaveIfRollingBack(run);
    state.leftovers = [{ op: 'removeCanary' }];
    state.drainUntil = drainUntil(run);
  }
  if (switches(plan)) {
    state.leftovers = [{ op: 'removeCanary' }];
    // It has been without traffic since the switch.
    state.drainUntil = drainUntil(run, state.weightSince);
  }
  const until = keepUntil(run);
  state.keepOld = until === null ? null : { since: Date.now(), until, version: from };
  // From here on the new version is the stable one: there is no way back but another release, unless the old one is
  // kept. Said at once, so that no roll back is accepted that would have nothing left to undo.
  if (state.keepOld === null) state.compensations = [];
  state.wishes.promote = null;
  state.outcome = 'promoted';
  // Whatever carries it: all of the traffic gets the new version.
  state.weight = 100;
  // The last look was before that; while the old version is kept, nobody looks.
  state.observedShare = null;
  const kept = state.keepOld === null ? '' : ` ${from} is kept until ${instant(state.keepOld.until)}.`;
  const done =
    handBack === null ? `${sentence}${kept}` : `${plan.version} is the stable version and has all of the traffic.`;
  record(run, 'promoted', done, { step: state.step });
  endStep(run, 'passed', done);
  return 'done';
}

function makeStable({ plan }: Run, request: PromoteInput): Promise<{ sentence: string }> {
  const { version, timeoutMs } = request;
  const timeouts = promotionTimeouts(plan, timeoutMs);
  return promote.executeWithOptions({ summary: `promote ${version}`, ...timeouts }, [request]);
}

/** The looks at the canary while stable is made anew: how far apart, and the place of each in the order of all writes. */
interface Looks {
  readonly everyMs: number;
  readonly fences: readonly Fence[];
}

/**
 * As often as the analysis looks, but for a time that is too long for that: nothing can be handed over to a next run
 * meanwhile. Their places come before the promotion's, so that a weight which one of them has put right never keeps the
 * promotion's next attempt out. The promotion writes to nothing that they write to.
 */
function planLooks(run: Run, timeoutMs: number): Looks {
  const longest = promotionTimeouts(run.plan, timeoutMs).scheduleToCloseTimeout;
  const everyMs = Math.max(run.plan.analysis.intervalMs, Math.ceil(longest / MOST_LOOKS));
  return { everyMs, fences: Array.from({ length: Math.ceil(longest / everyMs) }, () => nextFence(run)) };
}

/** The canary carries everything meanwhile: should it fail, its verdict ends the promotion. */
async function makeStableWatched(run: Run, request: PromoteInput, looks: Looks): Promise<{ sentence: string }> {
  const scope = new CancellationScope();
  let made = false;
  const making = async (): Promise<{ sentence: string }> => {
    const answer = await makeStable(run, request);
    made = true;
    return answer;
  };
  try {
    // A look that is under way when stable is ready is heard; it is bounded by its activity.
    const [answer] = await scope.run(() => Promise.all([making(), watchCanary(run, looks, () => made)]));
    return answer;
  } catch (error) {
    // Whichever of the two is still at work.
    scope.cancel();
    throw error;
  }
}

/**
 * As the canary is watched while a person is waited for: only a failing verdict ends it. A backend that is away, or too
 * little traffic, is no reason to leave a promotion half done.
 */
async function watchCanary(run: Run, { everyMs, fences }: Looks, over: () => boolean): Promise<void> {
  let judge = null;
  for (const fence of fences) {
    const summary = 'the canary is watched while stable is made anew';
    if (await condition(over, everyMs, { summary })) return;
    leaveIfRollingBack(run);
    const reading = await takeReading(run, judge, { fence, alone: true, reassert: !sharesByPods(run.plan) });
    judge = reading.judge;
    if (reading.decision === 'fail') {
      throw new StepFailure(`The canary failed while stable was made anew: ${reading.stepSentence}`, {
        evidence: reading.measurement,
      });
    }
    if (over()) return;
  }
}

/** Where the number of pods is the share: stable's new ones have theirs as they come, and nothing is to take them away. */
function sharesByPods({ target }: Plan): boolean {
  return target.kind === 'kubernetes' && target.traffic.kind === 'replicas';
}

/** From the canary to the new stable track: half, watched, and then all. */
async function handTrafficBack(run: Run, { soakMs }: HandBackPlan): Promise<StepEnd> {
  if (soakMs > 0) {
    await shiftWeight(run, HAND_BACK_WEIGHT, { phase: 'promoting' });
    leaveIfRollingBack(run);
    if ((await watchStable(run, soakMs)) === 'again') return 'again';
  }
  await shiftWeight(run, 0, { phase: 'promoting' });
  return 'done';
}

/**
 * A soak of the new stable track: judged as the canary was, and compared with it. A failing verdict fails the step;
 * evidence that never suffices is what the spec says of no data.
 */
async function watchStable(run: Run, soakMs: number): Promise<StepEnd> {
  const { state, plan } = run;
  const { intervalMs, initialDelayMs, lagMs = 0, onNoData } = plan.analysis;
  const endsAt = Date.now() + soakMs;
  let nextAt = Math.min(Date.now() + initialDelayMs + lagMs + intervalMs, endsAt);
  let judge = null;
  for (;;) {
    const wait = nextAt - Date.now();
    if (wait > 0) await condition(() => state.rollback !== null, wait, { summary: 'the new stable track is watched' });
    leaveIfRollingBack(run);
    const reading = await takeReading(run, judge, { subject: 'stable' });
    judge = reading.judge;
    if (reading.decision === 'fail') {
      throw new StepFailure(`The new stable pods: ${reading.stepSentence}`, { evidence: reading.measurement });
    }
    const now = Date.now();
    if (now >= endsAt && reading.stepVerdict === 'pass') {
      record(run, 'stepPassed', `The new stable pods passed: ${reading.stepSentence}`, {
        step: state.step,
        evidence: reading.measurement,
      });
      return 'done';
    }
    if (now >= endsAt + onNoData.extendMs) return withoutVerdict(run, reading);
    nextAt = now >= endsAt ? now + intervalMs : Math.min(now + intervalMs, endsAt);
  }
}

function withoutVerdict(run: Run, { stepSentence, stepVerdict }: Reading): StepEnd {
  const sentence = `No verdict about the new stable pods could be reached: ${stepSentence}`;
  const { then } = run.plan.analysis.onNoData;
  if (then === 'rollback') throw new StepFailure(sentence, { final: 'rolledBack' });
  if (then === 'promote' && stepVerdict === 'insufficient-data') {
    record(run, 'soakSkipped', `${sentence} It goes on without, as onNoData.then says.`, { step: run.state.step });
    return 'done';
  }
  pauseFor(run, 'noData', sentence);
  return 'again';
}
