import { createServer } from 'node:http';
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { freePort } from '../../src/devserver/free-port';
import { describeWithPrometheus } from '../metrics/prometheus-executable';
import { startPrometheus } from '../metrics/real-prometheus';
import type { RunningPrometheus } from '../metrics/real-prometheus';
import { Instance, TOKEN } from '../targets/instance';
import { startLoad } from './shop';
import type { Load } from './shop';
import { ended, planOf, shopSpec, startStack, until } from './stack';
import type { Stack } from './stack';

// Real servers on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(150_000);

const ada = { name: 'ada', via: 'cli' } as const;

describe('a release whose evidence is in a Prometheus', () => {
  let stack: Stack;
  const instances: Instance[] = [];
  const loads: Load[] = [];
  const servers: Server[] = [];

  beforeAll(async () => {
    stack = await startStack();
    await stack.startWorker({ env: { SLUICE_ROUTER_TOKEN: TOKEN } });
  });
  afterAll(async () => {
    for (const load of loads) await load.stop();
    for (const one of instances) await one.die();
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
    await stack?.stop();
  });

  async function startInstance(): Promise<Instance> {
    const one = await new Instance({ prometheusPath: '/metrics' }).start();
    instances.push(one);
    return one;
  }

  describe('that is broken', () => {
    async function fake(answer: (response: ServerResponse) => void): Promise<string> {
      const server = createServer((request, response) => {
        request.resume();
        request.on('end', () => answer(response));
      });
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    }
    const json = (body: unknown) => (response: ServerResponse) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    const vector = (result: unknown) => json({ status: 'success', data: { resultType: 'vector', result } });
    const CASES: [string, string, () => Promise<string>, RegExp][] = [
      ['answers 500', 'error', () => fake((response) => response.writeHead(500).end('no')), /answered 500/],
      [
        'answers HTML',
        'error',
        () => fake((response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>')),
        /HTML instead of JSON/,
      ],
      [
        'answers NaN',
        'insufficient-data',
        () => fake(vector([{ metric: {}, value: [1, 'NaN'] }])),
        /NaN, which is no number/,
      ],
      ['answers nothing', 'insufficient-data', () => fake(vector([])), /matched no series/],
      ['answers half an answer', 'error', () => fake((response) => response.end('{"status":"succ')), /incomplete JSON/],
      ['never answers', 'error', () => fake(() => undefined), /timed out after 500 ms/],
      ['is not there', 'error', async () => `http://127.0.0.1:${await freePort()}`, /refused the connection/],
      [
        'sends elsewhere',
        'error',
        () => fake((response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()),
        /redirect \(302\), which is not followed/,
      ],
    ];

    it.each(CASES)('because it %s is neither passed nor failed: it is held and a person asked (%s)', async (...one) => {
      const [what, verdict, start, sentence] = one;
      const service = what.replace(/\W/g, '-').toLowerCase();
      const instance = await startInstance();
      const analysis = `    source: { prometheus: { url: "${await start()}", timeout: 500ms } }
    interval: 1s
    minRequests: 1
    consecutiveErrorLimit: 1
    onNoData: { extend: 0s, then: pause }
    metrics:
      - { name: error-rate, max: 20% }`;
      const spec = shopSpec([instance.url], { service, weights: [25, 100], soak: '2s', analysis });
      await stack.client.deploy(planOf(spec, 'v2'), { actor: ada });

      const status = await until(stack.client, service, ({ paused }) => paused !== null);

      expect(status.paused?.cause).toBe('noData');
      expect(status.weight).toBe(25);
      expect(instance.router.snapshot().weight).toBe(25);
      expect(status.measurements.length).toBeGreaterThan(0);
      expect(new Set(status.measurements.map((measurement) => measurement.verdict))).toEqual(new Set([verdict]));
      expect(status.measurements.at(-1)?.sentence).toMatch(sentence);
      expect(status.steps.map((step) => step.state)).not.toContain('failed');
      await stack.client.rollback({ service, namespace: 'test' }, { actor: ada, reason: 'the test is over' });
      expect((await ended(stack.client, service)).outcome).toBe('aborted');
    });
  });

  describeWithPrometheus('that is real and scrapes the shop', (binary) => {
    let healthy: Instance;
    let failing: Instance;
    let prometheus: RunningPrometheus;

    beforeAll(async () => {
      [healthy, failing] = [await startInstance(), await startInstance()];
      failing.app = (version, path) => ({ status: version === 'v2' && path === '/' ? 500 : 200, body: '' });
      loads.push(...[healthy, failing].map((one) => startLoad([one.url], { perSecond: 40 })));
      prometheus = await startPrometheus(
        binary,
        [healthy, failing].map((one, index) => ({
          address: one.url.replace('http://', ''),
          labels: { app: index === 0 ? 'healthy' : 'failing' },
        })),
      );
    });
    afterAll(() => prometheus?.stop());

    it.each([
      ['healthy', 'promoted', 'v2'],
      ['failing', 'rolledBack', 'v1'],
    ])('%s: %s, by its numbers', async (service, outcome, stable) => {
      const instance = service === 'healthy' ? healthy : failing;
      const analysis = `    source: { prometheus: { url: "${prometheus.url}", labels: { app: ${service} } } }
    interval: 1s
    minRequests: 5
    minMeasurements: 2
    onNoData: { extend: 20s, then: rollback }
    metrics:
      - { name: error-rate, max: 20% }
      - { name: p95-latency, max: 5s }`;
      const spec = shopSpec([instance.url], { service, weights: [50, 100], soak: '5s', analysis });
      await stack.client.deploy(planOf(spec, 'v2'), { actor: ada });

      const status = await ended(stack.client, service);

      expect(`${status.outcome}: ${status.message}`).toMatch(new RegExp(`^${outcome}`));
      expect(instance.router.snapshot()).toMatchObject({ stableVersion: stable, canaryVersion: null });
      const decisive = outcome === 'promoted' ? 'pass' : 'fail';
      const evidence = status.measurements.find((measurement) => measurement.verdict === decisive);
      expect(evidence?.metrics[0]).toMatchObject({ name: 'error-rate', verdict: decisive });
      expect(evidence?.metrics[0]?.query).toContain('canary_errors_total{cohort="canary",version="v2",app="');
      expect(evidence?.metrics[0]?.canaryRequests).toBeGreaterThan(0);
      expect(status.steps.find((step) => step.kind === 'weight')?.state).toBe(
        outcome === 'promoted' ? 'passed' : 'failed',
      );
    });
  });
});
