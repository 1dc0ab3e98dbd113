/** From this variance on a binomial number is the rounded normal one to within a part in a thousand. */
const LARGE_VARIANCE = 1_000;

/** How many of `n` are taken when each is with the chance `p`: exactly, by the gaps between those that are. */
export function drawBinomial(random: () => number, n: number, p: number): number {
  if (n === 0 || p <= 0) return 0;
  if (p >= 1) return n;
  if (p > 0.5) return n - drawBinomial(random, n, 1 - p);
  const variance = n * p * (1 - p);
  if (variance > LARGE_VARIANCE) {
    return Math.min(n, Math.max(0, Math.round(n * p + Math.sqrt(variance) * drawNormal(random))));
  }
  const log = Math.log1p(-p);
  let count = -1;
  for (let at = 0; at <= n; count += 1) at += 1 + Math.floor(Math.log1p(-random()) / log);
  return count;
}

/** Box and Muller 1958. */
function drawNormal(random: () => number): number {
  return Math.sqrt(-2 * Math.log1p(-random())) * Math.cos(2 * Math.PI * random());
}
