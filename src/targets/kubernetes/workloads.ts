import { annotate, compareFences, fenceOn, parseJson, refuseStale, withFence } from '../../traffic/fence';
import type { Fence } from '../../traffic/fence';
import { disown, insist, refOf, rewrite } from '../../traffic/held-object';
import type { TrafficRouter } from '../../traffic/traffic-router';
import { z } from 'zod';
import { TargetFailure } from '../target';
import type { Cluster } from './cluster';
import { ClusterFailure } from './cluster-failure';
import { readDeployment } from './deployment-view';
import type { DeploymentView } from './deployment-view';
import type { KubernetesObject, ObjectRef } from './objects';
import { copiesIn, withCopies, withOriginals } from './pod-config';
import type { Copies } from './pod-config';
import { OWNER_LABEL } from './tracks';
import type { Labels } from './tracks';
import { withImage } from './track-manifest';
import { withoutTargetNote } from './target-note';

/**
 * On the stable Deployment while a promotion is under way: what it had before, images by container, and with
 * `config: snapshot` the copies it named; and that it had no pods, where it had none.
 */
const PROMOTION_ANNOTATION = 'sluice.dev/promotion';

const Promotion = z.object({
  release: z.string(),
  images: z.record(z.string(), z.string()),
  copies: z.record(z.string(), z.string()).optional(),
  replicas: z.literal(0).optional(),
});

export interface WorkloadWrite {
  readonly fence: Fence;
  readonly signal: AbortSignal;
}

export function deploymentRef(namespace: string, name: string): ObjectRef {
  return { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name };
}

export function serviceRef(namespace: string, name: string): ObjectRef {
  return { apiVersion: 'v1', kind: 'Service', namespace, name };
}

/** True for what a release made, and may therefore remove. */
export function isMade(object: { readonly metadata: { readonly labels?: Readonly<Record<string, string>> } }): boolean {
  return object.metadata.labels?.[OWNER_LABEL] !== undefined;
}

/**
 * Makes an object, or brings the one that is there to what it should be: the given fields of its spec, and its labels.
 * An object that the user made keeps its labels, and gets only what `adopt` says.
 */
export async function ensure(
  cluster: Cluster,
  wanted: KubernetesObject,
  write: WorkloadWrite,
  adopt: (live: KubernetesObject) => KubernetesObject,
): Promise<{ readonly object: KubernetesObject; readonly made: boolean }> {
  const ref = refOf(wanted);
  return insist(ref, async () => {
    const live = await cluster.find(ref, { signal: write.signal });
    if (live === null) {
      // Not to be broken off: whether it was made would not be known.
      return { object: await cluster.create(wanted, { signal: AbortSignal.timeout(MAKE_MS) }), made: true };
    }
    const { after } = await rewrite(cluster, ref, write, (object) => {
      if (!isMade(object)) return withFence(adopt(object), write.fence);
      return withFence(
        {
          ...object,
          metadata: {
            ...object.metadata,
            labels: { ...object.metadata.labels, ...wanted.metadata.labels },
            annotations: { ...object.metadata.annotations, ...wanted.metadata.annotations },
          },
          spec: { ...(object['spec'] as object), ...(wanted['spec'] as object) },
        },
        write.fence,
      );
    });
    return { object: after, made: false };
  });
}

/** For a creation, and for looking whether it came too late: not broken off by a cancellation. */
const MAKE_MS = 10_000;

/**
 * As `ensure`; but what was made too late, when a later write holds the traffic already, is taken away again, because
 * whoever wrote that has looked for it before. That happens to an attempt whose worker stood still, or that was
 * cancelled while its request was under way.
 *
 * @throws TargetFailure `fenceLost` when it came too late.
 */
export async function ensureUnlessLate(
  cluster: Cluster,
  traffic: Pick<TrafficRouter, 'observe'>,
  wanted: KubernetesObject,
  write: WorkloadWrite,
  adopt: (live: KubernetesObject) => KubernetesObject,
): Promise<void> {
  try {
    const { made } = await ensure(cluster, wanted, write, adopt);
    if (!made) return;
  } catch (error) {
    // Nobody may come back to what was made without an answer.
    const unanswered = error instanceof ClusterFailure && error.kind === 'timeout';
    if (write.signal.aborted || unanswered) await undoIfLate(cluster, traffic, wanted, write);
    throw error;
  }
  await undoIfLate(cluster, traffic, wanted, write);
}

async function undoIfLate(
  cluster: Cluster,
  traffic: Pick<TrafficRouter, 'observe'>,
  wanted: KubernetesObject,
  { fence }: WorkloadWrite,
): Promise<void> {
  const signal = AbortSignal.timeout(MAKE_MS);
  const held = (await traffic.observe({ signal, fresh: true })).fence;
  if (held === null || compareFences(fence, held) >= 0) return;
  const ref = refOf(wanted);
  const live = await cluster.find(ref, { signal, fresh: true });
  // Another release may have made one by this name meanwhile.
  if (live !== null && isMade(live) && fenceOn(live)?.release === fence.release) {
    const { uid } = live.metadata;
    await cluster.delete(ref, { signal, ...(uid === undefined ? {} : { uid }) });
  }
  throw new TargetFailure('fenceLost', `A later write holds the traffic: release ${held.release}, step ${held.step}.`);
}

/** Sets how many pods a Deployment has, under the fence. */
export async function resize(cluster: Cluster, ref: ObjectRef, replicas: number, write: WorkloadWrite): Promise<void> {
  await rewrite(cluster, ref, write, (live) =>
    withFence({ ...live, spec: { ...(live['spec'] as object), replicas } }, write.fence),
  );
}

/** The pods that a Deployment of the user's own is left with after a release, and what they run. */
export interface KeptPods {
  readonly replicas: number;
  readonly container: string;
  readonly image: string;
}

/**
 * Takes a Deployment of the user's own out of the release: without pods unless some are kept, its template naming what it
 * named before.
 */
export async function layDown(
  cluster: Cluster,
  ref: ObjectRef,
  kept: KeptPods | null,
  write: WorkloadWrite,
): Promise<void> {
  await rewrite(cluster, ref, write, (live) => {
    const original = withOriginals(readDeployment(live).template);
    const template = kept === null ? original : withImage(original, kept);
    const replicas = kept?.replicas ?? 0;
    return withFence({ ...live, spec: { ...(live['spec'] as object), replicas, template } }, write.fence);
  });
}

/** Gives stable the new image and, where there are copies, these; remembers the old ones on it in the same write. */
export async function replaceImage(
  cluster: Cluster,
  ref: ObjectRef,
  change: {
    readonly container: string;
    readonly image: string;
    readonly copies: Copies | null;
    /** Pods for stable where it has none now. */
    readonly firstReplicas: number;
    /** False where it has none only because the canary has them all: on the way back it is not to have none again. */
    readonly hadNone: boolean;
  },
  write: WorkloadWrite,
): Promise<DeploymentView> {
  const { after } = await rewrite(cluster, ref, write, (live) => {
    const view = readDeployment(live);
    const held = promotionOn(live);
    const { copies } = change;
    const before =
      held?.release === write.fence.release
        ? held
        : {
            release: write.fence.release,
            images: Object.fromEntries(view.containers.map((one) => [one.name, one.image])),
            ...(copies === null ? {} : { copies: copiesIn(view.template) }),
            ...(view.replicas === 0 && change.hadNone ? { replicas: 0 } : {}),
          };
    const replaced = withImage(view.template, change);
    const template = copies === null ? replaced : withCopies(replaced, copies);
    const replicas = view.replicas === 0 ? { replicas: change.firstReplicas } : {};
    const spec = { ...(live['spec'] as object), ...replicas, template };
    return annotate(withFence({ ...live, spec }, write.fence), { [PROMOTION_ANNOTATION]: JSON.stringify(before) });
  });
  return readDeployment(after);
}

/** Gives stable the images and copies back that a promotion of this release replaced; null when none did. */
export async function restoreImages(
  cluster: Cluster,
  ref: ObjectRef,
  write: WorkloadWrite,
): Promise<DeploymentView | null> {
  let restored = false;
  const { after } = await rewrite(cluster, ref, write, (live) => {
    const held = promotionOn(live);
    restored = held?.release === write.fence.release;
    if (held === null || !restored) return withFence(live, write.fence);
    let { template } = readDeployment(live);
    if (held.copies !== undefined) template = withCopies(template, held.copies);
    for (const [container, image] of Object.entries(held.images)) template = withImage(template, { container, image });
    const replicas = held.replicas === undefined ? {} : { replicas: held.replicas };
    return withFence({ ...live, spec: { ...(live['spec'] as object), ...replicas, template } }, write.fence);
  });
  return restored ? readDeployment(after) : null;
}

/** True while the object's template is what a promotion of the release made it. */
export function isBeingPromoted(object: KubernetesObject, release: string): boolean {
  return promotionOn(object)?.release === release;
}

/** Ends the release's hold of an object that stays: only the fence is left, so that a late write is still refused. */
export async function letGo(cluster: Cluster, ref: ObjectRef, write: WorkloadWrite): Promise<void> {
  // By the server's own word: what is left untouched finds out about nothing.
  const live = await cluster.find(ref, { signal: write.signal, asked: true });
  // Nothing was written to it: it is left untouched.
  if (live === null || fenceOn(live)?.release !== write.fence.release) return;
  await rewrite(cluster, ref, write, (object) =>
    withoutTargetNote(annotate(withFence(object, write.fence), { [PROMOTION_ANNOTATION]: null })),
  );
  await disown(cluster, ref, write);
}

/** Gives back the fields of what a release made for good; an object of the user's own has none of them. */
export async function giveBack(cluster: Cluster, ref: ObjectRef, write: WorkloadWrite): Promise<void> {
  const told = await cluster.find(ref, { signal: write.signal });
  const live = told ?? (await cluster.find(ref, { signal: write.signal, asked: true }));
  if (live !== null && isMade(live)) await disown(cluster, ref, write);
}

/** Removes what a release made. False when it was not there, or is the user's own. */
export async function removeMade(cluster: Cluster, ref: ObjectRef, write: WorkloadWrite): Promise<boolean> {
  return insist(ref, async () => {
    const told = await cluster.find(ref, { signal: write.signal });
    // A deletion lands only on what was read; that there is nothing to delete must be asked.
    const live = told !== null && isMade(told) ? told : await cluster.find(ref, { signal: write.signal, asked: true });
    if (live === null || !isMade(live)) return false;
    // A later release may have taken it over, or may do so in between: then it is another version.
    refuseStale(live, write.fence);
    const { uid, resourceVersion } = live.metadata;
    return cluster.delete(ref, {
      signal: write.signal,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    });
  });
}

/** @throws TargetFailure `invalidTarget` when a canary that a release made would need another selector, which cannot change. */
export function refuseOtherSelector(canary: KubernetesObject, wanted: Labels): void {
  if (!isMade(canary)) return;
  const { matchLabels = {} } = (canary['spec'] as { selector?: { matchLabels?: Labels } }).selector ?? {};
  const sorted = (labels: Labels): string => JSON.stringify(Object.entries(labels).sort());
  if (sorted(matchLabels) === sorted(wanted)) return;
  const { name, namespace } = canary.metadata;
  throw new TargetFailure(
    'invalidTarget',
    `Deployment ${namespace ?? ''}/${name} selects its pods by other labels than the release needs, and Kubernetes does not let a selector change; delete it, and the next release makes it anew.`,
  );
}

function promotionOn(object: KubernetesObject): z.infer<typeof Promotion> | null {
  return parseJson(Promotion, object.metadata.annotations?.[PROMOTION_ANNOTATION]);
}
