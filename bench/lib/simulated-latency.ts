import { spreadsOf } from '../../src/analysis/counts';
import { binomial, geometric, poisson } from './random';
import type { Detector, ReleasedBatch } from './rules';
import { LOOK_S, MINUTE_S, spreadsBefore, STABLE_PROCESSES } from './simulated-release';
import type { Release } from './simulated-release';

/** Of each boundary's requests this part is slower than the next one, too: than the fourth 6 %, the seventh 0.8 %. */
const BOUNDARIES = 12;
const TAIL = 0.5;

/** From this boundary on a canary that is slower is so; and so far a pause makes its requests slow. */
const SLOW_FROM = 3;
const PAUSED_TO = 6;

export interface LatencyTraffic {
  readonly rps: number;
  /** The canary has that many times stable's share of slow requests; at most 2. */
  readonly times: number;
  /** Pauses of a process, of a garbage collection perhaps: for each request one begins with this chance. */
  readonly pauses: { readonly chance: number; /** Requests that one makes slow, in the mean. */ readonly mean: number };
}

type Histogram = { readonly cumulative: readonly number[] };

/** Plays one release by histograms of latency; the seconds after which each detector failed it, or null. */
export function playLatency(
  random: () => number,
  detectors: readonly Detector<ReleasedBatch>[],
  release: Release,
  traffic: LatencyTraffic,
): (number | null)[] {
  const failed = detectors.map((): number | null => null);
  const before = spreadsBefore(() => drawBatch(random, traffic, 0, MINUTE_S));
  for (const detector of detectors) detector.begins?.(before);
  let now = 0;
  for (const weight of release.weights) {
    for (const detector of detectors) detector.weightChanges();
    for (let at = LOOK_S; at <= release.stage; at += LOOK_S) {
      now += LOOK_S;
      const batch = drawBatch(random, traffic, weight, LOOK_S);
      for (const [index, detector] of detectors.entries()) {
        if (failed[index] === null && detector.fails(batch)) failed[index] = now;
      }
      if (failed.every((each) => each !== null)) return failed;
    }
  }
  return failed;
}

function drawBatch(
  random: () => number,
  { rps, times, pauses }: LatencyTraffic,
  weight: number,
  seconds: number,
): ReleasedBatch {
  const arm = (part: number, rise: number): Histogram => {
    const usual = poisson(random, part * rps * seconds);
    const slower: number[] = [];
    for (let index = 0; index < BOUNDARIES; index += 1) {
      slower.push(binomial(random, slower.at(-1) ?? usual, index === SLOW_FROM ? TAIL * rise : TAIL));
    }
    let paused = 0;
    for (let left = poisson(random, usual * pauses.chance); left > 0; left -= 1)
      paused += geometric(random, pauses.mean);
    const total = usual + paused;
    const atOrBelow = slower.map((count, index) => total - count - (index <= PAUSED_TO ? paused : 0));
    return { cumulative: [...atOrBelow, total] };
  };
  const stable = Array.from({ length: STABLE_PROCESSES }, () => arm((1 - weight) / STABLE_PROCESSES, 1));
  return { canary: arm(weight, times), stable: sum(stable), spreads: spreadsOf(stable) };
}

function sum(histograms: readonly Histogram[]): Histogram {
  return {
    cumulative: Array.from({ length: BOUNDARIES + 1 }, (_, index) =>
      histograms.reduce((total, { cumulative }) => total + (cumulative[index] ?? 0), 0),
    ),
  };
}
