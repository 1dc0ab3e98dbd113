import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';

type Fields = Readonly<Record<string, unknown>>;

export interface ReplicaSetShape {
  readonly hash: string;
  readonly revision: number;
  /** Uid of the Deployment. */
  readonly owner: string;
  readonly conditions?: readonly Fields[];
}

/** What the Deployment controller makes of a template; its uid is `uid-of-<hash>`. */
export function replicaSetObject({ hash, revision, owner, conditions = [] }: ReplicaSetShape): KubernetesObject {
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `checkout-${hash}`,
      namespace: 'shop',
      uid: `uid-of-${hash}`,
      labels: { app: 'checkout', 'pod-template-hash': hash },
      annotations: { 'deployment.kubernetes.io/revision': String(revision) },
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'checkout', uid: owner, controller: true }],
    },
    status: { replicas: 0, conditions },
  };
}

/** A pod of the ReplicaSet with that hash. */
export function podObject(name: string, hash: string, status: Fields, metadata: Fields = {}): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'shop',
      labels: { app: 'checkout', 'pod-template-hash': hash },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `checkout-${hash}`,
          uid: `uid-of-${hash}`,
          controller: true,
        },
      ],
      ...metadata,
    },
    spec: { containers: [{ name: 'app', image: 'example.test/checkout:2' }] },
    status: { phase: 'Pending', ...status },
  };
}

/** The status of one container as the kubelet writes it. */
export function containerStatus(state: Fields, more: Fields = {}): Fields {
  return { name: 'app', ready: false, restartCount: 0, image: '', imageID: '', state, lastState: {}, ...more };
}

export function waiting(reason: string, message?: string): Fields {
  return { waiting: { reason, ...(message === undefined ? {} : { message }) } };
}

export function ended(exitCode: number, reason = 'Error', message?: string): Fields {
  return { terminated: { exitCode, reason, ...(message === undefined ? {} : { message }) } };
}

export const RUNNING: Fields = { running: { startedAt: '2026-01-01T00:00:00Z' } };

/** What a component told about the pod, as client-go records it. */
export function podEvent(pod: string, by: string, [reason, message]: readonly [string, string], at: string): Fields {
  return {
    involvedObject: { apiVersion: 'v1', kind: 'Pod', name: pod, namespace: 'shop' },
    type: 'Normal',
    source: { component: by },
    reportingComponent: by,
    reason,
    message,
    lastTimestamp: at,
  };
}

export function unscheduled(message: string, since: string, reason = 'Unschedulable'): Fields {
  return { conditions: [{ type: 'PodScheduled', status: 'False', reason, message, lastTransitionTime: since }] };
}
