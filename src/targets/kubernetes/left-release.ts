import { DEFAULTS } from '../../spec/defaults';
import { milliseconds } from '../../spec/fields';
import type { GatewayRoutePlan, KubernetesTargetPlan, TrafficPlan } from '../../spec/plan-types';
import { canaryNameOf, isCanary, isMadeByUs, readRouting } from '../../traffic/canary-ingress';
import { fenceOn, serviceOf } from '../../traffic/fence';
import type { Fence } from '../../traffic/fence';
import { gatewayRouteShape } from '../../traffic/gateway-route';
import { heldOn, newestFence } from '../../traffic/held-object';
import { virtualServiceShape } from '../../traffic/istio-virtual-service';
import type { Reading, RouteShape, Services } from '../../traffic/route-shape';
import { traefikServiceShape } from '../../traffic/traefik-service';
import { TrafficFailure } from '../../traffic/traffic-router';
import { rolesOn } from './blue-green/roles';
import type { Roles } from './blue-green/roles';
import type { Cluster } from './cluster';
import { ClusterFailure } from './cluster-failure';
import { hasCopies } from './config-snapshot';
import type { ConfigOwner } from './config-snapshot';
import type { CollectionRef, KubernetesObject } from './objects';
import { canaryLabels, selects, SERVICE_LABEL } from './tracks';
import type { Labels } from './tracks';

/** What is left of a release when the Deployment of its new version, and the note on it, are gone. */
export interface LeftRelease {
  /** One for each kind of object that splits the traffic; made of what the objects say. */
  readonly plans: readonly KubernetesTargetPlan[];
  /** The newest on the objects. */
  readonly fence: Fence;
}

/** Objects that could not be looked at say nothing about what they hold. */
export interface LookForLeft {
  readonly left: LeftRelease | null;
  /** Kinds that these credentials may not list. */
  readonly unseen: readonly string[];
}

/** Whoever may split traffic, in the order in which it is looked for. */
const SPLITTERS = [
  { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'HTTPRoute' },
  { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'GRPCRoute' },
  { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress' },
  { apiVersion: 'traefik.io/v1alpha1', kind: 'TraefikService' },
  { apiVersion: 'networking.istio.io/v1', kind: 'VirtualService' },
] as const;

/** The suffixes of the Services that a release has beside the user's. */
const TRACK_SERVICE = /-(canary|blue|green)$/;

/** As with a spec that does not say. */
const DRAIN_MS = milliseconds(DEFAULTS.kubernetes.drain);

/** Everything of a namespace in which something of a release may be left. */
interface Found {
  readonly namespace: string;
  /** metadata.name of the spec. */
  readonly name: string;
  readonly deployments: readonly KubernetesObject[];
  readonly services: readonly KubernetesObject[];
  readonly splitters: readonly KubernetesObject[];
}

/**
 * Looks for a release of a service by what it leaves on who splits the traffic: objects that it holds, and those that send
 * a share to its canary Service. For when there is no Deployment any more that says how the release was made.
 */
export async function findLeftRelease(
  cluster: Cluster,
  at: Pick<Found, 'namespace' | 'name' | 'deployments'>,
  signal: AbortSignal,
): Promise<LookForLeft> {
  const { namespace, name } = at;
  const lists = await Promise.all(
    [{ apiVersion: 'v1', kind: 'Service' }, ...SPLITTERS].map(async (of) => ({
      kind: of.kind,
      objects: await listed(cluster, { ...of, namespace }, signal),
    })),
  );
  const unseen = lists.flatMap(({ kind, objects }) => (objects === null ? [kind] : []));
  const [services = [], ...splitters] = lists.map(({ objects }) => objects ?? []);
  const found: Found = { ...at, services, splitters: splitters.flat() };
  for (const service of candidates(found)) {
    const left = leftOf(found, service);
    if (left === null) continue;
    const config = (await copiesAreThere(cluster, { namespace, service: name }, signal)) ? 'snapshot' : 'keep';
    return { left: { ...left, plans: left.plans.map((plan) => ({ ...plan, config })) }, unseen };
  }
  return { left: null, unseen };
}

/** Null for what may not be listed; nothing of a kind that this cluster does not have. */
async function listed(
  cluster: Cluster,
  of: CollectionRef,
  signal: AbortSignal,
): Promise<readonly KubernetesObject[] | null> {
  try {
    return await cluster.list(of, { signal });
  } catch (error) {
    if (error instanceof ClusterFailure && error.kind === 'notFound') return [];
    if (error instanceof ClusterFailure && error.kind === 'forbidden') return null;
    throw error;
  }
}

/** Who may not look at copies may not remove them either, and they are in nobody's way. */
async function copiesAreThere(cluster: Cluster, owner: ConfigOwner, signal: AbortSignal): Promise<boolean> {
  try {
    return await hasCopies(cluster, owner, signal);
  } catch (error) {
    if (error instanceof ClusterFailure && error.kind === 'forbidden') return false;
    throw error;
  }
}

/** The Services by which users may reach it: the one of its name, and those that its releases have written about. */
function candidates(found: Found): readonly KubernetesObject[] {
  const { deployments, services, splitters, namespace, name } = found;
  const isOurs = (object: KubernetesObject): boolean => serviceOf(fenceOn(object)) === name;
  const called = new Set([name]);
  for (const one of services) {
    if (one.metadata.labels?.[SERVICE_LABEL] === name || isOurs(one)) {
      called.add(one.metadata.name.replace(TRACK_SERVICE, ''));
    }
  }
  const routes = splitters.filter(isOurs);
  const pods = deployments.filter(isOurs).map(podLabels);
  return services.filter(
    (one) =>
      called.has(one.metadata.name) ||
      routes.some((route) => names(route['spec'], one.metadata.name, namespace)) ||
      pods.some((labels) => selects(selectorOf(one), labels)),
  );
}

function leftOf(found: Found, service: KubernetesObject): LeftRelease | null {
  if (isOfAnother(service, found)) return null;
  const roles = rolesOn(service);
  return roles === null ? leftCanary(found, service) : leftColour(found, service, roles);
}

/** Of a blue-green release: the parts are on the active Service. */
function leftColour(found: Found, service: KubernetesObject, roles: Roles): LeftRelease {
  const deployment = pairName(found, roles);
  const split = splits(found, servicesOf(found, service, roles.next), true);
  const traffic = split.length === 0 ? [{ plan: { kind: 'serviceSelector' } as const, objects: [] }] : split;
  const old = found.deployments.find(({ metadata }) => metadata.name === `${deployment}-${roles.old}`);
  const isGone = !found.deployments.some(({ metadata }) => metadata.name === `${deployment}-${roles.next}`);
  const made = { deployment, strategy: 'blueGreen', container: containerIn(old, roles.image), isGone } as const;
  const { epoch, step, attempt } = newestOf([service, ...traffic.flatMap(({ objects }) => objects)]);
  // The parts count for the release that has noted them, and for no other.
  const fence = { release: roles.release, epoch, step, attempt };
  return { plans: traffic.map(({ plan }) => planOf(found, service, { ...made, traffic: plan })), fence };
}

function leftCanary(found: Found, service: KubernetesObject): LeftRelease | null {
  const stable = stableOf(found, service);
  const deployment = stable?.metadata.name.replace(/-stable$/, '') ?? found.name;
  const isGone = !found.deployments.some(({ metadata }) => metadata.name === `${deployment}-canary`);
  const traffic = splits(found, servicesOf(found, service, 'canary'), isGone);
  if (heldOn(service) !== null) traffic.push({ plan: { kind: 'serviceSelector' }, objects: [service] });
  if (stable !== undefined && heldOn(stable) !== null && !isOfAnother(stable, found)) {
    traffic.push({ plan: { kind: 'replicas' }, objects: [stable] });
  }
  if (traffic.length === 0) return null;
  const made = { deployment, strategy: 'canary', container: containerIn(stable, null), isGone } as const;
  return {
    plans: traffic.map(({ plan }) => planOf(found, service, { ...made, traffic: plan })),
    fence: newestOf([...traffic.flatMap(({ objects }) => objects), service, ...(stable === undefined ? [] : [stable])]),
  };
}

interface LeftSplit {
  readonly plan: TrafficPlan;
  readonly objects: readonly KubernetesObject[];
}

/** Who splits the traffic between the two Services, by kind; `orUnheld`: also where no release says that it holds it. */
function splits(found: Found, services: Services, orUnheld: boolean): LeftSplit[] {
  const of = (...kinds: readonly string[]): readonly KubernetesObject[] =>
    found.splitters.filter((object) => kinds.includes(object.kind) && !isOfAnother(object, found));
  const left = (shape: RouteShape, ...kinds: readonly string[]): readonly KubernetesObject[] =>
    of(...kinds).filter((object) => isLeft(object, services, { shape, orUnheld }));
  const routes = left(gatewayRouteShape(services), 'HTTPRoute', 'GRPCRoute');
  const ingresses = leftIngresses(of('Ingress'), services, orUnheld);
  const traefik = left(traefikServiceShape(services), 'TraefikService');
  const istio = left(virtualServiceShape(services), 'VirtualService');
  const gateway: readonly GatewayRoutePlan[] = routes.map(({ kind, metadata }) => ({
    kind: kind === 'GRPCRoute' ? kind : 'HTTPRoute',
    name: metadata.name,
  }));
  return [
    ...(gateway.length === 0 ? [] : [{ plan: { kind: 'gatewayAPI', routes: gateway } as const, objects: routes }]),
    ...(ingresses.names.length === 0
      ? []
      : [{ plan: { kind: 'nginx', ingresses: ingresses.names } as const, objects: ingresses.objects }]),
    ...traefik.map((one) => ({
      plan: { kind: 'traefik', traefikService: one.metadata.name } as const,
      objects: [one],
    })),
    ...istio.map((one) => ({ plan: { kind: 'istio', virtualService: one.metadata.name } as const, objects: [one] })),
  ];
}

function isLeft(
  object: KubernetesObject,
  { namespace, canary }: Services,
  { shape, orUnheld }: { readonly shape: RouteShape; readonly orUnheld: boolean },
): boolean {
  const held = heldOn(object);
  const { weight, match } = readingOf(object, shape);
  if ((weight ?? 0) > 0 || match.length > 0) return held !== null || orUnheld;
  if (held === null) return false;
  // A TraefikService names the canary only while it has a share, and is about one Service alone.
  return names(object['spec'], canary, namespace) || (object.kind === 'TraefikService' && weight !== null);
}

/** The user's own of each pair; the twin of its name has the weight. */
function leftIngresses(
  ingresses: readonly KubernetesObject[],
  { namespace, stable, canary }: Services,
  orUnheld: boolean,
): { readonly names: readonly string[]; readonly objects: readonly KubernetesObject[] } {
  const pairs = ingresses.flatMap((primary) => {
    const twin = ingresses.find(({ metadata }) => metadata.name === canaryNameOf(primary.metadata.name));
    const isHeld = heldOn(primary) !== null && names(primary['spec'], stable, namespace);
    const leads = twin !== undefined && isCanary(twin) && names(twin['spec'], canary, namespace);
    const isOurs = leads && (isMadeByUs(twin) || heldOn(twin) !== null || (orUnheld && sends(readRouting(twin))));
    return isHeld || isOurs ? [{ primary, twin }] : [];
  });
  return {
    names: pairs.map(({ primary }) => primary.metadata.name),
    objects: pairs.flatMap(({ primary, twin }) => (twin === undefined ? [primary] : [primary, twin])),
  };
}

function sends({ weight, match }: Reading): boolean {
  return (weight ?? 0) > 0 || match.length > 0;
}

function readingOf(object: KubernetesObject, shape: RouteShape): Reading {
  try {
    return shape.read(object, heldOn(object)?.document.match ?? []);
  } catch (error) {
    // One that is not made so that traffic could be split, such as a TraefikService that mirrors, is nobody's split.
    if (error instanceof TrafficFailure && error.kind === 'invalidRoute') return { weight: null, match: [] };
    throw error;
  }
}

/** Whether a Service is named anywhere: by itself, or as a host. */
function names(value: unknown, service: string, namespace: string): boolean {
  if (typeof value === 'string') return value === service || `${value}.`.startsWith(`${service}.${namespace}.`);
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).some((one) => names(one, service, namespace));
}

/** By the release that has written to it last; what a hand wrote tells nothing. */
function isOfAnother(object: KubernetesObject, { name }: Pick<Found, 'name'>): boolean {
  const service = serviceOf(fenceOn(object));
  return service !== null && service !== name;
}

/** Before all where nobody has left one: the next release, by whatever clock, comes later. */
function newestOf(objects: readonly KubernetesObject[]): Fence {
  return newestFence(objects) ?? { release: 'unknown', epoch: 0, step: 0, attempt: 0 };
}

function servicesOf({ namespace }: Found, service: KubernetesObject, track: string): Services {
  const { name } = service.metadata;
  return { namespace, stable: name, canary: `${name}-${track}` };
}

/**
 * The Deployment whose pods the Service finds; while that finds a canary's, which are gone, the one that such a canary was
 * made after; beside a canary of the user's own the one that is called like either.
 */
function stableOf({ deployments, name }: Found, service: KubernetesObject): KubernetesObject | undefined {
  const live = selectorOf(service);
  const called = [service.metadata.name, name].flatMap((one) => [one, `${one}-stable`]);
  const others = deployments.filter(({ metadata }) => !metadata.name.endsWith('-canary'));
  const byName = called.flatMap((one) => others.filter(({ metadata }) => metadata.name === one));
  const inOrder = [...byName, ...others];
  return (
    inOrder.find((one) => selects(live, podLabels(one))) ?? inOrder.find((one) => isCopied(one, service)) ?? byName[0]
  );
}

/** Whether the Service finds the pods of a canary that was made after this Deployment. */
function isCopied(deployment: KubernetesObject, service: KubernetesObject): boolean {
  const { name, namespace = '' } = deployment.metadata;
  const templateLabels = podLabels(deployment);
  const live = selectorOf(service);
  const selector: Record<string, string> = {};
  for (const key of Object.keys(live)) {
    const value = templateLabels[key];
    if (value === undefined) return false;
    selector[key] = value;
  }
  if (Object.keys(selector).length === 0) return false;
  return selects(live, canaryLabels({ name, namespace, templateLabels }, { name: service.metadata.name, selector }));
}

/** What the names of a pair's Deployments begin with. */
function pairName({ deployments, name }: Found, { selectors, ...roles }: Roles): string {
  for (const part of ['old', 'next'] as const) {
    const suffix = `-${roles[part]}`;
    const found = deployments.find(
      (one) => one.metadata.name.endsWith(suffix) && selects(selectors[part], podLabels(one)),
    );
    if (found !== undefined) return found.metadata.name.slice(0, -suffix.length);
  }
  return name;
}

function selectorOf(service: KubernetesObject): Labels {
  const { selector = {} } = service['spec'] as { selector?: Labels };
  return selector;
}

function podLabels(deployment: KubernetesObject): Labels {
  const { template } = deployment['spec'] as { template?: { metadata?: { labels?: Labels } } };
  return template?.metadata?.labels ?? {};
}

/** Any that is there: a way back gives nobody an image, but the name of one is asked for. */
function containerIn(deployment: KubernetesObject | undefined, image: string | null): string | null {
  const { template } = (deployment?.['spec'] ?? {}) as {
    template?: { spec?: { containers?: readonly { name: string; image?: string }[] } };
  };
  const containers = template?.spec?.containers ?? [];
  return (containers.find((one) => one.image === image) ?? containers[0])?.name ?? null;
}

function planOf(
  { namespace, name }: Found,
  service: KubernetesObject,
  made: Pick<KubernetesTargetPlan, 'deployment' | 'strategy' | 'container' | 'traffic'> & { readonly isGone: boolean },
): KubernetesTargetPlan {
  const { isGone, ...plan } = made;
  return {
    ...plan,
    kind: 'kubernetes',
    namespace,
    serviceName: name,
    service: service.metadata.name,
    port: null,
    resolveImage: 'never',
    config: 'keep',
    // There is nobody to wait for; pods that somebody has made again may have got their share.
    drainMs: isGone ? 0 : DRAIN_MS,
    keepOldMs: 0,
    onForeignEdit: 'reassert',
  };
}
