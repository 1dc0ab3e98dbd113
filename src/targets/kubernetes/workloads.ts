import { annotate, compareFences, fenceOn, parseJson, refuseStale, withFence } from '../../traffic/fence';
import type { Fence } from '../../traffic/fence';
import { disown, insist, isOwned, refOf, rewrite } from '../../traffic/held-object';
import { diff } from '../../traffic/json-patch';
import type { TrafficRouter } from '../../traffic/traffic-router';
import { z } from 'zod';
import { TargetFailure } from '../target';
import type { Cluster } from './cluster';
import { ClusterFailure } from './cluster-failure';
import { readDeployment } from './deployment-view';
import type { DeploymentView } from './deployment-view';
import { describeRef } from './objects';
import type { KubernetesObject, ObjectRef } from './objects';
import { copiesIn, withCopies, withOriginals } from './pod-config';
import type { Copies, PodTemplate } from './pod-config';
import { describe, OWNER_LABEL } from './tracks';
import type { Labels } from './tracks';
import { SCRAPED, withImage } from './track-manifest';
import { KEPT_ANNOTATION, targetNoteOn, withoutTargetNote } from './target-note';

/**
 * On the stable Deployment while a promotion is under way: what it had before, images by container, and with
 * `config: snapshot` the copies it named; and that it had no pods, where it had none. And what the promotion gave it, so
 * that one who has put it back is found out; until the release itself has `restored` it.
 */
const PROMOTION_ANNOTATION = 'sluice.dev/promotion';

const Promotion = z.object({
  release: z.string(),
  images: z.record(z.string(), z.string()),
  copies: z.record(z.string(), z.string()).optional(),
  replicas: z.literal(0).optional(),
  to: z
    .object({ container: z.string(), image: z.string(), copies: z.record(z.string(), z.string()).optional() })
    .optional(),
  restored: z.literal(true).optional(),
});
type Promotion = z.infer<typeof Promotion>;

/** The proven version, as stable gets it. */
export interface ProvenVersion {
  readonly container: string;
  readonly image: string;
  /** Null where the pods read the originals. */
  readonly copies: Copies | null;
}

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

/**
 * What somebody else has made of a Service of the release's own to which a gateway sends a share, a sentence that tells
 * that it is put right; null where it is as it should be. One of the user's own is his.
 */
export async function editOfService(
  cluster: Cluster,
  ref: ObjectRef,
  {
    wanted,
    isRight,
    signal,
  }: { readonly wanted: Labels; readonly isRight: (selector: Labels) => boolean; readonly signal: AbortSignal },
): Promise<string | null> {
  const live = (await cluster.find(ref, { signal })) ?? (await cluster.find(ref, { signal, asked: true }));
  if (live === null) return `${describeRef(ref)} was gone, and was made again.`;
  const { selector = {} } = live['spec'] as { readonly selector?: Labels };
  if (!isMade(live) || isRight(selector)) return null;
  return `${describeRef(ref)} selected ${describe(selector) || 'nothing'}, and was given ${describe(wanted)} again.`;
}

/** True for what a release made, and may therefore remove. */
export function isMade(object: { readonly metadata: { readonly labels?: Readonly<Record<string, string>> } }): boolean {
  return object.metadata.labels?.[OWNER_LABEL] !== undefined;
}

/**
 * Makes an object, or brings the one that is there to what it should be: the given fields of its spec, and its labels.
 * An object that the user made keeps its labels, and gets only what `adopt` says.
 *
 * @throws TargetFailure `unreachable` while the one that is there is being deleted: what is written to it goes with it.
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
      refuseTerminating(object);
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

function finalizersOf({ metadata: { finalizers } }: KubernetesObject): readonly string[] {
  return Array.isArray(finalizers) ? (finalizers as readonly unknown[]).map(String) : [];
}

function refuseTerminating(object: KubernetesObject): void {
  const { deletionTimestamp, namespace = '', name } = object.metadata;
  if (deletionTimestamp === undefined) return;
  const { kind } = object;
  const finalizers = finalizersOf(object);
  const shown = finalizers.length > 0 ? ` (${finalizers.join(', ')})` : '';
  throw new TargetFailure(
    'unreachable',
    `${kind} ${namespace}/${name} is being deleted and stands until its finalizers${shown} are taken off it; whoever set them has to, and the release makes a new one then.`,
  );
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
): Promise<KubernetesObject> {
  let ensured: Awaited<ReturnType<typeof ensure>>;
  try {
    ensured = await ensure(cluster, wanted, write, adopt);
  } catch (error) {
    // Nobody may come back to what was made without an answer.
    const unanswered = error instanceof ClusterFailure && error.kind === 'timeout';
    if (write.signal.aborted || unanswered) await undoIfLate(cluster, traffic, wanted, write);
    throw error;
  }
  if (ensured.made) await undoIfLate(cluster, traffic, wanted, write);
  return ensured.object;
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

/** Sets how many pods a Deployment has, under the fence; `noted` is what the same write notes on it. */
export async function resize(
  cluster: Cluster,
  ref: ObjectRef,
  replicas: number,
  write: WorkloadWrite,
  noted = (live: KubernetesObject): KubernetesObject => live,
): Promise<void> {
  await rewrite(cluster, ref, write, (live) =>
    withFence(noted({ ...live, spec: { ...(live['spec'] as object), replicas } }), write.fence),
  );
}

/** Lets a Deployment roll out again that somebody has paused, under the fence. */
export async function resume(cluster: Cluster, ref: ObjectRef, write: WorkloadWrite): Promise<void> {
  await rewrite(cluster, ref, write, (live) => {
    const { paused: _, ...spec } = live['spec'] as Readonly<Record<string, unknown>>;
    return withFence({ ...live, spec }, write.fence);
  });
}

/** Gives a Deployment at least so many pods, under the fence; one that has them by now is left as it is. Answers how many it has. */
export async function grow(cluster: Cluster, ref: ObjectRef, replicas: number, write: WorkloadWrite): Promise<number> {
  const { after } = await rewrite(cluster, ref, write, (live) =>
    readDeployment(live).replicas >= replicas
      ? live
      : withFence({ ...live, spec: { ...(live['spec'] as object), replicas } }, write.fence),
  );
  return readDeployment(after).replicas;
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

/**
 * Gives stable the new image and, where there are copies, these; remembers the old ones on it in the same write. Answers
 * what it has then, and what of that is the proven version: where an admission controller rewrites images (to those of a
 * mirror), that is what it made of it.
 */
export async function replaceImage(
  cluster: Cluster,
  ref: ObjectRef,
  change: ProvenVersion & {
    /** Pods for stable where it has none now. */
    readonly firstReplicas: number;
    /** False where it has none only because the canary has them all: on the way back it is not to have none again. */
    readonly hadNone: boolean;
  },
  write: WorkloadWrite,
): Promise<{ readonly asked: DeploymentView; readonly proven: ProvenVersion }> {
  const { container, image, copies } = change;
  const { after } = await rewrite(cluster, ref, write, (live) => {
    const view = readDeployment(live);
    const held = promotionOn(live);
    const before =
      // Of a promotion that another release has left half done it is what was there before that.
      held !== null && (held.release === write.fence.release || isUnderWay(view, change))
        ? { ...held, release: write.fence.release, restored: undefined }
        : {
            release: write.fence.release,
            images: Object.fromEntries(view.containers.map((one) => [one.name, one.image])),
            ...(copies === null ? {} : { copies: copiesIn(view.template) }),
            ...(view.replicas === 0 && change.hadNone ? { replicas: 0 as const } : {}),
          };
    const template = withProven(view.template, change);
    const replicas = view.replicas === 0 ? { replicas: change.firstReplicas } : {};
    const spec = { ...(live['spec'] as object), ...replicas, template };
    const to = { container, image, ...(copies === null ? {} : { copies }) };
    return withPromotion(withFence({ ...live, spec }, write.fence), { ...before, to });
  });
  const asked = readDeployment(after);
  const admitted = asked.containers.find(({ name }) => name === container)?.image ?? null;
  const note = promotionOn(after);
  // Who answers a write with the old image is one who undoes it.
  const isOwn = admitted === null || admitted === image || admitted === note?.images[container];
  if (isOwn || note?.to === undefined) return { asked, proven: { container, image, copies } };
  const to = { ...note.to, image: admitted };
  await rewrite(cluster, ref, write, (live) => withPromotion(withFence(live, write.fence), { ...note, to }));
  return { asked, proven: { container, image: admitted, copies } };
}

function withProven(template: PodTemplate, { copies, ...image }: ProvenVersion): PodTemplate {
  const replaced = withImage(template, image);
  return copies === null ? replaced : withCopies(replaced, copies);
}

/** What a Deployment has in place of the proven version, as a clause (`has the image …`); null when it has that. */
export function otherThanProven({ containers, template }: DeploymentView, proven: ProvenVersion): string | null {
  const image = containers.find((one) => one.name === proven.container)?.image;
  if (image !== proven.image) return `has the image ${image ?? 'of none'} in place of ${proven.image}`;
  if (diff(template, withProven(template, proven)).length === 0) return null;
  return 'names other configuration than the copies of the release';
}

/**
 * What somebody else has made of a stable Deployment that a promotion of the release has given the proven version, as
 * `otherThanProven`; null when nobody has, when it is not promoted, and when the release has taken it back itself.
 */
export function undoneBySomebody(object: KubernetesObject, release: string): string | null {
  const held = promotionOn(object);
  // Workers of before did not say what they gave it.
  if (held?.release !== release || held.restored === true || held.to === undefined) return null;
  return otherThanProven(readDeployment(object), { ...held.to, copies: held.to.copies ?? null });
}

/** True when the template is what the promotion would make it. */
function isUnderWay(view: DeploymentView, { container, image }: { container: string; image: string }): boolean {
  return view.containers.some((one) => one.name === container && one.image === image);
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
    const template = templateBefore(readDeployment(live).template, held);
    const replicas = held.replicas === undefined ? {} : { replicas: held.replicas };
    const spec = { ...(live['spec'] as object), ...replicas, template };
    return withPromotion(withFence({ ...live, spec }, write.fence), { ...held, restored: true });
  });
  return restored ? readDeployment(after) : null;
}

/** True once this release has given it its images back. */
export function isRestored(object: KubernetesObject, release: string): boolean {
  const held = promotionOn(object);
  return held?.release === release && held.restored === true;
}

/** True from the release's promotion of the object on, until it lets it go; also once the old template is back. */
export function isBeingPromoted(object: KubernetesObject, release: string): boolean {
  return promotionOn(object)?.release === release;
}

/** True while the template still is what a promotion of the release made it, and not again what it was before that. */
export function isPromoted(object: KubernetesObject, release: string): boolean {
  const held = promotionOn(object);
  if (held?.release !== release) return false;
  const { template } = readDeployment(object);
  return diff(template, templateBefore(template, held)).length > 0;
}

function templateBefore(promoted: PodTemplate, { images, copies }: z.infer<typeof Promotion>): PodTemplate {
  let template = copies === undefined ? promoted : withCopies(promoted, copies);
  for (const [container, image] of Object.entries(images)) template = withImage(template, { container, image });
  return template;
}

/** True while a promotion has not been ended, whichever release began it. */
export function isHalfPromoted(object: KubernetesObject): boolean {
  return promotionOn(object) !== null;
}

/**
 * Ends the release's hold of an object that stays: only the fence is left, so that a late write is still refused. What an
 * older release has left on it, that was ended from outside, goes along: it cannot write here any more.
 */
export async function letGo(cluster: Cluster, ref: ObjectRef, write: WorkloadWrite): Promise<void> {
  // By the server's own word: what is left untouched finds out about nothing.
  const live = await cluster.find(ref, { signal: write.signal, asked: true });
  // Nothing was written to it, and nothing is left on it: it is left untouched.
  if (live === null || !(isOf(live, write.fence) || hasLeft(live, cluster.fieldManager, write.fence))) return;
  await rewrite(cluster, ref, write, (object) =>
    withoutTargetNote(annotate(withFence(object, write.fence), { [PROMOTION_ANNOTATION]: null })),
  );
  await disown(cluster, ref, write);
}

function isOf(object: KubernetesObject, { release }: Fence): boolean {
  return fenceOn(object)?.release === release;
}

/** True for what a release before this one has not let go of. */
function hasLeft(object: KubernetesObject, fieldManager: string, fence: Fence): boolean {
  const held = fenceOn(object);
  if (held === null || !(compareFences(fence, held) > 0)) return false;
  return isHalfPromoted(object) || targetNoteOn(object) !== null || isOwned(object, fieldManager);
}

/**
 * Gives back the fields of what a release made for good, without its note, and without that by which Prometheus finds pods:
 * nobody gets a share by it any more. An object of the user's own has none of them.
 */
export async function giveBack(cluster: Cluster, ref: ObjectRef, write: WorkloadWrite): Promise<void> {
  const told = await cluster.find(ref, { signal: write.signal });
  const live = told ?? (await cluster.find(ref, { signal: write.signal, asked: true }));
  if (live === null || !isMade(live)) return;
  const passing = Object.keys(live.metadata.annotations ?? {}).filter(
    (key) => key === KEPT_ANNOTATION || key.startsWith(SCRAPED),
  );
  if (passing.length > 0) {
    const without = Object.fromEntries(passing.map((key) => [key, null]));
    await rewrite(cluster, ref, write, (object) => annotate(withFence(object, write.fence), without));
  }
  await disown(cluster, ref, write);
}

/** What was removed stands until all of these are taken off it; empty where it is gone. */
export interface Removal {
  readonly finalizers: readonly string[];
}

/** Removes what a release made. Null when it was not there, or is the user's own. */
export async function removeMade(cluster: Cluster, ref: ObjectRef, write: WorkloadWrite): Promise<Removal | null> {
  return insist(ref, async () => {
    const told = await cluster.find(ref, { signal: write.signal });
    // A deletion lands only on what was read; that there is nothing to delete must be asked.
    const live = told !== null && isMade(told) ? told : await cluster.find(ref, { signal: write.signal, asked: true });
    if (live === null || !isMade(live)) return null;
    // A later release may have taken it over, or may do so in between: then it is another version.
    refuseStale(live, write.fence);
    const { uid, resourceVersion } = live.metadata;
    const removed = await cluster.delete(ref, {
      signal: write.signal,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    });
    // It was removed as it was read.
    return removed ? { finalizers: finalizersOf(live) } : null;
  });
}

/** Of what was removed: `is gone`, or what it waits for. */
export function describeRemoval({ finalizers }: Removal): string {
  if (finalizers.length === 0) return 'is gone';
  const [its, them] = finalizers.length === 1 ? ['its finalizer', 'is'] : ['its finalizers', 'are'];
  return `is being deleted and stands until ${its} ${finalizers.join(', ')} ${them} taken off it, which whoever set it has to do`;
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

function withPromotion(object: KubernetesObject, note: Promotion): KubernetesObject {
  return annotate(object, { [PROMOTION_ANNOTATION]: JSON.stringify(note) });
}

function promotionOn(object: KubernetesObject): Promotion | null {
  return parseJson(Promotion, object.metadata.annotations?.[PROMOTION_ANNOTATION]);
}
