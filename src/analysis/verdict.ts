import type { EvidenceReport } from './gather-evidence';

/** Only `pass` advances a release. `error` is the backend's fault and never held against the canary. */
export type Verdict = 'pass' | 'fail' | 'inconclusive' | 'insufficient-data' | 'error';

/** What a judge is told of the policy: the part of the analysis plan that it reads. Ratios are fractions. */
export interface JudgePolicy {
  readonly minMeasurements: number;
  readonly minRequests: number;
  readonly failureLimit: number;
  readonly consecutiveErrorLimit: number;
  readonly metrics: readonly MetricPolicy[];
  /** Of event metrics of which no evidence is gathered, at each look. */
  readonly compare: { readonly alpha: number; readonly tolerate: number } | null;
}

export interface MetricPolicy {
  readonly name: string;
  readonly unit: 'ratio' | 'seconds' | 'count';
  readonly max: number | null;
  readonly min: number | null;
  readonly maxRatio: number | null;
  /** Judged and shown, and never acted on. */
  readonly dryRun?: boolean;
  /** One failed measurement fails the step, whatever is tolerated of others. */
  readonly critical?: boolean;
  /** The spec's own words about it, for whoever reads its verdicts. */
  readonly note?: string;
}

/** True for metrics of which more is better (a success rate): they have a lower limit and no upper one. */
export function higherIsBetter({ max, min }: Pick<MetricPolicy, 'max' | 'min'>): boolean {
  return min !== null && max === null;
}

/**
 * What a judge remembers between measurements of one step: small, JSON, carried by the workflow. `kind` names the
 * judge, so that a state is never read by another one.
 */
export interface ThresholdJudgeState {
  readonly kind: 'threshold';
  readonly measurements: number;
  /** Measurements with enough data whose every check passed. */
  readonly passed: number;
  readonly failed: number;
  readonly consecutiveErrors: number;
  /** Sentence of the last failed measurement; null while there was none. */
  readonly lastFailure: string | null;
  /** How the last valid measurement (one that passed or failed) ended; absent while there was none. */
  readonly lastValid?: 'pass' | 'fail';
}

/** The seam for further judges: each adds its state to this union. */
export type JudgeState = ThresholdJudgeState;

/** One metric's part in one measurement. */
export interface MetricVerdict {
  readonly name: string;
  readonly unit: 'ratio' | 'seconds' | 'count';
  readonly verdict: Verdict;
  readonly canary: number | null;
  readonly stable: number | null;
  readonly canaryRequests: number | null;
  readonly stableRequests: number | null;
  /** What it was held against, readable: `max 5 %`; empty when nothing was. */
  readonly limit: string;
  /** A sentence a person understands, with the counts. */
  readonly sentence: string;
  /** What the canary was asked by, as sent; empty where it was not, or where the text was let go of for room. */
  readonly query: string;
  /** The same of stable; absent where it was not asked, by the very words that the canary was, or for room. */
  readonly stableQuery?: string;
  /** What all batches of the release say; absent where no evidence is gathered. */
  readonly evidence?: EvidenceReport;
  /** Its verdict counts for nothing. */
  readonly dryRun?: boolean;
  /** The spec's own words about the metric. */
  readonly note?: string;
}

/** A judge's answer to one measurement. */
export interface Judgement {
  /** Of this measurement alone. */
  readonly verdict: Verdict;
  readonly metrics: readonly MetricVerdict[];
  readonly sentence: string;
  readonly state: JudgeState;
  /** `fail`: the step has failed, now. `error`: the backend has been gone for too long. `continue` otherwise. */
  readonly decision: 'continue' | 'fail' | 'error';
  /** What the step's verdict is if the soak ends here, with its reason. */
  readonly stepVerdict: Verdict;
  readonly stepSentence: string;
  /** The canary was proven good enough: the soak may end now. Absent where that is not asked for. */
  readonly enough?: boolean;
}
