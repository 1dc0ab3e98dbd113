import { createCohortRouter, type CohortRouter, type CohortRouterOptions } from '../../src/router/index';
import { createRouterSource } from '../../src/metrics/router';
import type { CountRequest, Routed, SampleRequest } from '../../src/metrics/metric-source';
import type { Counted } from '../../src/analysis/counts';
import type { Sample } from '../../src/analysis/sample';
import { observedShare } from '../../src/analysis/observed-share';
import { json, refusedUrl, startFakeServer, type FakeServer } from './fake-server';
import { metricOf, requestOf } from './requests';

const ERRORS = metricOf({ kind: 'builtin', metric: 'error-rate' });
const P95 = metricOf(
  { kind: 'builtin', metric: 'latency', quantile: 0.95 },
  { name: 'p95-latency', unit: 'seconds', max: 1 },
);
const REQUESTS = metricOf({ kind: 'builtin', metric: 'requests' }, { name: 'requests', unit: 'count', max: null });

const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** An instance of an app with the real router, without the app: requests are begun and finished by the test. */
interface Instance {
  readonly router: CohortRouter;
  readonly server: FakeServer;
  /** Serves requests to one cohort, each taking `latencyMs`; those of `bad` fail. */
  serve(cohort: 'canary' | 'stable', total: number, bad: number, latencyMs?: number): void;
  pass(ms: number): void;
}

async function startInstance(options: CohortRouterOptions = {}): Promise<Instance> {
  let now = 1_700_000_000_000;
  const router = createCohortRouter({
    stableVersion: '1.4.1',
    canaryVersion: '1.4.2',
    salt: 'r',
    weight: 50,
    guard: false,
    environment: {},
    logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
    clock: { now: () => now, monotonic: () => now },
    ...options,
  });
  const server = await startFakeServer((request, response) => {
    const url = new URL(request.path, 'http://instance');
    const answer = router.handleAdmin({
      method: request.method,
      path: url.pathname,
      headers: request.headers,
      query: url.searchParams,
    });
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  cleanups.push(() => server.close());
  let user = 0;
  return {
    router,
    server,
    pass: (ms) => {
      now += ms;
    },
    serve: (cohort, total, bad, latencyMs = 20) => {
      for (let done = 0; done < total;) {
        const exchange = router.begin({ userId: `user-${(user += 1)}` });
        if (exchange.assignment.cohort !== cohort) continue;
        now += latencyMs;
        exchange.finish({ status: done < bad ? 500 : 200 });
        now -= latencyMs;
        done += 1;
      }
    },
  };
}

async function sampleOf(urls: readonly string[], changes: Partial<SampleRequest> = {}): Promise<Sample> {
  const source = createRouterSource({ instances: urls });
  cleanups.push(() => source.close());
  return source.sample(requestOf([ERRORS, P95, REQUESTS], changes));
}

describe('the in-app router as a metric source', () => {
  it('sums what all instances counted', async () => {
    const [a, b] = [await startInstance(), await startInstance()];
    a.serve('canary', 60, 3);
    b.serve('canary', 40, 1);
    a.serve('stable', 500, 2);
    b.serve('stable', 400, 0);

    const sample = await sampleOf([a.server.url, `${b.server.url}/`]);

    expect(sample.metrics[0]).toMatchObject({
      canary: { value: 0.04, events: { bad: 4, total: 100 } },
      stable: { value: 2 / 900, events: { bad: 2, total: 900 } },
    });
    expect(sample.metrics[2]).toMatchObject({
      canary: { value: 100, requests: 100 },
      stable: { value: 900, requests: 900 },
    });
    expect(observedShare(sample)).toBe(0.1);
    expect(sample.metrics[0]?.canary.query).toBe(
      `GET /canary/metrics?window=60 at ${a.server.url}, ${b.server.url}: error-rate of canary 1.4.2`,
    );
    expect(sample.metrics[1]?.stable?.query).toMatch(/: p95 latency of stable 1\.4\.1$/);
  });

  it('takes quantiles from the summed buckets, as the router does from its own', async () => {
    const [a, b] = [await startInstance(), await startInstance()];
    a.serve('canary', 90, 0, 30);
    b.serve('canary', 10, 0, 700);
    const single = await startInstance();
    single.serve('canary', 90, 0, 30);
    single.serve('canary', 10, 0, 700);

    const sample = await sampleOf([a.server.url, b.server.url]);

    const expected = single.router.metrics(60).cohorts.canary.window.latencyMs.p95 ?? Number.NaN;
    expect(sample.metrics[1]?.canary).toMatchObject({ value: expected / 1000, requests: 100 });
    expect(expected).toBeGreaterThan(500);
  });

  it('looks back no further than it is asked to', async () => {
    const instance = await startInstance();
    instance.serve('canary', 50, 50);
    instance.pass(10_000);
    instance.serve('canary', 30, 0);

    const { metrics, windowMs } = await sampleOf([instance.server.url], { windowMs: 5_900 });

    expect(metrics[0]?.canary.events).toEqual({ bad: 0, total: 30 });
    expect(windowMs).toBe(5_000);
  });

  it.each([
    [200, 1],
    [3_600_000, 300],
  ])('asks for %d ms as %d whole seconds', async (windowMs, seconds) => {
    const instance = await startInstance();

    await sampleOf([instance.server.url], { windowMs });

    expect(instance.server.requests[0]?.path).toBe(`/canary/metrics?window=${seconds}`);
  });

  it('asks an instance once for all that one look wants to know', async () => {
    const instance = await startInstance();
    instance.serve('canary', 50, 0);
    const source = createRouterSource({ instances: [instance.server.url] });
    cleanups.push(() => source.close());
    const request = requestOf([ERRORS], { windowMs: 10_000, weight: 50 });
    const look = (at: number): Promise<unknown> =>
      Promise.all([
        source.sample({ ...request, at }),
        source.routed({ ...request, at, since: 0 }),
        source.count({ ...request, at, since: 0, cursors: {} }),
      ]);

    await look(1_000);
    await look(1_000);
    await look(2_000);

    // One after the other they are no one look, whatever time they are of.
    expect(instance.server.requests.map(({ path }) => path)).toEqual(Array(3).fill('/canary/metrics?window=10'));
  });

  it('has no data without requests, and says that there were none', async () => {
    const instance = await startInstance();
    instance.serve('canary', 5, 0);

    const { metrics } = await sampleOf([instance.server.url]);

    const problem = { kind: 'no-data', message: 'there were no requests in the window' };
    expect(metrics.map((metric) => metric.stable)).toMatchObject([
      { value: null, events: { bad: 0, total: 0 }, problem },
      { value: null, requests: 0, problem },
      { value: 0, requests: 0 },
    ]);
  });

  it('fails a limit below the last bucket, and cannot keep one above it', async () => {
    const instance = await startInstance();
    instance.serve('canary', 20, 0, 60_000);
    const source = createRouterSource({ instances: [instance.server.url] });
    cleanups.push(() => source.close());
    const lenient = { ...P95, name: 'lenient', max: 45 };

    const { metrics } = await source.sample(requestOf([P95, lenient]));

    expect(metrics[0]?.canary.value).toBe(30);
    expect(metrics[1]?.canary).toMatchObject({
      value: null,
      problem: {
        kind: 'no-data',
        message: 'it is above 30 s, the last bucket, and cannot be held against a limit of 45 s',
      },
    });
  });
});

describe('instances that cannot be used', () => {
  async function problemWith(urls: readonly string[]): Promise<string> {
    const { metrics } = await sampleOf(urls);
    const problems = metrics.map(({ canary }) => canary.problem);
    expect(problems.every((problem) => problem?.kind === 'error')).toBe(true);
    expect(metrics.every(({ canary }) => canary.value === null)).toBe(true);
    return problems[0]?.message ?? '';
  }

  it('never takes a part for the whole', async () => {
    const well = await startInstance();
    well.serve('canary', 100, 0);
    const gone = await refusedUrl();

    expect(await problemWith([well.server.url, gone])).toBe(`instance ${gone} refused the connection`);
  });

  it('names an instance that has forgotten the release', async () => {
    const restarted = await startInstance({ canaryVersion: undefined, weight: 0 } as unknown as CohortRouterOptions);

    expect(await problemWith([restarted.server.url])).toBe(
      `instance ${restarted.server.url} has no canary version, not 1.4.2`,
    );
  });

  it('names an instance with another version', async () => {
    const other = await startInstance({ canaryVersion: '1.5.0' });

    expect(await problemWith([other.server.url])).toBe(
      `instance ${other.server.url} serves 1.5.0 as canary, not 1.4.2`,
    );
  });

  it.each([
    ['answers another document', { hello: 'world' }, 200, 'answered JSON that is not a metrics document of the router'],
    ['has no router', { error: 'Cannot GET' }, 404, 'answered 404: Cannot GET'],
  ])('names an instance that %s', async (_name, body, status, clause) => {
    const server = await startFakeServer((_request, response) => json(response, body, status));
    cleanups.push(() => server.close());

    expect(await problemWith([server.url])).toBe(`instance ${server.url} ${clause}`);
  });

  it('has a problem without instances', async () => {
    expect(await problemWith([])).toBe('the target has no instances');
  });

  it('answers no PromQL', async () => {
    const instance = await startInstance();
    instance.serve('canary', 100, 0);
    const source = createRouterSource({ instances: [instance.server.url] });
    cleanups.push(() => source.close());

    const { metrics } = await source.sample(requestOf([metricOf({ kind: 'value', expression: 'up', requests: null })]));

    expect(metrics[0]?.canary.problem).toEqual({
      kind: 'error',
      message: 'the in-app router knows error-rate, latency and requests, and answers no PromQL',
    });
  });
});

describe('what was routed since the weight changed', () => {
  const routedAt = async (urls: readonly string[], weight = 50): Promise<Routed> => {
    const source = createRouterSource({ instances: urls });
    cleanups.push(() => source.close());
    return source.routed({ ...requestOf([ERRORS]), weight, since: 0 });
  };

  it('is the subjects of all instances, each once at each', async () => {
    const [a, b] = [await startInstance(), await startInstance()];
    a.serve('canary', 30, 0);
    a.serve('stable', 20, 0);
    b.serve('canary', 5, 0);

    const routed = await routedAt([a.server.url, b.server.url]);

    // Those whom `serve` passed over were decided about, too.
    const { canary, stable } = [a, b]
      .map(({ router }) => router.metrics().routed)
      .reduce((sum, one) => ({ weight: 50, canary: sum.canary + one.canary, stable: sum.stable + one.stable }));
    expect(routed).toMatchObject({ kind: 'counts', canary, stable, unit: 'subject', cluster: 2 });
    expect(canary).toBeGreaterThanOrEqual(35);
  });

  it('is nothing yet at an instance that is at another weight', async () => {
    const { server, serve } = await startInstance();
    serve('canary', 30, 0);

    expect(await routedAt([server.url], 25)).toMatchObject({ kind: 'counts', canary: 0, stable: 0 });
  });

  it('is not known while an instance does not answer', async () => {
    const url = await refusedUrl();

    expect(await routedAt([url])).toMatchObject({ kind: 'error', message: expect.stringContaining(url) });
  });
});

describe('what is counted since the weight changed', () => {
  const counted = [
    metricOf({ kind: 'builtin', metric: 'error-rate' }, { counters: { kind: 'builtin', metric: 'errors' } }),
    metricOf(
      { kind: 'builtin', metric: 'latency', quantile: 0.95 },
      { name: 'p95-latency', unit: 'seconds', max: 1, counters: { kind: 'builtin', metric: 'latency' } },
    ),
  ];

  async function countAt(urls: readonly string[], changes: Partial<CountRequest> = {}): Promise<readonly Counted[]> {
    const source = createRouterSource({ instances: urls });
    cleanups.push(() => source.close());
    return source.count({ ...requestOf(counted), weight: 50, since: 0, cursors: {}, ...changes });
  }

  function batchIn(answers: readonly Counted[], name = 'error-rate'): Extract<Counted, { kind: 'batch' }> {
    const answer = answers.find((each) => each.name === name);
    if (answer?.kind !== 'batch') throw new Error(`No batch: ${JSON.stringify(answer)}`);
    return answer;
  }

  it('is exact from the first request on, over all instances, and each batch is of what came since the last', async () => {
    const [a, b] = [await startInstance(), await startInstance()];
    const urls = [a.server.url, b.server.url];
    a.serve('canary', 10, 2);
    b.serve('canary', 5, 0);
    b.serve('stable', 90, 1);

    const first = await countAt(urls);
    a.serve('canary', 7, 7, 2_000);
    const cursors = Object.fromEntries(first.map(({ name }) => [name, batchIn(first, name).cursor]));
    const second = await countAt(urls, { cursors });

    expect(batchIn(first)).toMatchObject({
      canary: { bad: 2, total: 15 },
      stable: { bad: 1, total: 90 },
    });
    expect(batchIn(second)).toMatchObject({ canary: { bad: 7, total: 7 }, stable: { bad: 0, total: 0 } });
    const latency = batchIn(second, 'p95-latency');
    const slow = latency.boundaries?.indexOf(2) ?? -1;
    expect('cumulative' in latency.canary && latency.canary.cumulative.slice(slow - 1)).toEqual([
      0,
      ...Array.from({ length: (latency.boundaries?.length ?? 0) - slow + 1 }, () => 7),
    ]);
  });

  it("tells how unevenly stable's errors fell on the instances, batch by batch", async () => {
    const [a, b] = [await startInstance(), await startInstance()];
    const urls = [a.server.url, b.server.url];
    a.serve('stable', 100, 10);
    b.serve('stable', 100, 0);
    const first = await countAt(urls);
    a.serve('stable', 50, 5);
    b.serve('stable', 50, 5);
    const { cursor } = batchIn(first);
    const second = await countAt(urls, { cursors: { 'error-rate': cursor } });
    if (cursor.kind !== 'reading') throw new Error('A router only knows what it has counted so far.');
    const { stableParts, ...older } = cursor;
    const third = await countAt(urls, { cursors: { 'error-rate': older } });

    // 5 expected at each of the two: 2 · 5² / (100 · 0.05 · 0.95).
    expect(batchIn(first).spreads).toEqual([{ chiSquared: expect.closeTo(50 / 4.75, 9) as number, degrees: 1 }]);
    expect(batchIn(second).spreads).toEqual([{ chiSquared: 0, degrees: 1 }]);
    expect(stableParts).toEqual([
      { bad: 10, total: 100 },
      { bad: 0, total: 100 },
    ]);
    // What a worker of an earlier version remembered does not say it.
    expect(batchIn(third).spreads).toBeUndefined();
  });

  it("tells how unevenly stable's slow requests fell on the instances, boundary by boundary, and keeps ten apart", async () => {
    const [a, b] = [await startInstance(), await startInstance()];
    const urls = [a.server.url, b.server.url];
    a.serve('stable', 10, 0, 2_000);
    a.serve('stable', 90, 0);
    b.serve('stable', 100, 0);
    const first = await countAt(urls);
    a.serve('stable', 5, 0, 2_000);
    b.serve('stable', 5, 0, 2_000);
    const latency = batchIn(first, 'p95-latency');
    const second = batchIn(await countAt(urls, { cursors: { 'p95-latency': latency.cursor } }), 'p95-latency');

    const [below, at] = [1.5, 2].map((seconds) => latency.boundaries?.indexOf(seconds) ?? -1);
    expect(latency.spreads?.[below ?? -1]).toEqual({ chiSquared: expect.closeTo(50 / 4.75, 9) as number, degrees: 1 });
    expect(latency.spreads?.[at ?? -1]).toEqual({ chiSquared: 0, degrees: 0 });
    expect(second.spreads?.[below ?? -1]?.chiSquared).toBe(0);
    expect(latency.cursor.kind === 'reading' && latency.cursor.stableParts).toHaveLength(2);
    const many = batchIn(await countAt(Array.from({ length: 24 }, () => b.server.url)), 'p95-latency').cursor;
    expect(many.kind === 'reading' && many.stableParts).toHaveLength(10);
  });

  it('begins anew with the weight, and does not count a request that was decided before', async () => {
    const { router, server, serve, pass } = await startInstance({ adminToken: 'secret-token-for-the-test' });
    serve('canary', 10, 0);
    let under = router.begin({ userId: 'someone' });
    while (under.assignment.cohort !== 'canary') under = router.begin({ userId: `someone-${Math.random()}` });
    pass(5);
    const answer = router.handleAdmin({
      method: 'PUT',
      path: '/canary/weight',
      headers: { 'x-canary-token': 'secret-token-for-the-test', 'content-type': 'application/json' },
      query: new URLSearchParams(),
      body: JSON.stringify({ weight: 60 }),
    });
    expect(answer.status).toBe(200);
    under.finish({ status: 500 });

    expect(batchIn(await countAt([server.url], { weight: 60 })).canary).toEqual({ bad: 0, total: 0 });
    expect(await countAt([server.url])).toMatchObject([
      { kind: 'problem', problem: { kind: 'error', message: `instance ${server.url} is at 60 %, not at 50 %` } },
      { kind: 'problem' },
    ]);
  });

  it('leaves out what came before the first look after a resume that dropped it', async () => {
    const { server, serve } = await startInstance();
    serve('canary', 10, 10);
    const { cursor } = batchIn(await countAt([server.url]));
    if (cursor.kind !== 'reading') throw new Error('A router only knows what it has counted so far.');

    const [anew] = await countAt([server.url], { cursors: { 'error-rate': { ...cursor, counters: [] } } });
    if (anew?.kind !== 'begin') throw new Error('It begins anew.');
    serve('canary', 3, 0);
    const next = await countAt([server.url], { cursors: { 'error-rate': anew.cursor } });

    expect(anew.why).toBe('what came before the first look after the resume');
    expect(batchIn(next).canary).toEqual({ bad: 0, total: 3 });
  });

  it('says between which moments it was counted, of which the first one is that of the weight', async () => {
    const { server, serve } = await startInstance();
    serve('canary', 10, 10);
    const first = batchIn(await countAt([server.url], { at: 7_000 }));
    const second = batchIn(await countAt([server.url], { at: 12_000, cursors: { 'error-rate': first.cursor } }));

    expect(first.asked).toEqual({ from: null, to: 7_000 });
    expect(second.asked).toEqual({ from: 7_000, to: 12_000 });
  });

  it('says that a batch begins anew when an instance has started anew', async () => {
    const [before, after] = [await startInstance(), await startInstance()];
    before.serve('canary', 10, 0);
    after.serve('canary', 3, 3);
    const { cursor } = batchIn(await countAt([before.server.url]));

    const [answer] = await countAt([after.server.url], { cursors: { 'error-rate': cursor } });

    expect(answer).toMatchObject({ kind: 'begin', why: 'an instance counts anew' });
  });

  it('is not known of a part of the instances', async () => {
    const { server } = await startInstance();
    const gone = await refusedUrl();

    expect(await countAt([server.url, gone])).toMatchObject([
      { kind: 'problem', problem: { kind: 'error', message: `instance ${gone} refused the connection` } },
      { kind: 'problem' },
    ]);
    expect(await countAt([])).toMatchObject([{ problem: { message: 'the target has no instances' } }, {}]);
  });
});
