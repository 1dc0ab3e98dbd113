import { ActivityFailure } from '@temporalio/common';
import { isCancellation, patched } from '@temporalio/workflow';
import { podTimeouts, setWeight } from './activity-proxies';
import type { TrafficMatchPlan } from '../spec/plan-types';
import { ACTIVITY_FAILURES } from './activity-types';
import type { Actor, Phase, ReleaseState } from './api';
import { enter, nextFence, publishAttributes, record, recordInverse, SLUICE, targetRef } from './run';
import type { Run } from './run';
import { causeOf, toStepFailure } from './step-failure';

/** Moves traffic. The way back is in the state before the first of it moves. */
export async function shiftWeight(
  run: Run,
  weight: number,
  { actor = SLUICE, phase = 'shifting' }: { actor?: Actor | undefined; phase?: Phase } = {},
): Promise<void> {
  const { state } = run;
  recordInverse(run, { op: 'restoreWeight', weight: 0 });
  enter(run, phase);
  const before = state.weight;
  state.uncertainWeight = true;
  if (actor !== SLUICE && weight < before) state.loweringTo = weight;
  else delete state.loweringTo;
  run.shifting = `The change to ${weight} %`;
  const { sentence } = await setWeight.executeWithOptions(
    { summary: `weight ${before} % → ${weight} %`, ...podTimeouts(run.plan) },
    [{ ...targetRef(run), fence: nextFence(run), weight, previousWeight: before, match: state.match }],
  );
  setIn(state, weight);
  record(run, 'weightChanged', `Weight ${before} % → ${weight} %. ${sentence}`, { actor, step: state.step });
  publishAttributes(run);
}

/** A weight that is in force by now: what was known of the one before says nothing of it. */
function setIn(state: ReleaseState, weight: number): void {
  endUncertainty(state);
  state.weight = weight;
  state.weightSince = Date.now();
  state.observedShare = null;
  state.guardJudge = null;
  state.foreignEdits = 0;
  state.routing = { highest: 0, told: false };
}

/** From here on the weight that the state has is the one in force. */
export function endUncertainty(state: ReleaseState): void {
  state.uncertainWeight = false;
  delete state.loweringTo;
}

/**
 * The weight that is to be in force: the last one known, or less where a person has asked for that and nobody has
 * answered. No look may put the higher one back then.
 */
export function weightAskedFor({ uncertainWeight, loweringTo, weight }: ReleaseState): number {
  return uncertainWeight ? Math.min(loweringTo ?? weight, weight) : weight;
}

/**
 * While the release is held after a weight change that was not answered: puts the last weight known back into force, or
 * the lower one that a person has asked for. Its fence keeps a late write of the failed attempts from raising the weight
 * of a release that is held. Less is tried for a minute at a time, and not for as long as pods may take: the canary keeps
 * what it has meanwhile, and is to be watched.
 */
export async function settleWeight(run: Run): Promise<void> {
  const { state } = run;
  const { weight: last } = state;
  const lowers = weightAskedFor(state) < last && patched('lowering-stays');
  const weight = lowers ? weightAskedFor(state) : last;
  const timeouts = lowers ? {} : podTimeouts(run.plan);
  try {
    await setWeight.executeWithOptions({ summary: `hold the weight at ${weight} %`, ...timeouts }, [
      { ...targetRef(run), fence: nextFence(run), weight, previousWeight: last, match: state.match },
    ]);
    if (lowers) setIn(state, weight);
    else endUncertainty(state);
    record(run, 'weightChanged', `The weight is held at ${weight} %.`, { step: state.step });
    if (lowers) publishAttributes(run);
  } catch (error) {
    if (!(error instanceof ActivityFailure) || isCancellation(error)) throw error;
    const { type, message } = causeOf(error);
    if (type === ACTIVITY_FAILURES.fenceLost || type === ACTIVITY_FAILURES.guardTripped)
      throw toStepFailure(run, error);
    // Tried again with the next look; said once, whatever else was said meanwhile.
    const said = `It is not certain that the weight is at ${weight} %: ${message}`;
    const before = state.events.findLast((one) => one.type === 'weightUncertain' || one.type === 'weightChanged');
    if (before?.type === 'weightUncertain' && before.message === said) return;
    record(run, 'weightUncertain', said, { step: state.step });
  }
}

/** The match steps so far, put into force; the weight stays as it is. */
export async function routeMatches(run: Run, match: TrafficMatchPlan): Promise<string> {
  const { state } = run;
  recordInverse(run, { op: 'restoreWeight', weight: 0 });
  enter(run, 'shifting');
  const { weight } = state;
  const matches = [...state.match, match];
  run.shifting = `The routing by the ${match.kind} ${match.name}`;
  const { sentence } = await setWeight.executeWithOptions(
    { summary: `${match.kind} ${match.name} → ${run.plan.version}`, ...podTimeouts(run.plan) },
    [{ ...targetRef(run), fence: nextFence(run), weight, previousWeight: weight, match: matches }],
  );
  state.match = matches;
  record(run, 'matchChanged', `Requests with the ${match.kind} ${match.name} get ${run.plan.version}. ${sentence}`, {
    step: state.step,
  });
  return sentence;
}
