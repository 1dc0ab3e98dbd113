import { diff } from '../../traffic/json-patch';
import type { Cluster, Patch, WriteOptions } from './cluster';
import { describeRef, refOf } from './objects';
import type { JsonPatchOperation, KubernetesObject, ObjectRef } from './objects';

/** A write that the API server took. */
export interface ToldWrite {
  /** In the words of Kubernetes' permissions. */
  readonly verb: 'create' | 'patch' | 'delete';
  /** `HTTPRoute pay/shop`. */
  readonly object: string;
  readonly kind: string;
  /** What it changed, as far as the request says it: `spec.rules.0.backendRefs.1.weight = 0`. */
  readonly changes: readonly string[];
  /** From its first try to its answer, milliseconds. */
  readonly ms: number;
}

/**
 * A cluster of which somebody hears: of each write when the API server has taken it, and of each wait when it begins. What
 * was refused, was a dry run, or found nothing to delete, is no write.
 */
export function tellWrites(
  cluster: Cluster,
  told: { readonly onWrite: (write: ToldWrite) => void; readonly onWait: (sentence: string) => void },
): Cluster {
  async function write<T>(
    what: Pick<ToldWrite, 'verb' | 'changes'> & { readonly ref: ObjectRef },
    { dryRun }: WriteOptions,
    send: () => Promise<T>,
  ): Promise<T> {
    const began = performance.now();
    const answer = await send();
    const { ref, verb, changes } = what;
    const ms = performance.now() - began;
    if (dryRun !== true && answer !== false) {
      told.onWrite({ verb, object: describeRef(ref), kind: ref.kind, changes, ms });
    }
    return answer;
  }

  return {
    fieldManager: cluster.fieldManager,
    defaultNamespace: cluster.defaultNamespace,
    ...(cluster.watching === undefined ? {} : { watching: cluster.watching }),
    ...(cluster.outages === undefined ? {} : { outages: cluster.outages }),
    onWait: told.onWait,
    get: (ref, options) => cluster.get(ref, options),
    find: (ref, options) => cluster.find(ref, options),
    list: (ref, options) => cluster.list(ref, options),
    create: (object: KubernetesObject, options) =>
      write({ verb: 'create', ref: refOf(object), changes: [] }, options, () => cluster.create(object, options)),
    apply: (object, options) =>
      write({ verb: 'patch', ref: refOf(object), changes: [] }, options, () => cluster.apply(object, options)),
    patch: (ref, patch, options) =>
      write({ verb: 'patch', ref, changes: changesOf(patch) }, options, () => cluster.patch(ref, patch, options)),
    delete: (ref, options) => write({ verb: 'delete', ref, changes: [] }, options, () => cluster.delete(ref, options)),
    scale: (ref, replicas, options) =>
      write({ verb: 'patch', ref, changes: [`spec.replicas = ${replicas}`] }, options, () =>
        cluster.scale(ref, replicas, options),
      ),
    mayI: (permission, options) => cluster.mayI(permission, options),
    myRules: (namespace, options) => cluster.myRules(namespace, options),
    proxyGet: (request, options) => cluster.proxyGet(request, options),
    close: () => cluster.close(),
  };
}

function changesOf(patch: Patch): readonly string[] {
  const operations: readonly JsonPatchOperation[] = patch.type === 'json' ? patch.operations : diff({}, patch.patch);
  const changes = operations.flatMap((operation) => {
    const keys = operation.path.slice(1).split('/').map(unescaped);
    if (operation.op === 'test') return [];
    // Whose fields they are: what the list holds besides says nothing to people.
    if (keys[0] === 'metadata' && keys[1] === 'managedFields') return ['metadata.managedFields'];
    return operation.op === 'remove' ? [`without ${fieldAt(keys)}`] : given(keys, operation.value);
  });
  return [...new Set(changes)];
}

/** Annotations and labels where there were none come as a whole, and each is a change. */
function given(keys: readonly string[], value: unknown): readonly string[] {
  if (isOfMetadata(keys) && keys.length === 2 && typeof value === 'object' && value !== null) {
    return Object.entries(value).flatMap(([key, each]) => given([...keys, key], each));
  }
  const field = fieldAt(keys);
  return [isShown(keys, value) ? `${field} = ${String(value)}` : field];
}

/** Neither our own notes, which are JSON, nor what may be nobody's to read, such as a variable of a container's environment. */
function isShown(keys: readonly string[], value: unknown): boolean {
  if (typeof value === 'number' || typeof value === 'boolean') return true;
  if (typeof value !== 'string' || value.startsWith('{')) return false;
  const isSelector = keys[0] === 'spec' && keys[1] === 'selector';
  return isOfMetadata(keys) || isSelector || keys.at(-1) === 'image';
}

/** `spec.replicas`; an annotation and a label by their own names. */
function fieldAt(keys: readonly string[]): string {
  return isOfMetadata(keys) && keys.length > 2 ? keys.slice(2).join('.') : keys.join('.');
}

function isOfMetadata([first, second]: readonly string[]): boolean {
  return first === 'metadata' && (second === 'annotations' || second === 'labels');
}

function unescaped(key: string): string {
  return key.replaceAll('~1', '/').replaceAll('~0', '~');
}
