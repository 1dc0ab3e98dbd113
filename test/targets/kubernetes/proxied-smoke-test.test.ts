import { connectCluster } from '../../../src/targets/kubernetes/cluster';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { smokeTestThroughProxy } from '../../../src/targets/kubernetes/proxied-smoke-test';
import { deploymentObject } from './deployment-objects';
import { answer, FakeApi, reset, status } from './fake-api';
import type { Handler } from './fake-api';
import { containerStatus, podObject, replicaSetObject, waiting } from './pod-objects';

const service = answer(200, {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'checkout-canary', namespace: 'shop' },
  spec: { ports: [{ name: 'http', port: 80 }] },
});
const healthy = answer(200, { ok: true });
const withoutPods = status(503, 'ServiceUnavailable', 'no endpoints available for service "checkout-canary"');

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

  const smokeTest = (attempts: number, settlingMs?: number): Promise<string> =>
    smokeTestThroughProxy(cluster, {
      namespace: 'shop',
      service: 'checkout-canary',
      deployment: 'checkout-canary',
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
      ...(settlingMs === undefined ? {} : { settlingMs }),
    });

  /** A Service that never knows a ready pod, and what the cluster tells of its Deployment and of its pod. */
  const neverAPod = (deployment: object, pod: object): Handler =>
    byPath({
      '/services/checkout-canary:http/proxy/healthz': withoutPods,
      '/services/checkout-canary': service,
      '/deployments/checkout-canary': answer(200, deployment),
      '/replicasets': answer(200, { items: [replicaSetObject({ hash: '5d', revision: 2, owner: 'uid-of-checkout' })] }),
      '/pods': answer(200, { items: [pod] }),
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
    api.handlers = [service, withoutPods, withoutPods, healthy];

    expect(await smokeTest(1)).toMatch(/^v2 answered/);
  });

  it('holds a Service that has not learnt of its pods yet against nobody, however long that takes', async () => {
    const ready = deploymentObject({ replicas: 1 }, { replicas: 1, updatedReplicas: 1, availableReplicas: 1 });
    api.handlers = [neverAPod(ready, podObject('checkout-5d-1', '5d', { phase: 'Running' }))];

    await expect(smokeTest(3, 0)).rejects.toMatchObject({
      name: 'ClusterFailure',
      kind: 'unreachable',
      message: expect.stringContaining('no endpoints available') as string,
    });
  });

  it.each([
    ['overloaded', status(429, 'TooManyRequests', 'the server has received too many requests')],
    ['failing inside', status(500, 'InternalError', 'etcdserver: leader changed')],
    ['not letting us in', status(401, 'Unauthorized', 'Unauthorized')],
  ])('holds an API server that is %s against nobody', async (_, refusal) => {
    api.handlers = [service, refusal];

    await expect(smokeTest(3, 0)).rejects.toMatchObject({ name: 'ClusterFailure' });
  });

  it('holds an API server that has not read its roles yet against nobody', async () => {
    const denied = status(
      403,
      'Forbidden',
      'services "x" is forbidden: User "sluice" cannot get resource "services/proxy"',
    );
    api.handlers = [service, denied, answer(500, {}), denied];

    await expect(smokeTest(1, 0)).rejects.toMatchObject({ name: 'ClusterFailure', kind: 'unreachable', status: 403 });
  });

  it('waits for an API server that is overloaded for a moment, and counts that as no try', async () => {
    api.handlers = [service, status(429, 'TooManyRequests', 'the server has received too many requests'), healthy];

    expect(await smokeTest(1)).toMatch(/^v2 answered/);
  });

  it('holds silence against the version only where the API server answers for itself', async () => {
    const silent: Handler = () => undefined;
    api.handlers = [service, silent, service];
    await expect(smokeTest(1)).rejects.toMatchObject({ kind: 'smokeTestFailed' });

    api.handlers = [service, silent, reset];
    await expect(smokeTest(1)).rejects.toMatchObject({ name: 'ClusterFailure', kind: 'unreachable' });
  });

  it('says what is wrong with the pods where that is why the Service has none', async () => {
    const failing = deploymentObject({ replicas: 1 }, { replicas: 1, updatedReplicas: 1, availableReplicas: 0 });
    const containerStatuses = [containerStatus(waiting('CrashLoopBackOff'), { restartCount: 5 })];
    api.handlers = [neverAPod(failing, podObject('checkout-5d-1', '5d', { phase: 'Running', containerStatuses }))];

    await expect(smokeTest(3, 0)).rejects.toMatchObject({
      name: 'TargetFailure',
      kind: 'deployFailed',
      message: expect.stringMatching(/does not come up\. .*checkout-5d-1/) as string,
    });
  });
});

/** The handler of the first of these endings that a request's path has. */
function byPath(handlers: Readonly<Record<string, Handler>>): Handler {
  return (request, response, body) => {
    const { pathname } = new URL(request.url ?? '', 'http://api.test');
    const found = Object.entries(handlers).find(([ending]) => pathname.endsWith(ending));
    const handler = found?.[1] ?? status(404, 'NotFound', `${pathname} is not there`);
    handler(request, response, body);
  };
}
