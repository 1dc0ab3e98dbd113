import { addSpreads, NO_SPREAD, slowerThan, totalOf } from './counts';
import type { ArmBatch, CountCursor, Counted, CountedBetween, Spread } from './counts';
import { addEvidence, logEvidence, NO_EVIDENCE, promotionDesign } from './event-evidence';
import type { ArmCounts, Evidence, EventBatch } from './event-evidence';
import { countBatch, describeEvidence, judgeEvidence, NOTHING_COUNTED, strongestEvent } from './evidence-judge';
import type { EvidenceMetric, EvidencePolicy, HistogramBatch, MetricEvidence } from './evidence-judge';
import { countOf, formatLimit, formatValue } from './format';
import { addObjectiveEvidence, logObjectiveEvidence, NO_OBJECTIVE_EVIDENCE } from './objective-evidence';
import type { ObjectiveEvidence } from './objective-evidence';

/** What evidence is gathered of, and how it is judged. */
export interface GatheringPolicy extends Pick<EvidencePolicy, 'alpha' | 'tolerate' | 'clusters'> {
  /** The part of alpha that is for the new stable pods; without it, either experiment has all of alpha. */
  readonly stableShare?: number;
  readonly plannedBatches: number;
  readonly minRequests: number;
  /** Enough evidence that the canary is less than `exclude` times as bad; null where that is not asked for. */
  readonly promotion: { readonly exclude: number; readonly beta: number } | null;
  readonly metrics: readonly GatheredMetric[];
}

export interface GatheredMetric {
  readonly name: string;
  readonly kind: EvidenceMetric['kind'];
  /** The share of bad events that the canary may have at all; null without one. */
  readonly objective: number | null;
  /** Of a histogram with an objective, in seconds: slower is bad. */
  readonly slowerThan?: number;
  /** Shown, and no part of what alpha is shared by. */
  readonly dryRun: boolean;
}

/** What is remembered of a release's evidence: small, JSON. */
export interface EvidenceState {
  /** Who is judged; another one is another experiment. */
  readonly subject: 'canary' | 'stable';
  /** The weight change that the cursors belong to, epoch milliseconds. */
  readonly since: number;
  readonly metrics: Readonly<Record<string, MetricState>>;
  /**
   * When a person said that what was counted was not the canary's doing, epoch milliseconds: the next look forgets the
   * evidence, which would stay proven for ever, and counting begins anew there.
   */
  readonly forgottenAt?: number;
}

interface MetricState {
  readonly evidence: MetricEvidence;
  /** Fixed by the first histogram, seconds. */
  readonly boundaries: readonly number[] | null;
  /** Null until something was counted at this weight. */
  readonly cursor: CountCursor | null;
  /** The canary's requests at this weight, in batches in which stable had some, too. */
  readonly comparedAtWeight: number;
  /** That the canary is good enough, at this weight. */
  readonly promotion: Evidence;
  readonly objective: ObjectiveEvidence;
  /** The highest ln E against the objective so far. */
  readonly objectiveHighest: number;
  /** Of stable's processes, summed over the batches: of events one, of a histogram one for each boundary. */
  readonly spreads?: readonly Spread[];
  /** The same of events alone, as an earlier version of Sluice remembered it; of no account beside the others. */
  readonly spread?: Spread;
}

/** One look at one metric: what all that was counted so far says. */
export interface EvidenceFinding {
  readonly name: string;
  readonly outcome:
    | { readonly kind: 'proven'; readonly clause: string }
    /** Nothing speaks against the canary, and enough was compared at this weight. */
    | { readonly kind: 'kept' }
    | { readonly kind: 'insufficient'; readonly why: string }
    | { readonly kind: 'impossible'; readonly why: string }
    | { readonly kind: 'error'; readonly why: string };
  readonly report: EvidenceReport;
  /** There is the evidence to promote, at this weight. */
  readonly enough: boolean;
}

/** What one look at a metric was answered: the disjoint counts that it adds to the evidence. */
export interface LookBatch {
  /** Of a histogram, at the boundary below. */
  readonly canary: ArmCounts;
  /** Null where stable was not asked. */
  readonly stable: ArmCounts | null;
  /** Of a histogram, seconds: the one with the strongest evidence, as in the report. */
  readonly boundary?: number;
  /** The same at all boundaries, in seconds; absent for events, of many boundaries, and where there was no room. */
  readonly histogram?: {
    readonly boundaries: readonly number[];
    /** Counts at or below each boundary; the last one is the total. */
    readonly canary: readonly number[];
    readonly stable: readonly number[] | null;
  };
  /** A track had no requests in it yet: nothing was added, and the next look's batch begins where this one did. */
  readonly open?: true;
}

/** A metric's evidence for people and plots; over the whole release, but for what this look asked and was answered. */
export interface EvidenceReport {
  /** ln E now, and the limit at which the metric fails. */
  readonly logEvidence: number;
  readonly limit: number;
  /** What was counted: of a histogram, of the boundary with the strongest evidence. */
  readonly canary: ArmCounts;
  readonly stable: ArmCounts;
  /** Seconds; null for events. */
  readonly boundary: number | null;
  readonly batches: number;
  /** By how many bad events of one cause the next batch's evidence is divided: of a histogram, at that boundary. */
  readonly clusters: number;
  /** ln E for the promotion, at this weight, and what it needs; absent where that is not asked for. */
  readonly promotion?: { readonly logEvidence: number; readonly limit: number };
  /** ln E against the objective; absent without one. */
  readonly objective?: {
    readonly share: number;
    readonly logEvidence: number;
    /** Of a histogram, seconds: what is slower than that is bad. */
    readonly slowerThan?: number;
  };
  /** Between which moments this look counted; absent where nothing was asked. */
  readonly asked?: CountedBetween;
  /** What it was answered; absent where there was nothing to be counted, as `dropped` or the metric's sentence says. */
  readonly batch?: LookBatch;
  /** What this look left out, a clause each. */
  readonly dropped: readonly string[];
  /** All that was counted, in a sentence a person understands. */
  readonly sentence: string;
  /** What was counted by, as sent; empty where nothing was asked. */
  readonly query: string;
}

/** The moment of a look. */
export interface GatheringLook {
  readonly subject: 'canary' | 'stable';
  /** When the weight last changed. */
  readonly since: number;
  /** All traffic goes to the canary: nothing is left to compare with. */
  readonly alone: boolean;
}

/** Where each metric was last counted at this weight: what a source is asked with. */
export function cursorsOf(state: EvidenceState | null, look: GatheringLook): Readonly<Record<string, CountCursor>> {
  const cursors: Record<string, CountCursor> = {};
  for (const [name, { cursor }] of Object.entries(continued(state, look).metrics)) {
    if (cursor !== null) cursors[name] = cursor;
  }
  return cursors;
}

/** The metrics of which there is evidence already, of whichever weight. */
export function countedOf(state: EvidenceState | null): readonly string[] {
  return Object.entries(state?.metrics ?? {}).flatMap(([name, { evidence }]) => (evidence.batches > 0 ? [name] : []));
}

/**
 * Counts what a source answered, and judges. A batch is kept open until both tracks have had requests in it: tracks
 * that are scraped at different moments would otherwise never be in one batch together. That depends on totals alone,
 * and so leaves the evidence's expectation at most 1.
 */
export function gatherEvidence(
  policy: GatheringPolicy,
  before: EvidenceState | null,
  look: GatheringLook,
  counted: readonly Counted[],
): { readonly state: EvidenceState; readonly findings: readonly EvidenceFinding[] } {
  const start = continued(before, look);
  const judging = judgePolicy(policy, look);
  const metrics: Record<string, MetricState> = {};
  const findings = policy.metrics.map((metric): EvidenceFinding => {
    const answer = counted.find(({ name }) => name === metric.name);
    const known = withTimeBefore(start.metrics[metric.name] ?? NOTHING, answer);
    const taken = take({ policy, judging }, metric, known, { answer, look });
    metrics[metric.name] = taken.state;
    return { name: metric.name, ...find({ policy, judging }, metric, taken, { answer, look }) };
  });
  return { state: { subject: look.subject, since: look.since, metrics }, findings };
}

const NOTHING: MetricState = {
  evidence: NOTHING_COUNTED,
  boundaries: null,
  cursor: null,
  comparedAtWeight: 0,
  promotion: NO_EVIDENCE,
  objective: NO_OBJECTIVE_EVIDENCE,
  objectiveHighest: 0,
  spreads: [],
};

/** With fewer degrees of freedom the quotient says more about chance than about clusters. */
const SPREAD_DEGREES = 30;

/**
 * Bad events of one cause: as many as the policy says, or as were seen between stable's processes where that is more.
 * Of batches before the one that it is used for alone, so that its evidence is still expected at 1 or less.
 */
export function clustersOf(policy: Pick<GatheringPolicy, 'clusters'>, { chiSquared, degrees }: Spread): number {
  return degrees < SPREAD_DEGREES ? policy.clusters : Math.max(policy.clusters, chiSquared / degrees);
}

/** Of one event of a metric, by its place: of a histogram each boundary has clusters of its own. */
function clustersAt(policy: GatheringPolicy, state: MetricState, event: number): number {
  return clustersOf(policy, seenSpreads(state)[event] ?? NO_SPREAD);
}

function seenSpreads({ spreads, spread }: MetricState): readonly Spread[] {
  return spreads ?? (spread === undefined ? [] : [spread]);
}

/** The chance that one subject's experiment fails it without a cause: those of a release come to alpha together. */
export function alphaOf(
  { alpha, stableShare }: Pick<GatheringPolicy, 'alpha' | 'stableShare'>,
  subject: EvidenceState['subject'],
): number {
  if (stableShare === undefined) return alpha;
  return alpha * (subject === 'stable' ? stableShare : 1 - stableShare);
}

/** What goes on: the evidence through all weights, where it is counted from only at one. */
function continued(
  state: EvidenceState | null,
  { subject, since }: Pick<GatheringLook, 'subject' | 'since'>,
): EvidenceState {
  if (state === null || state.subject !== subject) return { subject, since, metrics: {} };
  if (state.forgottenAt !== undefined) {
    return continued({ subject, since: state.since, metrics: mapMetrics(state, forgetting) }, { subject, since });
  }
  if (state.since === since) return state;
  const atNewWeight = { cursor: null, comparedAtWeight: 0, promotion: NO_EVIDENCE };
  return { subject, since, metrics: mapMetrics(state, (metric) => ({ ...metric, ...atNewWeight })) };
}

function mapMetrics(
  { metrics }: EvidenceState,
  change: (metric: MetricState) => MetricState,
): EvidenceState['metrics'] {
  return Object.fromEntries(Object.entries(metrics).map(([name, metric]) => [name, change(metric)]));
}

/** What is known of stable's processes stays. */
function forgetting(metric: MetricState): MetricState {
  return { ...NOTHING, boundaries: metric.boundaries, spreads: seenSpreads(metric), cursor: anew(metric.cursor) };
}

/** So that what came until now is in no batch: a source without a cursor would count all that this weight had. */
function anew(cursor: CountCursor | null): CountCursor | null {
  return cursor?.kind === 'reading' ? { ...cursor, counters: [] } : null;
}

/** How unevenly bad events fell before the release, that is: at later weights it has been counted. */
function withTimeBefore(known: MetricState, answer: Counted | undefined): MetricState {
  if (answer === undefined || answer.kind === 'problem' || known.evidence.batches > 0) return known;
  const spreads = answer.kind === 'begin' ? answer.spreads : answer.before;
  return spreads === undefined ? known : { ...known, spreads };
}

type Trouble = { readonly kind: 'error' | 'no-data'; readonly message: string };

interface Taken {
  readonly state: MetricState;
  readonly trouble: Trouble | null;
  readonly dropped: readonly string[];
  /** What of the answer is a batch: taken, or kept open. */
  readonly batch?: { readonly counted: Extract<Counted, { kind: 'batch' }>; readonly open: boolean };
}

/** A policy, and what of it the evidence judge is told. */
interface Policies {
  readonly policy: GatheringPolicy;
  readonly judging: EvidencePolicy;
}

function take(
  { policy, judging }: Policies,
  metric: GatheredMetric,
  known: MetricState,
  { answer, look }: { readonly answer: Counted | undefined; readonly look: GatheringLook },
): Taken {
  const troubled = (kind: Trouble['kind'], message: string): Taken => ({
    state: known,
    trouble: { kind, message },
    dropped: [],
  });
  if (answer === undefined) {
    return look.alone
      ? { state: known, trouble: null, dropped: [] }
      : troubled('error', 'the metric source left it out');
  }
  switch (answer.kind) {
    case 'problem':
      return troubled(answer.problem.kind, answer.problem.message);
    case 'begin':
      return { state: { ...known, cursor: answer.cursor }, trouble: null, dropped: [answer.why] };
    case 'batch':
      break;
    default:
      return answer satisfies never;
  }
  const { canary, stable, boundaries, cursor, dropped } = answer;
  const batch = batchOf(canary, stable);
  if (batch === null) return troubled('error', 'one track was counted as a histogram, and the other was not');
  if (boundaries !== undefined && known.boundaries !== null && boundaries.join() !== known.boundaries.join()) {
    return troubled(
      'error',
      `the histogram's boundaries have changed, from ${known.boundaries.length} to ${boundaries.length} or to others`,
    );
  }
  const objectiveEvent = objectiveEventOf(metric, canary, boundaries);
  if (objectiveEvent === null) return troubled('error', withoutBoundary(metric, boundaries));
  const [atCanary, atStable] = [totalOf(canary), totalOf(stable)];
  // Kept open: what it holds comes again with the next look.
  const closes = atCanary > 0 && (atStable > 0 || look.alone);
  const counted = { counted: answer, open: !closes };
  if (!closes) return { state: known, trouble: null, dropped, batch: counted };
  const named: EvidenceMetric = { name: metric.name, kind: metric.kind };
  const objective = withObjective({ clusters: clustersAt(policy, known, objectiveEvent) }, metric, known, {
    canary,
    event: objectiveEvent,
  });
  if (look.alone) return { state: { ...known, ...objective, cursor }, trouble: null, dropped, batch: counted };
  const now = { ...policy, clusters: clustersAt(policy, known, 0) };
  const state: MetricState = {
    ...known,
    ...objective,
    evidence: countBatch(judging, named, known.evidence, batch, (event) => clustersAt(policy, known, event)),
    boundaries: boundaries ?? known.boundaries,
    cursor,
    comparedAtWeight: known.comparedAtWeight + atCanary,
    promotion: withPromotion(now, known.promotion, canary, stable),
    spreads: addSpreads(seenSpreads(known), answer.spreads ?? []),
  };
  return { state, trouble: null, dropped, batch: counted };
}

/**
 * Which of a batch's events the objective is about: of a histogram, slower than the boundary at its limit. Where there is
 * none the next one above is: no more requests are slower than that, so that whoever keeps the objective keeps this one,
 * too. Null where there is none above either.
 */
function objectiveEventOf(
  { objective, slowerThan = Infinity }: GatheredMetric,
  canary: ArmBatch,
  boundaries: readonly number[] = [],
): number | null {
  if (objective === null || 'bad' in canary) return 0;
  const event = boundaries.findIndex((boundary) => boundary >= slowerThan);
  return event < 0 ? null : event;
}

function withoutBoundary({ slowerThan = Infinity }: GatheredMetric, boundaries: readonly number[] = []): string {
  const last = boundaries.at(-1);
  const ends = last === undefined ? 'it has none' : `the last one is ${formatValue(last, 'seconds')}`;
  const limit = formatLimit(slowerThan, 'seconds');
  return `its objective needs a boundary of the histogram at its max of ${limit} or above, and ${ends}`;
}

function withObjective(
  { clusters }: Pick<GatheringPolicy, 'clusters'>,
  { objective }: GatheredMetric,
  known: MetricState,
  { canary, event }: { readonly canary: ArmBatch; readonly event: number },
): Pick<MetricState, 'objective' | 'objectiveHighest'> {
  if (objective === null) return known;
  const next = addObjectiveEvidence({ objective, clusters }, known.objective, countsAt(canary, event));
  return { objective: next, objectiveHighest: Math.max(known.objectiveHighest, logObjectiveEvidence(next)) };
}

/** Of events alone: of a histogram there is no boundary that would speak for all. */
function withPromotion(policy: GatheringPolicy, evidence: Evidence, canary: ArmBatch, stable: ArmBatch): Evidence {
  if (policy.promotion === null || !('bad' in canary) || !('bad' in stable)) return evidence;
  return addEvidence(promotionDesign(policy.promotion.exclude, policy.clusters), evidence, { canary, stable });
}

function find(
  policies: Policies,
  metric: GatheredMetric,
  { state, trouble, dropped, batch }: Taken,
  { answer, look }: { readonly answer: Counted | undefined; readonly look: GatheringLook },
): Omit<EvidenceFinding, 'name'> {
  const { policy } = policies;
  // Whether enough was compared is asked of each weight.
  const judging = { ...policies.judging, minRequests: 0 };
  const named: EvidenceMetric = {
    name: metric.name,
    kind: metric.kind,
    ...(state.boundaries === null ? {} : { boundaries: state.boundaries }),
  };
  const judged = judgeEvidence(judging, named, state.evidence);
  const promotion = promotionOf(policy, metric, state);
  const report: EvidenceReport = {
    logEvidence: judged.logEvidence,
    limit: judged.limit,
    ...strongest(policies, named, state),
    batches: state.evidence.batches,
    ...(promotion === null ? {} : { promotion }),
    ...(metric.objective === null ? {} : { objective: objectiveReport(metric.objective, metric, state) }),
    ...(answer?.asked === undefined ? {} : { asked: answer.asked }),
    ...(batch === undefined
      ? {}
      : { batch: lookBatch(batch, { event: strongestEvent(judging, named, state.evidence), look }) }),
    dropped,
    sentence: judged.sentence,
    query: answer?.query ?? '',
  };
  const enough = promotion !== null && promotion.logEvidence >= promotion.limit;
  const clause = (): string => describeEvidence(judging, named, state.evidence);
  const outcome = outcomeOf(policy, metric, state, { trouble, look, limit: judged.limit, clause });
  return { outcome, report, enough };
}

function objectiveReport(
  share: number,
  { slowerThan }: GatheredMetric,
  { objective }: MetricState,
): NonNullable<EvidenceReport['objective']> {
  const logEvidence = logObjectiveEvidence(objective);
  return { share, logEvidence, ...(slowerThan === undefined ? {} : { slowerThan }) };
}

function outcomeOf(
  policy: GatheringPolicy,
  metric: GatheredMetric,
  state: MetricState,
  {
    trouble,
    look,
    limit,
    clause,
  }: {
    readonly trouble: Trouble | null;
    readonly look: GatheringLook;
    readonly limit: number;
    readonly clause: () => string;
  },
): EvidenceFinding['outcome'] {
  // What was once proven stays proven, whatever the source says now.
  if (state.evidence.highest >= limit) return { kind: 'proven', clause: `proven worse than stable: ${clause()}` };
  if (metric.objective !== null && state.objectiveHighest >= limit) {
    const { slowerThan } = metric;
    const what = slowerThan === undefined ? '' : ` slower than ${formatLimit(slowerThan, 'seconds')}`;
    const clause = `proven worse than its objective of ${formatValue(metric.objective, 'ratio')}${what}`;
    return { kind: 'proven', clause };
  }
  if (trouble?.kind === 'error') return { kind: 'error', why: trouble.message };
  if (look.alone) return { kind: 'impossible', why: 'all of the traffic goes to the new version' };
  if (trouble !== null) return { kind: 'insufficient', why: trouble.message };
  const { minRequests } = policy;
  if (state.comparedAtWeight < minRequests) {
    const had = countOf(state.comparedAtWeight, 'canary request');
    return { kind: 'insufficient', why: `${had} could be compared at this weight, and ${minRequests} are needed` };
  }
  return { kind: 'kept' };
}

function promotionOf(
  policy: GatheringPolicy,
  metric: GatheredMetric,
  state: MetricState,
): NonNullable<EvidenceReport['promotion']> | null {
  if (policy.promotion === null || metric.kind !== 'errors') return null;
  const { exclude, beta } = policy.promotion;
  const design = promotionDesign(exclude, policy.clusters);
  return { logEvidence: logEvidence(design, state.promotion), limit: -Math.log(beta) };
}

/** Of the release: of a histogram, of the boundary that says most, which the sentence is about, too. */
function strongest(
  { policy, judging }: Policies,
  metric: EvidenceMetric,
  state: MetricState,
): Pick<EvidenceReport, 'canary' | 'stable' | 'boundary' | 'clusters'> {
  const { evidence, boundaries } = state;
  const index = strongestEvent(judging, metric, evidence);
  const event = evidence.events[index];
  return {
    canary: { bad: event?.canaryBad ?? 0, total: evidence.canaryRequests },
    stable: { bad: event?.stableBad ?? 0, total: evidence.stableRequests },
    boundary: boundaries?.[index] ?? null,
    clusters: clustersAt(policy, state, index),
  };
}

/** A histogram of more boundaries is kept at the one that is shown: fifty metrics have to fit into a measurement. */
const BOUNDARIES_KEPT = 30;

function lookBatch(
  { counted, open }: NonNullable<Taken['batch']>,
  { event, look }: { readonly event: number; readonly look: GatheringLook },
): LookBatch {
  const { canary, boundaries = [] } = counted;
  const stable = look.alone ? null : counted.stable;
  const boundary = boundaries[event];
  const whole = 'cumulative' in canary && boundaries.length > 0 && boundaries.length <= BOUNDARIES_KEPT;
  return {
    canary: countsAt(canary, event),
    stable: stable === null ? null : countsAt(stable, event),
    ...(boundary === undefined ? {} : { boundary }),
    ...(whole
      ? {
          histogram: {
            boundaries,
            canary: canary.cumulative,
            stable: stable !== null && 'cumulative' in stable ? stable.cumulative : null,
          },
        }
      : {}),
    ...(open ? { open } : {}),
  };
}

/** Of a histogram, those slower than a boundary, by its place. */
function countsAt(arm: ArmBatch, event: number): ArmCounts {
  if ('bad' in arm) return { bad: arm.bad, total: arm.total };
  return slowerThan(arm.cumulative)[event] ?? { bad: 0, total: totalOf(arm) };
}

function judgePolicy(policy: GatheringPolicy, { subject }: GatheringLook): EvidencePolicy {
  const { tolerate, clusters, plannedBatches, minRequests } = policy;
  const alpha = alphaOf(policy, subject);
  const acted = policy.metrics.filter(({ dryRun }) => !dryRun);
  // An objective is a bet of its own.
  const bets = acted.flatMap(({ name, kind, objective }) => [
    { name, kind },
    ...(objective === null ? [] : [{ name, kind }]),
  ]);
  const metrics = bets.length > 0 ? bets : policy.metrics.map(({ name, kind }) => ({ name, kind }));
  return { alpha, tolerate, clusters, onset: { plannedBatches }, minRequests, metrics };
}

function batchOf(canary: ArmBatch, stable: ArmBatch): EventBatch | HistogramBatch | null {
  if ('cumulative' in canary) return 'cumulative' in stable ? { canary, stable } : null;
  return 'cumulative' in stable ? null : { canary, stable };
}
