import { condition } from '@temporalio/workflow';
import type { CleanUpStep, Colour, TrackName } from '../spec/plan-types';
import { compensate, observe, removalTimeouts, setWeight } from './activity-proxies';
import type { TargetObservation } from './activity-types';
import { checkpoint, leaveIfRollingBack } from './hold';
import { drainUntil, endStep, enter, nextFence, publishAttributes, record, recordInverse, targetRef } from './run';
import type { Run } from './run';
import type { StepEnd } from './soak';
import { StepFailure } from './step-failure';

/**
 * Takes away what is left of a track: its traffic first, and its pods once they have drained. Until the pods are asked
 * to go a roll back leaves them where they are, without traffic; from then on it finishes what was begun.
 */
export async function cleanUpStep(run: Run, step: CleanUpStep): Promise<StepEnd> {
  const { state } = run;
  enter(run, 'cleaningUp');
  // What a run before this one has begun.
  if (state.drainUntil === null) await takeTraffic(run, step);
  await drained(run);
  leaveIfRollingBack(run);
  recordInverse(run, { op: 'removeCanary' });
  const { sentence } = await compensate.executeWithOptions(
    { summary: `take away the pods of ${step.track}`, ...removalTimeouts(run.plan) },
    [{ ...targetRef(run), fence: nextFence(run), compensation: { op: 'removeCanary' }, reason: step.name }],
  );
  leaveIfRollingBack(run);
  state.compensations = [];
  state.drainUntil = null;
  state.outcome = 'cleanedUp';
  record(run, 'cleanedUp', sentence, { step: state.step });
  endStep(run, 'passed', sentence);
  return 'done';
}

async function takeTraffic(run: Run, { track }: CleanUpStep): Promise<void> {
  const { state } = run;
  const seen = await observe.executeWithOptions({ summary: 'look at the target' }, [targetRef(run)]);
  state.stableVersion = seen.stableVersion;
  state.artifact = seen.artifact;
  state.weight = seen.weight;
  // Asked here and not only by the command: a release may have run while this one waited for its turn.
  if (track === 'canary') refuseWithUsers(seen);
  else refuseOtherTrack(seen, track);
  recordInverse(run, { op: 'restoreWeight', weight: 0 });
  const { sentence } = await setWeight.executeWithOptions({ summary: `weight ${seen.weight} % → 0 %` }, [
    { ...targetRef(run), fence: nextFence(run), weight: 0, previousWeight: seen.weight, match: [], back: true },
  ]);
  state.weight = 0;
  state.weightSince = Date.now();
  // Even at 0 %: marked requests may have had a route of their own.
  state.drainUntil = drainUntil(run);
  record(run, 'weightChanged', `Weight ${seen.weight} % → 0 %. ${sentence}`, { step: state.step });
  publishAttributes(run);
}

async function drained(run: Run): Promise<void> {
  const { state } = run;
  for (;;) {
    await checkpoint(run);
    enter(run, 'cleaningUp');
    const wait = (state.drainUntil ?? 0) - Date.now();
    if (wait <= 0) return;
    await condition(() => state.paused !== null, wait, { summary: 'the pods drain' });
  }
}

function refuseWithUsers({ weight, onlyCanary }: TargetObservation): void {
  if (weight < 100) {
    if (onlyCanary !== undefined) throw new StepFailure(onlyCanary, { final: 'rolledBack' });
    return;
  }
  throw new StepFailure('The canary has all of the traffic, so it is not cleaned up.', { final: 'rolledBack' });
}

/** @throws StepFailure unless the colour is idle; a target that does not say which one is, is no reason to go on. */
export function refuseOtherTrack({ idle }: TargetObservation, track: Exclude<TrackName, 'canary'> | undefined): void {
  if (track === undefined || idle === track) return;
  const other: Colour = track === 'blue' ? 'green' : 'blue';
  const why = idle === other ? `${track} has the traffic` : 'the target does not say which colour is idle';
  throw new StepFailure(`This is about ${track} while it is idle, but ${why}.`, { final: 'rolledBack' });
}
