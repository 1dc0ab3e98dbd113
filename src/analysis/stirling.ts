/**
 * The parts of Stirling's formula that keep their digits where factorials and gamma functions would lose them
 * (C. Loader, "Fast and Accurate Computation of Binomial Probabilities", 2000).
 */

/** From here on the series below is exact to the last digit of a double. */
const SERIES_FROM = 16;

/**
 * ln Γ(z) minus Stirling's approximation (z − ½) ln z − z + ½ ln 2π, for real z > 0. For an integer n it is also ln n!
 * minus its approximation (Loader's `stirlerr`).
 */
export function stirlingError(z: number): number {
  let error = 0;
  let from = z;
  // Γ(z + 1) = z Γ(z), in terms of the error: up to where the series holds.
  for (; from < SERIES_FROM; from += 1) error += (from + 0.5) * Math.log1p(1 / from) - 1;
  const square = from * from;
  return error + (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / square) / square) / square) / square) / from;
}

/** x ln(x/m) + m − x, without cancellation near x = m (Loader's `bd0`); x ≥ 0, m > 0. */
export function devianceTerm(x: number, m: number): number {
  if (x === 0) return m;
  if (Math.abs(x - m) >= 0.1 * (x + m)) return x * Math.log(x / m) + m - x;
  const v = (x - m) / (x + m);
  let sum = (x - m) * v;
  let power = 2 * x * v;
  for (let j = 1; ; j += 1) {
    power *= v * v;
    const next = sum + power / (2 * j + 1);
    if (next === sum) return next;
    sum = next;
  }
}
