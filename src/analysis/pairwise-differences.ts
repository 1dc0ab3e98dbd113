/** At most so many differences are looked at one by one. */
const FEW = 4096;

/**
 * The k-th smallest (from 1) of all differences x - y, exactly, without making a list of them: the middle is halved,
 * with a count of the differences at or below it, until few are left. Both lists are sorted.
 */
export function kthDifference(x: readonly number[], y: readonly number[], k: number): number {
  let low = -Infinity; // at or below it lie fewer than k
  let high = (x.at(-1) ?? Number.NaN) - (y[0] ?? Number.NaN); // at or below it lie at least k
  let below = 0;
  let upTo = x.length * y.length;
  while (upTo - below > FEW) {
    const from = low === -Infinity ? (x[0] ?? Number.NaN) - (y.at(-1) ?? Number.NaN) : low;
    const middle = from + (high - from) / 2;
    // Nothing lies between them: all that are left are equal.
    if (!(middle > low && middle < high)) return high;
    const count = countUpTo(x, y, middle);
    if (count >= k) {
      high = middle;
      upTo = count;
    } else {
      low = middle;
      below = count;
    }
  }
  const left = differencesBetween(x, y, low, high);
  return left[k - below - 1] ?? Number.NaN;
}

/** How many differences are at or below the limit. The rounded difference is used throughout; it rises with x and falls with y. */
function countUpTo(x: readonly number[], y: readonly number[], limit: number): number {
  let count = 0;
  let first = 0; // of the y from which on x - y is at or below the limit
  for (const value of x) {
    while (first < y.length && value - (y[first] ?? Number.NaN) > limit) first += 1;
    count += y.length - first;
  }
  return count;
}

function differencesBetween(x: readonly number[], y: readonly number[], low: number, high: number): Float64Array {
  const found: number[] = [];
  let first = 0;
  for (const value of x) {
    while (first < y.length && value - (y[first] ?? Number.NaN) > high) first += 1;
    for (let i = first; i < y.length; i += 1) {
      const difference = value - (y[i] ?? Number.NaN);
      if (difference <= low) break;
      found.push(difference);
    }
  }
  return Float64Array.from(found).sort();
}
