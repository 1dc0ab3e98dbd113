import type { KubernetesTargetPlan, TrafficPlan } from '../../../src/spec/plan-types';

/** One of each kind. */
export const TRAFFIC: readonly TrafficPlan[] = [
  {
    kind: 'gatewayAPI',
    routes: [
      { kind: 'HTTPRoute', name: 'checkout' },
      { kind: 'GRPCRoute', name: 'checkout-grpc' },
    ],
  },
  { kind: 'nginx', ingresses: ['checkout', 'checkout-admin'] },
  { kind: 'traefik', traefikService: 'checkout' },
  { kind: 'istio', virtualService: 'checkout' },
  { kind: 'serviceSelector' },
  { kind: 'replicas' },
];

export function targetPlan(changes: Partial<KubernetesTargetPlan> = {}): KubernetesTargetPlan {
  return {
    kind: 'kubernetes',
    namespace: 'shop',
    serviceName: 'checkout',
    deployment: 'checkout',
    service: 'checkout',
    strategy: 'canary',
    traffic: { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'checkout' }] },
    container: null,
    port: null,
    resolveImage: 'never',
    config: 'keep',
    drainMs: 0,
    keepOldMs: 0,
    onForeignEdit: 'reassert',
    ...changes,
  };
}
