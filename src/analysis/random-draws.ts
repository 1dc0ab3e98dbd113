/** How many of `n` are taken when each is with the chance `p`: exactly, by the gaps between those that are. */
export function drawByGaps(random: () => number, n: number, p: number): number {
  if (p <= 0) return 0;
  if (p >= 1) return n;
  if (p > 0.5) return n - drawByGaps(random, n, 1 - p);
  const log = Math.log1p(-p);
  let count = -1;
  for (let at = 0; at <= n; count += 1) at += 1 + Math.floor(Math.log1p(-random()) / log);
  return count;
}

/** A normal number: Box and Muller 1958. */
export function drawNormal(random: () => number): number {
  return Math.sqrt(-2 * Math.log1p(-random())) * Math.cos(2 * Math.PI * random());
}
