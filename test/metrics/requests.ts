import type { SampleRequest } from '../../src/metrics/metric-source';
import type { MetricPlan, MetricQuery } from '../../src/spec/plan-types';

export const AT = 1_700_000_000_000;

export function metricOf(query: MetricQuery, changes: Partial<MetricPlan> = {}): MetricPlan {
  return { name: 'error-rate', unit: 'ratio', max: 0.05, min: null, maxRatio: null, query, ...changes };
}

export const ERROR_RATE = metricOf({
  kind: 'ratio',
  numerator: 'sum(increase(errors{service="{{service}}",track="{{track}}"}[{{window}}]))',
  denominator: 'sum(increase(requests{service="{{service}}",track="{{track}}"}[{{window}}]))',
});

export const P95 = metricOf(
  { kind: 'value', expression: 'p95{track="{{track}}"}', requests: 'requests{track="{{track}}"}' },
  { name: 'p95-latency', unit: 'seconds', max: 1 },
);

export function requestOf(metrics: readonly MetricPlan[], changes: Partial<SampleRequest> = {}): SampleRequest {
  return {
    service: 'checkout',
    namespace: 'shop',
    versions: { canary: '1.4.2', stable: '1.4.1' },
    metrics,
    at: AT,
    windowMs: 60_000,
    ...changes,
  };
}
