import type { TargetPlan } from '../spec/plan-types';
import { createRouterTarget } from './router/router-target';
import { TargetFailure } from './target';
import type { Target } from './target';

/**
 * The target a plan names. `env` is the worker's environment: secrets are read there by the names the plan gives.
 *
 * @throws TargetFailure for settings that no retry mends.
 */
export function createTarget(plan: TargetPlan, env: Readonly<Record<string, string | undefined>>): Target {
  switch (plan.kind) {
    case 'router':
      return createRouterTarget(plan, env);
    case 'kubernetes':
    case 'flag':
      throw new TargetFailure(
        'unsupported',
        `This version of Sluice cannot release to a target of kind ${plan.kind} yet; it can release to: router.`,
      );
  }
}
