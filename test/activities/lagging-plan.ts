import type { AnalysisPlan, MetricPlan } from '../../src/spec/plan-types';

const EVIDENCE = { alpha: 0.01, tolerate: 1, clusters: 1, plannedBatches: 1, promotion: null };

const COUNTED: MetricPlan = {
  ...{ name: 'error-rate', unit: 'ratio', max: 0.5, min: null, maxRatio: null },
  query: {
    kind: 'ratio',
    numerator: 'sum(increase(bad{track="{{track}}"}[{{window}}]))',
    denominator: 'sum(increase(all{track="{{track}}"}[{{window}}]))',
  },
  counters: { kind: 'events', bad: 'bad{track="{{track}}"}', total: 'all{track="{{track}}"}' },
};

/** Of a metric that is counted, and looked at by that lag. */
export const planOf = (lagMs: number): Partial<AnalysisPlan> => ({
  ...(lagMs === 0 ? {} : { lagMs }),
  evidence: EVIDENCE,
  metrics: [COUNTED],
  routingCheck: 'warn',
});
