import type { GatheringPolicy } from '../analysis/gather-evidence';
import { BOUNDS } from './defaults';
import type { AnalysisPlan, MetricPlan } from './plan-types';

/** The policy of a plan's evidence; null where it has none. */
export function gatheringPolicy(analysis: AnalysisPlan): GatheringPolicy | null {
  const { evidence, minRequests } = analysis;
  if (evidence === undefined || evidence === null) return null;
  return {
    ...evidence,
    minRequests,
    metrics: analysis.metrics.filter(isCounted).map(({ name, unit, max, objective = null, dryRun }) => ({
      name,
      kind: unit === 'ratio' ? 'errors' : 'latency',
      objective,
      ...(objective === null || unit === 'ratio' || max === null ? {} : { slowerThan: max }),
      dryRun: dryRun ?? false,
    })),
  };
}

/** Batches that weights have room for while there is stable traffic to be compared with: at 100 % there is none. */
export function plannedBatches(
  steps: readonly { readonly weight: number; readonly soakMs: number }[],
  intervalMs: number,
): number {
  const compared = steps.filter(({ weight }) => weight < 100).reduce((sum, { soakMs }) => sum + soakMs, 0);
  return Math.min(BOUNDS.plannedBatches[1], Math.max(1, Math.floor(compared / intervalMs)));
}

/** Whether the evidence judge counts a metric's events. */
export function isCounted({ counters }: MetricPlan): boolean {
  return counters !== undefined && counters !== null;
}

/** Where nothing is left to compare with, only an objective has a use for counts. */
export function isCountedAt(metric: MetricPlan, { alone }: { readonly alone: boolean }): boolean {
  return isCounted(metric) && (!alone || (metric.objective ?? null) !== null);
}
