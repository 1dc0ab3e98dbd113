import { logBinomialUpperTail } from './binomial';

/** Bad events of one arm; counts may be fractional where a backend extrapolates, and are then rounded. */
export interface EventCounts {
  readonly bad: number;
  readonly total: number;
}

export interface RatioComparison {
  /** The canary's share of bad events is above `tolerate` times stable's. */
  readonly exceeds: boolean;
  /** Chance of at least as many bad events at the canary if it were exactly `tolerate` times as bad as stable. */
  readonly p: number;
}

/**
 * Is the canary's share of bad events more than `tolerate` times stable's? The exact one-sided conditional test of two
 * Poisson rates (Przyborowski & Wilenski 1940; Lehmann & Romano, "Testing Statistical Hypotheses", section 4.5): given
 * x + y bad events in all, x at the canary is Binomial(x + y, s R / (s R + 1 - s)) when the canary is R times as bad,
 * with s the realised share of requests. One look at one window is exact; many looks are not (docs/analysis.md).
 *
 * @throws RangeError when stable has no requests: there is nothing to compare with.
 */
export function compareRatios(canary: EventCounts, stable: EventCounts, tolerate: number): RatioComparison {
  if (!(stable.total > 0) || !(canary.total > 0))
    throw new RangeError('No comparison without requests on both tracks.');
  const x = Math.max(0, Math.round(canary.bad));
  const y = Math.max(0, Math.round(stable.bad));
  const share = canary.total / (canary.total + stable.total);
  const expected = (share * tolerate) / (share * tolerate + 1 - share);
  return {
    exceeds: canary.bad / canary.total > tolerate * (stable.bad / stable.total),
    p: x + y === 0 ? 1 : Math.exp(logBinomialUpperTail(x, x + y, expected)),
  };
}
