import { ReleaseError } from '../errors';
import type { ReleaseErrorCode } from '../errors';
import { ClusterFailure } from '../targets/kubernetes/cluster-failure';
import type { ClusterFailureKind } from '../targets/kubernetes/cluster-failure';
import { TargetFailure } from '../targets/target';
import type { TargetFailureKind } from '../targets/target';

const CODES: Readonly<Record<ClusterFailureKind, ReleaseErrorCode>> = {
  config: 'usage',
  unauthorized: 'forbidden',
  forbidden: 'forbidden',
  notFound: 'not-found',
  alreadyExists: 'conflict',
  conflict: 'conflict',
  invalid: 'usage',
  unreachable: 'unreachable',
  timeout: 'timeout',
  cancelled: 'timeout',
};

const OF_TARGET: Readonly<Record<TargetFailureKind, ReleaseErrorCode>> = {
  fenceLost: 'conflict',
  guardTripped: 'conflict',
  unknownVersion: 'not-found',
  deployFailed: 'unreachable',
  smokeTestFailed: 'unreachable',
  invalidTarget: 'not-found',
  unsupported: 'unsupported',
  unreachable: 'unreachable',
};

/** What a cluster or a target did not do, as an error of the command line; anything else as it is. */
export function asReleaseError(error: unknown, options: { readonly hint?: string } = {}): unknown {
  if (error instanceof TargetFailure) {
    return new ReleaseError(OF_TARGET[error.kind], error.message, { ...options, cause: error });
  }
  if (!(error instanceof ClusterFailure)) return error;
  return new ReleaseError(CODES[error.kind], error.message, { ...options, cause: error });
}
