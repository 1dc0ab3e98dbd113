import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { ClusterFailure } from '../../../src/targets/kubernetes/cluster-failure';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';

/** The cluster with some methods of the test's own. */
export function withOwn(cluster: Cluster, own: Partial<Cluster>): Cluster {
  return new Proxy(cluster, {
    get: (from, key: keyof Cluster) => {
      if (own[key] !== undefined) return own[key];
      const value = from[key];
      return typeof value === 'function' ? value.bind(from) : value;
    },
  });
}

/** The cluster as one whose admission controller has all images from a mirror. */
export function mirroring(cluster: Cluster): Cluster {
  return withOwn(cluster, {
    create: (object, ...more) => cluster.create(object.kind === 'Deployment' ? mirrored(object) : object, ...more),
    patch: (ref, body, ...more) => {
      const text = JSON.stringify(body).replace(
        /("path":"[^"]*\/image","value":")registry\.example/g,
        '$1mirror.example',
      );
      return cluster.patch(ref, JSON.parse(text) as typeof body, ...more);
    },
  });
}

function mirrored(object: KubernetesObject): KubernetesObject {
  return JSON.parse(
    JSON.stringify(object).replaceAll('"image":"registry.example/', '"image":"mirror.example/'),
  ) as KubernetesObject;
}

/** The cluster as one whose admission controller adds something to the pods of each Deployment that is made. */
export function injecting(cluster: Cluster): Cluster {
  return withOwn(cluster, {
    create: (object, ...more) => cluster.create(object.kind === 'Deployment' ? injected(object) : object, ...more),
  });
}

function injected(object: KubernetesObject): KubernetesObject {
  const spec = object['spec'] as { readonly template: { readonly metadata: object } };
  const metadata = { ...spec.template.metadata, annotations: { 'mesh.example/injected': 'true' } };
  return { ...object, spec: { ...spec, template: { ...spec.template, metadata } } };
}

/** The cluster as one whose admission controller takes no write to a Deployment. */
export function refusing(cluster: Cluster, name: string): Cluster {
  return withOwn(cluster, {
    patch: (ref, ...more) =>
      ref.kind === 'Deployment' && ref.name === name
        ? Promise.reject(new ClusterFailure('invalid', 'denied by policy'))
        : cluster.patch(ref, ...more),
  });
}

/** The cluster as one that keeps what each write to a Deployment has made of it. */
export function keeping(cluster: Cluster, kept: KubernetesObject[]): Cluster {
  return withOwn(cluster, {
    patch: async (ref, ...more) => {
      const after = await cluster.patch(ref, ...more);
      if (ref.kind === 'Deployment') kept.push(after);
      return after;
    },
  });
}

/** True where the pods that are made now would have an environment variable that somebody has set. */
export function rollsOutAnEdit(deployment: KubernetesObject): boolean {
  const { paused = false, template } = deployment['spec'] as {
    readonly paused?: boolean;
    readonly template: { readonly spec: { readonly containers: readonly { readonly env?: unknown }[] } };
  };
  return !paused && template.spec.containers.some(({ env }) => env !== undefined);
}
