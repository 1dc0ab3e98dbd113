import { connectCluster } from '../../../src/targets/kubernetes/cluster';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { smokeTestThroughProxy } from '../../../src/targets/kubernetes/proxied-smoke-test';
import { answer, FakeApi, reset, status } from './fake-api';

const service = answer(200, {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'checkout-canary', namespace: 'shop' },
  spec: { ports: [{ name: 'http', port: 80 }] },
});
const healthy = answer(200, { ok: true });

describe('a smoke test through the API server', () => {
  let api: FakeApi;
  let cluster: Cluster;
  beforeEach(async () => {
    api = await new FakeApi().start();
    cluster = connectCluster({ server: api.server, retry: { maxTries: 1 } });
  });
  afterEach(async () => {
    cluster.close();
    await api.stop();
  });

  const smokeTest = (attempts: number): Promise<string> =>
    smokeTestThroughProxy(cluster, {
      namespace: 'shop',
      service: 'checkout-canary',
      port: null,
      version: 'v2',
      test: {
        kind: 'smokeTest',
        name: 'smoke test',
        path: '/healthz',
        expectStatus: 200,
        expectBody: null,
        attempts,
        intervalMs: 1,
        timeoutMs: 1_000,
      },
      signal: AbortSignal.timeout(10_000),
    });

  it('holds an API server that is away against nobody', async () => {
    api.handlers = [service, reset];

    await expect(smokeTest(3)).rejects.toMatchObject({ name: 'ClusterFailure', kind: 'unreachable' });
    expect(api.requests).toHaveLength(2);
  });

  it('asks again as often as it is told to, and fails in the words of the last answer', async () => {
    api.handlers = [service, answer(500, {}), healthy];
    expect(await smokeTest(2)).toMatch(/^v2 answered \/healthz with 200/);

    api.handlers = [service, answer(500, {})];
    await expect(smokeTest(2)).rejects.toMatchObject({
      kind: 'smokeTestFailed',
      message: expect.stringMatching(/failed 2 times: .* answered 500 instead of 200/) as string,
    });
  });

  it('waits for a Service that is not known yet, and does not count that as a try', async () => {
    const unknown = status(503, 'ServiceUnavailable', 'no endpoints available for service "checkout-canary"');
    api.handlers = [service, unknown, unknown, healthy];

    expect(await smokeTest(1)).toMatch(/^v2 answered/);
  });
});
