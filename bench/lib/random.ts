import { drawNormal } from '../../src/analysis/random-draws';

export { drawByGaps as binomial } from '../../src/analysis/random-draws';
export { seededRandom } from '../../src/analysis/seeded-random';

/** A Poisson number; above a mean of 50 the rounded normal, which is all that a number of requests needs. */
export function poisson(random: () => number, mean: number): number {
  if (mean > 50) return Math.max(0, Math.round(mean + Math.sqrt(mean) * drawNormal(random)));
  const floor = Math.exp(-mean);
  let count = -1;
  for (let product = 1; product > floor; count += 1) product *= random();
  return Math.max(0, count);
}

/** A geometric number from 1 on with this mean. */
export function geometric(random: () => number, mean: number): number {
  return mean <= 1 ? 1 : 1 + Math.floor(Math.log1p(-random()) / Math.log1p(-1 / mean));
}
