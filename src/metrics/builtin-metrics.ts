import type { Observation } from '../analysis/sample';
import type { MetricPlan, MetricQuery } from '../spec/plan-types';
import { quantileOf, type CumulativeHistogram } from './histogram';

/** What was counted for one track in the window; or why that is not known. */
export type WindowCounts =
  | {
      readonly kind: 'counts';
      readonly requests: number;
      readonly errors: number;
      /** Bounds in milliseconds; null where there is none that could be read. */
      readonly histogram: CumulativeHistogram | null;
    }
  | { readonly kind: 'problem'; readonly message: string };

/** What a source says, as clauses, where it has no number. */
export interface NoNumber {
  /** Of a query of another kind. */
  readonly notBuiltin: string;
  /** Nothing was counted in the window. */
  readonly none: string;
  readonly unlikeBuckets: string;
}

/** One built-in metric of a track, from what a source counted itself. */
export function observeCounts(metric: MetricPlan, counts: WindowCounts, words: NoNumber): Omit<Observation, 'query'> {
  if (counts.kind === 'problem') return { value: null, problem: { kind: 'error', message: counts.message } };
  const { query } = metric;
  if (query.kind !== 'builtin') return { value: null, problem: { kind: 'error', message: words.notBuiltin } };
  const { requests, errors, histogram } = counts;
  if (query.metric === 'requests') return { value: requests, requests };
  const none = { kind: 'no-data', message: words.none } as const;
  if (query.metric === 'latency') {
    if (requests === 0) return { value: null, requests, problem: none };
    if (histogram === null) {
      return { value: null, requests, problem: { kind: 'error', message: words.unlikeBuckets } };
    }
    return { requests: histogram.cumulative.at(-1) ?? 0, ...observeLatency(metric, query.quantile, histogram) };
  }
  const events = { bad: errors, total: requests };
  return requests === 0 ? { value: null, events, problem: none } : { value: errors / requests, events };
}

function observeLatency(
  metric: MetricPlan,
  quantile: number,
  histogram: CumulativeHistogram,
): Omit<Observation, 'query'> {
  const result = quantileOf(histogram, quantile);
  switch (result.kind) {
    case 'value':
      return { value: result.value / 1000 };
    case 'empty':
      return { value: null, problem: { kind: 'no-data', message: 'no latency was recorded in the window' } };
    case 'above': {
      const seconds = result.bound / 1000;
      // Known only to be larger: fails a limit below the last bound as it must, and cannot keep one above it.
      if (metric.max === null || metric.max < seconds) return { value: seconds };
      const message = `it is above ${seconds} s, the last bucket, and cannot be held against a limit of ${metric.max} s`;
      return { value: null, problem: { kind: 'no-data', message } };
    }
  }
}

export function describeBuiltin(query: MetricQuery): string {
  if (query.kind !== 'builtin') return 'a PromQL query';
  return query.metric === 'latency' ? `p${query.quantile * 100} latency` : query.metric;
}
