import { TargetFailure } from '../target';
import type { Target } from '../target';
import type { Cluster, DeleteOptions, FindOptions, WriteOptions } from './cluster';
import { ClusterFailure } from './cluster-failure';
import { describeRef, refOf } from './objects';
import type { KubernetesObject, ObjectRef } from './objects';

/**
 * A target of which each operation reads an object once: what was read, and what a write answered, is not asked for again
 * until the operation is over. Safe, because a write lands only on the resourceVersion that was read; one that was
 * overtaken forgets the object, so that the next try reads it anew. From one operation to the next nothing is remembered
 * here: there may be another worker in between, and only a watch would tell.
 *
 * Where a watch has told what an operation goes by, that is never the last word on a failure: an operation that would fail
 * before it has written anything is done again, by what the server says now. What a release begins with, and what takes
 * stable's pods from under the traffic, goes by the server's word from the beginning.
 */
export function rememberReads(cluster: Cluster, make: (cluster: Cluster) => Target): Target {
  async function operation<T>(run: (target: Target) => Promise<T>): Promise<T> {
    const first = remembering(cluster);
    try {
      return await run(make(first.cluster));
    } catch (error) {
      if (!first.isDoubtful(error)) throw error;
      return asked(run);
    }
  }

  function asked<T>(run: (target: Target) => Promise<T>): Promise<T> {
    return run(make(remembering(cluster, { asked: true }).cluster));
  }

  return {
    observe: (look) => asked((target) => target.observe(look)),
    deploy: (write) => operation((target) => target.deploy(write)),
    smokeTest: (request) => operation((target) => target.smokeTest(request)),
    setWeight: (write) => operation((target) => target.setWeight(write)),
    reassert: (write) => operation((target) => target.reassert(write)),
    promote: (write) => asked((target) => target.promote(write)),
    restoreStable: (write) => operation((target) => target.restoreStable(write)),
    removeCanary: (write) => operation((target) => target.removeCanary(write)),
    close: () => make(cluster).close(),
  };
}

interface Remembered {
  readonly object: KubernetesObject | null;
  /** It is the server's own word, and no watch's. */
  readonly asked: boolean;
}

interface Remembering {
  readonly cluster: Cluster;
  /** True for a failure that may come from what a watch has told, and that nothing was written before. */
  isDoubtful(error: unknown): boolean;
}

/** `get` and `list` always ask; `find` unless it is told to. */
function remembering(cluster: Cluster, { asked: all = false }: { readonly asked?: boolean } = {}): Remembering {
  const known = new Map<string, Remembered>();
  const keyOf = (ref: ObjectRef): string => `${ref.apiVersion} ${describeRef(ref)}`;
  let told = false;
  let written = false;

  async function find(ref: ObjectRef, options: FindOptions): Promise<KubernetesObject | null> {
    const { fresh = false, anew = false } = options;
    const asked = options.asked === true || (all && !anew);
    const before = fresh || anew ? undefined : known.get(keyOf(ref));
    if (before !== undefined && (before.asked || !asked)) return before.object;
    const object = await cluster.find(ref, { ...options, asked });
    const own = fresh || asked || cluster.watching === undefined;
    if (!own) told = true;
    known.set(keyOf(ref), { object, asked: own });
    return object;
  }

  async function get(ref: ObjectRef, options: FindOptions): Promise<KubernetesObject> {
    const object = await cluster.get(ref, options);
    known.set(keyOf(ref), { object, asked: true });
    return object;
  }

  /** From the moment it is sent nobody knows what is there, and what is answered is known only if it is kept. */
  async function write(
    ref: ObjectRef,
    { dryRun }: WriteOptions,
    send: () => Promise<KubernetesObject>,
  ): Promise<KubernetesObject> {
    forget(ref);
    const object = await send();
    if (dryRun !== true) known.set(keyOf(ref), { object, asked: true });
    return object;
  }

  function forget(ref: ObjectRef): void {
    known.delete(keyOf(ref));
    written = true;
  }

  return {
    cluster: {
      fieldManager: cluster.fieldManager,
      defaultNamespace: cluster.defaultNamespace,
      ...(cluster.watching === undefined ? {} : { watching: cluster.watching }),
      ...(cluster.outages === undefined ? {} : { outages: cluster.outages }),
      ...(cluster.onWait === undefined ? {} : { onWait: cluster.onWait }),
      ...(cluster.onWaited === undefined ? {} : { onWaited: cluster.onWaited }),
      get,
      find,
      list: (ref, options) => cluster.list(ref, options),
      create: (object, options) => write(refOf(object), options, () => cluster.create(object, options)),
      apply: (object, options) => write(refOf(object), options, () => cluster.apply(object, options)),
      patch: (ref, patch, options) => write(ref, options, () => cluster.patch(ref, patch, options)),
      delete: (ref: ObjectRef, options: DeleteOptions) => {
        forget(ref);
        return cluster.delete(ref, options);
      },
      scale: (ref, replicas, options) => {
        forget(ref);
        return cluster.scale(ref, replicas, options);
      },
      mayI: (permission, options) => cluster.mayI(permission, options),
      myRules: (namespace, options) => cluster.myRules(namespace, options),
      proxyGet: (request, options) => cluster.proxyGet(request, options),
      close: () => cluster.close(),
    },
    isDoubtful: (error) => {
      if (!told || !(error instanceof TargetFailure)) return false;
      // The server itself has said so, or has said nothing: that was tried often enough.
      if (error.cause instanceof ClusterFailure) return false;
      // A wait looks for itself before it gives up, and may have lasted for hours.
      if (error.kind === 'deployFailed') return false;
      // After a write only a thing of the user's may be another by now: that a later write was seen stays true for ever,
      // and what may mend itself is tried again by whoever runs this.
      return !written || error.kind === 'invalidTarget';
    },
  };
}
