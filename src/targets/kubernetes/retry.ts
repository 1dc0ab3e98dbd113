import { CLUSTER_DEFAULTS } from './defaults';
import type { ApiAnswer } from './api-http';

/** Bounds for all tries of one request together. */
export interface RetryPolicy {
  /** Tries, the first included; 1 for none more. */
  readonly maxTries: number;
  /** From the first try's start; no try begins after it. Milliseconds. */
  readonly budgetMs: number;
  /** First wait; doubles each time. Milliseconds. */
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = {
  maxTries: CLUSTER_DEFAULTS.maxTries,
  budgetMs: CLUSTER_DEFAULTS.retryBudgetMs,
  firstDelayMs: CLUSTER_DEFAULTS.firstDelayMs,
  maxDelayMs: CLUSTER_DEFAULTS.maxDelayMs,
};

/** Answers that the same request may turn out better for: overload, and the server's own trouble. */
export function mayPass(status: number): boolean {
  return status === 429 || status >= 500;
}

/** How long an answer asks to be left alone, in milliseconds; null when it does not say. Seconds or a date (RFC 9110). */
export function retryAfterMs(answer: ApiAnswer, now: number): number | null {
  const value = answer.headers['retry-after'];
  if (value === undefined) return null;
  if (/^\d{1,6}$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}

/**
 * The wait before the next try, or null when there is none. The server's own wish is kept, never shortened; `random` is
 * uniform in [0, 1): full jitter above it, so that those who were turned away together do not come back together.
 */
export function nextDelayMs(
  policy: RetryPolicy,
  state: {
    readonly tries: number;
    readonly elapsedMs: number;
    readonly wishMs: number | null;
    readonly random: number;
  },
): number | null {
  if (state.tries >= policy.maxTries) return null;
  const step = Math.min(policy.maxDelayMs, policy.firstDelayMs * 2 ** (state.tries - 1));
  const delay = (state.wishMs ?? 0) + state.random * step;
  return state.elapsedMs + delay > policy.budgetMs ? null : delay;
}
