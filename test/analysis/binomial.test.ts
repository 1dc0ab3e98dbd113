import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { binomialUpperTail, logBinomialDensity, logBinomialUpperTail } from '../../src/analysis/binomial';

interface Reference {
  readonly scipy: string;
  readonly rows: readonly { readonly k: number; readonly n: number; readonly p: number; readonly tail: number }[];
}

const reference = JSON.parse(readFileSync(join(__dirname, '../reference/binomial.json'), 'utf8')) as Reference;

describe('binomial tail', () => {
  it('agrees with scipy in every digit that matters, from 1 to ten million trials', () => {
    const errors = reference.rows.map(({ k, n, p, tail }) => ({
      k,
      n,
      p,
      error: Math.abs(binomialUpperTail(k, n, p) / tail - 1),
    }));

    const worst = errors.reduce((a, b) => (b.error > a.error ? b : a));
    expect(worst.error).toBeLessThan(1e-9);
    expect(errors.length).toBeGreaterThan(300);
  });

  it('has no underflow in log space', () => {
    expect(logBinomialUpperTail(2000, 2000, 0.01)).toBeCloseTo(2000 * Math.log(0.01), 6);
  });

  it.each([
    [0, 10, 0.3, 1],
    [11, 10, 0.3, 0],
    [1, 10, 0, 0],
    [10, 10, 1, 1],
    [0, 0, 0.5, 1],
  ])('is exact at the edges: P[X >= %d | %d, %d] = %d', (k, n, p, expected) => {
    expect(binomialUpperTail(k, n, p)).toBe(expected);
  });

  it.each([
    [1.5, 10, 0.3],
    [1, 10, 1.2],
    [1, 10, Number.NaN],
    [1, -1, 0.5],
  ])('refuses what is no binomial: %d of %d at %d', (k, n, p) => {
    expect(() => logBinomialUpperTail(k, n, p)).toThrow(RangeError);
  });

  it('sums to one, and falls as k grows', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.double({ min: 0.001, max: 0.999, noNaN: true }), (n, p) => {
        let sum = 0;
        let previous = 1;
        for (let k = 0; k <= n; k += 1) {
          sum += Math.exp(logBinomialDensity(k, n, p));
          const tail = binomialUpperTail(k, n, p);
          expect(tail).toBeLessThanOrEqual(previous * (1 + 1e-9));
          previous = tail;
        }
        expect(sum).toBeCloseTo(1, 9);
      }),
    );
  });
});
