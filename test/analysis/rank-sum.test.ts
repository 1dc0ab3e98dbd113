import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { commonLanguageEffect, meanRatio } from '../../src/analysis/effect-size';
import { normalQuantile } from '../../src/analysis/normal-quantile';
import { percentile, withoutOutliers } from '../../src/analysis/outliers';
import { kthDifference } from '../../src/analysis/pairwise-differences';
import { rankSumShift } from '../../src/analysis/rank-sum';

interface Reference {
  readonly rows: readonly {
    readonly x: readonly number[];
    readonly y: readonly number[];
    readonly estimate: number;
    readonly normal: readonly [number, number];
    readonly exact?: readonly [number, number];
    readonly meanRatio: number;
    readonly cles: number;
    readonly percentiles: readonly number[];
  }[];
  readonly quantiles: readonly (readonly [p: number, z: number])[];
}

const reference = JSON.parse(readFileSync(join(__dirname, '../reference/rank-sum.json'), 'utf8')) as Reference;
const CONFIDENCE = 0.98;

function errorOf(actual: number, expected: number): number {
  return actual === expected ? 0 : Math.abs(actual - expected) / Math.abs(expected);
}

describe('the shift of two samples', () => {
  it("has the interval of R's normal approximation, in any unit", () => {
    const errors = reference.rows.flatMap(({ x, y, normal, estimate }) => {
      const shift = rankSumShift(x, y, { confidence: CONFIDENCE, method: 'normal' });
      return [errorOf(shift.lower, normal[0]), errorOf(shift.upper, normal[1]), errorOf(shift.estimate, estimate)];
    });

    expect(Math.max(...errors)).toBeLessThan(1e-9);
  });

  it("has R's exact interval where R takes it, and the approximation elsewhere", () => {
    const shifts = reference.rows.map(({ x, y, normal, exact }) => ({
      shift: rankSumShift(x, y, { confidence: CONFIDENCE, method: 'exact' }),
      expected: exact ?? normal,
      method: exact === undefined ? 'normal' : 'exact',
    }));

    expect(shifts.filter(({ method }) => method === 'exact').length).toBeGreaterThan(15);
    for (const { shift, expected, method } of shifts) {
      expect(shift.method).toBe(method);
      expect(errorOf(shift.lower, expected[0])).toBeLessThan(1e-9);
      expect(errorOf(shift.upper, expected[1])).toBeLessThan(1e-9);
    }
  });

  it('does not depend on the unit, and turns around with the samples', () => {
    const value = fc.double({ min: -1e3, max: 1e3, noNaN: true });
    const values = fc.array(value, { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(values, values, fc.integer({ min: -40, max: 40 }), (x, y, power) => {
        const unit = 2 ** power;
        const options = { confidence: CONFIDENCE, method: 'normal' } as const;
        const shift = rankSumShift(x, y, options);
        const scaled = rankSumShift(
          x.map((v) => v * unit),
          y.map((v) => v * unit),
          options,
        );
        const turned = rankSumShift(y, x, options);

        expect(scaled.lower).toBeCloseTo(shift.lower * unit, 9);
        expect(scaled.upper).toBeCloseTo(shift.upper * unit, 9);
        expect(turned.lower).toBeCloseTo(-shift.upper, 12);
        expect(turned.upper).toBeCloseTo(-shift.lower, 12);
        expect(shift.lower).toBeLessThanOrEqual(shift.estimate);
        expect(shift.upper).toBeGreaterThanOrEqual(shift.estimate);
      }),
    );
  });

  it('needs values', () => {
    expect(() => rankSumShift([], [1], { confidence: CONFIDENCE, method: 'normal' })).toThrow(RangeError);
  });

  it('finds each difference by its rank among many, ties and all', () => {
    const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);
    // More pairs than are ever listed, of few values and of many.
    const values = fc.oneof(
      fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 70, maxLength: 90 }),
      fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 70, maxLength: 90 }),
    );
    fc.assert(
      fc.property(values, values, fc.double({ min: 0, max: 1, noNaN: true }), (a, b, place) => {
        const [x, y] = [sorted(a), sorted(b)];
        const all = sorted(x.flatMap((v) => y.map((w) => v - w)));
        const k = Math.min(all.length, 1 + Math.floor(place * all.length));
        expect(kthDifference(x, y, k)).toBe(all[k - 1]);
      }),
      { numRuns: 40 },
    );
  });
});

describe('what goes with it', () => {
  it("has scipy's normal quantiles", () => {
    for (const [p, z] of reference.quantiles)
      expect(Math.abs(normalQuantile(p) - z)).toBeLessThan(1e-13 * (1 + Math.abs(z)));
    expect(() => normalQuantile(0)).toThrow(RangeError);
  });

  it("has numpy's percentiles, means' ratios and effect sizes", () => {
    for (const { x, y, percentiles, ...row } of reference.rows) {
      const sorted = [...x].sort((a, b) => a - b);
      const found = [1, 25, 50, 75, 99].map((p) => percentile(sorted, p));
      found.forEach((value, index) => expect(errorOf(value, percentiles[index] ?? Number.NaN)).toBeLessThan(1e-9));
      expect(errorOf(meanRatio(x, y), row.meanRatio)).toBeLessThan(1e-9);
      expect(errorOf(commonLanguageEffect(x, y), row.cles)).toBeLessThan(1e-9);
    }
  });

  it('has no ratio of means that are not above 0', () => {
    expect(meanRatio([-2], [-1])).toBeNaN();
    expect(meanRatio([1, 2], [0, 0])).toBeNaN();
    expect(meanRatio([0], [1])).toBeNaN();
  });

  it('leaves out what is far from the rest, and nothing else', () => {
    const usual = Array.from({ length: 40 }, (_, i) => 100 + (i % 7));

    expect(withoutOutliers([...usual, 10_000, -10_000], 3)).toEqual(usual);
    expect(withoutOutliers(usual, 3)).toEqual(usual);
    expect(withoutOutliers([], 3)).toEqual([]);
    expect(withoutOutliers([5], 3)).toEqual([5]);
  });
});
