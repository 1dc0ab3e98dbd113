import { gatherEvidence } from '../src/analysis/gather-evidence';
import type { EvidenceState, GatheringPolicy } from '../src/analysis/gather-evidence';
import type { Counted } from '../src/analysis/counts';
import { wilsonInterval } from '../src/analysis/wilson';
import { ALL, DISTURBED, HORIZON_S, PAUSES, SEED } from './lib/analysis-jobs';
import { AnalysisThreads } from './lib/analysis-threads';
import { atMost, below, told } from './lib/result';
import type { BenchResult, BenchTable } from './lib/result';
import { RULES } from './lib/rules';
import { percentile } from './lib/statistics';

const HEALTHY_RELEASES = 20_000;
const DISTURBED_RELEASES = 2_000;
const TEN_MINUTES_RELEASES = 2_000;
const LONG_RELEASES = 200;
const DELAY_RUNS = 500;
/** Of the releases of one case, what a thread plays at once. */
const HEALTHY_PART = 1_000;
const DISTURBED_PART = 500;
const TEN_MINUTES_PART = 250;
const LONG_PART = 25;
const DELAY_PART = 125;

const TIMES = [2, 4, 10, 40];

/** The judge beside the rules of others, by simulation, and what one measurement of it costs. */
export async function analysis(): Promise<BenchResult> {
  // Alone, before the threads are at work.
  const cost = costOfMeasurement();
  const threads = new AnalysisThreads(tellProgress());
  try {
    const [healthy, lasting, delays, untempered, disturbed, latency] = await Promise.all([
      summed(HEALTHY_RELEASES, HEALTHY_PART, (runs) => threads.run('healthy', { name: 'undisturbed', ...runs })),
      summed(TEN_MINUTES_RELEASES, TEN_MINUTES_PART, (runs) =>
        threads.run('healthy', { name: 'for ten minutes each', ...runs }),
      ),
      Promise.all(
        TIMES.map((times) => joined(DELAY_RUNS, DELAY_PART, (runs) => threads.run('delays', { times, ...runs }))),
      ),
      threads.run('requestsUntilFailed', { runs: DELAY_RUNS, part: 0 }),
      disturbances(threads),
      clusteredLatency(threads),
    ]);
    const ours = ALL.length - 1;
    return {
      bench: 'analysis',
      how: `${HEALTHY_RELEASES} healthy releases of 5, 25 and 50 % for 60 s each at 100 requests/s with 0.5 % errors, a look every 5 s; ${TEN_MINUTES_RELEASES} of 600 s each; delays from ${DELAY_RUNS} runs at 5 % of at most ${HORIZON_S} s; disturbances from ${DISTURBED_RELEASES} releases each, 6 h from ${LONG_RELEASES}; seed ${SEED}.`,
      figures: [
        atMost(
          'healthy releases rolled back by the defaults, upper Wilson bound',
          100 * wilsonInterval(healthy[ours] ?? 0, HEALTHY_RELEASES).upper,
          1,
          '%',
        ),
        atMost(
          'canary requests until a 10x rise is found at 5 %, untempered, 95 %',
          percentile(untempered, 95),
          300,
          '',
        ),
        below('one measurement of 10 metrics with 12 boundaries, median', cost.medianMs, 1, 'ms'),
        told('the same, p99', cost.p99Ms, 'ms'),
        below('its state as JSON', cost.bytes / 1024, 64, 'kB'),
      ],
      tables: [
        comparison(
          healthy,
          lasting,
          delays.map((each) => each.map(delay)),
        ),
        disturbed,
        latency,
      ],
    };
  } finally {
    await threads.close();
  }
}

function comparison(
  healthy: readonly number[],
  lasting: readonly number[],
  delays: readonly (readonly string[])[],
): BenchTable {
  return {
    headings: ['rule', 'false alarm', '(95 %)', '600 s each', ...TIMES.map((times) => `${times}x`)],
    rows: ALL.map((rule, index) => [
      rule.name,
      percent(healthy[index] ?? 0, HEALTHY_RELEASES),
      `<= ${(100 * wilsonInterval(healthy[index] ?? 0, HEALTHY_RELEASES).upper).toFixed(2)} %`,
      percent(lasting[index] ?? 0, TEN_MINUTES_RELEASES),
      ...delays.map((each) => each[index] ?? ''),
    ]),
  };
}

/** What is no fault of the canary's, or no ordinary traffic: who rolls a healthy canary back for it. */
async function disturbances(threads: AnalysisThreads): Promise<BenchTable> {
  const names = Object.keys(DISTURBED) as (keyof typeof DISTURBED)[];
  const row = (name: string, alarms: readonly number[], of: number): string[] => [
    name,
    ...alarms.map((count) => percent(count, of)),
  ];
  const rows = await Promise.all([
    ...names.map(async (name) => {
      const alarms = await summed(DISTURBED_RELEASES, DISTURBED_PART, (runs) =>
        threads.run('healthy', { name, ...runs }),
      );
      return row(name, alarms, DISTURBED_RELEASES);
    }),
    summed(DISTURBED_RELEASES, DISTURBED_PART, (runs) => threads.run('restarted', runs)).then((alarms) =>
      row('counters that begin anew', alarms, DISTURBED_RELEASES),
    ),
    summed(LONG_RELEASES, LONG_PART, (runs) => threads.run('healthy', { name: 'for six hours', ...runs })).then(
      (alarms) => {
        const [name = '', ...lasting] = row('6 h at 5 %', alarms, LONG_RELEASES);
        return [name, ...RULES.map(() => ''), ...lasting];
      },
    ),
  ]);
  return { headings: ['disturbance', ...ALL.map(({ name }) => name)], rows };
}

/** Slow requests that come together at one process, with the spread between stable's processes known and not known. */
async function clusteredLatency(threads: AnalysisThreads): Promise<BenchTable> {
  const names = Object.keys(PAUSES) as (keyof typeof PAUSES)[];
  const rows = names.map(async (pauses) => {
    const [alarms, found] = await Promise.all([
      summed(DISTURBED_RELEASES, DISTURBED_PART, (runs) => threads.run('latencyAlarms', { pauses, ...runs })),
      joined(DELAY_RUNS, DELAY_PART, (runs) => threads.run('latencyDelays', { pauses, ...runs })),
    ]);
    const cells = alarms.flatMap((count, index) => [percent(count, DISTURBED_RELEASES), delay(found[index] ?? [])]);
    return [pauses, ...cells];
  });
  return {
    headings: ['latency', 'false alarm, defaults', '2x slower', 'with the spread', '2x slower'],
    rows: await Promise.all(rows),
  };
}

interface Part {
  readonly runs: number;
  readonly part: number;
}

/** So many runs in parts, whose counts are summed up by rule. */
async function summed(all: number, each: number, play: (part: Part) => Promise<number[]>): Promise<number[]> {
  const counts = await Promise.all(partsOf(all, each).map(play));
  return (counts[0] ?? []).map((_, rule) => counts.reduce((sum, one) => sum + (one[rule] ?? 0), 0));
}

/** So many runs in parts, whose times are joined by rule. */
async function joined(all: number, each: number, play: (part: Part) => Promise<number[][]>): Promise<number[][]> {
  const times = await Promise.all(partsOf(all, each).map(play));
  return (times[0] ?? []).map((_, rule) => times.flatMap((one) => one[rule] ?? []));
}

/** Far apart in what chooses their random numbers, where `delays` adds its `times`. */
function partsOf(all: number, each: number): Part[] {
  return Array.from({ length: Math.ceil(all / each) }, (_, index) => ({
    runs: Math.min(each, all - index * each),
    part: index * 1_000,
  }));
}

/** `20/50`: the seconds within which half, and 95 %, of the runs are failed. */
function delay(seconds: readonly number[]): string {
  const write = (each: number): string => (each === Infinity ? 'never' : String(each));
  return `${write(percentile(seconds, 50))}/${write(percentile(seconds, 95))}`;
}

/** A line for each tenth that is done: it takes a quarter of an hour. */
function tellProgress(): (done: number, all: number) => void {
  let told = 0;
  return (done, all) => {
    const tenths = Math.floor((10 * done) / all);
    if (tenths === told) return;
    told = tenths;
    process.stderr.write(`bench: analysis ... ${10 * tenths} %\n`);
  };
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
