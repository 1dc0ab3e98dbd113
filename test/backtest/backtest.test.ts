import { eventsIn, partOf, requestsIn } from '../../src/analysis/recording';
import {
  badShares,
  describeHealthy,
  describeInjected,
  lengthsOf,
  playedPolicy,
  playSeries,
  reviewDeploy,
  trafficIn,
} from '../../src/backtest/backtest';
import type { SeriesRun } from '../../src/backtest/backtest';
import { chooseWindows, merge, without } from '../../src/backtest/choose-windows';
import { playRelease } from '../../src/backtest/play';
import { pretendCanary } from '../../src/backtest/pretend-canary';
import type { Injection } from '../../src/backtest/pretend-canary';
import type { Recording } from '../../src/analysis/recording';
import { batch, planOf, recordingOf, START, TICK_MS } from './recordings';

const POLICY = playedPolicy(planOf());
const { usual, longest } = lengthsOf(POLICY);

/** Back to back. */
function windowsOf(recording: Recording, length = usual): Recording[] {
  return Array.from({ length: Math.floor(recording.ticks / length) }, (_, index) =>
    partOf(recording, index * length, length),
  );
}

async function series(windows: readonly Recording[], injection: Injection | null = null): Promise<SeriesRun[]> {
  const { shares } = badShares(windows, POLICY.analysis);
  return playSeries({ policy: POLICY, windows, injection, shares, seed: 7, onRun: () => Promise.resolve() });
}

describe('a plan in ticks', () => {
  it('has the plan’s steps, and as long as its soaks and extensions', () => {
    expect(POLICY.steps.map(({ weight, soakTicks }) => [weight, soakTicks])).toEqual([
      [5, 12],
      [25, 12],
      [50, 12],
      [100, 12],
    ]);
    expect({ usual, longest }).toEqual({ usual: 48, longest: 48 + 4 * 60 });
  });

  it('has as many looks as a release, whose first one of a weight comes a lag later', () => {
    const { analysis } = POLICY;
    const late = { ...analysis, initialDelayMs: analysis.intervalMs, lagMs: 2 * analysis.intervalMs + 1 };

    expect(playedPolicy({ analysis: late, steps: [] }).delayTicks).toBe(4);
  });
});

describe('a pretend canary', () => {
  const recording = recordingOf({ ticks: 400, errors: () => 0.02 });
  const totals = (weight: number, injection: Injection | null): { canary: number[]; stable: number[] } => {
    const traffic = pretendCanary(recording, { seed: 3, injection, shares: { 'error-rate': 0.02 } });
    const sums = { canary: [0, 0], stable: [0, 0] };
    for (let tick = 1; tick <= recording.ticks; tick += 1) {
      const { counts } = traffic.at('error-rate', tick, weight);
      for (const track of ['canary', 'stable'] as const) {
        const { bad, total } = eventsIn(counts?.[track]) ?? { bad: Number.NaN, total: Number.NaN };
        sums[track][0] = (sums[track][0] ?? 0) + bad;
        sums[track][1] = (sums[track][1] ?? 0) + total;
      }
    }
    return sums;
  };
  const recorded = (recording.metrics[0]?.stable.counts ?? []).reduce((n, tick) => n + (eventsIn(tick)?.bad ?? 0), 0);

  it('has its weight of the requests and of the errors, and the rest is stable’s', () => {
    const { canary, stable } = totals(25, null);

    expect([canary[0]! + stable[0]!, canary[1]! + stable[1]!]).toEqual([recorded, 200_000]);
    // Within five standard deviations.
    expect(Math.abs(canary[1]! - 50_000)).toBeLessThan(5 * Math.sqrt(200_000 * 0.25 * 0.75));
    expect(Math.abs(canary[0]! - recorded / 4)).toBeLessThan(5 * Math.sqrt(recorded * 0.25 * 0.75));
  });

  it('has times the errors from the weight of a fault on, of the same split', () => {
    const healthy = totals(25, null);
    const before = totals(25, { times: 5, fromWeight: 50 });
    const broken = totals(25, { times: 5, fromWeight: 25 });

    expect(before).toEqual(healthy);
    expect(broken.stable).toEqual(healthy.stable);
    expect(broken.canary[1]).toBe(healthy.canary[1]);
    expect(broken.canary[0]! / broken.canary[1]!).toBeCloseTo(0.1, 2);
  });

  it('has fewer errors below once, of the same split, and none at 0', () => {
    const healthy = totals(25, null);
    const better = totals(25, { times: 0.5, fromWeight: 25 });

    expect(better.stable).toEqual(healthy.stable);
    expect(better.canary[1]).toBe(healthy.canary[1]);
    expect(better.canary[0]! / healthy.canary[0]!).toBeCloseTo(0.5, 1);
    expect(totals(25, { times: 0, fromWeight: 25 }).canary[0]).toBe(0);
  });

  it('splits histograms bucket by bucket', () => {
    const traffic = pretendCanary(recording, { seed: 3, injection: null, shares: {} });
    const { counts } = traffic.at('p95-latency', 1, 25);
    const [canary, stable] = [counts?.canary, counts?.stable].map((tick) =>
      tick?.kind === 'batch' && tick.counts !== null && 'cumulative' in tick.counts ? tick.counts.cumulative : [],
    );
    const source = recording.metrics[1]?.stable.counts?.[0];
    const whole =
      source?.kind === 'batch' && source.counts !== null && 'cumulative' in source.counts ? source.counts : null;

    expect(canary?.map((count, index) => count + (stable?.[index] ?? 0))).toEqual(whole?.cumulative);
    expect(canary?.every((count, index) => count >= (canary[index - 1] ?? 0))).toBe(true);
    expect(requestsIn(counts?.canary)).toBeGreaterThan(90);
  });
});

describe('releases without a change', () => {
  it('are promoted over steady history, within the bound of alpha', async () => {
    const healthy = describeHealthy(await series(windowsOf(recordingOf({ ticks: usual * 100 }))));

    expect(healthy).toMatchObject({ undecided: 0, cutOff: 0 });
    expect(healthy.promoted + healthy.falseAlarms.count).toBe(100);
    // At most 1 % by the evidence; with 100 runs, 5 or more of them have a chance below 0.4 %.
    expect(healthy.falseAlarms.count).toBeLessThan(5);
    expect(healthy.falseAlarms.upper).toBeGreaterThan(healthy.falseAlarms.count / 100);
  });

  it('are rolled back by a fixed limit, and by nothing else, while an incident hits everybody', async () => {
    const errors = (tick: number): number => (tick > usual / 4 && tick <= usual / 4 + 6 ? 0.2 : 0.005);
    const [run] = await series(windowsOf(recordingOf({ ticks: usual, errors })));

    expect(run?.played).toMatchObject({ outcome: 'failed', weight: 25, failing: ['error-rate'] });
    expect(run?.played.sentence).toMatch(/more than the allowed 5 %/);
    expect(run?.played.evidence).toBeLessThan(1);
  });

  it('get no verdict from a service without traffic', () => {
    const traffic = pretendCanary(recordingOf({ ticks: longest, perTick: 0 }), {
      seed: 1,
      injection: null,
      shares: {},
    });

    expect(playRelease(POLICY, traffic)).toMatchObject({
      outcome: 'undecided',
      weight: 5,
      tick: 12 + 60,
      sentence: expect.stringMatching(/^No verdict could be reached \(insufficient-data\)/),
    });
  });

  it('go on without evidence where the spec says so', () => {
    const policy = playedPolicy(planOf('    onNoData: { extend: 10s, then: promote }'));
    const traffic = pretendCanary(recordingOf({ ticks: 200, perTick: 0 }), { seed: 1, injection: null, shares: {} });

    expect(playRelease(policy, traffic)).toMatchObject({ outcome: 'promoted', tick: 4 * 14 });
  });

  it('say so when the recording is over before they are', () => {
    const traffic = pretendCanary(recordingOf({ ticks: 20 }), { seed: 1, injection: null, shares: {} });

    expect(playRelease(POLICY, traffic)).toMatchObject({ outcome: 'cutOff', weight: 25 });
  });

  it('are an error, and no fault of the canary, where the history is nonsense', () => {
    const recording = recordingOf({ ticks: usual });
    const broken: Recording = {
      ...recording,
      metrics: recording.metrics.map((metric) => ({
        ...metric,
        stable: { counts: Array.from({ length: usual }, () => ({ kind: 'error', message: 'it fell' })), values: null },
      })),
    };
    const played = playRelease(POLICY, pretendCanary(broken, { seed: 1, injection: null, shares: {} }));

    expect(played).toMatchObject({ outcome: 'undecided', tick: 5, sentence: expect.stringContaining('it fell') });
  });
});

describe('releases with a fault', () => {
  it('that shows at 100 % are held against an objective there, beside a stable that is silent', () => {
    const policy = playedPolicy(
      planOf('    metrics:\n      - { name: error-rate, max: 50%, objective: 2% }\n    minRequests: 20'),
    );
    const recording = recordingOf({ ticks: usual });
    const fault = { times: 20, fromWeight: 100 };
    const traffic = pretendCanary(recording, { seed: 1, injection: fault, shares: { 'error-rate': 0.005 } });

    expect(playRelease(policy, traffic)).toMatchObject({
      outcome: 'failed',
      weight: 100,
      sentence: expect.stringContaining('proven worse than its objective of 2 %'),
    });
  });

  it('are found: tenfold soon, and what it cost is counted from the fault’s weight on', async () => {
    const windows = windowsOf(recordingOf({ ticks: usual * 30 }));
    const injection = { times: 10, fromWeight: 25 };
    const result = describeInjected(await series(windows, injection), injection, TICK_MS);

    expect(result.found.count / result.found.of).toBeGreaterThan(0.95);
    expect(result.found.of + result.before).toBe(30);
    expect(result.delayMs?.median).toBeLessThanOrEqual(20_000);
    // At 25 % of 100 requests/s, and 5 % of them bad.
    const { median = 0 } = result.requests ?? {};
    expect(median / ((result.delayMs?.median ?? 1) / 1000)).toBeCloseTo(25, -1);
    expect((result.errors?.median ?? 0) / median).toBeCloseTo(0.05, 1);
  });

  it('are not found where the canary has fewer errors than stable', async () => {
    const windows = windowsOf(recordingOf({ ticks: usual * 20 }));
    const injection = { times: 0.5, fromWeight: 5 };
    const result = describeInjected(await series(windows, injection), injection, TICK_MS);

    expect(result.found).toMatchObject({ count: 0, of: 20 });
  });

  it('are missed where the fault is what is tolerated', async () => {
    const windows = windowsOf(recordingOf({ ticks: usual * 20 }));
    const injection = { times: 1.2, fromWeight: 5 };
    const result = describeInjected(await series(windows, injection), injection, TICK_MS);

    expect(result.found.count).toBeLessThanOrEqual(1);
    expect(result.missed?.requests.median).toBeGreaterThan(10_000);
  });

  it('multiply one error where none was recorded', () => {
    const windows = windowsOf(recordingOf({ ticks: usual, errors: () => 0 }));

    expect(badShares(windows, POLICY.analysis)).toEqual({
      shares: { 'error-rate': 1 / (usual * 500) },
      clean: ['error-rate'],
    });
  });
});

describe('a deploy of which both tracks were recorded', () => {
  it('would have been caught, when, and after what', () => {
    const recording = recordingOf({ ticks: longest, canary: () => batch(5, 25) });
    const review = reviewDeploy(POLICY, recording);

    expect(review).toMatchObject({
      kind: 'played',
      at: START,
      played: { outcome: 'failed', weight: 5, failing: ['error-rate'] },
      recorded: { requests: usual * 25, errors: usual * 5 },
    });
    expect(review.kind === 'played' && review.caughtAfterMs).toBeLessThanOrEqual(15_000);
  });

  it('would have been promoted when it was as good', () => {
    const recording = recordingOf({ ticks: longest, canary: (tick) => batch(tick % 8 === 0 ? 1 : 0, 50) });

    expect(reviewDeploy(POLICY, recording)).toMatchObject({ caughtAfterMs: null, played: { outcome: 'promoted' } });
  });

  it.each([
    ['canary', () => batch(0, 0), 500],
    ['stable', () => batch(0, 50), 0],
  ])('cannot be played without the %s track, and says so', (track, canary, perTick) => {
    const review = reviewDeploy(POLICY, recordingOf({ ticks: longest, canary, perTick }));

    expect(review).toMatchObject({
      kind: 'notRecorded',
      sentence: expect.stringMatching(new RegExp(`the history has no requests of the ${track} track`)),
    });
  });
});

describe('a deploy whose counters cannot be counted by', () => {
  it('says why, and not that there were no requests', () => {
    const message = 'the only series answered 0.5, which is no whole number';
    const recording = recordingOf({ ticks: 8, canary: () => ({ kind: 'error', message }) });

    expect(reviewDeploy(POLICY, recording)).toMatchObject({
      kind: 'notRecorded',
      sentence: expect.stringMatching(
        /^In the \d+(\.\d)? min from then on the counters of the canary track could not be counted by \(.+\): the only series answered 0\.5, which is no whole number\.$/,
      ),
    });
  });
});

describe('what was recorded, for a plot', () => {
  it('is all of it once, however the windows overlap', () => {
    const whole = recordingOf({ ticks: 120, perTick: 10, errors: () => 0.5 });
    const windows = [0, 20, 50, 90].map((from) => partOf(whole, from, 40));

    const points = trafficIn(windows, POLICY.analysis, 10);

    expect(points.map(({ at }) => (at - START) / TICK_MS)).toEqual([12, 24, 36, 48, 60, 72, 84, 96, 108, 120]);
    const requests = points.reduce((sum, point) => sum + point.requests, 0);
    expect([requests, points.reduce((sum, { seconds }) => sum + seconds, 0)]).toEqual([1_200, 600]);
    const recorded = (whole.metrics[0]?.stable.counts ?? []).reduce((n, tick) => n + (eventsIn(tick)?.bad ?? 0), 0);
    expect(points.reduce((sum, { errors }) => sum + errors, 0)).toBe(recorded);
  });
});

describe('where pretend releases begin', () => {
  it('is evenly over what is left beside the deploys, as many as fit side by side or as are wanted', () => {
    const free = without({ from: 0, to: 2_000 }, [
      { from: 500, to: 700 },
      { from: 1_950, to: 2_400 },
    ]);

    expect(free).toEqual([
      { from: 0, to: 500 },
      { from: 700, to: 1_950 },
    ]);
    const { starts, fitting } = chooseWindows(free, 10, null);
    expect(fitting).toBe(175);
    expect(starts).toHaveLength(175);
    expect([starts[0], starts.at(-1)]).toEqual([0, 1_940]);
    expect(starts.every((start) => free.some(({ from, to }) => start >= from && start + 10 <= to))).toBe(true);
    expect(chooseWindows(free, 10, 3).starts).toHaveLength(3);
    expect(chooseWindows([{ from: 0, to: 200 }], 48, null)).toMatchObject({ fitting: 4, starts: { length: 100 } });
    expect(chooseWindows([{ from: 0, to: 9 }], 10, null)).toEqual({ starts: [], fitting: 0 });
  });

  it('is read in ranges that do not overlap', () => {
    expect(
      merge([
        { from: 5, to: 9 },
        { from: 0, to: 5 },
        { from: 20, to: 30 },
        { from: 8, to: 12 },
      ]),
    ).toEqual([
      { from: 0, to: 12 },
      { from: 20, to: 30 },
    ]);
  });
});

describe("clusters between stable's processes", () => {
  it('of the time before divide the evidence from the first batch on, as in a release', () => {
    // Eight times stable's errors, and below the fixed limit.
    const recording = recordingOf({ ticks: longest, canary: () => batch(2, 50) });
    const metrics = recording.metrics.map((metric) => ({ ...metric, before: [{ chiSquared: 300, degrees: 30 }] }));
    // Infinity: not at all.
    const caughtAfter = (each: Recording): number => {
      const review = reviewDeploy(POLICY, each);
      return (review.kind === 'played' ? review.caughtAfterMs : null) ?? Infinity;
    };

    // Ten bad events of one cause, instead of the plan's two.
    expect(caughtAfter({ ...recording, metrics })).toBeGreaterThan(caughtAfter(recording));
  });

  it('are less uneven in what is left of stable, in proportion', () => {
    const recording = recordingOf({ ticks: 1 });
    const spread = { chiSquared: 40, degrees: 10 };
    const [errors] = recording.metrics;
    if (errors === undefined) throw new Error('The recording has errors.');
    const counts = (errors.stable.counts ?? []).map((tick) =>
      tick.kind === 'batch' ? { ...tick, spreads: [spread] } : tick,
    );
    const spreading = { ...recording, metrics: [{ ...errors, stable: { counts, values: null } }] };
    const traffic = pretendCanary(spreading, { seed: 1, injection: null, shares: {} });

    expect(traffic.at('error-rate', 1, 50).counts?.stable).toMatchObject({
      spreads: [{ chiSquared: 25, degrees: 10 }],
    });
  });
});
