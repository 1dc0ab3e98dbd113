import type { GatheringPolicy } from '../analysis/gather-evidence';
import type { AnalysisPlan, MetricPlan } from './plan-types';

/** The policy of a plan's evidence; null where it has none. */
export function gatheringPolicy(analysis: AnalysisPlan): GatheringPolicy | null {
  const { evidence, minRequests } = analysis;
  if (evidence === undefined || evidence === null) return null;
  return {
    ...evidence,
    minRequests,
    metrics: analysis.metrics.filter(isCounted).map(({ name, unit, objective, dryRun }) => ({
      name,
      kind: unit === 'ratio' ? 'errors' : 'latency',
      objective: objective ?? null,
      dryRun: dryRun ?? false,
    })),
  };
}

/** Whether the evidence judge counts a metric's events. */
export function isCounted({ counters }: MetricPlan): boolean {
  return counters !== undefined && counters !== null;
}

/** Where nothing is left to compare with, only an objective has a use for counts. */
export function isCountedAt(metric: MetricPlan, { alone }: { readonly alone: boolean }): boolean {
  return isCounted(metric) && (!alone || (metric.objective ?? null) !== null);
}
