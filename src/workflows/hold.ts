import { CancellationScope, CancelledFailure, condition } from '@temporalio/workflow';
import type { Measurement, PauseStatus } from './api';
import { continueAsNewIfDue, handOverPossible } from './continue-as-new';
import { takeReading } from './measure';
import { enter, record, SLUICE } from './run';
import type { Run } from './run';
import { StepFailure } from './step-failure';
import { settleWeight, shiftWeight } from './shift-weight';

/**
 * While a person is waited for, the canary under traffic is still watched, but not more often than this: a wait may
 * take days, and each look costs eleven events of history.
 */
const GUARD_INTERVAL_MS = 30_000;

/** Where the main loop stops between two acts: to continue as new, to set a weight by hand, to be paused. */
export async function checkpoint(run: Run): Promise<void> {
  const { state } = run;
  for (;;) {
    leaveIfRollingBack(run);
    await continueAsNewIfDue(run);
    if (state.wishes.weight !== null) await setWeightByHand(run);
    else if (state.paused !== null) await holdOnce(run);
    else return;
  }
}

/**
 * Ends the way forward when a roll back was asked for, or the workflow was cancelled. The cancelled scope does so at
 * every wait; this is for what was woken or answered together with the request, and above all for the hand-over to a
 * next run, which would know nothing of a cancellation.
 */
export function leaveIfRollingBack(run: Run): void {
  if (run.state.rollback !== null || CancellationScope.current().consideredCancelled) {
    throw new CancelledFailure('The way forward ends here.');
  }
}

/**
 * Pauses until a person's resume; the current soak is begun anew after it. Not when a person has asked for promotion
 * meanwhile: that is the answer to all but a failure, and a failure has taken the wish away.
 */
export function pauseFor(
  run: Run,
  cause: Exclude<PauseStatus['cause'], 'person'>,
  reason: string,
  evidence?: Measurement,
): void {
  const { state } = run;
  state.soak = null;
  if (state.wishes.promote !== null) return;
  state.paused = { since: Date.now(), by: SLUICE, reason, cause };
  record(run, 'paused', `Paused: ${reason}`, { step: state.step, ...(evidence === undefined ? {} : { evidence }) });
  enter(run, 'paused');
}

/** Waits for a wake-up or for the guard's next look. */
async function holdOnce(run: Run): Promise<void> {
  const { state } = run;
  enter(run, 'paused');
  if (state.uncertainWeight) await settleWeight(run);
  const woken = (): boolean => state.paused === null || state.wishes.weight !== null;
  await guardedWait(run, woken, null, 'paused');
}

/**
 * Waits until `woken` or `until` (epoch milliseconds), and looks at the canary meanwhile. Throws `StepFailure` on a
 * failing verdict, unless the release is held after a failure already: then a person has the say.
 */
export async function guardedWait(
  run: Run,
  woken: () => boolean,
  until: number | null,
  summary: string,
): Promise<void> {
  const { state, plan } = run;
  const watched = state.weight > 0;
  const limits = [
    ...(until === null ? [] : [Math.max(1, until - Date.now())]),
    ...(watched || state.uncertainWeight ? [Math.max(GUARD_INTERVAL_MS, plan.analysis.intervalMs)] : []),
  ];
  const limit = limits.length === 0 ? null : Math.min(...limits);
  const awaken = (): boolean => woken() || handOverPossible(run);
  if (limit === null) {
    await condition(awaken);
    return;
  }
  const awake = await condition(awaken, limit, { summary });
  const lookDue = watched && !awake && (until === null || Date.now() < until);
  if (!lookDue) return;
  const heldAfterFailure = state.paused?.cause === 'failure';
  const reading = await takeReading(run, state.guardJudge);
  // Woken meanwhile: what comes next begins with a memory of its own.
  if (!woken()) state.guardJudge = reading.judge;
  // After a failure the memory is one of failures, and a resume during this very look is not to be undone by it.
  if (reading.decision === 'fail' && !heldAfterFailure) {
    throw new StepFailure(reading.stepSentence, { evidence: reading.measurement });
  }
}

/** A person's weight: set, then held until their resume, so that plan and hand do not pull against each other. */
async function setWeightByHand(run: Run): Promise<void> {
  const { state } = run;
  const wish = state.wishes.weight;
  if (wish === null) return;
  state.wishes.weight = null;
  state.soak = null;
  await shiftWeight(run, wish.weight, { actor: wish.actor });
  // Asked for meanwhile, and the later word counts.
  if (state.wishes.promote !== null) return;
  state.paused = {
    // An approval's deadline moves by the whole time it was held.
    since: state.paused?.since ?? Date.now(),
    by: wish.actor,
    reason: `weight ${wish.weight} % was set by hand`,
    cause: state.paused?.cause === 'failure' ? 'failure' : 'manualWeight',
  };
  record(run, 'paused', `Paused at ${wish.weight} %, set by ${wish.actor.name}; resume goes on with the plan.`, {
    actor: wish.actor,
    step: state.step,
  });
}
