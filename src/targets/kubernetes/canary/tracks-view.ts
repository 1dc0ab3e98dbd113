import type { KubernetesTargetPlan } from '../../../spec/plan-types';
import type { Newness } from '../../../traffic/cluster-access';
import { heldOn } from '../../../traffic/held-object';
import type { TrafficRouter } from '../../../traffic/traffic-router';
import { TargetFailure } from '../../target';
import { refuseAbsentNamespace } from '../absence';
import type { CallOptions, Cluster } from '../cluster';
import { containerOf, readDeployment } from '../deployment-view';
import type { ContainerImage, DeploymentView } from '../deployment-view';
import type { KubernetesObject } from '../objects';
import { canaryLabels, describe, selects, TRACK_LABEL } from '../tracks';
import type { Labels } from '../tracks';
import { serviceSelectorFor } from '../track-manifest';
import { targetNoteOn } from '../target-note';
import { trafficOf } from './settings';
import { deploymentRef, isMade, serviceRef } from '../workloads';

/** Both tracks as they are now. */
export interface TracksView {
  readonly stable: DeploymentView;
  readonly stableObject: KubernetesObject;
  /** The container that gets the image. */
  readonly container: ContainerImage;
  readonly service: KubernetesObject;
  readonly canary: DeploymentView | null;
  readonly canaryObject: KubernetesObject | null;
  readonly canaryName: string;
  readonly canaryService: string;
  /** Of the canary's pods. */
  readonly labels: Labels;
  readonly selectors: { readonly stable: Labels; readonly canary: Labels };
  readonly traffic: TrafficRouter;
}

/**
 * Reads the Deployments and the Service, and refuses what cannot be released, in words that say what to do.
 *
 * @throws TargetFailure `invalidTarget`, ClusterFailure.
 */
export async function lookAtTracks(
  cluster: Cluster,
  plan: KubernetesTargetPlan,
  how: CallOptions & Newness,
): Promise<TracksView> {
  const { namespace, deployment, service: serviceName } = plan;
  const canaryName = `${deployment}-canary`;
  const canaryService = `${serviceName}-canary`;
  const find = (name: string): Promise<KubernetesObject | null> => cluster.find(deploymentRef(namespace, name), how);
  const [named, canaryObject, service] = await Promise.all([
    find(deployment),
    find(canaryName),
    cluster.find(serviceRef(namespace, serviceName), how),
  ]);
  const stableObject = named ?? (await find(`${deployment}-stable`));
  if (stableObject === null || service === null) await refuseAbsentNamespace(cluster, namespace, how.signal);
  if (stableObject === null) {
    throw new TargetFailure(
      'invalidTarget',
      `There is no Deployment ${namespace}/${deployment} (nor ${deployment}-stable). Name the stable one in the spec, or make it first; \`sluice init\` writes one.`,
    );
  }
  if (service === null) {
    throw new TargetFailure(
      'invalidTarget',
      `There is no Service ${namespace}/${serviceName}; users reach the pods by it, so name the one there is in the spec.`,
    );
  }
  const stable = readDeployment(stableObject);
  const canary = canaryObject === null ? null : readDeployment(canaryObject);
  const live = (service['spec'] as { selector?: Labels } | undefined)?.selector ?? {};
  const selector = stableSelector(live, { stable, canary, isHeld: heldOn(service) !== null });
  const labels = labelsOf(plan, { stable, canary, canaryObject }, { name: serviceName, selector });
  const selectors = { stable: selector, canary: serviceSelectorFor(selector, labels) };
  return {
    stable,
    stableObject,
    container: containerOf(stable, plan.container ?? containerBegunWith(stable, canary, canaryObject)),
    service,
    canary,
    canaryObject,
    canaryName,
    canaryService,
    labels,
    selectors,
    traffic: trafficOf(cluster, plan.traffic, {
      namespace,
      service: serviceName,
      canaryService,
      stableDeployment: stable.name,
      canaryDeployment: canaryName,
      selectors,
      total: totalOf(stable, canary),
    }),
  };
}

/**
 * The Service's selector as it finds stable: while a release has pointed it to the canary, its values are the canary's. Of
 * a canary that is gone that is known by the release's hold of the Service alone.
 */
function stableSelector(
  live: Labels,
  tracks: { readonly stable: DeploymentView; readonly canary: DeploymentView | null; readonly isHeld: boolean },
): Labels {
  const { stable, canary, isHeld } = tracks;
  if (selects(live, stable.templateLabels)) return live;
  const isCanarys = canary === null ? isHeld : selects(live, canary.templateLabels);
  if (!isCanarys) return live;
  return Object.fromEntries(Object.keys(live).map((key) => [key, stable.templateLabels[key] ?? '']));
}

function labelsOf(
  plan: KubernetesTargetPlan,
  tracks: {
    readonly stable: DeploymentView;
    readonly canary: DeploymentView | null;
    readonly canaryObject: KubernetesObject | null;
  },
  service: { readonly name: string; readonly selector: Labels },
): Labels {
  const { stable, canary, canaryObject } = tracks;
  // Told first, because both are the same refusal for a Service that does not find the stable pods.
  const own = canaryLabels(stable, service);
  const both = plan.traffic.kind === 'replicas';
  if (canary !== null && canaryObject !== null && !isMade(canaryObject)) {
    const found = selects(service.selector, canary.templateLabels);
    if (found && !both) {
      throw new TargetFailure(
        'invalidTarget',
        `Service ${plan.namespace}/${service.name} selects the pods of both tracks (${describe(service.selector)}), so traffic could not be split; give it a label that only those of Deployment ${stable.name} have.`,
      );
    }
    return canary.templateLabels;
  }
  return both ? { ...stable.templateLabels, [TRACK_LABEL]: 'canary' } : own;
}

/**
 * The container that a release under way has given its image: the one of the canary that it made. Who adds a sidecar to
 * stable meanwhile is not to stand in the way back. Null where nothing has begun, or that does not tell it.
 */
function containerBegunWith(
  stable: DeploymentView,
  canary: DeploymentView | null,
  canaryObject: KubernetesObject | null,
): string | null {
  if (canary === null || canaryObject === null || targetNoteOn(canaryObject) === null) return null;
  const [only, second] = canary.containers;
  const name = second === undefined ? only?.name : undefined;
  return name !== undefined && stable.containers.some((one) => one.name === name) ? name : null;
}

/** While shares follow the number of pods, stable shrinks as the canary grows: both together stay. */
export function totalOf(stable: DeploymentView, canary: DeploymentView | null): number {
  return Math.max(1, stable.replicas + (canary?.replicas ?? 0));
}
