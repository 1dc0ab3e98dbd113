import { CancelledFailure } from '@temporalio/common';
import fc from 'fast-check';
import { ReleaseError } from '../../src/errors';
import type { Routed } from '../../src/metrics/metric-source';
import type { AnalysisPlan } from '../../src/spec/plan-types';
import type { MeasureInput, MeasureResult } from '../../src/workflows/activity-types';
import { kayentaMetric } from '../analysis/kayenta-metrics';
import { measured, measureInput, sampleOf, world } from './fakes';
import type { World } from './fakes';

describe('the first version of a service', () => {
  it('is held against fixed limits, and never against what a query finds beside it', async () => {
    const all = world();
    const limits = { max: 0.05 as number | null, min: null, maxRatio: 1 };
    const [metric] = measureInput().analysis.metrics;
    if (metric === undefined) throw new Error('the plan has no metric');
    // Above stable's nothing of 300, below the fixed limit.
    all.source.answer = (request) => sampleOf(request, { bad: 4, total: 100 });
    const of = (change: Partial<typeof limits>, stableVersion: string | null): Promise<MeasureResult> =>
      measured(
        all,
        measureInput({
          stableVersion,
          plan: { metrics: [{ ...metric, ...limits, ...change }], compare: { alpha: 0.01, tolerate: 1 } },
        }),
      );

    expect((await of({}, 'v1')).measurement.verdict).toBe('fail');
    const first = (await of({}, null)).measurement;
    expect(first.verdict).toBe('pass');
    expect(first.sentence).toMatch(/within the limits; not compared: there is no stable track/);
    // No fixed limit: nothing to be judged by.
    expect((await of({ max: null }, null)).measurement.verdict).toBe('inconclusive');
    expect(first.observedShare).toBe(0.25);
  });
});

describe('the window of a measurement', () => {
  it.each([
    ['is the plan’s when the weight is old enough', { windowMs: 60_000, initialDelayMs: 0, age: 100_000 }, 60_000],
    ['ends at the last weight change', { windowMs: 60_000, initialDelayMs: 0, age: 12_345 }, 12_345],
    ['leaves the warm-up out', { windowMs: 60_000, initialDelayMs: 10_000, age: 12_345 }, 2_345],
    ['is the plan’s once the warm-up is far behind', { windowMs: 60_000, initialDelayMs: 10_000, age: 70_000 }, 60_000],
  ])('%s', async (_, { windowMs, initialDelayMs, age }, expected) => {
    const all = world();
    const { source } = all;

    await measured(all, measureInput({ since: 1_000_000 - age, plan: { windowMs, initialDelayMs } }));

    expect(source.asked).toEqual([
      expect.objectContaining({
        at: 1_000_000,
        windowMs: expected,
        weight: 25,
        service: 'checkout',
        namespace: 'shop',
        versions: { canary: 'v2', stable: 'v1' },
      }),
    ]);
  });

  it('is of the tracks as the target calls them', async () => {
    const all = world();
    const tracks = { canary: 'green', stable: 'blue' };
    all.target.found = { ...all.target.found, tracks };

    await measured(all, measureInput({}));

    expect(all.source.asked).toEqual([expect.objectContaining({ tracks })]);
  });

  it('is asked for with what Temporal’s clock says now, and of a retry with what it says then', async () => {
    const scheduledAt = 1_012_000;
    const all = world({ scheduledAt, attempt: 2 });

    await measured(all, measureInput());

    const [asked] = all.source.asked;
    expect(asked?.at).toBe(1_000_000);
    expect(asked?.present).toBeGreaterThanOrEqual(scheduledAt);
    expect(asked?.present).toBeLessThan(scheduledAt + 10_000);
  });

  it('tells how far a clock of the source’s own had come, by the latest of its answers', async () => {
    const all = world();
    all.source.answer = (request) => {
      request.onClock?.(1_000_000);
      return sampleOf(request, { bad: 0, total: 100 });
    };
    all.source.route = ({ onClock }) => {
      onClock?.(1_003_000);
      onClock?.(1_002_000);
      return { kind: 'no-data', query: 'r', message: 'nothing is counted here' };
    };

    expect((await measured(all, measureInput({ plan: { routingCheck: 'warn' } }))).sourceClock).toBe(1_003_000);
    expect(await measured(world(), measureInput())).not.toHaveProperty('sourceClock');
  });

  it('never reaches past the last weight change or into the warm-up, whatever the plan', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          windowMs: fc.integer({ min: 1_000, max: 86_400_000 }),
          initialDelayMs: fc.integer({ min: 0, max: 86_400_000 }),
          lagMs: fc.integer({ min: 0, max: 3_600_000 }),
          age: fc.integer({ min: 0, max: 200_000_000 }),
        }),
        async ({ windowMs, initialDelayMs, lagMs, age }) => {
          const all = world();
          const { source } = all;
          const at = 1_700_000_000_000;

          const { measurement } = await measured(
            all,
            measureInput({ at, since: at - age, plan: { windowMs, initialDelayMs, lagMs } }),
          );

          for (const asked of source.asked) {
            expect(asked.at).toBe(at - lagMs);
            expect(asked.windowMs).toBeLessThanOrEqual(windowMs);
            expect(asked.at - asked.windowMs).toBeGreaterThanOrEqual(at - age + initialDelayMs);
            expect(asked.windowMs).toBeGreaterThanOrEqual(1_000);
          }
          if (source.asked.length === 0) expect(measurement.verdict).toBe('insufficient-data');
        },
      ),
      { numRuns: 200 },
    );
  });

  it('that would lie in the warm-up asks nothing: no data, and nobody’s fault', async () => {
    const all = world();
    const { source } = all;
    const input = measureInput({ since: 995_000, plan: { initialDelayMs: 10_000 } });

    const { measurement, judgement } = await measured(all, input);

    expect(source.asked).toEqual([]);
    expect(measurement.verdict).toBe('insufficient-data');
    expect(measurement.sentence).toContain('nothing that counts has been seen since the weight changed');
    expect(judgement.decision).toBe('continue');
  });
});

describe("a look for Kayenta's judge", () => {
  const kayenta: AnalysisPlan['kayenta'] = {
    metrics: [kayentaMetric({ name: 'error-rate', groups: ['g'], direction: 'increase' })],
    groupWeights: {},
    scoreThresholds: { pass: 95, marginal: 75 },
  };
  const plan = { kayenta, windowMs: 10_000, intervalMs: 10_000 };
  const four = [{ name: 'error-rate', canary: [0.01, 0.01, 0.01, 0.01], stable: [0, 0, 0, 0] }];

  it('has a window that begins where the one before it ended', async () => {
    const all = world();
    const at = (lookedAt: number | null) => measureInput({ plan, kayenta: { lookedAt, points: null } });

    await measured(all, at(null));
    await measured(all, at(985_000));
    await measured(all, at(992_500));

    expect(all.source.asked.map(({ windowMs }) => windowMs)).toEqual([10_000, 10_000, 7_500]);
  });

  it('asks it with its own value as the last one, and only where it is told to', async () => {
    const all = world();
    all.source.answer = (request) => sampleOf(request, { bad: 1, total: 100 });

    const between = await measured(all, measureInput({ plan, kayenta: { lookedAt: null, points: null } }));
    const last = await measured(all, measureInput({ plan, kayenta: { lookedAt: null, points: four } }));

    expect(between.measurement).not.toHaveProperty('kayenta');
    expect(last.measurement).toMatchObject({
      verdict: 'pass',
      kayenta: { verdict: 'fail', looks: 5, result: { classification: 'Fail', metrics: [{ classification: 'High' }] } },
    });
  });

  it.each([
    ['at 100 %', { weight: 100 }, 'all of the traffic goes to the new version'],
    ['of the first version', { stableVersion: null }, 'there is no stable track'],
  ])('does not ask it %s', async (_, change, why) => {
    const { measurement } = await measured(
      world(),
      measureInput({ plan, ...change, kayenta: { lookedAt: null, points: four } }),
    );

    expect(measurement.kayenta).toMatchObject({ result: null, sentence: `Kayenta's judge was not asked: ${why}.` });
  });
});

describe('a measurement', () => {
  it('re-asserts the weight before it asks, and carries verdict, share and evidence', async () => {
    const all = world();
    const { source, target } = all;
    const order: string[] = [];
    target.behave = (name) => void order.push(name);
    source.answer = (request) => {
      order.push('sample');
      return sampleOf(request, { bad: 1, total: 100 });
    };

    const { measurement, judgement, foreignEdits, guardTripped } = await measured(all, measureInput());

    expect(order).toEqual(['reassert', 'sample']);
    expect(target.calls[0]?.write).toMatchObject({ weight: 25, version: 'v2', fence: { release: 'r1', step: 3 } });
    expect(measurement).toMatchObject({ at: 1_000_000, step: 2, weight: 25, observedShare: 0.25, verdict: 'pass' });
    expect(measurement.metrics).toEqual([expect.objectContaining({ name: 'error-rate', canary: 0.01, query: 'q' })]);
    expect(judgement).not.toHaveProperty('metrics');
    expect({ foreignEdits, guardTripped }).toEqual({ foreignEdits: [], guardTripped: null });
  });

  it('only looks where it is told to leave the weight alone', async () => {
    const all = world();
    const result = await measured(all, measureInput({ reassert: false }));

    expect(all.target.calls).toEqual([]);
    expect(result.measurement.verdict).toBe('pass');
    expect(result).toMatchObject({ foreignEdits: [], guardTripped: null });
  });

  it('fails a canary that fails', async () => {
    const all = world();
    const { source } = all;
    source.answer = (request) => sampleOf(request, { bad: 20, total: 100 });

    const { measurement, judgement } = await measured(all, measureInput());

    expect(measurement.verdict).toBe('fail');
    expect(judgement.decision).toBe('fail');
  });

  it('tells foreign edits and instances that could not be looked at', async () => {
    const all = world();
    const { target } = all;
    target.found = { foreignEdits: ['It was at 90 %.'], guardTripped: null, unreachable: ['http://b refused.'] };

    const { measurement, foreignEdits } = await measured(all, measureInput());

    expect(foreignEdits).toEqual(['It was at 90 %.']);
    expect(measurement.sentence).toContain('The weight could not be looked at everywhere: http://b refused.');
  });

  it('says that the numbers are made up where they are', async () => {
    const all = world();
    const { source } = all;
    source.answer = (request) => ({ ...sampleOf(request, { bad: 0, total: 100 }), simulated: true });

    const { measurement } = await measured(all, measureInput());

    expect(measurement.simulated).toBe(true);
  });

  it('is an error in time when the source never answers, and breaks the question off', async () => {
    const all = world({ startToCloseTimeoutMs: 2_200 });
    const { source } = all;
    let brokenOff = false;
    source.answer = ({ signal }) =>
      new Promise(() => signal?.addEventListener('abort', () => (brokenOff = true), { once: true }));

    const { measurement, judgement } = await measured(all, measureInput());

    expect(measurement.verdict).toBe('error');
    expect(measurement.sentence).toMatch(/the metric source did not answer within 0\.\d s/);
    expect(judgement.decision).toBe('continue');
    expect(brokenOff).toBe(true);
  });

  it('tells a trip of the guard even when the source never answers', async () => {
    const all = world({ startToCloseTimeoutMs: 600_000 });
    const { source, target } = all;
    target.found = { foreignEdits: [], guardTripped: 'http://a took v2 back by itself.', unreachable: [] };
    source.answer = () => new Promise(() => undefined);

    const { guardTripped, measurement } = await measured(all, measureInput());

    expect(guardTripped).toBe('http://a took v2 back by itself.');
    expect(measurement.verdict).toBe('error');
  });

  it('is an error with the way out where the source cannot be set up', async () => {
    const all = world({
      deps: {
        source: () => {
          throw new ReleaseError('usage', 'The variable T is not set.', { hint: 'Set T.' });
        },
      },
    });

    const { measurement } = await measured(all, measureInput());

    expect(measurement.verdict).toBe('error');
    expect(measurement.sentence).toContain('The variable T is not set. Set T.');
  });

  it('ends as cancelled when it was cancelled while the source was asked', async () => {
    const all = world();
    const { source } = all;
    source.answer = (request) =>
      new Promise((resolve) => {
        request.signal?.addEventListener('abort', () => resolve(sampleOf(request, { bad: 0, total: 100 })));
        setImmediate(() => all.env.cancel('CANCELLED'));
      });

    await expect(measured(all, measureInput())).rejects.toBeInstanceOf(CancelledFailure);
  });

  it('goes on from what the judge remembers', async () => {
    const all = world();
    const first = await measured(all, measureInput({ plan: { minMeasurements: 2 } }));

    const second = await measured(all, measureInput({ plan: { minMeasurements: 2 }, judge: first.judgement.state }));

    expect(first.judgement.stepVerdict).toBe('insufficient-data');
    expect(second.judgement.stepVerdict).toBe('pass');
  });
});

describe('the routing, looked at beside the metrics', () => {
  const counts = (canary: number, stable: number): Routed => ({
    kind: 'counts',
    query: 'routed',
    canary,
    stable,
    unit: 'request',
    cluster: 1,
  });
  const warn = { routingCheck: 'warn' } as const;

  it('is of one weight alone: what was counted since it changed, and settled', async () => {
    const all = world();
    all.source.route = () => counts(0, 4_000);

    const { measurement } = await measured(all, measureInput({ since: 900_000, plan: warn }));

    expect(all.source.askedRouted).toEqual([
      expect.objectContaining({ since: 905_000, at: 1_000_000, weight: 25, versions: { canary: 'v2', stable: 'v1' } }),
    ]);
    expect(measurement.routing).toMatchObject({
      verdict: 'fail',
      asked: 0.25,
      delivered: 0,
      canary: 0,
      stable: 4_000,
      query: 'routed',
    });
    // Its verdict is its own: the metrics are what they are.
    expect(measurement.verdict).toBe('pass');
  });

  it('looks at no more than the first hour of a weight', async () => {
    const all = world();
    await measured(all, measureInput({ at: 100_000_000, since: 1_000_000, plan: warn }));

    expect(all.source.askedRouted).toEqual([expect.objectContaining({ since: 1_005_000, at: 4_605_000 })]);
  });

  it('remembers the most evidence there was', async () => {
    const all = world();
    all.source.route = () => counts(250, 750);

    const { measurement } = await measured(all, measureInput({ since: 900_000, plan: warn, routing: { highest: 40 } }));

    expect(measurement.routing).toMatchObject({ verdict: 'fail', highest: 40 });
  });

  it.each<[string, Partial<MeasureInput> & { readonly plan?: Partial<AnalysisPlan> }]>([
    ['switched off', { plan: { routingCheck: 'off' } }],
    ['of a plan of before there was one', {}],
    ['at 0 %', { plan: warn, weight: 0 }],
    ['at 100 %', { plan: warn, weight: 100 }],
    ['of the new stable pods, which are the same version', { plan: warn, subject: 'stable' }],
    ['of a lower weight that nobody has answered', { plan: warn, unsettled: true }],
  ])('%s is not looked at', async (_, more) => {
    const all = world();

    const { measurement } = await measured(all, measureInput({ since: 900_000, ...more }));

    expect(all.source.askedRouted).toEqual([]);
    expect(measurement).not.toHaveProperty('routing');
  });

  it('with marked requests beside the weight may be more, and never less', async () => {
    const all = world();
    const match = [{ kind: 'header', name: 'x-canary', value: 'true' }] as const;
    all.source.route = () => counts(3_000, 1_000);
    const more = await measured(all, measureInput({ since: 900_000, plan: warn, match }));
    all.source.route = () => counts(400, 3_600);
    const less = await measured(all, measureInput({ since: 900_000, plan: warn, match }));

    expect([more.measurement.routing?.verdict, less.measurement.routing?.verdict]).toEqual(['pass', 'fail']);
  });

  it('is held against what can be reached, by decisions of many requests, where pods are all there is', async () => {
    const all = world();
    all.target.found = { ...all.target.found, dealing: { share: 50, perDecision: 1_000 } };
    all.source.route = () => counts(2_000, 2_400);

    const { measurement } = await measured(all, measureInput({ since: 900_000, plan: warn }));

    expect(measurement.routing).toMatchObject({ verdict: 'pass', asked: 0.5 });
  });

  it('is an error of the backend’s, and nobody else’s, when it cannot be asked', async () => {
    const all = world();
    all.source.route = () => ({ kind: 'error', query: 'routed', message: 'it is away' });

    const { measurement } = await measured(all, measureInput({ since: 900_000, plan: warn }));

    expect(measurement.routing).toMatchObject({
      verdict: 'error',
      sentence: 'The routing could not be looked at: it is away.',
    });
    expect(measurement.verdict).toBe('pass');
  });

  it('that never answers is left out in time', async () => {
    const all = world({ startToCloseTimeoutMs: 2_200 });
    all.source.route = () => new Promise(() => undefined);

    const { measurement } = await measured(all, measureInput({ since: 900_000, plan: warn }));

    expect(measurement).not.toHaveProperty('routing');
  });
});

describe('the evidence of the release', () => {
  const evidence = { alpha: 0.01, tolerate: 1, clusters: 1, plannedBatches: 1, promotion: null };
  const [metric] = measureInput().analysis.metrics;
  if (metric === undefined) throw new Error('the plan has no metric');
  const counted = { ...metric, counters: { kind: 'builtin', metric: 'errors' } } as const;
  const plan = { evidence, metrics: [counted] };

  const batches =
    (canary: readonly [number, number], stable: readonly [number, number]): World['source']['tally'] =>
    ({ metrics, at }) =>
      metrics.map(({ name }) => ({
        name,
        query: 'c',
        kind: 'batch',
        canary: { bad: canary[0], total: canary[1] },
        stable: { bad: stable[0], total: stable[1] },
        dropped: [],
        cursor: { kind: 'time', at },
      }));

  it('is asked of the tracks since the weight changed, and then from where it was last counted', async () => {
    const all = world();

    const first = await measured(all, measureInput({ plan: { ...plan, initialDelayMs: 10_000 } }));
    await measured(all, measureInput({ plan, evidence: first.evidence ?? null }));

    expect(all.source.askedCounts).toEqual([
      expect.objectContaining({
        at: 1_000_000,
        since: 910_000,
        cursors: {},
        weight: 25,
        subject: 'canary',
        versions: { canary: 'v2', stable: 'v1' },
      }),
      // Another moment that counts from is another stage.
      expect.objectContaining({ since: 900_000, cursors: {} }),
    ]);
    await measured(all, measureInput({ plan, evidence: first.evidence ?? null, since: 910_000 }));
    expect(all.source.askedCounts.at(-1)?.cursors).toEqual({ 'error-rate': { kind: 'time', at: 1_000_000 } });
    expect(all.source.askedCounts.map(({ counted }) => counted)).toEqual([[], ['error-rate'], ['error-rate']]);
  });

  it('of an objective is asked for without stable, where all traffic goes to the canary or there is no other', async () => {
    const all = world();
    const held = { evidence, metrics: [{ ...counted, objective: 0.01 }] };

    await measured(all, measureInput({ plan: held }));
    await measured(all, measureInput({ plan: held, weight: 100 }));
    await measured(all, measureInput({ plan: held, stableVersion: null }));

    expect(all.source.askedCounts.map(({ alone }) => alone)).toEqual([false, true, true]);
  });

  it('fails the step at once, even where the fixed limit is kept and failures are tolerated', async () => {
    const all = world();
    all.source.tally = batches([8, 40], [1, 760]);

    const { measurement, judgement } = await measured(all, measureInput({ plan: { ...plan, failureLimit: 3 } }));

    expect(measurement.verdict).toBe('fail');
    expect(measurement.sentence).toMatch(
      /^0 of 100 canary requests failed \(0 %\), proven worse than stable: 8 of 9 errors came from the canary, which had 5 % of the requests/,
    );
    expect(judgement).toMatchObject({ decision: 'fail', stepVerdict: 'fail' });
    expect(measurement.metrics[0]?.evidence).toMatchObject({
      canary: { bad: 8, total: 40 },
      stable: { bad: 1, total: 760 },
      query: 'c',
    });
  });

  it('is told of in a payload that has room for many, however long the queries are', async () => {
    const all = world();
    const dropped = Array.from({ length: 6 }, (_, index) => `${'l'.repeat(400)}${index}`);
    all.source.tally = ({ at }) => [
      {
        ...{ name: 'error-rate', query: 'q'.repeat(200_000), kind: 'batch', dropped, cursor: { kind: 'time', at } },
        ...{ canary: { bad: 0, total: 40 }, stable: { bad: 1, total: 760 } },
      },
    ];

    const { measurement } = await measured(all, measureInput({ plan }));

    expect(JSON.stringify(measurement).length).toBeLessThan(96 * 1024);
    expect(measurement.metrics[0]?.evidence).toMatchObject({ canary: { bad: 0, total: 40 }, dropped });
  });

  it('fails also where this one look had no requests to be judged by', async () => {
    const all = world();
    all.source.answer = (request) => sampleOf(request, { bad: 3, total: 3 });
    all.source.tally = batches([5, 5], [0, 95]);

    const { measurement } = await measured(all, measureInput({ plan }));

    expect(measurement).toMatchObject({ verdict: 'fail', sentence: expect.stringMatching(/^error-rate: proven/) });
  });

  it('of a dry run is shown, and acted on by nobody', async () => {
    const all = world();
    all.source.tally = batches([8, 40], [1, 760]);
    const shown = { ...counted, name: 'shown', dryRun: true };
    all.source.answer = (request) => {
      const sample = sampleOf(request, { bad: 0, total: 100 });
      return { ...sample, metrics: [...sample.metrics, ...sample.metrics.map((each) => ({ ...each, name: 'shown' }))] };
    };

    const { measurement, judgement } = await measured(
      all,
      measureInput({ plan: { evidence: { ...evidence, tolerate: 100 }, metrics: [counted, shown] } }),
    );
    expect(measurement.verdict).toBe('pass');

    const proven = await measured(all, measureInput({ plan: { evidence, metrics: [shown, { ...metric }] } }));
    expect(proven.measurement).toMatchObject({ verdict: 'pass' });
    expect(proven.measurement.metrics[0]).toMatchObject({ name: 'shown', verdict: 'fail', dryRun: true });
    expect(judgement.decision).toBe('continue');
  });

  it('is not enough yet for a pass until enough was compared at this weight', async () => {
    const all = world();
    all.source.tally = batches([0, 5], [0, 95]);

    const { measurement } = await measured(all, measureInput({ plan }));

    expect(measurement.verdict).toBe('insufficient-data');
    expect(measurement.sentence).toBe(
      '0 of 100 canary requests failed (0 %); not compared with stable yet: 5 canary requests could be compared at this weight, and 20 are needed.',
    );
  });

  it.each([
    ['fails', () => Promise.reject(new ReleaseError('usage', 'The token is not set.')), /The token is not set/],
    ['never answers', () => new Promise<never>(() => undefined), /did not answer in time/],
  ])('is an error where the source %s, and what was counted stays', async (_name, tally, message) => {
    const before = await measured(world(), measureInput({ plan }));
    const all = world({ startToCloseTimeoutMs: 2_200 });
    all.source.tally = tally;

    const after = await measured(all, measureInput({ plan, evidence: before.evidence ?? null }));

    expect(after.measurement).toMatchObject({ verdict: 'error', sentence: expect.stringMatching(message) });
    expect(after.evidence?.metrics['error-rate']?.evidence).toEqual(before.evidence?.metrics['error-rate']?.evidence);
  });

  it.each([
    ['all of the traffic', { weight: 100 }],
    ['no stable track', { stableVersion: null }],
  ])('is not asked for where there is nothing to compare with: %s', async (_name, more) => {
    const all = world();

    const { measurement } = await measured(all, measureInput({ plan, ...more }));

    expect(all.source.askedCounts).toEqual([]);
    expect(measurement.verdict).toBe('pass');
    expect(measurement.sentence).toMatch(
      /not compared: (all of the traffic goes to the new version|there is no stable)/,
    );
  });

  it('is not gathered for a plan of an older client', async () => {
    const all = world();

    const result = await measured(all, measureInput());

    expect(all.source.askedCounts).toEqual([]);
    expect(result).not.toHaveProperty('evidence');
  });
});
