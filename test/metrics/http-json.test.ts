import { judge } from '../../src/analysis/threshold-judge';
import { readAllowedHosts } from '../../src/metrics/allowed-hosts';
import { createMetricSource } from '../../src/metrics/create-source';
import { createHttpJsonSource } from '../../src/metrics/http-json';
import type { ClosableMetricSource } from '../../src/metrics/metric-source';
import type { MetricPlan, MetricQuery } from '../../src/spec/plan-types';
import { policyOf } from '../analysis/samples';
import { FLAG_PLAN } from '../targets/flag-plan';
import { json, refusedUrl, startFakeServer } from './fake-server';
import type { FakeServer, Handler } from './fake-server';
import { metricOf, requestOf } from './requests';

const servers: FakeServer[] = [];
const sources: ClosableMetricSource[] = [];
afterEach(async () => {
  for (const source of sources.splice(0)) source.close();
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function serve(handler: Handler): Promise<FakeServer> {
  const server = await startFakeServer(handler);
  servers.push(server);
  return server;
}

function sourceOf(options: Partial<Parameters<typeof createHttpJsonSource>[0]> = {}): ClosableMetricSource {
  const source = createHttpJsonSource({ timeoutMs: 2_000, allowed: () => true, ...options });
  sources.push(source);
  return source;
}

function at(url: string, value = '$.rate', requests: string | null = null): MetricPlan {
  return metricOf({ kind: 'http', url, value, requests }, { name: 'error-rate', unit: 'ratio' });
}

describe('metrics of a server that answers JSON', () => {
  it('are numbers at their paths, of each track, and a document is asked for once', async () => {
    const server = await serve((request, response) => {
      const track = new URL(request.path, 'http://x').searchParams.get('track');
      json(response, track === 'canary' ? { rate: 0.08, n: '40', ms: [120] } : { rate: '0.01', n: 760, ms: [90] });
    });
    const url = `${server.url}/{{namespace}}/{{service}}?track={{track}}&v={{version}}&over={{window}}`;
    const metrics = [
      at(url, '$.rate', '$.n'),
      metricOf({ kind: 'http', url, value: '$.ms[0]', requests: null }, { name: 'p95', unit: 'seconds', max: null }),
    ];
    const source = sourceOf({ token: 'secret' });

    const sample = await source.sample(requestOf(metrics));

    const asked = `${server.url}/shop/checkout?track=canary&v=1.4.2&over=60s`;
    expect(sample.metrics).toEqual([
      {
        name: 'error-rate',
        canary: { query: `${asked} at $.rate`, value: 0.08, requests: 40 },
        stable: { query: expect.stringContaining('track=stable&v=1.4.1'), value: 0.01, requests: 760 },
      },
      {
        name: 'p95',
        canary: { query: `${asked} at $.ms[0]`, value: 120 },
        stable: expect.objectContaining({ value: 90 }),
      },
    ]);
    expect(server.requests).toHaveLength(2);
    expect(
      server.requests.every(({ headers, method }) => method === 'GET' && headers.authorization === 'Bearer secret'),
    ).toBe(true);
    expect(judge(policyOf(metrics), null, sample).sentence).toMatch(
      /8 % over 40 canary requests, more than the allowed 5 %/,
    );
  });

  it('are those of stable while stable is judged', async () => {
    const server = await serve(({ path }, response) => json(response, { rate: path.includes('stable') ? 0.5 : 0.1 }));

    const { metrics } = await sourceOf().sample(requestOf([at(`${server.url}/{{track}}`)], { subject: 'stable' }));

    expect(metrics[0]).toMatchObject({ canary: { value: 0.5 }, stable: { value: 0.1 } });
  });

  it('are asked about in whole seconds of the window, never of before it', async () => {
    const server = await serve((_, response) => json(response, { rate: 0.1 }));
    const url = `${server.url}/{{track}}?from={{start}}&to={{end}}`;

    await sourceOf().sample(requestOf([at(url)], { at: 1_700_000_060_900, windowMs: 60_500 }));

    expect(server.requests[0]?.path).toBe('/canary?from=1700000001&to=1700000060');
  });

  it('are none that could be counted', async () => {
    const source = sourceOf();
    const request = { ...requestOf([at('http://127.0.0.1:9/')]), since: 0, cursors: {} };

    expect(await source.count(request)).toEqual([]);
    expect(await source.routed({ ...request, weight: 5 })).toMatchObject({ kind: 'no-data' });
  });

  it.each<[string, unknown, RegExp]>([
    ['nothing at the path', {}, /^the answer has nothing at \$\.rate$/],
    ['null', { rate: null }, /^the answer has nothing at \$\.rate$/],
    ['NaN as text', { rate: 'NaN' }, /^the answer has NaN at \$\.rate, which is no number$/],
  ])('are no data with %s', async (_what, body, message) => {
    const server = await serve((_, response) => json(response, body));

    const { metrics } = await sourceOf().sample(requestOf([at(server.url)]));

    expect(metrics[0]?.canary.problem).toEqual({ kind: 'no-data', message: expect.stringMatching(message) });
    expect(metrics[0]?.canary.value).toBeNull();
  });

  it.each<[string, Handler, RegExp]>([
    [
      'several values',
      (_, r) => json(r, { a: { rate: 1 }, b: { rate: 2 } }),
      /^the answer has 2 values at \$\.\.rate instead of one$/,
    ],
    ['a list', (_, r) => json(r, { rate: [1] }), /^the answer has a list at \$\.\.rate, which is no number$/],
    ['a text', (_, r) => json(r, { rate: 'high' }), /^the answer has "high" at \$\.\.rate/],
    ['a truth', (_, r) => json(r, { rate: true }), /^the answer has true at \$\.\.rate/],
    ['an error status', (_, r) => json(r, { error: 'no such metric' }, 404), /answered 404: no such metric$/],
    [
      'HTML',
      (_, r) => void r.writeHead(200, { 'content-type': 'text/html' }).end('<html>'),
      /answered HTML instead of JSON$/,
    ],
    [
      'half of a document',
      (_, r) => void r.writeHead(200).end('{"rate": 0.'),
      /answered incomplete JSON instead of JSON$/,
    ],
    [
      'a redirect',
      (_, r) => void r.writeHead(302, { location: 'http://127.0.0.1:9/' }).end(),
      /answered with a redirect \(302\), which is not followed$/,
    ],
    ['too much', (_, r) => json(r, { rate: 'x'.repeat(2_000_000) }), /answered more than 1 MiB$/],
    ['nothing, ever', () => undefined, /timed out after 500 ms$/],
  ])('are an error of the backend with %s', async (_what, handler, message) => {
    const server = await serve(handler);

    const { metrics } = await sourceOf({ timeoutMs: 500 }).sample(requestOf([at(`${server.url}/?token=1`, '$..rate')]));

    expect(metrics[0]?.canary.problem).toEqual({ kind: 'error', message: expect.stringMatching(message) });
    expect(metrics[0]?.canary.problem?.message).not.toContain('token');
  });

  it('are an error when nobody listens, and when the number of requests is missing', async () => {
    const gone = await sourceOf().sample(requestOf([at(await refusedUrl())]));
    const server = await serve((_, response) => json(response, { rate: 0.1 }));
    const uncounted = await sourceOf().sample(requestOf([at(server.url, '$.rate', '$.n')]));

    expect(gone.metrics[0]?.canary.problem).toMatchObject({ kind: 'error', message: expect.stringMatching(/refused/) });
    expect(uncounted.metrics[0]?.canary).toMatchObject({ value: null, problem: { kind: 'no-data' } });
  });

  it('are an error when the query is not of this source', async () => {
    const query: MetricQuery = { kind: 'value', expression: 'up', requests: null };

    const { metrics } = await sourceOf().sample(requestOf([metricOf(query)]));

    expect(metrics[0]?.canary.problem).toMatchObject({ kind: 'error' });
  });
});

describe('the hosts that may be asked', () => {
  const plan = { kind: 'http', tokenEnv: null, timeoutMs: 1_000 } as const;

  it('are none unless the operator names them, and the sentence says how', async () => {
    const server = await serve((_, response) => json(response, { rate: 0.1 }));
    const { host } = new URL(server.url);
    const sample = async (env: Record<string, string>) => {
      const source = createMetricSource(plan, FLAG_PLAN, env);
      sources.push(source);
      return (await source.sample(requestOf([at(server.url)]))).metrics[0]?.canary;
    };

    expect(await sample({})).toMatchObject({
      problem: {
        kind: 'error',
        message: `${host} is not among the hosts that may be asked; SLUICE_HTTP_METRICS_HOSTS names them where the worker runs`,
      },
    });
    expect(server.requests).toEqual([]);
    expect(await sample({ SLUICE_HTTP_METRICS_HOSTS: `other.example, ${host}` })).toMatchObject({ value: 0.1 });
  });

  it.each([
    ['metrics.example', 'https://metrics.example/x', true],
    ['metrics.example', 'http://METRICS.example', true],
    ['metrics.example', 'https://metrics.example:8443/', false],
    ['metrics.example:8443', 'https://metrics.example:8443/', true],
    ['metrics.example:8443', 'https://metrics.example/', false],
    ['metrics.example:443', 'https://metrics.example/', true],
    ['metrics.example:443', 'http://metrics.example/', false],
    ['metrics.example', 'https://metrics.example.evil.test/', false],
    ['metrics.example', 'https://user@evil.test/metrics.example', false],
    ['[::1]:9000', 'http://[::1]:9000/', true],
    ['', 'https://metrics.example/', false],
  ])('by %j: %s is %p', (text, url, allowed) => {
    expect(readAllowedHosts(text, 'HOSTS')(url)).toBe(allowed);
  });

  it.each(['https://metrics.example', '*.example', 'a b', 'user@host'])('are refused when one is %j', (text) => {
    expect(() => readAllowedHosts(text, 'HOSTS')).toThrow(
      `The environment variable HOSTS has ${JSON.stringify(text)}, which is no host.`,
    );
  });

  it('need the token that the plan names', () => {
    expect(() => createMetricSource({ ...plan, tokenEnv: 'SLUICE_HTTP_METRICS_TOKEN' }, FLAG_PLAN, {})).toThrow(
      "The environment variable SLUICE_HTTP_METRICS_TOKEN, which should hold the metric source's token, is not set.",
    );
  });
});
