import { addPoints, POINTS_KEPT, withKayenta } from '../../src/analysis/kayenta-course';
import type { KayentaPoints, KayentaReport } from '../../src/analysis/kayenta-course';
import type { KayentaMetric, KayentaPolicy } from '../../src/analysis/kayenta-policy';
import { judgePoints, withoutComparison } from '../../src/analysis/kayenta-report';
import type { MetricVerdict } from '../../src/analysis/verdict';
import { kayentaMetric } from './kayenta-metrics';

function metricOf(name: string, changes: Partial<KayentaMetric> = {}): KayentaMetric {
  return kayentaMetric({ name, groups: ['g'], direction: 'increase', ...changes });
}

function policyOf(...metrics: KayentaMetric[]): KayentaPolicy {
  return { metrics, groupWeights: {}, scoreThresholds: { pass: 95, marginal: 75 } };
}

function seen(name: string, changes: Partial<MetricVerdict> = {}): MetricVerdict {
  const counts = { canaryRequests: 100, stableRequests: 100 };
  const told = { limit: '', sentence: '', query: '' };
  return { name, unit: 'ratio', verdict: 'pass', canary: 0.02, stable: 0.01, ...counts, ...told, ...changes };
}

const LOW = [10, 11, 9, 10.5, 9.5, 10.2, 9.8];
const HIGH = LOW.map((value) => value + 10);

function points(
  name: string,
  canary: readonly (number | null)[],
  stable: readonly (number | null)[] = LOW,
): KayentaPoints {
  return { name, canary, stable };
}

describe('the values of a weight', () => {
  const policy = policyOf(metricOf('a'), metricOf('b'));

  it('are one of each look, track and metric of the config, in JSON; null where there was none', () => {
    const first = addPoints(policy, [], [seen('a'), seen('other')], 20);
    const both = addPoints(
      policy,
      JSON.parse(JSON.stringify(first)) as KayentaPoints[],
      [seen('b', { canary: null }), seen('a', { canary: 3 })],
      20,
    );

    expect(both).toEqual([
      { name: 'a', canary: [0.02, 3], stable: [0.01, 0.01] },
      { name: 'b', canary: [null, null], stable: [null, 0.01] },
    ]);
  });

  it('are none where fewer requests are behind them than a verdict needs', () => {
    const few = [seen('a', { canaryRequests: 19, stableRequests: 20 }), seen('b', { canaryRequests: null })];

    expect(addPoints(policy, [], few, 20)).toEqual([
      { name: 'a', canary: [null], stable: [0.01] },
      { name: 'b', canary: [0.02], stable: [0.01] },
    ]);
  });

  it('are the newest, however long a soak is', () => {
    let kept: readonly KayentaPoints[] = [];
    for (let look = 0; look < POINTS_KEPT + 7; look += 1)
      kept = addPoints(policy, kept, [seen('a', { canary: look })], 20);

    expect(kept[0]?.canary).toHaveLength(POINTS_KEPT);
    expect(kept[0]?.canary[0]).toBe(7);
    expect(kept[0]?.stable).toHaveLength(POINTS_KEPT);
  });
});

describe("Kayenta's answer about a weight", () => {
  it.each([
    ['pass', [points('a', LOW), points('b', LOW)]],
    ['fail', [points('a', HIGH), points('b', HIGH)]],
    // Three of four in one group: 75 is marginal.
    ['inconclusive', [points('a', LOW), points('b', LOW), points('c', LOW), points('d', HIGH)]],
    ['insufficient-data', [points('a', LOW.slice(0, 4)), points('b', LOW)]],
    [
      'insufficient-data',
      [
        points(
          'a',
          LOW.map(() => null),
        ),
        points(
          'b',
          LOW.map(() => null),
        ),
      ],
    ],
    [
      'insufficient-data',
      [
        points(
          'a',
          LOW,
          LOW.map(() => null),
        ),
        points('b', LOW),
      ],
    ],
    ['insufficient-data', []],
  ] as const)('is %s', (verdict, given) => {
    const names = given.length === 0 ? ['a'] : given.map(({ name }) => name);

    expect(judgePoints(policyOf(...names.map((name) => metricOf(name))), given).verdict).toBe(verdict);
  });

  it('holds nothing that is missing against the canary, even where Kayenta does', () => {
    for (const changes of [{ critical: true }, { mustHaveData: true }, { nanStrategy: 'replace' }] as const) {
      const policy = policyOf(metricOf('a', changes), metricOf('b'));

      const answer = judgePoints(policy, [points('a', [null, null, null, null, null, null]), points('b', LOW)]);

      expect(answer).toMatchObject({ verdict: 'insufficient-data', result: { classification: 'Fail' } });
      expect(answer.sentence).toContain('a: the experiment has 0 values, the control 7; 5 each are needed.');
    }
  });

  it('fails where the others are bad enough, whatever the missing ones would have shown', () => {
    const policy = policyOf(metricOf('a'), metricOf('b'), metricOf('c'));

    const answer = judgePoints(policy, [points('a', HIGH), points('b', HIGH), points('c', [null])]);

    expect(answer.verdict).toBe('fail');
    expect(answer.sentence).toMatch(/^By Kayenta's judge, of 7 looks: Score 0 of 100: Fail/u);
    expect(answer.sentence).toContain('a: the experiment is 10 higher');
  });

  it('waits for no metric that is muted', () => {
    const policy = policyOf(metricOf('a'), metricOf('b', { muted: true }));

    expect(judgePoints(policy, [points('a', LOW), points('b', [null])]).verdict).toBe('pass');
  });
});

describe('a step', () => {
  const passing = { decision: 'continue', stepVerdict: 'pass', stepSentence: '3 of 3 passed.' } as const;
  const policy = policyOf(metricOf('a'));
  const answerOf = (canary: readonly number[]): KayentaReport => judgePoints(policy, [points('a', canary)]);

  it('does not pass before the judge was asked, and fails without it', () => {
    expect(withKayenta(passing, null)).toMatchObject({ decision: 'continue', stepVerdict: 'insufficient-data' });
    const failing = { decision: 'fail', stepVerdict: 'fail', stepSentence: 'Too many errors.' } as const;
    expect(withKayenta(failing, answerOf(LOW))).toEqual(failing);
  });

  it('passes with it, and fails at once by it', () => {
    expect(withKayenta(passing, answerOf(LOW))).toMatchObject({
      stepVerdict: 'pass',
      stepSentence: expect.stringMatching(/^3 of 3 passed\. By Kayenta's judge, of 7 looks: Score 100/u) as string,
    });
    expect(withKayenta(passing, answerOf(HIGH))).toMatchObject({ decision: 'fail', stepVerdict: 'fail' });
    expect(withKayenta({ ...passing, stepVerdict: 'error' }, answerOf(HIGH))).toMatchObject({ decision: 'fail' });
  });

  it('is held up by what the judge cannot say, and by what the metrics cannot', () => {
    expect(withKayenta(passing, answerOf([1]))).toMatchObject({
      decision: 'continue',
      stepVerdict: 'insufficient-data',
    });
    expect(withKayenta({ ...passing, stepVerdict: 'error' }, answerOf(LOW))).toMatchObject({ stepVerdict: 'error' });
  });

  it('goes by its metrics where nothing is left to compare with, and says so', () => {
    const alone = withoutComparison([], 'all of the traffic goes to the new version');

    expect(withKayenta(passing, alone)).toEqual({
      ...passing,
      stepSentence: "3 of 3 passed. Kayenta's judge was not asked: all of the traffic goes to the new version.",
    });
  });
});
