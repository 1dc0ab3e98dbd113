import { TargetFailure } from '../target';
import type { Cluster } from './cluster';
import { ClusterFailure } from './cluster-failure';
import type { ObjectRef } from './objects';

/** Who may not look does not know, and then it may be there. */
export async function isMissing(cluster: Cluster, ref: ObjectRef, signal: AbortSignal): Promise<boolean> {
  try {
    // Asked for once, so that no watch of it is opened.
    return (await cluster.find(ref, { signal, fresh: true })) === null;
  } catch (error) {
    if (error instanceof ClusterFailure && error.kind !== 'cancelled') return false;
    throw error;
  }
}

/** As `isMissing`: a release needs no right to namespaces, so without it nothing is said of this one. */
export function isNamespaceMissing(cluster: Cluster, namespace: string, signal: AbortSignal): Promise<boolean> {
  return isMissing(cluster, { apiVersion: 'v1', kind: 'Namespace', name: namespace }, signal);
}

/** What to mend where the namespace itself is not there; null where it is, or where that cannot be told. */
export async function absentNamespace(
  cluster: Cluster,
  namespace: string,
  signal: AbortSignal,
): Promise<TargetFailure | null> {
  if (!(await isNamespaceMissing(cluster, namespace, signal))) return null;
  return new TargetFailure(
    'invalidTarget',
    `There is no namespace ${namespace} in this cluster; name the service's own in the spec (metadata.namespace), or look at the kubeconfig's context.`,
  );
}

/**
 * Asked of where an object that a release needs is not there.
 *
 * @throws TargetFailure `invalidTarget` when the namespace is not there either.
 */
export async function refuseAbsentNamespace(cluster: Cluster, namespace: string, signal: AbortSignal): Promise<void> {
  const absent = await absentNamespace(cluster, namespace, signal);
  if (absent !== null) throw absent;
}
