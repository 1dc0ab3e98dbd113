import type { Cluster } from '../../../src/targets/kubernetes/cluster';
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
