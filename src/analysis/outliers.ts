/** Percentile p (0 to 100) of a sorted list, interpolated linearly: definition 7 of Hyndman and Fan 1996, R's default. */
export function percentile(sorted: readonly number[], p: number): number {
  const place = (p / 100) * (sorted.length - 1);
  const below = Math.floor(place);
  const low = sorted[below] ?? Number.NaN;
  const high = sorted[below + 1] ?? low;
  return low + (place - below) * (high - low);
}

/**
 * Without the values more than `factor` times the interquartile range away from the middle half (Tukey's fences), as
 * long as they are outside the first and the last percentile, too.
 */
export function withoutOutliers(values: readonly number[], factor: number): readonly number[] {
  if (values.length === 0) return values;
  const sorted = [...values].sort((a, b) => a - b);
  const [quarter, threeQuarters] = [percentile(sorted, 25), percentile(sorted, 75)];
  const reach = factor * (threeQuarters - quarter);
  const low = Math.min(percentile(sorted, 1), quarter - reach);
  const high = Math.max(percentile(sorted, 99), threeQuarters + reach);
  return values.filter((value) => value >= low && value <= high);
}
