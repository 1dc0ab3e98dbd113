/** The value below which `p` percent of the samples lie (nearest rank); NaN without samples. */
export function percentile(samples: readonly number[], p: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const rank = Math.ceil((p / 100) * sorted.length);
  return sorted[Math.max(0, rank - 1)] ?? Number.NaN;
}

export function max(samples: readonly number[]): number {
  return samples.reduce((most, one) => Math.max(most, one), Number.NEGATIVE_INFINITY);
}
