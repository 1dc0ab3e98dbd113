import fc from 'fast-check';
import { judgeAsKayenta } from '../../src/analysis/kayenta-judge';
import type { KayentaMetric, KayentaPolicy, KayentaResult, KayentaSeries } from '../../src/analysis/kayenta-policy';
import { kayentaMetric } from './kayenta-metrics';

function metricOf(changes: Partial<KayentaMetric> = {}): KayentaMetric {
  return kayentaMetric({ name: 'latency', groups: ['g'], direction: 'either', ...changes });
}

function policyOf(metrics: readonly KayentaMetric[], groupWeights: Record<string, number> = {}): KayentaPolicy {
  return {
    metrics,
    groupWeights,
    scoreThresholds: { pass: 95, marginal: 75 },
  };
}

function judged(metric: KayentaMetric, control: readonly number[], experiment: readonly number[]): KayentaResult {
  return judgeAsKayenta(policyOf([metric]), new Map([[metric.name, { control, experiment }]]));
}

function classOf(metric: KayentaMetric, control: readonly number[], experiment: readonly number[]): string | undefined {
  return judged(metric, control, experiment).metrics[0]?.classification;
}

/** 20 values around the middle, without ties. */
function around(middle: number, step = 0.1): number[] {
  return Array.from({ length: 20 }, (_, i) => middle + (((i * 7) % 20) - 9.5) * step);
}

const STABLE = around(10);
const HIGHER = around(12);
const LOWER = around(8);

describe("Kayenta's judge", () => {
  it('passes what is alike, in whatever order', () => {
    expect(judged(metricOf(), STABLE, [...STABLE].reverse())).toMatchObject({
      metrics: [{ name: 'latency', classification: 'Pass' }],
      groups: { g: 100 },
      score: 100,
      classification: 'Pass',
    });
  });

  it.each([
    ['either', HIGHER, 'High'],
    ['increase', HIGHER, 'High'],
    ['decrease', HIGHER, 'Pass'],
    ['either', LOWER, 'Low'],
    ['increase', LOWER, 'Pass'],
    ['decrease', LOWER, 'Low'],
  ] as const)('looks at the direction %s', (direction, experiment, expected) => {
    expect(classOf(metricOf({ direction }), STABLE, experiment)).toBe(expected);
  });

  it('says by how much, and what would have been tolerated', () => {
    expect(judged(metricOf(), STABLE, HIGHER).metrics[0]?.sentence).toMatch(
      /^latency: the experiment is 2 higher \(98 % interval 1\.\d+ to 2\.\d+; tolerated are 0\.5 either way\), meanRatio 1\.2\.$/,
    );
  });

  it.each([
    ['a ratio below the allowed increase', { allowedIncrease: 1.3 }, HIGHER, 'Pass'],
    ['a ratio of the allowed increase', { allowedIncrease: 1.15 }, HIGHER, 'High'],
    ['a ratio above the allowed decrease', { allowedDecrease: 0.7 }, LOWER, 'Pass'],
    ['cles below the allowed increase', { measure: 'cles', allowedIncrease: 1 }, around(11), 'Pass'],
    ['cles of the allowed increase', { measure: 'cles', allowedIncrease: 0.8 }, around(11), 'High'],
  ] as const)('weighs the effect: %s', (_what, effectSize, experiment, expected) => {
    const metric = metricOf({ effectSize: { ...metricOf().effectSize, ...effectSize } });

    expect(classOf(metric, STABLE, experiment)).toBe(expected);
  });

  it('does not ask for a ratio to nothing', () => {
    const metric = metricOf({ effectSize: { ...metricOf().effectSize, allowedIncrease: 5 } });

    expect(classOf(metric, Array<number>(20).fill(0), HIGHER)).toBe('High');
  });

  it('compares constants, which Kayenta has to add noise to', () => {
    expect(classOf(metricOf(), Array<number>(9).fill(3), Array<number>(9).fill(3))).toBe('Pass');
    expect(classOf(metricOf(), Array<number>(9).fill(3), Array<number>(9).fill(4))).toBe('High');
    expect(classOf(metricOf(), Array<number>(9).fill(-3), Array<number>(9).fill(-4))).toBe('Low');
  });

  it.each([
    ['remove', 'Pass'],
    ['replace', 'Low'],
  ] as const)('treats what is no number by the strategy %s', (nanStrategy, expected) => {
    const gaps = [...STABLE.slice(0, 5), ...Array<number>(15).fill(Number.NaN)];

    expect(classOf(metricOf({ nanStrategy }), STABLE, gaps)).toBe(expected);
  });

  it.each(['remove', 'replace'] as const)('has no data in an arm of nothing but NaN: %s', (nanStrategy) => {
    const nothing = Array<number>(20).fill(Number.NaN);
    const metric = metricOf({ nanStrategy });

    expect(judged(metric, nothing, nothing)).toMatchObject({
      metrics: [
        { classification: 'Nodata', sentence: expect.stringContaining('the experiment has 0 values') as string },
      ],
      classification: 'Fail',
    });
    expect(classOf(metric, STABLE, nothing)).toBe('Nodata');
    expect(classOf(metric, nothing, STABLE)).toBe('Nodata');
  });

  it('leaves outliers out when it is told to', () => {
    const spikes = [...STABLE, 500];
    const effectSize = { ...metricOf().effectSize, measure: 'meanRatio', allowedIncrease: 1.5 } as const;
    const metric = metricOf({ effectSize, outliers: { strategy: 'remove', factor: 3 } });

    expect(
      classOf(
        metric,
        STABLE,
        spikes.map((v) => v + 2),
      ),
    ).toBe('Pass');
    expect(
      classOf(
        { ...metric, outliers: { strategy: 'keep', factor: 3 } },
        STABLE,
        spikes.map((v) => v + 2),
      ),
    ).toBe('High');
  });

  it.each([
    [{}, 'Nodata', false],
    [{ mustHaveData: true }, 'NodataFailMetric', false],
    [{ critical: true }, 'Nodata', true],
    [{ critical: true, mustHaveData: true }, 'Nodata', true],
    [{ nanStrategy: 'replace' }, 'Nodata', false],
  ] as const)('without data: %j', (changes, classification, criticalFailure) => {
    const result = judged(metricOf(changes), STABLE, []);

    expect(result.metrics[0]).toMatchObject({ classification, criticalFailure });
    expect(result).toMatchObject({ score: 0, classification: 'Fail' });
  });

  it('has nothing to say of fewer than five values, where Kayenta calls any four that lie apart High', () => {
    expect(classOf(metricOf(), [1, 2, 3, 4], [11, 12, 13, 14])).toBe('Nodata');
    expect(classOf(metricOf(), [1, 2, 3, 4, 5], [11, 12, 13, 14, 15])).toBe('High');
  });

  it('does not let infinity pass, and lets it fail a critical metric', () => {
    expect(classOf(metricOf(), STABLE, [...STABLE, Infinity])).toBe('Error');
    expect(judged(metricOf({ critical: true }), STABLE, [...STABLE, Infinity])).toMatchObject({
      metrics: [{ criticalFailure: true }],
      score: 0,
    });
  });

  it('does not depend on the unit', () => {
    const value = fc.double({ min: 0.5, max: 2, noNaN: true });
    const values = fc.array(value, { minLength: 5, maxLength: 25 });
    fc.assert(
      fc.property(values, values, fc.integer({ min: -60, max: 60 }), (control, experiment, power) => {
        const unit = (list: readonly number[]): number[] => list.map((v) => v * 2 ** power);
        expect(classOf(metricOf(), unit(control), unit(experiment))).toBe(classOf(metricOf(), control, experiment));
      }),
    );
  });

  describe('scores', () => {
    const series = new Map<string, KayentaSeries>([
      ['good', { control: STABLE, experiment: STABLE }],
      ['fine', { control: STABLE, experiment: STABLE }],
      ['bad', { control: STABLE, experiment: HIGHER }],
      ['none', { control: [], experiment: [] }],
    ]);
    const score = (metrics: readonly KayentaMetric[], weights: Record<string, number> = {}): KayentaResult =>
      judgeAsKayenta(policyOf(metrics, weights), series);
    const named = (name: string, changes: Partial<KayentaMetric> = {}): KayentaMetric => metricOf({ name, ...changes });

    it('each group by its passed metrics, and the whole by the weights', () => {
      const metrics = [
        named('good', { groups: ['a'] }),
        named('bad', { groups: ['a', 'b'] }),
        named('fine', { groups: ['b', 'c'] }),
      ];

      expect(score(metrics, { a: 60 })).toMatchObject({
        groups: { a: 50, b: 50, c: 100 },
        score: 60,
        classification: 'Fail',
      });
      expect(score(metrics, { a: 10, b: 30, c: 60 })).toMatchObject({ score: 80, classification: 'Marginal' });
    });

    it('rounds to two decimals', () => {
      expect(score([named('good'), named('fine'), named('bad')]).score).toBe(66.67);
    });

    it('0 for a critical metric beyond its critical bound, and only beyond it', () => {
      const critical = named('bad', { critical: true });
      const bounded = { ...critical, effectSize: { ...critical.effectSize, criticalIncrease: 2 } };

      expect(score([named('good'), critical])).toMatchObject({ score: 0, classification: 'Fail' });
      expect(score([named('good'), bounded]).score).toBe(50);
    });

    it('0 with half of the metrics without data, and counts others without data as not passed', () => {
      expect(score([named('good'), named('none')])).toMatchObject({ groups: { g: 50 }, score: 0 });
      expect(score([named('good'), named('fine'), named('none')])).toMatchObject({
        score: 66.67,
        classification: 'Fail',
      });
    });

    it('leaves muted metrics out, and is 0 when nothing is left', () => {
      expect(score([named('good'), named('bad', { muted: true, critical: true })])).toMatchObject({ score: 100 });
      expect(score([named('good', { muted: true })])).toMatchObject({ score: 0, classification: 'Fail' });
    });
  });
});
