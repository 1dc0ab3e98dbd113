import type { EvidenceState } from '../../src/analysis/gather-evidence';
import type { JudgeState } from '../../src/analysis/verdict';
import type { CountRequest } from '../../src/metrics/metric-source';
import { createPrometheusSource } from '../../src/metrics/prometheus';
import type { AnalysisPlan } from '../../src/spec/plan-types';
import type { MeasureInput, MeasureResult } from '../../src/workflows/activity-types';
import { kayentaMetric } from '../analysis/kayenta-metrics';
import { json, startFakeServer } from '../metrics/fake-server';
import type { FakeServer } from '../metrics/fake-server';
import { measured, measureInput, sampleOf, world } from './fakes';
import { planOf } from './lagging-plan';

describe('a look at samples that are late', () => {
  it('asks every question about the moment that long before it, and compares clocks by the present', async () => {
    const scheduledAt = 1_000_100;
    const all = world({ scheduledAt });

    const { measurement } = await measured(all, measureInput({ since: 900_000, plan: planOf(15_000) }));

    const asked = { at: 985_000, present: expect.any(Number) as number };
    expect(all.source.asked).toEqual([expect.objectContaining({ ...asked, lagMs: 15_000, windowMs: 60_000 })]);
    expect(all.source.askedCounts).toEqual([expect.objectContaining({ ...asked, since: 900_000 })]);
    expect(all.source.askedRouted).toEqual([expect.objectContaining({ ...asked, lagMs: 15_000, since: 905_000 })]);
    for (const { present } of [...all.source.asked, ...all.source.askedCounts, ...all.source.askedRouted])
      expect(present).toBeGreaterThanOrEqual(scheduledAt);
    expect(measurement).toMatchObject({ at: 1_000_000, observedShare: 0.25, verdict: 'pass' });
  });

  it.each([
    ['before the weight', { age: 10_000, initialDelayMs: 0 }],
    ['in the warm-up', { age: 19_000, initialDelayMs: 5_000 }],
    ['where the weight begins', { age: 15_000, initialDelayMs: 0 }],
  ])('%s is no measurement yet: nothing is asked, counted or held against anybody', async (_, asked) => {
    const { age, initialDelayMs } = asked;
    const all = world();
    all.source.answer = (request) => sampleOf(request, { bad: 100, total: 100 });
    const input = measureInput({ since: 1_000_000 - age, plan: { ...planOf(15_000), initialDelayMs } });

    const { measurement, judgement, evidence } = await measured(all, input);

    expect([all.source.asked, all.source.askedCounts, all.source.askedRouted]).toEqual([[], [], []]);
    expect(measurement.verdict).toBe('insufficient-data');
    expect(measurement.sentence).toContain(
      'nothing that counts has been seen since the weight changed, and a look sees no further than to 15s before it',
    );
    expect(judgement).toMatchObject({ decision: 'continue', stepVerdict: 'insufficient-data' });
    expect(judgement.state).toMatchObject({ passed: 0, failed: 0, consecutiveErrors: 0 });
    expect(evidence?.metrics['error-rate']).toMatchObject({ cursor: null, evidence: { batches: 0 } });
  });

  it("has a window for Kayenta's judge that begins where that of the look before it ended", async () => {
    const all = world();
    const kayenta: AnalysisPlan['kayenta'] = {
      metrics: [kayentaMetric({ name: 'error-rate', groups: ['g'], direction: 'increase' })],
      groupWeights: {},
      scoreThresholds: { pass: 95, marginal: 75 },
    };
    const plan = { kayenta, windowMs: 10_000, intervalMs: 10_000, lagMs: 15_000 };

    for (const lookedAt of [null, 985_000, 992_500])
      await measured(all, measureInput({ plan, kayenta: { lookedAt, points: null } }));

    expect(all.source.asked.map(({ at, windowMs }) => [at, windowMs])).toEqual([
      [985_000, 10_000],
      [985_000, 10_000],
      [985_000, 7_500],
    ]);
  });

  it('counts nothing of before a resume that dropped what had been counted', async () => {
    const all = world();
    const proven = (request: CountRequest) => [
      {
        ...({ name: 'error-rate', query: 'c', kind: 'batch', dropped: [] } as const),
        ...{ canary: { bad: 50, total: 100 }, stable: { bad: 0, total: 300 } },
        cursor: { kind: 'time', at: request.at } as const,
      },
    ];
    all.source.tally = proven;
    const look = (at: number, evidence: EvidenceState | null): Promise<MeasureResult> =>
      measured(all, measureInput({ at, since: 900_000, plan: planOf(15_000), evidence }));
    const failed = await look(1_000_000, null);
    if (failed.evidence === undefined) throw new Error('no evidence was gathered');
    const asked = all.source.askedCounts.length;

    const soon = await look(1_010_000, { ...failed.evidence, forgottenAt: 1_000_000 });
    const later = await look(1_015_000, soon.evidence ?? null);

    expect(failed.judgement.decision).toBe('fail');
    expect(soon.judgement.decision).toBe('continue');
    expect(soon.measurement.sentence).toContain('nothing that came after the resume has been seen yet');
    // One question in all: that of the look which sees no further back than to the resume, as at a weight's beginning.
    expect(all.source.askedCounts.slice(asked)).toEqual([expect.objectContaining({ at: 1_000_000, cursors: {} })]);
    expect(later.evidence).not.toHaveProperty('forgottenAt');
  });
});

// ---- a Prometheus whose samples come ten seconds late -----------------------------------------------------------

const SECOND = 1_000;
const LATE_MS = 10 * SECOND;
/** When the weight changed. */
const SINCE = 1_700_000_000_000;
/** Of stable; the canary has the rest of a hundred a second. */
const PER_SECOND = { canary: 5, stable: 95 };

/**
 * A counter of one track at a whole second. The canary fails altogether under the weight before, and then once for two
 * seconds in the middle of this one.
 */
function counterAt(name: string, track: 'canary' | 'stable', at: number): number {
  const all = (PER_SECOND[track] * (at - SINCE)) / SECOND + 100_000;
  if (name === 'all') return all;
  if (track === 'stable') return 0;
  const failing = Math.min(0, at - SINCE) + Math.min(Math.max(0, at - SINCE - 22 * SECOND), 2 * SECOND);
  return (PER_SECOND.canary * failing) / SECOND + 100_000;
}

interface LatePrometheus {
  readonly server: FakeServer;
  /** What its clock says, by which samples arrive. */
  readonly clock: { now: number };
}

/** Answers with what has arrived by now: a sample a second of each counter, each as late as all are. */
async function startLatePrometheus(): Promise<LatePrometheus> {
  const clock = { now: SINCE };
  const server = await startFakeServer(({ path, body }, response) => {
    // Its clock is none that could be compared.
    response.sendDate = false;
    const form = new URLSearchParams(body);
    const query = form.get('query') ?? '';
    const [, name = '', track = ''] = /(bad|all)\{track="(canary|stable)"\}/u.exec(query) ?? [];
    const arrived = (at: number): number => {
      const newest = Math.min(at, clock.now - LATE_MS);
      return counterAt(name, track === 'canary' ? 'canary' : 'stable', Math.floor(newest / SECOND) * SECOND);
    };
    const ms = (key: string): number => Math.round(Number(form.get(key)) * SECOND);
    if (path === '/api/v1/query') {
      const [at, window] = [ms('time'), Number(/\[(\d+)s\]/u.exec(query)?.[1]) * SECOND];
      const value = [at / SECOND, String(arrived(at) - arrived(at - window))];
      json(response, { status: 'success', data: { resultType: 'vector', result: [{ metric: {}, value }] } });
      return;
    }
    const values: [number, string][] = [];
    for (let at = ms('start'); at <= ms('end'); at += ms('step')) values.push([at / SECOND, String(arrived(at))]);
    const result = [{ metric: { instance: track }, values }];
    json(response, { status: 'success', data: { resultType: 'matrix', result } });
  });
  return { server, clock };
}

describe('a Prometheus whose samples come ten seconds late', () => {
  let prometheus: LatePrometheus;
  beforeEach(async () => {
    prometheus = await startLatePrometheus();
  });
  afterEach(() => prometheus.server.close());

  /** A look each five seconds of a minute. */
  async function watch(lagMs: number): Promise<readonly MeasureResult[]> {
    const source = createPrometheusSource({ url: prometheus.server.url, timeoutMs: 10_000 });
    const all = world({ deps: { source: () => source } });
    const results: MeasureResult[] = [];
    let [judge, evidence]: [JudgeState | null, MeasureInput['evidence']] = [null, null];
    try {
      for (let at = SINCE + 5 * SECOND; at <= SINCE + 60 * SECOND; at += 5 * SECOND) {
        prometheus.clock.now = at;
        const plan = { ...planOf(lagMs), routingCheck: 'off' } as const;
        const result = await measured(all, measureInput({ at, since: SINCE, weight: 5, judge, evidence, plan }));
        judge = result.judgement.state;
        evidence = result.evidence ?? null;
        results.push(result);
      }
    } finally {
      source.close();
    }
    return results;
  }

  const countedIn = (results: readonly MeasureResult[]) => results.at(-1)?.measurement.metrics[0]?.evidence?.canary;

  it('loses events without a lag, and with them a canary that fails', async () => {
    const results = await watch(0);

    // Of the 225 requests since counting began.
    expect(countedIn(results)).toEqual({ bad: 0, total: 75 });
    expect(results.map(({ judgement }) => judgement.decision)).not.toContain('fail');
  });

  it('loses none with a lag of 15s: all of this weight is counted, and nothing of the one before', async () => {
    const results = await watch(15_000);

    const verdicts = results.map(({ measurement }) => measurement.verdict);
    expect(verdicts.slice(0, 4)).toEqual(new Array(4).fill('insufficient-data'));
    // From the first look that saw this weight, about its fifth second, to the last, about its forty-fifth.
    expect(countedIn(results)).toEqual({ bad: 10, total: 40 * PER_SECOND.canary });
    const found = results.findIndex(({ judgement }) => judgement.decision === 'fail');
    expect(results[found]?.measurement.at).toBe(SINCE + 40 * SECOND);
    expect(results[found]?.measurement.sentence).toContain('proven worse than stable');
  });
});
