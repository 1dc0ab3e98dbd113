import { activityInfo, cancellationSignal, heartbeat } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { judge } from '../analysis/threshold-judge';
import { observedShare } from '../analysis/observed-share';
import { messageOf, ReleaseError } from '../errors';
import { TargetFailure } from '../targets/target';
import type { Target, TargetWrite, WriteFence } from '../targets/target';
import { ACTIVITY_FAILURES } from '../workflows/activity-types';
import type { CompensateInput, MeasureInput, MeasureResult, ReleaseActivities } from '../workflows/activity-types';
import type { Fence } from '../workflows/api';
import type { ActivityDeps } from './deps';

/** At most half of the heartbeat timeout, so that one late beat is no death. */
const HEARTBEAT_EVERY_MS = 2_000;

/**
 * The workflow's wishes, carried out. Each is idempotent: it may be asked for again after a worker's death in the
 * middle of it, and what it wrote before carries an older fence than what it writes now.
 */
export function createActivities(deps: ActivityDeps): ReleaseActivities {
  return {
    observe: (input) => onTarget(deps, input.target, (target, signal) => target.observe(signal)),
    deploy: (input) =>
      onTarget(deps, input.target, async (target, signal) => ({
        sentence: await target.deploy(writeOf(input.version, input.fence, signal)),
      })),
    smokeTest: ({ target: plan, test, release, version }) =>
      onTarget(deps, plan, async (target, signal) => ({
        sentence: await target.smokeTest({ test, release, version, signal }),
      })),
    setWeight: ({ target: plan, version, fence, weight, previousWeight }) =>
      onTarget(deps, plan, async (target, signal) => ({
        weight,
        sentence: await target.setWeight({ ...writeOf(version, fence, signal), weight, previousWeight }),
      })),
    measure: (input) => onTarget(deps, input.target, (target, signal) => measure(deps, target, input, signal)),
    promote: (input) =>
      onTarget(deps, input.target, async (target, signal) => ({
        sentence: await target.promote(writeOf(input.version, input.fence, signal)),
      })),
    compensate: (input) =>
      onTarget(deps, input.target, async (target, signal) => ({ sentence: await compensate(target, input, signal) })),
    notifySlack: (input) => act(() => deps.slack().notify(input)),
  };
}

async function measure(
  deps: ActivityDeps,
  target: Target,
  input: MeasureInput,
  signal: AbortSignal,
): Promise<MeasureResult> {
  const { analysis, at, since, weight, version, stableVersion, step } = input;
  const { foreignEdits, guardTripped, unreachable } = await target.reassert({
    ...writeOf(version, input.fence, signal),
    weight,
  });
  // Warm-up is fixed beforehand and left out; what came before the last weight change is another experiment.
  const from = since + analysis.initialDelayMs;
  const sample = await deps.source(analysis.source, input.target).sample({
    service: input.service,
    namespace: input.namespace,
    versions: { canary: version, stable: stableVersion },
    metrics: analysis.metrics,
    at,
    windowMs: Math.max(1_000, Math.min(analysis.windowMs, at - from)),
    weight,
    signal,
  });
  const { metrics, ...judgement } = judge(analysis, input.judge, sample);
  const away =
    unreachable.length === 0 ? '' : ` The weight could not be looked at everywhere: ${unreachable.join(' ')}`;
  return {
    measurement: {
      at,
      step,
      weight,
      observedShare: observedShare(sample),
      verdict: judgement.verdict,
      sentence: `${judgement.sentence}${away}`,
      metrics,
      ...(sample.simulated === true ? { simulated: true } : {}),
    },
    judgement,
    foreignEdits,
    guardTripped,
  };
}

async function compensate(target: Target, input: CompensateInput, signal: AbortSignal): Promise<string> {
  const write = writeOf(input.version, input.fence, signal);
  const { compensation } = input;
  switch (compensation.op) {
    case 'restoreWeight':
      // From 100: a lowering, which is kept wherever it arrives, whatever the weight was.
      return target.setWeight({ ...write, weight: compensation.weight, previousWeight: 100 });
    case 'restoreStable':
      return target.restoreStable({ ...write, stableVersion: compensation.version });
    case 'removeCanary':
      return target.removeCanary(write);
  }
}

function writeOf(version: string, fence: Fence, signal: AbortSignal): TargetWrite {
  return { version, fence: fenceOf(fence), signal };
}

/** Two places per attempt: the write, and its taking back when only a part of the target took it. */
function fenceOf(fence: Fence): WriteFence {
  return { ...fence, attempt: activityInfo().attempt * 2 };
}

function onTarget<T>(
  deps: ActivityDeps,
  plan: Parameters<ActivityDeps['target']>[0],
  run: (target: Target, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return act(() => run(deps.target(plan), cancellationSignal()));
}

/** Heartbeats while it runs, so that a dead worker is noticed and a cancellation arrives; failures get their names. */
async function act<T>(run: () => Promise<T>): Promise<T> {
  const beat = setInterval(() => heartbeat(), HEARTBEAT_EVERY_MS);
  try {
    return await run();
  } catch (error) {
    throw toApplicationFailure(error);
  } finally {
    clearInterval(beat);
  }
}

/** Names at the Temporal border: the workflow and the retry policies go by them. */
export function toApplicationFailure(error: unknown): unknown {
  if (error instanceof TargetFailure) {
    const type = ACTIVITY_FAILURES[error.kind];
    return ApplicationFailure.create({ message: error.message, type, cause: error });
  }
  if (error instanceof ReleaseError) {
    const message = error.hint === undefined ? error.message : `${error.message} ${error.hint}`;
    const type =
      error.code === 'unreachable'
        ? ACTIVITY_FAILURES.unreachable
        : error.code === 'unsupported'
          ? ACTIVITY_FAILURES.unsupported
          : ACTIVITY_FAILURES.invalidTarget;
    return ApplicationFailure.create({ message, type, cause: error });
  }
  // Cancellations and failures that are Temporal's own already pass; a defect keeps its stack and is retried.
  return error instanceof Error ? error : new Error(messageOf(error));
}
