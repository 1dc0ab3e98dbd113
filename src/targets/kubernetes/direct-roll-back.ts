import { setTimeout as delay } from 'node:timers/promises';
import { fenceOn } from '../../traffic/fence';
import { TargetFailure } from '../target';
import type { Target, WriteFence } from '../target';
import { targetNoteOn } from './target-note';
import type { Cluster } from './cluster';
import { asTargetFailure } from './failures';
import { createKubernetesTarget } from './kubernetes-target';

export interface DirectWrite {
  /** What was done, a sentence. */
  readonly sentence: string;
  /** From the beginning of the write to its answer. */
  readonly ms: number;
  /** From the beginning of the roll back to the end of this write. */
  readonly atMs: number;
}

export interface DirectRollBack {
  readonly version: string;
  readonly release: string;
  readonly writes: readonly DirectWrite[];
  /** From the beginning to the answer of the write that set the weight to 0. */
  readonly weightZeroMs: number;
}

/** Old pods that are waited for longer do not come. */
const OLD_PODS_MS = 120_000;
const POLL_MS = 500;

/**
 * Takes a service back on the cluster alone, for when Temporal is away: the weight to 0 first, then stable's old
 * template where a promotion was half done, then the new version's pods. Of a blue-green release also after its
 * promotion, while the old version is kept. What the release looked like is read from its objects. The
 * writes carry the release's fence with a later epoch: whatever the release still sends is refused, and when it comes
 * back it finds that and ends.
 *
 * @throws TargetFailure `invalidTarget` when there is nothing to take back.
 */
export async function rollBackDirectly(
  cluster: Cluster,
  service: { readonly namespace: string; readonly name: string },
  options: { readonly signal: AbortSignal; readonly onWrite?: (write: DirectWrite) => void },
): Promise<DirectRollBack> {
  const { signal } = options;
  const { plan, version, fence: held } = await findRelease(cluster, service, signal);
  const { release } = held;
  const target = createKubernetesTarget(plan, { cluster, resolve: (image) => Promise.resolve(image) });
  // Later than the release's own, and no later than that: whose clock is right does not matter then, and the next
  // release, which begins later still, does not find it in its way.
  let epoch = held.epoch + 1;
  const started = performance.now();
  const writes: DirectWrite[] = [];
  let step = 0;
  const next = (): Parameters<Target['removeCanary']>[0] => {
    step += 1;
    const fence: WriteFence = { release, epoch, step, attempt: 1 };
    return { version, artifact: null, fence, signal };
  };
  const run = async (write: () => Promise<string>): Promise<DirectWrite> => {
    const began = performance.now();
    const sentence = await write();
    const ended = performance.now();
    const done = { sentence, ms: ended - began, atMs: ended - started };
    writes.push(done);
    options.onWrite?.(done);
    return done;
  };
  const toZero = async (): Promise<DirectWrite> => {
    const write = (): Promise<string> => target.setWeight({ ...next(), weight: 0, previousWeight: 100, match: [] });
    return run(async () => {
      try {
        return await write();
      } catch (error) {
        if (!(error instanceof TargetFailure) || error.kind !== 'fenceLost') throw error;
        // Somebody's hand has written in between, with a time of theirs; whoever gives this command comes after them.
        epoch = Math.max(epoch + 1, Date.now());
        return write();
      }
    });
  };
  const restore = (): Promise<DirectWrite> =>
    run(() => target.restoreStable({ ...next(), stableVersion: 'what it was before the promotion' }));
  const zero =
    plan.strategy === 'blueGreen' ? await untilThere(toZero, signal) : await restoreAround(toZero, restore, signal);
  await delay(plan.drainMs, undefined, { signal });
  await run(() => target.removeCanary(next()));
  return { version, release, writes, weightZeroMs: zero.atMs };
}

/** Stable first has its old template back where its pods are being made anew: they must be there before the traffic is. */
async function restoreAround(
  toZero: () => Promise<DirectWrite>,
  restore: () => Promise<DirectWrite>,
  signal: AbortSignal,
): Promise<DirectWrite> {
  try {
    const zero = await toZero();
    await restore();
    return zero;
  } catch (error) {
    if (!isUnreachable(error)) throw error;
    await restore();
    return untilThere(toZero, signal);
  }
}

/** For old pods that are made anew, or that somebody has taken away: they are waited for. */
async function untilThere(toZero: () => Promise<DirectWrite>, signal: AbortSignal): Promise<DirectWrite> {
  const started = performance.now();
  for (;;) {
    try {
      return await toZero();
    } catch (error) {
      if (!isUnreachable(error) || performance.now() - started > OLD_PODS_MS) throw error;
    }
    await delay(POLL_MS, undefined, { signal });
  }
}

function isUnreachable(error: unknown): boolean {
  return error instanceof TargetFailure && error.kind === 'unreachable';
}

async function findRelease(
  cluster: Cluster,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<NonNullable<ReturnType<typeof targetNoteOn>> & { readonly fence: WriteFence }> {
  const objects = await asTargetFailure(() =>
    cluster.list({ apiVersion: 'apps/v1', kind: 'Deployment', namespace }, { signal }),
  );
  for (const object of objects) {
    const note = targetNoteOn(object);
    const fence = fenceOn(object);
    if (note?.plan.serviceName === name && fence !== null) return { ...note, fence };
  }
  throw new TargetFailure(
    'invalidTarget',
    `No Deployment in namespace ${namespace} has the new version of a release of ${name}, so there is nothing to take back; kubectl -n ${namespace} get deployments -L sluice.dev/service shows what there is.`,
  );
}
