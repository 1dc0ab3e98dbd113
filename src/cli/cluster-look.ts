import type { KubernetesTargetPlan } from '../spec/plan-types';
import type { ServiceLook } from '../targets/kubernetes/service-look';
import { asReleaseError } from './cluster-errors';
import { lazy } from './lazy';
import type { Session } from './session';

/** A person waits. */
const LOOK_TIMEOUT_MS = 15_000;

/**
 * A look at the service by the user's own kubeconfig.
 *
 * @throws ReleaseError
 */
export async function lookAtCluster(session: Session, target: KubernetesTargetPlan): Promise<ServiceLook> {
  try {
    const cluster = lazy.cluster().connectCluster({ env: session.cli.env });
    try {
      return await lazy.serviceLook().lookAtService(cluster, target, AbortSignal.timeout(LOOK_TIMEOUT_MS));
    } finally {
      cluster.close();
    }
  } catch (error) {
    throw asReleaseError(error);
  }
}
