import type { TrafficPlan } from '../../../spec/plan-types';
import { createTrafficRouter } from '../../../traffic/create-traffic-router';
import type { TrafficSettings } from '../../../traffic/create-traffic-router';
import type { TrafficRouter } from '../../../traffic/traffic-router';
import type { Cluster } from '../cluster';
import type { Labels } from '../tracks';

/** What the router of a canary needs to know of the two tracks. */
export interface TrackFacts {
  readonly namespace: string;
  readonly service: string;
  readonly canaryService: string;
  readonly stableDeployment: string;
  readonly canaryDeployment: string;
  /** By which the Service finds the one track, or the other. */
  readonly selectors: { readonly stable: Labels; readonly canary: Labels };
  /** Pods of both tracks together, where shares follow their number. */
  readonly total: number;
}

/** There shares follow the number of pods, and there is no write that would move traffic without them. */
export function sharesByReplicas({ traffic }: { readonly traffic: TrafficPlan }): boolean {
  return traffic.kind === 'replicas';
}

export function trafficOf(cluster: Cluster, plan: TrafficPlan, facts: TrackFacts): TrafficRouter {
  const { namespace, service, canaryService } = facts;
  return createTrafficRouter(cluster, { namespace, stable: service, canary: canaryService }, settingsOf(plan, facts));
}

function settingsOf(plan: TrafficPlan, facts: TrackFacts): TrafficSettings {
  switch (plan.kind) {
    case 'serviceSelector':
      return { kind: 'serviceSelector', ...facts.selectors };
    case 'replicas': {
      const { stableDeployment, canaryDeployment, total } = facts;
      return { kind: 'replicas', stableDeployment, canaryDeployment, total };
    }
    default:
      return plan;
  }
}
