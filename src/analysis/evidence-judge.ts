import { slowerThan } from './counts';
import { addEvidence, ERROR_ALTERNATIVES, LATENCY_ALTERNATIVES, logEvidence, NO_EVIDENCE } from './event-evidence';
import type { Evidence, EvidenceDesign, EventBatch, Onset } from './event-evidence';
import { countOf, formatCount, formatValue } from './format';
import { logMeanExp } from './log-space';
import type { Verdict } from './verdict';

/** What the evidence judge is told of the policy. */
export interface EvidencePolicy {
  /** The chance that a healthy canary is ever failed, for all metrics and the whole release together. */
  readonly alpha: number;
  readonly tolerate: number;
  readonly clusters: number;
  readonly onset: Onset | null;
  /** With fewer requests of the canary nothing passes. */
  readonly minRequests: number;
  readonly metrics: readonly EvidenceMetric[];
}

export interface EvidenceMetric {
  readonly name: string;
  /** `errors`: bad of all requests. `latency`: a histogram, whose every boundary makes "slower than it" an event. */
  readonly kind: 'errors' | 'latency';
  /** Of a histogram, in seconds, for people; without them a boundary is named by its number. */
  readonly boundaries?: readonly number[];
}

/** A histogram of one arm: counts at or below each boundary, rising; the last one is the total. */
export interface ArmHistogram {
  readonly cumulative: readonly number[];
}

export interface HistogramBatch {
  readonly canary: ArmHistogram;
  readonly stable: ArmHistogram;
}

/** What is remembered of one metric between batches: small, JSON. */
export interface MetricEvidence {
  readonly batches: number;
  readonly canaryRequests: number;
  readonly stableRequests: number;
  /** The canary's requests of batches in which stable had some, too. */
  readonly comparedRequests: number;
  /** The highest ln E so far: what has once reached the limit has failed. */
  readonly highest: number;
  /** One for errors, one for each boundary of a histogram. */
  readonly events: readonly EventState[];
}

export interface EventState {
  readonly canaryBad: number;
  readonly stableBad: number;
  readonly evidence: Evidence;
}

export const NOTHING_COUNTED: MetricEvidence = {
  batches: 0,
  canaryRequests: 0,
  stableRequests: 0,
  comparedRequests: 0,
  highest: 0,
  events: [],
};

/** One metric's verdict on all batches so far. */
export interface EvidenceVerdict {
  readonly name: string;
  readonly verdict: Verdict;
  /** ln E, and the limit at which the metric fails: ln(number of metrics / alpha). */
  readonly logEvidence: number;
  readonly limit: number;
  /** A sentence a person understands, with the counts. */
  readonly sentence: string;
}

/**
 * Counts one batch more of a metric. The batches of a metric must not overlap in time. `clusters` are the policy's, or
 * more: by how many bad events of one cause each event's evidence is divided, by its place in the histogram. They may
 * depend on earlier batches alone.
 *
 * @throws RangeError when the boundaries of a histogram are not as many as before, or as the other arm's.
 */
export function countBatch(
  policy: EvidencePolicy,
  metric: EvidenceMetric,
  state: MetricEvidence,
  batch: EventBatch | HistogramBatch,
  clusters: (event: number) => number = () => policy.clusters,
): MetricEvidence {
  const design = designOf(policy, metric);
  const batches = eventsOf(batch);
  if (state.batches > 0 && batches.length !== state.events.length) {
    throw new RangeError(`A histogram of ${batches.length} boundaries cannot follow one of ${state.events.length}.`);
  }
  const events = batches.map(({ canary, stable }, index): EventState => {
    const before = state.events[index] ?? { canaryBad: 0, stableBad: 0, evidence: NO_EVIDENCE };
    return {
      canaryBad: before.canaryBad + canary.bad,
      stableBad: before.stableBad + stable.bad,
      evidence: addEvidence({ ...design, clusters: clusters(index) }, before.evidence, { canary, stable }),
    };
  });
  const canary = batches[0]?.canary.total ?? 0;
  const stable = batches[0]?.stable.total ?? 0;
  const next = {
    batches: state.batches + 1,
    canaryRequests: state.canaryRequests + canary,
    stableRequests: state.stableRequests + stable,
    comparedRequests: state.comparedRequests + (stable > 0 ? canary : 0),
    highest: state.highest,
    events,
  };
  return { ...next, highest: Math.max(state.highest, metricLogEvidence(policy, metric, next)) };
}

/** ln E of a metric: of its event, or the mean of E over the boundaries of its histogram. 0 before the first batch. */
export function metricLogEvidence(policy: EvidencePolicy, metric: EvidenceMetric, state: MetricEvidence): number {
  if (state.events.length === 0) return 0;
  const design = designOf(policy, metric);
  return logMeanExp(state.events.map(({ evidence }) => logEvidence(design, evidence)));
}

/** alpha is for the whole release: each of its metrics fails at E >= (number of metrics) / alpha. */
export function evidenceLimit(policy: Pick<EvidencePolicy, 'alpha' | 'metrics'>): number {
  return Math.log(policy.metrics.length / policy.alpha);
}

/** Fail-closed: only counts of both arms, enough of them, and no evidence beyond the limit pass. */
export function judgeEvidence(policy: EvidencePolicy, metric: EvidenceMetric, state: MetricEvidence): EvidenceVerdict {
  const limit = evidenceLimit(policy);
  const { verdict, clause } = decide(policy, metric, state, limit);
  return {
    name: metric.name,
    verdict,
    logEvidence: metricLogEvidence(policy, metric, state),
    limit,
    sentence: `${metric.name}: ${clause}.`,
  };
}

/** The same without the metric's name, as a clause. */
export function describeEvidence(policy: EvidencePolicy, metric: EvidenceMetric, state: MetricEvidence): string {
  return decide(policy, metric, state, evidenceLimit(policy)).clause;
}

/** The verdict on all metrics: the worst of them; nothing judged is no pass. */
export function worstVerdict(verdicts: readonly Verdict[]): Verdict {
  const order = ['fail', 'error', 'insufficient-data', 'inconclusive'] as const;
  return order.find((verdict) => verdicts.includes(verdict)) ?? (verdicts.length === 0 ? 'inconclusive' : 'pass');
}

function designOf(policy: EvidencePolicy, metric: EvidenceMetric): EvidenceDesign {
  const { tolerate, clusters, onset } = policy;
  return { alternatives: alternativesOf(metric), tolerate, clusters, onset };
}

function alternativesOf(metric: EvidenceMetric): readonly number[] {
  switch (metric.kind) {
    case 'errors':
      return ERROR_ALTERNATIVES;
    case 'latency':
      return LATENCY_ALTERNATIVES;
    default:
      return metric.kind satisfies never;
  }
}

/** A histogram as one event for each of its boundaries: slower than it. */
function eventsOf(batch: EventBatch | HistogramBatch): readonly EventBatch[] {
  if (!isHistogram(batch)) return [batch];
  const canary = slowerThan(batch.canary.cumulative);
  const stable = slowerThan(batch.stable.cumulative);
  if (canary.length !== stable.length) {
    throw new RangeError(`Histograms with ${canary.length} and ${stable.length} boundaries cannot be compared.`);
  }
  return canary.flatMap((counts, index) => {
    const beside = stable[index];
    return beside === undefined ? [] : [{ canary: counts, stable: beside }];
  });
}

function isHistogram(batch: EventBatch | HistogramBatch): batch is HistogramBatch {
  return 'cumulative' in batch.canary;
}

function decide(
  policy: EvidencePolicy,
  metric: EvidenceMetric,
  state: MetricEvidence,
  limit: number,
): { readonly verdict: Verdict; readonly clause: string } {
  if (state.highest >= limit) {
    const odds = `evidence ${formatOdds(state.highest)}, and it fails at ${formatOdds(limit)}`;
    return { verdict: 'fail', clause: `${describeCounts(policy, metric, state)}: ${odds}` };
  }
  const { minRequests } = policy;
  if (state.canaryRequests < minRequests) {
    const had = state.batches === 0 ? 'no batch was counted' : `the canary had ${requests(state.canaryRequests)}`;
    return { verdict: 'insufficient-data', clause: `${had}, and a verdict needs ${minRequests} requests` };
  }
  if (state.comparedRequests < minRequests) {
    const had = `${formatCount(state.comparedRequests)} of the canary's ${requests(state.canaryRequests)}`;
    return {
      verdict: 'inconclusive',
      clause: `only ${had} came while stable had some, too, and a comparison needs ${minRequests}`,
    };
  }
  return { verdict: 'pass', clause: describeCounts(policy, metric, state) };
}

/**
 * The place of the event with the strongest evidence, of those of which something bad was counted: a boundary that
 * nobody was slower than says nothing, which may be more than the others say. 0 where nothing bad was counted at all.
 */
export function strongestEvent(policy: EvidencePolicy, metric: EvidenceMetric, state: MetricEvidence): number {
  const design = designOf(policy, metric);
  let best = 0;
  let highest = -Infinity;
  for (const [index, { canaryBad, stableBad, evidence }] of state.events.entries()) {
    const log = canaryBad + stableBad === 0 ? -Infinity : logEvidence(design, evidence);
    if (log > highest) [best, highest] = [index, log];
  }
  return best;
}

/** `7 of 9 errors came from the canary, which had 5 % of the requests`, of the event with the strongest evidence. */
function describeCounts(policy: EvidencePolicy, metric: EvidenceMetric, state: MetricEvidence): string {
  const index = strongestEvent(policy, metric, state);
  const { canaryBad, stableBad } = state.events[index] ?? { canaryBad: 0, stableBad: 0 };
  const share = state.canaryRequests / (state.canaryRequests + state.stableRequests);
  const seconds = metric.boundaries?.[index];
  const boundary = seconds === undefined ? `boundary ${index + 1}` : formatValue(seconds, 'seconds');
  const noun = (count: number): string =>
    metric.kind === 'errors' ? countOf(count, 'error') : `${requests(count)} slower than ${boundary}`;
  const bad = canaryBad + stableBad;
  const had = `which had ${formatValue(share, 'ratio')} of the requests`;
  if (bad === 0)
    return `no ${metric.kind === 'errors' ? 'errors' : 'slow requests'} in either arm; the canary had ${requests(state.canaryRequests)}`;
  return `${formatCount(canaryBad)} of ${noun(bad)} came from the canary, ${had}`;
}

/** E as people bet: `650 to 1`. */
function formatOdds(log: number): string {
  return log > Math.log(1e6) ? 'of more than a million to 1' : `${formatValue(Math.exp(log), 'count')} to 1`;
}

function requests(count: number): string {
  return countOf(count, 'request');
}
