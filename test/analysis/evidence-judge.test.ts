import fc from 'fast-check';
import {
  countBatch,
  evidenceLimit,
  judgeEvidence,
  NOTHING_COUNTED,
  worstVerdict,
} from '../../src/analysis/evidence-judge';
import type {
  EvidenceMetric,
  EvidencePolicy,
  EvidenceVerdict,
  HistogramBatch,
  MetricEvidence,
} from '../../src/analysis/evidence-judge';
import type { EventBatch } from '../../src/analysis/event-evidence';

const ERRORS: EvidenceMetric = { name: 'errors', kind: 'errors' };
const LATENCY: EvidenceMetric = { name: 'latency', kind: 'latency' };

function policyOf(changes: Partial<EvidencePolicy> = {}): EvidencePolicy {
  return { alpha: 0.01, tolerate: 1, clusters: 1, onset: null, minRequests: 20, metrics: [ERRORS], ...changes };
}

function events(canaryBad: number, canary: number, stableBad: number, stable: number): EventBatch {
  return { canary: { bad: canaryBad, total: canary }, stable: { bad: stableBad, total: stable } };
}

function count(
  policy: EvidencePolicy,
  metric: EvidenceMetric,
  batches: readonly (EventBatch | HistogramBatch)[],
): MetricEvidence {
  return batches.reduce((state, batch) => countBatch(policy, metric, state, batch), NOTHING_COUNTED);
}

function verdictOf(
  batches: readonly (EventBatch | HistogramBatch)[],
  metric = ERRORS,
  policy = policyOf({ metrics: [metric] }),
): EvidenceVerdict {
  return judgeEvidence(policy, metric, count(policy, metric, batches));
}

describe('the evidence judge', () => {
  it('fails a canary whose errors chance does not explain, and says whose they were', () => {
    expect(verdictOf([events(3, 25, 0, 475)])).toEqual({
      name: 'errors',
      verdict: 'fail',
      logEvidence: expect.closeTo(6.4778, 4),
      limit: Math.log(100),
      sentence:
        'errors: 3 of 3 errors came from the canary, which had 5 % of the requests: evidence 651 to 1, and it fails at 100 to 1.',
    });
  });

  it('keeps a failure, whatever comes after it', () => {
    const better = Array.from({ length: 50 }, () => events(0, 500, 20, 9_500));

    const verdict = verdictOf([events(3, 25, 0, 475), ...better]);

    expect(verdict.logEvidence).toBeLessThan(0);
    expect(verdict.verdict).toBe('fail');
  });

  it('shares alpha over the metrics', () => {
    const metrics = [ERRORS, LATENCY, { ...ERRORS, name: 'other' }];

    expect(evidenceLimit(policyOf())).toBeCloseTo(Math.log(100), 12);
    expect(evidenceLimit(policyOf({ metrics }))).toBeCloseTo(Math.log(300), 12);
  });

  it('tolerates what it is told to', () => {
    const twice = [events(100, 1_000, 500, 10_000)];

    expect(verdictOf(twice).verdict).toBe('fail');
    expect(verdictOf(twice, ERRORS, policyOf({ tolerate: 2 })).verdict).toBe('pass');
  });

  it('finds slower requests by the boundaries of a histogram, and says which', () => {
    const slower = {
      canary: { cumulative: [100, 400, 800, 1_000] },
      stable: { cumulative: [900, 2_700, 2_900, 3_000] },
    };

    expect(verdictOf([slower], LATENCY)).toMatchObject({
      verdict: 'fail',
      sentence: expect.stringContaining('requests slower than boundary 2 came from the canary, which had 25 % of'),
    });
  });

  it('refuses histograms of other boundaries than before', () => {
    const policy = policyOf({ metrics: [LATENCY] });
    const three = { canary: { cumulative: [1, 2, 3] }, stable: { cumulative: [1, 2, 3] } };
    const two = { canary: { cumulative: [1, 2] }, stable: { cumulative: [1, 2] } };

    expect(() => count(policy, LATENCY, [three, two])).toThrow(RangeError);
    expect(() => count(policy, LATENCY, [{ ...three, stable: two.stable }])).toThrow(RangeError);
  });

  it.each([
    ['no batch at all', [], 'insufficient-data', 'no batch was counted'],
    ['empty batches', [events(0, 0, 0, 0)], 'insufficient-data', 'the canary had 0 requests'],
    ['a canary that is hardly asked', [events(0, 19, 3, 900)], 'insufficient-data', 'needs 20 requests'],
    ['stable without requests', [events(40, 90, 0, 0)], 'inconclusive', "only 0 of the canary's 90 requests"],
    ['enough of both', [events(0, 20, 3, 900)], 'pass', '0 of 3 errors came from the canary'],
    ['no errors anywhere', [events(0, 20, 0, 900)], 'pass', 'no errors in either arm; the canary had 20 requests'],
  ] as const)('says of %s', (_what, batches, verdict, sentence) => {
    expect(verdictOf(batches)).toMatchObject({ verdict, sentence: expect.stringContaining(sentence) });
  });

  it('is as bad as its worst metric', () => {
    expect(worstVerdict(['pass', 'inconclusive', 'insufficient-data'])).toBe('insufficient-data');
    expect(worstVerdict(['pass', 'fail', 'error'])).toBe('fail');
    expect(worstVerdict(['pass', 'pass'])).toBe('pass');
    expect(worstVerdict([])).toBe('inconclusive');
  });
});

const arm = fc
  .tuple(fc.nat({ max: 500 }), fc.nat({ max: 500 }))
  .map(([a, b]) => ({ bad: Math.min(a, b), total: Math.max(a, b) }));
const nothing = fc.constant({ bad: 0, total: 0 });
const policy = fc.record({
  alpha: fc.constantFrom(0.001, 0.01, 0.1),
  tolerate: fc.constantFrom(1, 1.25, 3),
  clusters: fc.constantFrom(1, 2, 4),
  onset: fc.option(fc.record({ plannedBatches: fc.integer({ min: 1, max: 10 }) })),
});

describe('the evidence judge, whatever comes', () => {
  it('neither passes nor fails without counts of both arms', () => {
    const onesided = fc.oneof(fc.record({ canary: arm, stable: nothing }), fc.record({ canary: nothing, stable: arm }));
    fc.assert(
      fc.property(policy, fc.array(onesided, { maxLength: 8 }), (changes, batches) => {
        const { verdict } = verdictOf(batches, ERRORS, policyOf(changes));
        expect(['insufficient-data', 'inconclusive']).toContain(verdict);
      }),
    );
  });

  it('fails exactly when ln E has once reached the limit, and its state survives JSON', () => {
    const batches = fc.array(fc.record({ canary: arm, stable: arm }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(policy, batches, (changes, all) => {
        const rules = policyOf(changes);
        let state = NOTHING_COUNTED;
        let highest = -Infinity;
        for (const batch of all) {
          state = JSON.parse(JSON.stringify(countBatch(rules, ERRORS, state, batch))) as MetricEvidence;
          const judged = judgeEvidence(rules, ERRORS, state);
          highest = Math.max(highest, judged.logEvidence);
          expect(judged.verdict === 'fail').toBe(highest >= judged.limit);
          expect(judged.sentence).toMatch(/^errors: .*\.$/);
          expect(judged.sentence).not.toMatch(/NaN|undefined|Infinity/);
        }
      }),
    );
  });
});
