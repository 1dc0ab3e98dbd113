import type { Counted } from '../../src/analysis/counts';
import type { Observation, Sample } from '../../src/analysis/sample';
import { createPrometheusSource } from '../../src/metrics/prometheus';
import type { PrometheusOptions } from '../../src/metrics/prometheus-request';
import type { CountRequest, Routed, SampleRequest } from '../../src/metrics/metric-source';
import { json, refusedUrl, startFakeServer, type FakeServer, type Handler } from './fake-server';
import { AT, ERROR_RATE, metricOf, P95, requestOf } from './requests';

const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function serve(handler: Handler): Promise<FakeServer> {
  const server = await startFakeServer(handler);
  cleanups.push(() => server.close());
  return server;
}

async function sampleAt(
  url: string,
  request: SampleRequest,
  options: Partial<PrometheusOptions> = {},
): Promise<Sample> {
  const source = createPrometheusSource({ url, timeoutMs: 10_000, ...options });
  cleanups.push(() => source.close());
  return source.sample(request);
}

async function observe(
  handler: Handler,
  metric = ERROR_RATE,
  options: Partial<PrometheusOptions> = {},
): Promise<Observation> {
  const server = await serve(handler);
  const { metrics } = await sampleAt(server.url, requestOf([metric]), options);
  const observation = metrics[0]?.canary;
  if (observation === undefined) throw new Error('no observation');
  return observation;
}

function vector(...values: string[]): object {
  const result = values.map((value, index) => ({ metric: { index: String(index) }, value: [AT / 1000, value] }));
  return { status: 'success', data: { resultType: 'vector', result } };
}

function scalar(value: string): unknown {
  return { status: 'success', data: { resultType: 'scalar', result: [AT / 1000, value] } };
}

/** Answers by the beginning of the query. */
function answering(answers: Readonly<Record<string, unknown>>): Handler {
  return (request, response) => {
    const query = new URLSearchParams(request.body).get('query') ?? '';
    const [, answer] = Object.entries(answers).find(([start]) => query.startsWith(start)) ?? [];
    json(response, answer ?? vector());
  };
}

describe('what is asked', () => {
  it('posts the resolved queries as of the time asked for, with its own patience', async () => {
    const server = await serve((_request, response) => json(response, vector('100')));

    const sample = await sampleAt(`${server.url}/prefix/`, requestOf([ERROR_RATE]), { token: 'secret' });

    const sent = server.requests.map(({ body }) => new URLSearchParams(body));
    expect(sent.map((form) => form.get('query')).sort()).toEqual([
      'sum(increase(errors{service="checkout",track="canary"}[60s]))',
      'sum(increase(errors{service="checkout",track="stable"}[60s]))',
      'sum(increase(requests{service="checkout",track="canary"}[60s]))',
      'sum(increase(requests{service="checkout",track="stable"}[60s]))',
    ]);
    expect(sent[0]?.get('time')).toBe('1700000000.000');
    expect(sent[0]?.get('timeout')).toBe('10s');
    expect(server.requests[0]).toMatchObject({
      method: 'POST',
      path: '/prefix/api/v1/query',
      headers: { authorization: 'Bearer secret', 'content-type': 'application/x-www-form-urlencoded;charset=utf-8' },
    });
    expect(sample).toMatchObject({ at: AT, windowMs: 60_000 });
    expect(JSON.stringify(sample)).not.toContain('secret');
  });

  it('asks for the tracks by the names that the release calls them', async () => {
    const server = await serve((_request, response) => json(response, vector('100')));
    const tracks = { canary: 'green', stable: 'blue' };

    await sampleAt(server.url, { ...requestOf([ERROR_RATE]), tracks });

    const asked = server.requests.map(({ body }) => new URLSearchParams(body).get('query') ?? '');
    expect(asked.filter((query) => query.includes('track="green"'))).toHaveLength(2);
    expect(asked.filter((query) => query.includes('track="blue"'))).toHaveLength(2);
  });

  it('asks at most four at once', async () => {
    let open = 0;
    let most = 0;
    const waiting: (() => void)[] = [];
    const server = await serve((_request, response) => {
      open += 1;
      most = Math.max(most, open);
      waiting.push(() => {
        open -= 1;
        json(response, vector('1'));
      });
      // Lets go of them only when no more can be on their way.
      if (open === 4 || server.requests.length > 8) waiting.splice(0).forEach((answer) => answer());
    });
    const metrics = [1, 2, 3].map((index) => ({ ...ERROR_RATE, name: `m${index}` }));

    const sample = await sampleAt(server.url, requestOf(metrics));

    expect(sample.metrics).toHaveLength(3);
    expect(server.requests).toHaveLength(12);
    expect(most).toBe(4);
  });
});

describe('event metrics', () => {
  it.each<[string, Readonly<Record<string, unknown>>, Partial<Observation>]>([
    [
      'bad of all',
      { 'sum(increase(errors': vector('7'), 'sum(increase(requests': vector('112') },
      { value: 0.0625, events: { bad: 7, total: 112 } },
    ],
    [
      'no series of errors: none happened',
      { 'sum(increase(requests': vector('112') },
      { value: 0, events: { bad: 0, total: 112 } },
    ],
    [
      'scalars',
      { 'sum(increase(errors': scalar('0'), 'sum(increase(requests': scalar('2.5') },
      { value: 0, events: { bad: 0, total: 2.5 } },
    ],
    [
      'no series of requests',
      {},
      { value: null, problem: { kind: 'no-data', message: 'the denominator matched no series' } },
    ],
    [
      'errors without requests',
      { 'sum(increase(errors': vector('7') },
      { value: null, problem: { kind: 'no-data', message: 'the denominator matched no series' } },
    ],
    [
      'no requests',
      { 'sum(increase(requests': vector('0') },
      {
        value: null,
        events: { bad: 0, total: 0 },
        problem: { kind: 'no-data', message: 'there were no requests in the window' },
      },
    ],
    [
      'NaN requests',
      { 'sum(increase(requests': vector('NaN') },
      { value: null, problem: { kind: 'no-data', message: 'the denominator answered NaN, which is no number' } },
    ],
    [
      'infinitely many errors',
      { 'sum(increase(errors': vector('+Inf'), 'sum(increase(requests': vector('112') },
      { value: null, problem: { kind: 'no-data', message: 'the numerator answered +Inf, which is no number' } },
    ],
    [
      'fewer than none',
      { 'sum(increase(errors': vector('-1'), 'sum(increase(requests': vector('112') },
      { value: null, problem: { kind: 'error', message: 'the query counted fewer than no requests' } },
    ],
  ])('%s', async (_name, answers, expected) => {
    const observation = await observe(answering(answers));

    expect(observation).toEqual({
      query:
        '(sum(increase(errors{service="checkout",track="canary"}[60s]))) / (sum(increase(requests{service="checkout",track="canary"}[60s])))',
      ...expected,
    });
  });
});

describe('value metrics', () => {
  it.each<[string, Readonly<Record<string, unknown>>, Partial<Observation>]>([
    ['a value with its requests', { p95: vector('0.31'), requests: vector('200') }, { value: 0.31, requests: 200 }],
    [
      'exponents and small numbers',
      { p95: vector('1.2e-05'), requests: vector('200') },
      { value: 0.000012, requests: 200 },
    ],
    [
      'NaN for lack of requests',
      { p95: vector('NaN'), requests: vector('0') },
      { value: null, requests: 0, problem: { kind: 'no-data', message: 'the query answered NaN, which is no number' } },
    ],
    ['nothing', {}, { value: null, requests: 0, problem: { kind: 'no-data', message: 'the query matched no series' } }],
    ['a value without a series of requests', { p95: vector('0.31') }, { value: 0.31, requests: 0 }],
    [
      'requests that are no number',
      { p95: vector('0.31'), requests: vector('NaN') },
      { value: null, problem: { kind: 'no-data', message: 'the query for requests answered NaN, which is no number' } },
    ],
  ])('%s', async (_name, answers, expected) => {
    expect(await observe(answering(answers), P95)).toEqual({ query: 'p95{track="canary"}', ...expected });
  });

  it('may do without a query for requests', async () => {
    const metric = metricOf({ kind: 'value', expression: 'queue', requests: null }, { unit: 'count' });

    expect(await observe(answering({ queue: vector('3') }), metric)).toEqual({ query: 'queue', value: 3 });
  });
});

describe('a Prometheus that cannot be used', () => {
  const at = (clause: string): RegExp => new RegExp(`^Prometheus at http://127\\.0\\.0\\.1:\\d+ ${clause}$`);

  it.each<[string, Handler, RegExp | string, Partial<PrometheusOptions>?]>([
    ['500', (_q, r) => void r.writeHead(500).end(), at('answered 500')],
    [
      'HTML',
      (_q, r) => void r.writeHead(200, { 'Content-Type': 'text/html' }).end('<html>login</html>'),
      at('answered HTML instead of JSON'),
    ],
    [
      'a login page with 401',
      (_q, r) => void r.writeHead(401, { 'Content-Type': 'text/html' }).end('<html>login</html>'),
      at('answered 401'),
    ],
    ['nothing', (_q, r) => void r.writeHead(200).end(), at('answered nothing instead of JSON')],
    [
      'truncated JSON',
      (_q, r) => void r.writeHead(200).end('{"status":"success","data":{"resultTyp'),
      at('answered incomplete JSON instead of JSON'),
    ],
    ['another API', (_q, r) => json(r, { ok: true }), at('answered JSON that is not a query result of Prometheus')],
    [
      'a redirect',
      (_q, r) => void r.writeHead(301, { Location: '/elsewhere' }).end(),
      at('answered with a redirect \\(301\\), which is not followed'),
    ],
    ['too much', (_q, r) => void r.end('x'.repeat(9_000_000)), at('answered more than 8 MiB')],
    ['a broken connection', (_q, r) => void r.destroy(), at('broke the connection before the answer was complete')],
    ['never', () => undefined, at('timed out after 50 ms'), { timeoutMs: 50 }],
    [
      'a refusal',
      (_q, r) => json(r, { status: 'error', errorType: 'bad_data', error: '1:5: parse error: unexpected\n"}"' }, 400),
      'Prometheus refused the query (bad_data): 1:5: parse error: unexpected "}"',
    ],
    [
      'its own timeout',
      (_q, r) => json(r, { status: 'error', errorType: 'timeout', error: 'query timed out' }, 503),
      'Prometheus refused the query (timeout): query timed out',
    ],
    [
      'several series',
      (_q, r) => json(r, vector('1', '2', '3')),
      'the query answered 3 series instead of one; aggregate them with sum()',
    ],
    [
      'a range',
      (_q, r) => json(r, { status: 'success', data: { resultType: 'matrix', result: [] } }),
      'the query answered a matrix instead of one number',
    ],
    [
      'a text',
      (_q, r) => json(r, { status: 'success', data: { resultType: 'string', result: [1, 'x'] } }),
      'the query answered a string instead of one number',
    ],
    [
      'a native histogram',
      (_q, r) =>
        json(r, { status: 'success', data: { resultType: 'vector', result: [{ metric: {}, histogram: [1, {}] }] } }),
      'the query answered a native histogram; take a number of it',
    ],
    [
      'in part',
      (_q, r) => json(r, { ...vector('0'), warnings: ['remote read: store 2 is away'] }),
      'Prometheus answered with a warning, so perhaps in part: remote read: store 2 is away',
    ],
    [
      'with a clock that is ahead',
      (_q, r) => {
        r.setHeader('Date', new Date(Date.now() + 60_000).toUTCString());
        json(r, vector('0'));
      },
      at('has a clock that is at least (58|59|60) s ahead of this one; set both clocks right'),
    ],
    [
      'with a clock that is less than an interval ahead',
      (_q, r) => {
        r.setHeader('Date', new Date(Date.now() + 5_000).toUTCString());
        json(r, vector('0'));
      },
      at('has a clock that is at least [2-5] s ahead of this one; set both clocks right'),
    ],
    [
      'with a clock that is behind',
      (_q, r) => {
        r.setHeader('Date', new Date(Date.now() - 3_600_000).toUTCString());
        json(r, vector('0'));
      },
      at('has a clock that is at least 3(598|599|600) s behind this one; set both clocks right'),
    ],
    [
      'with a clock that is less than an interval behind',
      (_q, r) => {
        r.setHeader('Date', new Date(Date.now() - 5_000).toUTCString());
        json(r, vector('0'));
      },
      at('has a clock that is at least [2-5] s behind this one; set both clocks right'),
    ],
    [
      'nothing, in part: not that there were no errors',
      ({ body }, r) =>
        json(r, body.includes('errors') ? { ...vector(), warnings: ['store 2 is away'] } : vector('112')),
      'Prometheus answered with a warning, so perhaps in part: store 2 is away',
    ],
  ])('answers %s', async (_name, handler, message, options = {}) => {
    const observation = await observe(handler, ERROR_RATE, options);

    expect(observation.value).toBeNull();
    expect(observation.problem?.kind).toBe('error');
    expect(observation.problem?.message).toEqual(
      typeof message === 'string' ? message : expect.stringMatching(message),
    );
    expect(observation.query).toContain('track="canary"');
  });

  it.each([2_000, -2_000])('with a clock that is off by no more than can be told (%d ms)', async (ms) => {
    const handler: Handler = (_request, response) => {
      response.setHeader('Date', new Date(Date.now() + ms).toUTCString());
      json(response, vector('3'));
    };

    expect(await observe(handler, P95)).toMatchObject({ value: 3 });
  });

  it.each([
    ['at its end', 30_000],
    ['at its beginning', 0],
  ])('with a moment of a long wait: %s', async (_when, dateMs) => {
    let waitedMs = 0;
    const now = Date.now.bind(Date);
    const clock = jest.spyOn(Date, 'now').mockImplementation(() => now() + waitedMs);
    cleanups.push(() => clock.mockRestore());
    // The question is on its way for half a minute, or this process stands still before it reads the answer.
    const handler: Handler = (_request, response) => {
      waitedMs += 30_000;
      response.setHeader('Date', new Date(Date.now() - 30_000 + dateMs).toUTCString());
      json(response, vector('3'));
    };

    expect(await observe(handler, metricOf({ kind: 'value', expression: 'x', requests: null }))).toMatchObject({
      value: 3,
    });
  });

  it('may remark on the style of a query', async () => {
    const infos = ['PromQL info: metric might not be a counter'];
    const handler: Handler = (_request, response) => json(response, { ...vector('3'), infos });

    expect(await observe(handler, P95)).toMatchObject({ value: 3 });
  });

  it('does not answer at all', async () => {
    const { metrics } = await sampleAt(await refusedUrl(), requestOf([P95]));

    expect(metrics[0]?.canary.problem).toEqual({
      kind: 'error',
      message: expect.stringMatching(at('refused the connection')) as string,
    });
  });

  it('breaks for one metric only', async () => {
    const server = await serve(
      answering({
        p95: { status: 'error', error: 'no' },
        'sum(increase(requests': vector('10'),
        requests: vector('10'),
      }),
    );

    const { metrics } = await sampleAt(server.url, requestOf([P95, ERROR_RATE]));

    expect(metrics.map(({ canary }) => canary.problem?.kind ?? canary.value)).toEqual(['error', 0]);
  });

  it('is not shown with its password', async () => {
    const url = (await refusedUrl()).replace('http://', 'http://user:hunter2@');

    expect(JSON.stringify(await sampleAt(url, requestOf([P95])))).not.toContain('hunter2');
  });
});

describe('a query that cannot be asked', () => {
  it.each([
    [
      'an unknown placeholder',
      metricOf({ kind: 'value', expression: 'x{a="{{nonsense}}"}', requests: null }),
      /template/,
    ],
    ['a metric of the router', metricOf({ kind: 'builtin', metric: 'error-rate' }), /in-app router/],
  ])('%s', async (_name, metric, message) => {
    const server = await serve((_request, response) => json(response, vector('1')));

    const { metrics } = await sampleAt(server.url, requestOf([metric]));

    expect(metrics[0]?.canary.problem).toEqual({ kind: 'error', message: expect.stringMatching(message) as string });
    expect(server.requests).toEqual([]);
  });
});

describe("a clock of Temporal's that is not Prometheus' own", () => {
  const COUNTED = metricOf(ERROR_RATE.query, {
    counters: { kind: 'events', bad: 'errors{track="{{track}}"}', total: 'requests{track="{{track}}"}' },
  });

  /** What is said of the sample, the routing and the counts by a Prometheus whose clock goes as ours does. */
  async function said(present: number | undefined): Promise<(string | undefined)[]> {
    const server = await serve((_request, response) => json(response, vector('5')));
    const source = createPrometheusSource({ url: server.url, timeoutMs: 10_000 });
    cleanups.push(() => source.close());
    const request = requestOf([COUNTED], present === undefined ? {} : { present });
    const since = AT - 40_000;
    const [sample, routed, [counted]] = await Promise.all([
      source.sample(request),
      source.routed({ ...request, since }),
      source.count({ ...request, since, cursors: {} }),
    ]);
    return [
      sample.metrics[0]?.canary.problem?.message,
      routed.kind === 'counts' ? undefined : routed.message,
      counted?.kind === 'problem' ? counted.problem.message : undefined,
    ];
  }

  it.each([
    [60_000, /has a clock that is at least (58|59|60) s behind Temporal's; set both clocks right/],
    [5_000, /has a clock that is at least [2-5] s behind Temporal's; set both clocks right/],
  ])('and %d ms ahead of it is an error: the looks would lie after now', async (ms, clause) => {
    for (const message of await said(Date.now() + ms)) expect(message).toMatch(clause);
  });

  it.each([
    ['that says less, as after a wait for a worker', () => Date.now() - 60_000],
    ['that is ahead by no more than can be told', () => Date.now() + 2_000],
    ['of which nothing is said, as of the past', () => undefined],
  ])('is of no account %s', async (_what, present) => {
    for (const message of await said(present())) expect(message ?? '').not.toContain('clock');
  });

  it('is for those to compare who know it after the answer: what the server said is told, of each question', async () => {
    const date = Math.floor(Date.now() / 1000) * 1000;
    const server = await serve((_request, response) => {
      response.setHeader('Date', new Date(date).toUTCString());
      json(response, vector('5'));
    });
    const source = createPrometheusSource({ url: server.url, timeoutMs: 10_000 });
    cleanups.push(() => source.close());
    const told: Record<string, Set<number>> = { sample: new Set(), routed: new Set(), count: new Set() };
    const of = (what: string): SampleRequest => ({
      ...requestOf([COUNTED]),
      onClock: (ms) => void told[what]?.add(ms),
    });

    await source.sample(of('sample'));
    await source.routed({ ...of('routed'), since: AT - 40_000 });
    await source.count({ ...of('count'), since: AT - 40_000, cursors: {} });

    expect(told).toEqual({ sample: new Set([date]), routed: new Set([date]), count: new Set([date]) });
  });
});

describe('what was routed since the weight changed', () => {
  const routed = async (
    handler: Handler,
    metrics = [P95, ERROR_RATE],
  ): Promise<{ server: FakeServer; routed: Routed }> => {
    const server = await serve(handler);
    const source = createPrometheusSource({ url: server.url, timeoutMs: 10_000 });
    cleanups.push(() => source.close());
    return { server, routed: await source.routed({ ...requestOf(metrics), since: AT - 40_000 }) };
  };

  it('is the requests of each track in one window that begins with the weight', async () => {
    const { server, routed: answer } = await routed((request, response) => {
      const canary = (new URLSearchParams(request.body).get('query') ?? '').includes('canary');
      json(response, vector(canary ? '70.5' : '930'));
    });

    expect(answer).toMatchObject({ kind: 'counts', canary: 70.5, stable: 930, unit: 'request', cluster: 2 });
    const asked = server.requests.map(({ body }) => new URLSearchParams(body).get('query') ?? '');
    expect(asked).toHaveLength(2);
    for (const query of asked) expect(query).toMatch(/^sum\(increase\(.*\[40s\]\)\)$/);
  });

  it.each<[string, unknown, Partial<Routed>]>([
    ['no data while a track has no series', vector(), { kind: 'no-data' }],
    ['an error when the backend says one', { status: 'error', error: 'too many samples' }, { kind: 'error' }],
  ])('is %s', async (_, document, expected) => {
    const { routed: answer } = await routed((_request, response) => json(response, document));

    expect(answer).toMatchObject(expected);
  });

  it('is not known where no metric counts its requests', async () => {
    const bare = metricOf({ kind: 'value', expression: 'p95', requests: null });
    const { routed: answer } = await routed((_request, response) => json(response, vector('1')), [bare]);

    expect(answer).toMatchObject({ kind: 'no-data', message: 'no metric counts its requests over {{window}}' });
  });
});

describe('what is counted by a Prometheus', () => {
  const COUNTED = metricOf(ERROR_RATE.query, {
    counters: { kind: 'events', bad: 'errors{track="{{track}}"}', total: 'requests{track="{{track}}"}' },
  });

  type Values = Readonly<Record<string, readonly (readonly [from: string | null, to: string | null])[]>>;

  /** A range of two moments for each query, the targets numbered. */
  const ranging =
    (values: Values): Handler =>
    ({ path, body }, response) => {
      const form = new URLSearchParams(body);
      const [start, end] = [Number(form.get('start')), Number(form.get('end'))];
      const series = values[form.get('query') ?? ''] ?? [];
      if (!path.endsWith('/query_range')) return void response.writeHead(404).end();
      json(response, {
        status: 'success',
        data: {
          resultType: 'matrix',
          result: series.map(([from, to], index) => ({
            metric: { job: 'app', instance: String(index) },
            values: [...(from === null ? [] : [[start, from]]), ...(to === null ? [] : [[end, to]])],
          })),
        },
      });
    };

  async function countOf(handler: Handler, more: Partial<CountRequest> = {}): Promise<Counted> {
    const server = await startFakeServer(handler);
    const source = createPrometheusSource({ url: server.url, timeoutMs: 2_000 });
    try {
      const cursors = { 'error-rate': { kind: 'time', at: AT - 15_000 } } as const;
      const [answer] = await source.count({ ...requestOf([COUNTED]), since: AT - 60_000, cursors, ...more });
      if (answer === undefined) throw new Error('There is one metric.');
      return answer;
    } finally {
      source.close();
      await server.close();
    }
  }

  const healthy: Values = {
    'requests{track="canary"}': [['100', '150']],
    'requests{track="stable"}': [
      ['1000', '1450'],
      ['2000', '2500'],
    ],
    'errors{track="stable"}': [['1', '4']],
  };

  it('is the growth of both tracks since the last batch, in one question a query', async () => {
    expect(await countOf(ranging(healthy))).toEqual({
      name: 'error-rate',
      kind: 'batch',
      query:
        '(errors{track="canary"}) of (requests{track="canary"}) against (errors{track="stable"}) of (requests{track="stable"})',
      asked: { from: AT - 15_000, to: AT },
      canary: { bad: 0, total: 50 },
      stable: { bad: 3, total: 950 },
      spreads: [{ chiSquared: expect.closeTo(3.3439, 3) as number, degrees: 1 }],
      dropped: [],
      cursor: { kind: 'time', at: AT, told: { canary: 150, stable: 3950 } },
    });
  });

  it.each<[string, { canary: number; stable: number }, string | null]>([
    ['all that it had', { canary: 100, stable: 3000 }, null],
    ['what a scrape was on its way with', { canary: 98, stable: 2960 }, null],
    ['without most of the canary', { canary: 55, stable: 3000 }, 'the canary'],
    ['without some of stable', { canary: 100, stable: 2900 }, 'stable'],
    ['without some of both', { canary: 90, stable: 2900 }, 'both tracks'],
    // A target that was there then has started anew since: its counters at that moment are what they were.
    ['all that it had, before a restart', { canary: 100, stable: 9000 }, null],
  ])('tells of samples that came after the last look, which was told %s', async (_, told, whose) => {
    const cursors = { 'error-rate': { kind: 'time', at: AT - 15_000, told } } as const;
    const answer = await countOf(ranging(healthy), { cursors });

    expect(answer).toMatchObject({
      kind: 'batch',
      canary: { bad: 0, total: 50 },
      dropped:
        whose === null
          ? []
          : [
              `requests of ${whose} from before ${new Date(AT - 15_000).toISOString()} were not there yet when they were asked for, and are in no batch: samples come late, and analysis.lag is to say how late at most`,
            ],
    });
  });

  it('begins where both tracks were first seen under the weight, also with counters that have only just appeared', async () => {
    const begun = { kind: 'begin', cursor: { kind: 'time', at: AT } };
    const appeared = { ...healthy, 'requests{track="canary"}': [[null, '3']] as const };

    expect(await countOf(ranging(healthy), { cursors: {} })).toMatchObject(begun);
    expect(await countOf(ranging(appeared), { cursors: {} })).toMatchObject(begun);
    expect(await countOf(ranging(appeared))).toMatchObject(begun);
    const silent = { ...healthy, 'requests{track="canary"}': [['100', '100']] as const };
    expect(await countOf(ranging(silent), { cursors: {} })).toMatchObject({
      kind: 'problem',
      problem: {
        kind: 'no-data',
        message: 'not both tracks have been seen to have requests since the weight changed',
      },
    });
    // Within a weight a batch without requests of the canary is one: it is kept open.
    expect(await countOf(ranging(silent))).toMatchObject({ kind: 'batch', canary: { bad: 0, total: 0 } });
  });

  it('begins anew where a sum over all targets has fallen, and is not held open', async () => {
    // Two processes were summed, and one is gone.
    const handler: Handler = (request, response) => {
      const form = new URLSearchParams(request.body);
      if (form.get('query') !== 'requests{track="stable"}') {
        return ranging({ 'requests{track="canary"}': [['100', '150']] })(request, response);
      }
      const values = [
        [Number(form.get('start')), '3000'],
        [Number(form.get('end')), '1600'],
      ];
      json(response, { status: 'success', data: { resultType: 'matrix', result: [{ metric: {}, values }] } });
    };

    expect(await countOf(handler)).toMatchObject({
      kind: 'begin',
      why: expect.stringMatching(/^a series without labels has fallen: /u) as string,
      cursor: { kind: 'time', at: AT },
    });
  });

  it('is of the canary alone where all traffic goes to it: stable is not asked, nor waited for', async () => {
    const asked: string[] = [];
    const handler: Handler = (request, response) => {
      asked.push(new URLSearchParams(request.body).get('query') ?? '');
      ranging(healthy)(request, response);
    };
    const query = '(errors{track="canary"}) of (requests{track="canary"})';
    const versions = { canary: '1.4.2', stable: '' };

    expect(await countOf(handler, { alone: true, versions, cursors: {} })).toEqual({
      name: 'error-rate',
      asked: { from: AT - 60_000, to: AT },
      kind: 'begin',
      why: 'what came before the first look at this weight',
      query,
      cursor: { kind: 'time', at: AT, told: { canary: 150, stable: 0 } },
    });
    expect(await countOf(handler, { alone: true, versions })).toMatchObject({
      kind: 'batch',
      query,
      canary: { bad: 0, total: 50 },
      stable: { bad: 0, total: 0 },
    });
    expect(asked.filter((each) => each.includes('stable'))).toEqual([]);
    const silent = { 'requests{track="canary"}': [['100', '100']] as const };
    expect(await countOf(ranging(silent), { alone: true, versions, cursors: {} })).toMatchObject({
      kind: 'problem',
      problem: { message: 'the canary has not been seen to have requests since the weight changed' },
    });
  });

  it("begins with how unevenly bad events fell on stable's processes in the half hour before, minute by minute", async () => {
    const asked: string[] = [];
    // By turns one of two processes has three errors more each minute, and the other one none.
    const handler: Handler = (request, response) => {
      const form = new URLSearchParams(request.body);
      if (Number(form.get('step')) !== 60) return ranging(healthy)(request, response);
      const query = form.get('query') ?? '';
      asked.push(`${query} ${Number(form.get('end')) - Number(form.get('start'))}`);
      const minutes = Array.from({ length: 31 }, (_, minute) => Number(form.get('start')) + minute * 60);
      const values = (index: number): [number, string][] =>
        minutes.map((at, minute) => [
          at,
          String(query.startsWith('errors') ? 3 * Math.floor((minute + index) / 2) : 100 * minute),
        ]);
      const result = [0, 1].map((index) => ({
        metric: { job: 'app', instance: String(index) },
        values: values(index),
      }));
      json(response, { status: 'success', data: { resultType: 'matrix', result } });
    };

    const begun = await countOf(handler, { since: AT - 15_000, cursors: {} });

    expect(asked.sort()).toEqual(['errors{track="stable"} 1800', 'requests{track="stable"} 1800']);
    // Three of a hundred beside none of a hundred, thirty times.
    const chiSquared = expect.closeTo((30 * 2 * 1.5 ** 2) / (1.5 * (1 - 0.015)), 9) as number;
    expect(begun).toMatchObject({ kind: 'begin', spreads: [{ chiSquared, degrees: 30 }] });

    // At a later weight that is known, and not asked again.
    const later = await countOf(handler, { since: AT - 15_000, cursors: {}, counted: ['error-rate'] });
    expect(later).toMatchObject({ kind: 'begin' });
    expect(later).not.toHaveProperty('spreads');
    expect(asked).toHaveLength(2);
  });

  it('asks for the same time where counting is told to begin, and of a batch that closes alone', async () => {
    const asked: string[] = [];
    const handler: Handler = (request, response) => {
      const form = new URLSearchParams(request.body);
      if (Number(form.get('step')) !== 60) return ranging(healthy)(request, response);
      asked.push(`${form.get('query')} ${form.get('start')} ${form.get('end')}`);
      response.writeHead(503).end();
    };
    const since = AT - 15_000;
    const cursors = { 'error-rate': { kind: 'time', at: since, begins: true } } as const;

    const first = await countOf(handler, { since, cursors });

    expect(first).toMatchObject({ kind: 'batch', canary: { total: 50 } });
    const [from, to] = [since - 30 * 60_000, since].map((at) => (at / 1_000).toFixed(3));
    expect(asked).toContain(`requests{track="stable"} ${from} ${to}`);
    expect(first.kind === 'batch' && first.dropped.at(-1)).toMatch(
      /^how bad events clustered before is not known: Prometheus at \S+ answered 503$/u,
    );

    asked.length = 0;
    const silent = ranging({ ...healthy, 'requests{track="canary"}': [['100', '100']] });
    await countOf(silent, { since, cursors });
    await countOf(handler, { since, cursors, counted: ['error-rate'] });
    expect(asked).toEqual([]);
  });

  it('begins all the same where nothing is known of the time before, and says so', async () => {
    const handler: Handler = (request, response) => {
      if (Number(new URLSearchParams(request.body).get('step')) !== 60) return ranging(healthy)(request, response);
      response.writeHead(503).end();
    };

    const begun = await countOf(handler, { since: AT - 15_000, cursors: {} });

    expect(begun).toMatchObject({
      kind: 'begin',
      cursor: { kind: 'time', at: AT },
      why: expect.stringMatching(
        /^what came before the first look at this weight; how bad events clustered before is not known: Prometheus at \S+ answered 503$/u,
      ) as string,
    });
    expect(begun).not.toHaveProperty('spreads');
  });

  it.each<[string, Handler, string, string]>([
    ['has no series', ranging({}), 'no-data', 'neither track has a series of these counters'],
    [
      'answers NaN',
      ranging({ ...healthy, 'requests{track="canary"}': [['1', 'NaN']] }),
      'error',
      '{instance="0",job="app"} answered NaN, which is no number',
    ],
    ['answers 500', (_q, r) => void r.writeHead(500).end(), 'error', 'answered 500'],
    [
      'answers in part',
      (_q, r) =>
        json(r, { status: 'success', data: { resultType: 'matrix', result: [] }, warnings: ['store 2 is away'] }),
      'error',
      'Prometheus answered with a warning, so perhaps in part: store 2 is away',
    ],
    [
      'answers another document',
      (_q, r) => json(r, { ok: true }),
      'error',
      'answered JSON that is not a range of Prometheus',
    ],
  ])('is no batch where it %s', async (_name, handler, kind, message) => {
    const answer = await countOf(handler);

    expect(answer).toMatchObject({ kind: 'problem', problem: { kind } });
    expect(answer.kind === 'problem' && answer.problem.message).toContain(message);
  });

  it('tells of five targets that were left out, and of how many more', async () => {
    const appeared = Array.from({ length: 40 }, () => [null, '9'] as const);
    const values = { ...healthy, 'requests{track="stable"}': [['1000', '1450'] as const, ...appeared] };

    const answer = await countOf(ranging({ ...values, 'errors{track="stable"}': [] }));

    expect(answer.kind === 'batch' && answer.dropped).toEqual([
      ...[1, 2, 3, 4, 5].map((index) => `{instance="${index}",job="app"} has only just appeared`),
      'and 35 more',
    ]);
  });

  it('knows both ends of the buckets of native histograms', async () => {
    const buckets = { kind: 'histogram', buckets: 'latency{track="{{track}}"}' } as const;
    const native: Handler = ({ body }, response) => {
      const form = new URLSearchParams(body);
      const histogram = { count: '4', sum: '2', buckets: [[0, '0.25', '1', '4']] };
      const histograms = [form.get('start'), form.get('end')].map((at) => [Number(at), histogram]);
      json(response, { status: 'success', data: { resultType: 'matrix', result: [{ metric: {}, histograms }] } });
    };

    expect(await countOf(native, { metrics: [{ ...COUNTED, counters: buckets }] })).toMatchObject({
      kind: 'problem',
      problem: { kind: 'error', message: expect.stringContaining('a bucket from 0.25 to 1 s') as string },
    });
  });

  it('is nothing between two looks that are next to each other', async () => {
    const cursors = { 'error-rate': { kind: 'time', at: AT - 500 } } as const;

    expect(await countOf(ranging(healthy), { cursors })).toMatchObject({
      problem: { kind: 'no-data', message: 'nothing can have been counted since the last look' },
    });
  });

  it('is of the other track where stable is judged', async () => {
    expect(await countOf(ranging(healthy), { subject: 'stable' })).toMatchObject({
      canary: { bad: 3, total: 950 },
      stable: { bad: 0, total: 50 },
    });
  });
});
