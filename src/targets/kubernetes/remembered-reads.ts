import type { Target } from '../target';
import type { Cluster, DeleteOptions, WriteOptions } from './cluster';
import { describeRef, refOf } from './objects';
import type { KubernetesObject, ObjectRef } from './objects';

/**
 * A target of which each operation reads an object once: what was read, and what a write answered, is not asked for again
 * until the operation is over. Safe, because a write lands only on the resourceVersion that was read; one that was
 * overtaken forgets the object, so that the next try reads it anew. Nothing is remembered from one operation to the next:
 * there may be another worker in between.
 */
export function rememberReads(cluster: Cluster, make: (cluster: Cluster) => Target): Target {
  const operation = (): Target => make(remembering(cluster));
  return {
    observe: (look) => operation().observe(look),
    deploy: (write) => operation().deploy(write),
    smokeTest: (request) => operation().smokeTest(request),
    setWeight: (write) => operation().setWeight(write),
    reassert: (write) => operation().reassert(write),
    promote: (write) => operation().promote(write),
    restoreStable: (write) => operation().restoreStable(write),
    removeCanary: (write) => operation().removeCanary(write),
    close: () => make(cluster).close(),
  };
}

/** `get` and `list` always ask; `find` unless it is told to. */
function remembering(cluster: Cluster): Cluster {
  const known = new Map<string, KubernetesObject | null>();
  const keyOf = (ref: ObjectRef): string => `${ref.apiVersion} ${describeRef(ref)}`;

  async function read<T extends KubernetesObject | null>(ref: ObjectRef, ask: () => Promise<T>): Promise<T> {
    const object = await ask();
    known.set(keyOf(ref), object);
    return object;
  }

  /** From the moment it is sent nobody knows what is there, and what is answered is known only if it is kept. */
  async function write(
    ref: ObjectRef,
    { dryRun }: WriteOptions,
    send: () => Promise<KubernetesObject>,
  ): Promise<KubernetesObject> {
    known.delete(keyOf(ref));
    const object = await send();
    if (dryRun !== true) known.set(keyOf(ref), object);
    return object;
  }

  return {
    fieldManager: cluster.fieldManager,
    defaultNamespace: cluster.defaultNamespace,
    get: (ref, options) => read(ref, () => cluster.get(ref, options)),
    find: (ref, options) => {
      const object = options.fresh === true ? undefined : known.get(keyOf(ref));
      return object === undefined ? read(ref, () => cluster.find(ref, options)) : Promise.resolve(object);
    },
    list: (ref, options) => cluster.list(ref, options),
    create: (object, options) => write(refOf(object), options, () => cluster.create(object, options)),
    apply: (object, options) => write(refOf(object), options, () => cluster.apply(object, options)),
    patch: (ref, patch, options) => write(ref, options, () => cluster.patch(ref, patch, options)),
    delete: (ref: ObjectRef, options: DeleteOptions) => {
      known.delete(keyOf(ref));
      return cluster.delete(ref, options);
    },
    scale: (ref, replicas, options) => {
      known.delete(keyOf(ref));
      return cluster.scale(ref, replicas, options);
    },
    mayI: (permission, options) => cluster.mayI(permission, options),
    myRules: (namespace, options) => cluster.myRules(namespace, options),
    proxyGet: (request, options) => cluster.proxyGet(request, options),
    close: () => cluster.close(),
  };
}
