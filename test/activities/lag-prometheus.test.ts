import type { Counted } from '../../src/analysis/counts';
import { createMetricSource } from '../../src/metrics/create-source';
import type { ClosableMetricSource } from '../../src/metrics/metric-source';
import type { MetricSourcePlan } from '../../src/spec/plan-types';
import type { MeasureResult } from '../../src/workflows/activity-types';
import { startFakeServer } from '../metrics/fake-server';
import type { FakeServer } from '../metrics/fake-server';
import { describeWithPrometheus } from '../metrics/prometheus-executable';
import { startPrometheus, until } from '../metrics/real-prometheus';
import type { RunningPrometheus } from '../metrics/real-prometheus';
import { measured, measureInput, routerPlan, world } from './fakes';
import { planOf } from './lagging-plan';

const SECOND = 1_000;
/** How long after its timestamp a sample arrives. */
const LATE_MS = 10 * SECOND;
const LOOK_MS = 5 * SECOND;
/** How long the app has served by the weight before, and then by this one. */
const BEFORE_MS = 15 * SECOND;
const WATCHED_MS = 60 * SECOND;

type Track = 'canary' | 'stable';
type Counts = Readonly<Record<Track, { readonly bad: number; readonly total: number }>>;

/** An app whose exporter tells its counters as they stood some seconds ago, with the time when they stood so. */
class LateApp {
  readonly #begunAt: number;
  readonly #log = new Map<number, Counts>();
  #now: number;
  #counts: Counts = { canary: { bad: 0, total: 0 }, stable: { bad: 0, total: 0 } };
  #server: FakeServer | null = null;

  constructor(begunAt: number) {
    this.#begunAt = begunAt;
    this.#now = begunAt;
    this.#log.set(begunAt, this.#counts);
  }

  /** The newest moment that is told. */
  get told(): number {
    return Math.max(this.#now - LATE_MS, this.#begunAt);
  }

  async listen(): Promise<string> {
    this.#server = await startFakeServer((_, response) => {
      const { told } = this;
      const lines = (['canary', 'stable'] as const).flatMap((track) => {
        const { bad, total } = this.at(told)[track];
        return [`all{track="${track}"} ${total} ${told}`, `bad{track="${track}"} ${bad} ${told}`];
      });
      response.writeHead(200, { 'Content-Type': 'text/plain; version=0.0.4' }).end(`${lines.join('\n')}\n`);
    });
    return new URL(this.#server.url).host;
  }

  /** A second of requests. */
  serve(more: Counts): void {
    const { canary, stable } = this.#counts;
    const sum = (one: Counts[Track], other: Counts[Track]): Counts[Track] => ({
      bad: one.bad + other.bad,
      total: one.total + other.total,
    });
    this.#counts = { canary: sum(canary, more.canary), stable: sum(stable, more.stable) };
    this.#now += SECOND;
    this.#log.set(this.#now, this.#counts);
  }

  /** What it had counted by a moment. */
  at(moment: number): Counts {
    const counts = this.#log.get(moment);
    if (counts === undefined) throw new RangeError(`The app counted nothing at ${moment}.`);
    return counts;
  }

  /** What it counted between two moments. */
  between(from: number, to: number): Counts {
    const [before, after] = [this.at(from), this.at(to)];
    const of = (track: Track): Counts[Track] => ({
      bad: after[track].bad - before[track].bad,
      total: after[track].total - before[track].total,
    });
    return { canary: of('canary'), stable: of('stable') };
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }
}

/** Of a release that looks by one lag: its looks, and what they were answered of the counters. */
interface Watch {
  readonly lagMs: number;
  readonly results: MeasureResult[];
  readonly counted: Counted[];
}

describeWithPrometheus('a real Prometheus whose samples come ten seconds late', (binary) => {
  /** When the weight changed, which was before the test: no sample may be of the future. */
  const since = Math.floor(Date.now() / SECOND) * SECOND - 120 * SECOND;
  const app = new LateApp(since - BEFORE_MS);
  const watches = [0, 5, 10, 15].map((lag): Watch => ({ lagMs: lag * SECOND, results: [], counted: [] }));
  let prometheus: RunningPrometheus | undefined;
  let source: ClosableMetricSource | undefined;

  /** All that is looked at, at the time that it would be: a look sees what has arrived by then, and nothing else. */
  beforeAll(async () => {
    prometheus = await startPrometheus(binary, [{ address: await app.listen(), labels: {} }], { scrapeMs: 200 });
    const plan: MetricSourcePlan = { kind: 'prometheus', url: prometheus.url, tokenEnv: null, timeoutMs: 10_000 };
    source = createMetricSource(plan, routerPlan, {});
    for (let at = since - BEFORE_MS + SECOND; at <= since + WATCHED_MS; at += SECOND) {
      app.serve(servedIn(at - since));
      await arrived(prometheus, app.told);
      if (at <= since || (at - since) % LOOK_MS !== 0) continue;
      for (const watch of watches) await look(source, watch, at);
    }
  });

  afterAll(async () => {
    source?.close();
    await prometheus?.stop();
    await app.close();
  });

  /**
   * In the second that ends so long after the weight's change: of one look another number than of the next. The canary
   * fails altogether under the weight before, and once for two seconds under this one.
   */
  function servedIn(age: number): Counts {
    const total = 5 + (Math.ceil(age / LOOK_MS) % 3);
    const fails = age <= 0 || (age > 22 * SECOND && age <= 24 * SECOND);
    return { canary: { bad: fails ? total : 0, total }, stable: { bad: 0, total: 90 + total } };
  }

  async function arrived({ url }: RunningPrometheus, moment: number): Promise<void> {
    const query = ['all', 'bad'].map((name) => `count(timestamp(${name}) == ${moment / SECOND})`).join(' + ');
    const asked = `${url}/api/v1/query?time=${moment / SECOND}&query=${encodeURIComponent(query)}`;
    await until(`Prometheus has the samples of ${moment}`, async () => {
      const body = (await (await fetch(asked)).json()) as { data?: { result?: { value?: [number, string] }[] } };
      return body.data?.result?.[0]?.value?.[1] === '4';
    });
  }

  async function look(prom: ClosableMetricSource, { lagMs, results, counted }: Watch, at: number): Promise<void> {
    const count: ClosableMetricSource['count'] = async (request) => {
      const answers = await prom.count(request);
      counted.push(...answers);
      return answers;
    };
    const deps = { source: () => ({ ...prom, count }) };
    const last = results.at(-1);
    const known = { judge: last?.judgement.state ?? null, evidence: last?.evidence ?? null };
    const input = measureInput({ at, since, weight: 5, ...known, plan: planOf(lagMs) });
    results.push(await measured(world({ deps, scheduledAt: Date.now() }), input));
  }

  const batchesOf = ({ counted }: Watch) => counted.flatMap((each) => (each.kind === 'batch' ? [each] : []));

  /** The moments between which a batch is, and up to where their counts had arrived by the look. */
  function spanOf({ asked }: Counted, lagMs: number): { from: number; to: number; arrived: number } {
    if (asked === undefined || asked.from === null) throw new Error('a batch of no span');
    const { from, to } = asked;
    return { from, to, arrived: Math.max(from, Math.min(to, to + lagMs - LATE_MS)) };
  }

  /** In all, by the batches of a release that looks by this lag: what it counted, and what the app did meanwhile. */
  function sumsOf(watch: Watch): { counted: Counts[Track] | undefined; served: Counts[Track] } {
    const [from, to] = [
      Math.min(...batchesOf(watch).map((batch) => spanOf(batch, watch.lagMs).from)),
      Math.max(...batchesOf(watch).map((batch) => spanOf(batch, watch.lagMs).to)),
    ];
    const counted = watch.results.at(-1)?.measurement.metrics[0]?.evidence?.canary;
    return { counted, served: app.between(from, to).canary };
  }

  const watchesBy = (late: 'too little' | 'enough'): [string, Watch][] =>
    watches
      .filter(({ lagMs }) => lagMs < LATE_MS === (late === 'too little'))
      .map((watch) => [`${watch.lagMs / SECOND}s`, watch]);

  it.each(watchesBy('enough'))(
    'has all of each batch with a lag of %s, and each request in one of them',
    (_, watch) => {
      const batches = batchesOf(watch);

      const spans = batches.map((batch) => spanOf(batch, watch.lagMs));
      expect(batches.map(({ canary, stable }) => ({ canary, stable }))).toEqual(
        spans.map(({ from, to }) => app.between(from, to)),
      );
      expect(spans[0]?.from).toBe(since + LOOK_MS);
      expect(spans.slice(1).map(({ from }) => from)).toEqual(spans.slice(0, -1).map(({ to }) => to));
      expect(spans.at(-1)?.to).toBe(since + WATCHED_MS - watch.lagMs);
      const { counted, served } = sumsOf(watch);
      expect(counted).toEqual(served);
      expect(counted?.bad).toBe(14);
    },
  );

  it.each(watchesBy('enough'))('finds the canary that fails with a lag of %s, that much later', (_, watch) => {
    const { lagMs, results } = watch;

    const found = results.find(({ judgement }) => judgement.decision === 'fail');

    // The look that is asked about the end of the five seconds in which it failed.
    expect(found?.measurement.at).toBe(since + 25 * SECOND + lagMs);
    expect(found?.measurement.sentence).toContain('proven worse than stable: 14 of 14 errors came from the canary');
    expect(found?.measurement.observedShare).toBeCloseTo(0.06, 2);
    expect(found?.measurement.routing).toMatchObject({ verdict: 'pass' });
    const tooSoon = results.filter(({ measurement }) => measurement.at <= since + lagMs);
    expect(tooSoon.map(({ measurement }) => measurement.verdict)).toEqual(tooSoon.map(() => 'insufficient-data'));
  });

  it.each(watchesBy('too little'))('is without the end of each batch with a lag of %s, for good', (_, watch) => {
    const batches = batchesOf(watch);

    expect(batches.map(({ canary, stable }) => ({ canary, stable }))).toEqual(
      batches.map((batch) => {
        const { from, arrived: end } = spanOf(batch, watch.lagMs);
        return app.between(from, end);
      }),
    );
    const { counted, served } = sumsOf(watch);
    expect(counted?.total).toBeGreaterThan(0);
    expect(counted?.total).toBeLessThan(served.total);
  });

  it.each(watchesBy('too little'))('tells what it is without, with a lag of %s', (_, watch) => {
    const told = batchesOf(watch).map(({ dropped }) => dropped);

    // There is nothing to compare the first batch's beginning with before it has come again.
    expect(told.slice(1)).toEqual(
      batchesOf(watch)
        .slice(1)
        .map((batch) => [
          `requests of both tracks from before ${new Date(spanOf(batch, watch.lagMs).from).toISOString()} were not there yet when they were asked for, and are in no batch: samples come late, and analysis.lag is to say how late at most`,
        ]),
    );
    expect(watch.results.at(-1)?.measurement.metrics[0]?.evidence?.dropped).toEqual(told.at(-1));
  });

  it.each(watchesBy('enough'))('tells of nothing that it is without, with a lag of %s', (_, watch) => {
    expect(batchesOf(watch).flatMap(({ dropped }) => dropped)).toEqual([]);
  });

  it('loses the canary that fails without a lag', () => {
    const [{ results } = { results: [] }] = watches;

    expect(results.map(({ judgement }) => judgement.decision)).not.toContain('fail');
    expect(results.at(-1)?.measurement.metrics[0]?.evidence?.canary.bad).toBe(0);
  });

  it.each(watches.map((watch): [string, Watch] => [`${watch.lagMs / SECOND}s`, watch]))(
    'passes nothing that has not arrived, with a lag of %s',
    (_, { results }) => {
      const compared = results.map(({ measurement }) => measurement.metrics[0]?.evidence?.canary.total ?? 0);

      expect(results[0]?.measurement).toMatchObject({ verdict: 'insufficient-data', observedShare: null });
      for (const [index, { measurement }] of results.entries()) {
        if (measurement.verdict === 'pass') expect(compared[index]).toBeGreaterThanOrEqual(20);
      }
      expect(results.map(({ measurement }) => measurement.verdict)).toContain('pass');
    },
  );
});
