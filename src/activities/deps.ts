import type { MetricSource } from '../metrics/metric-source';
import type { MetricSourcePlan, TargetPlan } from '../spec/plan-types';
import type { Target } from '../targets/target';
import type { SlackNotifier } from '../notify/slack';

/** What the activities need of the world; the worker gives the real things, tests give their own. */
export interface ActivityDeps {
  target(plan: TargetPlan): Target;
  source(plan: MetricSourcePlan, target: TargetPlan): MetricSource;
  /** Throws `invalidTarget` where no token is set. */
  slack(): SlackNotifier;
}
