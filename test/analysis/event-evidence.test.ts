import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { logBinomialDensity } from '../../src/analysis/binomial';
import { countBatch, metricLogEvidence, NOTHING_COUNTED } from '../../src/analysis/evidence-judge';
import type { EvidencePolicy } from '../../src/analysis/evidence-judge';
import {
  addEvidence,
  ERROR_ALTERNATIVES,
  LATENCY_ALTERNATIVES,
  logEvidence,
  NO_EVIDENCE,
  PROMOTION_ALTERNATIVES,
  promotionDesign,
} from '../../src/analysis/event-evidence';
import type { EventBatch, EvidenceDesign } from '../../src/analysis/event-evidence';
import {
  addObjectiveEvidence,
  logObjectiveEvidence,
  NO_OBJECTIVE_EVIDENCE,
} from '../../src/analysis/objective-evidence';
import { logSumExp } from '../../src/analysis/log-space';

type Arm = readonly [bad: number, total: number];

interface Reference {
  readonly events: readonly {
    readonly alternatives: readonly number[];
    readonly tolerate: number;
    readonly clusters: number;
    readonly planned: number | null;
    readonly batches: readonly (readonly [Arm, Arm])[];
    readonly lnE: readonly number[];
  }[];
  readonly histograms: readonly {
    readonly tolerate: number;
    readonly clusters: number;
    readonly planned: number | null;
    readonly batches: readonly (readonly [readonly number[], readonly number[]])[];
    readonly lnE: readonly number[];
  }[];
  readonly objectives: readonly {
    readonly objective: number;
    readonly clusters: number;
    readonly batches: readonly Arm[];
    readonly lnE: readonly number[];
  }[];
}

const reference = JSON.parse(readFileSync(join(__dirname, '../reference/evidence.json'), 'utf8')) as Reference;

/** Relative, and absolute for what is below 1e-3: ln E near 0 is E near 1. */
function errorOf(actual: number, expected: number): number {
  return Math.abs(actual - expected) / Math.max(1e-3, Math.abs(expected));
}

function batchOf([canary, stable]: readonly [Arm, Arm]): EventBatch {
  return { canary: { bad: canary[0], total: canary[1] }, stable: { bad: stable[0], total: stable[1] } };
}

function logsOf(design: EvidenceDesign, batches: readonly EventBatch[]): number[] {
  let evidence = NO_EVIDENCE;
  return batches.map((batch) => {
    evidence = addEvidence(design, evidence, batch);
    return logEvidence(design, evidence);
  });
}

describe('the evidence of events', () => {
  it('agrees with 60-digit arithmetic, at shares near 0 and 1 and with huge counts, too', () => {
    const errors = reference.events.flatMap(({ planned, batches, lnE, ...design }) => {
      const onset = planned === null ? null : { plannedBatches: planned };
      return logsOf({ ...design, onset }, batches.map(batchOf)).map((log, k) => errorOf(log, lnE[k] ?? Number.NaN));
    });

    expect(errors.length).toBeGreaterThan(250);
    expect(Math.max(...errors)).toBeLessThan(1e-9);
  });

  it('agrees for histograms: the mean over their boundaries', () => {
    const errors = reference.histograms.flatMap(({ planned, batches, lnE, tolerate, clusters }) => {
      const metric = { name: 'latency', kind: 'latency' } as const;
      const onset = planned === null ? null : { plannedBatches: planned };
      const policy: EvidencePolicy = { alpha: 0.01, tolerate, clusters, onset, minRequests: 20, metrics: [metric] };
      let state = NOTHING_COUNTED;
      return batches.map(([canary, stable], k) => {
        state = countBatch(policy, metric, state, { canary: { cumulative: canary }, stable: { cumulative: stable } });
        return errorOf(metricLogEvidence(policy, metric, state), lnE[k] ?? Number.NaN);
      });
    });

    expect(errors.length).toBeGreaterThan(30);
    expect(Math.max(...errors)).toBeLessThan(1e-9);
  });

  it('agrees for absolute objectives', () => {
    const errors = reference.objectives.flatMap(({ batches, lnE, ...design }) => {
      let evidence = NO_OBJECTIVE_EVIDENCE;
      return batches.map(([bad, total], k) => {
        evidence = addObjectiveEvidence(design, evidence, { bad, total });
        return errorOf(logObjectiveEvidence(evidence), lnE[k] ?? Number.NaN);
      });
    });

    expect(errors.length).toBeGreaterThan(60);
    expect(Math.max(...errors)).toBeLessThan(1e-9);
  });

  it('is 3 errors of 25 canary requests beside 475 good ones: ln E 6.4778', () => {
    const design = { alternatives: ERROR_ALTERNATIVES, tolerate: 1, clusters: 1, onset: null };

    expect(
      logsOf(design, [
        batchOf([
          [3, 25],
          [0, 475],
        ]),
      ])[0],
    ).toBeCloseTo(6.4778, 4);
  });

  it('excludes a bad ratio by good numbers alone', () => {
    const design = promotionDesign(5, 1);
    const good = batchOf([
      [3, 1_000],
      [57, 19_000],
    ]);

    expect(logsOf(design, [good])[0]).toBeGreaterThan(Math.log(1 / 0.05));
    expect(
      logsOf(design, [
        batchOf([
          [15, 1_000],
          [57, 19_000],
        ]),
      ])[0],
    ).toBeLessThan(0);
  });

  it('has no bet before the first batch, and none on a batch with an empty arm', () => {
    const design = { alternatives: ERROR_ALTERNATIVES, tolerate: 1.25, clusters: 2, onset: { plannedBatches: 5 } };

    expect(logEvidence(design, NO_EVIDENCE)).toBe(0);
    expect(
      logsOf(design, [
        batchOf([
          [0, 0],
          [5, 100],
        ]),
        batchOf([
          [9, 9],
          [0, 0],
        ]),
      ]),
    ).toEqual([expect.closeTo(0, 12), expect.closeTo(0, 12)]);
  });
});

const ratios = fc.constantFrom(ERROR_ALTERNATIVES, LATENCY_ALTERNATIVES, PROMOTION_ALTERNATIVES);
const design = fc.record({
  alternatives: ratios,
  tolerate: fc.double({ min: 1, max: 6, noNaN: true }),
  clusters: fc.double({ min: 1, max: 5, noNaN: true }),
  onset: fc.option(fc.record({ plannedBatches: fc.integer({ min: 1, max: 40 }) })),
});
const armOf = (most: number): fc.Arbitrary<Arm> =>
  fc.tuple(fc.nat({ max: most }), fc.nat({ max: most })).map(([a, b]): Arm => [Math.min(a, b), Math.max(a, b)]);
const batch = fc.tuple(armOf(100_000), armOf(1_000_000)).map(batchOf);

/** ln of the exact expectation of E after all batches, with every count of two binomial arms that there can be. */
function expectedEvidence(
  each: EvidenceDesign,
  sizes: readonly (readonly [canary: number, stable: number])[],
  chances: readonly (readonly [canary: number, stable: number])[],
): number {
  const walk = (k: number, evidence: typeof NO_EVIDENCE): number => {
    const [canary, stable] = sizes[k] ?? [0, 0];
    const [pc, pb] = chances[k] ?? [0, 0];
    if (k === sizes.length) return logEvidence(each, evidence);
    const terms: number[] = [];
    for (let xc = 0; xc <= canary; xc += 1) {
      for (let xb = 0; xb <= stable; xb += 1) {
        const chance = logBinomialDensity(xc, canary, pc) + logBinomialDensity(xb, stable, pb);
        if (chance === -Infinity) continue;
        terms.push(
          chance +
            walk(
              k + 1,
              addEvidence(
                each,
                evidence,
                batchOf([
                  [xc, canary],
                  [xb, stable],
                ]),
              ),
            ),
        );
      }
    }
    return logSumExp(terms);
  };
  return walk(0, NO_EVIDENCE);
}

describe('the evidence, whatever comes', () => {
  const chance = fc.double({ min: 0, max: 1, noNaN: true });

  it('is expected to be at most 1 while the canary is no worse than it may be, over all counts there can be', () => {
    const sized = fc.tuple(fc.nat({ max: 7 }), fc.nat({ max: 7 }));
    fc.assert(
      fc.property(design, sized, sized, chance, chance, chance, (each, first, second, a, b, at) => {
        // Drift: each batch has its own rate. For the promotion the bound is the other way round.
        const promotes = each.alternatives === PROMOTION_ALTERNATIVES;
        const pair = (pb: number): readonly [number, number] => {
          const bound = Math.min(1, each.tolerate * pb);
          return promotes ? [bound + (1 - bound) * at, bound / each.tolerate] : [bound * at, pb];
        };
        const expected = expectedEvidence(each, [first, second], [pair(a), pair(b)]);

        expect(Math.exp(expected)).toBeLessThanOrEqual(1 + 1e-12);
      }),
      { numRuns: 40 },
    );
  });

  it('is expected to be at most 1 on the very edge, with traffic in any proportion', () => {
    const sized = fc.tuple(fc.nat({ max: 30 }), fc.nat({ max: 30 }), fc.integer({ min: 2, max: 3 }));
    fc.assert(
      fc.property(design, sized, chance, (each, [canary, stable, scale], share) => {
        const pb = share / each.tolerate;
        // More or less traffic of both arms alike changes nothing of that.
        for (const times of [1, scale]) {
          const expected = expectedEvidence(each, [[canary * times, stable * times]], [[share, pb]]);
          expect(Math.exp(expected)).toBeLessThanOrEqual(1 + 1e-12);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('of an objective is expected to be at most 1 while it is kept', () => {
    const clusters = fc.double({ min: 1, max: 5, noNaN: true });
    const open = fc.double({ min: 1e-6, max: 1 - 1e-6, noNaN: true });
    fc.assert(
      fc.property(open, clusters, fc.nat({ max: 300 }), chance, (objective, divisor, total, at) => {
        const terms = Array.from({ length: total + 1 }, (_, bad) => {
          const policy = { objective, clusters: divisor };
          const evidence = addObjectiveEvidence(policy, NO_OBJECTIVE_EVIDENCE, { bad, total });
          return logBinomialDensity(bad, total, objective * at) + logObjectiveEvidence(evidence);
        });

        expect(Math.exp(logSumExp(terms))).toBeLessThanOrEqual(1 + 1e-12);
      }),
    );
  });

  it('does not depend on the order of the batches, without a bet on a late onset', () => {
    const shuffled = fc
      .array(batch, { minLength: 1, maxLength: 12 })
      .chain((batches) => fc.tuple(fc.constant(batches), fc.shuffledSubarray(batches, { minLength: batches.length })));
    fc.assert(
      fc.property(design, shuffled, (each, [batches, other]) => {
        const plain = { ...each, onset: null };
        const [one, two] = [logsOf(plain, batches).at(-1), logsOf(plain, other).at(-1)];
        expect(errorOf(two ?? Number.NaN, one ?? Number.NaN)).toBeLessThan(1e-9);
      }),
    );
  });

  it('is a number, its state survives JSON, and an empty arm adds nothing', () => {
    fc.assert(
      fc.property(design, fc.array(batch, { minLength: 1, maxLength: 6 }), (each, batches) => {
        let evidence = NO_EVIDENCE;
        for (const one of batches) {
          evidence = addEvidence(each, evidence, one);
          expect(JSON.parse(JSON.stringify(evidence))).toEqual(evidence);
          expect(Number.isFinite(logEvidence(each, evidence))).toBe(true);
        }
        const empty = addEvidence(
          each,
          evidence,
          batchOf([
            [0, 0],
            [7, 9],
          ]),
        );
        const [before, after] = [logEvidence(each, evidence), logEvidence(each, empty)];
        expect(Math.abs(after - before)).toBeLessThanOrEqual(1e-9 * Math.max(1, Math.abs(before)));
      }),
    );
  });
});
