import fc from 'fast-check';
import { judge } from '../../src/analysis/threshold-judge';
import type { MetricSample, Observation, Sample } from '../../src/analysis/sample';
import type { Judgement, JudgePolicy, JudgeState, MetricPolicy } from '../../src/analysis/verdict';
import { errorRate, errorSample, events, policyOf, sampleOf } from './samples';

const count = fc.integer({ min: 0, max: 5_000 });
const counted = fc.tuple(count, count).map(([a, b]): Observation => events(Math.min(a, b), Math.max(a, b)));
const missing = fc.constantFrom<Observation>(
  { query: 'q', value: null, problem: { kind: 'no-data', message: 'nothing' } },
  { query: 'q', value: null, problem: { kind: 'error', message: 'answered 500' } },
  { query: 'q', value: null },
  { query: 'q', value: Number.NaN },
  { query: 'q', value: Number.POSITIVE_INFINITY },
  { query: 'q', value: 0, problem: { kind: 'no-data', message: 'nothing' } },
  { query: 'q', value: Number.NaN, events: { bad: 0, total: Number.NaN } },
  { query: 'q', value: 0, events: { bad: 0, total: Number.NaN } },
  { query: 'q', value: 0, events: { bad: 0, total: 0 } },
);
const observation = fc.oneof(
  counted,
  missing,
  fc.double({ min: 0, max: 2, noNaN: true }).map((v): Observation => ({ query: 'q', value: v })),
);
const limit = fc.option(fc.double({ min: 0, max: 1, noNaN: true }));
const ratio = fc.option(fc.double({ min: 1, max: 10, noNaN: true }));
const compare = fc.option(
  fc.record({ alpha: fc.constantFrom(0.001, 0.01, 0.1), tolerate: fc.constantFrom(1, 1.25, 3) }),
);
const metricNamed = (name: string): fc.Arbitrary<MetricPolicy> =>
  fc.record({ max: limit, min: limit, maxRatio: ratio }).map((limits) => errorRate({ name, ...limits }));
const policy = fc
  .record({
    metrics: fc.tuple(metricNamed('a'), metricNamed('b')),
    compare,
    minMeasurements: fc.integer({ min: 0, max: 4 }),
    minRequests: fc.integer({ min: 1, max: 100 }),
    failureLimit: fc.integer({ min: 0, max: 3 }),
    consecutiveErrorLimit: fc.integer({ min: 0, max: 3 }),
  })
  .map((changes): JudgePolicy => policyOf(changes.metrics, changes));
const metricSample = (name: string, canary: fc.Arbitrary<Observation>): fc.Arbitrary<MetricSample> =>
  fc.record({ canary, stable: fc.option(observation) }).map((tracks) => ({ name, ...tracks }));
const sample = fc
  .tuple(metricSample('a', observation), metricSample('b', observation))
  .map((metrics) => sampleOf(...metrics));
const sampleWithout = fc
  .tuple(metricSample('a', missing), metricSample('b', observation))
  .map((metrics) => sampleOf(...metrics));

function runAll(rules: JudgePolicy, samples: readonly Sample[]): Judgement[] {
  const judgements: Judgement[] = [];
  let state: JudgeState | null = null;
  for (const each of samples) {
    const judgement = judge(rules, state, each);
    judgements.push(judgement);
    state = judgement.state;
  }
  return judgements;
}

describe('the judge, whatever comes', () => {
  it('never passes a measurement with a metric that has no data', () => {
    fc.assert(fc.property(policy, sampleWithout, (rules, each) => judge(rules, null, each).verdict !== 'pass'));
  });

  it('never passes a step on missing data, in whatever order it comes', () => {
    fc.assert(
      fc.property(policy, fc.array(sampleWithout, { minLength: 1, maxLength: 12 }), (rules, samples) =>
        runAll(rules, samples).every(({ stepVerdict }) => stepVerdict !== 'pass'),
      ),
    );
  });

  it('passes a step only with enough measurements passed, the last one among them', () => {
    fc.assert(
      fc.property(policy, fc.array(sample, { minLength: 1, maxLength: 12 }), (rules, samples) => {
        const judgements = runAll(rules, samples);
        judgements.forEach(({ stepVerdict, decision }, index) => {
          if (stepVerdict !== 'pass') return;
          const until = judgements.slice(0, index + 1).map(({ verdict }) => verdict);
          const valid = until.filter((verdict) => verdict === 'pass' || verdict === 'fail');
          expect(valid.filter((verdict) => verdict === 'pass').length).toBeGreaterThanOrEqual(
            Math.max(1, rules.minMeasurements),
          );
          expect(until.at(-1)).toBe('pass');
          expect(decision).toBe('continue');
        });
      }),
    );
  });

  it('fails a step by failed measurements alone, and by one more than is tolerated', () => {
    fc.assert(
      fc.property(policy, fc.array(sample, { minLength: 1, maxLength: 12 }), (rules, samples) => {
        const judgements = runAll(rules, samples);
        const failed = judgements.filter(({ verdict }) => verdict === 'fail').length;
        expect(judgements.at(-1)?.decision === 'fail').toBe(failed > rules.failureLimit);
      }),
    );
  });

  it('never turns a failure into a pass by more errors of the canary', () => {
    fc.assert(
      fc.property(
        fc.record({ max: limit, maxRatio: ratio }),
        compare,
        fc.integer({ min: 20, max: 5_000 }),
        fc.nat({ max: 5_000 }),
        fc.nat({ max: 5_000 }),
        counted,
        (limits, comparison, total, a, b, stable) => {
          const rules = policyOf([errorRate(limits)], { compare: comparison });
          const at = (bad: number): Judgement =>
            judge(rules, null, errorSample(events(Math.min(bad, total), total), stable));
          const fewer = at(Math.min(a, b));
          const more = at(Math.max(a, b));
          if (fewer.verdict === 'fail') expect(more.verdict).toBe('fail');
        },
      ),
    );
  });

  it('passes a canary that fails nothing while stable fails nothing', () => {
    fc.assert(
      fc.property(
        limit,
        ratio,
        compare,
        fc.integer({ min: 20, max: 1e6 }),
        fc.integer({ min: 20, max: 1e6 }),
        (max, maxRatio, comparison, c, s) => {
          const rules = policyOf([errorRate({ max: max ?? 0.01, maxRatio })], { compare: comparison });
          expect(judge(rules, null, errorSample(events(0, c), events(0, s))).verdict).toBe('pass');
        },
      ),
    );
  });

  it('does not change its mind when asked again, and its state survives JSON', () => {
    fc.assert(
      fc.property(policy, fc.array(sample, { minLength: 1, maxLength: 6 }), (rules, samples) => {
        for (const { state } of runAll(rules, samples)) {
          expect(JSON.parse(JSON.stringify(state))).toEqual(state);
        }
        expect(runAll(rules, samples)).toEqual(runAll(rules, samples));
      }),
    );
  });

  it('writes whole sentences without an undefined number', () => {
    fc.assert(
      fc.property(policy, sample, (rules, each) => {
        const judgement = judge(rules, null, each);
        for (const sentence of [
          judgement.sentence,
          judgement.stepSentence,
          ...judgement.metrics.map((m) => m.sentence),
        ]) {
          expect(sentence).toMatch(/\.$/);
          expect(sentence).not.toMatch(/NaN|undefined|Infinity|null|\.\.$/);
        }
      }),
    );
  });
});
