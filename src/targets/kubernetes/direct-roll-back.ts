import { setTimeout as delay } from 'node:timers/promises';
import { compareFences, fenceOn } from '../../traffic/fence';
import { newestFence } from '../../traffic/held-object';
import { TargetFailure } from '../target';
import type { Target, WriteFence } from '../target';
import { targetNoteOn } from './target-note';
import type { Cluster } from './cluster';
import { ClusterFailure } from './cluster-failure';
import { asTargetFailure } from './failures';
import { createKubernetesTarget } from './kubernetes-target';
import { readDeployment } from './deployment-view';
import { findLeftRelease } from './left-release';
import type { LeftRelease } from './left-release';
import type { KubernetesObject, ObjectRef } from './objects';
import { SERVICE_LABEL } from './tracks';
import { isPromoted } from './workloads';

export interface DirectWrite {
  /** What was done, a sentence. */
  readonly sentence: string;
  /** From the beginning of the write to its answer. */
  readonly ms: number;
  /** From the beginning of the roll back to the end of this write. */
  readonly atMs: number;
}

export interface DirectRollBack {
  /** Null where the new version's Deployment was gone, which alone says what it was. */
  readonly version: string | null;
  readonly release: string;
  readonly writes: readonly DirectWrite[];
  /** From the beginning to the answer of the write that set the weight to 0. */
  readonly weightZeroMs: number;
}

/** Old pods that are waited for longer do not come. */
const OLD_PODS_MS = 120_000;
const POLL_MS = 500;

/**
 * Takes a service back on the cluster alone, for when Temporal is away: the weight to 0 first, then the new version's
 * pods. Where a promotion was half done, all traffic goes to the proven canary first, then stable has its old template
 * back, and then the weight is 0. Of a blue-green release also after its promotion, while the old version is kept. What
 * the release looked like is read from its objects: from the note on the new version's Deployment, and where that is
 * gone, from what is left on who splits the traffic. The writes carry the release's fence with a later epoch: whatever
 * the release still sends is refused, and when it comes back it finds that and ends.
 *
 * @throws TargetFailure `invalidTarget` when there is nothing to take back.
 */
export async function rollBackDirectly(
  cluster: Cluster,
  service: { readonly namespace: string; readonly name: string },
  options: { readonly signal: AbortSignal; readonly onWrite?: (write: DirectWrite) => void },
): Promise<DirectRollBack> {
  const { signal } = options;
  const { plans, version, fence: held, promoted } = await findRelease(cluster, service, signal);
  const { release } = held;
  const [first, ...others] = plans.map((plan) => ({
    plan,
    target: createKubernetesTarget(plan, { cluster, resolve: (image) => Promise.resolve(image) }),
  }));
  if (first === undefined) throw nothingThere(service, []);
  const all = [first, ...others];
  // Later than the release's own, and no later than that: whose clock is right does not matter then, and the next
  // release, which begins later still, does not find it in its way.
  let epoch = held.epoch + 1;
  const started = performance.now();
  const writes: DirectWrite[] = [];
  let step = 0;
  const next = (): Parameters<Target['removeCanary']>[0] => {
    step += 1;
    const fence: WriteFence = { release, epoch, step, attempt: 1 };
    return { version: version ?? 'The new version', artifact: null, fence, signal };
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
  const overruling = (write: () => Promise<string>): Promise<DirectWrite> =>
    run(async () => {
      try {
        return await write();
      } catch (error) {
        if (!(error instanceof TargetFailure) || error.kind !== 'fenceLost') throw error;
        // Somebody's hand has written in between, with a time of theirs; whoever gives this command comes after them.
        epoch = Math.max(epoch + 1, Date.now());
        return write();
      }
    });
  const zeroAt = (target: Target): Promise<DirectWrite> =>
    overruling(() => target.setWeight({ ...next(), weight: 0, previousWeight: 100, match: [] }));
  const toZero = async (): Promise<DirectWrite> => {
    let zero = await zeroAt(first.target);
    for (const { target } of others) zero = await zeroAt(target);
    return zero;
  };
  const restore = (): Promise<DirectWrite> =>
    overruling(() => first.target.restoreStable({ ...next(), stableVersion: 'its version of before' }));
  // Stable's new pods may be the ones that fail, whatever their number says: they are not to get everything.
  if (promoted) await restore();
  const zero =
    promoted || first.plan.strategy === 'blueGreen'
      ? await untilThere(toZero, signal)
      : await restoreAround(toZero, restore, signal);
  await delay(first.plan.drainMs, undefined, { signal });
  for (const { target } of all) await untilThere(() => run(() => target.removeCanary(next())), signal);
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
    // Of a promotion that somebody else has undone stable is not taken for what it was before it is restored.
    const isRefused = error instanceof TargetFailure && error.kind === 'invalidTarget';
    if (!isUnreachable(error) && !isRefused) throw error;
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

/** How a release was made, by what is there of it. */
interface FoundRelease extends LeftRelease {
  readonly version: string | null;
  /** Stable runs what a promotion made of it, and the new version has pods that can carry the traffic meanwhile. */
  readonly promoted: boolean;
}

async function findRelease(
  cluster: Cluster,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<FoundRelease> {
  const deployments = await asTargetFailure(() =>
    cluster.list({ apiVersion: 'apps/v1', kind: 'Deployment', namespace }, { signal }),
  );
  const held = deployments.flatMap((object) => {
    const note = targetNoteOn(object);
    const fence = fenceOn(object);
    return note?.plan.serviceName === name && fence !== null ? [{ object, note, fence }] : [];
  });
  // A release that was ended from outside may have left its note on the other colour.
  const newest = newestFence(held.map(({ object }) => object));
  for (const { object, note, fence } of held) {
    if (newest === null || compareFences(fence, newest) !== 0) continue;
    const { plan, version } = note;
    const stable = deployments.filter(({ metadata }) => isStableOf(plan.deployment, metadata.name));
    const promoted = stable.some((one) => isPromoted(one, fence.release)) && hasPods(object);
    return { plans: [plan], version, fence, promoted };
  }
  const { left, unseen } = await asTargetFailure(() =>
    findLeftRelease(cluster, { namespace, name, deployments }, signal),
  );
  if (left === null) {
    throw (
      (await notThere(cluster, { namespace, name, deployments }, signal)) ?? nothingThere({ namespace, name }, unseen)
    );
  }
  return { ...left, version: null, promoted: false };
}

function isStableOf(deployment: string, name: string): boolean {
  return name === deployment || name === `${deployment}-stable`;
}

function hasPods(object: KubernetesObject): boolean {
  return readDeployment(object).availableReplicas > 0;
}

/** A name that means nothing here is most likely a slip; null where there is such a service, or it cannot be told. */
async function notThere(
  cluster: Cluster,
  { namespace, name, deployments }: { namespace: string; name: string; deployments: readonly KubernetesObject[] },
  signal: AbortSignal,
): Promise<TargetFailure | null> {
  if (await isMissing(cluster, { apiVersion: 'v1', kind: 'Namespace', name: namespace }, signal)) {
    return new TargetFailure(
      'invalidTarget',
      `There is no namespace ${namespace} in this cluster, so there is nothing to take back; write NAMESPACE/SERVICE, and look at the kubeconfig's context.`,
    );
  }
  const isKnown = deployments.some(
    ({ metadata }) => isStableOf(name, metadata.name) || metadata.labels?.[SERVICE_LABEL] === name,
  );
  if (isKnown || !(await isMissing(cluster, { apiVersion: 'v1', kind: 'Service', namespace, name }, signal)))
    return null;
  return new TargetFailure(
    'invalidTarget',
    `There is no service ${name} in namespace ${namespace}: no Service and no Deployment has that name, and none the label ${SERVICE_LABEL}=${name}, so there is nothing to take back; write NAMESPACE/SERVICE for one of another namespace.`,
  );
}

/** Who may not look does not know, and then it may be there. */
async function isMissing(cluster: Cluster, ref: ObjectRef, signal: AbortSignal): Promise<boolean> {
  try {
    return (await cluster.find(ref, { signal })) === null;
  } catch (error) {
    if (error instanceof ClusterFailure && error.kind !== 'cancelled') return false;
    throw error;
  }
}

function nothingThere(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  unseen: readonly string[],
): TargetFailure {
  const but = unseen.length === 0 ? '' : ` (but your rights do not let you list ${unseen.join(', ')})`;
  return new TargetFailure(
    'invalidTarget',
    `No Deployment in namespace ${namespace} has the new version of a release of ${name}, and none of its traffic is held by one${but}, so there is nothing to take back: it is back already, was promoted for good, or was never released; kubectl -n ${namespace} get deployments -L sluice.dev/service shows what there is.`,
  );
}
