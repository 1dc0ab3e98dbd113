import fc from 'fast-check';
import { LATENCY_BOUNDS_MS } from '../../src/router/defaults';
import { bucketIndex, CohortRecorder, quantile } from '../../src/router/recorder';

const ok = { latencyMs: 10, error: false, aborted: false };
const failed = { latencyMs: 3000, error: true, aborted: false };

function recorder(windowSeconds = 300, slowMs: number | false = 2000) {
  return new CohortRecorder({ windowSeconds, slowMs });
}

describe('the sliding window', () => {
  it('forgets a request once its second has left it', () => {
    const counts = recorder();
    counts.record(0, failed);

    expect(counts.window(299, 300)).toMatchObject({ requests: 1, errors: 1 });
    expect(counts.window(300, 300)).toMatchObject({ requests: 0, errors: 0, errorRate: null });
    expect(counts.total()).toMatchObject({ requests: 1, errors: 1, errorRate: 1 });
  });

  it('covers the current second and the ones before, never more than asked for', () => {
    const counts = recorder();
    counts.record(10, ok);

    expect(counts.window(10, 1).requests).toBe(1);
    expect(counts.window(11, 1).requests).toBe(0);
    expect(counts.window(11, 2).requests).toBe(1);
    expect(counts.window(39, 30).requests).toBe(1);
    expect(counts.window(40, 30).requests).toBe(0);
  });

  it('survives silence longer than itself', () => {
    const counts = recorder();
    counts.record(5, failed);
    counts.record(5 + 1000, ok);

    expect(counts.window(1005, 300)).toMatchObject({ requests: 1, errors: 0 });
    expect(counts.guardCounts(1005)).toEqual({ requests: 1, errors: 0, slow: 0 });
  });

  it('lets go of the oldest second when the guard looks back over all of it', () => {
    const counts = recorder(300);
    counts.record(0, failed);
    counts.record(150, ok);

    expect(counts.guardCounts(299)).toEqual({ requests: 2, errors: 1, slow: 1 });
    expect(counts.guardCounts(310)).toEqual({ requests: 1, errors: 0, slow: 0 });
  });

  it('counts into its newest second when the clock seems to go back', () => {
    const counts = recorder();
    counts.record(10, ok);
    counts.record(9, ok);

    expect(counts.window(10, 1).requests).toBe(2);
  });

  it('agrees with counting by hand, whatever the times', () => {
    const request = fc.record({
      gap: fc.oneof(fc.nat({ max: 3 }), fc.nat({ max: 400 })),
      latencyMs: fc.double({ min: 0, max: 60_000, noNaN: true }),
      error: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(request, { maxLength: 60 }),
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 300 }),
        (requests, windowSeconds, guardSeconds) => {
          const counts = recorder(guardSeconds, 2000);
          let second = 0;
          const all = requests.map(({ gap, latencyMs, error }) => {
            second += gap;
            counts.record(second, { latencyMs, error, aborted: false });
            return { second, latencyMs, error };
          });
          const within = (span: number) => all.filter((one) => one.second > second - span);

          const window = counts.window(second, windowSeconds);
          const seen = within(windowSeconds);
          expect(window.requests).toBe(seen.length);
          expect(window.errors).toBe(seen.filter(({ error }) => error).length);
          expect(window.histogram.cumulative.at(-1)).toBe(seen.length);
          for (const [index, bound] of LATENCY_BOUNDS_MS.entries()) {
            expect(window.histogram.cumulative[index]).toBe(seen.filter(({ latencyMs }) => latencyMs <= bound).length);
          }
          const guarded = within(guardSeconds);
          expect(counts.guardCounts(second)).toEqual({
            requests: guarded.length,
            errors: guarded.filter(({ error }) => error).length,
            slow: guarded.filter(({ latencyMs }) => latencyMs > 2000).length,
          });
          expect(counts.total().requests).toBe(all.length);
        },
      ),
    );
  });

  it('counts nothing as slow when the latency rule is off', () => {
    const counts = recorder(300, false);
    counts.record(0, failed);

    expect(counts.guardCounts(0).slow).toBe(0);
  });

  it('forgets everything on reset', () => {
    const counts = recorder();
    counts.record(3, { ...failed, aborted: true });

    counts.reset();

    expect(counts.total()).toMatchObject({ requests: 0, errors: 0, aborted: 0 });
    expect(counts.window(3, 300)).toMatchObject({ requests: 0, latencyMs: { p50: null, mean: null } });
    expect(counts.guardCounts(3)).toEqual({ requests: 0, errors: 0, slow: 0 });
  });
});

describe('bucketIndex', () => {
  it('is the first bound not exceeded', () => {
    for (const [index, bound] of LATENCY_BOUNDS_MS.entries()) {
      expect(bucketIndex(bound)).toBe(index);
      expect(bucketIndex(bound + 1e-9)).toBe(index + 1);
    }
    expect(bucketIndex(0)).toBe(0);
    expect(bucketIndex(Infinity)).toBe(LATENCY_BOUNDS_MS.length);
  });
});

describe('quantile', () => {
  it.each([
    ['nothing without requests', [10, 20], [0, 0, 0], 0.5, null],
    ['within the bucket, linearly', [10, 20], [0, 10, 10], 0.5, 15],
    ['from 0 in the first bucket', [10, 20], [10, 10, 10], 0.5, 5],
    ['the highest bound in the open bucket', [10, 20], [0, 0, 10], 0.5, 20],
    ['across buckets', [10, 20], [5, 10, 10], 0.95, 19],
  ])('is %s', (_what, boundsMs, cumulative, q, expected) => {
    expect(quantile({ boundsMs, cumulative }, q)).toEqual(expected);
  });

  it('lies within the bucket of the true quantile', () => {
    const latencies = fc.array(fc.double({ min: 0.1, max: 29_000, noNaN: true }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(latencies, fc.constantFrom(0.5, 0.95, 0.99), (values, q) => {
        const counts = recorder();
        for (const latencyMs of values) counts.record(0, { latencyMs, error: false, aborted: false });
        const sorted = [...values].sort((a, b) => a - b);
        const exact = sorted[Math.ceil(q * sorted.length) - 1] ?? NaN;

        const estimate = quantile(counts.total().histogram, q) ?? NaN;

        const bucket = bucketIndex(exact);
        expect(estimate).toBeLessThanOrEqual(LATENCY_BOUNDS_MS[bucket] ?? Infinity);
        expect(estimate).toBeGreaterThanOrEqual(bucket === 0 ? 0 : (LATENCY_BOUNDS_MS[bucket - 1] ?? 0));
      }),
    );
  });
});
