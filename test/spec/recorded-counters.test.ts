import { presetMetrics } from '../../src/spec/presets';
import { quantileAskedBy, recordedCounters } from '../../src/spec/recorded-counters';
import type { MetricPlan, MetricQuery } from '../../src/spec/plan-types';
import { metricOf } from '../metrics/requests';

const valueOf = (expression: string): MetricPlan => metricOf({ kind: 'value', expression, requests: null });

describe('the counters behind a metric', () => {
  it.each(presetMetrics('http', 'prometheus').map((metric) => [metric.name, metric] as const))(
    'of the preset, %s, are found in its query where nothing is compared',
    (_name, { query, counters }) => {
      expect(recordedCounters(metricOf(query))).toEqual(counters);
    },
  );

  it('are what should happen, for a metric with nothing but a lower limit', () => {
    const query: MetricQuery = {
      kind: 'ratio',
      numerator: 'sum(increase(good{track="{{track}}"}[{{window}}]))',
      denominator: 'sum(increase(all[{{window}}]))',
    };

    expect(recordedCounters(metricOf(query, { min: 0.99, max: null }))).toMatchObject({ kind: 'events', good: true });
    expect(recordedCounters(metricOf(query))).not.toHaveProperty('good');
  });

  it.each([
    ['histogram_quantile(0.95, sum by (le) (rate(b[{{window}}])))', 0.95],
    ['histogram_quantile(.5, sum(rate(b{a="{{track}}"}[{{window}}])) by (le))', 0.5],
    ['1000 * histogram_quantile(0.95, sum by (le) (rate(b[{{window}}])))', null],
    [
      'histogram_quantile(0.95, sum by (le) (rate(b[{{window}}]))) / histogram_quantile(0.5, sum by (le) (rate(b[{{window}}])))',
      null,
    ],
    ['histogram_quantile(0.95, sum by (le) (rate(b[5m])))', null],
    ['avg(latency)', null],
  ])('of %s are known by the quantile it asks for, or not at all', (expression, quantile) => {
    expect(quantileAskedBy(valueOf(expression))).toBe(quantile);
    expect(recordedCounters(valueOf(expression)) === null).toBe(quantile === null);
  });
});
