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
  notIdle: 'conflict',
  unreachable: 'unreachable',
};

/** What a cluster or a target did not do, as an error of the command line; anything else as it is. */
export function asReleaseError(error: unknown, given: { readonly hint?: string } = {}): unknown {
  const hint = given.hint ?? hintFor(error);
  const options = hint === undefined ? {} : { hint };
  if (error instanceof TargetFailure) {
    return new ReleaseError(OF_TARGET[error.kind], error.message, { ...options, cause: error });
  }
  if (!(error instanceof ClusterFailure)) return error;
  return new ReleaseError(CODES[error.kind], error.message, { ...options, cause: error });
}

/** What to do where it is the cluster, and not what is in it, that stands in the way. */
function hintFor(error: unknown): string | undefined {
  const failure = error instanceof TargetFailure ? error.cause : error;
  if (!(failure instanceof ClusterFailure)) return undefined;
  switch (failure.kind) {
    case 'config':
      // One that says that there is no kubeconfig at all says this itself.
      if (failure.message.includes('KUBECONFIG')) return undefined;
      return 'Let KUBECONFIG name the file that kubectl uses; kubectl config get-contexts shows its contexts, and kubectl config use-context NAME chooses one.';
    case 'forbidden':
      return '`sluice rbac SPEC` prints a Role that has all that is needed.';
    case 'unreachable':
    case 'timeout':
      return 'Check KUBECONFIG and its context (kubectl config current-context), and that kubectl get --raw /readyz answers; else see the runbook "cluster unreachable".';
    default:
      return undefined;
  }
}
