import { drawByGaps, drawNormal } from '../analysis/random-draws';

/** From this variance on a binomial number is the rounded normal one to within a part in a thousand. */
const LARGE_VARIANCE = 1_000;

/** How many of `n` are taken when each is with the chance `p`: exactly, or by the normal number where that is as good. */
export function drawBinomial(random: () => number, n: number, p: number): number {
  if (n === 0 || p <= 0) return 0;
  if (p >= 1) return n;
  if (p > 0.5) return n - drawBinomial(random, n, 1 - p);
  const variance = n * p * (1 - p);
  if (variance <= LARGE_VARIANCE) return drawByGaps(random, n, p);
  return Math.min(n, Math.max(0, Math.round(n * p + Math.sqrt(variance) * drawNormal(random))));
}
