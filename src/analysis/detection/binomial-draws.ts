import { logBinomialDensity } from '../binomial';

/** Above this mean the expansion is as good as the sum of the densities, and costs the same for any number of requests. */
const LARGEST_TABLE = 30;

/** Millions of these: without a look-up of the global each time. */
const { max, min, round } = Math;

/** What is drawn by: uniform numbers in (0, 1), and their normal quantiles where those are asked for. */
export interface Numbers {
  readonly uniform: Float64Array;
  readonly normal: () => Float64Array;
}

/** Draws by its place: the number of bad events that belongs to the number there. */
export type Draw = (at: number) => number;

/**
 * Numbers of bad events among `n` requests, each bad with the chance `p`. They grow with the number they are drawn by,
 * and with `p`: so the same numbers at a higher chance are a worse canary, run by run.
 */
export function drawBinomial(n: number, p: number, numbers: Numbers): Draw {
  if (n === 0 || p <= 0) return () => 0;
  if (p >= 1) return () => n;
  const mirrored = p > 0.5;
  const chance = mirrored ? 1 - p : p;
  const draw =
    n * chance < LARGEST_TABLE
      ? byTable(n, chance, { numbers, mirrored })
      : byExpansion(n, chance, { numbers, mirrored });
  return mirrored ? (at) => n - draw(at) : draw;
}

interface DrawnBy {
  readonly numbers: Numbers;
  /** It is the good events that are drawn: few where the number is large. */
  readonly mirrored: boolean;
}

/** The smallest count whose cumulative chance reaches the uniform number. */
function byTable(n: number, p: number, { numbers: { uniform }, mirrored }: DrawnBy): Draw {
  const cumulative: number[] = [];
  let sum = 0;
  // Beyond 1 - 1e-15 there is nothing that a uniform number of 53 bits would reach in all the runs of a command.
  for (let k = 0; k <= n && sum < 1 - 1e-15; k += 1) {
    sum += Math.exp(logBinomialDensity(k, n, p));
    cumulative.push(sum);
  }
  const last = cumulative.length - 1;
  return (at) => {
    const number = uniform[at] ?? 0;
    const wanted = mirrored ? 1 - number : number;
    let low = 0;
    let high = last;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cumulative[middle] ?? 1) < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

/**
 * The quantile by its Cornish-Fisher expansion (Fisher and Cornish 1960): the normal one, with skewness and kurtosis put
 * right. From a mean of 30 on it is the exact quantile or next to it (tested).
 */
function byExpansion(n: number, p: number, { numbers, mirrored }: DrawnBy): Draw {
  const normal = numbers.normal();
  const sign = mirrored ? -1 : 1;
  const mean = n * p;
  const deviation = Math.sqrt(mean * (1 - p));
  const skew = (1 - 2 * p) / 6;
  const kurtosis = (1 - 6 * p * (1 - p)) / (24 * deviation);
  const skewSquared = (1 - 2 * p) ** 2 / (36 * deviation);
  return (at) => {
    const z = sign * (normal[at] ?? 0);
    const higher = z * (z * z - 3) * kurtosis - z * (2 * z * z - 5) * skewSquared;
    return min(n, max(0, round(mean + deviation * z + skew * (z * z - 1) + higher)));
  };
}
