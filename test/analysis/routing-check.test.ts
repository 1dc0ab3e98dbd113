import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { logBinomialDensity } from '../../src/analysis/binomial';
import { checkRouting, logRoutingEvidence, ROUTING_ALPHA, ROUTING_TOLERANCE } from '../../src/analysis/routing-check';
import type { RoutedCounts, RoutingPolicy, RoutingState } from '../../src/analysis/routing-check';

const reference = JSON.parse(readFileSync(join(__dirname, '../reference/routing-check.json'), 'utf8')) as {
  readonly rows: readonly (readonly [x: number, n: number, w: number, lnE: number])[];
};

const policy = (more: Partial<RoutingPolicy> = {}): RoutingPolicy => ({
  share: 0.05,
  atLeast: false,
  cluster: 1,
  noun: 'request',
  ...more,
});

describe('the evidence that a weight is not delivered', () => {
  it('agrees with the formula in sixty digits, from one request to a hundred million', () => {
    expect(reference.rows.length).toBeGreaterThan(400);
    for (const [x, n, w, lnE] of reference.rows) {
      const error = Math.abs(logRoutingEvidence(x, n, w) - lnE);
      expect({ x, n, w, close: error <= 1e-9 * Math.max(1e-3, Math.abs(lnE)) }).toMatchObject({ close: true });
    }
  });

  it('has an expectation of one under the share asked for, over all that can be counted', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 99 }), (n, percent) => {
        const w = percent / 100;
        let expectation = 0;
        for (let x = 0; x <= n; x += 1) {
          expectation += Math.exp(logBinomialDensity(x, n, w) + logRoutingEvidence(x, n, w));
        }
        expect(expectation).toBeCloseTo(1, 8);
      }),
    );
  });

  it.each([
    [1, 2, 0],
    [1, 2, 1],
    [3, 2, 0.5],
    [-1, 2, 0.5],
    [1, Number.NaN, 0.5],
  ])('refuses what is none: %d of %d at %d', (x, n, w) => {
    expect(() => logRoutingEvidence(x, n, w)).toThrow(RangeError);
  });
});

describe('the routing check', () => {
  it('expects no evidence under any share within the tolerance', () => {
    const shares = fc.record({
      n: fc.integer({ min: 1, max: 200 }),
      percent: fc.integer({ min: 1, max: 99 }),
      within: fc.double({ min: -1, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(shares, ({ n, percent, within }) => {
        const share = percent / 100;
        const odds = (share / (1 - share)) * ROUTING_TOLERANCE ** within;
        const real = odds / (1 + odds);
        let expectation = 0;
        for (let canary = 0; canary <= n; canary += 1) {
          // Without what was before, so that the state is this look's evidence, where it is evidence at all.
          const { state } = checkRouting(policy({ share }), { highest: -1e9 }, { canary, total: n });
          expectation += Math.exp(logBinomialDensity(canary, n, real) + state.highest);
        }
        expect(expectation).toBeLessThanOrEqual(1 + 1e-9);
      }),
      { numRuns: 200 },
    );
  });

  it('never forgets: the evidence of a weight only grows, and a verdict stays', () => {
    const looks = fc.array(fc.tuple(fc.nat({ max: 5_000 }), fc.nat({ max: 5_000 })), { minLength: 2, maxLength: 20 });
    fc.assert(
      fc.property(looks, fc.integer({ min: 1, max: 99 }), (counts, percent) => {
        let state: RoutingState | null = null;
        let failed = false;
        for (const [canary, stable] of counts) {
          const before: number = (state as RoutingState | null)?.highest ?? 0;
          const next = checkRouting(policy({ share: percent / 100 }), state, { canary, total: canary + stable });
          expect(next.state.highest).toBeGreaterThanOrEqual(before);
          if (failed && next.verdict !== 'insufficient-data') expect(next.verdict).toBe('fail');
          failed = failed || next.verdict === 'fail';
          state = next.state;
        }
      }),
    );
  });

  it('never alarms without data', () => {
    const { verdict, delivered, state } = checkRouting(policy(), null, { canary: 0, total: 0 });

    expect({ verdict, delivered, state }).toEqual({
      verdict: 'insufficient-data',
      delivered: null,
      state: { highest: 0 },
    });
  });

  it('raises a false alarm in no more weights than alpha says, looked at after every ten requests', () => {
    // A generator of one's own, so that the test is the same each time.
    let seed = 1;
    const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    let alarms = 0;
    for (let weight = 0; weight < 400; weight += 1) {
      let state: RoutingState | null = null;
      let canary = 0;
      for (let total = 1; total <= 2_000; total += 1) {
        if (random() < 0.25) canary += 1;
        if (total % 10 !== 0) continue;
        const judged = checkRouting(policy({ share: 0.25 }), state, { canary, total });
        state = judged.state;
        if (judged.verdict === 'fail') {
          alarms += 1;
          break;
        }
      }
    }
    expect(alarms).toBeLessThanOrEqual(400 * ROUTING_ALPHA + 2);
  });

  it.each<[string, Partial<RoutingPolicy>, RoutedCounts, 'pass' | 'fail']>([
    ['the share asked for, of many', {}, { canary: 50_000, total: 1_000_000 }, 'pass'],
    ['a share within the tolerance, of many', {}, { canary: 54_000, total: 1_000_000 }, 'pass'],
    ['7 % of an asked 5 %', {}, { canary: 700, total: 10_000 }, 'fail'],
    ['7 % of few', {}, { canary: 7, total: 100 }, 'pass'],
    ['nothing at all of 25 %', { share: 0.25 }, { canary: 0, total: 100 }, 'fail'],
    ['everything, where 5 % was asked for', {}, { canary: 20, total: 20 }, 'fail'],
    ['more, where marked requests come on top', { atLeast: true }, { canary: 900, total: 10_000 }, 'pass'],
    ['everything, where marked requests come on top', { atLeast: true }, { canary: 500, total: 500 }, 'pass'],
    ['less, though marked requests come on top', { atLeast: true }, { canary: 200, total: 10_000 }, 'fail'],
    ['a third of pods, where that is what can be reached', { share: 1 / 3 }, { canary: 3_333, total: 10_000 }, 'pass'],
    ['few connections with many requests', { share: 0.25, cluster: 1_000 }, { canary: 0, total: 4_000 }, 'pass'],
  ])('%s: %s', (_, more, counts, verdict) => {
    expect(checkRouting(policy(more), null, counts).verdict).toBe(verdict);
  });

  it('says that it was so before, where by now it is not', () => {
    const { verdict, sentence } = checkRouting(policy(), { highest: 40 }, { canary: 500, total: 10_000 });

    expect(verdict).toBe('fail');
    expect(sentence).toBe(
      'The router did not deliver the weight asked for at first; by now the canary got 500 of 10000 requests (5 % of 5 % asked for).',
    );
  });

  it('says what was delivered and what was asked for', () => {
    // Few that were extrapolated are about so many: 6 of 12 would not be 56 %.
    expect(checkRouting(policy({ share: 0.5 }), null, { canary: 6.4, total: 11.5 }).sentence).toBe(
      'Since the weight changed, the canary got about 6 of 12 requests (55.7 % of 50 % asked for).',
    );
    expect(checkRouting(policy(), null, { canary: 700.4, total: 10_000 }).sentence).toBe(
      'The router does not deliver the weight asked for: since it changed, the canary got 700 of 10000 requests (7 %) instead of 5 %.',
    );
  });
});
