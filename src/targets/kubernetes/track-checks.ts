import { setTimeout as delay } from 'node:timers/promises';
import { isSameImage } from '../../spec/image-reference';
import type { KubernetesTargetPlan, TrafficPlan } from '../../spec/plan-types';
import { compareFences } from '../../traffic/fence';
import { refOf, rewrite } from '../../traffic/held-object';
import { sameMatch } from '../../traffic/route-shape';
import type { TrafficDocument, TrafficView } from '../../traffic/traffic-router';
import { TargetFailure } from '../target';
import type { TargetWrite } from '../target';
import type { Cluster } from './cluster';
import { READY_DEFAULTS } from './defaults';
import { readDeployment } from './deployment-view';
import type { DeploymentView } from './deployment-view';
import { asTargetFailure } from './failures';
import { editOfPods, givenPods, imageIn, imageOf, otherPlaces, ownNote } from './given-pods';
import type { GivenPods } from './given-pods';
import type { KubernetesObject } from './objects';
import { checkPermissions } from './permissions';
import { targetNoteOn, withTemplateNote } from './target-note';
import { withImage } from './track-manifest';
import { describe, selects } from './tracks';
import type { Labels } from './tracks';
import { lookIfReady } from './wait-ready';
import { isMade } from './workloads';

/** From a write to the controller's word that it is in force. */
export const CONFIRM_MS = 30_000;
/** On the way back the write is what counts; whoever serves it is asked for its word before pods are taken away. */
export const CONFIRM_BACK_MS = 10_000;
/** Of a raise whose pods the activity's own deadline bounds. */
export const PODS_MS = 2 * 3_600_000;

/** Kubernetes' own: a Service's name is a DNS label. */
const MAX_SERVICE_NAME = 63;

export interface KubernetesTargetDeps {
  readonly cluster: Cluster;
  /** The image by its digest. */
  readonly resolve: (image: string, signal: AbortSignal) => Promise<string>;
  /** Waits until gateways have heard of a version's first pods; for as long as they mostly take, by default. */
  readonly gatewaysHear?: (signal: AbortSignal) => Promise<void>;
}

/** A version's first pods are there: whoever sends users to them is to know that before it is told to. */
export async function letGatewaysHear(
  { gatewaysHear = usualTime }: Pick<KubernetesTargetDeps, 'gatewaysHear'>,
  { kind }: TrafficPlan,
  signal: AbortSignal,
): Promise<void> {
  // These find pods by the Service that users' requests go to, which has other pods until then.
  if (kind === 'serviceSelector' || kind === 'replicas') return;
  await gatewaysHear(signal);
}

/** None of them says what pods it knows. */
async function usualTime(signal: AbortSignal): Promise<void> {
  await delay(READY_DEFAULTS.gatewayHearsMs, undefined, { signal });
}

/**
 * What a release needs beside its objects, before it looks at any: names that fit, the rights, and the image by its digest.
 *
 * @throws TargetFailure `invalidTarget` that names each missing right, or for a name that is too long.
 */
export async function prepareRelease(
  plan: KubernetesTargetPlan,
  { cluster, resolve }: KubernetesTargetDeps,
  { version, signal }: { readonly version: string; readonly signal: AbortSignal },
): Promise<string> {
  refuseLongName(plan);
  const [missing, artifact] = await Promise.all([
    checkPermissions(cluster, { plan, signal }),
    plan.resolveImage === 'never' ? version : resolve(version, signal),
  ]);
  if (missing.length === 0) return artifact;
  throw new TargetFailure(
    'invalidTarget',
    `The worker lacks permissions: ${missing.join('; ')}. \`sluice rbac\` prints the Role it needs.`,
  );
}

/**
 * The image as a track has it, where that is the same by its digest: another tag beside it (a repeated release, a stable
 * version that was promoted without one) makes no other version, and no pods anew.
 */
export function asItRuns(artifact: string, tracks: readonly (string | null)[]): string {
  return tracks.find((image) => image !== null && isSameImage(image, artifact)) ?? artifact;
}

/** A track's Service is called like the user's with a suffix, which must fit, too. */
function refuseLongName(plan: KubernetesTargetPlan): void {
  const { service, strategy, traffic } = plan;
  const suffix = strategy === 'blueGreen' ? '-green' : '-canary';
  const longest = MAX_SERVICE_NAME - suffix.length;
  // Where pods are the share, the one Service finds both tracks.
  if (traffic.kind === 'replicas' || service.length <= longest) return;
  throw new TargetFailure(
    'invalidTarget',
    `The name of Service ${service} has ${service.length} characters; allowed are ${longest}, because the release makes ${service}${suffix} beside it, and Kubernetes takes no name of a Service beyond ${MAX_SERVICE_NAME}: release by a Service with a shorter name.`,
  );
}

interface Answered {
  readonly before: KubernetesObject | null;
  readonly after: KubernetesObject;
  readonly container: string;
}

/** Notes by a write of its own what the server has answered. */
export async function noteAdmitted(cluster: Cluster, answered: Answered, write: TargetWrite): Promise<void> {
  const noted = admittedNote(answered, write);
  if (noted !== null) await rewrite(cluster, refOf(answered.after), write, noted);
}

/**
 * Notes what admission controllers (that of a mirror, or one that adds a sidecar) have made of what the release gave a
 * Deployment, so that it is nobody's edit. Null where there is nothing to note.
 */
export function admittedNote(
  { before, after, container }: Answered,
  write: TargetWrite,
): ((live: KubernetesObject) => KubernetesObject) | null {
  const view = readDeployment(after);
  const image = imageIn(view, container);
  if (image === null) return null;
  // Who answers a write with the image of before is one who undoes it.
  const isOther = image !== imageOf(write);
  const isAsBefore = before !== null && imageIn(readDeployment(before), container) === image;
  const isUndone = isAsBefore && !isAsCreated(before, write) && givenPods(before, container, write).image !== image;
  if (isOther && isUndone) return null;
  const { template } = givenPods(after, container, write);
  if (!isOther && template !== null && otherPlaces(template, view.template).length === 0) return null;
  return (live) => {
    const note = targetNoteOn(live);
    const admitted = isOther ? { admitted: image } : {};
    return note === null ? live : withTemplateNote(live, { ...note, ...admitted }, view.template);
  };
}

/** True for what the release has made, and nobody has changed since: an attempt before this one ended right after that. */
function isAsCreated(object: KubernetesObject, write: TargetWrite): boolean {
  return isMade(object) && ownNote(object, write) !== null && readDeployment(object).generation === 1;
}

/**
 * @throws TargetFailure where somebody has given the new version's Deployment other pods than the tested ones:
 * `guardTripped` where that `ends` the release, and else `invalidTarget`.
 */
export function refuseUntested(view: DeploymentView, pods: GivenPods, { ends = false } = {}): void {
  const edit = editOfPods(view, pods);
  if (edit === null) return;
  throw new TargetFailure(
    ends ? 'guardTripped' : 'invalidTarget',
    `Deployment ${view.namespace}/${view.name} has ${edit.found} in place of ${edit.given}: somebody else has changed it, and what was tested is not what would serve.`,
  );
}

/** A Deployment that the user made keeps all but its image and its pods' number. */
export function adopted(
  live: KubernetesObject,
  change: { readonly container: string; readonly image: string; readonly replicas: number },
): KubernetesObject {
  const view = readDeployment(live);
  refuseOtherContainers(view, change.container);
  return {
    ...live,
    spec: { ...(live['spec'] as object), replicas: change.replicas, template: withImage(view.template, change) },
  };
}

/** @throws TargetFailure `invalidTarget` for a Deployment beside stable that has no such container. */
export function refuseOtherContainers(view: DeploymentView, container: string): void {
  if (imageIn(view, container) !== null) return;
  throw new TargetFailure(
    'invalidTarget',
    `Deployment ${view.namespace}/${view.name} has no container ${container}, as the stable one has; make both alike.`,
  );
}

/** True when the objects say another weight than was asked for, or lack a header or cookie. */
export function differs(view: TrafficView, { weight, match }: TrafficDocument): boolean {
  if (view.weight !== null && Math.round(view.weight) !== weight) return true;
  return match.some((asked) => !view.match.some((found) => sameMatch(asked, found)));
}

/** True when a document sends anything to the new version that the routing does not send there now. */
export function isMore({ weight, match }: TrafficDocument, routed: TrafficView): boolean {
  if (weight > Math.round(routed.weight ?? 0)) return true;
  return match.some((asked) => !routed.match.some((found) => sameMatch(asked, found)));
}

/**
 * Does what is not to keep traffic from being lowered; answers why it failed, or null.
 *
 * @throws TargetFailure `fenceLost` of a write that must not go on; a cancellation.
 */
export async function failureInTheWayDown(run: () => Promise<unknown>): Promise<string | null> {
  try {
    await asTargetFailure(run);
    return null;
  } catch (error) {
    if (error instanceof TargetFailure && error.kind !== 'fenceLost') return error.message;
    throw error;
  }
}

/** @throws TargetFailure `fenceLost` when a later write holds the traffic: this one must not touch the target any more. */
export function refuseLate(
  { fence }: Pick<TrafficView, 'fence'>,
  write: TargetWrite,
  { namespace, service }: KubernetesTargetPlan,
): void {
  if (fence === null || compareFences(write.fence, fence) >= 0) return;
  const who =
    fence.release === write.fence.release
      ? 'has been taken from this release by a later write in its name: sluice rollback --direct, or a later attempt'
      : `is held by a later write: release ${fence.release}, step ${fence.step}`;
  throw new TargetFailure('fenceLost', `The traffic of ${namespace}/${service} ${who}.`);
}

/** @throws TargetFailure `unreachable` when the Deployment lacks available pods for its share. */
export function refuseWithoutPods(stable: DeploymentView, share: number): void {
  const needed = Math.ceil((stable.replicas * share) / 100);
  const available = stable.observedGeneration >= stable.generation ? stable.availableReplicas : 0;
  if (available >= needed) return;
  throw new TargetFailure(
    'unreachable',
    `Deployment ${stable.namespace}/${stable.name} has ${available} of the ${needed} available pods that ${share} % of the traffic need; the traffic stays where it is.`,
  );
}

/**
 * A gateway that has come back to its routes after an outage, and not yet to the pods, would send to those of before.
 *
 * @throws TargetFailure `unreachable` until all who watch the API server are back at it, too.
 */
export function refuseUntilFollowed(cluster: Cluster, to: DeploymentName): void {
  const left = followedIn(cluster);
  if (left === null) return;
  throw new TargetFailure(
    'unreachable',
    `${left} a gateway may not know the pods of Deployment ${to.namespace}/${to.name}, and the traffic stays where it is until then.`,
  );
}

/**
 * A gateway that has not yet come back to its routes sends to pods that have no traffic by now.
 *
 * @throws TargetFailure `unreachable` until all who watch the API server are back at it, too.
 */
export function keepUntilFollowed(cluster: Cluster, of: DeploymentName): void {
  const left = followedIn(cluster);
  if (left === null) return;
  throw new TargetFailure(
    'unreachable',
    `${left} a gateway may still send to the pods of Deployment ${of.namespace}/${of.name}, and they stay until then.`,
  );
}

/** How long still, as the beginning of a sentence; null where everybody is there. */
function followedIn({ outages }: Cluster): string | null {
  const leftMs = outages?.followedInMs() ?? 0;
  return leftMs === 0 ? null : `The API server was away; for another ${Math.ceil(leftMs / 1000)} s`;
}

interface DeploymentName {
  readonly namespace: string;
  readonly name: string;
}

/** What a Deployment still lacks for its share of the traffic, as a clause; null when its pods are there. */
export function lacksPods(
  {
    namespace,
    name,
    view,
  }: { readonly namespace: string; readonly name: string; readonly view: DeploymentView | null },
  { share, needed }: { readonly share: number; readonly needed: number },
): string | null {
  const available = view?.availableReplicas ?? 0;
  if (available >= needed) return null;
  return `Deployment ${namespace}/${name} has the pods that ${share} % need (${available} of ${needed} are available)`;
}

/** @throws TargetFailure `invalidTarget` for a paused Deployment; `so` says what that keeps from happening. */
export function refusePaused({ paused, namespace, name }: DeploymentView, so: string): void {
  if (!paused) return;
  throw new TargetFailure(
    'invalidTarget',
    `Deployment ${namespace}/${name} is paused, so it ${so}; resume it first: kubectl -n ${namespace} rollout resume deployment/${name}.`,
  );
}

/** @throws TargetFailure `invalidTarget` for a Service of the user's own that leads elsewhere than to these pods alone. */
export function refuseOtherPods(
  service: KubernetesObject,
  wanted: Labels,
  pods: { readonly of: string; readonly labels: Labels; readonly others: Labels },
): void {
  const { selector = {} } = service['spec'] as { selector?: Labels };
  if (selects(selector, pods.labels) && !selects(selector, pods.others)) return;
  const { namespace = '', name } = service.metadata;
  throw new TargetFailure(
    'invalidTarget',
    `Service ${namespace}/${name} is there already and selects ${describe(selector) || 'nothing'}, which is not the pods of ${pods.of} alone; let it select ${describe(wanted)}, or delete it, and the release makes it.`,
  );
}

/** Who splits the traffic, by name. */
function describeSplitter(namespace: string, traffic: TrafficPlan): string {
  switch (traffic.kind) {
    case 'gatewayAPI':
      return traffic.routes.map(({ kind, name }) => `${kind} ${namespace}/${name}`).join(' and ');
    case 'nginx':
      return traffic.ingresses.map((name) => `Ingress ${namespace}/${name}`).join(' and ');
    case 'traefik':
      return `TraefikService ${namespace}/${traffic.traefikService}`;
    case 'istio':
      return `VirtualService ${namespace}/${traffic.virtualService}`;
    case 'serviceSelector':
      return 'The selector';
    case 'replicas':
      return 'The number of pods';
    default:
      return traffic satisfies never;
  }
}

/** @throws TargetFailure `invalidTarget` when the routing does not lead to the Service at all, or cannot be split. */
export function refuseWithoutStable(routing: TrafficView, { namespace, service, traffic }: KubernetesTargetPlan): void {
  if (routing.weight === null) {
    throw new TargetFailure(
      'invalidTarget',
      `${describeSplitter(namespace, traffic)} does not lead to Service ${namespace}/${service}; make that a backend there first, or name what leads to it in the spec.`,
    );
  }
  if (routing.refusal !== undefined) throw new TargetFailure('invalidTarget', routing.refusal);
}

/** The sentence of a version whose pods fail for good; null while they have what they need, or may come to have it. */
export async function failureOfPods(
  cluster: Cluster,
  at: { readonly namespace: string; readonly name: string },
  options: { readonly needed: number; readonly signal: AbortSignal },
): Promise<string | null> {
  try {
    await lookIfReady(cluster, at, options);
    return null;
  } catch (error) {
    if (error instanceof TargetFailure && error.kind === 'deployFailed') return error.message;
    throw error;
  }
}
