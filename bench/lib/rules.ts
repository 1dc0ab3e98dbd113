import { compareRatios } from '../../src/analysis/compare-ratios';
import type { ArmBatch, Spread } from '../../src/analysis/counts';
import { addEvidence, ERROR_ALTERNATIVES, logEvidence, NO_EVIDENCE } from '../../src/analysis/event-evidence';
import type { EventBatch, EvidenceDesign } from '../../src/analysis/event-evidence';
import { gatherEvidence } from '../../src/analysis/gather-evidence';
import type { EvidenceState, GatheringLook, GatheringPolicy } from '../../src/analysis/gather-evidence';
import { normalQuantile } from '../../src/analysis/normal-quantile';
import { rankSumShift } from '../../src/analysis/rank-sum';

/** A batch, and how unevenly the bad events fell on stable's processes, where those are known apart. */
export interface LookedBatch extends EventBatch {
  readonly spreads?: readonly Spread[];
}

/** One rule at work on one release. */
export interface Detector<Batch = LookedBatch> {
  weightChanges(): void;
  /** Told how unevenly bad events fell on stable's processes before the release. */
  begins?(spreads: readonly Spread[]): void;
  /** Told one batch more: is the canary failed by now? */
  fails(batch: Batch): boolean;
}

export interface Rule {
  readonly name: string;
  start(): Detector;
}

/** Batches of the window of 60 s. */
const WINDOW = 12;
const ALPHA = 0.01;

/** These count over all weights: a weight change ends no window and no sum. */
const ONE_PERCENT: Rule = {
  name: '> 1 % over a 60 s window',
  start: () => overWindow(({ canary }) => canary.bad > 0.01 * canary.total),
};
const FIVE_PERCENT: Rule = { name: '> 5 % over a 60 s window', start: () => overWindow(exceedsFivePercent) };
const TWICE: Rule = { name: 'canary > 2x stable after 100 requests', start: () => sinceStart(exceedsTwice) };
const COMPARISON: Rule = { name: 'compare .01, 1.25 over a 60 s window', start: () => overWindow(failsComparison) };

/** The rules that tools of this kind have, and ours beside them. */
export const RULES: readonly Rule[] = [
  ONE_PERCENT,
  anewAtEachWeight(ONE_PERCENT),
  FIVE_PERCENT,
  anewAtEachWeight(FIVE_PERCENT),
  { name: '> 5 % once per 60 s', start: () => oncePerWindow((all) => exceedsFivePercent(total(all))) },
  TWICE,
  anewAtEachWeight(TWICE),
  { name: 'z-test repeated, alpha .01', start: () => sinceStart(failsZTest) },
  { name: 'Mann-Whitney per 60 s (Kayenta)', start: () => oncePerWindow(isHigh) },
  anewAtEachWeight(COMPARISON),
];

export const EVIDENCE_RULES: readonly Rule[] = [
  evidenceRule('e-value, untempered', { clusters: 1, tolerate: 1, onset: null }),
  evidenceRule('e-value, clusters 2', { clusters: 2, tolerate: 1, onset: null }),
  evidenceRule('e-value, defaults', { clusters: 2, tolerate: 1.25, onset: { plannedBatches: 36 } }),
];

/** As releases judge with the defaults: with the spread between stable's processes, where a batch has it. */
export const RELEASED_RULE: Rule = { name: 'e-value, defaults, spread', start: () => releasedDetector('errors') };

/** The same code that releases run, with its defaults, on one metric. */
export function releasedDetector(kind: 'errors' | 'latency'): Detector<ReleasedBatch> {
  const policy: GatheringPolicy = {
    alpha: ALPHA,
    tolerate: 1.25,
    clusters: 2,
    plannedBatches: 36,
    minRequests: 0,
    promotion: null,
    metrics: [{ name: kind, kind, objective: null, dryRun: false }],
  };
  const look: GatheringLook = { subject: 'canary', since: 0, alone: false };
  const named = { name: kind, query: '', kind: 'batch', dropped: [], cursor: { kind: 'time', at: 0 } } as const;
  let state: EvidenceState | null = null;
  return {
    weightChanges: () => undefined,
    begins: (spreads) => {
      const begun = { ...named, kind: 'begin', why: '', spreads } as const;
      state = gatherEvidence(policy, state, look, [begun]).state;
    },
    fails: (batch) => {
      const gathered = gatherEvidence(policy, state, look, [{ ...named, ...batch }]);
      state = gathered.state;
      return gathered.findings.some(({ outcome }) => outcome.kind === 'proven');
    },
  };
}

/** The same where a source does not know stable's processes apart. */
export function withoutSpreads(detector: Detector<ReleasedBatch>): Detector<ReleasedBatch> {
  const { weightChanges, fails } = detector;
  return { weightChanges, fails: ({ canary, stable }) => fails({ canary, stable }) };
}

export interface ReleasedBatch {
  readonly canary: ArmBatch;
  readonly stable: ArmBatch;
  readonly spreads?: readonly Spread[];
}

function evidenceRule(name: string, rest: Omit<EvidenceDesign, 'alternatives'>): Rule {
  const design = { alternatives: ERROR_ALTERNATIVES, ...rest };
  const limit = Math.log(1 / ALPHA);
  return {
    name,
    start: () => {
      let evidence = NO_EVIDENCE;
      return {
        weightChanges: () => undefined,
        fails: (batch) => {
          evidence = addEvidence(design, evidence, batch);
          return logEvidence(design, evidence) >= limit;
        },
      };
    },
  };
}

/**
 * The rule as a release has it, whose windows never reach past the last weight change. Beside the same rule without that
 * it shows what beginning anew costs: small counts once more with each weight.
 */
function anewAtEachWeight({ name, start }: Rule): Rule {
  return {
    name: `${name}, anew at each weight`,
    start: () => {
      let detector = start();
      return { weightChanges: () => (detector = start()), fails: (batch) => detector.fails(batch) };
    },
  };
}

/** Looks at each batch at the last 60 s, whatever the weight was. */
function overWindow(rule: (sum: EventBatch) => boolean): Detector {
  let window: EventBatch[] = [];
  return {
    weightChanges: () => undefined,
    fails: (batch) => {
      window = [...window, batch].slice(-WINDOW);
      return rule(total(window));
    },
  };
}

/** Looks at 60 s when they are full. A weight is held for whole windows; one that lacks batches is not gone on with. */
function oncePerWindow(rule: (batches: readonly EventBatch[]) => boolean): Detector {
  let window: EventBatch[] = [];
  return {
    weightChanges: () => (window = []),
    fails: (batch) => {
      window.push(batch);
      if (window.length < WINDOW) return false;
      const full = window;
      window = [];
      return rule(full);
    },
  };
}

function sinceStart(rule: (sum: EventBatch) => boolean): Detector {
  let sum = total([]);
  return {
    weightChanges: () => undefined,
    fails: (batch) => rule((sum = total([sum, batch]))),
  };
}

function exceedsFivePercent({ canary }: EventBatch): boolean {
  return canary.bad > 0.05 * canary.total;
}

function exceedsTwice({ canary, stable }: EventBatch): boolean {
  return canary.total >= 100 && canary.bad * stable.total > 2 * stable.bad * canary.total;
}

/** The pooled one-sided test of two shares. */
function failsZTest({ canary, stable }: EventBatch): boolean {
  const pooled = (canary.bad + stable.bad) / (canary.total + stable.total);
  const deviation = Math.sqrt(pooled * (1 - pooled) * (1 / canary.total + 1 / stable.total));
  return (canary.bad / canary.total - stable.bad / stable.total) / deviation > normalQuantile(1 - ALPHA);
}

/** The classification of Kayenta's judge, of the shares of errors of each 5 s. */
function isHigh(batches: readonly EventBatch[]): boolean {
  const shares = (track: 'canary' | 'stable'): number[] =>
    batches.filter((batch) => batch[track].total > 0).map((batch) => batch[track].bad / batch[track].total);
  const [canary, stable] = [shares('canary'), shares('stable')];
  if (canary.length < 5 || stable.length < 5) return false;
  const { lower, estimate } = rankSumShift(canary, stable, { confidence: 0.98, method: 'normal' });
  return lower > 0.25 * Math.abs(estimate);
}

/** The comparison of the threshold judge, with its default of 20 requests at least. */
function failsComparison({ canary, stable }: EventBatch): boolean {
  if (canary.total < 20 || stable.total === 0) return false;
  const { exceeds, p } = compareRatios(canary, stable, 1.25);
  return exceeds && p < ALPHA;
}

function total(batches: readonly EventBatch[]): EventBatch {
  const sum = { canary: { bad: 0, total: 0 }, stable: { bad: 0, total: 0 } };
  for (const { canary, stable } of batches) {
    sum.canary.bad += canary.bad;
    sum.canary.total += canary.total;
    sum.stable.bad += stable.bad;
    sum.stable.total += stable.total;
  }
  return sum;
}
