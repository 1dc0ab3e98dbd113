import type { CollectionRef } from './objects';

/** What the API server calls a kind in its paths. */
export interface Resource {
  /** Plural, lower case: `deployments`. */
  readonly plural: string;
  readonly namespaced: boolean;
}

/**
 * The kinds a release meets anyway, so that nothing has to be asked for them. Everything else is looked up in the
 * server's own list of its group.
 */
const KNOWN: Readonly<Record<string, string>> = {
  'v1/ConfigMap': 'configmaps',
  'v1/Endpoints': 'endpoints',
  'v1/Event': 'events',
  'v1/Namespace': 'namespaces',
  'v1/Pod': 'pods',
  'v1/Secret': 'secrets',
  'v1/Service': 'services',
  'v1/ServiceAccount': 'serviceaccounts',
  'apps/v1/Deployment': 'deployments',
  'apps/v1/ReplicaSet': 'replicasets',
  'autoscaling/v2/HorizontalPodAutoscaler': 'horizontalpodautoscalers',
  'discovery.k8s.io/v1/EndpointSlice': 'endpointslices',
  'networking.k8s.io/v1/Ingress': 'ingresses',
  'policy/v1/PodDisruptionBudget': 'poddisruptionbudgets',
  'gateway.networking.k8s.io/v1/HTTPRoute': 'httproutes',
  'gateway.networking.k8s.io/v1/GRPCRoute': 'grpcroutes',
  'traefik.io/v1alpha1/TraefikService': 'traefikservices',
  'networking.istio.io/v1/VirtualService': 'virtualservices',
  'networking.istio.io/v1beta1/VirtualService': 'virtualservices',
};

export function knownResource(of: { readonly apiVersion: string; readonly kind: string }): Resource | null {
  const plural = KNOWN[`${of.apiVersion}/${of.kind}`];
  return plural === undefined ? null : { plural, namespaced: of.kind !== 'Namespace' };
}

/** Path of a group's and version's own list of resources. */
export function groupPath(apiVersion: string): string {
  const path = apiVersion.split('/').map(encodeURIComponent).join('/');
  return apiVersion.includes('/') ? `/apis/${path}` : `/api/${path}`;
}

/** Finds a kind in the answer of `groupPath`; null when it is not there. */
export function findResource(list: unknown, kind: string): Resource | null {
  const resources: unknown = typeof list === 'object' && list !== null && 'resources' in list ? list.resources : null;
  if (!Array.isArray(resources)) return null;
  for (const each of resources as readonly unknown[]) {
    if (typeof each !== 'object' || each === null) continue;
    const { name, kind: found, namespaced } = each as Readonly<Record<string, unknown>>;
    // `deployments/scale` and the like are of other kinds, but `/status` is of the same.
    if (found === kind && typeof name === 'string' && !name.includes('/')) {
      return { plural: name, namespaced: namespaced === true };
    }
  }
  return null;
}

/** The apiVersions of a group in the server's list of all groups; empty when it has no such group. */
export function findVersions({ groups }: { readonly groups?: unknown }, group: string): readonly string[] {
  const found = (Array.isArray(groups) ? (groups as readonly unknown[]) : []).find(
    (each) => typeof each === 'object' && each !== null && 'name' in each && each.name === group,
  ) as { readonly versions?: unknown } | undefined;
  const versions = Array.isArray(found?.versions) ? (found.versions as readonly unknown[]) : [];
  return versions.flatMap((each) =>
    typeof each === 'object' && each !== null && 'groupVersion' in each ? [String(each.groupVersion)] : [],
  );
}

/** Path of all objects of a kind. */
export function collectionPath(ref: CollectionRef, resource: Resource): string {
  const namespace =
    resource.namespaced && ref.namespace !== undefined ? `/namespaces/${encodeURIComponent(ref.namespace)}` : '';
  return `${groupPath(ref.apiVersion)}${namespace}/${resource.plural}`;
}

/** The resource as permissions name it: `deployments.apps`, `services`, `deployments.apps/scale`. */
export function permissionName(group: string, plural: string, subresource?: string): string {
  return `${plural}${group === '' ? '' : `.${group}`}${subresource === undefined ? '' : `/${subresource}`}`;
}

/** Of an apiVersion; empty for the core group. */
export function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : '';
}
