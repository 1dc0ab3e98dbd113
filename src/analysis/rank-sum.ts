import { normalQuantile } from './normal-quantile';
import { kthDifference } from './pairwise-differences';

/** By how much the values of x are higher than those of y (Hodges and Lehmann 1963), with a confidence interval. */
export interface Shift {
  readonly estimate: number;
  readonly lower: number;
  readonly upper: number;
  readonly method: 'normal' | 'exact';
}

/**
 * `normal`: the normal approximation with corrections for ties and continuity, as R's
 * `wilcox.test(x, y, conf.int = TRUE, exact = FALSE)`, and as Kayenta. `exact`: from the exact distribution where R
 * takes it by itself (fewer than 50 values each, none of them twice), and the approximation elsewhere.
 */
export type IntervalMethod = 'normal' | 'exact';

/** R's own limit (`wilcox.test`). */
const EXACT_BELOW = 50;

/**
 * The shift of two samples by the rank-sum test of Mann, Whitney and Wilcoxon, turned around: the interval holds the
 * shifts that the test does not reject.
 *
 * R and Kayenta search its ends with a root finder of an absolute tolerance of 1e-4, which makes the answer depend on
 * the unit of the values. The statistic is a step function that changes only at the differences of pairs, so that each
 * end is one of these differences, found here by its rank.
 *
 * @throws RangeError when a sample is empty.
 */
export function rankSumShift(
  x: readonly number[],
  y: readonly number[],
  options: { readonly confidence: number; readonly method: IntervalMethod },
): Shift {
  if (x.length === 0 || y.length === 0) throw new RangeError('No shift of samples without values.');
  const xs = [...x].sort((a, b) => a - b);
  const ys = [...y].sort((a, b) => a - b);
  const pairs = xs.length * ys.length;
  const exact = options.method === 'exact' && isExactInR(xs, ys);
  const tail = (1 - options.confidence) / 2;
  const rank = exact ? exactRank(xs.length, ys.length, tail) : normalRank(xs, ys, tail);
  const half = pairs / 2;
  const median = (kthDifference(xs, ys, Math.floor(half + 0.5)) + kthDifference(xs, ys, Math.floor(half) + 1)) / 2;
  return {
    estimate: median,
    lower: kthDifference(xs, ys, rank),
    upper: kthDifference(xs, ys, pairs + 1 - rank),
    method: exact ? 'exact' : 'normal',
  };
}

/**
 * The rank of the difference at which (dz - 1/2)/sigma falls to the quantile: between the k-th and the next difference
 * dz, the statistic without its mean, is pairs/2 - k, and only ties within a sample are left to correct sigma for.
 */
function normalRank(xs: readonly number[], ys: readonly number[], tail: number): number {
  const n = xs.length + ys.length;
  const pairs = xs.length * ys.length;
  const ties = (tieSum(xs) + tieSum(ys)) / (n * (n - 1));
  const sigma = Math.sqrt((pairs / 12) * (n + 1 - ties));
  const rank = Math.ceil(pairs / 2 - 0.5 + normalQuantile(tail) * sigma);
  // Beyond the outermost difference there is nothing to end the interval at.
  return Math.min(Math.max(1, rank), Math.ceil(pairs / 2));
}

/** R's qwilcox(tail, m, n), at least 1: the smallest u with P[U <= u] >= tail. */
function exactRank(m: number, n: number, tail: number): number {
  const counts = rankSumCounts(m, n);
  const all = counts.reduce((sum, count) => sum + count, 0);
  let sum = 0;
  for (const [u, count] of counts.entries()) {
    sum += count / all;
    // The slack that R gives, too: a probability that is the tail but for rounding counts as reached.
    if (sum >= tail - 10 * Number.EPSILON) return Math.max(1, u);
  }
  return 1;
}

/**
 * How many of the orders of m and n values give each U, from 0 to m n: by whether the highest value is an x (which then
 * is above all n values of y) or a y. Sums alone, so that no digits are lost where the numbers are beyond 2^53.
 */
function rankSumCounts(m: number, n: number): Float64Array {
  const size = m * n + 1;
  const certain = Float64Array.of(1, ...new Float64Array(size - 1));
  let withoutX = Array.from({ length: n + 1 }, () => certain);
  for (let i = 1; i <= m; i += 1) {
    const withX = [certain];
    for (let j = 1; j <= n; j += 1) {
      const counts = new Float64Array(size);
      const highestIsX = withoutX[j] ?? certain;
      const highestIsY = withX[j - 1] ?? certain;
      for (let u = 0; u < size; u += 1) counts[u] = (highestIsY[u] ?? 0) + (u < j ? 0 : (highestIsX[u - j] ?? 0));
      withX.push(counts);
    }
    withoutX = withX;
  }
  return withoutX[n] ?? certain;
}

function isExactInR(xs: readonly number[], ys: readonly number[]): boolean {
  return xs.length < EXACT_BELOW && ys.length < EXACT_BELOW && new Set([...xs, ...ys]).size === xs.length + ys.length;
}

/** The sum of t^3 - t over the groups of t equal values of a sorted list. */
function tieSum(sorted: readonly number[]): number {
  let sum = 0;
  let from = 0;
  for (let i = 1; i <= sorted.length; i += 1) {
    if (i < sorted.length && sorted[i] === sorted[from]) continue;
    const size = i - from;
    sum += size ** 3 - size;
    from = i;
  }
  return sum;
}
