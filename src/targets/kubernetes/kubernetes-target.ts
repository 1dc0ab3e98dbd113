import type { KubernetesTargetPlan } from '../../spec/plan-types';
import type { Target } from '../target';
import { createBlueGreenTarget } from './blue-green/blue-green-target';
import { createCanaryTarget } from './canary/canary-target';
import type { KubernetesTargetDeps } from './track-checks';

/** The target of a plan's strategy. */
export function createKubernetesTarget(plan: KubernetesTargetPlan, deps: KubernetesTargetDeps): Target {
  switch (plan.strategy) {
    case 'canary':
      return createCanaryTarget(plan, deps);
    case 'blueGreen':
      return createBlueGreenTarget(plan, deps);
  }
}
