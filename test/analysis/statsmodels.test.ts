import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compareRatios } from '../../src/analysis/compare-ratios';
import { spreadsOf } from '../../src/analysis/counts';
import { commonLanguageEffect } from '../../src/analysis/effect-size';
import { wilsonInterval } from '../../src/analysis/wilson';

type Arm = readonly [bad: number, total: number];

interface Reference {
  readonly wilson: readonly (readonly [count: number, of: number, lower: number, upper: number])[];
  readonly spread: readonly {
    readonly bad: readonly number[];
    readonly total: readonly number[];
    readonly chiSquared: number;
    readonly degrees: number;
  }[];
  readonly compare: readonly {
    readonly canary: Arm;
    readonly stable: Arm;
    readonly tolerate: number;
    readonly p: number;
  }[];
  readonly effect: readonly { readonly x: readonly number[]; readonly y: readonly number[]; readonly cles: number }[];
}

const reference = JSON.parse(readFileSync(join(__dirname, '../reference/by-statsmodels.json'), 'utf8')) as Reference;

function errorOf(actual: number, expected: number): number {
  return actual === expected ? 0 : Math.abs(actual - expected) / Math.abs(expected);
}

describe('what statsmodels has, too', () => {
  it("is Wilson's interval", () => {
    const errors = reference.wilson.flatMap(([count, of, lower, upper]) => {
      const found = wilsonInterval(count, of);
      // At the ends, where it is 0 or 1, statsmodels' has the rounding of its last digit.
      return [
        count === 0 ? found.lower + Math.abs(lower) : errorOf(found.lower, lower),
        count === of ? Math.abs(1 - found.upper) + Math.abs(1 - upper) : errorOf(found.upper, upper),
      ];
    });

    expect(errors.length).toBeGreaterThan(80);
    expect(Math.max(...errors)).toBeLessThan(1e-9);
  });

  it("is how unevenly bad events fell on processes, of events and at a histogram's boundary: the Pearson dispersion of a binomial GLM", () => {
    const errors = reference.spread.flatMap(({ bad, total, chiSquared, degrees }) => {
      const events = total.map((all, index) => ({ bad: bad[index] ?? Number.NaN, total: all }));
      const histograms = events.map((each) => ({ cumulative: [each.total - each.bad, each.total] }));
      return [spreadsOf(events), spreadsOf(histograms)].flatMap((spreads) => {
        expect(spreads).toHaveLength(1);
        return spreads.flatMap((spread) => [errorOf(spread.chiSquared, chiSquared), spread.degrees - degrees]);
      });
    });

    expect(errors.length).toBeGreaterThan(200);
    expect(Math.max(...errors.map(Math.abs))).toBeLessThan(1e-9);
  });

  it('is the exact conditional test of two rates', () => {
    const arm = ([bad, total]: Arm) => ({ bad, total });
    const errors = reference.compare.map(({ canary, stable, tolerate, p }) =>
      errorOf(compareRatios(arm(canary), arm(stable), tolerate).p, p),
    );

    expect(errors.length).toBeGreaterThan(50);
    expect(Math.max(...errors)).toBeLessThan(1e-9);
  });

  it('is the common language effect size, with and without ties', () => {
    const errors = reference.effect.map(({ x, y, cles }) => errorOf(commonLanguageEffect(x, y), cles));

    expect(errors.length).toBeGreaterThan(25);
    expect(Math.max(...errors)).toBeLessThan(1e-9);
  });
});
