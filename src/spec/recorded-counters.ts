import { higherIsBetter } from '../analysis/verdict';
import { countersIn, seriesIn } from './analysis-plan';
import type { MetricCounters, MetricPlan } from './plan-types';
import { byTarget } from './presets';

/** `histogram_quantile(Q, …)`, and nothing else. */
const QUANTILE = /^\s*histogram_quantile\s*\(\s*(0?\.\d+)\s*,\s*(.*?)\s*\)\s*$/su;

/** `sum by (le) (rate(SERIES{…}[{{window}}]))`, in both orders. */
const BUCKETS = [
  /^sum\s+by\s*\(\s*le\s*\)\s*\(\s*rate\s*\((.*)\)\s*\)$/su,
  /^sum\s*\(\s*rate\s*\((.*)\)\s*\)\s*by\s*\(\s*le\s*\)$/su,
];

interface Quantile {
  readonly quantile: number;
  /** The series of its buckets. */
  readonly series: string;
}

function quantileIn({ query }: Pick<MetricPlan, 'query'>): Quantile | null {
  const [, quantile, inner = ''] = query.kind === 'value' ? (QUANTILE.exec(query.expression) ?? []) : [];
  if (quantile === undefined) return null;
  const ranges = BUCKETS.map((form) => form.exec(inner)?.[1] ?? '');
  const series = ranges.map(seriesIn).find((each) => each !== null);
  return series === undefined ? null : { quantile: Number(quantile), series };
}

/** The quantile that is all a metric of latency asks for; null for any other metric. */
export function quantileAskedBy(metric: Pick<MetricPlan, 'query'>): number | null {
  return quantileIn(metric)?.quantile ?? null;
}

/**
 * The counters by which a metric's events can be read from a history: those that are compared, or those within its
 * query where nothing is. Null where the query hides them.
 */
export function recordedCounters(metric: MetricPlan): MetricCounters | null {
  const { query, counters } = metric;
  if (counters !== undefined && counters !== null) return counters;
  if (query.kind === 'ratio') {
    const events = countersIn(query.numerator, query.denominator);
    // What a metric with nothing but a lower limit counts is what should happen.
    return events?.kind === 'events' && higherIsBetter(metric) ? { ...events, good: true } : events;
  }
  const latency = quantileIn({ query });
  return latency === null ? null : { kind: 'histogram', buckets: byTarget(latency.series, 'le') };
}
