import { formatPart } from './format';
import { devianceTerm, stirlingError } from './stirling';

/**
 * Does the router deliver the weight asked for? A sample ratio mismatch test by an e-value, valid at every look: under
 * "the share is what was asked for" its expectation is at most 1 whenever one looks, so that by Ville's inequality it
 * reaches 1/alpha in at most a share alpha of healthy weights, however often it is looked at (docs/analysis.md).
 */

/** What one weight's worth of routing is held against. Shares are fractions, above 0 and below 1. */
export interface RoutingPolicy {
  /** What the canary should get: the weight, or what can be reached of it. */
  readonly share: number;
  /** Marked requests get the canary beside the weight: more than asked for is then as it should be. */
  readonly atLeast: boolean;
  /** How many of what is counted may have gone the same way for one and the same reason; at least 1. */
  readonly cluster: number;
  /** What is counted, for people. */
  readonly noun: 'request' | 'subject';
}

/** What both tracks were sent since the weight changed; may be fractional where a backend extrapolates. */
export interface RoutedCounts {
  readonly canary: number;
  readonly total: number;
}

/** What is remembered of one weight: the most evidence there ever was, so that what was proven once stays proven. */
export interface RoutingState {
  /** ln E, the highest so far. */
  readonly highest: number;
}

export interface RoutingJudgement {
  /** `fail`: the share asked for is not delivered; `pass`: nothing says so. */
  readonly verdict: 'pass' | 'fail' | 'insufficient-data';
  /** The share delivered, a fraction; null without anything counted. */
  readonly delivered: number | null;
  readonly state: RoutingState;
  readonly sentence: string;
}

/** Chance of a false alarm at one weight, whatever the number of looks: once in a thousand weights. */
export const ROUTING_ALPHA = 0.001;

/** ln of the evidence at which the check fails. */
const PROOF = -Math.log(ROUTING_ALPHA);

/**
 * Odds that far from those asked for are none of the router's business: gateways that deal out in whole turns each,
 * counters that are scraped a moment apart. 5 % may be anything from 4.6 to 5.5 %.
 */
export const ROUTING_TOLERANCE = 1.1;

/** Pseudo-counts of the alternative: shares within a few percent of what was asked for are the likeliest faults. */
const PRIOR = 100;

/**
 * ln of the Beta-binomial e-value
 *
 *     E = B(a + x, b + n − x) / (B(a, b) w^x (1 − w)^(n − x))        a = 100 w, b = 100 (1 − w)
 *
 * of x of n requests at the canary against the share w, in a form without cancellation: with A = a + x, B = b + n − x
 * and N = A + B, ln E is N times the divergence of A/N from w, plus what Stirling's formula leaves.
 *
 * @throws RangeError unless 0 < w < 1 and 0 <= x <= n.
 */
export function logRoutingEvidence(canary: number, total: number, share: number): number {
  if (!(share > 0 && share < 1) || !(canary >= 0 && canary <= total) || !Number.isFinite(total)) {
    throw new RangeError(`No routing evidence for ${canary} of ${total} at a share of ${share}.`);
  }
  if (total === 0) return 0;
  const a = PRIOR * share;
  const b = PRIOR * (1 - share);
  const [A, B, N] = [a + canary, b + total - canary, PRIOR + total];
  const divergence = devianceTerm(A, N * share) + devianceTerm(B, N * (1 - share));
  const spread = 0.5 * Math.log((N / A) * (a / PRIOR) * (b / B));
  const errors = stirlingError(A) + stirlingError(B) - stirlingError(N);
  return divergence + spread + errors - (stirlingError(a) + stirlingError(b) - stirlingError(PRIOR));
}

/**
 * One look. Within a tolerance of the odds asked for any share is as it should be: the evidence is against the nearest
 * of them, which keeps its expectation at most 1 under each. Counts are divided by the cluster's size, which keeps it
 * where up to so many go together.
 */
export function checkRouting(
  policy: RoutingPolicy,
  state: RoutingState | null,
  counts: RoutedCounts,
): RoutingJudgement {
  const before = state?.highest ?? 0;
  if (!(counts.total > 0)) {
    const sentence = 'Nothing has been counted since the weight changed.';
    return { verdict: 'insufficient-data', delivered: null, state: { highest: before }, sentence };
  }
  const delivered = Math.min(1, Math.max(0, counts.canary / counts.total));
  const now = evidenceAgainst(policy, delivered, counts.total / policy.cluster);
  const highest = Math.max(before, now);
  const found = now >= PROOF ? 'now' : highest >= PROOF ? 'before' : 'nothing';
  const sentence = sentenceOf(policy, counts, found);
  return { verdict: found === 'nothing' ? 'pass' : 'fail', delivered, state: { highest }, sentence };
}

function evidenceAgainst(policy: RoutingPolicy, delivered: number, total: number): number {
  const { share, atLeast } = policy;
  const canary = delivered * total;
  const lowest = shareAtOdds(share, 1 / ROUTING_TOLERANCE);
  const highest = atLeast ? 1 : shareAtOdds(share, ROUTING_TOLERANCE);
  const nearest = Math.min(highest, Math.max(lowest, delivered));
  // ln of the likelihood under the share asked for over that under the nearest share that would do.
  const moved = times(canary, Math.log(share / nearest)) + times(total - canary, Math.log((1 - share) / (1 - nearest)));
  return logRoutingEvidence(canary, total, share) + moved;
}

/** The share whose odds are so many times those of another. */
function shareAtOdds(share: number, factor: number): number {
  return (share * factor) / (share * factor + 1 - share);
}

/** A count of none has no say, whatever it is multiplied by. */
function times(count: number, value: number): number {
  return count === 0 ? 0 : count * value;
}

function sentenceOf(
  { share, atLeast, noun }: RoutingPolicy,
  counts: RoutedCounts,
  found: 'now' | 'before' | 'nothing',
): string {
  const got = `the canary got ${formatPart(counts.canary, counts.total, noun)}`;
  const delivered = percent(counts.canary / counts.total);
  const asked = `${atLeast ? 'at least ' : ''}${percent(share)}`;
  switch (found) {
    case 'now':
      return `The router does not deliver the weight asked for: since it changed, ${got} (${delivered}) instead of ${asked}.`;
    case 'before':
      return `The router did not deliver the weight asked for at first; by now ${got} (${delivered} of ${asked} asked for).`;
    case 'nothing':
      return `Since the weight changed, ${got} (${delivered} of ${asked} asked for).`;
  }
}

function percent(fraction: number): string {
  return `${Math.round(fraction * 1000) / 10} %`;
}
