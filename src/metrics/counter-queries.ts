import type { MetricCounters } from '../spec/plan-types';

/** The resolved PromQL of one track's counters: of all, and of bad events; or of a histogram's buckets. */
export type CounterQueries =
  /** `good`: what is counted beside the total are the events that are as they should be. */
  | { readonly kind: 'events'; readonly bad: string; readonly total: string; readonly good: boolean }
  | { readonly kind: 'histogram'; readonly buckets: string };

/** Null for what is no counter of a Prometheus. */
export function fillCounters(
  counters: MetricCounters | null,
  fill: (template: string) => string,
): CounterQueries | null {
  switch (counters?.kind) {
    case 'events':
      return { kind: 'events', bad: fill(counters.bad), total: fill(counters.total), good: counters.good ?? false };
    case 'histogram':
      return { kind: 'histogram', buckets: fill(counters.buckets) };
    case 'builtin':
    case undefined:
      return null;
  }
}

/** For people. */
export function describeCounters(queries: CounterQueries): string {
  return queries.kind === 'histogram'
    ? queries.buckets
    : `(${queries.bad}) ${queries.good ? 'good ' : ''}of (${queries.total})`;
}
