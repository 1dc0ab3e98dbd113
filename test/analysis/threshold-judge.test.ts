import { gatherEvidence } from '../../src/analysis/gather-evidence';
import { judge } from '../../src/analysis/threshold-judge';
import type { Sample } from '../../src/analysis/sample';
import type { Judgement, JudgePolicy, JudgeState, Verdict } from '../../src/analysis/verdict';
import { broken, errorRate, errorSample, events, latency, noData, policyOf, sampleOf, value } from './samples';

const COMPARE = { alpha: 0.01, tolerate: 1.25 };

function judgeAll(policy: JudgePolicy, samples: readonly Sample[]): Judgement {
  let state: JudgeState | null = null;
  let last: Judgement | null = null;
  for (const sample of samples) {
    last = judge(policy, state, sample);
    state = JSON.parse(JSON.stringify(last.state)) as JudgeState;
  }
  if (last === null) throw new Error('no samples');
  return last;
}

it("gives a metric's verdict the note that the spec has, whatever the verdict is", () => {
  const metrics = [errorRate({ max: 0.05, note: 'Ask the shop.' }), latency({ max: 1 })];
  for (const canary of [events(0, 100), events(50, 100), noData(), broken()]) {
    const [noted, plain] = judge(policyOf(metrics), null, errorSample(canary, events(0, 2000))).metrics;

    expect(noted?.note).toBe('Ask the shop.');
    expect(plain).not.toHaveProperty('note');
  }
});

it('keeps what stable was asked by, too, where it was asked by words of its own', () => {
  const ofStable = { ...events(3, 2120), query: 'of stable' };
  const policy = policyOf([errorRate({ maxRatio: 2 })]);
  const metricOf = (stable: typeof ofStable | null) => judge(policy, null, errorSample(events(7, 112), stable)).metrics;

  expect(metricOf(ofStable)).toMatchObject([{ query: 'q', stableQuery: 'of stable' }]);
  expect(metricOf(events(3, 2120))[0]).not.toHaveProperty('stableQuery');
  expect(metricOf(null)[0]).not.toHaveProperty('stableQuery');
});

it('says what a latency is held against by its objective', () => {
  const held = { name: 'p95-latency', kind: 'latency', objective: 0.01, slowerThan: 0.5, dryRun: false } as const;
  const gathering = { alpha: 0.01, tolerate: 1, clusters: 1, plannedBatches: 1, minRequests: 20, promotion: null };
  const look = { subject: 'canary', since: 0, alone: true } as const;
  const { findings } = gatherEvidence({ ...gathering, metrics: [held] }, null, look, []);
  const sample = sampleOf({ name: 'p95-latency', canary: value(0.2, 200), stable: null });

  const { metrics } = judge(policyOf([latency({ max: 0.5 })]), null, sample, findings);

  expect(metrics[0]?.limit).toBe('max 500 ms, objective 1 % slower than 500 ms, must not be proven worse than stable');
});

describe('fixed limits', () => {
  it.each([
    ['at the limit', errorRate({ max: 0.05 }), events(5, 100), 'pass'],
    ['above it', errorRate({ max: 0.05 }), events(6, 100), 'fail'],
    ['no errors at all', errorRate({ max: 0.05 }), events(0, 100), 'pass'],
    ['a limit of nothing', errorRate({ max: 0 }), events(0, 100), 'pass'],
    ['below a minimum', errorRate({ name: 'error-rate', min: 0.99 }), events(98, 100), 'fail'],
    ['at a minimum', errorRate({ name: 'error-rate', min: 0.99 }), events(99, 100), 'pass'],
    ['too few requests', errorRate({ max: 0.05 }), events(19, 19), 'insufficient-data'],
    ['no requests', errorRate({ max: 0.05 }), events(0, 0), 'insufficient-data'],
    ['no data', errorRate({ max: 0.05 }), noData(), 'insufficient-data'],
    ['a value of null', errorRate({ max: 0.05 }), value(null), 'insufficient-data'],
    ['NaN', errorRate({ max: 0.05 }), value(Number.NaN), 'insufficient-data'],
    ['infinity', errorRate({ min: 0.05 }), value(Number.POSITIVE_INFINITY), 'insufficient-data'],
    [
      'NaN counts',
      errorRate({ max: 0.05 }),
      { query: 'q', value: 0, events: { bad: Number.NaN, total: 100 } },
      'insufficient-data',
    ],
    ['a broken backend', errorRate({ max: 0.05 }), broken(), 'error'],
    ['a value without known requests', errorRate({ max: 0.05 }), value(0.01), 'pass'],
    ['a value with too few requests', errorRate({ max: 0.05 }), value(0.01, 3), 'insufficient-data'],
    ['no limit at all', errorRate(), events(0, 100), 'inconclusive'],
  ] as const)('%s', (_name, metric, canary, expected: Verdict) => {
    const judgement = judge(policyOf([metric]), null, errorSample(canary, events(0, 2000)));

    expect(judgement.verdict).toBe(expected);
    expect(judgement.stepVerdict).toBe(expected);
    expect(judgement.sentence).toMatch(/\.$/);
    expect(judgement.sentence).not.toMatch(/NaN|undefined|null/);
  });

  it('says what a person needs to know, with the counts', () => {
    const judgement = judge(policyOf([errorRate({ max: 0.05 })]), null, errorSample(events(7, 112), events(3, 2120)));

    expect(judgement.sentence).toBe(
      '7 of 112 canary requests failed (6.3 %), more than the allowed 5 %; stable: 3 of 2120 (0.14 %).',
    );
    expect(judgement.metrics).toEqual([
      {
        name: 'error-rate',
        unit: 'ratio',
        verdict: 'fail',
        canary: 0.0625,
        stable: 3 / 2120,
        canaryRequests: 112,
        stableRequests: 2120,
        limit: 'max 5 %',
        sentence: judgement.sentence,
        query: 'q',
      },
    ]);
    expect(judgement.stepSentence).toBe(`1 measurement failed: ${judgement.sentence}`);
  });

  it.each([
    ['about 6 of 12 canary requests failed (56 %)', 6.4, 11.5],
    ['5 of 32 canary requests failed (16 %)', 5.1, 32.3],
    ['0.4 of 1.8 canary requests failed (22 %)', 0.4, 1.8],
    ['about 1 of 1 canary request failed (75 %)', 0.9, 1.2],
  ])(
    'writes counts that were extrapolated as whole requests, about so many where they do not make the share: %s',
    (text, bad, total) => {
      const sample = errorSample(events(bad, total), events(30.2, 2120.4));
      const policy = { ...policyOf([errorRate({ max: 0.05 })]), minRequests: 1 };

      expect(judge(policy, null, sample).sentence).toBe(
        `${text}, more than the allowed 5 %; stable: 30 of 2120 (1.4 %).`,
      );
    },
  );

  it('never writes a value over the limit like the limit', () => {
    const sample = errorSample(events(50001, 1_000_000), null);

    expect(judge(policyOf([errorRate({ max: 0.05 })]), null, sample).sentence).toBe(
      '50001 of 1000000 canary requests failed (5.0001 %), more than the allowed 5 %.',
    );
  });

  it('tells latencies in seconds or milliseconds', () => {
    const sample = sampleOf({ name: 'p95-latency', canary: value(1.34, 150), stable: value(0.2104, 2000) });

    expect(judge(policyOf([latency({ max: 1 })]), null, sample).sentence).toBe(
      'p95-latency 1.3 s over 150 canary requests, more than the allowed 1 s; stable: 210 ms.',
    );
  });

  it('fails by the worst of several metrics, and names only what failed', () => {
    const policy = policyOf([errorRate({ max: 0.05 }), latency({ max: 1 })]);
    const sample = sampleOf(
      { name: 'error-rate', canary: broken(), stable: broken() },
      { name: 'p95-latency', canary: value(2, 100), stable: null },
    );

    const judgement = judge(policy, null, sample);

    expect(judgement.verdict).toBe('fail');
    expect(judgement.sentence).toBe('p95-latency 2 s over 100 canary requests, more than the allowed 1 s.');
  });

  it('names five of many metrics, and says how many more there are', () => {
    const names = Array.from({ length: 50 }, (_, index) => `errors-${index}`);
    const policy = policyOf(names.map((name) => errorRate({ name, max: 0.05 })));
    const sample = sampleOf(...names.map((name) => ({ name, canary: events(20, 100), stable: null })));

    const { sentence, metrics } = judge(policy, null, sample);

    expect(sentence.match(/20 of 100/g)).toHaveLength(5);
    expect(sentence).toMatch(/more than the allowed 5 %\. And 45 more metrics\.$/);
    expect(metrics.every((metric) => metric.sentence.includes('20 of 100'))).toBe(true);
  });

  it('takes a metric that the source left out for an error', () => {
    expect(judge(policyOf([errorRate({ max: 1 })]), null, sampleOf()).verdict).toBe('error');
  });

  it.each([
    ['ratio', errorRate({ max: 0.05 }), 'error-rate', 'no share of events is'],
    ['seconds', latency({ max: 1 }), 'p95-latency', 'no time is'],
  ])('does not take a value below 0 in %s for one that keeps its limit', (_unit, metric, name, whose) => {
    const judged = (canary: number): ReturnType<typeof judge> =>
      judge(policyOf([metric]), null, sampleOf({ name, canary: value(canary, 100), stable: null }));

    expect(judged(-0.25)).toMatchObject({
      verdict: 'error',
      sentence: `${name}: the canary's value is -0.25, and ${whose} below 0; a difference of counters falls when one is reset, which increase() reckons with.`,
    });
    expect(judged(0).verdict).toBe('pass');
    expect(judged(-1e-16).verdict).toBe('pass');
  });

  it('takes a count below 0 for what it is', () => {
    const metric = errorRate({ name: 'orders', unit: 'count', max: 5 });

    const sample = sampleOf({ name: 'orders', canary: value(-3), stable: null });

    expect(judge(policyOf([metric]), null, sample).verdict).toBe('pass');
  });

  it('does not pass without a metric', () => {
    expect(judge(policyOf([]), null, sampleOf()).stepVerdict).toBe('inconclusive');
  });
});

describe('ratio to stable', () => {
  const policy = policyOf([errorRate({ maxRatio: 2 })]);
  it.each([
    ['within', events(4, 200), events(20, 2000), 'pass'],
    ['above', events(5, 200), events(20, 2000), 'fail'],
    ['nothing bad on either track', events(0, 200), events(0, 2000), 'pass'],
    ['a flawless stable counts as one bad event: within', events(1, 2000), events(0, 1000), 'pass'],
    ['a flawless stable counts as one bad event: above', events(1, 200), events(0, 2000), 'fail'],
    ['no stable requests', events(1, 200), events(0, 0), 'inconclusive'],
    ['too few stable requests', events(1, 200), events(0, 19), 'inconclusive'],
    ['no stable data', events(1, 200), noData(), 'inconclusive'],
    ['no stable track', events(1, 200), null, 'inconclusive'],
    ['a broken backend for stable', events(1, 200), broken(), 'error'],
  ] as const)('%s', (_name, canary, stable, expected: Verdict) => {
    expect(judge(policy, null, errorSample(canary, stable)).verdict).toBe(expected);
  });

  it('knows no multiples of a latency of 0', () => {
    const sample = sampleOf({ name: 'p95-latency', canary: value(0.2, 200), stable: value(0, 2000) });

    expect(judge(policyOf([latency({ maxRatio: 2 })]), null, sample).verdict).toBe('inconclusive');
  });
});

describe('comparison with stable by an exact test', () => {
  const policy = policyOf([errorRate({ max: 0.5 })], { compare: COMPARE });
  it.each([
    ['the same', events(10, 1000), events(190, 19000), 'pass'],
    ['worse, but by chance', events(2, 112), events(12, 2120), 'pass'],
    ['worse, and not by chance', events(9, 112), events(12, 2120), 'fail'],
    ['better', events(0, 1000), events(190, 19000), 'pass'],
    ['no error on either track', events(0, 112), events(0, 2120), 'pass'],
    ['worse, but tolerated', events(1150, 100_000), events(1000, 100_000), 'pass'],
    ['worse than tolerated', events(1500, 100_000), events(1000, 100_000), 'fail'],
    ['nothing to compare with: only the limit is kept', events(9, 112), events(0, 0), 'pass'],
    ['broken for stable', events(9, 112), broken(), 'error'],
    ['fractional counts of a backend that extrapolates', events(9.3, 112.4), events(11.8, 2119.7), 'fail'],
  ] as const)('%s', (_name, canary, stable, expected: Verdict) => {
    expect(judge(policy, null, errorSample(canary, stable)).verdict).toBe(expected);
  });

  it('says how unlikely it was', () => {
    expect(judge(policy, null, errorSample(events(9, 112), events(12, 2120))).sentence).toMatch(
      /^9 of 112 canary requests failed \(8 %\), more than 1\.25 times stable's by more than chance explains \(p = [\d.e-]+, below 0\.01\); stable: 12 of 2120 \(0\.57 %\)\.$/,
    );
  });

  it('compares failures where the metric counts successes', () => {
    const metric = errorRate({ name: 'success-rate', min: 0.5 });
    const run = (canary: number): Judgement =>
      judge(
        policyOf([metric], { compare: COMPARE }),
        null,
        sampleOf({ name: 'success-rate', canary: events(canary, 1000), stable: events(18_900, 19_000) }),
      );

    expect(run(1000).verdict).toBe('pass');
    expect(run(950).verdict).toBe('fail');
    expect(run(950).sentence).toContain('success-rate 95 % (950 of 1000 canary requests)');
  });

  it('leaves metrics without counts alone', () => {
    const sample = sampleOf({ name: 'p95-latency', canary: value(5, 200), stable: value(1, 2000) });

    const [verdict] = judge(policyOf([latency({ max: 10 })], { compare: COMPARE }), null, sample).metrics;

    expect(verdict?.limit).toBe('max 10 s');
  });
});

describe('at 100 %, without stable traffic', () => {
  const comparisonOnly = errorRate({ name: 'other-errors', maxRatio: 2 });
  const idle = { name: 'other-errors', canary: events(1, 1000), stable: events(0, 0) };

  it('passes by the fixed limits', () => {
    const policy = policyOf([errorRate({ max: 0.05, maxRatio: 2 })], { compare: COMPARE });

    const judgement = judge(policy, null, errorSample(events(1, 1000), events(0, 0)));

    expect(judgement.verdict).toBe('pass');
    expect(judgement.sentence).toBe(
      '1 of 1000 canary requests failed (0.1 %), within the limits; not compared: stable had no requests.',
    );
  });

  it('does not pass by a comparison that cannot be made', () => {
    expect(judge(policyOf([comparisonOnly]), null, sampleOf(idle)).stepVerdict).toBe('inconclusive');
  });

  it('passes when another metric keeps a fixed limit', () => {
    const policy = policyOf([errorRate({ max: 0.05 }), comparisonOnly]);
    const limited = { name: 'error-rate', canary: events(1, 1000), stable: events(0, 0) };

    const judgement = judge(policy, null, sampleOf(limited, idle));

    expect(judgement.verdict).toBe('pass');
    expect(judgement.metrics.map((metric) => metric.verdict)).toEqual(['pass', 'inconclusive']);
  });

  it('does not take missing numbers of stable for no traffic', () => {
    const policy = policyOf([errorRate({ max: 0.05 }), comparisonOnly]);
    const limited = { name: 'error-rate', canary: events(1, 1000), stable: events(10, 1000) };

    expect(judge(policy, null, sampleOf(limited, { ...idle, stable: noData() })).verdict).toBe('inconclusive');
  });
});

describe('a step', () => {
  const good = errorSample(events(0, 100), null);
  const bad = errorSample(events(50, 100), null);
  const empty = errorSample(noData(), null);
  const gone = errorSample(broken(), null);
  const metric = errorRate({ max: 0.05 });
  const policy = policyOf([metric], { minMeasurements: 2, failureLimit: 1, consecutiveErrorLimit: 1 });

  it.each([
    ['enough passed', [good, good], 'continue', 'pass'],
    ['one is not enough', [good], 'continue', 'insufficient-data'],
    ['missing data does not count', [good, empty], 'continue', 'insufficient-data'],
    ['errors do not count', [good, gone], 'continue', 'error'],
    ['a tolerated failure, overcome', [bad, good, good], 'continue', 'pass'],
    ['a tolerated failure last', [good, good, bad], 'continue', 'inconclusive'],
    ['still last when only missing data came after it', [good, good, bad, empty], 'continue', 'inconclusive'],
    ['one failure more than tolerated', [good, good, bad, good, bad], 'fail', 'fail'],
    ['errors in a row', [good, good, gone, gone], 'error', 'error'],
    ['errors apart', [gone, good, gone, good, gone, good], 'continue', 'pass'],
    ['a backend that went away after enough passed', [good, good, gone], 'continue', 'error'],
    ['silence after enough passed', [good, good, empty], 'continue', 'insufficient-data'],
    ['silence that ends', [good, good, empty, good], 'continue', 'pass'],
  ] as const)('%s', (_name, samples, decision, stepVerdict) => {
    const judgement = judgeAll(policy, samples);

    expect(judgement.decision).toBe(decision);
    expect(judgement.stepVerdict).toBe(stepVerdict);
    expect(judgement.stepSentence).toMatch(/\.$/);
  });

  it('carries its counts', () => {
    expect(judgeAll(policy, [good, gone, bad, empty, gone]).state).toEqual({
      kind: 'threshold',
      measurements: 5,
      passed: 1,
      failed: 1,
      consecutiveErrors: 1,
      lastFailure: '50 of 100 canary requests failed (50 %), more than the allowed 5 %.',
      lastValid: 'fail',
    });
  });

  it('says how much is missing', () => {
    expect(judgeAll(policy, [good]).stepSentence).toBe('1 of 1 measurement passed, at least 2 must.');
    expect(judgeAll(policy, [good, empty]).stepSentence).toBe(
      '1 of 2 measurements passed, at least 2 must. error-rate: no data for the canary: nothing there.',
    );
    expect(judgeAll(policy, [bad, good, bad]).stepSentence).toBe(
      '2 measurements failed, more than the tolerated 1: 50 of 100 canary requests failed (50 %), more than the allowed 5 %.',
    );
    expect(judgeAll(policy, [gone, gone]).stepSentence).toBe(
      '2 measurements in a row could not be taken: error-rate: could not be measured: Prometheus answered 500.',
    );
  });

  it('never passes on no measurement, even if asked for none', () => {
    const lax = policyOf([metric], { minMeasurements: 0, consecutiveErrorLimit: 9 });

    expect(judgeAll(lax, [empty]).stepVerdict).toBe('insufficient-data');
  });
});
