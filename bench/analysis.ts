import type { Counted } from '../src/analysis/counts';
import { gatherEvidence } from '../src/analysis/gather-evidence';
import type { EvidenceState, GatheringPolicy } from '../src/analysis/gather-evidence';
import { wilsonInterval } from '../src/analysis/wilson';
import { playCounted } from './lib/counted-release';
import { seededRandom } from './lib/random';
import { atMost, below, told } from './lib/result';
import type { BenchResult, BenchTable } from './lib/result';
import { EVIDENCE_RULES, RELEASED_RULE, releasedDetector, RULES, withoutSpreads } from './lib/rules';
import type { Detector, ReleasedBatch, Rule } from './lib/rules';
import { playLatency } from './lib/simulated-latency';
import type { LatencyTraffic } from './lib/simulated-latency';
import { bursts, playRelease, RETRIED } from './lib/simulated-release';
import type { Disturbance, Release, Traffic } from './lib/simulated-release';
import { percentile } from './lib/statistics';

const SEED = 20240611;
const HEALTHY_RELEASES = 20_000;
const DISTURBED_RELEASES = 2_000;
const LONG_RELEASES = 200;
const DELAY_RUNS = 500;
/** Nobody waits longer at one weight, in seconds. */
const HORIZON_S = 1_800;

const USUAL: Traffic = { rps: 100, base: 0.005, times: 1 };
const RELEASE: Release = { weights: [0.05, 0.25, 0.5], stage: 60 };
const ALL = [...RULES, ...EVIDENCE_RULES, RELEASED_RULE];

/** The judge beside the rules of others, by simulation, and what one measurement of it costs. */
export async function analysis(): Promise<BenchResult> {
  const healthy = falseAlarms(ALL, HEALTHY_RELEASES, RELEASE, USUAL);
  const delays = [2, 4, 10, 40].map((times) => delaysOf(ALL, times));
  const untempered = requestsUntilFailed();
  const ours = ALL.length - 1;
  const cost = costOfMeasurement();
  return {
    bench: 'analysis',
    how: `${HEALTHY_RELEASES} healthy releases of 5, 25 and 50 % for 60 s each at 100 requests/s with 0.5 % errors, a look every 5 s; delays from ${DELAY_RUNS} runs at 5 % of at most ${HORIZON_S} s; disturbances from ${DISTURBED_RELEASES} releases each, 6 h from ${LONG_RELEASES}; seed ${SEED}.`,
    figures: [
      atMost(
        'healthy releases rolled back by the defaults, upper Wilson bound',
        100 * wilsonInterval(healthy[ours] ?? 0, HEALTHY_RELEASES).upper,
        1,
        '%',
      ),
      atMost('canary requests until a 10x rise is found at 5 %, untempered, 95 %', percentile(untempered, 95), 300, ''),
      below('one measurement of 10 metrics with 12 boundaries, median', cost.medianMs, 1, 'ms'),
      told('the same, p99', cost.p99Ms, 'ms'),
      below('its state as JSON', cost.bytes / 1024, 64, 'kB'),
    ],
    tables: [comparison(healthy, delays), await disturbances(), clusteredLatency()],
  };
}

function comparison(healthy: readonly number[], delays: readonly (readonly string[])[]): BenchTable {
  return {
    headings: ['rule', 'false alarm', '(95 %)', '2x', '4x', '10x', '40x'],
    rows: ALL.map((rule, index) => [
      rule.name,
      percent(healthy[index] ?? 0, HEALTHY_RELEASES),
      `<= ${(100 * wilsonInterval(healthy[index] ?? 0, HEALTHY_RELEASES).upper).toFixed(2)} %`,
      ...delays.map((each) => each[index] ?? ''),
    ]),
  };
}

/** How many of the releases each rule fails. */
function falseAlarms(
  rules: readonly Rule[],
  releases: number,
  release: Release,
  traffic: Traffic,
  disturbance: Disturbance = {},
): number[] {
  const random = seededRandom(SEED);
  const alarms = rules.map(() => 0);
  for (let run = 0; run < releases; run += 1) {
    const failed = playRelease(
      random,
      rules.map((rule) => rule.start()),
      release,
      traffic,
      disturbance,
    );
    for (const [index, at] of failed.entries()) if (at !== null) alarms[index] = (alarms[index] ?? 0) + 1;
  }
  return alarms;
}

/** `20/50`: the seconds within which half, and 95 %, of the runs are failed. */
function delaysOf(rules: readonly Rule[], times: number): string[] {
  const random = seededRandom(SEED + times);
  const found = rules.map((): number[] => []);
  const release = { weights: [0.05], stage: HORIZON_S };
  for (let run = 0; run < DELAY_RUNS; run += 1) {
    const failed = playRelease(
      random,
      rules.map((rule) => rule.start()),
      release,
      { ...USUAL, times },
    );
    for (const [index, at] of failed.entries()) found[index]?.push(at ?? Infinity);
  }
  return found.map(delay);
}

function delay(seconds: readonly number[]): string {
  const write = (each: number): string => (each === Infinity ? 'never' : String(each));
  return `${write(percentile(seconds, 50))}/${write(percentile(seconds, 95))}`;
}

/** Canary requests until the untempered evidence fails a canary with ten times the errors, at 5 %. */
function requestsUntilFailed(): number[] {
  const random = seededRandom(SEED);
  const rule = EVIDENCE_RULES[0];
  if (rule === undefined) return [];
  return Array.from({ length: DELAY_RUNS }, () => {
    let requests = 0;
    const detector = rule.start();
    const counting = {
      weightChanges: () => undefined,
      fails: (batch: Parameters<typeof detector.fails>[0]): boolean => {
        requests += batch.canary.total;
        return detector.fails(batch);
      },
    };
    playRelease(random, [counting], { weights: [0.05], stage: HORIZON_S }, { ...USUAL, times: 10 });
    return requests;
  });
}

/** What is no fault of the canary's, or no ordinary traffic: who rolls a healthy canary back for it. */
async function disturbances(): Promise<BenchTable> {
  const cases: readonly (readonly [string, Traffic, Disturbance, Release?])[] = [
    ['10 % errors of both for 30 s', USUAL, { rate: (base, at) => (at > 70 && at <= 100 ? 0.1 : base) }],
    ['errors of both grow with the weight', USUAL, { rate: (base, _at, weight) => base * (1 + 8 * weight) }],
    ['every error retried once', USUAL, { cluster: RETRIED }],
    ['bursts of 3 in the mean', USUAL, { cluster: bursts }],
    ['a fifth of the scrapes fails', USUAL, { gaps: 0.2 }],
    ['7 % delivered for 5 %', USUAL, { share: (weight) => (weight === 0.05 ? 0.07 : weight) }],
    ['1 request/s', { ...USUAL, rps: 1 }, {}],
    ['no errors at all', { ...USUAL, base: 0 }, {}],
    ['10 % errors always', { ...USUAL, base: 0.1 }, {}],
  ];
  const rows = cases.map(([name, traffic, disturbance]) => {
    const alarms = falseAlarms(ALL, DISTURBED_RELEASES, RELEASE, traffic, disturbance);
    return [name, ...alarms.map((count) => percent(count, DISTURBED_RELEASES))];
  });
  const resets = await resetAlarms();
  rows.push(['counters that begin anew', ...resets.map((count) => percent(count, DISTURBED_RELEASES))]);
  const lasting = [...EVIDENCE_RULES, RELEASED_RULE];
  const long = falseAlarms(lasting, LONG_RELEASES, { weights: [0.05], stage: 6 * 3_600 }, USUAL);
  rows.push(['6 h at 5 %', ...RULES.map(() => ''), ...long.map((count) => percent(count, LONG_RELEASES))]);
  return { headings: ['disturbance', ...ALL.map(({ name }) => name)], rows };
}

/** How many healthy releases each rule fails while every process starts anew once a minute, half of them as new pods. */
async function resetAlarms(): Promise<number[]> {
  const random = seededRandom(SEED);
  const alarms = ALL.map(() => 0);
  for (let run = 0; run < DISTURBED_RELEASES; run += 1) {
    const detectors = ALL.map((rule) => rule.start());
    const failed = await playCounted(random, detectors, RELEASE, USUAL, { everyS: 60, replaced: 0.5 });
    for (const [index, at] of failed.entries()) if (at !== null) alarms[index] = (alarms[index] ?? 0) + 1;
  }
  return alarms;
}

/** Slow requests that come together at one process, with the spread between stable's processes known and not known. */
function clusteredLatency(): BenchTable {
  const cases: readonly (readonly [string, LatencyTraffic['pauses']])[] = [
    ['no pauses', { chance: 0, mean: 1 }],
    ['pauses that make 3 requests slow', { chance: 0.003, mean: 3 }],
    ['pauses that make 5 requests slow', { chance: 0.002, mean: 5 }],
    ['pauses that make 10 requests slow', { chance: 0.001, mean: 10 }],
  ];
  const detectors = (): Detector<ReleasedBatch>[] => [
    withoutSpreads(releasedDetector('latency')),
    releasedDetector('latency'),
  ];
  const rows = cases.map(([name, pauses]) => {
    const random = seededRandom(SEED);
    const [alarms, found] = [[0, 0], [[], []] as [number[], number[]]];
    for (let run = 0; run < DISTURBED_RELEASES; run += 1) {
      const failed = playLatency(random, detectors(), RELEASE, { rps: 100, times: 1, pauses });
      for (const [index, at] of failed.entries()) if (at !== null) alarms[index] = (alarms[index] ?? 0) + 1;
    }
    for (let run = 0; run < DELAY_RUNS; run += 1) {
      const release = { weights: [0.05], stage: HORIZON_S };
      const failed = playLatency(random, detectors(), release, { rps: 100, times: 2, pauses });
      for (const [index, at] of failed.entries()) found[index]?.push(at ?? Infinity);
    }
    return [name, ...alarms.flatMap((count, index) => [percent(count, DISTURBED_RELEASES), delay(found[index] ?? [])])];
  });
  return { headings: ['latency', 'false alarm, defaults', '2x slower', 'with the spread', '2x slower'], rows };
}

function costOfMeasurement(): { readonly medianMs: number; readonly p99Ms: number; readonly bytes: number } {
  const boundaries = Array.from({ length: 12 }, (_, j) => 0.01 * 2 ** j);
  const policy: GatheringPolicy = {
    alpha: 0.01,
    tolerate: 1.25,
    clusters: 2,
    plannedBatches: 36,
    minRequests: 20,
    promotion: { exclude: 5, beta: 0.05 },
    metrics: Array.from({ length: 10 }, (_, i) => ({
      name: `latency-${i}`,
      kind: 'latency' as const,
      objective: null,
      dryRun: false,
    })),
  };
  const histogram = (size: number): { cumulative: number[] } => ({
    cumulative: [...boundaries.map((_, j) => Math.round(size * (1 - 0.6 ** (j + 1)))), size],
  });
  const counted = policy.metrics.map(({ name }): Counted => ({
    ...{ name, query: '', kind: 'batch', boundaries, dropped: [], cursor: { kind: 'time', at: 0 } },
    ...{ canary: histogram(250), stable: histogram(4_750) },
    spreads: boundaries.map((le) => ({ chiSquared: 9 + le, degrees: 9 })),
  }));
  let state: EvidenceState | null = null;
  const durations: number[] = [];
  for (let run = 0; run < 2_000; run += 1) {
    const start = performance.now();
    ({ state } = gatherEvidence(policy, state, { subject: 'canary', since: 0, alone: false }, counted));
    durations.push(performance.now() - start);
  }
  // The first ones are compiled on the way, as those of a worker are not.
  const warm = durations.slice(500);
  return {
    medianMs: percentile(warm, 50),
    p99Ms: percentile(warm, 99),
    bytes: Buffer.byteLength(JSON.stringify(state)),
  };
}

function percent(count: number, of: number): string {
  return `${((100 * count) / of).toFixed(2)} %`;
}
