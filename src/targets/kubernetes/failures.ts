import { TrafficFailure } from '../../traffic/traffic-router';
import type { TrafficFailureKind } from '../../traffic/traffic-router';
import { TargetFailure } from '../target';
import type { TargetFailureKind } from '../target';
import { ClusterFailure } from './cluster-failure';
import type { ClusterFailureKind } from './cluster-failure';
import { CLUSTER_DEFAULTS } from './defaults';

/** What the cluster says, in the words of a release; only what may mend itself is `unreachable`. */
const OF_CLUSTER: Readonly<Record<Exclude<ClusterFailureKind, 'cancelled'>, TargetFailureKind>> = {
  config: 'invalidTarget',
  // Tokens are renewed and roles are repaired while a release waits: on the way back above all that is tried again.
  unauthorized: 'unreachable',
  forbidden: 'invalidTarget',
  notFound: 'invalidTarget',
  alreadyExists: 'unreachable',
  conflict: 'unreachable',
  invalid: 'invalidTarget',
  unreachable: 'unreachable',
  timeout: 'unreachable',
};

const OF_TRAFFIC: Readonly<Record<TrafficFailureKind, TargetFailureKind>> = {
  fenceLost: 'fenceLost',
  occupied: 'invalidTarget',
  invalidRoute: 'invalidTarget',
  missing: 'invalidTarget',
  unsupported: 'unsupported',
  contended: 'unreachable',
  partial: 'unreachable',
};

/** Runs what talks to the cluster; its failures become the target's. A cancellation passes as it is. */
export async function asTargetFailure<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof ClusterFailure && error.kind !== 'cancelled') {
      throw new TargetFailure(OF_CLUSTER[error.kind], error.message, { cause: error, ...wishOf(error) });
    }
    if (error instanceof TrafficFailure) {
      throw new TargetFailure(OF_TRAFFIC[error.kind], error.message, { cause: error });
    }
    throw error;
  }
}

/** A wish that did not fit into the request's own tries is kept by the activity's. */
function wishOf({ retryAfterMs }: ClusterFailure): { readonly retryAfterMs?: number } {
  return retryAfterMs === null ? {} : { retryAfterMs: Math.min(retryAfterMs, CLUSTER_DEFAULTS.longestWishMs) };
}
