import { judge } from '../../src/analysis/threshold-judge';
import { observedShare } from '../../src/analysis/observed-share';
import { createSimulatedSource } from '../../src/metrics/simulated';
import { metricOf, P95, requestOf } from './requests';

const ERRORS = metricOf({ kind: 'builtin', metric: 'error-rate' });
const SUCCESSES = metricOf(
  { kind: 'ratio', numerator: 'a', denominator: 'b' },
  { name: 'success-rate', max: null, min: 0.99 },
);
const REQUESTS = metricOf({ kind: 'builtin', metric: 'requests' }, { name: 'requests', unit: 'count', max: null });
const PHASES = [
  { fromWeight: 25, errorRate: 0.2, p95: 2 },
  { fromWeight: 5, errorRate: 0.01, p95: 0.2 },
  { fromWeight: 50, errorRate: 0, p95: 0, noData: true },
];

describe('the scripted source', () => {
  it.each([
    [1, 0.002, 0.12],
    [5, 0.01, 0.2],
    [24, 0.01, 0.2],
    [25, 0.2, 2],
  ])('answers at %d %% by its script', async (weight, errorRate, p95) => {
    const { metrics } = await createSimulatedSource(PHASES).sample(
      requestOf([ERRORS, P95], { weight, windowMs: 600_000 }),
    );

    expect(metrics[0]?.canary.value).toBeCloseTo(errorRate, 3);
    expect(metrics[1]?.canary.value).toBe(p95);
    expect(metrics[0]?.stable?.value).toBeCloseTo(0.002, 3);
  });

  it('has no data where the script says so', async () => {
    const { metrics } = await createSimulatedSource(PHASES).sample(requestOf([ERRORS], { weight: 50 }));

    expect(metrics[0]?.canary).toMatchObject({
      value: null,
      problem: { kind: 'no-data', message: 'simulated: no data' },
    });
  });

  it('says that it is one, in every sample and query', async () => {
    const sample = await createSimulatedSource(PHASES).sample(requestOf([ERRORS, P95, REQUESTS], { weight: 5 }));

    expect(sample.simulated).toBe(true);
    for (const { canary, stable } of sample.metrics) {
      expect(canary.query).toMatch(/^simulated: /);
      expect(stable?.query).toMatch(/^simulated: /);
    }
  });

  it('divides its traffic by the weight, and answers the same for the same question', async () => {
    const source = createSimulatedSource([]);
    const ask = () => source.sample(requestOf([ERRORS, REQUESTS], { weight: 5 }));

    expect(observedShare(await ask())).toBe(0.05);
    expect(await ask()).toEqual(await ask());
  });

  it('makes up a healthy canary without a script, at any weight', async () => {
    const metrics = [ERRORS, P95, SUCCESSES];
    const policy = {
      minMeasurements: 1,
      minRequests: 20,
      failureLimit: 0,
      consecutiveErrorLimit: 0,
      compare: { alpha: 0.01, tolerate: 1.25 },
      metrics,
    };
    for (const weight of [5, 25, 50, 100]) {
      const sample = await createSimulatedSource([]).sample(requestOf(metrics, { weight, windowMs: 5_000 }));

      expect(judge(policy, null, sample)).toMatchObject({ verdict: 'pass' });
    }
  });
});
