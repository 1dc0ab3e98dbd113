import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectCluster } from '../../src/targets/kubernetes/cluster';
import { RequestCounter } from '../../src/targets/kubernetes/request-counter';
import { clusterMetrics } from '../../src/worker/cluster-metrics';
import { startHealthServer } from '../../src/worker/health-server';
import { answer, FakeApi, status } from '../targets/kubernetes/fake-api';

const ref = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'shop', name: 'checkout' };

describe('metrics of the Kubernetes client', () => {
  it('are on the worker’s endpoint after those of the SDK: requests, retries and durations', async () => {
    const api = await new FakeApi().start();
    api.handlers = [
      status(429, 'TooManyRequests', 'too many requests'),
      answer(200, { ...ref, metadata: { name: 'checkout', namespace: 'shop' } }),
    ];
    const counter = new RequestCounter();
    const cluster = connectCluster({ server: api.server, counter, retry: { firstDelayMs: 1, maxDelayMs: 2 } });
    const sdk = await startHealthServer({
      port: 0,
      host: '127.0.0.1',
      state: () => 'RUNNING',
      runtimeMetricsUrl: null,
      ownMetrics: () => '',
    });
    const health = await startHealthServer({
      port: 0,
      host: '127.0.0.1',
      state: () => 'RUNNING',
      // Any text does: what the SDK's exporter says is passed on as it is.
      runtimeMetricsUrl: `${sdk.url}/healthz`,
      ownMetrics: () => clusterMetrics(counter),
    });
    try {
      await cluster.get(ref, { signal: AbortSignal.timeout(60_000) });
      const response = await fetch(`${health.url}/metrics`);
      const lines = (await response.text()).split('\n');

      expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
      expect(lines[0]).toBe('{"state":"RUNNING"}');
      const kind = 'verb="get",resource="deployments.apps"';
      expect(lines).toEqual(
        expect.arrayContaining([
          `sluice_kubernetes_requests_total{${kind},status="429"} 1`,
          `sluice_kubernetes_requests_total{${kind},status="200"} 1`,
          `sluice_kubernetes_retries_total{${kind}} 1`,
          `sluice_kubernetes_request_duration_seconds_bucket{${kind},le="+Inf"} 2`,
          `sluice_kubernetes_request_duration_seconds_count{${kind}} 2`,
        ]),
      );
    } finally {
      await health.close();
      await sdk.close();
      cluster.close();
      await api.stop();
    }
  });

  it('puts a duration into every bucket that it fits', () => {
    const counter = new RequestCounter();
    for (const seconds of [0.004, 0.3, 60]) {
      counter.record({ verb: 'get', resource: 'pods', status: '200', seconds });
    }
    const buckets = clusterMetrics(counter)
      .split('\n')
      .flatMap((line) => /_bucket\{.*le="([^"]+)"\} (\d+)$/.exec(line)?.slice(1).join(' ') ?? []);

    expect(buckets).toEqual(
      ['0.005 1', '0.01 1', '0.025 1', '0.05 1', '0.1 1', '0.25 1', '0.5 2', '1 2', '2.5 2', '5 2', '10 2'].concat([
        '30 2',
        '+Inf 3',
      ]),
    );
  });

  it('are those that docs/worker.md lists, with their types and labels', () => {
    const counter = new RequestCounter();
    counter.record({ verb: 'get', resource: 'pods', status: '200', seconds: 0 });
    counter.recordRetry({ verb: 'get', resource: 'pods' });
    const text = clusterMetrics(counter);
    const told = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type]) => {
      const sample = new RegExp(`^${name}\\w*\\{(.*)\\} `, 'm').exec(text)?.[1] ?? '';
      const labels = [...sample.matchAll(/(\w+)="/g)].flatMap(([, label]) => (label === 'le' ? [] : [`\`${label}\``]));
      return { name, type, labels: labels.join(', ') };
    });
    const docs = readFileSync(join(__dirname, '..', '..', 'docs', 'worker.md'), 'utf8');
    const listed = [...docs.matchAll(/^\| `(sluice_\w+)` *\| (\w+) *\| ([^|]*?) *\|/gm)].map(
      ([, name, type, labels]) => ({ name, type, labels }),
    );

    expect(listed).toEqual(told);
  });
});
