import type { TargetPlan } from '../spec/plan-types';
import type { Cluster } from './kubernetes/cluster';
import { createFlagTarget } from './flag/flag-target';
import { createKubernetesTarget } from './kubernetes/kubernetes-target';
import { resolveImage } from './kubernetes/resolve-image';
import { createRouterTarget } from './router/router-target';
import { TargetFailure } from './target';
import type { Target } from './target';

/** What targets need of the process that they work in. */
export interface TargetWorld {
  /** The worker's environment: secrets are read there by the names a plan gives. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The connection to the cluster, opened when it is first asked for; whoever opened it closes it. */
  readonly cluster: () => Cluster;
}

/**
 * The target a plan names.
 *
 * @throws TargetFailure for settings that no retry mends.
 */
export function createTarget(plan: TargetPlan, { env, cluster }: TargetWorld): Target {
  switch (plan.kind) {
    case 'router':
      return createRouterTarget(plan, env);
    case 'kubernetes':
      if (plan.strategy === 'blueGreen' && plan.config === 'snapshot') {
        throw new TargetFailure(
          'unsupported',
          'This version of Sluice cannot take snapshots of ConfigMaps and Secrets by strategy blueGreen yet; allowed there is config: keep.',
        );
      }
      return createKubernetesTarget(plan, {
        cluster: cluster(),
        resolve: (image, signal) => resolveImage(image, { env, signal }),
      });
    case 'flag':
      return createFlagTarget(plan, env);
  }
}
