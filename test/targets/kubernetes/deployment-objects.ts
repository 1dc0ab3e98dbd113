import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';

export interface DeploymentStatus {
  readonly observedGeneration?: number;
  readonly replicas?: number;
  readonly updatedReplicas?: number;
  readonly availableReplicas?: number;
  readonly readyReplicas?: number;
  readonly conditions?: readonly Readonly<Record<string, string>>[];
}

/** A Deployment as the API server sends it: `shop/checkout`, of generation 2, with one container. */
export function deploymentObject(
  spec: Readonly<Record<string, unknown>> = {},
  status: DeploymentStatus = {},
  metadata: Readonly<Record<string, unknown>> = {},
): KubernetesObject {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name: 'checkout',
      namespace: 'shop',
      uid: 'uid-of-checkout',
      resourceVersion: '7',
      generation: 2,
      ...metadata,
    },
    spec: {
      selector: { matchLabels: { app: 'checkout' } },
      template: templateOf(['checkout']),
      ...spec,
    },
    status: { observedGeneration: 2, ...status },
  };
}

export function templateOf(containers: readonly string[]): Readonly<Record<string, unknown>> {
  return {
    metadata: { labels: { app: 'checkout', tier: 'web' } },
    spec: { containers: containers.map((name) => ({ name, image: `example.test/${name}:1` })) },
  };
}

export const DEADLINE_EXCEEDED = {
  type: 'Progressing',
  status: 'False',
  reason: 'ProgressDeadlineExceeded',
  message: 'ReplicaSet "checkout-5d" has timed out progressing.',
  lastUpdateTime: '2026-01-01T00:00:00Z',
};
