import { Counter, Registry } from 'prom-client';
import { RouterPrometheus } from '../../src/router/prometheus';
import { send, startRelease, testRouter } from './support';

/** Text format 0.0.4: comments, or a name with labels and a value. */
const LINE = /^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z]+="([^"\\]|\\.)*",?)+\})? [0-9.e+-]+)$/;

describe('the Prometheus metrics', () => {
  it('count by cohort and version', () => {
    const { router, clock } = testRouter();
    startRelease(router, 50);
    send(router, 'stable', { count: 2 });
    send(router, 'canary', { latencyMs: 40, clock });
    send(router, 'canary', { status: 503, latencyMs: 60_000, clock });

    const lines = router.prometheus().trimEnd().split('\n');

    for (const line of lines) expect(line).toMatch(LINE);
    for (const expected of [
      'canary_requests_total{cohort="stable",version="1.0.0"} 2',
      'canary_requests_total{cohort="canary",version="2.0.0"} 2',
      'canary_errors_total{cohort="stable",version="1.0.0"} 0',
      'canary_errors_total{cohort="canary",version="2.0.0"} 1',
      'canary_latency_seconds_bucket{cohort="canary",version="2.0.0",le="0.025"} 0',
      'canary_latency_seconds_bucket{cohort="canary",version="2.0.0",le="0.05"} 1',
      'canary_latency_seconds_bucket{cohort="canary",version="2.0.0",le="30"} 1',
      'canary_latency_seconds_bucket{cohort="canary",version="2.0.0",le="+Inf"} 2',
      'canary_latency_seconds_sum{cohort="canary",version="2.0.0"} 60.04',
      'canary_latency_seconds_count{cohort="canary",version="2.0.0"} 2',
      'canary_active 1',
      'canary_weight 50',
    ]) {
      expect(lines).toContain(expected);
    }
  });

  it('say that no canary is active before a release', () => {
    expect(testRouter().router.prometheus()).toContain('canary_active 0');
  });

  it('escape what could break a label', () => {
    const metrics = new RouterPrometheus(() => ({ active: false, weight: 0 }));
    metrics.observe('canary', 'a"b\\c', 1, false);

    expect(metrics.text()).toContain('version="a\\"b\\\\c"');
  });

  it('keep a bounded number of series, dropping the least recently used', () => {
    const metrics = new RouterPrometheus(() => ({ active: false, weight: 0 }));
    for (let i = 0; i < 100; i++) {
      metrics.observe('stable', '1.0.0', 1, false);
      metrics.observe('canary', `2.0.${i}`, 1, false);
    }

    const series = metrics.text().match(/^canary_requests_total\{.*$/gm) ?? [];

    expect(series).toHaveLength(16);
    expect(series).toContain('canary_requests_total{cohort="stable",version="1.0.0"} 100');
    expect(series).toContain('canary_requests_total{cohort="canary",version="2.0.99"} 1');
  });

  it('appear in a prom-client registry among the app’s own, as the same text', async () => {
    const registry = new Registry();
    const { router, clock } = testRouter({ registry });
    new Counter({ name: 'app_orders_total', help: 'Orders.', registers: [registry] }).inc(3);
    startRelease(router, 50);
    send(router, 'canary', { count: 3, latencyMs: 40, clock });

    const text = await registry.metrics();

    expect(text).toContain('app_orders_total 3');
    const lines = new Set(text.split('\n'));
    for (const line of router.prometheus().trimEnd().split('\n')) expect(lines).toContain(line);
    expect(await registry.getSingleMetric('canary_active')?.get()).toMatchObject({ values: [{ value: 1 }] });
    expect(() => registry.resetMetrics()).not.toThrow();
  });
});
