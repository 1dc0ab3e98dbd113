import { activityInfo, cancellationSignal, Context } from '@temporalio/activity';
import { cutText } from '../analysis/bounded-text';
import type { MetricSource } from '../metrics/metric-source';
import type { Reassertion, Target, TargetWrite, WriteFence } from '../targets/target';
import type {
  CompensateInput,
  MeasureInput,
  MeasureResult,
  ReleaseActivities,
  TargetRef,
  WaitDetails,
} from '../workflows/activity-types';
import type { Fence } from '../workflows/api';
import type { ActivityDeps } from './deps';
import { toActivityFailure } from './failures';
import { measure } from './measure';
import { hearWaits } from './waits';

/** A sentence about one object; each beat carries it. */
const WAIT_CHARS = 1_000;

/** A quarter of the heartbeat timeout, so that two late beats are no death. */
const HEARTBEAT_EVERY_MS = 1_000;

/**
 * The workflow's wishes, carried out. Each is idempotent: it may be asked for again after a worker's death in the
 * middle of it, and what it wrote before carries an older fence than what it writes now.
 */
export function createActivities(deps: ActivityDeps): ReleaseActivities {
  return {
    observe: ({ target: plan, version, match = [], weights = [] }) =>
      onTarget(deps, plan, (target, signal) => target.observe({ version, match, weights, signal })),
    deploy: (input) =>
      onTarget(deps, input.target, async (target, signal) => ({
        sentence: await target.deploy({ ...writeOf(input, signal), timeoutMs: input.timeoutMs }),
      })),
    smokeTest: ({ target: plan, test, release, version }) =>
      onTarget(deps, plan, async (target, signal) => ({
        sentence: await target.smokeTest({ test, release, version, signal }),
      })),
    setWeight: (input) =>
      onTarget(deps, input.target, async (target, signal) => {
        const { weight, previousWeight, match, back = false } = input;
        const sentence = await target.setWeight({ ...writeOf(input, signal), weight, previousWeight, match, back });
        return { weight, sentence };
      }),
    measure: (input) => onTarget(deps, input.target, (target, signal) => look(deps, target, input, signal)),
    promote: (input) =>
      onTarget(deps, input.target, async (target, signal) => {
        const { release, smokeTest, timeoutMs } = input;
        return { sentence: await target.promote({ ...writeOf(input, signal), release, smokeTest, timeoutMs }) };
      }),
    compensate: (input) =>
      onTarget(deps, input.target, async (target, signal) => ({ sentence: await compensate(target, input, signal) })),
    notifySlack: (input) => act(() => deps.slack().notify(input)),
  };
}

/** Of a target that was not looked at. */
const UNTOUCHED: Reassertion = { foreignEdits: [], guardTripped: null, unreachable: [] };

async function look(
  deps: ActivityDeps,
  target: Target,
  input: MeasureInput,
  signal: AbortSignal,
): Promise<MeasureResult> {
  const startedAt = Date.now();
  const { weight, match } = input;
  const reassertion =
    input.reassert === false ? UNTOUCHED : await target.reassert({ ...writeOf(input, signal), weight, match });
  const source = (): MetricSource => deps.source(input.analysis.source, input.target);
  return measure(source, input, { reassertion, startedAt, signal });
}

async function compensate(target: Target, input: CompensateInput, signal: AbortSignal): Promise<string> {
  const write = writeOf(input, signal);
  const { compensation } = input;
  switch (compensation.op) {
    case 'restoreWeight':
      // From 100: a lowering, which is kept wherever it arrives, whatever the weight was.
      return target.setWeight({ ...write, weight: compensation.weight, previousWeight: 100, match: [], back: true });
    case 'restoreStable':
      return target.restoreStable({ ...write, stableVersion: compensation.version });
    case 'removeCanary':
      return target.removeCanary(write);
  }
}

function writeOf(
  { version, artifact, fence, idle }: Pick<TargetRef, 'version' | 'artifact' | 'idle'> & { readonly fence: Fence },
  signal: AbortSignal,
): TargetWrite {
  return { version, artifact, fence: fenceOf(fence), signal, ...(idle === undefined ? {} : { idle }) };
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
  const context = Context.current();
  const { attempt } = context.info;
  // Temporal keeps the last one's details for the next attempt, too, which says by itself what it waits for.
  let details: WaitDetails | undefined;
  const beat = setInterval(() => context.heartbeat(details), HEARTBEAT_EVERY_MS);
  const hear = (sentence: string | null): void => {
    details = sentence === null ? undefined : { attempt, waits: cutText(sentence, WAIT_CHARS) };
  };
  try {
    return await hearWaits(hear, run);
  } catch (error) {
    throw toActivityFailure(error);
  } finally {
    clearInterval(beat);
  }
}
