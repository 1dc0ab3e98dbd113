import fc from 'fast-check';
import { quantileOf, sumHistograms } from '../../src/metrics/histogram';

const bounds = [0.1, 0.5, 1];

describe('quantile of a histogram', () => {
  // Expected values as Prometheus' histogram_quantile computes them; test/metrics/real-prometheus.test.ts asks it.
  it.each([
    [0.5, [10, 10, 10, 10], { kind: 'value', value: 0.05 }],
    [0.95, [50, 90, 100, 100], { kind: 'value', value: 0.75 }],
    [0.9, [50, 90, 100, 100], { kind: 'value', value: 0.5 }],
    [1, [50, 90, 100, 100], { kind: 'value', value: 1 }],
    [0, [0, 90, 100, 100], { kind: 'value', value: 0 }],
    [0.95, [50, 90, 94, 100], { kind: 'above', bound: 1 }],
    [0.95, [0, 0, 0, 0], { kind: 'empty' }],
    [0.95, [], { kind: 'empty' }],
  ])('p%d of %j', (quantile, cumulative, expected) => {
    expect(quantileOf({ bounds, cumulative }, quantile)).toEqual(expected);
  });

  it('lies within the bucket that holds it, and does not fall as the quantile grows', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 100 }), { minLength: 4, maxLength: 4 }), (counts) => {
        let sum = 0;
        const cumulative = counts.map((count) => (sum += count));
        let previous = 0;
        for (const quantile of [0.01, 0.25, 0.5, 0.9, 0.99]) {
          const result = quantileOf({ bounds, cumulative }, quantile);
          const value = result.kind === 'value' ? result.value : result.kind === 'above' ? 1 : previous;
          expect(value).toBeGreaterThanOrEqual(previous);
          expect(value).toBeLessThanOrEqual(1);
          previous = value;
        }
      }),
    );
  });
});

describe('sum of histograms', () => {
  it('adds bucket by bucket', () => {
    const sum = sumHistograms([
      { bounds, cumulative: [1, 2, 3, 4] },
      { bounds, cumulative: [10, 20, 30, 40] },
    ]);

    expect(sum).toEqual({ bounds, cumulative: [11, 22, 33, 44] });
  });

  it.each([
    [[]],
    [
      [
        { bounds, cumulative: [1, 2, 3, 4] },
        { bounds: [0.1, 0.5, 2], cumulative: [1, 2, 3, 4] },
      ],
    ],
    [
      [
        { bounds, cumulative: [1, 2, 3, 4] },
        { bounds: [0.1], cumulative: [1, 2] },
      ],
    ],
    [[{ bounds, cumulative: [1, 2, 3] }]],
  ])('is not to be had of %j', (histograms) => {
    expect(sumHistograms(histograms)).toBeNull();
  });
});
