import { logSumExp } from './log-space';

/**
 * Evidence that the canary has more bad events than it may: an e-value, the factor by which a bet against "at most
 * `tolerate` times as bad as stable" has grown. It is expected to stay at or below 1 while that holds, whatever the
 * traffic, the weights and the drift that both arms share, so that by Ville's inequality it ever reaches 1/alpha with
 * a chance of at most alpha, however often one looks.
 *
 * Sources: Lindon & Malek 2022 (arXiv 2011.03567), Lindon et al. 2022 (arXiv 2205.14762), Howard & Ramdas 2022
 * (Bernoulli 28(3)); MaxSPRT in vaccine safety.
 */

/** What one arm counted in one batch: whole numbers, `bad` of `total`. */
export interface ArmCounts {
  readonly bad: number;
  readonly total: number;
}

/** One disjoint batch of both arms, of the same time. */
export interface EventBatch {
  readonly canary: ArmCounts;
  readonly stable: ArmCounts;
}

/** Over how many batches the moment may be spread at which the canary turns bad. */
export interface Onset {
  readonly plannedBatches: number;
}

/** What is bet on: the same for all batches of a metric. */
export interface EvidenceDesign {
  /** The ratio r of each alternative: the canary is r times as bad as it may be. Equal prior. */
  readonly alternatives: readonly number[];
  /** R0: the canary may be that many times as bad as stable. */
  readonly tolerate: number;
  /** At most that many bad events have one cause; each batch's evidence is divided by it. At least 1. */
  readonly clusters: number;
  /** null: the canary is bad from the first batch on, or never. */
  readonly onset: Onset | null;
}

/** Alternatives for events that should be rare: errors. */
export const ERROR_ALTERNATIVES: readonly number[] = [1.5, 2, 3, 5, 10, 20, 50];

/** Alternatives for "slower than a boundary", of which small rises matter. */
export const LATENCY_ALTERNATIVES: readonly number[] = [1.1, 1.25, 1.5, 2, 3, 5, 10, 20];

/** Alternatives for the promotion: how much better than the excluded ratio the canary may be. */
export const PROMOTION_ALTERNATIVES: readonly number[] = [0.1, 0.25, 0.5, 0.75];

/**
 * Evidence for the promotion: against "the canary is at least `excluded` times as bad as stable". The canary may be
 * accepted once it reaches 1/beta; it then was that bad with a chance of at most beta.
 */
export function promotionDesign(excluded: number, clusters: number): EvidenceDesign {
  return { alternatives: PROMOTION_ALTERNATIVES, tolerate: excluded, clusters, onset: null };
}

/**
 * What the bet remembers: for each alternative ln S, the capital that has been put on it, each share from its own
 * batch on. Small, JSON; no logs as long as no batch had a bad event, since all capital then is as it was put.
 */
export interface Evidence {
  readonly batches: number;
  readonly logs: readonly number[];
}

export const NO_EVIDENCE: Evidence = { batches: 0, logs: [] };

/** One batch more: S_r becomes (S_r + pi_k) times the likelihood ratio of the batch under r. */
export function addEvidence(design: EvidenceDesign, evidence: Evidence, batch: EventBatch): Evidence {
  const batches = evidence.batches + 1;
  const { canary, stable } = batch;
  if (evidence.logs.length === 0 && canary.bad === 0 && stable.bad === 0) return { batches, logs: [] };
  const put = Math.log(1 - onsetLeft(design.onset, evidence.batches));
  const fresh = Math.log(onsetShare(design.onset, batches));
  const ratios = logRatios(design, batch);
  return {
    batches,
    logs: ratios.map((ratio, index) => logSumExp([evidence.logs[index] ?? put, fresh]) + ratio),
  };
}

/** ln E: the mean over the alternatives, and what has not been put on any yet. 0 before the first batch. */
export function logEvidence(design: EvidenceDesign, evidence: Evidence): number {
  if (evidence.logs.length === 0) return 0;
  const prior = Math.log(design.alternatives.length);
  return logSumExp([...evidence.logs.map((log) => log - prior), Math.log(onsetLeft(design.onset, evidence.batches))]);
}

/**
 * ln of the likelihood ratio of one batch for each alternative, divided by the cluster bound (which keeps the
 * expectation at or below 1, by Jensen's inequality). A batch with an empty arm says nothing: 0.
 *
 * With t0 the canary's share of the bad events under R0, t1 under R0 r: ln(t1/t0) = -ln(1 + (1 - t0)(1/r - 1)) and
 * ln((1 - t1)/(1 - t0)) = -ln(1 + t0 (r - 1)), which lose no digits at shares near 0 and 1.
 */
function logRatios({ alternatives, tolerate, clusters }: EvidenceDesign, { canary, stable }: EventBatch): number[] {
  if (canary.total === 0 || stable.total === 0) return alternatives.map(() => 0);
  const weighed = canary.total * tolerate;
  const t0 = weighed / (weighed + stable.total);
  const rest = stable.total / (weighed + stable.total);
  return alternatives.map((r) => {
    const atCanary = canary.bad === 0 ? 0 : canary.bad * -Math.log1p(rest * (1 / r - 1));
    const atStable = stable.bad === 0 ? 0 : stable.bad * -Math.log1p(t0 * (r - 1));
    return (atCanary + atStable) / clusters;
  });
}

/** pi_k: half of the capital is put on the first batch, the other half evenly on the others that are planned. */
export function onsetShare(onset: Onset | null, batch: number): number {
  if (onset === null || onset.plannedBatches === 1) return batch === 1 ? 1 : 0;
  if (batch === 1) return 0.5;
  return batch <= onset.plannedBatches ? 0.5 / (onset.plannedBatches - 1) : 0;
}

/** 1 - (pi_1 + ... + pi_k), without the rounding of the sum. */
export function onsetLeft(onset: Onset | null, batches: number): number {
  if (batches === 0) return 1;
  if (onset === null || batches >= onset.plannedBatches) return 0;
  return (0.5 * (onset.plannedBatches - batches)) / (onset.plannedBatches - 1);
}
