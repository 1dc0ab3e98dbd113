import { Counter, Histogram, Registry } from 'prom-client';
import { judge } from '../../src/analysis/threshold-judge';
import type { CountCursor, Counted } from '../../src/analysis/counts';
import type { Sample } from '../../src/analysis/sample';
import { quantileOf } from '../../src/metrics/histogram';
import { createPrometheusSource } from '../../src/metrics/prometheus';
import type { ClosableMetricSource } from '../../src/metrics/metric-source';
import { presetMetrics } from '../../src/spec/presets';
import type { MetricPlan } from '../../src/spec/plan-types';
import { json, startFakeServer, type FakeServer } from './fake-server';
import { describeWithPrometheus } from './prometheus-executable';
import { startPrometheus, until, type RunningPrometheus } from './real-prometheus';
import { metricOf, requestOf } from './requests';

const BOUNDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** A small real app: answers /work with 200, 500 or slowly as it is told, and counts as most apps do. */
interface App {
  readonly server: FakeServer;
  readonly requests: Counter;
  readonly latency: Histogram;
  /** Requests so far. */
  work(total: number, bad: number, seconds: number): Promise<void>;
}

async function startApp(): Promise<App> {
  const registry = new Registry();
  const requests = new Counter({
    name: 'http_requests_total',
    help: 'Requests.',
    labelNames: ['status'],
    registers: [registry],
  });
  const latency = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Latency.',
    buckets: BOUNDS,
    registers: [registry],
  });
  // Both series exist from the start: what appears with its first value has no increase to be seen.
  requests.inc({ status: '200' }, 0);
  const server = await startFakeServer((request, response) => {
    const url = new URL(request.path, 'http://app');
    if (url.pathname === '/metrics') {
      void registry
        .metrics()
        .then((text) => response.writeHead(200, { 'Content-Type': registry.contentType }).end(text));
      return;
    }
    const status = Number(url.searchParams.get('status'));
    requests.inc({ status: String(status) });
    latency.observe(Number(url.searchParams.get('seconds')));
    json(response, {}, status);
  });
  return {
    server,
    requests,
    latency,
    work: async (total, bad, seconds) => {
      for (let done = 0; done < total; done += 1) {
        await fetch(`${server.url}/work?status=${done < bad ? 500 : 200}&seconds=${seconds}`);
      }
    },
  };
}

describeWithPrometheus('a real Prometheus scraping a real app', (binary) => {
  let apps: { readonly canary: App; readonly stable: App };
  let prometheus: RunningPrometheus;
  let source: ClosableMetricSource;

  beforeAll(async () => {
    apps = { canary: await startApp(), stable: await startApp() };
    const target = (track: 'canary' | 'stable') => ({
      address: new URL(apps[track].server.url).host,
      labels: { service: 'checkout', namespace: 'shop', track },
    });
    prometheus = await startPrometheus(binary, [target('canary'), target('stable')]);
    source = createPrometheusSource({ url: prometheus.url, timeoutMs: 10_000 });
    await scraped('count(http_requests_total{status="200"} == 0) == 2');
    await Promise.all([apps.canary.work(100, 0, 0.2), apps.stable.work(300, 0, 0.07)]);
    await scraped('sum(http_requests_total) == 400');
  });

  afterAll(async () => {
    source?.close();
    await prometheus?.stop();
    await apps?.canary.server.close();
    await apps?.stable.server.close();
  });

  /** Waits until a query has an answer, which is until Prometheus has scraped what it asks for. */
  async function scraped(query: string): Promise<void> {
    await until(`Prometheus answers ${query}`, async () => {
      const response = await fetch(`${prometheus.url}/api/v1/query?query=${encodeURIComponent(query)}`);
      const body = (await response.json()) as { data?: { result?: unknown[] } };
      return (body.data?.result?.length ?? 0) > 0;
    });
  }

  function plansOf(): MetricPlan[] {
    return presetMetrics('http', 'prometheus')
      .filter(({ name }) => ['error-rate', 'p95-latency', 'requests'].includes(name))
      .map(({ name, unit, query }) => ({
        name,
        unit,
        query,
        max: unit === 'count' ? null : 0.5,
        min: null,
        maxRatio: null,
      }));
  }

  async function sample(metrics: readonly MetricPlan[] = plansOf()): Promise<Sample> {
    return source.sample(requestOf(metrics, { at: Date.now(), windowMs: 120_000 }));
  }

  const policy = (metrics: readonly MetricPlan[]) => ({
    minMeasurements: 1,
    minRequests: 20,
    failureLimit: 0,
    consecutiveErrorLimit: 0,
    compare: { alpha: 0.01, tolerate: 1.25 },
    metrics,
  });

  it('answers the presets: no series of errors is no errors', async () => {
    const result = await sample();

    const byName = Object.fromEntries(result.metrics.map((metric) => [metric.name, metric]));
    expect(byName['error-rate']).toMatchObject({ canary: { value: 0, events: { bad: 0 } }, stable: { value: 0 } });
    expect(byName['error-rate']?.canary.events?.total).toBeGreaterThan(50);
    // Both lie within their bucket; which point of it is Prometheus' interpolation, and the same as ours.
    const p95 = quantileOf({ bounds: [0.1, 0.25], cumulative: [0, 100, 100] }, 0.95);
    expect(byName['p95-latency']?.canary.value).toBeCloseTo(p95.kind === 'value' ? p95.value : Number.NaN, 6);
    expect(byName['p95-latency']?.stable?.value).toBeCloseTo(0.05 + 0.05 * 0.95, 6);
    expect(byName['p95-latency']?.canary.requests).toBeGreaterThan(50);
    expect(byName['requests']?.canary.value).toBeGreaterThan(50);
    expect(judge(policy(plansOf()), null, result)).toMatchObject({ verdict: 'pass' });
  });

  it('does not answer for a window of which it no longer has the beginning', async () => {
    // 15 days are what it keeps when it is told nothing.
    const over = (days: number): Promise<Sample> =>
      source.sample(requestOf(plansOf(), { at: Date.now(), windowMs: days * 86_400_000 }));
    const [long, shorter] = [await over(16), await over(14)];

    const message = /^the window of 16d is longer than Prometheus at \S+ keeps samples \(15d\); shorten the soak/;
    const problem = { kind: 'error', message: expect.stringMatching(message) as string };
    expect(long.metrics[0]?.canary).toMatchObject({ value: null, problem });
    expect(judge(policy(plansOf()), null, long)).toMatchObject({ verdict: 'error' });
    expect(shorter.metrics[0]?.canary.problem).toBeUndefined();
  });

  it('sees errors once there are some, and the judge fails the canary', async () => {
    await apps.canary.work(40, 1, 0.2);
    await scraped('http_requests_total{status="500"} == 1');
    await apps.canary.work(160, 159, 0.2);
    await scraped('http_requests_total{status="500"} == 160');

    const result = await sample();

    const [errors] = result.metrics;
    expect(errors?.canary.value).toBeGreaterThan(0.3);
    const judgement = judge(policy(plansOf()), null, result);
    expect(judgement.verdict).toBe('fail');
    expect(judgement.sentence).toMatch(/canary requests failed/);
  });

  it('counts exactly what happened between two looks, whatever is scraped when, and through a restart', async () => {
    const metrics = presetMetrics('http', 'prometheus')
      .filter(({ counters }) => counters !== null)
      .map(({ name, unit, query, counters }) => ({ ...metricOf(query), name, unit, counters }));
    const [errors, latency] = [metrics[0], metrics.find(({ unit }) => unit === 'seconds')];
    if (errors === undefined || latency === undefined) throw new Error('The preset counts errors and latency.');
    const since = Date.now();
    const count = async (cursors: Record<string, CountCursor>): Promise<readonly Counted[]> =>
      source.count({ ...requestOf([errors, latency]), at: Date.now(), since, cursors });
    const cursorsIn = (answers: readonly Counted[]): Record<string, CountCursor> =>
      Object.fromEntries(answers.flatMap((each) => (each.kind === 'problem' ? [] : [[each.name, each.cursor]])));
    const served = async (): Promise<number> =>
      (await apps.canary.requests.get()).values.reduce((n, { value }) => n + value, 0);

    const laterThan = (moment: number): Promise<void> =>
      until('the shortest batch has passed', () => Promise.resolve(Date.now() - moment > 1_000));
    await laterThan(since);
    const first = await count({});
    // Without a request since the weight changed there is nothing to begin at.
    expect(first).toMatchObject([{ problem: { kind: 'no-data' } }, { problem: { kind: 'no-data' } }]);
    await Promise.all([apps.canary.work(3, 3, 0.2), apps.stable.work(4, 4, 0.07)]);
    await scraped(`sum(http_requests_total{track="canary"}) == ${await served()}`);
    await scraped('sum(http_requests_total{track="stable"}) == 304');
    const begun = await count({});
    expect(begun).toMatchObject([{ kind: 'begin' }, { kind: 'begin' }]);

    await Promise.all([apps.canary.work(50, 7, 0.2), apps.stable.work(120, 1, 0.07)]);
    await scraped(`sum(http_requests_total{track="canary"}) == ${await served()}`);
    await scraped('sum(http_requests_total{track="stable"}) == 424');
    await laterThan(Date.now());
    const second = await count(cursorsIn(begun));
    expect(second).toMatchObject([
      { canary: { bad: 7, total: 50 }, stable: { bad: 1, total: 120 }, dropped: [] },
      {
        boundaries: BOUNDS,
        canary: { cumulative: [0, 0, 50, 50, 50, 50, 50] },
        stable: { cumulative: [0, 120, 120, 120, 120, 120, 120] },
      },
    ]);

    apps.canary.requests.reset();
    await apps.canary.work(9, 2, 0.2);
    await scraped('sum(http_requests_total{track="canary"}) == 9');
    await laterThan(Date.now());
    const [third] = await count(cursorsIn(second));
    expect(third).toMatchObject({ canary: { bad: 2, total: 9 }, stable: { bad: 0, total: 0 } });
    expect(third?.kind === 'batch' && third.dropped).toEqual([expect.stringMatching(/has started anew$/)]);
  });

  it('answers as of the time asked for, not of now', async () => {
    const { metrics } = await source.sample(requestOf(plansOf(), { at: Date.now() - 3_600_000 }));

    expect(metrics[0]?.canary.problem).toEqual({ kind: 'no-data', message: 'the denominator matched no series' });
  });

  it.each<[string, string, RegExp]>([
    ['a syntax error', 'sum(', /^Prometheus refused the query \(bad_data\): .*parse error/],
    [
      'several series',
      'http_requests_total',
      /^the query answered \d+ series instead of one; aggregate them with sum\(\)$/,
    ],
    ['a range', 'http_requests_total[1m]', /^(the query answered a matrix|Prometheus refused)/],
    ['a text', '"text"', /^the query answered a string instead of one number$/],
  ])('has a problem with %s', async (_name, expression, message) => {
    const metric = metricOf({ kind: 'value', expression, requests: null });

    const { metrics } = await sample([metric]);

    expect(metrics[0]?.canary.problem).toEqual({ kind: 'error', message: expect.stringMatching(message) as string });
  });

  it.each([
    ['0 / 0', 'NaN'],
    ['1 / 0', '+Inf'],
    ['histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{track="nobody"}[1m])))', null],
  ])('has no data in %s', async (expression, text) => {
    const { metrics } = await sample([metricOf({ kind: 'value', expression, requests: null })]);

    const message = text === null ? 'the query matched no series' : `the query answered ${text}, which is no number`;
    expect(metrics[0]?.canary.problem).toEqual({ kind: 'no-data', message });
  });

  it('takes a scalar', async () => {
    const { metrics } = await sample([metricOf({ kind: 'value', expression: 'scalar(vector(42))', requests: null })]);

    expect(metrics[0]?.canary.value).toBe(42);
  });
});
