/** ln of the sum of exp(values): without overflow, and -Infinity for no values or for nothing but -Infinity. */
export function logSumExp(values: readonly number[]): number {
  let highest = -Infinity;
  for (const value of values) if (value > highest) highest = value;
  if (highest === -Infinity || highest === Infinity) return highest;
  let sum = 0;
  for (const value of values) sum += Math.exp(value - highest);
  return highest + Math.log(sum);
}

/** ln of the mean of exp(values). */
export function logMeanExp(values: readonly number[]): number {
  return logSumExp(values) - Math.log(values.length);
}
