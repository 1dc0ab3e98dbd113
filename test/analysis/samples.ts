import type { MetricSample, Observation, Sample } from '../../src/analysis/sample';
import type { JudgePolicy, MetricPolicy } from '../../src/analysis/verdict';

/** The policy of the tests: one measurement decides, 20 requests make it valid. */
export function policyOf(metrics: readonly MetricPolicy[], changes: Partial<JudgePolicy> = {}): JudgePolicy {
  return {
    minMeasurements: 1,
    minRequests: 20,
    failureLimit: 0,
    consecutiveErrorLimit: 0,
    compare: null,
    metrics,
    ...changes,
  };
}

export function errorRate(changes: Partial<MetricPolicy> = {}): MetricPolicy {
  return { name: 'error-rate', unit: 'ratio', max: null, min: null, maxRatio: null, ...changes };
}

export function latency(changes: Partial<MetricPolicy> = {}): MetricPolicy {
  return { name: 'p95-latency', unit: 'seconds', max: null, min: null, maxRatio: null, ...changes };
}

export function events(bad: number, total: number): Observation {
  if (total === 0) {
    return { query: 'q', value: null, events: { bad, total }, problem: { kind: 'no-data', message: 'no requests' } };
  }
  return { query: 'q', value: bad / total, events: { bad, total } };
}

export function value(of: number | null, requests?: number): Observation {
  return { query: 'q', value: of, ...(requests === undefined ? {} : { requests }) };
}

export function noData(): Observation {
  return { query: 'q', value: null, problem: { kind: 'no-data', message: 'nothing there' } };
}

export function broken(): Observation {
  return { query: 'q', value: null, problem: { kind: 'error', message: 'Prometheus answered 500' } };
}

export function sampleOf(...metrics: MetricSample[]): Sample {
  return { at: 1_700_000_000_000, windowMs: 60_000, metrics };
}

export function errorSample(canary: Observation, stable: Observation | null): Sample {
  return sampleOf({ name: 'error-rate', canary, stable });
}
