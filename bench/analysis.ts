import { countBatch, judgeEvidence, NOTHING_COUNTED } from '../src/analysis/evidence-judge';
import type { EvidenceMetric, EvidencePolicy, HistogramBatch } from '../src/analysis/evidence-judge';
import { wilsonInterval } from '../src/analysis/wilson';
import { seededRandom } from './lib/random';
import { atMost, below, told } from './lib/result';
import type { BenchResult, BenchTable } from './lib/result';
import { EVIDENCE_RULES, RULES } from './lib/rules';
import type { Rule } from './lib/rules';
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
const ALL = [...RULES, ...EVIDENCE_RULES];

/** The judge beside the rules of others, by simulation, and what one measurement of it costs. */
export function analysis(): BenchResult {
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
    tables: [comparison(healthy, delays), disturbances()],
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
  const write = (seconds: number): string => (seconds === Infinity ? 'never' : String(seconds));
  return found.map((all) => `${write(percentile(all, 50))}/${write(percentile(all, 95))}`);
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
function disturbances(): BenchTable {
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
  const long = falseAlarms(EVIDENCE_RULES, LONG_RELEASES, { weights: [0.05], stage: 6 * 3_600 }, USUAL);
  rows.push(['6 h at 5 %', ...RULES.map(() => ''), ...long.map((count) => percent(count, LONG_RELEASES))]);
  return { headings: ['disturbance', ...ALL.map(({ name }) => name)], rows };
}

function costOfMeasurement(): { readonly medianMs: number; readonly p99Ms: number; readonly bytes: number } {
  const metrics = Array.from({ length: 10 }, (_, i): EvidenceMetric => ({ name: `latency-${i}`, kind: 'latency' }));
  const policy: EvidencePolicy = {
    alpha: 0.01,
    tolerate: 1.25,
    clusters: 2,
    onset: { plannedBatches: 36 },
    minRequests: 20,
    metrics,
  };
  const histogram = (size: number): { cumulative: number[] } => ({
    // 12 boundaries and the total.
    cumulative: Array.from({ length: 13 }, (_, j) => Math.round(size * (1 - 0.6 ** (j + 1)))).map((count, j) =>
      j === 12 ? size : count,
    ),
  });
  const batch: HistogramBatch = { canary: histogram(250), stable: histogram(4_750) };
  let states = metrics.map(() => NOTHING_COUNTED);
  const durations: number[] = [];
  for (let run = 0; run < 2_000; run += 1) {
    const start = performance.now();
    states = metrics.map((metric, index) => {
      const state = countBatch(policy, metric, states[index] ?? NOTHING_COUNTED, batch);
      judgeEvidence(policy, metric, state);
      return state;
    });
    durations.push(performance.now() - start);
  }
  // The first ones are compiled on the way, as those of a worker are not.
  const warm = durations.slice(500);
  return {
    medianMs: percentile(warm, 50),
    p99Ms: percentile(warm, 99),
    bytes: Buffer.byteLength(JSON.stringify(states)),
  };
}

function percent(count: number, of: number): string {
  return `${((100 * count) / of).toFixed(2)} %`;
}
