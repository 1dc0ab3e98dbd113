import { playRelease } from '../../../bench/lib/simulated-release';
import { binomial } from '../../../bench/lib/random';
import { EVIDENCE_RULES } from '../../../bench/lib/rules';
import { binomialUpperTail } from '../../../src/analysis/binomial';
import { createPlayer, detect, TIMED_RISES } from '../../../src/analysis/detection/detect';
import type { DetectionInput, DetectionMetric, TimeToFind } from '../../../src/analysis/detection/detect';
import { drawBinomial } from '../../../src/analysis/detection/binomial-draws';
import type { Numbers } from '../../../src/analysis/detection/binomial-draws';
import type { RatioLimits } from '../../../src/analysis/detection/limits';
import { drawNumbers, freshRuns, playStep } from '../../../src/analysis/detection/runs';
import { looksOf } from '../../../src/analysis/detection/step-looks';
import { suggestSoaks } from '../../../src/analysis/detection/suggest';
import { addEvidence, ERROR_ALTERNATIVES, logEvidence, NO_EVIDENCE } from '../../../src/analysis/event-evidence';
import { normalQuantile } from '../../../src/analysis/normal-quantile';
import type { Observation } from '../../../src/analysis/sample';
import { seededRandom } from '../../../src/analysis/seeded-random';
import { judge } from '../../../src/analysis/threshold-judge';
import type { JudgePolicy, JudgeState } from '../../../src/analysis/verdict';

const ERRORS: DetectionMetric = { name: 'error-rate', kind: 'errors', base: 0.005, boundaries: 1 };
const LATENCY: DetectionMetric = { name: 'p95-latency', kind: 'latency', base: 0.05, boundaries: 12 };
const STEPS = [5, 25, 50, 100].map((weight) => ({ weight, soakMs: 60_000 }));
const DEFAULTS: DetectionInput = {
  policy: {
    ...{ alpha: 0.01, tolerate: 1.25, clusters: 2, onset: { plannedBatches: 36 } },
    ...{ bets: 1, minRequests: 20, intervalMs: 5_000, startMs: 5_000 },
  },
  requestsPerSecond: 100,
  metrics: [ERRORS],
  steps: STEPS,
};
const UNTEMPERED: DetectionInput = {
  ...DEFAULTS,
  policy: { ...DEFAULTS.policy, tolerate: 1, clusters: 1, onset: null, startMs: 0 },
};
const DAY = 86_400_000;

/** alpha is shared by so many bets. */
function sharedBy(bets: number): DetectionInput['policy'] {
  return { ...DEFAULTS.policy, bets };
}

function smallest(input: DetectionInput): number[] {
  return detect(input).steps.map(({ metrics }) => metrics[0]?.smallestRise ?? Infinity);
}

function numbersOf(uniform: Float64Array): Numbers {
  return { uniform, normal: () => uniform.map(normalQuantile) };
}

describe('the draws', () => {
  it.each([
    [25, 0.005],
    [475, 0.05],
    [3_000, 0.005],
    [20, 0.7],
    [7, 0.5],
  ])('of %d requests with the chance %d are the exact quantiles', (n, p) => {
    const uniform = Float64Array.from({ length: 400 }, (_, i) => (i + 0.5) / 400);
    const draw = drawBinomial(n, p, numbersOf(uniform));
    for (const [at, u] of uniform.entries()) {
      const k = draw(at);
      expect(1 - binomialUpperTail(k + 1, n, p)).toBeGreaterThanOrEqual(u - 1e-9);
      expect(1 - binomialUpperTail(k, n, p)).toBeLessThan(u + 1e-9);
    }
  });

  it.each([
    [6_100, 0.005],
    [475_000, 0.05],
    [61, 0.5],
    [1_000, 0.97],
  ])('of %d requests with the chance %d are at most one away from them', (n, p) => {
    const uniform = Float64Array.of(1e-6, 1e-4, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999, 1 - 1e-6);
    const draw = drawBinomial(n, p, numbersOf(uniform));
    for (const [at, u] of uniform.entries()) {
      const k = draw(at);
      expect(1 - binomialUpperTail(k + 2, n, p)).toBeGreaterThanOrEqual(u - 1e-9);
      expect(1 - binomialUpperTail(k - 1, n, p)).toBeLessThan(u + 1e-9);
    }
  });
});

describe('the looks of a step', () => {
  const even = { share: 0.05, requestsPerSecond: 100, startMs: 5_000, intervalMs: 5_000, lengthMs: 60_000 };

  it('count every request once, batch by batch', () => {
    const looks = looksOf(even);

    expect(looks).toHaveLength(11);
    expect(looks[0]).toEqual({ atMs: 10_000, batches: 1, canary: 25, stable: 475 });
    expect(looks.at(-1)?.atMs).toBe(60_000);
  });

  it('wait for both arms, however little comes', () => {
    const looks = looksOf({ ...even, requestsPerSecond: 0.1, lengthMs: 1_805_000 });

    expect(looks.map(({ canary }) => canary)).toEqual(looks.map(() => 1));
    expect(looks[0]).toMatchObject({ atMs: 205_000, batches: 1 });
    expect(looksOf({ ...even, requestsPerSecond: 0.0001 })).toEqual([]);
    expect(looksOf({ ...even, lengthMs: 5_000 })).toEqual([]);
  });

  it('are fewer and fewer in a long one, and miss nothing', () => {
    const looks = looksOf({ ...even, lengthMs: DAY });
    const sum = (of: 'batches' | 'canary' | 'stable'): number => looks.reduce((all, look) => all + look[of], 0);

    expect(looks.length).toBeLessThan(120);
    expect([sum('batches'), sum('canary'), sum('stable')]).toEqual([17_279, 17_279 * 25, 17_279 * 475]);
    for (const [index, { atMs }] of looks.entries()) {
      const before = looks[index - 1]?.atMs ?? 5_000;
      expect(atMs - before).toBeLessThanOrEqual(Math.max(5_000, 0.1 * before));
    }
  });
});

it.each([
  [null, 0],
  [{ plannedBatches: 20 }, 0],
  [{ plannedBatches: 20 }, 3],
])('the runs have the evidence of the judge, with the onset %j after %d steps', (onset, stepsBefore) => {
  const design = { alternatives: ERROR_ALTERNATIVES, tolerate: 1.25, clusters: 2, onset };
  const looks = looksOf({ share: 0.1, requestsPerSecond: 33, startMs: 0, intervalMs: 1_000, lengthMs: 9_000 });
  let runs = freshRuns(4, design);
  let states = Array.from({ length: 4 }, () => ({ evidence: NO_EVIDENCE, highest: 0 }));
  for (let step = 0; step <= stepsBefore; step += 1) {
    const draws = drawNumbers(step, 4);
    runs = playStep(runs, { design, looks, draws, canary: 0.3, stable: 0.06, failsAt: Infinity }).runs;
    states = states.map(({ evidence, highest }, run) => {
      for (const [index, { canary, stable }] of looks.entries()) {
        const badOf = (arm: 'canary' | 'stable', n: number, p: number): number =>
          drawBinomial(n, p, draws.of(arm, index))(run);
        const batch = {
          canary: { bad: badOf('canary', canary, 0.3), total: canary },
          stable: { bad: badOf('stable', stable, 0.06), total: stable },
        };
        evidence = addEvidence(design, evidence, batch);
        highest = Math.max(highest, logEvidence(design, evidence));
      }
      return { evidence, highest };
    });
  }

  expect(states.some(({ highest }) => highest > 1)).toBe(true);
  for (const [run, { highest }] of states.entries()) {
    expect(Math.log(runs.highest[run] ?? 0)).toBeCloseTo(highest, 9);
  }
});

describe('what a step detects', () => {
  // Canary requests until a rejection, median and 95 %, of the project's own sizing (untempered, alpha .01).
  it.each<[number, number, ...number[][]]>([
    [0.05, 0.001, [15_658, 37_203], [2_347, 5_955], [438, 1_240], [78, 201]],
    [0.05, 0.005, [2_975, 7_120], [444, 1_175], [89, 245], [17, 38]],
    [0.05, 0.02, [786, 1_797], [115, 301], [24, 59], [5, 8]],
    [0.25, 0.005, [3_898, 9_705], [654, 1_616], [142, 365]],
    [0.5, 0.005, [6_384, 14_417], [1_067, 2_427], [249, 560]],
  ])('at a share of %d and a base of %d takes as many requests as it was sized', (share, base, ...sized) => {
    const input = {
      ...UNTEMPERED,
      requestsPerSecond: 2 / share,
      policy: { ...UNTEMPERED.policy, intervalMs: 1_000 },
    };
    const metric = { ...ERRORS, base };
    const step = createPlayer({ ...input, metrics: [metric] }, metric, 0).arrive(
      { weight: share * 100, soakMs: DAY },
      0,
    );
    for (const [index, expectations] of sized.entries()) {
      const rise = [2, 4, 10, 40][index] ?? NaN;
      for (const [at, expected] of expectations.entries()) {
        const requests = (2 * step.quantile(rise, at === 0 ? 0.5 : 0.95)) / 1_000;
        // A look at every second request, and of later ones in tenths; 1,000 runs there and here.
        expect(requests).toBeGreaterThanOrEqual(0.87 * expected - 2);
        expect(requests).toBeLessThanOrEqual(1.2 * expected + 2);
      }
    }
  });

  it('takes as long as in releases that are played with random traffic', () => {
    const rule = EVIDENCE_RULES.at(-1);
    if (rule === undefined) throw new Error('there is no rule with the defaults');
    const random = seededRandom(5);
    const foundWithin = (rise: number): number => {
      let found = 0;
      for (let run = 0; run < 400; run += 1) {
        const traffic = { rps: 100, base: 0.005, times: rise };
        const [at] = playRelease(random, [rule.start()], { weights: [0.05], stage: 60 }, traffic);
        if (at !== null && at !== undefined) found += 1;
      }
      return found / 400;
    };
    const input = { ...DEFAULTS, policy: { ...DEFAULTS.policy, startMs: 0 } };
    const [rise = 0] = smallest(input);

    expect(rise).toBe(15);
    expect(foundWithin(rise)).toBeGreaterThan(0.92);
    expect(foundWithin(rise / 1.5)).toBeLessThan(0.93);
  });

  it('is not less with more traffic or a longer soak', () => {
    const rates = [1, 10, 30, 100, 300, 10_000].map((requestsPerSecond) =>
      smallest({ ...DEFAULTS, requestsPerSecond, steps: STEPS.slice(0, 1) }),
    );
    const soaks = [10, 30, 60, 120, 300, 1_800].map((seconds) =>
      smallest({ ...DEFAULTS, steps: [{ weight: 5, soakMs: seconds * 1_000 }] }),
    );
    for (const series of [rates.flat(), soaks.flat()]) {
      expect(series).toEqual([...series].sort((a, b) => b - a));
      expect(new Set(series).size).toBeGreaterThan(3);
    }
  });

  it('is late for a fault that comes after healthy steps, and for one of several metrics', () => {
    const medians = (input: DetectionInput, step: number): (number | null)[] =>
      detect(input).steps[step]?.metrics[0]?.times.map(({ medianMs }) => medianMs) ?? [];
    const alike = {
      ...DEFAULTS,
      requestsPerSecond: 1_000,
      steps: [5, 5.0001].map((weight) => ({ weight, soakMs: 60_000 })),
    };
    const [, , first] = medians(alike, 0);
    const [, , second] = medians(alike, 1);

    expect(second ?? Infinity).toBeGreaterThan(first ?? Infinity);
    const alone = smallest(DEFAULTS)[0] ?? NaN;
    const beside = smallest({ ...DEFAULTS, policy: sharedBy(3) })[0] ?? NaN;
    expect(beside).toBeGreaterThan(alone);
  });

  it('beyond a step that is too short is about that of a step as long as that, and longer than the step', () => {
    const timesOf = (soakMs: number, weight: number): readonly TimeToFind[] =>
      detect({ ...DEFAULTS, steps: [{ weight, soakMs }] }).steps[0]?.metrics[0]?.times ?? [];
    const short = [5, 25].flatMap((weight) => timesOf(30_000, weight).map((time) => ({ ...time, weight })));
    const missed = short.filter(({ medianMs }) => medianMs === null);

    expect(missed.length).toBeGreaterThan(3);
    expect(short.every(({ medianMs, beyondMs }) => medianMs === null || beyondMs === null)).toBe(true);
    for (const { rise, beyondMs, weight } of missed) {
      const soak = beyondMs ?? NaN;
      const medianMs = timesOf(2 * soak, weight).find((time) => time.rise === rise)?.medianMs ?? NaN;
      expect(soak).toBeGreaterThan(30_000);
      // Fewer runs: one look off at most, and looks are a tenth of the time apart.
      expect(Math.abs(soak - medianMs)).toBeLessThanOrEqual(Math.max(5_000, 0.1 * medianMs));
    }
  });

  it('beyond a step is after it, even where the runs that play it found the rise within', () => {
    const tenfold = (weight: number, soakMs: number): TimeToFind | undefined =>
      detect({ ...DEFAULTS, steps: [{ weight, soakMs }] }).steps[0]?.metrics[0]?.times.at(-1);

    for (const weight of [4, 5, 6, 7, 8, 9, 10, 12, 15, 20]) {
      // Just too short for the median of all runs.
      const soakMs = (tenfold(weight, 120_000)?.medianMs ?? NaN) - 1;
      const missed = tenfold(weight, soakMs);
      expect(missed?.medianMs).toBeNull();
      expect(missed?.beyondMs ?? 0).toBeGreaterThan(soakMs);
    }
  });

  it('beyond a step is none where no soak of a day finds it, or the step is as long as that', () => {
    const times = (requestsPerSecond: number, soakMs: number): readonly TimeToFind[] =>
      detect({ ...DEFAULTS, requestsPerSecond, steps: [{ weight: 5, soakMs }] }).steps[0]?.metrics[0]?.times ?? [];
    const none = TIMED_RISES.map((rise) => ({ rise, medianMs: null, beyondMs: null }));

    expect(times(0.01, 60_000)).toEqual(none);
    expect(times(0.01, DAY)).toEqual(none);
    expect(times(0, 60_000)).toEqual(none);
  });

  it('is less where a part of alpha is kept for new stable pods, whose releases are bound as all others', () => {
    const shared = { ...DEFAULTS, policy: { ...DEFAULTS.policy, stableShare: 0.9 } };

    expect(smallest(shared)[0] ?? NaN).toBeGreaterThan(smallest(DEFAULTS)[0] ?? NaN);
    expect(detect(shared).falseRollBacks.bound).toBe(0.01);
  });

  it('has a false alarm as seldom as it promises, by simulation', () => {
    const { falseRollBacks } = detect({ ...DEFAULTS, policy: sharedBy(2), metrics: [ERRORS, LATENCY] });

    expect(falseRollBacks).toMatchObject({ bound: 0.01, releases: 1_000 });
    // P[X > 20] for X ~ Binomial(1000, 0.01) is 0.002.
    expect(falseRollBacks.failed).toBeLessThanOrEqual(20);
  });

  it('is the same each time it is asked', () => {
    expect(detect(DEFAULTS)).toEqual(detect(DEFAULTS));
  });

  it('is nothing at 100 %, where there is nothing to compare with', () => {
    expect(detect(DEFAULTS).steps.at(-1)).toMatchObject({ weight: 100, metrics: [], warning: null });
  });

  it.each([
    [1, 'The canary would have about 3 requests, and a verdict needs 20: this step can tell nothing.'],
    [10, 'This step can tell nothing: no rise up to 50 times is found in it with 95 % probability.'],
    [100, null],
  ])('is warned of at %d requests a second where it is nothing', (requestsPerSecond, warning) => {
    const { steps } = detect({ ...DEFAULTS, requestsPerSecond, steps: STEPS.slice(0, 1) });

    expect(steps[0]?.warning).toBe(warning);
  });
});

describe('fixed limits', () => {
  const BASE = 0.03;
  const NONE: RatioLimits = { max: null, min: null, maxRatio: null, countsGood: false, critical: false };
  interface Case {
    readonly limits: Partial<RatioLimits>;
    readonly failureLimit?: number;
    readonly minRequests?: number;
    readonly windowMs?: number;
    readonly rate?: number;
  }
  const inputOf = ({
    limits,
    failureLimit = 0,
    minRequests = 20,
    windowMs = 60_000,
    rate = 20,
  }: Case): DetectionInput => ({
    ...DEFAULTS,
    policy: { ...DEFAULTS.policy, minRequests, limits: { windowMs, failureLimit, delayMs: 0 } },
    requestsPerSecond: rate,
    metrics: [{ ...ERRORS, base: BASE, limits: { ...NONE, ...limits } }],
    steps: STEPS.slice(0, 3),
  });

  /** Releases in which each look is judged by the judge that releases run, from draws of its own. */
  function judgedReleases(input: DetectionInput, releases: number): number {
    const random = seededRandom(7);
    const [metric] = input.metrics;
    const { limits } = input.policy;
    if (metric?.limits === undefined || limits === undefined) throw new Error('nothing is limited');
    const { max, min, maxRatio, countsGood, critical } = metric.limits;
    const policy: JudgePolicy = {
      metrics: [{ name: metric.name, unit: 'ratio', max, min, maxRatio, critical }],
      ...{ minMeasurements: 1, minRequests: input.policy.minRequests, failureLimit: limits.failureLimit },
      ...{ consecutiveErrorLimit: 100, compare: null },
    };
    const observe = (batches: readonly { readonly bad: number; readonly total: number }[]): Observation => {
      const total = batches.reduce((sum, batch) => sum + batch.total, 0);
      const bad = batches.reduce((sum, batch) => sum + batch.bad, 0);
      const counted = countsGood ? total - bad : bad;
      return { query: '', value: counted / total, events: { bad: counted, total } };
    };
    const isRolledBack = (): boolean =>
      input.steps.some(({ weight, soakMs }) => {
        let state: JudgeState | null = null;
        const seen = { canary: [] as { bad: number; total: number }[], stable: [] as { bad: number; total: number }[] };
        const perLook = (input.requestsPerSecond * 5 * weight) / 100;
        for (let at = 5_000; at <= soakMs; at += 5_000) {
          for (const [arm, total] of [
            ['canary', perLook],
            ['stable', input.requestsPerSecond * 5 - perLook],
          ] as const) {
            seen[arm].push({ bad: binomial(random, total, metric.base), total });
          }
          const [canary, stable] = [seen.canary, seen.stable].map((arm) =>
            observe(arm.slice(-limits.windowMs / 5_000)),
          );
          if (canary === undefined || stable === undefined) throw new Error('nothing was seen');
          const sample = { at, windowMs: limits.windowMs, metrics: [{ name: metric.name, canary, stable }] };
          const judgement = judge(policy, state, sample);
          state = judgement.state;
          if (judgement.decision === 'fail') return true;
        }
        return false;
      });
    let failed = 0;
    for (let release = 0; release < releases; release += 1) failed += isRolledBack() ? 1 : 0;
    return failed;
  }

  it.each<[string, Case]>([
    ['max', { limits: { max: 0.05 } }],
    ['max, with failures that are tolerated', { limits: { max: 0.05 }, failureLimit: 3 }],
    ['max of a critical metric, which tolerates none', { limits: { max: 0.05, critical: true }, failureLimit: 3 }],
    ['max, with more requests to a verdict', { limits: { max: 0.05 }, minRequests: 150 }],
    ['max over a short window', { limits: { max: 0.07 }, windowMs: 20_000, rate: 100 }],
    ['min of a share of good events', { limits: { min: 0.95, countsGood: true } }],
    ['maxRatio', { limits: { maxRatio: 2 } }],
    ['max with maxRatio', { limits: { max: 0.08, maxRatio: 3 } }],
  ])('fail as many healthy releases as the judge does: %s', (_name, each) => {
    const input = inputOf(each);
    const share = judgedReleases(input, 1_000) / 1_000;
    const { limits } = detect(input).falseRollBacks;

    expect(limits?.releases).toBe(1_000);
    // Four standard deviations of the difference of two shares of 1000.
    const deviation = Math.sqrt((2 * Math.max(share * (1 - share), 0.005)) / 1_000);
    expect(Math.abs((limits?.failed ?? NaN) / 1_000 - share)).toBeLessThan(4 * deviation);
  });

  it('roll two thirds of healthy releases back that the evidence lets pass', () => {
    const { falseRollBacks } = detect(inputOf({ limits: { max: 0.05 } }));

    expect(falseRollBacks.failed).toBe(0);
    expect(falseRollBacks.limits?.failed).toBeGreaterThan(640);
    expect(falseRollBacks.limits?.failed).toBeLessThan(730);
    expect(falseRollBacks.limits?.together).toBe(falseRollBacks.limits?.failed);
  });

  it('see the same requests as the evidence', () => {
    const input = inputOf({ limits: { max: 0.05 }, rate: 100 });
    // At an E of 2: often, so that it can be told whether it is in the same releases.
    const policy = { ...input.policy, ...UNTEMPERED.policy, startMs: 5_000, bets: 0.02 };
    const { failed, limits } = detect({ ...input, policy }).falseRollBacks;

    // Of two judges that saw different requests, either would fail so many.
    const apart = failed + (limits?.failed ?? 0) - (failed * (limits?.failed ?? 0)) / 1_000;
    expect(failed).toBeGreaterThan(100);
    expect(limits?.together).toBeLessThan(apart - 40);
    expect(limits?.together).toBeGreaterThanOrEqual(Math.max(failed, limits?.failed ?? NaN));
  });

  it('are counted by the metric, as if there were no others, and hold at 100 %', () => {
    const input = inputOf({ limits: { max: 0.05 } });
    const [errors = ERRORS] = input.metrics;
    const { limits } = detect({ ...input, metrics: [errors, { ...errors, name: 'own' }, LATENCY] }).falseRollBacks;
    const whole = detect({ ...input, steps: STEPS.slice(3) }).falseRollBacks.limits;

    expect(limits?.metrics.map(({ name }) => name)).toEqual(['error-rate', 'own']);
    for (const { failed } of limits?.metrics ?? []) expect(failed).toBeLessThan((limits?.failed ?? 0) - 50);
    expect(whole?.failed).toBeGreaterThan(30);
  });

  it('are played in fewer releases where soaks are long, and not at all where there are none', () => {
    const steps = [{ weight: 50, soakMs: DAY }];
    const long = detect({ ...inputOf({ limits: { max: 0.2 } }), steps }).falseRollBacks.limits;

    expect(long?.releases).toBeLessThan(1_000);
    expect(long?.releases).toBeGreaterThanOrEqual(100);
    expect(long?.failed).toBeLessThanOrEqual(5);
    expect(detect(DEFAULTS).falseRollBacks.limits).toBeNull();
  });
});

describe('suggested soaks', () => {
  const plannedBatches = (steps: readonly { readonly soakMs: number }[]): number =>
    steps.slice(0, 3).reduce((sum, { soakMs }) => sum + Math.floor(soakMs / 5_000), 0);
  const wanted = { rise: 10, leastMs: 20_000, plannedBatches };

  it('are the shortest with which the rise is found', () => {
    const input = { ...DEFAULTS, policy: sharedBy(2), metrics: [ERRORS, LATENCY] };
    const suggested = suggestSoaks(input, wanted);
    const policy = { ...input.policy, onset: { plannedBatches: plannedBatches(suggested) } };
    const rises = (steps: DetectionInput['steps']): number[][] =>
      detect({ ...input, policy, steps }).steps.map(({ metrics }) => metrics.map((m) => m.smallestRise ?? Infinity));

    expect(suggested.map(({ found }) => found)).toEqual(['enough', 'enough', 'enough', 'not-compared']);
    expect(Math.max(...rises(suggested).flat())).toBeLessThanOrEqual(10);
    // The soak before it in the row is too short for the metric that needs the longest.
    const shorter = new Map([120, 300, 600].map((s, i, all) => [s * 1_000, (all[i - 1] ?? 60) * 1_000]));
    const [first] = suggested;
    if (first === undefined) throw new Error('no step was suggested');
    expect(first.slowest).toBe('error-rate');
    const tight = [{ ...first, soakMs: shorter.get(first.soakMs) ?? NaN }];
    expect(Math.max(...rises(tight).flat())).toBeGreaterThan(10);
  });

  it('say where no soak within a day is long enough, and leave it as it is', () => {
    const suggested = suggestSoaks({ ...DEFAULTS, requestsPerSecond: 0.5 }, { ...wanted, rise: 2 });

    expect(suggested[0]).toEqual({ weight: 5, soakMs: 60_000, found: 'none', slowest: 'error-rate' });
  });

  it('leave room for the measurements that a step needs', () => {
    const suggested = suggestSoaks({ ...DEFAULTS, requestsPerSecond: 1e6 }, { ...wanted, leastMs: 45_000 });

    expect(suggested.slice(0, 3).map(({ soakMs }) => soakMs)).toEqual([60_000, 60_000, 60_000]);
  });
});
