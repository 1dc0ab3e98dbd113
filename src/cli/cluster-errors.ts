import { ReleaseError } from '../errors';
import type { ReleaseErrorCode } from '../errors';
import { ClusterFailure } from '../targets/kubernetes/cluster-failure';
import type { ClusterFailureKind } from '../targets/kubernetes/cluster-failure';

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

/** What a cluster did not do, as an error of the command line; anything else as it is. */
export function asReleaseError(error: unknown, options: { readonly hint?: string } = {}): unknown {
  if (!(error instanceof ClusterFailure)) return error;
  return new ReleaseError(CODES[error.kind], error.message, { ...options, cause: error });
}
