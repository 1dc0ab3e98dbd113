import { describeObject, isUnknownKind } from './cluster-access';
import type { Newness, TrafficCluster, TrafficObjectRef, TrafficObject } from './cluster-access';
import { findObject } from './held-object';
import { isMissing, TrafficFailure } from './traffic-router';

/** In one sentence. */
const OTHERS_SHOWN = 5;

/** Whose definitions (CRDs) a cluster without a kind lacks, by its API group. */
const DEFINITIONS: Readonly<Record<string, string>> = {
  'gateway.networking.k8s.io': 'the Gateway API',
  'traefik.io': 'Traefik',
  'networking.istio.io': 'Istio',
};

/**
 * As `findObject`, for who looks before a release: an object that is absent is told with the key of the spec that names it
 * and what to do.
 *
 * @throws TrafficFailure `missing`.
 */
export async function findNamed(
  cluster: TrafficCluster,
  ref: TrafficObjectRef,
  { named, signal, ...newness }: { readonly named: string; readonly signal: AbortSignal } & Newness,
): Promise<TrafficObject> {
  try {
    return await findObject(cluster, ref, signal, newness);
  } catch (error) {
    if (!isMissing(error)) throw error;
    const sentence = isUnknownKind(error.cause)
      ? describeUnknownKind(ref, named)
      : `${describeObject(ref)} does not exist: ${named} names it, ${await othersBeside(cluster, ref, signal)}create it, or correct the name (or metadata.namespace) in the spec.`;
    throw new TrafficFailure('missing', sentence, { cause: error });
  }
}

function describeUnknownKind(ref: TrafficObjectRef, named: string): string {
  const [group = ''] = ref.apiVersion.split('/');
  const whose = DEFINITIONS[group] ?? group;
  return `${describeObject(ref)} cannot exist: ${named} names it, and the cluster knows no kind ${ref.kind} of ${ref.apiVersion}; install the definitions (CRDs) of ${whose} in that version, or name another traffic in the spec.`;
}

/** Empty where that cannot be listed: the right to is asked of nobody. */
async function othersBeside(cluster: TrafficCluster, ref: TrafficObjectRef, signal: AbortSignal): Promise<string> {
  const { apiVersion, kind, namespace = '' } = ref;
  if (cluster.list === undefined) return '';
  let names: readonly string[];
  try {
    names = (await cluster.list({ apiVersion, kind, namespace }, { signal })).map(({ metadata }) => metadata.name);
  } catch (error) {
    // What is amiss is told all the same.
    if (signal.aborted) throw error;
    return '';
  }
  if (names.length === 0) return `and namespace ${namespace} has no ${kind} at all; `;
  const more = names.length > OTHERS_SHOWN ? ` and ${names.length - OTHERS_SHOWN} more` : '';
  return `and namespace ${namespace} has ${kind} ${names.slice(0, OTHERS_SHOWN).join(', ')}${more}; `;
}
