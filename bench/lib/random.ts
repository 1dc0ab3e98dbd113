export { seededRandom } from '../../src/analysis/seeded-random';

/** A Poisson number; above a mean of 50 the rounded normal, which is all that a number of requests needs. */
export function poisson(random: () => number, mean: number): number {
  if (mean > 50) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  const floor = Math.exp(-mean);
  let count = -1;
  for (let product = 1; product > floor; count += 1) product *= random();
  return Math.max(0, count);
}

/** A binomial number, exactly: by the gaps between successes. */
export function binomial(random: () => number, n: number, p: number): number {
  if (p <= 0) return 0;
  if (p >= 1) return n;
  if (p > 0.5) return n - binomial(random, n, 1 - p);
  const log = Math.log1p(-p);
  let count = -1;
  for (let at = 0; at <= n; count += 1) at += 1 + Math.floor(Math.log1p(-random()) / log);
  return count;
}

/** A geometric number from 1 on with this mean. */
export function geometric(random: () => number, mean: number): number {
  return mean <= 1 ? 1 : 1 + Math.floor(Math.log1p(-random()) / Math.log1p(-1 / mean));
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log1p(-random())) * Math.cos(2 * Math.PI * random());
}
