import { fitMeasurement, MEASUREMENT_BYTES } from '../../src/activities/fit-measurement';
import type { Counted } from '../../src/analysis/counts';
import { gatherEvidence } from '../../src/analysis/gather-evidence';
import type { EvidenceState } from '../../src/analysis/gather-evidence';
import { judge } from '../../src/analysis/threshold-judge';
import { BOUNDS } from '../../src/spec/defaults';
import type { MetricPlan } from '../../src/spec/plan-types';
import type { Measurement, ReleaseEvent, StepStatus } from '../../src/workflows/api';
import { boundKept } from '../../src/workflows/kept-measurements';
import { policyOf } from '../analysis/samples';
import { testPlan, testSteps, weights } from './plans';

/** Of a payload of Temporal. */
const LIMIT = 2 * 1024 * 1024;

const [, METRICS] = BOUNDS.metrics;
const [, STEPS] = BOUNDS.steps;

const counters = (name: string): string => `${`sum by (job) (${name}{x="${'ö'.repeat(40)}`.padEnd(3_997, 'x')}"})`;
const grown = (of: string): string => `sum(increase((${of})[{{window}}:5s]))`;

/** A release at the spec's bounds: each metric counts by two queries as long as they may be. */
const metrics = Array.from({ length: METRICS }, (_, index): MetricPlan => {
  const [bad, total] = [counters(`bad_${index}`), counters(`all_${index}`)];
  return {
    ...{ name: `metric-${index}-${'n'.repeat(30)}`, unit: 'ratio', max: 0.05, min: null, maxRatio: null },
    note: 'n'.repeat(200),
    query: { kind: 'ratio', numerator: grown(bad), denominator: grown(total) },
    counters: { kind: 'events', bad, total },
  };
});
const policy = {
  ...{ alpha: 0.01, tolerate: 1, clusters: 1, plannedBatches: 100, minRequests: 20 },
  promotion: { exclude: 5, beta: 0.05 },
  metrics: metrics.map(({ name }) => ({ name, kind: 'errors' as const, objective: 0.05, dryRun: false })),
};
const rules = policyOf(metrics);
const dropped = [...Array.from({ length: 5 }, (_, index) => `{${'l'.repeat(400)}${index}}`), 'and 200 more'];

function asked({ query }: MetricPlan): string {
  return query.kind === 'ratio' ? `(${query.numerator}) / (${query.denominator})` : '';
}

let evidence: EvidenceState | null = null;

/** A look at them, whole; `failing` of them fail. */
function look(at: number, step: number, failing = 0): Measurement {
  const counted = metrics.map((metric): Counted => ({
    ...{ name: metric.name, query: `${asked(metric)} against ${asked(metric)}`, kind: 'batch', dropped },
    asked: { from: 1_800_000_000_000 + at, to: 1_800_000_005_000 + at },
    ...{ canary: { bad: 1, total: 1_234 }, stable: { bad: 14, total: 23_456 }, cursor: { kind: 'time', at } },
  }));
  const gathered = gatherEvidence(policy, evidence, { subject: 'canary', since: 0, alone: false }, counted);
  evidence = gathered.state;
  const sampled = metrics.map((metric, index) => {
    const bad = index < failing ? 900 : 1;
    const canary = { query: asked(metric), value: bad / 1_234, events: { bad, total: 1_234 } };
    return { name: metric.name, canary, stable: { ...canary, query: `${asked(metric)} of stable` } };
  });
  const judged = judge(rules, null, { at, windowMs: 60_000, metrics: sampled }, gathered.findings);
  const { verdict, sentence } = judged;
  return { at, step, weight: 25, observedShare: 0.25, verdict, sentence, metrics: judged.metrics };
}

const SLOW = { canary: { bad: 12_345, total: 123_456 }, stable: { bad: 1_234_567, total: 12_345_678 } };

/** The same, with a histogram of as many boundaries as are kept for each metric. */
function withHistograms(measurement: Measurement): Measurement {
  const counts = (total: number): number[] => Array.from({ length: 31 }, (_, index) => total - 30 + index);
  const histogram = {
    boundaries: Array.from({ length: 30 }, (_, index) => 0.0025 * (index + 1)),
    canary: counts(SLOW.canary.total),
    stable: counts(SLOW.stable.total),
  };
  const metrics = measurement.metrics.map(({ evidence: report, ...metric }) => ({
    ...metric,
    ...(report === undefined ? {} : { evidence: { ...report, batch: { ...SLOW, boundary: 0.25, histogram } } }),
  }));
  return { ...measurement, metrics };
}

function bytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

interface Kept {
  measurements: Measurement[];
  steps: StepStatus[];
  events: ReleaseEvent[];
}

function keep(state: Kept, measurement: Measurement, type: ReleaseEvent['type']): void {
  const { at, step, sentence: message } = measurement;
  state.measurements.push(measurement);
  const ended = { name: `weight ${step}`, kind: 'weight', state: 'passed', startedAt: at, endedAt: at } as const;
  state.steps[step] = { ...ended, sentence: message, verdict: 'pass', measurements: 1, evidence: measurement };
  const actor = { name: 'sluice', via: 'workflow' } as const;
  state.events.push({ seq: state.events.length + 1, at, type, message, actor, weight: 25, evidence: measurement });
  boundKept(state);
}

// Texts of a megabyte are compared, and not shown where they differ.
describe('a measurement at the bounds of a spec', () => {
  it('fits, with all of its numbers, and whole texts of the metric that decided', () => {
    const whole = look(1, 0, 1);
    const fitting = fitMeasurement(whole);

    expect(bytes(whole)).toBeGreaterThan(1024 * 1024);
    expect(bytes(fitting)).toBeLessThanOrEqual(MEASUREMENT_BYTES);
    expect(JSON.stringify(fitting.metrics[0]) === JSON.stringify(whole.metrics[0])).toBe(true);
    expect(fitting.metrics.map(({ canary, verdict }) => [canary, verdict])).toEqual(
      whole.metrics.map(({ canary, verdict }) => [canary, verdict]),
    );
    expect(fitting.metrics[1]?.query).toMatch(/^\(sum\(increase.*…$/u);
  });

  it.each([0, 10, METRICS])('fits where %d metrics fail', (failing) => {
    expect(bytes(fitMeasurement(look(1, 0, failing)))).toBeLessThanOrEqual(MEASUREMENT_BYTES);
  });

  it.each([0, METRICS])(
    'fits where %d of as many histograms fail, at the boundary of each that is shown',
    (failing) => {
      const whole = withHistograms(look(1, 0, failing));
      const fitting = fitMeasurement(whole);

      expect(bytes(fitting)).toBeLessThanOrEqual(MEASUREMENT_BYTES);
      expect(fitting.metrics.at(-1)?.evidence?.batch).toEqual({ ...SLOW, boundary: 0.25 });
      // Where it has room it stays.
      const small = { ...whole, metrics: whole.metrics.slice(0, 2) };
      expect(fitMeasurement(small).metrics[0]?.evidence?.batch).toHaveProperty('histogram');
    },
  );

  it('is left alone where it fits', () => {
    const whole = look(1, 0);
    const small = { ...whole, metrics: whole.metrics.slice(0, 2) };

    expect(bytes(small)).toBeGreaterThan(MEASUREMENT_BYTES / 4);
    expect(fitMeasurement(small) === small).toBe(true);
  });
});

describe('what a release keeps', () => {
  it('fits into a payload with the plan, well below its limit, at the bounds of a spec', () => {
    const state: Kept = { measurements: [], steps: [], events: [] };
    for (let at = 0; at < STEPS; at += 1) keep(state, fitMeasurement(look(at, at)), 'stepPassed');
    const decided = fitMeasurement(look(STEPS, STEPS - 1, 2));
    for (const type of ['stepFailed', 'paused', 'rollbackRequested'] as const) keep(state, decided, type);
    const steps = testSteps(weights(...Array.from({ length: STEPS }, () => 25)));
    const plan = testPlan({ steps, analysis: { metrics } });

    expect(bytes({ plan, carried: { ...state, evidence } })).toBeLessThan(0.8 * LIMIT);
    // What is explained is whole, and the newest are there.
    expect(state.steps.at(-1)?.evidence === decided).toBe(true);
    expect(state.measurements.at(-1) === decided).toBe(true);
    expect(state.measurements.length).toBeGreaterThan(3);
    // Each step still says why it passed.
    expect(state.steps.every((step) => step.evidence?.verdict !== undefined && step.evidence.sentence !== '')).toBe(
      true,
    );
  });

  it('fits as well where each metric is a histogram, of which old looks have the boundary that is shown', () => {
    const state: Kept = { measurements: [], steps: [], events: [] };
    for (let at = 0; at < 2 * STEPS; at += 1) {
      const whole = withHistograms(look(at, at % STEPS));
      // Few enough to come whole.
      const few = whole.metrics.slice(0, 10).map(({ evidence: report, stableQuery: _, ...metric }) => ({
        ...{ ...metric, query: '' },
        ...(report === undefined ? {} : { evidence: { ...report, query: '', dropped: [] } }),
      }));
      keep(state, fitMeasurement({ ...whole, metrics: few, sentence: 'It passed.' }), 'stepPassed');
    }
    const oldest = state.measurements[0]?.metrics[0];

    expect(bytes(state)).toBeLessThan(0.4 * LIMIT);
    expect(oldest?.evidence?.batch).toEqual({ ...SLOW, boundary: 0.25 });
    expect(state.measurements.at(-1)?.metrics[0]?.evidence?.batch).toHaveProperty('histogram');
  });

  it('of a usual release is sixty measurements with all their numbers', () => {
    const state: Kept = { measurements: [], steps: [], events: [] };
    const query = 'sum(increase(http_requests_total{service="shop",track="canary"}[60s])) '.repeat(4);
    for (let at = 0; at < 200; at += 1) {
      const whole = look(at, at % 5);
      const usual = whole.metrics.slice(0, 2).map(({ evidence: report, ...metric }) => ({
        ...{ ...metric, query, stableQuery: query },
        ...(report === undefined ? {} : { evidence: { ...report, query, dropped: [] } }),
      }));
      keep(state, { ...whole, metrics: usual, sentence: 'It passed.' }, 'soakExtended');
    }

    expect(state.measurements).toHaveLength(60);
    expect(state.measurements.every((kept) => kept.metrics.length === 2)).toBe(true);
    expect(state.measurements.at(-1)?.metrics[0]?.query).toBe(query);
  });
});
