import { z } from 'zod';
import type { Colour, KubernetesTargetPlan, TrackName, TrafficPlan } from '../../spec/plan-types';
import { canaryNameOf, isMadeByUs } from '../../traffic/canary-ingress';
import { createTrafficRouter } from '../../traffic/create-traffic-router';
import { fenceOn } from '../../traffic/fence';
import type { Fence } from '../../traffic/fence';
import { describeMatch, TrafficFailure } from '../../traffic/traffic-router';
import type { TrafficRouter } from '../../traffic/traffic-router';
import { TargetFailure } from '../target';
import { refuseAbsentNamespace } from './absence';
import { lookAtTracks } from './canary/tracks-view';
import { rolesOn } from './blue-green/roles';
import { targetNoteOn } from './target-note';
import { deploymentRef, isBeingPromoted, isMade, serviceRef } from './workloads';
import type { Cluster } from './cluster';
import { containerOf, readDeployment } from './deployment-view';
import { asTargetFailure } from './failures';
import { describeRef, refOf } from './objects';
import type { KubernetesObject } from './objects';
import { OWNER_LABEL, SERVICE_LABEL, selects } from './tracks';
import type { Labels } from './tracks';

/** A service as the cluster has it, for people; nothing is changed by looking. */
export interface ServiceLook {
  readonly strategy: KubernetesTargetPlan['strategy'];
  /** Both, the one with the users first. */
  readonly tracks: readonly TrackLook[];
  readonly traffic: TrafficLook;
  /** The newest write of a release to any of the objects. */
  readonly fence: Fence | null;
  /** What is there and would not be, had the last release ended in order; one sentence each. */
  readonly leftovers: readonly string[];
}

export interface TrackLook {
  readonly name: 'stable' | TrackName;
  /** Of the Deployment. */
  readonly deployment: string;
  /** The track that users get; of a canary's two always the stable one. */
  readonly active: boolean;
  /** Null where there is no such Deployment. */
  readonly runs: TrackRuns | null;
}

export interface TrackRuns {
  /** As the Deployment has it. */
  readonly image: string;
  /** `sha256:…`, by the Deployment or, where it names a tag, by its pods; null where these do not say or differ. */
  readonly digest: string | null;
  readonly replicas: { readonly desired: number; readonly ready: number };
}

export interface TrafficLook {
  readonly by: TrafficPlan['kind'];
  /** Percent that the track without the users gets; null where the routing does not say. */
  readonly weight: number | null;
  /** Requests that get it whatever the weight, one sentence each. */
  readonly match: readonly string[];
  /** What differs from the last word of the release that holds the routing, or why nothing can be told. */
  readonly remarks: readonly string[];
}

/**
 * Reads both tracks of a service and its routing.
 *
 * @throws TargetFailure `invalidTarget` where there is no such Deployment or Service; `unreachable`.
 */
export function lookAtService(cluster: Cluster, plan: KubernetesTargetPlan, signal: AbortSignal): Promise<ServiceLook> {
  const asked = { cluster, plan, signal };
  return asTargetFailure(() => (plan.strategy === 'blueGreen' ? lookAtColours(asked) : lookAtCanary(asked)));
}

/** What a release of that track would be of: by its digest, too, where that is known. */
export function imageToRelease({ image, digest }: TrackRuns): string {
  return digest === null || image.includes('@') ? image : `${image}@${digest}`;
}

interface Asked {
  readonly cluster: Cluster;
  readonly plan: KubernetesTargetPlan;
  readonly signal: AbortSignal;
}

async function lookAtCanary(asked: Asked): Promise<ServiceLook> {
  const { cluster, plan, signal } = asked;
  const view = await lookAtTracks(cluster, plan, { signal });
  const { stableObject, canaryObject, stable, canaryName, service } = view;
  const [traffic, stableRuns, canaryRuns, made] = await Promise.all([
    trafficLook(plan, view.traffic, signal),
    runs(asked, stableObject),
    canaryObject === null ? null : runs(asked, canaryObject),
    madeObjects(asked),
  ]);
  const leftovers = [
    ...made.map((object) => leftOver(object)),
    ...(traffic.look.weight !== null && traffic.look.weight > 0
      ? [`The canary gets ${traffic.look.weight} % of the traffic.`]
      : []),
    ...(canaryObject !== null && !isMade(canaryObject) && targetNoteOn(canaryObject) !== null
      ? [
          `${describeRef(refOf(canaryObject))} is still marked as that of release ${fenceOn(canaryObject)?.release ?? '?'}.`,
        ]
      : []),
    ...(isBeingPromoted(stableObject, fenceOn(stableObject)?.release ?? '')
      ? [
          `${describeRef(refOf(stableObject))} is half way through the promotion of release ${fenceOn(stableObject)?.release ?? '?'}.`,
        ]
      : []),
  ];
  return {
    strategy: plan.strategy,
    tracks: [
      { name: 'stable', deployment: stable.name, active: true, runs: stableRuns },
      { name: 'canary', deployment: canaryName, active: false, runs: canaryRuns },
    ],
    traffic: traffic.look,
    fence: newest([traffic.fence, ...[stableObject, canaryObject, service].map((one) => one && fenceOn(one))]),
    leftovers,
  };
}

const COLOURS = ['blue', 'green'] as const;

async function lookAtColours(asked: Asked): Promise<ServiceLook> {
  const { cluster, plan, signal } = asked;
  const { namespace, deployment } = plan;
  const nameOf = (colour: Colour): string => `${deployment}-${colour}`;
  const [service, blue, green] = await Promise.all([
    cluster.find(serviceRef(namespace, plan.service), { signal }),
    cluster.find(deploymentRef(namespace, nameOf('blue')), { signal }),
    cluster.find(deploymentRef(namespace, nameOf('green')), { signal }),
  ]);
  if (service === null) {
    await refuseAbsentNamespace(cluster, namespace, signal);
    throw new TargetFailure(
      'invalidTarget',
      `There is no Service ${namespace}/${plan.service}; name the one there is in the spec.`,
    );
  }
  if (blue === null && green === null) {
    throw new TargetFailure(
      'invalidTarget',
      `There is neither a Deployment ${namespace}/${nameOf('blue')} nor ${namespace}/${nameOf('green')}; make the one that runs now under one of these names.`,
    );
  }
  const objects = { blue, green };
  const selector = (service['spec'] as { selector?: Labels } | undefined)?.selector ?? {};
  const serving = COLOURS.filter((colour) => {
    const object = objects[colour];
    return object !== null && selects(selector, readDeployment(object).templateLabels);
  });
  const [only, second] = serving;
  const active = second === undefined ? (only ?? null) : null;
  const idle: Colour | null = active === null ? null : active === 'blue' ? 'green' : 'blue';
  const split = idle === null ? null : splitTowards(cluster, plan, idle);
  const [traffic, blueRuns, greenRuns] = await Promise.all([
    split === null ? null : trafficLook(plan, split, signal),
    blue === null ? null : runs(asked, blue),
    green === null ? null : runs(asked, green),
  ]);
  const unclear = `Service ${namespace}/${plan.service} finds the pods of ${serving.length === 0 ? 'neither colour' : 'both colours'}.`;
  const of = { blue: blueRuns, green: greenRuns };
  const tracks = COLOURS.map((name) => ({ name, deployment: nameOf(name), active: name === active, runs: of[name] }));
  const whole: TrafficLook = {
    by: plan.traffic.kind,
    weight: active === null ? null : 0,
    match: [],
    remarks: active === null ? [unclear] : [],
  };
  const look = traffic?.look ?? whole;
  return {
    strategy: plan.strategy,
    tracks: active === 'green' ? tracks.toReversed() : tracks,
    traffic: look,
    fence: newest([traffic?.fence ?? null, ...[blue, green, service].map((one) => one && fenceOn(one))]),
    leftovers: [
      ...(idle !== null && (look.weight ?? 0) > 0
        ? [`${idle}, which is idle, gets ${look.weight} % of the traffic.`]
        : []),
      ...leftOfPair(service, objects, idle),
    ],
  };
}

/** What a release that was ended from outside has left on a pair: its marks, and the idle colour's pods. */
function leftOfPair(
  service: KubernetesObject,
  colours: Readonly<Record<Colour, KubernetesObject | null>>,
  idle: Colour | null,
): readonly string[] {
  const roles = rolesOn(service);
  const marked = COLOURS.flatMap((colour) => {
    const object = colours[colour];
    return object !== null && targetNoteOn(object) !== null ? [object] : [];
  });
  const marks = [
    ...(roles === null ? [] : [{ object: service, release: roles.release }]),
    ...marked.map((object) => ({ object, release: fenceOn(object)?.release ?? '?' })),
  ];
  if (marks.length === 0) return [];
  const left = idle === null ? null : colours[idle];
  const pods = left === null ? 0 : readDeployment(left).replicas;
  return [
    ...marks.map(
      ({ object, release }) => `${describeRef(refOf(object))} is still marked as that of release ${release}.`,
    ),
    ...(left === null || pods === 0 ? [] : [`${describeRef(refOf(left))} is idle and still has ${pods} pods.`]),
  ];
}

/** Who splits towards the idle colour's own Service; null where the active Service's selector is all there is. */
function splitTowards(cluster: Cluster, plan: KubernetesTargetPlan, idle: Colour): TrafficRouter | null {
  const { traffic, namespace, service } = plan;
  if (traffic.kind === 'serviceSelector' || traffic.kind === 'replicas') return null;
  return createTrafficRouter(cluster, { namespace, stable: service, canary: `${service}-${idle}` }, traffic);
}

async function trafficLook(
  plan: KubernetesTargetPlan,
  router: TrafficRouter,
  signal: AbortSignal,
): Promise<{ readonly look: TrafficLook; readonly fence: Fence | null }> {
  const by = plan.traffic.kind;
  try {
    const { weight, match, foreignEdits, refusal, fence } = await router.observe({ signal });
    const remarks = [...new Set([...(refusal === undefined ? [] : [refusal]), ...foreignEdits])];
    return { look: { by, weight, match: match.map((one) => describeMatch(one)), remarks }, fence };
  } catch (error) {
    // The tracks are worth seeing all the same; what is wrong with the routing is said.
    if (!(error instanceof TrafficFailure)) throw error;
    return { look: { by, weight: null, match: [], remarks: [error.message] }, fence: null };
  }
}

const Pod = z.object({
  status: z
    .object({ containerStatuses: z.array(z.object({ name: z.string(), imageID: z.string() })).nullish() })
    .nullish(),
});

async function runs({ cluster, plan, signal }: Asked, object: KubernetesObject): Promise<TrackRuns> {
  const view = readDeployment(object);
  const { name, image } = containerOf(view, plan.container);
  const replicas = { desired: view.replicas, ready: view.readyReplicas };
  const own = image.split('@')[1];
  if (own !== undefined) return { image, digest: own, replicas };
  const labelSelector = Object.entries(view.selector)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
  const pods = await cluster.list(
    { apiVersion: 'v1', kind: 'Pod', namespace: view.namespace },
    { signal, labelSelector },
  );
  const digests = pods.flatMap((pod) => {
    const parsed = Pod.safeParse(pod);
    const said = parsed.data?.status?.containerStatuses?.find((one) => one.name === name)?.imageID ?? '';
    // `repository@sha256:…`; without a repository it is the digest of something else, which no registry knows.
    const digest = /@(sha256:[a-f0-9]{64})$/.exec(said)?.[1];
    return digest === undefined ? [] : [digest];
  });
  const [first, ...others] = [...new Set(digests)];
  return { image, digest: first !== undefined && others.length === 0 ? first : null, replicas };
}

/** What releases made for the service, and remove at their end. */
async function madeObjects({ cluster, plan, signal }: Asked): Promise<readonly KubernetesObject[]> {
  const { namespace, serviceName, traffic } = plan;
  const labelSelector = `${OWNER_LABEL},${SERVICE_LABEL}=${serviceName}`;
  const list = (apiVersion: string, kind: string): Promise<readonly KubernetesObject[]> =>
    cluster.list({ apiVersion, kind, namespace }, { signal, labelSelector });
  const ingresses = traffic.kind === 'nginx' ? traffic.ingresses : [];
  const twins = ingresses.map((name) =>
    cluster.find(
      { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', namespace, name: canaryNameOf(name) },
      { signal },
    ),
  );
  const [deployments, services, found] = await Promise.all([
    list('apps/v1', 'Deployment'),
    list('v1', 'Service'),
    Promise.all(twins),
  ]);
  return [...deployments, ...services, ...found.filter((one) => one !== null && isMadeByUs(one))].filter(
    (one): one is KubernetesObject => one !== null,
  );
}

function leftOver(object: KubernetesObject): string {
  const release = fenceOn(object)?.release ?? object.metadata.labels?.[OWNER_LABEL];
  return `${describeRef(refOf(object))} was made${release === undefined ? ' by a release' : ` for release ${release}`} and is still there.`;
}

function newest(fences: readonly (Fence | null)[]): Fence | null {
  const [first = null] = fences
    .filter((one) => one !== null)
    .sort((a, b) => b.epoch - a.epoch || b.step - a.step || b.attempt - a.attempt);
  return first;
}
