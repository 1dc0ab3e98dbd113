import { playCounted } from './counted-release';
import { seededRandom } from './random';
import { EVIDENCE_RULES, RELEASED_RULE, releasedDetector, RULES, withoutSpreads } from './rules';
import type { Detector, ReleasedBatch, Rule } from './rules';
import { playLatency } from './simulated-latency';
import type { LatencyTraffic } from './simulated-latency';
import { bursts, playRelease, RETRIED } from './simulated-release';
import type { Disturbance, Release, Traffic } from './simulated-release';

/** The rules of others, and ours last. */
export const ALL = [...RULES, ...EVIDENCE_RULES, RELEASED_RULE];

export const SEED = 20240611;
/** Nobody waits longer at one weight, in seconds. */
export const HORIZON_S = 1_800;

const USUAL: Traffic = { rps: 100, base: 0.005, times: 1 };
const RELEASE: Release = { weights: [0.05, 0.25, 0.5], stage: 60 };
const TEN_MINUTES_EACH: Release = { ...RELEASE, stage: 600 };
const LONG: Release = { weights: [0.05], stage: 6 * 3_600 };
const UNTIL_FOUND: Release = { weights: [0.05], stage: HORIZON_S };

interface HealthyCase {
  readonly traffic: Traffic;
  readonly disturbance: Disturbance;
  readonly release?: Release;
  readonly rules?: readonly Rule[];
}

/** Releases of a version that is as good as stable. */
export const HEALTHY = {
  undisturbed: { traffic: USUAL, disturbance: {} },
  'for ten minutes each': { traffic: USUAL, disturbance: {}, release: TEN_MINUTES_EACH },
  'for six hours': { traffic: USUAL, disturbance: {}, release: LONG, rules: [...EVIDENCE_RULES, RELEASED_RULE] },
} satisfies Readonly<Record<string, HealthyCase>>;

/** What is no fault of the canary's, or no ordinary traffic. */
export const DISTURBED = {
  '10 % errors of both for 30 s': {
    traffic: USUAL,
    disturbance: { rate: (base, at) => (at > 70 && at <= 100 ? 0.1 : base) },
  },
  'errors of both grow with the weight': {
    traffic: USUAL,
    disturbance: { rate: (base, _at, weight) => base * (1 + 8 * weight) },
  },
  'every error retried once': { traffic: USUAL, disturbance: { cluster: RETRIED } },
  'bursts of 3 in the mean': { traffic: USUAL, disturbance: { cluster: bursts } },
  'a fifth of the scrapes fails': { traffic: USUAL, disturbance: { gaps: 0.2 } },
  '7 % delivered for 5 %': {
    traffic: USUAL,
    disturbance: { share: (weight) => (weight === 0.05 ? 0.07 : weight) },
  },
  '1 request/s': { traffic: { ...USUAL, rps: 1 }, disturbance: {} },
  'no errors at all': { traffic: { ...USUAL, base: 0 }, disturbance: {} },
  '10 % errors always': { traffic: { ...USUAL, base: 0.1 }, disturbance: {} },
} satisfies Readonly<Record<string, HealthyCase>>;

/** Slow requests that come together at one process. */
export const PAUSES = {
  'no pauses': { chance: 0, mean: 1 },
  'pauses that make 3 requests slow': { chance: 0.003, mean: 3 },
  'pauses that make 5 requests slow': { chance: 0.002, mean: 5 },
  'pauses that make 10 requests slow': { chance: 0.001, mean: 10 },
} satisfies Readonly<Record<string, LatencyTraffic['pauses']>>;

/** A part of a table: so many runs. Parts of one case are apart in their `part`, which chooses the random numbers. */
interface Runs {
  readonly runs: number;
  readonly part: number;
}

/** Every job by its name. Its input and its answer go from one thread to another; the same input has the same answer. */
export const JOBS = { healthy, restarted, delays, requestsUntilFailed, latencyAlarms, latencyDelays };

export type JobName = keyof typeof JOBS;
export type JobInput<Name extends JobName> = Parameters<(typeof JOBS)[Name]>[0];
export type JobAnswer<Name extends JobName> = Awaited<ReturnType<(typeof JOBS)[Name]>>;

/** How many of the releases each rule of the case fails. */
function healthy({
  name,
  runs,
  part,
}: Runs & { readonly name: keyof typeof HEALTHY | keyof typeof DISTURBED }): number[] {
  const one: HealthyCase = { ...HEALTHY, ...DISTURBED }[name];
  const { traffic, disturbance, release = RELEASE, rules = ALL } = one;
  const random = randomOf(part);
  return countFailed(rules.length, runs, () => playRelease(random, start(rules), release, traffic, disturbance));
}

/** The same while every process starts anew once a minute, half of them as new pods. */
async function restarted({ runs, part }: Runs): Promise<number[]> {
  const random = randomOf(part);
  const failed: (number | null)[][] = [];
  for (let run = 0; run < runs; run += 1) {
    failed.push(await playCounted(random, start(ALL), RELEASE, USUAL, { everyS: 60, replaced: 0.5 }));
  }
  return countFailed(ALL.length, runs, (run) => failed[run] ?? []);
}

/** The seconds until each rule fails a canary with so many times the errors, by run. */
function delays({ times, runs, part }: Runs & { readonly times: number }): number[][] {
  const random = randomOf(part + times);
  return timesFound(ALL.length, runs, () => playRelease(random, start(ALL), UNTIL_FOUND, { ...USUAL, times }));
}

/** Canary requests until the untempered evidence fails a canary with ten times the errors, at 5 %. */
function requestsUntilFailed({ runs, part }: Runs): number[] {
  const random = randomOf(part);
  const rule = EVIDENCE_RULES[0];
  if (rule === undefined) throw new Error('There is no untempered evidence.');
  return Array.from({ length: runs }, () => {
    let requests = 0;
    const detector = rule.start();
    const counting: Detector = {
      weightChanges: () => undefined,
      fails: (batch) => {
        requests += batch.canary.total;
        return detector.fails(batch);
      },
    };
    playRelease(random, [counting], UNTIL_FOUND, { ...USUAL, times: 10 });
    return requests;
  });
}

/** How many healthy releases latency fails: without, and with, the spread between stable's processes. */
function latencyAlarms({ pauses, runs, part }: Runs & { readonly pauses: keyof typeof PAUSES }): number[] {
  const random = randomOf(part);
  const traffic = { rps: USUAL.rps, times: 1, pauses: PAUSES[pauses] };
  return countFailed(2, runs, () => playLatency(random, latencyDetectors(), RELEASE, traffic));
}

/** The seconds until each of the two fails a canary that is slow twice as often, by run. */
function latencyDelays({ pauses, runs, part }: Runs & { readonly pauses: keyof typeof PAUSES }): number[][] {
  const random = randomOf(part);
  const traffic = { rps: USUAL.rps, times: 2, pauses: PAUSES[pauses] };
  return timesFound(2, runs, () => playLatency(random, latencyDetectors(), UNTIL_FOUND, traffic));
}

function latencyDetectors(): Detector<ReleasedBatch>[] {
  return [withoutSpreads(releasedDetector('latency')), releasedDetector('latency')];
}

function start(rules: readonly Rule[]): Detector[] {
  return rules.map((rule) => rule.start());
}

function randomOf(part: number): () => number {
  return seededRandom(SEED + part);
}

function countFailed(rules: number, runs: number, play: (run: number) => readonly (number | null)[]): number[] {
  const counts = new Array<number>(rules).fill(0);
  for (let run = 0; run < runs; run += 1) {
    for (const [index, at] of play(run).entries()) if (at !== null) counts[index] = (counts[index] ?? 0) + 1;
  }
  return counts;
}

function timesFound(rules: number, runs: number, play: () => readonly (number | null)[]): number[][] {
  const found = Array.from({ length: rules }, (): number[] => []);
  for (let run = 0; run < runs; run += 1) {
    for (const [index, at] of play().entries()) found[index]?.push(at ?? Infinity);
  }
  return found;
}
