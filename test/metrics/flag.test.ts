import type { Counted, CountCursor } from '../../src/analysis/counts';
import { FlagServiceClient, MemoryFlagStore } from '../../src/flags';
import { startFlagsServer } from '../../src/flags/server/flags-server';
import type { FlagsServer } from '../../src/flags/server/flags-server';
import { createMetricSource } from '../../src/metrics/create-source';
import { createFlagSource } from '../../src/metrics/flag';
import type { ClosableMetricSource, CountRequest } from '../../src/metrics/metric-source';
import type { MetricPlan } from '../../src/spec/plan-types';
import { silentLogger } from '../flags/support';
import { FLAG_PLAN } from '../targets/flag-plan';
import { json, refusedUrl, startFakeServer } from './fake-server';
import { AT, ERROR_RATE, metricOf, requestOf } from './requests';

const ERRORS = metricOf({ kind: 'builtin', metric: 'error-rate' }, { counters: { kind: 'builtin', metric: 'errors' } });
const P95 = metricOf(
  { kind: 'builtin', metric: 'latency', quantile: 0.95 },
  { name: 'p95-latency', unit: 'seconds', max: 1, counters: { kind: 'builtin', metric: 'latency' } },
);
const REQUESTS = metricOf({ kind: 'builtin', metric: 'requests' }, { name: 'requests', unit: 'count', max: null });

const servers: FlagsServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function start() {
  const server = await startFlagsServer({ store: new MemoryFlagStore(), access: {}, logger: silentLogger });
  servers.push(server);
  const service = new FlagServiceClient({ url: server.url });
  await service.create({ name: 'new-till', enabled: true, rollout_percentage: 5 });
  const source = createMetricSource({ kind: 'flag' }, FLAG_PLAN, { FLAGS_URL: server.url });
  const post = async (variant: 'on' | 'off', total: number, failed: number, latencyMs?: number): Promise<void> => {
    const latency = latencyMs === undefined ? {} : { latency_ms: latencyMs };
    const outcomes = Array.from({ length: total }, (_, at) => ({ variant, ok: at >= failed, ...latency }));
    await service.postOutcomes('new-till', { outcomes });
  };
  return { server, service, source, post };
}

function countRequest(changes: Partial<CountRequest> = {}): CountRequest {
  const { windowMs: _, ...request } = requestOf([ERRORS, P95]);
  return { ...request, since: AT - 10_000, cursors: {}, ...changes };
}

/** The cursors of an answer, as the next look is given them. */
function cursorsOf(counted: readonly Counted[]): Record<string, CountCursor> {
  return Object.fromEntries(counted.flatMap((each) => (each.kind === 'problem' ? [] : [[each.name, each.cursor]])));
}

describe('outcomes of a flag as a metric source', () => {
  it('tells the window of both sides', async () => {
    const { source, post, server } = await start();
    await post('on', 40, 10, 200);
    await post('off', 100, 1, 20);

    const sample = await source.sample(requestOf([ERRORS, P95, REQUESTS]));

    const [errors, p95, requests] = sample.metrics;
    expect(sample.windowMs).toBe(60_000);
    expect(errors?.canary).toMatchObject({ value: 0.25, events: { bad: 10, total: 40 } });
    expect(errors?.stable).toMatchObject({ value: 0.01, events: { bad: 1, total: 100 } });
    expect(p95?.canary.requests).toBe(40);
    expect(p95?.canary.value).toBeCloseTo(0.1975, 6);
    expect([requests?.canary.value, requests?.stable?.value]).toEqual([40, 100]);
    expect(errors?.canary.query).toBe(
      `GET /api/feature-flags/new-till/outcomes?environment=production&window=60 at ${server.url}: error-rate, enabled`,
    );
  });

  it('asks for no more than the service keeps', async () => {
    const { source } = await start();

    expect((await source.sample(requestOf([ERRORS], { windowMs: 3_600_000 }))).windowMs).toBe(300_000);
    expect((await source.sample(requestOf([ERRORS], { windowMs: 1_999 }))).windowMs).toBe(1_000);
  });

  it('has no data without outcomes, and no latency where none was told', async () => {
    const { source, post } = await start();
    await post('on', 30, 0);

    const [errors, p95] = (await source.sample(requestOf([ERRORS, P95]))).metrics;

    expect(errors?.stable).toMatchObject({ value: null, problem: { kind: 'no-data' } });
    expect(p95?.canary).toMatchObject({
      value: null,
      requests: 0,
      problem: { kind: 'no-data', message: 'no latency was recorded in the window' },
    });
  });

  it('counts whole disjoint batches of both sides from the first look on', async () => {
    const { source, post } = await start();
    const none = await source.count(countRequest());
    await post('on', 5, 5, 200);

    const first = await source.count(countRequest());
    await post('on', 3, 1, 200);
    await post('off', 9, 0, 20);
    const second = await source.count(countRequest({ cursors: cursorsOf(first) }));
    const third = await source.count(countRequest({ cursors: cursorsOf(second) }));

    expect(none[0]).toMatchObject({
      kind: 'problem',
      problem: { kind: 'no-data', message: 'no outcomes came in yet' },
    });
    expect(first).toMatchObject([{ kind: 'begin' }, { kind: 'begin' }]);
    expect(second[0]).toMatchObject({ kind: 'batch', canary: { bad: 1, total: 3 }, stable: { bad: 0, total: 9 } });
    const [, latency] = second;
    if (latency?.kind !== 'batch' || !('cumulative' in latency.canary)) throw new Error('no batch of latencies');
    expect(latency.boundaries?.slice(0, 3)).toEqual([0.001, 0.0025, 0.005]);
    expect(latency.canary.cumulative).toHaveLength((latency.boundaries?.length ?? 0) + 1);
    expect(latency.canary.cumulative.at(-1)).toBe(3);
    expect(third[0]).toMatchObject({ kind: 'batch', canary: { bad: 0, total: 0 }, stable: { bad: 0, total: 0 } });
  });

  it('begins a moment after the percentage has changed, for what comes at once is of before', async () => {
    const { source, post } = await start();
    await post('on', 5, 5);

    const early = await source.count(countRequest({ since: AT - 1_999 }));
    const later = await source.count(countRequest({ since: AT - 2_000 }));

    expect(early[0]).toMatchObject({
      kind: 'problem',
      problem: { kind: 'no-data', message: 'the percentage has only just changed' },
    });
    expect(later[0]?.kind).toBe('begin');
  });

  it('begins anew where other counters answer', async () => {
    const { source, post, service } = await start();
    await post('on', 5, 5);
    const first = await source.count(countRequest());

    await service.delete('new-till');
    await service.create({ name: 'new-till', enabled: true, rollout_percentage: 5 });
    await post('on', 50, 50);
    const second = await source.count(countRequest({ cursors: cursorsOf(first) }));
    await post('on', 2, 0);
    const third = await source.count(countRequest({ cursors: cursorsOf(second) }));

    expect(second[0]).toMatchObject({ kind: 'begin', why: 'the outcomes are counted anew' });
    expect(third[0]).toMatchObject({ kind: 'batch', canary: { bad: 0, total: 2 } });
  });

  it('begins anew where the same counters have less in them: a store that lost its last writes', async () => {
    const { source, post } = await start();
    await post('on', 5, 5);
    const [first] = await source.count(countRequest());
    if (first?.kind !== 'begin' || first.cursor.kind !== 'reading') throw new Error('no beginning');
    const more: CountCursor = { ...first.cursor, canary: { bad: 5, total: 6 } };

    const [second] = await source.count(countRequest({ cursors: { 'error-rate': more } }));

    expect(second).toMatchObject({ kind: 'begin', why: 'the outcomes are counted anew' });
  });

  it('says that it answers no PromQL', async () => {
    const { source, post } = await start();
    await post('on', 5, 5);
    const own: MetricPlan = { ...ERROR_RATE, counters: { kind: 'events', bad: 'b', total: 't' } };

    expect((await source.sample(requestOf([own]))).metrics[0]?.canary.problem?.kind).toBe('error');
    expect((await source.count(countRequest({ metrics: [own] })))[0]).toMatchObject({ problem: { kind: 'error' } });
  });
});

describe('a flag service that is away, refuses or makes no sense', () => {
  const open = (url: string): ClosableMetricSource =>
    createFlagSource({ url, flag: 'new-till', environment: 'production', timeoutMs: 500 });

  async function problems(source: ClosableMetricSource): Promise<unknown[]> {
    const [metric] = (await source.sample(requestOf([ERRORS]))).metrics;
    const [counted] = await source.count(countRequest({ metrics: [ERRORS] }));
    source.close();
    return [metric?.canary, metric?.stable, counted];
  }
  const error = (message: unknown) => expect.objectContaining({ problem: { kind: 'error', message } });

  it('is an error of the source, in both tracks', async () => {
    const message = expect.stringMatching(/^The flag service at http:\/\/127.0.0.1:\d+\/api does not answer: /);

    expect(await problems(open(await refusedUrl()))).toEqual([error(message), error(message), error(message)]);
  });

  it('is an error when it is not there, or its store is away', async () => {
    const { server } = await start();
    const gone = createFlagSource({ url: server.url, flag: 'gone', environment: 'production' });
    const fake = await startFakeServer((_request, response) =>
      json(response, { code: 'store-unavailable', detail: 'Redis did not answer within 2000 ms.' }, 503),
    );
    const odd = await startFakeServer((_request, response) => json(response, { enabled: 5 }));

    expect(await problems(gone)).toContainEqual(error('There is no flag gone'));
    expect(await problems(open(fake.url))).toContainEqual(error('Redis did not answer within 2000 ms'));
    expect(await problems(open(odd.url))).toContainEqual(error(expect.stringContaining('is not the flag service')));
    await fake.close();
    await odd.close();
  });

  it('is no setting that is wrong, but an address that is none is one', () => {
    expect(() => createMetricSource({ kind: 'flag' }, FLAG_PLAN, { FLAGS_URL: 'flags' })).toThrow(
      "The environment variable FLAGS_URL, which should hold the flag service's address, is no address.",
    );
    const router = {
      kind: 'router',
      instances: ['http://127.0.0.1:1'],
      tokenEnv: 'T',
      overrideSecretEnv: 'S',
    } as const;
    expect(() => createMetricSource({ kind: 'flag' }, router, {})).toThrow(
      expect.objectContaining({ code: 'unsupported' }) as Error,
    );
  });
});
