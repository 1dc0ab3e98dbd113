/** Upper bounds in ascending order; `cumulative` has one entry more: the last counts everything. */
export interface CumulativeHistogram {
  readonly bounds: readonly number[];
  readonly cumulative: readonly number[];
}

export type Quantile =
  | { readonly kind: 'value'; readonly value: number }
  /** The quantile lies above the last bound: all that is known is that it is larger. */
  | { readonly kind: 'above'; readonly bound: number }
  | { readonly kind: 'empty' };

/**
 * A quantile, interpolated linearly within its bucket as Prometheus' `histogram_quantile` does
 * (https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile): the first bucket begins at 0,
 * and above the last bound nothing can be said but that. In the bounds' unit.
 */
export function quantileOf(histogram: CumulativeHistogram, quantile: number): Quantile {
  const total = histogram.cumulative.at(-1) ?? 0;
  if (!(total > 0)) return { kind: 'empty' };
  const rank = quantile * total;
  const bucket = histogram.cumulative.findIndex((count) => count >= rank);
  const upper = histogram.bounds[bucket];
  if (upper === undefined) return { kind: 'above', bound: histogram.bounds.at(-1) ?? 0 };
  const lower = bucket === 0 ? Math.min(0, upper) : (histogram.bounds[bucket - 1] ?? 0);
  const before = bucket === 0 ? 0 : (histogram.cumulative[bucket - 1] ?? 0);
  const within = (histogram.cumulative[bucket] ?? 0) - before;
  // A rank of 0 may fall on an empty bucket, where there is nothing to interpolate.
  const share = within > 0 ? (rank - before) / within : 0;
  return { kind: 'value', value: lower + (upper - lower) * share };
}

/** The sum, bucket by bucket; null when the bounds differ, which cannot be summed. */
export function sumHistograms(histograms: readonly CumulativeHistogram[]): CumulativeHistogram | null {
  const [first] = histograms;
  if (first === undefined) return null;
  const cumulative = new Array<number>(first.bounds.length + 1).fill(0);
  for (const { bounds, cumulative: counts } of histograms) {
    const same = bounds.length === first.bounds.length && bounds.every((bound, index) => bound === first.bounds[index]);
    if (!same || counts.length !== cumulative.length) return null;
    counts.forEach((count, index) => {
      cumulative[index] = (cumulative[index] ?? 0) + count;
    });
  }
  return { bounds: first.bounds, cumulative };
}
