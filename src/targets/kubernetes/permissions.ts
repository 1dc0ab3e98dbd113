import type { KubernetesTargetPlan, TrafficPlan } from '../../spec/plan-types';
import { canaryNameOf } from '../../traffic/canary-ingress';
import type { AccessRule, Cluster, Permission } from './cluster';
import { ClusterFailure } from './cluster-failure';
import { CLUSTER_DEFAULTS } from './defaults';
import { permissionName } from './resources';

/** Verbs on a kind; `names` limits them to those objects, where the API can: not for `create` and the `list` of several. */
interface Grant {
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly names?: readonly string[];
  readonly verbs: readonly string[];
}

/** A watched object is listed first, by its name. */
const READ = ['get', 'list', 'watch'];
const WRITE = [...READ, 'patch'];
const MAKE = [...WRITE, 'delete'];

const APPS = 'apps';
const CORE = '';

/**
 * All that a release by this plan asks of the API server, and nothing else: in one namespace, by name where the API can
 * tell names apart. `sluice rbac` prints it, so it must name every call of the target and of the plan's traffic router.
 */
export function rolePermissions(plan: KubernetesTargetPlan): readonly Permission[] {
  const { namespace } = plan;
  const grants = [...workloads(plan), ...services(plan), ...traffic(plan), ...configuration(plan)];
  const permissions = new Map<string, Permission>();
  for (const { names, verbs, ...kind } of grants) {
    for (const name of names ?? [undefined]) {
      for (const verb of verbs) {
        const permission = { verb, ...kind, namespace, ...(name === undefined ? {} : { name }) };
        permissions.set(describePermission(permission), permission);
      }
    }
  }
  return [...permissions.values()];
}

/** Of these, what a release cannot do without; `checkPermissions` checks it. */
export function requiredPermissions(plan: KubernetesTargetPlan): readonly Permission[] {
  return rolePermissions(plan).filter((permission) => !isForWatching(permission));
}

/**
 * The right to list and to watch an object by its name is wanted, so that a worker need not ask for it again and again; a
 * Role without it, as earlier versions printed it, goes on working.
 */
function isForWatching({ verb, name }: Permission): boolean {
  return name !== undefined && (verb === 'list' || verb === 'watch');
}

/** Who asks, and what for. */
type Asker = Pick<Cluster, 'mayI' | 'myRules'>;
interface Question {
  readonly plan: KubernetesTargetPlan;
  readonly signal: AbortSignal;
}

/**
 * What a release cannot do without and these credentials may not do, one clause each: `patch
 * httproutes.gateway.networking.k8s.io checkout in namespace shop`. Every user may ask this. Changes nothing.
 *
 * @throws ClusterFailure when the API server cannot be asked.
 */
export function checkPermissions(cluster: Asker, question: Question): Promise<readonly string[]> {
  return refused(cluster, requiredPermissions(question.plan), question);
}

/** The same of what spares a worker from asking for each object again and again. */
export function checkWatching(cluster: Asker, question: Question): Promise<readonly string[]> {
  return refused(cluster, rolePermissions(question.plan).filter(isForWatching), question);
}

/**
 * One question for all of them first; what its answer does not grant is asked one by one, so that only the server's own
 * decision is ever held against anybody.
 */
async function refused(
  cluster: Asker,
  permissions: readonly Permission[],
  { plan, signal }: Question,
): Promise<readonly string[]> {
  const rules = await grantedRules(cluster, plan.namespace, signal);
  const doubtful = permissions.filter((permission) => !rules.some((rule) => grants(rule, permission)));
  const allowed: boolean[] = [];
  let next = 0;
  const ask = async (): Promise<void> => {
    for (let index = next++; index < doubtful.length; index = next++) {
      const permission = doubtful[index];
      if (permission !== undefined) allowed[index] = (await cluster.mayI(permission, { signal })).allowed;
    }
  };
  await Promise.all(Array.from({ length: CLUSTER_DEFAULTS.reviewsAtOnce }, ask));
  return doubtful.filter((_, index) => allowed[index] !== true).map(describePermission);
}

/** Nothing where they are not all there is: somebody who cannot list what he allows may also be the one who forbids. */
async function grantedRules(
  cluster: Pick<Cluster, 'myRules'>,
  namespace: string,
  signal: AbortSignal,
): Promise<readonly AccessRule[]> {
  try {
    const { complete, rules } = await cluster.myRules(namespace, { signal });
    return complete ? rules : [];
  } catch (error) {
    // A cluster may keep this question from its users, or not know it.
    if (error instanceof ClusterFailure && (error.kind === 'forbidden' || error.kind === 'notFound')) return [];
    throw error;
  }
}

/** As RBAC decides: a rule with names grants nothing that has none, such as `create` and `list`. */
function grants(rule: AccessRule, { verb, group, resource, subresource, name }: Permission): boolean {
  const has = (list: readonly string[], ...wanted: readonly string[]): boolean =>
    list.some((one) => one === '*' || wanted.includes(one));
  const resources = subresource === undefined ? [resource] : [`${resource}/${subresource}`, `*/${subresource}`];
  return (
    has(rule.verbs, verb) &&
    has(rule.groups, group) &&
    has(rule.resources, ...resources) &&
    (rule.names.length === 0 || (name !== undefined && rule.names.includes(name)))
  );
}

/** A permission as people read it. */
export function describePermission({ verb, group, resource, subresource, name, namespace }: Permission): string {
  const kind = permissionName(group, resource, subresource);
  return `${verb} ${kind}${name === undefined ? '' : ` ${name}`} in namespace ${namespace}`;
}

/** Of the new version: made, sized and watched; of stable: read, promoted and returned to. */
function workloads({ deployment, strategy }: KubernetesTargetPlan): Grant[] {
  const deployments = { group: APPS, resource: 'deployments' };
  const [old, made, verbs] =
    strategy === 'blueGreen'
      ? // Neither goes: the idle one stays, without pods.
        [[], [`${deployment}-blue`, `${deployment}-green`], WRITE]
      : // A pair that is there already may be named so.
        [[deployment, `${deployment}-stable`], [`${deployment}-canary`], MAKE];
  return [
    { ...deployments, names: old, verbs: WRITE },
    { ...deployments, names: made, verbs },
    { ...deployments, verbs: ['create'] },
    // Why pods do not become ready; their names are not known beforehand.
    { group: APPS, resource: 'replicasets', verbs: ['list'] },
    { group: CORE, resource: 'pods', verbs: ['list'] },
    { group: CORE, resource: 'events', verbs: ['list'] },
  ];
}

/** The tracks' own Services, and the smoke test through them. */
function services(plan: KubernetesTargetPlan): Grant[] {
  const { service, strategy } = plan;
  const services = { group: CORE, resource: 'services' };
  const tracksOf = (...tracks: string[]): string[] => tracks.map((track) => `${service}-${track}`);
  const [tracks, tested, verbs] =
    strategy === 'blueGreen'
      ? // The previews stay, and what is tested is tested through them.
        [tracksOf('blue', 'green'), tracksOf('blue', 'green'), WRITE]
      : [tracksOf(...canaryTracks(plan)), [service, ...tracksOf(...canaryTracks(plan))], MAKE];
  return [
    { ...services, names: [service], verbs: READ },
    { ...services, names: tracks, verbs },
    { ...services, verbs: ['create'] },
    {
      ...services,
      subresource: 'proxy',
      names: tested.flatMap((name) => proxyNames(name, plan.port)),
      verbs: ['get'],
    },
  ];
}

/** While the Service itself points to the canary, stable is tested through a Service of its own. */
function canaryTracks({ traffic: { kind } }: KubernetesTargetPlan): string[] {
  return kind === 'serviceSelector' ? ['canary', 'stable'] : ['canary'];
}

/** The API server takes the port for a part of the name: `checkout`, `checkout:http`, `checkout:8080`. */
function proxyNames(service: string, port: number | null): string[] {
  return port === null ? [service, `${service}:http`] : [`${service}:${port}`];
}

function traffic(plan: KubernetesTargetPlan): Grant[] {
  const written = { verbs: WRITE };
  return objectsOf(plan).flatMap(({ made = [], names, ...kind }): Grant[] => [
    { ...kind, names, ...written },
    ...(made.length === 0
      ? []
      : [
          { ...kind, names: made, verbs: MAKE },
          { ...kind, verbs: ['create'] },
        ]),
  ]);
}

interface TrafficObjects {
  readonly group: string;
  readonly resource: string;
  readonly names: readonly string[];
  /** Those that the release makes and takes away. */
  readonly made?: readonly string[];
}

function objectsOf({ traffic: chosen, strategy, deployment, service }: KubernetesTargetPlan): TrafficObjects[] {
  const ownService = { group: CORE, resource: 'services', names: [service] };
  // Whatever splits before it, in the end the Service points to the other one.
  const switched = strategy === 'blueGreen' ? [ownService] : [];
  switch (chosen.kind) {
    case 'gatewayAPI':
      return [
        ...switched,
        ...(['HTTPRoute', 'GRPCRoute'] as const).map((kind) => ({
          group: 'gateway.networking.k8s.io',
          resource: kind === 'HTTPRoute' ? 'httproutes' : 'grpcroutes',
          names: routesOf(chosen, kind),
        })),
      ];
    case 'nginx': {
      const made = chosen.ingresses.map(canaryNameOf);
      return [...switched, { group: 'networking.k8s.io', resource: 'ingresses', names: chosen.ingresses, made }];
    }
    case 'traefik':
      return [...switched, { group: 'traefik.io', resource: 'traefikservices', names: [chosen.traefikService] }];
    case 'istio':
      return [
        ...switched,
        { group: 'networking.istio.io', resource: 'virtualservices', names: [chosen.virtualService] },
      ];
    case 'serviceSelector':
      return [ownService];
    case 'replicas':
      return [...switched, { group: APPS, resource: 'deployments', names: [deployment, `${deployment}-canary`] }];
  }
}

function routesOf(chosen: Extract<TrafficPlan, { kind: 'gatewayAPI' }>, kind: 'HTTPRoute' | 'GRPCRoute'): string[] {
  return chosen.routes.filter((route) => route.kind === kind).map(({ name }) => name);
}

/** The template names them, and copies are named by their content: no names are known beforehand. */
function configuration({ config }: KubernetesTargetPlan): Grant[] {
  if (config === 'keep') return [];
  const verbs = ['get', 'list', 'create', 'patch', 'delete'];
  return ['configmaps', 'secrets'].map((resource) => ({ group: CORE, resource, verbs }));
}
