import type { KubernetesTargetPlan } from '../../../spec/plan-types';
import { createTrafficRouter } from '../../../traffic/create-traffic-router';
import type { Newness } from '../../../traffic/cluster-access';
import type { TrafficRouter } from '../../../traffic/traffic-router';
import { TargetFailure } from '../../target';
import { refuseAbsentNamespace } from '../absence';
import type { CallOptions, Cluster } from '../cluster';
import { containerOf, readDeployment } from '../deployment-view';
import type { ContainerImage, DeploymentView } from '../deployment-view';
import type { KubernetesObject } from '../objects';
import { refuseOtherContainers, refusePaused } from '../track-checks';
import { serviceSelectorFor } from '../track-manifest';
import { describe, selects, SERVICE_LABEL, TRACK_LABEL } from '../tracks';
import type { Labels } from '../tracks';
import { deploymentRef, isMade, serviceRef } from '../workloads';
import { COLOURS, labelsOfIdle, otherColour } from './colours';
import type { Colour } from './colours';
import { rolesIn, rolesOn } from './roles';
import type { Roles } from './roles';

/** One of the two Deployments, with the Service of its own. */
export interface Side {
  readonly colour: Colour;
  /** Of the Deployment. */
  readonly name: string;
  /** Of the preview Service. */
  readonly preview: string;
  /** Null where it does not exist. */
  readonly view: DeploymentView | null;
  readonly object: KubernetesObject | null;
  /** By which the active Service finds its pods. */
  readonly selector: Labels;
}

/** Both colours as they are now, by their part in a release. */
export interface PairView {
  readonly service: KubernetesObject;
  /** Has the traffic before the release. */
  readonly old: Side;
  /** Gets the new version. */
  readonly next: Side & { /** Of its pods. */ readonly labels: Labels };
  /** The container that gets the image. */
  readonly container: ContainerImage;
  /** The release's own note of the parts; null where it has not written one yet. */
  readonly roles: Roles | null;
  /** The Service has lost that note, and only the new one's Deployment still has it. */
  readonly rolesLost: boolean;
  /** The sides whose pods the active Service finds now: one, unless somebody else changed its selector. */
  readonly serving: readonly Side[];
  /** The active Service's selector: 0 is the old one, 100 the new one. */
  readonly active: TrafficRouter;
  /** Who splits before the switch; null where nobody does. */
  readonly split: TrafficRouter | null;
}

/**
 * Reads both Deployments and the active Service, and refuses what cannot be released, in words that say what to do. The
 * parts are those that `release` has noted on the Service; before it has, the active colour is the one that the Service
 * finds.
 *
 * @throws TargetFailure `invalidTarget`, ClusterFailure.
 */
export async function lookAtPair(
  cluster: Cluster,
  plan: KubernetesTargetPlan,
  { release, ...how }: { readonly release: string | null } & CallOptions & Newness,
): Promise<PairView> {
  const { namespace } = plan;
  const [service, blue, green] = await Promise.all([
    cluster.find(serviceRef(namespace, plan.service), how),
    ...COLOURS.map((colour) => cluster.find(deploymentRef(namespace, `${plan.deployment}-${colour}`), how)),
  ]);
  if (service === undefined || service === null) {
    await refuseAbsentNamespace(cluster, namespace, how.signal);
    throw new TargetFailure(
      'invalidTarget',
      `There is no Service ${namespace}/${plan.service}; users reach the pods by it, so name the one there is in the spec.`,
    );
  }
  const found: Found = { blue: foundOf(blue ?? null), green: foundOf(green ?? null) };
  const noted = rolesOn(service);
  const onService = noted !== null && noted.release === release ? noted : null;
  const roles = onService ?? rolesBeside(found, release);
  const live = (service['spec'] as { selector?: Labels } | undefined)?.selector ?? {};
  const oldColour = roles?.old ?? activeColour(plan, found, live);
  const pair = roles === null ? unnoted(plan, found, { oldColour, live }) : partsOf(plan, found, roles);
  const { old, next } = pair;
  const reference = old.view ?? next.view;
  if (reference === null) throw nothingThere(plan);
  // At the start: later on it may not stand in the way back.
  if (roles === null) for (const { view } of [old, next]) if (view !== null) refusePaused(view, 'rolls nothing out');
  // Who adds a sidecar to the one meanwhile is not to stand in the way back.
  const begun = roles === null ? null : containerOfBoth(reference, next.view);
  const container = containerOf(reference, plan.container ?? begun);
  if (next.view !== null && (next.object === null || !isMade(next.object))) {
    refuseOtherContainers(next.view, container.name);
  }
  return {
    ...pair,
    service,
    container,
    roles,
    rolesLost: roles !== null && onService === null,
    serving: [old, next].filter(({ selector, view }) => selects(live, view?.templateLabels ?? selector)),
    ...routersOf(cluster, plan, pair),
  };
}

/** The same with the parts the other way round. */
export function turned(cluster: Cluster, plan: KubernetesTargetPlan, pair: PairView): PairView {
  const { old, next } = pair;
  const labels = { ...old.view?.templateLabels, ...old.selector };
  const parts: Pair = { old: next, next: { ...old, labels } };
  return { ...pair, ...parts, ...routersOf(cluster, plan, parts) };
}

/** Who splits between the active Service and the preview of a colour; null where nobody does. */
export function splitTowards(cluster: Cluster, plan: KubernetesTargetPlan, preview: string): TrafficRouter | null {
  const { traffic, namespace, service } = plan;
  if (traffic.kind === 'serviceSelector') return null;
  if (traffic.kind === 'replicas') {
    throw new TargetFailure(
      'invalidTarget',
      'A blue-green release never mixes the pods of both versions, so traffic: replicas cannot split it; allowed are serviceSelector and those that split.',
    );
  }
  return createTrafficRouter(cluster, { namespace, stable: service, canary: preview }, traffic);
}

interface FoundSide {
  readonly object: KubernetesObject;
  readonly view: DeploymentView;
}
type Found = Readonly<Record<Colour, FoundSide | null>>;
type Pair = Pick<PairView, 'old' | 'next'>;

function foundOf(object: KubernetesObject | null): FoundSide | null {
  return object === null ? null : { object, view: readDeployment(object) };
}

/** The only container of the new one, where the other has it, too; null where that does not tell it. */
function containerOfBoth({ containers }: DeploymentView, next: DeploymentView | null): string | null {
  const [only, second] = next?.containers ?? [];
  if (only === undefined || second !== undefined) return null;
  return containers.some(({ name }) => name === only.name) ? only.name : null;
}

function rolesBeside(found: Found, release: string | null): Roles | null {
  const noted = COLOURS.flatMap((colour) => {
    const object = found[colour]?.object;
    return object === undefined ? [] : [rolesIn(object)];
  });
  return noted.find((roles) => roles !== null && roles.release === release) ?? null;
}

/** @throws TargetFailure `invalidTarget` unless the Service finds the pods of one colour alone. */
function activeColour(plan: KubernetesTargetPlan, found: Found, live: Labels): Colour {
  const { namespace, deployment } = plan;
  const there = COLOURS.filter((colour) => found[colour] !== null);
  if (there.length === 0) throw nothingThere(plan);
  const served = there.filter((colour) => selects(live, found[colour]?.view.templateLabels ?? {}));
  const shown = `Service ${namespace}/${plan.service}`;
  const [only, second] = served;
  if (only !== undefined && second === undefined) return only;
  if (only !== undefined) {
    throw new TargetFailure(
      'invalidTarget',
      `${shown} selects the pods of both ${deployment}-blue and ${deployment}-green (${describe(live)}), so nothing could be switched; give its selector a label that differs between the two, such as ${TRACK_LABEL}: blue.`,
    );
  }
  const names = there.map((colour) => `${deployment}-${colour}`).join(' or ');
  throw new TargetFailure(
    'invalidTarget',
    Object.keys(live).length === 0
      ? `${shown} selects no pods; give it the labels of the pods of ${names}.`
      : `${shown} selects ${describe(live)}, which the pods of Deployment ${names} do not have; point it to the one that is to have the traffic.`,
  );
}

function nothingThere({ namespace, deployment }: KubernetesTargetPlan): TargetFailure {
  return new TargetFailure(
    'invalidTarget',
    `There is neither a Deployment ${namespace}/${deployment}-blue nor ${namespace}/${deployment}-green. Make the one that runs now under one of these names, and point the Service to it; the first release makes the other.`,
  );
}

/** As a release finds them at its start. */
function unnoted(
  plan: KubernetesTargetPlan,
  found: Found,
  { oldColour, live }: { readonly oldColour: Colour; readonly live: Labels },
): Pair {
  const nextColour = otherColour(oldColour);
  const active = found[oldColour];
  if (active === null) throw nothingThere(plan);
  const idle = found[nextColour];
  const labels = labelsOf(plan, idle, { active: active.view, colour: nextColour, selector: live });
  const missing = Object.keys(live).find((key) => labels[key] === undefined);
  if (missing !== undefined) {
    throw new TargetFailure(
      'invalidTarget',
      `Service ${plan.namespace}/${plan.service} selects by ${missing}, which the pods of Deployment ${plan.deployment}-${nextColour} do not carry, so it could not be switched to them; give their template that label, with another value than those of ${plan.deployment}-${oldColour}.`,
    );
  }
  if (selects(live, labels)) {
    throw new TargetFailure(
      'invalidTarget',
      `Service ${plan.namespace}/${plan.service} would select the pods of both colours (${describe(live)}), so nothing could be switched; give its selector a label that differs between the two.`,
    );
  }
  return {
    old: sideOf(plan, active, { colour: oldColour, selector: live }),
    next: {
      ...sideOf(plan, idle, { colour: nextColour, selector: serviceSelectorFor(live, labels) }),
      labels,
    },
  };
}

/** As the release has noted them. */
function partsOf(plan: KubernetesTargetPlan, found: Found, { old, next, selectors }: Roles): Pair {
  const [oldFound, nextFound] = [found[old], found[next]];
  const made = labelsOf(plan, nextFound, { active: oldFound?.view ?? null, colour: next, selector: selectors.old });
  return {
    old: sideOf(plan, oldFound, { colour: old, selector: selectors.old }),
    next: {
      ...sideOf(plan, nextFound, { colour: next, selector: selectors.next }),
      labels: { ...made, ...selectors.next },
    },
  };
}

/** Of the new version's pods: as a Deployment of the user's has them, or as one is made after the active one. */
function labelsOf(
  plan: KubernetesTargetPlan,
  idle: FoundSide | null,
  {
    active,
    colour,
    selector,
  }: { readonly active: DeploymentView | null; readonly colour: Colour; readonly selector: Labels },
): Labels {
  const service = plan.serviceName;
  const own = active === null ? {} : labelsOfIdle(active, { colour, service, selector });
  if (idle === null) return own;
  // What it selects its pods by cannot change; the rest of a Deployment that a release made is made anew.
  if (isMade(idle.object) && active !== null) return { ...own, ...idle.view.selector };
  const track = idle.view.selector[TRACK_LABEL] ?? colour;
  return { ...idle.view.templateLabels, [SERVICE_LABEL]: service, [TRACK_LABEL]: track };
}

function sideOf(
  plan: KubernetesTargetPlan,
  found: FoundSide | null,
  { colour, selector }: { readonly colour: Colour; readonly selector: Labels },
): Side {
  return {
    colour,
    name: `${plan.deployment}-${colour}`,
    preview: `${plan.service}-${colour}`,
    view: found?.view ?? null,
    object: found?.object ?? null,
    selector,
  };
}

function routersOf(
  cluster: Cluster,
  plan: KubernetesTargetPlan,
  { old, next }: Pair,
): Pick<PairView, 'active' | 'split'> {
  const services = { namespace: plan.namespace, stable: plan.service, canary: next.preview };
  const selectors = { stable: old.selector, canary: next.selector };
  return {
    active: createTrafficRouter(cluster, services, { kind: 'serviceSelector', ...selectors }),
    split: splitTowards(cluster, plan, next.preview),
  };
}
