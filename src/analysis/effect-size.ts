/**
 * The mean of the experiment over that of the control; NaN where they are not both above 0: a ratio to nothing is none,
 * and one of negative means falls where the values rise.
 */
export function meanRatio(experiment: readonly number[], control: readonly number[]): number {
  const above = mean(experiment);
  const below = mean(control);
  return above > 0 && below > 0 ? above / below : Number.NaN;
}

/**
 * The common language effect size: the share of pairs in which the experiment's value is the higher one, ties counted
 * half (A. Vargha and H. D. Delaney, "A Critique and Improvement of the CL Common Language Effect Size", 2000).
 */
export function commonLanguageEffect(experiment: readonly number[], control: readonly number[]): number {
  const sorted = [...control].sort((a, b) => a - b);
  let halves = 0;
  for (const value of experiment)
    halves += countWhere(sorted, (other) => other < value) + countWhere(sorted, (other) => other <= value);
  return halves / (2 * experiment.length * control.length);
}

export function mean(values: readonly number[]): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/** How many values at the beginning of a sorted list the condition holds for. */
function countWhere(sorted: readonly number[], holds: (value: number) => boolean): number {
  let from = 0;
  let to = sorted.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (holds(sorted[middle] ?? Number.NaN)) from = middle + 1;
    else to = middle;
  }
  return from;
}
