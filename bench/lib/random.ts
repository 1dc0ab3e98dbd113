/** A stream of random numbers in [0, 1), the same for the same seed: xoshiro128**, seeded by splitmix32, 53 bits each. */
export function seededRandom(seed: number): () => number {
  let mixed = seed >>> 0;
  const next32 = (): number => {
    mixed = (mixed + 0x9e3779b9) >>> 0;
    let z = mixed;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
  let [a, b, c, d] = [next32(), next32(), next32(), next32()];
  // xoshiro128**, of which two outputs make one number.
  const draw = (): number => {
    const scrambled = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = rotate(d, 11);
    return scrambled;
  };
  return () => ((draw() >>> 5) * 67_108_864 + (draw() >>> 6)) / 9_007_199_254_740_992;
}

function rotate(value: number, by: number): number {
  return ((value << by) | (value >>> (32 - by))) >>> 0;
}

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
