import { messageOf, ReleaseError } from '../../errors';
import type { Cluster } from '../../targets/kubernetes/cluster';
import { ClusterFailure } from '../../targets/kubernetes/cluster-failure';
import { describeRef, refOf } from '../../targets/kubernetes/objects';
import type { KubernetesObject } from '../../targets/kubernetes/objects';
import { asReleaseError } from '../cluster-errors';

/** Ours is not the releases' name: those give their fields back, and these are to stay. */
export const INIT_FIELD_MANAGER = 'sluice-init';

/** For the way back after a failure; whoever waits has waited already. */
const UNDO_MS = 30_000;

export interface AppliedObject {
  readonly object: string;
  readonly how: 'created' | 'changed' | 'unchanged';
}

type Objects = readonly KubernetesObject[];

/**
 * Lets the server check every object, and keeps nothing: defaults, immutable fields, admission, fields that it does not
 * know, fields that somebody else owns. Answers the objects that it cannot tell about yet: the binding of a Role that is
 * not there, for a user who may only bind Roles of what he may do himself.
 *
 * @throws ReleaseError with a sentence for each thing that is missing, and for each object that is not accepted.
 */
export async function checkObjects(cluster: Cluster, objects: Objects, signal: AbortSignal): Promise<Objects> {
  const unknown: KubernetesObject[] = [];
  const missing = new Set<string>();
  const refused: unknown[] = [];
  for (const object of objects) {
    try {
      await cluster.apply(object, { signal, strict: true, dryRun: true });
    } catch (error) {
      if (isWithoutRole(object, error)) {
        unknown.push(object);
        continue;
      }
      const absent = whatIsMissing(object, error);
      if (absent !== null) {
        missing.add(absent);
        continue;
      }
      const known = asReleaseError(error);
      // Who is not reached, or does not know us, would say the same of every object.
      const code = known instanceof ReleaseError ? known.code : null;
      if (code === null || code === 'unreachable' || code === 'timeout') throw known;
      refused.push(known);
    }
  }
  const [first] = refused;
  if (first === undefined && missing.size === 0) return unknown;
  const code = first === undefined ? 'not-found' : first instanceof ReleaseError ? first.code : 'internal';
  const sentences = new Set([...missing, ...refused.map(messageOf)]);
  throw new ReleaseError(code, [...sentences].join('\n'));
}

/** A namespace or a definition that must be there before the object can be, and how it comes there; null for others. */
function whatIsMissing({ kind }: KubernetesObject, error: unknown): string | null {
  const namespace = absentNamespace(error);
  if (namespace !== null) {
    return `Namespace ${namespace} does not exist; make it first: kubectl create namespace ${namespace}`;
  }
  if (!messageOf(error).includes('knows no kind')) return null;
  const otherwise =
    kind === 'ServiceMonitor'
      ? 'install the Prometheus operator, or add --no-service-monitor'
      : 'install its definition, or choose another --traffic';
  return `${messageOf(error).replace(/\.$/, '')}; ${otherwise}.`;
}

/** The namespace that the server did not find an object's in; null for any other refusal. */
function absentNamespace(error: unknown): string | null {
  if (!(error instanceof ClusterFailure) || error.kind !== 'notFound') return null;
  return /namespaces "([^"]+)" not found/.exec(error.message)?.[1] ?? null;
}

/**
 * Applies all, in order. The API has no transactions: when one fails after all were checked, those that this call has
 * made are deleted again, and those that were there before and are changed by now are named.
 *
 * @throws ReleaseError that says what became of the others.
 */
export async function applyObjects(cluster: Cluster, objects: Objects, signal: AbortSignal): Promise<AppliedObject[]> {
  const done: { readonly applied: KubernetesObject; readonly how: AppliedObject['how'] }[] = [];
  for (const object of objects) {
    try {
      const before = await cluster.find(refOf(object), { signal });
      const applied = await cluster.apply(object, { signal, strict: true });
      const same = before?.metadata.resourceVersion === applied.metadata.resourceVersion;
      done.push({ applied, how: before === null ? 'created' : same ? 'unchanged' : 'changed' });
    } catch (error) {
      const left = await undo(cluster, done);
      const known = asReleaseError(error);
      const code = known instanceof ReleaseError ? known.code : 'internal';
      throw new ReleaseError(code, `${messageOf(known)} ${left}`, { cause: error });
    }
  }
  return done.map(({ applied, how }) => ({ object: describeRef(refOf(applied)), how }));
}

async function undo(
  cluster: Cluster,
  done: readonly { readonly applied: KubernetesObject; readonly how: AppliedObject['how'] }[],
): Promise<string> {
  const signal = AbortSignal.timeout(UNDO_MS);
  const removed: string[] = [];
  const left: string[] = [];
  for (const { applied, how } of [...done].reverse()) {
    const ref = refOf(applied);
    if (how === 'unchanged') continue;
    if (how === 'changed') {
      left.push(describeRef(ref));
      continue;
    }
    try {
      const { uid } = applied.metadata;
      await cluster.delete(ref, { signal, ...(uid === undefined ? {} : { uid }) });
      removed.push(describeRef(ref));
    } catch (error) {
      left.push(`${describeRef(ref)} (${messageOf(error)})`);
    }
  }
  const sentences = [
    ...(removed.length === 0 ? [] : [`Deleted again: ${removed.join(', ')}.`]),
    ...(left.length === 0 ? [] : [`Left as applied: ${left.join(', ')}.`]),
  ];
  return sentences.length === 0 ? 'Nothing was changed before.' : sentences.join(' ');
}

/** The server names the binding where it means its Role. */
function isWithoutRole({ kind, metadata }: KubernetesObject, error: unknown): boolean {
  const missing = `rolebindings.rbac.authorization.k8s.io "${metadata.name}" not found`;
  return kind === 'RoleBinding' && error instanceof ClusterFailure && error.message.includes(missing);
}
