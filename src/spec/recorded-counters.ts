import { countersIn, seriesIn } from './analysis-plan';
import type { MetricCounters, MetricPlan } from './plan-types';
import { byTarget } from './presets';

/** `histogram_quantile(Q, sum by (le) (rate(SERIES{…}[{{window}}])))` */
const QUANTILE = /^\s*histogram_quantile\(\s*(0?\.\d+)\s*,\s*(.*?)\s*\)\s*$/su;
const BUCKETS = /^sum\s+by\s*\(\s*le\s*\)\s*\(\s*rate\s*\((.*)\)\s*\)$/su;

/** The quantile that a metric of latency asks for; null for any other metric. */
export function quantileAskedBy({ query }: Pick<MetricPlan, 'query'>): number | null {
  if (query.kind !== 'value') return null;
  const quantile = Number(QUANTILE.exec(query.expression)?.[1] ?? Number.NaN);
  return quantile > 0 && quantile < 1 ? quantile : null;
}

/**
 * The counters by which a metric's events can be read from a history: those that are compared, or those within its
 * query where nothing is. Null where the query hides them.
 */
export function recordedCounters({ query, counters, min, max }: MetricPlan): MetricCounters | null {
  if (counters !== undefined && counters !== null) return counters;
  if (query.kind === 'ratio') {
    const events = countersIn(query.numerator, query.denominator);
    // What a metric with nothing but a lower limit counts is what should happen.
    return events?.kind === 'events' && min !== null && max === null ? { ...events, good: true } : events;
  }
  if (query.kind !== 'value') return null;
  const series = seriesIn(BUCKETS.exec(QUANTILE.exec(query.expression)?.[2] ?? '')?.[1] ?? '');
  return series === null ? null : { kind: 'histogram', buckets: byTarget(series, 'le') };
}
