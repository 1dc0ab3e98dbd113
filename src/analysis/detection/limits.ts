import { seededRandom } from '../seeded-random';
import { drawBinomial } from './binomial-draws';
import type { Draw, Numbers } from './binomial-draws';
import { drawNumbers, freshNumbers } from './runs';
import type { Draws } from './runs';
import type { StepLook } from './step-looks';

/** What the value of an event ratio is held against at each look, whatever the evidence says. */
export interface RatioLimits {
  readonly max: number | null;
  readonly min: number | null;
  readonly maxRatio: number | null;
  /** Its value is the share of events that are as they should be, and not of bad ones. */
  readonly countsGood: boolean;
  /** One failed look fails the step, whatever `failureLimit` tolerates. */
  readonly critical: boolean;
}

/** How looks at the limits are taken, and what they come to. */
export interface LimitPolicy {
  readonly windowMs: number;
  readonly intervalMs: number;
  /** From a weight change to the beginning of what the first look looks back on. */
  readonly delayMs: number;
  readonly minRequests: number;
  readonly failureLimit: number;
}

export interface LimitedMetric {
  readonly name: string;
  /** Chance of a bad event, at both arms. */
  readonly base: number;
  readonly limits: RatioLimits;
  /** Of each step, the seed by which the evidence draws its counts: both judges see the same requests. */
  readonly seeds: readonly number[];
}

export interface LimitedStep {
  /** Percent. */
  readonly weight: number;
  readonly soakMs: number;
  /** The looks of the evidence; none where there is nothing to be compared with. */
  readonly looks: readonly StepLook[];
  /** From the weight change to the first batch of the evidence. */
  readonly startMs: number;
}

export interface LimitsPlayed {
  readonly releases: number;
  /** Of each release whether a limit failed it: 1 or 0. */
  readonly failed: Uint8Array;
  /** What the limits of one metric fail, if there were no others. */
  readonly metrics: readonly { readonly name: string; readonly failed: number }[];
}

export interface LimitsInput {
  readonly policy: LimitPolicy;
  readonly requestsPerSecond: number;
  readonly metrics: readonly LimitedMetric[];
  readonly steps: readonly LimitedStep[];
  /** Releases that the evidence plays. */
  readonly runs: number;
}

/** Draws for one answer: about a second's worth. Soaks of days are played in fewer releases. */
const MOST_DRAWS = 5_000_000;
const FEWEST_RUNS = 100;
/** Between the seeds of the evidence and of what it does not look at batch by batch. */
const OWN_SEED = 2 ** 29;

/**
 * Healthy releases, held against their fixed limits as `measure.ts` and the threshold judge do: at each look the share
 * of bad events of what was served within the window, which begins with the weight. Null where nothing has limits.
 */
export function playLimits(input: LimitsInput): LimitsPlayed | null {
  const { policy, metrics, steps } = input;
  if (metrics.length === 0) return null;
  const batches = steps.reduce((sum, step) => sum + batchesOf(policy, step), 0);
  const affordable = Math.floor(MOST_DRAWS / Math.max(1, batches * metrics.length));
  const releases = Math.min(input.runs, Math.max(FEWEST_RUNS, affordable));
  const failed = new Uint8Array(releases);
  const alone = metrics.map(() => new Uint8Array(releases));
  for (const [at, step] of steps.entries()) {
    if (step.weight > 0) playStep({ ...input, releases }, { at, step, failed, alone });
  }
  return {
    releases,
    failed,
    metrics: metrics.map(({ name }, index) => ({ name, failed: countOnes(alone[index] ?? failed) })),
  };
}

interface Releases {
  readonly at: number;
  readonly step: LimitedStep;
  readonly failed: Uint8Array;
  readonly alone: readonly Uint8Array[];
}

function playStep(
  { policy, requestsPerSecond, metrics, runs, releases }: LimitsInput & { readonly releases: number },
  { at, step, failed, alone }: Releases,
): void {
  const batches = batchesOf(policy, step);
  const { failureLimit } = policy;
  const traffic = trafficOf(policy, step, requestsPerSecond);
  const windows = metrics.map((metric) =>
    createWindow({ policy, step, traffic, metric, batches, seed: metric.seeds[at] ?? 0, runs, releases }),
  );
  // Failed measurements of this step so far: of one with any failure, and of each metric as if it were the only one.
  const together = new Uint32Array(releases);
  const each = metrics.map(() => new Uint32Array(releases));
  for (let batch = 0; batch < batches; batch += 1) {
    const looks = windows.map((window) => window.next(batch));
    for (let run = 0; run < releases; run += 1) {
      let weighs = 0;
      for (const [index, isOver] of looks.entries()) {
        if (!isOver(run)) continue;
        const own = metrics[index]?.limits.critical === true ? failureLimit + 1 : 1;
        weighs = Math.max(weighs, own);
        tally(each[index], alone[index], { run, own, failureLimit });
      }
      if (weighs > 0) tally(together, failed, { run, own: weighs, failureLimit });
    }
  }
}

function tally(
  counts: Uint32Array | undefined,
  failed: Uint8Array | undefined,
  { run, own, failureLimit }: { readonly run: number; readonly own: number; readonly failureLimit: number },
): void {
  if (counts === undefined || failed === undefined) return;
  const count = (counts[run] ?? 0) + own;
  counts[run] = count;
  if (count > failureLimit) failed[run] = 1;
}

// ---- what a look looks back on ------------------------------------------------------------------------------------

interface Counts {
  readonly canary: number;
  readonly stable: number;
}

interface Traffic {
  /** Requests of a batch. */
  readonly requests: (batch: number) => Counts;
  /** The look of the evidence at just this batch, by its place; absent where it has none. */
  readonly looks: ReadonlyMap<number, number>;
}

function batchesOf({ delayMs, intervalMs }: LimitPolicy, { weight, soakMs }: LimitedStep): number {
  return weight > 0 ? Math.max(0, Math.floor((soakMs - delayMs) / intervalMs + 1e-9)) : 0;
}

function trafficOf(policy: LimitPolicy, { weight, looks, startMs }: LimitedStep, requestsPerSecond: number): Traffic {
  const { intervalMs, windowMs, delayMs } = policy;
  // Of a window that is shorter than the interval only the requests of that window are seen at a look.
  const perBatch = (requestsPerSecond * Math.min(intervalMs, windowMs)) / 1000;
  const share = weight / 100;
  const of = (part: number, batch: number): number =>
    Math.floor(perBatch * part * (batch + 1) + 1e-9) - Math.floor(perBatch * part * batch + 1e-9);
  const shared = new Map<number, number>();
  if (windowMs >= intervalMs) {
    let before = startMs;
    for (const [index, { atMs }] of looks.entries()) {
      if (Math.abs(atMs - before - intervalMs) < 1) shared.set(Math.round((atMs - delayMs) / intervalMs) - 1, index);
      before = atMs;
    }
  }
  return {
    requests: (batch) => looks[shared.get(batch) ?? -1] ?? { canary: of(share, batch), stable: of(1 - share, batch) },
    looks: shared,
  };
}

interface WindowOptions {
  readonly policy: LimitPolicy;
  readonly step: LimitedStep;
  readonly traffic: Traffic;
  readonly metric: LimitedMetric;
  readonly batches: number;
  readonly seed: number;
  readonly runs: number;
  readonly releases: number;
}

interface Window {
  /** Takes the next batch in, and tells of each release whether a limit is then broken. */
  next(batch: number): (run: number) => boolean;
}

function createWindow(options: WindowOptions): Window {
  const { policy, step, traffic, metric, seed, runs } = options;
  const { limits, base } = metric;
  const shared = drawNumbers(seed, runs);
  const canary = createArm('canary', { ...options, shared });
  // Only a multiple of stable's asks what stable has.
  const stable = limits.maxRatio === null || step.weight >= 100 ? null : createArm('stable', { ...options, shared });
  return {
    next(batch) {
      const requests = traffic.requests(batch);
      canary.take(batch, requests.canary, base);
      stable?.take(batch, requests.stable, base);
      const total = canary.total();
      if (total === 0 || total < policy.minRequests) return () => false;
      return (run) => {
        const value = shareOf(limits, canary.bad(run), total);
        if (limits.max !== null && value > limits.max) return true;
        if (limits.min !== null && value < limits.min) return true;
        return stable !== null && isAboveRatio(limits, policy, { value, bad: stable.bad(run), total: stable.total() });
      };
    },
  };
}

/** As the judge does: a stable track without anything counted is taken to have had one. */
function isAboveRatio(
  limits: RatioLimits,
  { minRequests }: LimitPolicy,
  { value, bad, total }: { readonly value: number; readonly bad: number; readonly total: number },
): boolean {
  if (total === 0 || total < minRequests || value === 0) return false;
  const base = shareOf(limits, bad, total) || 1 / total;
  return value > (limits.maxRatio ?? Infinity) * base;
}

function shareOf({ countsGood }: RatioLimits, bad: number, total: number): number {
  return (countsGood ? total - bad : bad) / total;
}

interface Arm {
  take(batch: number, requests: number, chance: number): void;
  /** Of the window, in all releases. */
  total(): number;
  bad(run: number): number;
}

function createArm(
  arm: 'canary' | 'stable',
  { policy, traffic, batches, seed, releases, shared }: WindowOptions & { readonly shared: Draws },
): Arm {
  const { windowMs, intervalMs } = policy;
  const width = Math.max(1, Math.floor(windowMs / intervalMs + 1e-9));
  const random = seededRandom(seed + OWN_SEED + (arm === 'canary' ? 0 : 2 ** 28));
  const sums = new Float64Array(releases);
  // Batches that will leave the window; of a window as long as the step none does.
  const kept: { readonly requests: number; readonly bad: Uint32Array }[] = [];
  let total = 0;
  const numbersOf = (batch: number): Numbers => {
    const look = traffic.looks.get(batch);
    return look === undefined ? freshNumbers(random, releases) : shared.of(arm, look);
  };
  return {
    take(batch, requests, chance) {
      const leaving = batch >= width ? kept[batch % width] : undefined;
      const draw: Draw = drawBinomial(requests, chance, numbersOf(batch));
      const isKept = batches > width;
      const bad = isKept ? (leaving?.bad ?? new Uint32Array(releases)) : null;
      for (let run = 0; run < releases; run += 1) {
        const drawn = draw(run);
        const left = leaving === undefined ? 0 : (leaving.bad[run] ?? 0);
        sums[run] = (sums[run] ?? 0) + drawn - left;
        if (bad !== null) bad[run] = drawn;
      }
      total += requests - (leaving?.requests ?? 0);
      if (bad !== null) kept[batch % width] = { requests, bad };
    },
    total: () => total,
    bad: (run) => sums[run] ?? 0,
  };
}

function countOnes(flags: Uint8Array): number {
  return flags.reduce((sum, flag) => sum + flag, 0);
}
