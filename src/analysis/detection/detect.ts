import { ERROR_ALTERNATIVES, LATENCY_ALTERNATIVES } from '../event-evidence';
import type { EvidenceDesign, Onset } from '../event-evidence';
import { alphaOf } from '../gather-evidence';
import { playLimits } from './limits';
import type { LimitPolicy, RatioLimits } from './limits';
import { drawNumbers, firstOf, freshRuns, playStep } from './runs';
import type { Draws, Runs } from './runs';
import { looksOf } from './step-looks';
import type { LooksOptions, StepLook } from './step-looks';

/** What the evidence judge is told, and how a release counts. */
export interface DetectionPolicy {
  /** For the whole release and all its metrics together. */
  readonly alpha: number;
  /** The part of it that is kept for the new stable pods; absent where the canary has all of it. */
  readonly stableShare?: number;
  readonly tolerate: number;
  readonly clusters: number;
  readonly onset: Onset | null;
  /** Bets that alpha is shared by, those of the release that are none of the metrics here among them. */
  readonly bets: number;
  readonly minRequests: number;
  /** Length of a batch. */
  readonly intervalMs: number;
  /** From a weight change to the first batch that counts. */
  readonly startMs: number;
  /** How looks at fixed limits are taken; absent: none are played. */
  readonly limits?: Pick<LimitPolicy, 'windowMs' | 'delayMs' | 'failureLimit'>;
}

export interface DetectionMetric {
  readonly name: string;
  readonly kind: 'errors' | 'latency';
  /** Chance that a request of stable is bad: fails, or is slower than a boundary. Above 0. */
  readonly base: number;
  /**
   * Boundaries of its histogram, 1 for errors. Only one of them is taken to tell anything, so that the others' share of
   * the evidence is none.
   */
  readonly boundaries: number;
  /** Bad events of one cause, where more of them were seen together than the policy says; absent: the policy's. */
  readonly clusters?: number;
  /** What its value is held against at each look; absent: nothing that could be played. */
  readonly limits?: RatioLimits;
}

export interface DetectionStep {
  /** Percent. */
  readonly weight: number;
  readonly soakMs: number;
}

export interface DetectionInput {
  readonly policy: DetectionPolicy;
  /** Of the whole service. */
  readonly requestsPerSecond: number;
  readonly metrics: readonly DetectionMetric[];
  /** In their order; those at 0 and 100 % have nothing to be compared with. */
  readonly steps: readonly DetectionStep[];
}

export interface ReleaseDetection {
  readonly steps: readonly StepDetection[];
  readonly falseRollBacks: {
    /** What the judge promises for the whole release: alpha. */
    readonly bound: number;
    /** Healthy releases that were played, and how many of them failed. */
    readonly releases: number;
    readonly failed: number;
    /** What fixed limits do to the same releases; null where none are played. */
    readonly limits: LimitRollBacks | null;
  };
}

export interface LimitRollBacks {
  /** The first of the healthy releases: all of them, or fewer where soaks are long. */
  readonly releases: number;
  /** Those that fixed limits failed, and those that limits or evidence did. */
  readonly failed: number;
  readonly together: number;
  /** What the limits of each metric would fail if there were no others. */
  readonly metrics: readonly { readonly name: string; readonly failed: number }[];
}

export interface StepDetection extends DetectionStep {
  /** Requests that the canary is expected to have. */
  readonly canaryRequests: number;
  /** Empty where there is nothing to be compared with. */
  readonly metrics: readonly MetricDetection[];
  /** Why the step can tell nothing, as a sentence; null where it can. */
  readonly warning: string | null;
}

export interface MetricDetection {
  readonly name: string;
  readonly kind: DetectionMetric['kind'];
  readonly base: number;
  /** Of the canary's chance over stable's: the smallest one found within the step in 95 % of the runs; null for none. */
  readonly smallestRise: number | null;
  readonly times: readonly TimeToFind[];
}

/** Until half of the runs have found a rise. */
export interface TimeToFind {
  /** Of the canary's chance over stable's. */
  readonly rise: number;
  /** Milliseconds; null: not within the step. */
  readonly medianMs: number | null;
  /**
   * Milliseconds, more than the step has, if its soak were longer and all else as it is; null: found within the step, or
   * not within a soak of `LONGEST_SOAK_MS` either.
   */
  readonly beyondMs: number | null;
}

/** As close as anyone needs to know it. */
export const RISES: readonly number[] = [1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50];
export const TIMED_RISES: readonly number[] = [2, 5, 10];
export const PROBABILITY = 0.95;
/** No soak is played for longer: nobody waits at one weight for more than a day. */
export const LONGEST_SOAK_MS = 86_400_000;
/** The share found of a rise is then known to about 0.7 points, which is less than a step between two rises. */
const RUNS = 1_000;
/** Of them play what lies beyond a step: days of looks, whose times are known to a tenth only. */
const RUNS_BEYOND = 200;
const SEED = 20_240_611;

/**
 * What each step of a release can find, when the canary is as good as stable up to it and then, from the step's first
 * request on, worse by a factor. By simulation of the judge itself, with the same random numbers each time: the same
 * question has the same answer.
 */
export function detect(input: DetectionInput): ReleaseDetection {
  const failed = new Set<number>();
  const found = input.metrics.map((metric, index) => {
    const { steps, runs } = playMetric(input, metric, index);
    // All boundaries of a histogram together at worst; so the whole of E, and not one boundary's share of it.
    for (const [run, highest] of runs.highest.entries()) if (highest >= limitOf(input)) failed.add(run);
    return steps;
  });
  return {
    steps: input.steps.map((step, index) => {
      const metrics = found.flatMap((steps) => steps[index] ?? []);
      const canaryRequests = Math.round((input.requestsPerSecond * step.weight * step.soakMs) / 100_000);
      return { ...step, canaryRequests, metrics, warning: warningOf(input, { step, canaryRequests, metrics }) };
    }),
    falseRollBacks: {
      bound: input.policy.alpha,
      releases: RUNS,
      failed: failed.size,
      limits: limitRollBacks(input, failed),
    },
  };
}

function limitRollBacks(input: DetectionInput, byEvidence: ReadonlySet<number>): LimitRollBacks | null {
  const { policy, metrics, steps, requestsPerSecond } = input;
  const { intervalMs, minRequests, startMs, limits } = policy;
  if (limits === undefined) return null;
  const played = playLimits({
    policy: { intervalMs, minRequests, ...limits },
    requestsPerSecond,
    metrics: metrics.flatMap(({ name, base, limits: own }, index) =>
      own === undefined ? [] : [{ name, base, limits: own, seeds: steps.map((_, at) => seedOf(index, at)) }],
    ),
    steps: steps.map((step) => ({
      ...step,
      startMs,
      looks: isCompared(step) ? looksOf(lookOptions(input, step)) : [],
    })),
    runs: RUNS,
  });
  if (played === null) return null;
  const { releases, failed } = played;
  const together = failed.map((byLimits, run) => (byLimits === 1 || byEvidence.has(run) ? 1 : 0));
  const sum = (flags: Uint8Array): number => flags.reduce((all, flag) => all + flag, 0);
  return { releases, failed: sum(failed), together: sum(together), metrics: played.metrics };
}

/** Of each step what one metric finds, null where it cannot be compared; and the healthy runs at their end. */
function playMetric(
  input: DetectionInput,
  metric: DetectionMetric,
  index: number,
): { readonly steps: readonly (MetricDetection | null)[]; readonly runs: Runs } {
  const player = createPlayer(input, metric, index);
  const steps: (MetricDetection | null)[] = [];
  for (const [at, step] of input.steps.entries()) {
    steps.push(isCompared(step) ? measure(player.arrive(step, at), player.prolong(step, at), metric) : null);
    player.pass(step, at);
  }
  return { steps, runs: player.runs() };
}

function measure(step: PlayedStep, prolonged: PlayedStep, metric: DetectionMetric): MetricDetection {
  const times = TIMED_RISES.map((rise): TimeToFind => {
    const medianMs = finiteOrNull(step.quantile(rise, 0.5));
    return { rise, medianMs, beyondMs: medianMs === null ? finiteOrNull(prolonged.quantile(rise, 0.5)) : null };
  });
  // The chance to be found grows with the rise: the first of the grid that is found is searched for by halves.
  let low = 0;
  let high = RISES.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (step.quantile(RISES[middle] ?? Infinity, PROBABILITY) < Infinity) high = middle;
    else low = middle + 1;
  }
  return {
    name: metric.name,
    kind: metric.kind,
    base: metric.base,
    smallestRise: RISES[low] ?? null,
    times,
  };
}

/** One metric of one release, step by step. */
export interface Player {
  /** A step that begins now, to be asked about. */
  arrive(step: DetectionStep, index: number): PlayedStep;
  /** The same step with the longest soak, to be asked about what it does not find as it is; by fewer runs. */
  prolong(step: DetectionStep, index: number): PlayedStep;
  /** The step is over, and nothing happened in it. */
  pass(step: DetectionStep, index: number): void;
  runs(): Runs;
}

export interface PlayedStep {
  /** Milliseconds until so much of the runs have found a rise; Infinity: not within the step. */
  quantile(rise: number, share: number): number;
}

export function createPlayer(input: DetectionInput, metric: DetectionMetric, index: number): Player {
  const design = designOf(input.policy, metric);
  let runs = freshRuns(RUNS, design);
  let last: { readonly at: number; readonly draws: Draws } | null = null;
  // The same numbers for a step of whichever length: a longer one begins as a shorter one does.
  const setUp = (step: DetectionStep, at: number): { looks: readonly StepLook[]; draws: Draws } => {
    if (last?.at !== at) last = { at, draws: drawNumbers(seedOf(index, at), RUNS) };
    return { looks: looksOf(lookOptions(input, step)), draws: last.draws };
  };
  const ask = (from: Runs, { looks, draws }: { looks: readonly StepLook[]; draws: Draws }): PlayedStep => {
    const played = new Map<number, Float64Array>();
    const play = (rise: number): Float64Array => {
      const { foundMs } = playStep(from, {
        ...{ design, looks, draws },
        canary: Math.min(1, metric.base * rise),
        stable: metric.base,
        failsAt: limitOf(input) * metric.boundaries,
      });
      return foundMs.sort();
    };
    return {
      quantile(rise, share) {
        const found = played.get(rise) ?? play(rise);
        played.set(rise, found);
        return found[Math.ceil(share * from.count) - 1] ?? Infinity;
      },
    };
  };
  return {
    arrive: (step, at) => ask(runs, setUp(step, at)),
    prolong(step, at) {
      const looks = looksOf(lookOptions(input, { ...step, soakMs: LONGEST_SOAK_MS }));
      const draws = drawNumbers(seedOf(index, at), RUNS_BEYOND);
      const { quantile } = ask(firstOf(runs, RUNS_BEYOND), { looks, draws });
      // Fewer runs may have found within the step what all of them have not.
      const earliest = looks.find(({ atMs }) => atMs > step.soakMs)?.atMs ?? Infinity;
      return { quantile: (rise, share) => Math.max(earliest, quantile(rise, share)) };
    },
    pass(step, at) {
      if (!isCompared(step)) return;
      const { looks, draws } = setUp(step, at);
      const healthy = { canary: metric.base, stable: metric.base, failsAt: Infinity };
      runs = playStep(runs, { design, looks, draws, ...healthy }).runs;
    },
    runs: () => runs,
  };
}

export function isCompared({ weight }: Pick<DetectionStep, 'weight'>): boolean {
  return weight > 0 && weight < 100;
}

/** Of one metric's draws in one step. */
function seedOf(metric: number, step: number): number {
  return SEED + 1_000 * metric + step;
}

function lookOptions({ policy, requestsPerSecond }: DetectionInput, { weight, soakMs }: DetectionStep): LooksOptions {
  const { startMs, intervalMs } = policy;
  return { share: weight / 100, requestsPerSecond, startMs, intervalMs, lengthMs: soakMs };
}

function designOf(policy: DetectionPolicy, { kind, clusters = policy.clusters }: DetectionMetric): EvidenceDesign {
  const { tolerate, onset } = policy;
  const alternatives = kind === 'errors' ? ERROR_ALTERNATIVES : LATENCY_ALTERNATIVES;
  return { alternatives, tolerate, clusters, onset };
}

/** The E at which a metric fails. */
function limitOf({ policy }: DetectionInput): number {
  return policy.bets / alphaOf(policy, 'canary');
}

function warningOf(
  { policy }: DetectionInput,
  { step, canaryRequests, metrics }: Pick<StepDetection, 'canaryRequests' | 'metrics'> & { step: DetectionStep },
): string | null {
  if (!isCompared(step)) return null;
  if (canaryRequests < policy.minRequests) {
    return `The canary would have about ${canaryRequests} requests, and a verdict needs ${policy.minRequests}: this step can tell nothing.`;
  }
  if (metrics.length > 0 && metrics.every(({ smallestRise }) => smallestRise === null)) {
    const most = RISES.at(-1) ?? 0;
    return `This step can tell nothing: no rise up to ${most} times is found in it with ${100 * PROBABILITY} % probability.`;
  }
  return null;
}

function finiteOrNull(ms: number): number | null {
  return Number.isFinite(ms) ? ms : null;
}
