import { onsetLeft, onsetShare } from '../event-evidence';
import type { EvidenceDesign } from '../event-evidence';
import { normalQuantile } from '../normal-quantile';
import { seededRandom } from '../seeded-random';
import { drawBinomial } from './binomial-draws';
import type { Numbers } from './binomial-draws';
import type { StepLook } from './step-looks';

/**
 * Many releases at once, of one metric: the judge of `event-evidence.ts` over drawn counts, in linear space and in flat
 * arrays, because a command has to answer at once. Tested to give the evidence of that judge.
 */
export interface Runs {
  readonly count: number;
  /** Batches so far: the same in all runs. */
  readonly batches: number;
  /** S_r of each run and alternative, run by run. */
  readonly capital: Float64Array;
  /** The highest E of each run so far. */
  readonly highest: Float64Array;
}

export function freshRuns(count: number, design: EvidenceDesign): Runs {
  return {
    count,
    batches: 0,
    capital: new Float64Array(count * design.alternatives.length),
    highest: new Float64Array(count).fill(1),
  };
}

/** The first of the runs, where they stand. */
export function firstOf({ batches, capital, highest, count: all }: Runs, count: number): Runs {
  const kinds = capital.length / all;
  return { count, batches, capital: capital.subarray(0, count * kinds), highest: highest.subarray(0, count) };
}

/**
 * The random numbers of a step, drawn when they are first asked for: the same for every rise, so that a worse canary is
 * worse in each run, and for any number of looks.
 */
export interface Draws {
  /** Of one look, one number a run. */
  of(arm: 'canary' | 'stable', look: number): Numbers;
}

export function drawNumbers(seed: number, count: number): Draws {
  const arms = { canary: drawArm(seed, count), stable: drawArm(seed + 2 ** 30, count) };
  return { of: (arm, look) => arms[arm](look) };
}

function drawArm(seed: number, count: number): (look: number) => Numbers {
  const random = seededRandom(seed);
  const drawn: Numbers[] = [];
  return (look) => {
    for (;;) {
      const already = drawn[look];
      if (already !== undefined) return already;
      drawn.push(freshNumbers(random, count));
    }
  };
}

/** The next numbers of a stream, one a run. */
export function freshNumbers(random: () => number, count: number): Numbers {
  const uniform = new Float64Array(count);
  for (let run = 0; run < count; run += 1) uniform[run] = random() || Number.EPSILON;
  let normal: Float64Array | null = null;
  return { uniform, normal: () => (normal ??= uniform.map(normalQuantile)) };
}

export interface PlayOptions {
  readonly design: EvidenceDesign;
  readonly looks: readonly StepLook[];
  readonly draws: Draws;
  /** Chance of a bad event at each arm. */
  readonly canary: number;
  readonly stable: number;
  /** A run is over at this E; Infinity to play all of them to the end. */
  readonly failsAt: number;
}

export interface Played {
  readonly runs: Runs;
  /** When each run failed, milliseconds from the weight change; Infinity where it did not. */
  readonly foundMs: Float64Array;
}

/** Millions of these: without a look-up of the global each time. */
const { exp } = Math;

/** Plays one step in all runs, from where they stand. */
export function playStep(from: Runs, options: PlayOptions): Played {
  const { design, looks, draws, failsAt } = options;
  const { count } = from;
  const kinds = design.alternatives.length;
  const capital = from.capital.slice();
  const highest = from.highest.slice();
  const foundMs = new Float64Array(count).fill(Infinity);
  let going = Uint32Array.from({ length: count }, (_, run) => run);
  let batches = from.batches;

  for (const [index, look] of looks.entries()) {
    const canary = drawBinomial(look.canary, options.canary, draws.of('canary', index));
    const stable = drawBinomial(look.stable, options.stable, draws.of('stable', index));
    const { atCanary, atStable } = logsPerEvent(design, look);
    const { before, after } = deposits(design, batches, look.batches);
    batches += look.batches;
    const left = onsetLeft(design.onset, batches);
    const still: number[] = [];
    for (const run of going) {
      const canaryBad = canary(run);
      const stableBad = stable(run);
      let sum = 0;
      for (let kind = 0; kind < kinds; kind += 1) {
        const log = canaryBad * (atCanary[kind] ?? 0) + stableBad * (atStable[kind] ?? 0);
        const grown = ((capital[run * kinds + kind] ?? 0) + before) * exp(log) + after;
        capital[run * kinds + kind] = grown;
        sum += grown;
      }
      const evidence = sum / kinds + left;
      if (evidence > (highest[run] ?? 0)) highest[run] = evidence;
      if (evidence >= failsAt) foundMs[run] = look.atMs;
      else still.push(run);
    }
    going = Uint32Array.from(still);
    if (going.length === 0) break;
  }
  return { runs: { count, batches, capital, highest }, foundMs };
}

/** ln of the likelihood ratio of one bad event at each arm, by alternative: as in `event-evidence.ts`. */
function logsPerEvent(
  { alternatives, tolerate, clusters }: EvidenceDesign,
  { canary, stable }: StepLook,
): { readonly atCanary: Float64Array; readonly atStable: Float64Array } {
  const weighed = canary * tolerate;
  const t0 = weighed / (weighed + stable);
  const rest = stable / (weighed + stable);
  return {
    atCanary: Float64Array.from(alternatives, (r) => -Math.log1p(rest * (1 / r - 1)) / clusters),
    atStable: Float64Array.from(alternatives, (r) => -Math.log1p(t0 * (r - 1)) / clusters),
  };
}

/**
 * What is put on the batches of one look: on the first of them before it, as the judge does; on the others after all of
 * them, where it cannot have grown yet. That is less than a release has that looks at each.
 */
function deposits(
  { onset }: EvidenceDesign,
  had: number,
  more: number,
): { readonly before: number; readonly after: number } {
  const after = onsetLeft(onset, had + 1) - onsetLeft(onset, had + more);
  return { before: onsetShare(onset, had + 1), after };
}
