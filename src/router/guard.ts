import type { GuardEvidence, TripRule } from './protocol';

/** When the process takes its canary to 0 by itself. `false` switches a rule off. */
export interface GuardThresholds {
  /** No rule speaks before this many canary requests in the window. */
  readonly minRequests: number;
  /** Canary errors / requests above this trip, 0 to 1. */
  readonly maxErrorRate: number | false;
  /** A 95th percentile of the canary's latency above this trips, milliseconds. */
  readonly maxLatencyMs: number | false;
  /** A canary error rate above this multiple of the stable one trips. */
  readonly maxErrorRatio: number | false;
  /** The ratio rule needs this many canary errors. */
  readonly minErrors: number;
  /** Span of the counts, 1 to 300 seconds. */
  readonly windowSeconds: number;
}

/** A rule that was broken. */
export interface Breach {
  readonly rule: Exclude<TripRule, 'manual'>;
  /** One sentence with the numbers. */
  readonly reason: string;
}

/** One request in this many may be slower than the threshold before the 95th percentile is. */
const SLOW_ONE_IN = 20;

/** The first rule the counts break, or null. Pure, and O(1). */
export function judgeGuard(thresholds: GuardThresholds, evidence: GuardEvidence): Breach | null {
  const { canary, stable } = evidence;
  if (canary.requests === 0 || canary.requests < thresholds.minRequests) return null;
  const rate = canary.errors / canary.requests;
  const counts = `${canary.errors} of ${canary.requests} canary requests failed`;
  if (thresholds.maxErrorRate !== false && rate > thresholds.maxErrorRate) {
    return {
      rule: 'error-rate',
      reason: `${counts} (${percent(rate)}), more than ${percent(thresholds.maxErrorRate)}`,
    };
  }
  // By the nearest rank, p95 is above a threshold exactly when more than 5 % of the requests are: no histogram needed.
  if (thresholds.maxLatencyMs !== false && canary.slow * SLOW_ONE_IN > canary.requests) {
    return {
      rule: 'latency',
      reason: `${canary.slow} of ${canary.requests} canary requests took longer than ${thresholds.maxLatencyMs} ms, so the 95th percentile is above it`,
    };
  }
  // A stable side with few requests has no rate worth comparing with; at weight 100 it has none at all.
  if (thresholds.maxErrorRatio === false || canary.errors < thresholds.minErrors) return null;
  if (stable.requests === 0 || stable.requests < thresholds.minRequests) return null;
  const stableRate = stable.errors / stable.requests;
  if (rate <= thresholds.maxErrorRatio * stableRate) return null;
  return {
    rule: 'error-ratio',
    reason: `${counts} (${percent(rate)}), more than ${thresholds.maxErrorRatio} times the stable ${percent(stableRate)} (${stable.errors} of ${stable.requests})`,
  };
}

function percent(rate: number): string {
  return `${Number((rate * 100).toFixed(2))} %`;
}
