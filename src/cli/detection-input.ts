import type { DetectionInput, DetectionMetric, DetectionPolicy, DetectionStep } from '../analysis/detection/detect';
import { OUTCOME_BOUNDS_MS } from '../flags/defaults';
import { LATENCY_BOUNDS_MS } from '../router/defaults';
import { DEFAULTS } from '../spec/defaults';
import { plannedBatches } from '../spec/gathering-policy';
import { isTestedAtEachLook } from '../spec/tested-at-each-look';
import type { AnalysisPlan, EvidencePlan, MetricPlan, Plan } from '../spec/plan-types';
import type { PresentTraffic } from './present-traffic';

/** How a plan's analysis looks to the simulation of what its steps can find. */

/** Boundaries of the histograms that most client libraries make when they are not told otherwise. */
const USUAL_BOUNDARIES = 11;

/** What the evidence judge compares with stable, and acts on; null for a metric that it does not. */
export function comparedAs({ evidence }: AnalysisPlan, metric: MetricPlan): DetectionMetric['kind'] | null {
  const counters = metric.counters ?? null;
  if ((evidence ?? null) === null || counters === null || metric.dryRun === true) return null;
  switch (counters.kind) {
    case 'events':
      return 'errors';
    case 'histogram':
      return 'latency';
    case 'builtin':
      return counters.metric;
    default:
      return counters satisfies never;
  }
}

/** The ratios that a test at each look fails steps for, which nobody should have without knowing. */
export function actedOnAtEachLook(analysis: AnalysisPlan): MetricPlan[] {
  return analysis.metrics.filter((metric) => metric.dryRun !== true && isTestedAtEachLook(analysis, metric));
}

/** The quantile that a metric of latency asks for; null for any other metric. */
function quantileOf({ query }: MetricPlan): number | null {
  if (query.kind === 'builtin') return query.metric === 'latency' ? query.quantile : null;
  if (query.kind !== 'value') return null;
  const quantile = Number(/^\s*histogram_quantile\(\s*(0?\.\d+)\s*,/u.exec(query.expression)?.[1] ?? Number.NaN);
  return quantile > 0 && quantile < 1 ? quantile : null;
}

/** Where a latency does not say its quantile: the one that is most often looked at. */
const USUAL_QUANTILE = 0.95;

/** The share of requests that are slower than the quantile that a metric asks for: by definition, of a p95 one in twenty. */
export function slowShare(metric: MetricPlan): number {
  return Number((1 - (quantileOf(metric) ?? USUAL_QUANTILE)).toPrecision(12));
}

/** Of each metric that is compared with stable the chance that a request of stable is bad. */
export function detectionInput(plan: Plan, traffic: PresentTraffic, steps: readonly DetectionStep[]): DetectionInput {
  const boundaries = boundariesOf(plan.analysis.source);
  return {
    policy: policyOf(plan.analysis, steps),
    requestsPerSecond: traffic.requestsPerSecond,
    metrics: traffic.metrics.map(({ name, kind, base, clusters }) => ({
      ...{ name, kind, base, clusters },
      boundaries: kind === 'latency' ? boundaries : 1,
      ...limitsOf(plan.analysis.metrics.find((metric) => metric.name === name)),
    })),
    steps,
  };
}

/** Whether a metric has a limit that fails it, whatever stable does or the evidence says. */
export function isLimited({ max, min, maxRatio, dryRun }: MetricPlan): boolean {
  return dryRun !== true && (max !== null || min !== null || maxRatio !== null);
}

/** What a share is held against: of other values it is not known how they spread. */
function limitsOf(metric: MetricPlan | undefined): Pick<DetectionMetric, 'limits'> {
  if (metric?.unit !== 'ratio' || !isLimited(metric)) return {};
  const { max, min, maxRatio, critical = false } = metric;
  return { limits: { max, min, maxRatio, critical, countsGood: countsGood(metric) } };
}

/** What a success rate does not count is bad. */
export function countsGood({ counters }: MetricPlan): boolean {
  return counters?.kind === 'events' && counters.good === true;
}

function boundariesOf({ kind }: AnalysisPlan['source']): number {
  if (kind === 'router') return LATENCY_BOUNDS_MS.length;
  return kind === 'flag' ? OUTCOME_BOUNDS_MS.length : USUAL_BOUNDARIES;
}

export function weightSteps(plan: Plan): DetectionStep[] {
  return plan.steps.flatMap((step) => (step.kind === 'weight' ? [{ weight: step.weight, soakMs: step.soakMs }] : []));
}

function policyOf(analysis: AnalysisPlan, steps: readonly DetectionStep[]): DetectionPolicy {
  const evidence: Pick<EvidencePlan, 'alpha' | 'stableShare' | 'tolerate' | 'clusters'> = analysis.evidence ?? {
    ...DEFAULTS.analysis.compare,
    ...DEFAULTS.analysis.evidence,
  };
  const { alpha, stableShare, tolerate, clusters } = evidence;
  const { intervalMs, initialDelayMs, lagMs = 0, minRequests, windowMs, failureLimit } = analysis;
  // Counting begins with the first look under the new weight; of a router it begins with the weight.
  const unseen = analysis.source.kind === 'prometheus' || analysis.source.kind === 'flag' ? intervalMs : 0;
  // An objective is a bet of its own.
  const acted = analysis.metrics.filter((metric) => comparedAs(analysis, metric) !== null);
  const objectives = acted.filter(({ objective }) => (objective ?? null) !== null);
  return {
    ...{ alpha, tolerate, clusters, minRequests, intervalMs },
    ...(stableShare === undefined ? {} : { stableShare }),
    bets: acted.length + objectives.length,
    onset: { plannedBatches: plannedBatches(steps, intervalMs) },
    // What is seen late is found as much later, and what comes at the end is not seen.
    startMs: initialDelayMs + lagMs + unseen,
    limits: { windowMs, failureLimit, delayMs: initialDelayMs + lagMs },
  };
}
