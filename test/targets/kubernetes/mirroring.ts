import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { ClusterFailure } from '../../../src/targets/kubernetes/cluster-failure';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';

/** The cluster as one whose admission controller has all images from a mirror. */
export function mirroring(cluster: Cluster): Cluster {
  return new Proxy(cluster, {
    get: (from, key: keyof Cluster) => {
      const value = from[key];
      if (typeof value !== 'function') return value;
      if (key === 'create') {
        const create: Cluster['create'] = (object, ...more) =>
          from.create(object.kind === 'Deployment' ? mirrored(object) : object, ...more);
        return create;
      }
      if (key !== 'patch') return value.bind(from);
      const patch: Cluster['patch'] = (ref, body, ...more) => {
        const text = JSON.stringify(body).replace(
          /("path":"[^"]*\/image","value":")registry\.example/g,
          '$1mirror.example',
        );
        return from.patch(ref, JSON.parse(text) as typeof body, ...more);
      };
      return patch;
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
  return new Proxy(cluster, {
    get: (from, key: keyof Cluster) => {
      const value = from[key];
      if (typeof value !== 'function') return value;
      if (key !== 'create') return value.bind(from);
      const create: Cluster['create'] = (object, ...more) =>
        from.create(object.kind === 'Deployment' ? injected(object) : object, ...more);
      return create;
    },
  });
}

function injected(object: KubernetesObject): KubernetesObject {
  const spec = object['spec'] as { readonly template: { readonly metadata: object } };
  const metadata = { ...spec.template.metadata, annotations: { 'mesh.example/injected': 'true' } };
  return { ...object, spec: { ...spec, template: { ...spec.template, metadata } } };
}

/** The cluster as one whose admission controller takes no write to a Deployment. */
export function refusing(cluster: Cluster, name: string): Cluster {
  return new Proxy(cluster, {
    get: (from, key: keyof Cluster) => {
      const value = from[key];
      if (typeof value !== 'function') return value;
      if (key !== 'patch') return value.bind(from);
      const patch: Cluster['patch'] = (ref, ...more) =>
        ref.kind === 'Deployment' && ref.name === name
          ? Promise.reject(new ClusterFailure('invalid', 'denied by policy'))
          : from.patch(ref, ...more);
      return patch;
    },
  });
}

/** The cluster as one that keeps what each write to a Deployment has made of it. */
export function keeping(cluster: Cluster, kept: KubernetesObject[]): Cluster {
  return new Proxy(cluster, {
    get: (from, key: keyof Cluster) => {
      const value = from[key];
      if (typeof value !== 'function') return value;
      if (key !== 'patch') return value.bind(from);
      const patch: Cluster['patch'] = async (ref, ...more) => {
        const after = await from.patch(ref, ...more);
        if (ref.kind === 'Deployment') kept.push(after);
        return after;
      };
      return patch;
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
