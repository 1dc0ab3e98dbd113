import { createPrometheusSource } from '../../src/metrics/prometheus';
import { lookBackOf, readRetention } from '../../src/metrics/prometheus-retention';
import type { Observation } from '../../src/analysis/sample';
import { json, startFakeServer } from './fake-server';
import type { Handler, RecordedRequest } from './fake-server';
import type { MetricPlan } from '../../src/spec/plan-types';
import { AT, ERROR_RATE, P95, requestOf } from './requests';

const HOUR_MS = 3_600_000;

it.each([
  ['15d', 15 * 24 * HOUR_MS],
  ['1h30m', 1.5 * HOUR_MS],
  ['6h or 512MiB', 6 * HOUR_MS],
  ['1y', 365 * 24 * HOUR_MS],
  ['512MiB', null],
  ['', null],
  ['0s', null],
  ['-3h', null],
])('%j keeps samples for %j ms', (text, ms) => {
  expect(readRetention(text)).toBe(ms);
});

it.each([
  ['increase(e[30d])', 30 * 24],
  ['increase(e[1h]) / increase(e[1h30m] offset 2d)', 49.5],
  ['e OFFSET 3h', 3],
  ['max_over_time(rate(e[5m])[6h:1m] @ end() offset 1h)', 7],
  ['rate(e[7200])', 2],
  ['e - e offset -3h', 0],
  ['e{a="[30d]"} # [30d]', 0],
  ["e{a='\\'[30d]'}", 0],
  ['offset_total', 0],
])('%s looks %d hours back', (query, hours) => {
  expect(lookBackOf(query)).toBe(hours * HOUR_MS);
});

describe('a window', () => {
  const vector = (value: string): object => ({
    status: 'success',
    data: { resultType: 'vector', result: [{ metric: {}, value: [AT / 1000, value] }] },
  });

  const empty = { status: 'success', data: { resultType: 'vector', result: [] } };
  const reaches: Handler = (_, response) => json(response, empty);
  const asksForReach = ({ body }: RecordedRequest): boolean => queryIn(body).startsWith('count(up) unless');
  const queryIn = (body: string): string => new URLSearchParams(body).get('query') ?? '';

  async function observe(
    windowMs: number,
    info: Handler,
    metrics: readonly MetricPlan[] = [ERROR_RATE, P95],
    lagMs = 0,
    reach: Handler = reaches,
  ): Promise<{ observed: Observation[]; asked: string[] }> {
    const asked: string[] = [];
    const server = await startFakeServer((request, response) => {
      asked.push(request.path);
      if (request.path.startsWith('/api/v1/status')) return info(request, response);
      if (asksForReach(request)) return reach(request, response);
      json(response, vector('10'));
    });
    const source = createPrometheusSource({ url: server.url, timeoutMs: 10_000 });
    try {
      const sample = await source.sample(requestOf(metrics, { windowMs, lagMs }));
      return { observed: sample.metrics.map(({ canary }) => canary), asked };
    } finally {
      source.close();
      await server.close();
    }
  }
  const keeps =
    (storageRetention: string): Handler =>
    (_, response) =>
      json(response, { status: 'success', data: { storageRetention } });

  it('that is longer than samples are kept is no data of it, where it is asked for', async () => {
    const { observed } = await observe(7 * HOUR_MS, keeps('6h'));

    expect(observed[0]?.problem).toMatchObject({
      kind: 'error',
      message: expect.stringMatching(/^the window of 7h is longer than .* keeps samples \(6h\)/) as string,
    });
    // Asks for no window.
    expect(observed[1]).toMatchObject({ value: 10 });
  });

  it('that ends before the present begins as much earlier', async () => {
    const kept = await observe(5 * HOUR_MS, keeps('6h'), [ERROR_RATE], HOUR_MS);
    const { observed } = await observe(5.5 * HOUR_MS, keeps('6h'), [ERROR_RATE], HOUR_MS);

    expect(kept.observed[0]).toMatchObject({ value: 1 });
    expect(observed[0]?.problem).toMatchObject({
      kind: 'error',
      message: expect.stringMatching(/^the window of 5h30m, with the lag of 1h, is longer than .* \(6h\)/) as string,
    });
  });

  it('is not all that a query looks back over: its own ranges are, too', async () => {
    const own = (expression: string): MetricPlan => ({ ...P95, query: { kind: 'value', expression, requests: null } });
    const kept = await observe(60_000, keeps('15d'), [own('increase(e[15d])')]);
    const { observed } = await observe(60_000, keeps('15d'), [
      own('increase(e[30d])'),
      own('e[{{window}}] offset 15d'),
    ]);

    expect(kept.observed[0]).toMatchObject({ value: 10 });
    expect(observed[0]?.problem).toMatchObject({
      kind: 'error',
      message: expect.stringMatching(
        /^the range of 30d is longer than .* keeps samples \(15d\); shorten the range in the query or let it keep them longer$/,
      ) as string,
    });
    expect(observed[1]?.problem?.kind).toBe('error');
  });

  it('of two hours is there whatever is kept, and nothing is asked for it', async () => {
    const { observed, asked } = await observe(2 * HOUR_MS, keeps('5m'));

    expect(observed[0]).toMatchObject({ value: 1 });
    expect(asked.filter((url) => url.startsWith('/api/v1/status'))).toEqual([]);
  });

  it.each<[string, Handler]>([
    ['that does not say it', (_, response) => response.writeHead(404).end('no')],
    ['that says something else', (_, response) => json(response, { status: 'success', data: [] })],
    ['bounded by size alone', keeps('512MiB')],
    ['that keeps them longer', keeps('8h')],
  ])('is asked for at a server %s', async (_, info) => {
    expect((await observe(7 * HOUR_MS, info)).observed[0]).toMatchObject({ value: 1 });
  });

  describe('at a server that does not say how long it keeps samples', () => {
    const untold: Handler = (_, response) => response.writeHead(404).end('no');
    const own = (expression: string): MetricPlan => ({ ...P95, query: { kind: 'value', expression, requests: null } });

    it.each<[string, Handler]>([
      ['no word of it', untold],
      ['a size alone', keeps('512MiB')],
    ])('is no data of it where the server has none of then, but of now: %s', async (_, info) => {
      const { observed } = await observe(7 * HOUR_MS, info, [ERROR_RATE, P95], 0, (_request, response) =>
        json(response, vector('3')),
      );

      expect(observed[0]?.problem).toMatchObject({
        kind: 'error',
        message: expect.stringMatching(
          /^the window of 7h is longer than Prometheus at \S+ keeps samples \(it has "up" of now, and none of then\); shorten the soak or let it keep them longer$/,
        ) as string,
      });
      // Asks for no window.
      expect(observed[1]).toMatchObject({ value: 10 });
    });

    it.each<[string, Handler]>([
      [
        'has a server that refuses the question',
        (_, response) => json(response, { status: 'error', error: 'no' }, 422),
      ],
      ['has a server that is ill', (_, response) => response.writeHead(503).end('no')],
      ['is told in part', (_, response) => json(response, { ...vector('3'), warnings: ['store 2 is away'] })],
    ])('is judged where nobody can say: %s', async (_, reach) => {
      expect((await observe(7 * HOUR_MS, untold, [ERROR_RATE], 0, reach)).observed[0]).toMatchObject({ value: 1 });
    });

    it('is asked about once, for all looks and questions to which the answer is the same', async () => {
      const asked: string[] = [];
      const server = await startFakeServer((request, response) => {
        if (request.path.startsWith('/api/v1/status')) return untold(request, response);
        if (!asksForReach(request)) return json(response, vector('10'));
        const query = queryIn(request.body);
        asked.push(query);
        return json(response, query.includes('offset 864000s') ? vector('3') : empty);
      });
      const source = createPrometheusSource({ url: server.url, timeoutMs: 10_000 });
      try {
        const metrics = [ERROR_RATE, own('increase(e[10d])')];
        const looks = [0, 5_000, 10_000].map((ms) => ({ at: AT + ms, windowMs: 7 * HOUR_MS + ms }));
        const first = looks.map((look) => source.sample(requestOf(metrics, look)));
        const routing = await source.routed({ ...requestOf([ERROR_RATE]), since: AT - 7 * HOUR_MS });
        const later = await source.sample(requestOf([ERROR_RATE], { at: AT + 60_000, windowMs: 7 * HOUR_MS }));

        expect(routing).toMatchObject({ kind: 'counts' });
        for (const sample of await Promise.all(first)) {
          const [window, range] = sample.metrics;
          expect(window?.canary).toMatchObject({ value: 1 });
          expect(range?.canary.problem?.message).toMatch(/^the range of 10d is longer than/u);
        }
        expect(later.metrics[0]?.canary).toMatchObject({ value: 1 });
        const of = (seconds: number): string[] => asked.filter((query) => query.includes(`offset ${seconds}s`));
        expect(of(7 * 3600)).toHaveLength(1);
        // What is not there at one look may be at the next, which begins later.
        expect(of(864_000)).toHaveLength(3);
        expect(asked).toHaveLength(4);
      } finally {
        source.close();
        await server.close();
      }
    });
  });

  describe('of many looks at one source', () => {
    const routed = { ...requestOf([ERROR_RATE]), since: AT - 7 * HOUR_MS };
    const long = { windowMs: 7 * HOUR_MS };

    it('asks how long samples are kept once, for all looks and for both questions of a look', async () => {
      let asked = 0;
      const server = await startFakeServer(({ path }, response) => {
        if (!path.startsWith('/api/v1/status')) return json(response, vector('10'));
        asked += 1;
        return json(response, { status: 'success', data: { storageRetention: '6h' } });
      });
      const source = createPrometheusSource({ url: server.url, timeoutMs: 10_000 });
      try {
        const [sample, routing] = await Promise.all([
          source.sample(requestOf([ERROR_RATE], long)),
          source.routed(routed),
        ]);
        const later = await source.sample(requestOf([ERROR_RATE], { ...long, at: AT + 5_000 }));

        const beyond = expect.stringContaining('keeps samples (6h)') as string;
        expect(routing).toMatchObject({ kind: 'error', message: beyond });
        for (const { metrics } of [sample, later])
          expect(metrics[0]?.canary.problem).toMatchObject({ message: beyond });
        expect(asked).toBe(1);
      } finally {
        source.close();
        await server.close();
      }
    });

    it('asks again after a failure, and for whom another gave up', async () => {
      let asked = 0;
      const arrived: (() => void)[] = [];
      const first = new Promise<void>((resolve) => arrived.push(resolve));
      const server = await startFakeServer(({ path }, response) => {
        if (!path.startsWith('/api/v1/status')) return json(response, vector('10'));
        asked += 1;
        if (asked === 1) return arrived[0]?.();
        if (asked === 2) return json(response, {}, 503);
        return json(response, { status: 'success', data: { storageRetention: '6h' } });
      });
      const source = createPrometheusSource({ url: server.url, timeoutMs: 10_000 });
      try {
        const givesUp = new AbortController();
        const given = source.sample(requestOf([ERROR_RATE], { ...long, signal: givesUp.signal }));
        const waits = source.routed(routed);
        await first;
        givesUp.abort();

        // Neither the one that was given up nor the server at its start told anything.
        expect((await given).metrics[0]?.canary.problem?.message).not.toContain('keeps samples');
        expect(await waits).toMatchObject({ kind: 'counts' });
        expect(await source.routed(routed)).toMatchObject({ message: expect.stringContaining('6h') as string });
        expect(asked).toBe(3);
      } finally {
        source.close();
        await server.close();
      }
    });
  });
});
