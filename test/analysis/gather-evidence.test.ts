import type { ArmBatch, Counted } from '../../src/analysis/counts';
import { addEvidence, ERROR_ALTERNATIVES, logEvidence, NO_EVIDENCE } from '../../src/analysis/event-evidence';
import { cursorsOf, gatherEvidence } from '../../src/analysis/gather-evidence';
import type { EvidenceState, GatheringLook, GatheringPolicy } from '../../src/analysis/gather-evidence';

const policy: GatheringPolicy = {
  alpha: 0.01,
  tolerate: 1,
  clusters: 1,
  plannedBatches: 1,
  minRequests: 20,
  promotion: null,
  metrics: [{ name: 'errors', kind: 'errors', objective: null, dryRun: false }],
};
const look: GatheringLook = { subject: 'canary', since: 0, alone: false };

function batch(canary: ArmBatch, stable: ArmBatch, more: Partial<Extract<Counted, { kind: 'batch' }>> = {}): Counted {
  const cursor = { kind: 'time', at: 1 } as const;
  return { name: 'errors', query: 'q', kind: 'batch', canary, stable, dropped: [], cursor, ...more };
}

const events = (canary: readonly [number, number], stable: readonly [number, number], more = {}): Counted =>
  batch({ bad: canary[0], total: canary[1] }, { bad: stable[0], total: stable[1] }, more);

function play(counted: readonly Counted[], changes: Partial<GatheringPolicy> = {}, looks = counted.map(() => look)) {
  let state: EvidenceState | null = null;
  let findings: ReturnType<typeof gatherEvidence>['findings'] = [];
  for (const [index, each] of counted.entries()) {
    ({ state, findings } = gatherEvidence({ ...policy, ...changes }, state, looks[index] ?? look, [each]));
  }
  const [finding] = findings;
  if (finding === undefined || state === null) throw new Error('There is one metric.');
  return { finding, state };
}

/**
 * The chance that an experiment with a limit fails a version as good as the other within so many bad events, looked at
 * after each: of two arms with as many requests either has the next one with the same chance. Summed over all courses
 * there can be, but for those that hardly can.
 */
function failing(limits: readonly number[], events = 300): number[] {
  const design = {
    alternatives: ERROR_ALTERNATIVES,
    tolerate: policy.tolerate,
    clusters: policy.clusters,
    onset: null,
  };
  const failed = limits.map(() => 0);
  // Of each limit, by how many of the bad events were the first arm's: the chance of being there without having failed.
  let open = limits.map(() => [1]);
  for (let seen = 1; seen <= events; seen += 1) {
    const next = limits.map((): number[] => []);
    for (let bad = 0; bad <= seen; bad += 1) {
      const chances = open.map((before) => ((before[bad] ?? 0) + (before[bad - 1] ?? 0)) / 2);
      if (Math.max(...chances) < 1e-9) continue;
      const batch = { canary: { bad, total: events }, stable: { bad: seen - bad, total: events } };
      const reached = 2 * bad <= seen ? 0 : logEvidence(design, addEvidence(design, NO_EVIDENCE, batch));
      for (const [index, limit] of limits.entries()) {
        const to = reached < limit ? next[index] : undefined;
        if (to === undefined) failed[index] = (failed[index] ?? 0) + (chances[index] ?? 0);
        else to[bad] = chances[index] ?? 0;
      }
    }
    open = next;
  }
  return failed;
}

describe('evidence over a release', () => {
  it('is proven once it reaches the limit, with the counts in a sentence', () => {
    const { finding } = play([events([3, 25], [0, 475]), events([4, 25], [2, 475])]);

    expect(finding.outcome).toMatchObject({ kind: 'proven' });
    expect(finding.outcome.kind === 'proven' && finding.outcome.clause).toMatch(
      /^proven worse than stable: 7 of 9 errors came from the canary, which had 5 % of the requests: evidence .* to 1, and it fails at 100 to 1$/,
    );
    expect(finding.report).toMatchObject({
      batches: 2,
      canary: { bad: 7, total: 50 },
      stable: { bad: 2, total: 950 },
      boundary: null,
    });
  });

  it('stays proven, whatever comes later and whatever the source says then', () => {
    const proven = [events([8, 25], [0, 475])];
    const problem = {
      name: 'errors',
      query: 'q',
      kind: 'problem',
      problem: { kind: 'error', message: 'gone' },
    } as const;

    expect(play([...proven, problem]).finding.outcome.kind).toBe('proven');
    expect(play([...proven, events([0, 5_000], [500, 95_000])]).finding.outcome.kind).toBe('proven');
  });

  it('goes on over weights, and asks for enough requests at each', () => {
    const next = { ...look, since: 1 };
    const first = play([events([0, 30], [0, 470])]);
    const second = play([events([0, 30], [0, 470]), events([0, 5], [0, 15])], {}, [look, next]);

    expect(first.finding.outcome).toEqual({ kind: 'kept' });
    expect(second.finding.outcome).toEqual({
      kind: 'insufficient',
      why: '5 canary requests could be compared at this weight, and 20 are needed',
    });
    expect(second.finding.report).toMatchObject({ batches: 2, canary: { total: 35 } });
  });

  it('counts anew for another subject, since that is another experiment', () => {
    const { state } = play([events([8, 25], [0, 475]), events([0, 50], [0, 50])], {}, [
      look,
      { ...look, subject: 'stable', since: 1 },
    ]);

    expect(state.metrics['errors']?.evidence).toMatchObject({ batches: 1, canaryRequests: 50 });
  });

  it('keeps a batch open until both tracks have had requests in it', () => {
    const waiting = play([events([5, 25], [0, 0], { cursor: { kind: 'time', at: 5 } })]);

    expect(waiting.state.metrics['errors']?.evidence.batches).toBe(0);
    expect(cursorsOf(waiting.state, look)).toEqual({});

    const closed = play([
      events([5, 25], [0, 0], { cursor: { kind: 'time', at: 5 } }),
      events([5, 30], [0, 500], { cursor: { kind: 'time', at: 10 } }),
    ]);
    expect(closed.finding.report.canary).toEqual({ bad: 5, total: 30 });
    expect(cursorsOf(closed.state, look)).toEqual({ errors: { kind: 'time', at: 10 } });
  });

  it('keeps what each look asked and was answered by itself, beside the sums of the release', () => {
    const asked = { from: 10, to: 20 };
    const taken = play([events([3, 25], [0, 475]), events([4, 25], [2, 475], { asked })]).finding.report;
    const open = play([events([5, 25], [0, 0], { asked })]).finding.report;
    const problem = { kind: 'error', message: 'gone' } as const;
    const gone = play([events([3, 25], [0, 475]), { name: 'errors', query: 'q', asked, kind: 'problem', problem }]);

    expect(taken).toMatchObject({ canary: { bad: 7, total: 50 }, asked });
    expect(taken.batch).toEqual({ canary: { bad: 4, total: 25 }, stable: { bad: 2, total: 475 } });
    expect(open.batch).toEqual({ canary: { bad: 5, total: 25 }, stable: { bad: 0, total: 0 }, open: true });
    expect(gone.finding.report.asked).toEqual(asked);
    expect(gone.finding.report).not.toHaveProperty('batch');
    // Of a source that says no moments, as an earlier version of Sluice.
    expect(play([events([3, 25], [0, 475])]).finding.report).not.toHaveProperty('asked');
  });

  it('keeps the batch of a histogram at the boundary that is shown, and at all where they are not many', () => {
    const changes = { metrics: [{ name: 'errors', kind: 'latency', objective: null, dryRun: false }] } as const;
    const [canary, stable] = [{ cumulative: [20, 20, 100] }, { cumulative: [900, 990, 1000] }];
    const few = play([batch(canary, stable, { boundaries: [0.1, 0.25] })], changes).finding.report;
    const rising = (from: number): number[] => Array.from({ length: 41 }, (_, index) => from + index);
    const boundaries = rising(1).slice(1);
    const many = play([batch({ cumulative: rising(0) }, { cumulative: rising(100) }, { boundaries })], changes);

    expect(few.batch).toEqual({
      ...{ canary: { bad: 80, total: 100 }, stable: { bad: 10, total: 1000 }, boundary: 0.25 },
      histogram: { boundaries: [0.1, 0.25], canary: [20, 20, 100], stable: [900, 990, 1000] },
    });
    const { boundary, batch: shown } = many.finding.report;
    expect(shown).toMatchObject({ boundary, canary: { total: 40 }, stable: { total: 140 } });
    expect(shown).not.toHaveProperty('histogram');
  });

  it('tells of the canary alone where stable was not asked', () => {
    const alone = { ...look, alone: true };
    const objective = { metrics: [{ name: 'errors', kind: 'errors', objective: 0.01, dryRun: false }] } as const;

    const { report } = play([events([1, 100], [0, 0])], objective, [alone]).finding;

    expect(report.batch).toEqual({ canary: { bad: 1, total: 100 }, stable: null });
  });

  it('begins at a new cursor when a source counts anew, and says why', () => {
    const { finding, state } = play([
      { name: 'errors', query: 'q', kind: 'begin', why: 'an instance counts anew', cursor: { kind: 'time', at: 3 } },
    ]);

    expect(finding.report.dropped).toEqual(['an instance counts anew']);
    expect(state.metrics['errors']?.evidence.batches).toBe(0);
    expect(cursorsOf(state, look)).toEqual({ errors: { kind: 'time', at: 3 } });
    // At the next weight it is counted from its change on.
    expect(cursorsOf(state, { ...look, since: 20 })).toEqual({});
  });

  it.each(['error', 'no-data'] as const)('a problem of kind %s is no pass and nothing against the canary', (kind) => {
    const { finding, state } = play([
      events([0, 30], [0, 470]),
      { name: 'errors', query: 'q', kind: 'problem', problem: { kind, message: 'Prometheus is away' } },
    ]);

    expect(finding.outcome).toEqual({ kind: kind === 'error' ? 'error' : 'insufficient', why: 'Prometheus is away' });
    expect(state.metrics['errors']?.evidence.canaryRequests).toBe(30);
  });

  it('a metric that the source left out is an error of the source', () => {
    const { findings } = gatherEvidence(policy, null, look, []);

    expect(findings[0]?.outcome).toEqual({ kind: 'error', why: 'the metric source left it out' });
  });

  it('names the boundary of a histogram that says most, and refuses boundaries that changed', () => {
    const changes = { metrics: [{ name: 'errors', kind: 'latency', objective: null, dryRun: false }] } as const;
    const slow = batch({ cumulative: [20, 20, 100] }, { cumulative: [900, 990, 1000] }, { boundaries: [0.1, 0.25] });

    const { finding } = play([slow], changes);

    expect(finding.report).toMatchObject({ boundary: 0.25, canary: { bad: 80, total: 100 } });
    expect(finding.outcome.kind === 'proven' && finding.outcome.clause).toContain(
      '80 of 90 requests slower than 250 ms came from the canary',
    );
    const other = batch({ cumulative: [1, 2, 3] }, { cumulative: [1, 2, 3] }, { boundaries: [0.1, 0.5] });
    const healthy = batch({ cumulative: [9, 10, 10] }, { cumulative: [90, 100, 100] }, { boundaries: [0.1, 0.25] });
    expect(play([healthy, other], changes).finding.outcome).toMatchObject({ kind: 'error' });
  });

  it('tells of the same boundary in numbers and in the sentence, and not of one that nobody was slower than', () => {
    const changes = { metrics: [{ name: 'errors', kind: 'latency', objective: null, dryRun: false }] } as const;
    // Slower than 100 ms: as often as at stable, or less. Slower than 250 ms: nobody.
    const healthy = batch(
      { cumulative: [98, 100, 100] },
      { cumulative: [960, 1000, 1000] },
      { boundaries: [0.1, 0.25] },
    );

    const { report } = play([healthy], changes).finding;

    expect(report).toMatchObject({ boundary: 0.1, canary: { bad: 2, total: 100 }, stable: { bad: 40, total: 1000 } });
    expect(report.sentence).toMatch(/^errors: 2 of 42 requests slower than 100 ms came from the canary/);
  });

  it('is not compared where all traffic goes to the canary, but held against an objective', () => {
    const alone = { ...look, alone: true };
    const objective = { metrics: [{ name: 'errors', kind: 'errors', objective: 0.01, dryRun: false }] } as const;

    expect(gatherEvidence(policy, null, alone, []).findings[0]?.outcome).toMatchObject({ kind: 'impossible' });
    const { finding } = play([events([20, 100], [0, 0])], objective, [alone]);
    expect(finding.outcome).toEqual({ kind: 'proven', clause: 'proven worse than its objective of 1 %' });
    // The objective is a bet of its own: alpha is shared by it and the comparison.
    expect(finding.report.limit).toBeCloseTo(Math.log(2 / 0.01), 12);
    expect(play([events([1, 100], [0, 0])], objective, [alone]).finding.outcome.kind).toBe('impossible');
  });

  it('holds requests slower than a limit against an objective, by the next boundary above where there is none at it', () => {
    const latency = { name: 'errors', kind: 'latency', objective: 0.01, dryRun: false } as const;
    const alone = { ...look, alone: true };
    const slow = batch({ cumulative: [10, 80, 99, 100] }, { cumulative: [] }, { boundaries: [0.1, 0.25, 0.5] });
    const held = (slowerThan: number, looks = [alone]) =>
      play([slow], { metrics: [{ ...latency, slowerThan }] }, looks).finding;

    expect(held(0.25).outcome).toEqual({
      kind: 'proven',
      clause: 'proven worse than its objective of 1 % slower than 250 ms',
    });
    expect(held(0.25).report.objective).toMatchObject({ share: 0.01, slowerThan: 0.25 });
    // As 20 of 100 bad events are.
    const events20 = play([events([20, 100], [0, 0])], { metrics: [{ ...latency, kind: 'errors' }] }, [alone]);
    expect(held(0.25).report.objective?.logEvidence).toBe(events20.finding.report.objective?.logEvidence);
    // Between 250 and 500 ms nobody knows how many are slower: only the one slower than 500 ms surely is.
    expect(held(0.3).outcome.kind).toBe('impossible');
    expect(held(0.3).report.objective).toEqual({ ...held(0.5).report.objective, slowerThan: 0.3 });
    expect(held(2).outcome).toEqual({
      kind: 'error',
      why: 'its objective needs a boundary of the histogram at its max of 2 s or above, and the last one is 500 ms',
    });
  });

  it('holds a latency against its objective beside the comparison, divided by the clusters at its boundary', () => {
    const metric = { name: 'errors', kind: 'latency', objective: 0.01, slowerThan: 0.25, dryRun: false } as const;
    const spreads = [
      { chiSquared: 0, degrees: 30 },
      { chiSquared: 120, degrees: 30 },
    ];
    // Both tracks alike: the comparison has nothing against the canary.
    const seen = (more = {}): Counted =>
      batch({ cumulative: [50, 80, 100] }, { cumulative: [500, 800, 1000] }, { boundaries: [0.1, 0.25], ...more });
    const changes = { metrics: [metric] };
    const log = (counted: readonly Counted[]): number =>
      play(counted, changes).finding.report.objective?.logEvidence ?? Number.NaN;

    expect(play([seen()], changes).finding.outcome).toMatchObject({
      clause: 'proven worse than its objective of 1 % slower than 250 ms',
    });
    expect(play([seen()], changes).finding.report.limit).toBeCloseTo(Math.log(2 / 0.01), 12);
    expect(log([seen({ spreads }), seen()])).toBeLessThan(log([seen(), seen()]));
    expect(log([seen({ spreads: spreads.toReversed() }), seen()])).toBe(log([seen(), seen()]));
  });

  it('shares alpha by the metrics that are acted on', () => {
    const metric = (name: string, dryRun: boolean) => ({ name, kind: 'errors', objective: null, dryRun }) as const;
    const limit = (metrics: GatheringPolicy['metrics']): number | undefined =>
      gatherEvidence({ ...policy, metrics }, null, look, []).findings[0]?.report.limit;

    expect(limit([metric('errors', false), metric('b', false)])).toBeCloseTo(Math.log(200), 12);
    expect(limit([metric('errors', false), metric('b', true)])).toBeCloseTo(Math.log(100), 12);
    expect(limit([metric('errors', true)])).toBeCloseTo(Math.log(100), 12);
  });

  it('shares alpha over the canary and the new stable pods, where a plan says so', () => {
    const fails = (subject: GatheringLook['subject'], changes: Partial<GatheringPolicy>): number =>
      Math.exp(
        -(gatherEvidence({ ...policy, ...changes }, null, { ...look, subject }, []).findings[0]?.report.limit ?? 0),
      );
    const shared = { stableShare: 0.1 };

    expect(fails('canary', shared)).toBeCloseTo(0.009, 12);
    expect(fails('stable', shared)).toBeCloseTo(0.001, 12);
    // A plan of an older client, and one that hands nothing back.
    expect(fails('canary', {})).toBeCloseTo(0.01, 12);
    expect(fails('stable', {})).toBeCloseTo(0.01, 12);
  });

  it('fails at most alpha of healthy releases that hand their traffic back, exactly, and without the share more', () => {
    const limitOf = (subject: GatheringLook['subject'], changes: Partial<GatheringPolicy>): number =>
      gatherEvidence({ ...policy, ...changes }, null, { ...look, subject }, []).findings[0]?.report.limit ?? Number.NaN;
    const [canary = 1, stable = 1, alone = 1] = failing([
      limitOf('canary', { stableShare: 0.1 }),
      limitOf('stable', { stableShare: 0.1 }),
      limitOf('stable', {}),
    ]);
    const shared = 1 - (1 - canary) * (1 - stable);
    const unshared = 1 - (1 - alone) ** 2;

    expect(shared).toBeGreaterThan(0.005);
    expect(shared).toBeLessThanOrEqual(policy.alpha);
    expect(unshared).toBeGreaterThan(policy.alpha);
  });

  it('divides by the clusters seen between stable’s processes, of earlier batches alone, and never by less', () => {
    const spread = { chiSquared: 120, degrees: 30 };
    const bad = events([4, 25], [1, 475]);
    const first = play([events([4, 25], [1, 475], { spreads: [spread] })]);
    const second = play([events([4, 25], [1, 475], { spreads: [spread] }), bad]);
    const even = play([events([4, 25], [1, 475], { spreads: [{ chiSquared: 6, degrees: 30 }] }), bad]);
    const few = play([events([4, 25], [1, 475], { spreads: [{ chiSquared: 100, degrees: 29 }] }), bad]);
    const without = play([bad, bad]);

    expect(first.finding.report).toMatchObject({ logEvidence: play([bad]).finding.report.logEvidence, clusters: 4 });
    expect(even.finding.report).toMatchObject({ logEvidence: without.finding.report.logEvidence, clusters: 1 });
    expect(few.finding.report.logEvidence).toBe(without.finding.report.logEvidence);
    expect(second.finding.report.logEvidence).toBeLessThan(without.finding.report.logEvidence);
  });

  it('divides each boundary of a histogram by the clusters seen at it', () => {
    const changes = { metrics: [{ name: 'errors', kind: 'latency', objective: null, dryRun: false }] } as const;
    const histogram = (slow: readonly [number, number], more = {}): Counted =>
      batch(
        { cumulative: [25 - slow[0], 25 - slow[1], 25] },
        { cumulative: [470, 475, 475] },
        { boundaries: [0.1, 0.25], ...more },
      );
    const spreads = [
      { chiSquared: 120, degrees: 30 },
      { chiSquared: 30, degrees: 30 },
    ];
    const seen = [histogram([0, 0], { spreads }), histogram([4, 1])] as const;
    const unseen = [histogram([0, 0]), histogram([4, 1])] as const;
    const logs = ({ state }: ReturnType<typeof play>): readonly (readonly number[])[] =>
      state.metrics['errors']?.evidence.events.map(({ evidence }) => evidence.logs) ?? [];

    const [first, second] = [play([seen[0]], changes), play(seen, changes)];
    const [one, two] = [play([unseen[0]], changes), play(unseen, changes)];
    // What the second batch adds at the first boundary is a quarter; at the other one, where nothing comes together, all.
    const added = (before: ReturnType<typeof play>, after: ReturnType<typeof play>, event: number): number =>
      (logs(after)[event]?.[4] ?? Number.NaN) - (logs(before)[event]?.[4] ?? 0);
    expect(added(first, second, 0)).toBeCloseTo(added(one, two, 0) / 4, 9);
    expect(added(one, two, 0)).toBeGreaterThan(1);
    expect(logs(second)[1]).toEqual(logs(two)[1]);
    expect(second.finding.report).toMatchObject({ boundary: 0.25, clusters: 1 });
    expect(first.finding.report).toMatchObject({ boundary: 0.1, clusters: 4 });
  });

  it('divides the very first batch by the clusters of the time before, and forgets them at no later weight', () => {
    const spreads = [{ chiSquared: 120, degrees: 30 }];
    const begin = (more: object): Counted => ({
      ...{ name: 'errors', query: 'q', kind: 'begin', why: 'w', cursor: { kind: 'time', at: 0 } },
      ...more,
    });
    const bad = events([4, 25], [1, 475]);
    const one = play([begin({ spreads }), bad]);
    const without = play([begin({}), bad]);
    const later = { ...look, since: 1 };
    const counted = [begin({ spreads }), bad, begin({ spreads: [{ chiSquared: 0, degrees: 30 }] }), bad, begin({})];
    const next = play(counted, {}, [look, look, later, later, later]);

    expect(one.finding.report.clusters).toBe(4);
    expect(one.finding.report.logEvidence).toBeLessThan(without.finding.report.logEvidence);
    expect(without.finding.report.clusters).toBe(1);
    expect(next.finding.report.clusters).toBe(4);
  });

  it('divides a first batch by the clusters of the time before it, where counting was told to begin', () => {
    const before = [{ chiSquared: 120, degrees: 30 }];
    const [bad, none] = [events([4, 25], [1, 475], { before }), events([4, 25], [1, 475])];

    const one = play([bad]);

    expect(one.finding.report.clusters).toBe(4);
    expect(one.finding.report.logEvidence).toBeLessThan(play([none]).finding.report.logEvidence);
    // What was counted since is not forgotten for it.
    expect(play([none, bad]).finding.report.clusters).toBe(1);
  });

  it('goes on with the clusters that an earlier version of Sluice has seen', () => {
    const { state } = play([events([1, 25], [1, 475])]);
    const { spreads: _, ...known } = state.metrics['errors'] ?? {};
    const spread = { chiSquared: 120, degrees: 30 };
    const older = { ...state, metrics: { errors: { ...known, spread } } } as unknown as EvidenceState;
    const next = [events([1, 25], [1, 475], { spreads: [{ chiSquared: 60, degrees: 30 }] })];

    const { findings } = gatherEvidence(policy, older, look, next);

    expect(findings[0]?.report.clusters).toBe(3);
  });

  it('is forgotten by a person’s word, and counted anew from the next look on', () => {
    const { state } = play([events([8, 25], [0, 475], { spreads: [{ chiSquared: 120, degrees: 30 }] })]);
    const forgotten: EvidenceState = { ...state, forgottenAt: 1 };
    expect(gatherEvidence(policy, state, look, []).findings[0]?.outcome.kind).toBe('proven');

    expect(cursorsOf(forgotten, look)).toEqual({});
    const next = gatherEvidence(policy, forgotten, look, [events([0, 25], [0, 475])]);
    expect(next.findings[0]).toMatchObject({
      outcome: { kind: 'kept' },
      report: { batches: 1, canary: { bad: 0, total: 25 }, clusters: 4 },
    });
    expect(next.state).not.toHaveProperty('forgottenAt');
  });

  it('is forgotten with what a source without a memory has read: its cursor says so', () => {
    const read = { bad: 8, total: 25 };
    const cursor = { kind: 'reading', counters: ['a/1'], canary: read, stable: { bad: 0, total: 475 } } as const;
    const { state } = play([events([8, 25], [0, 475], { cursor })]);

    expect(cursorsOf({ ...state, forgottenAt: 1 }, look)).toEqual({ errors: { ...cursor, counters: [] } });
    // Another weight is counted from its beginning.
    expect(cursorsOf({ ...state, forgottenAt: 1 }, { ...look, since: 1 })).toEqual({});
  });

  it('proves a canary good enough, weight by weight', () => {
    const asked = { promotion: { exclude: 5, beta: 0.05 } };
    const good = events([1, 500], [40, 9_500]);

    expect(play([good], asked).finding.enough).toBe(true);
    expect(play([events([0, 10], [0, 190])], asked).finding.enough).toBe(false);
    expect(play([good, events([0, 10], [0, 30])], asked, [look, { ...look, since: 1 }]).finding.enough).toBe(false);
  });

  it('is small: ten metrics of twelve boundaries are less than 64 kB', () => {
    const boundaries = Array.from({ length: 12 }, (_, index) => 0.01 * 2 ** index);
    const metrics = Array.from({ length: 10 }, (_, index) => ({
      name: `latency-${index}`,
      kind: 'latency' as const,
      objective: null,
      dryRun: false,
    }));
    const spreads = boundaries.map((boundary) => ({ chiSquared: 17 / 3 + boundary, degrees: 9 }));
    let state: EvidenceState | null = null;
    for (let round = 0; round < 50; round += 1) {
      const cumulative = (scale: number): number[] => boundaries.map((_, index) => index * scale).concat(13 * scale);
      const counted = metrics.map(({ name }) => ({
        ...batch({ cumulative: cumulative(7) }, { cumulative: cumulative(133) }, { boundaries, spreads }),
        name,
      }));
      ({ state } = gatherEvidence({ ...policy, metrics, plannedBatches: 36 }, state, look, counted));
    }

    expect(JSON.stringify(state).length).toBeLessThan(64 * 1024);
  });
});
