import type { ArmBatch, Counted } from '../analysis/counts';
import { higherIsBetter } from '../analysis/verdict';
import type { MetricSample, Observation, Sample } from '../analysis/sample';
import type { MetricPlan, SimulatedPhase } from '../spec/plan-types';
import type { CountRequest, MetricSource, Routed, RoutedRequest, SampleRequest } from './metric-source';

/** Traffic that the script pretends there is, per second, both tracks together. */
const REQUESTS_PER_SECOND = 100;

/** Stable throughout, and the canary below the first phase. */
const HEALTHY: SimulatedPhase = { fromWeight: 0, errorRate: 0.002, p95: 0.12 };

/**
 * The scripted source of `--simulate`: made-up numbers, the same for the same question, and marked as made up in every
 * sample and every query. Never chosen but by the user.
 *
 * `phases` may come in any order; the one with the largest `fromWeight` that is not above the weight in force answers
 * for the canary.
 */
export function createSimulatedSource(phases: readonly SimulatedPhase[]): MetricSource {
  return {
    sample: (request) => Promise.resolve(simulate(phases, request)),
    routed: (request) => Promise.resolve(route(request)),
    count: (request) => Promise.resolve(count(phases, request)),
  };
}

/** The script's router does as it is told. */
function route({ at, since, weight = 100 }: RoutedRequest): Routed {
  const all = ((at - since) / 1000) * REQUESTS_PER_SECOND;
  const canary = Math.round((all * weight) / 100);
  const query = 'simulated: requests of both tracks';
  return { kind: 'counts', query, canary, stable: Math.round(all) - canary, unit: 'request', cluster: 1 };
}

function simulate(phases: readonly SimulatedPhase[], request: SampleRequest): Sample {
  const weight = request.weight ?? 100;
  const canary = phaseAt(phases, weight);
  const stable = canary.noData === true ? { ...HEALTHY, noData: true } : HEALTHY;
  const all = (request.windowMs / 1000) * REQUESTS_PER_SECOND;
  return {
    at: request.at,
    windowMs: request.windowMs,
    simulated: true,
    metrics: request.metrics.map((metric): MetricSample => ({
      name: metric.name,
      canary: observe(metric, 'canary', canary, Math.round((all * weight) / 100)),
      stable: observe(metric, 'stable', stable, Math.round((all * (100 - weight)) / 100)),
    })),
  };
}

/** What the script counts between two moments: differences of counters that grow evenly, so that nothing is lost. */
function count(phases: readonly SimulatedPhase[], request: CountRequest): Counted[] {
  const { at, since, weight = 100 } = request;
  const canary = phaseAt(phases, weight);
  return request.metrics.flatMap(({ name, counters }): Counted[] => {
    if (counters === undefined || counters === null) return [];
    const query = `simulated: ${name} of both tracks, counted`;
    if (canary.noData === true) {
      return [{ name, query, kind: 'problem', problem: { kind: 'no-data', message: 'simulated: no data' } }];
    }
    const cursor = request.cursors[name];
    const from = cursor?.kind === 'time' ? cursor.at : since;
    const isLatency = counters.kind === 'histogram' || (counters.kind === 'builtin' && counters.metric === 'latency');
    const arm = (phase: SimulatedPhase, share: number): ArmBatch => {
      const perSecond = REQUESTS_PER_SECOND * share;
      const total = grown(perSecond, { from, at, since });
      if (!isLatency) return { bad: grown(perSecond * phase.errorRate, { from, at, since }), total };
      // One request in twenty is slower than the 95th percentile, which is where its bucket begins.
      const slow = grown(perSecond * 0.05, { from, at, since });
      return { cumulative: [...BOUNDARIES.map((bound) => (bound >= phase.p95 ? total - slow : 0)), total] };
    };
    return [
      {
        name,
        query,
        asked: { from, to: at },
        kind: 'batch',
        canary: arm(canary, weight / 100),
        stable: arm(HEALTHY, 1 - weight / 100),
        ...(isLatency ? { boundaries: BOUNDARIES } : {}),
        dropped: [],
        cursor: { kind: 'time', at },
      },
    ];
  });
}

/** Seconds. */
const BOUNDARIES: readonly number[] = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

function grown(perSecond: number, { from, at, since }: { from: number; at: number; since: number }): number {
  const value = (moment: number): number => Math.floor(((moment - since) / 1000) * perSecond + 1e-9);
  return Math.max(0, value(at) - value(from));
}

function phaseAt(phases: readonly SimulatedPhase[], weight: number): SimulatedPhase {
  let current = HEALTHY;
  for (const phase of phases) {
    if (phase.fromWeight <= weight && phase.fromWeight >= current.fromWeight) current = phase;
  }
  return current;
}

function observe(metric: MetricPlan, track: string, phase: SimulatedPhase, requests: number): Observation {
  const query = `simulated: ${metric.name} of ${track}`;
  if (phase.noData === true) {
    return { query, value: null, problem: { kind: 'no-data', message: 'simulated: no data' } };
  }
  if (metric.unit === 'count') return { query, value: requests, requests };
  const counts =
    metric.unit === 'ratio' ? { events: { bad: badOf(metric, phase, requests), total: requests } } : { requests };
  if (requests === 0) {
    return { query, value: null, ...counts, problem: { kind: 'no-data', message: 'simulated: no requests' } };
  }
  return { query, value: counts.events === undefined ? phase.p95 : counts.events.bad / requests, ...counts };
}

/** Failed requests; for a metric with only a lower limit (a success rate) those that succeeded. */
function badOf(metric: MetricPlan, phase: SimulatedPhase, requests: number): number {
  const failed = Math.round(requests * phase.errorRate);
  return higherIsBetter(metric) ? requests - failed : failed;
}
