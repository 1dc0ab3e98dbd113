import type { CohortCounts, GuardCounts, LatencyHistogram } from './protocol';
import { LATENCY_BOUNDS_MS, RouterDefaults } from './defaults';

/** How one request ended. */
export interface RequestOutcome {
  readonly latencyMs: number;
  readonly error: boolean;
  /** The connection closed before the answer was complete; implies `error`. */
  readonly aborted: boolean;
}

const SLOTS = RouterDefaults.windowSeconds;
const BUCKETS = LATENCY_BOUNDS_MS.length + 1;

/** What the guard asks a recorder to keep sums of. */
export interface GuardWindow {
  /** 1 to 300. */
  readonly windowSeconds: number;
  /** Requests slower than this are counted as slow; false counts none. */
  readonly slowMs: number | false;
}

/**
 * Counts of one cohort: in total, and in a ring of one-second slots.
 *
 * Everything is allocated once, at construction. Invariants:
 * 1. slot `s % SLOTS` holds second `s` for the SLOTS seconds up to `#second`, and zeros for those without requests;
 * 2. the rolling sums equal the sum over the guard's window ending with `#second`.
 * Both cost at most SLOTS steps per second that passes, and O(1) per request.
 */
export class CohortRecorder {
  readonly #guard: GuardWindow;
  readonly #requests = new Uint32Array(SLOTS);
  readonly #errors = new Uint32Array(SLOTS);
  readonly #aborted = new Uint32Array(SLOTS);
  readonly #slow = new Uint32Array(SLOTS);
  readonly #latencySum = new Float64Array(SLOTS);
  readonly #buckets = new Uint32Array(SLOTS * BUCKETS);
  readonly #total = { requests: 0, errors: 0, aborted: 0, latencySum: 0, buckets: new Float64Array(BUCKETS) };
  readonly #rolling = { requests: 0, errors: 0, slow: 0 };
  #second = 0;

  constructor(guard: GuardWindow) {
    this.#guard = guard;
  }

  /** Counts one finished request. `second` is the monotonic clock in whole seconds. */
  record(second: number, outcome: RequestOutcome): void {
    this.#advance(second);
    // A clock that stands still or hands out an older second than seen counts into the newest slot.
    const slot = this.#second % SLOTS;
    const bucket = bucketIndex(outcome.latencyMs);
    const slow = this.#guard.slowMs !== false && outcome.latencyMs > this.#guard.slowMs;
    bump(this.#requests, slot);
    bump(this.#buckets, slot * BUCKETS + bucket);
    bump(this.#total.buckets, bucket);
    this.#latencySum[slot] = (this.#latencySum[slot] ?? 0) + outcome.latencyMs;
    this.#total.latencySum += outcome.latencyMs;
    this.#total.requests += 1;
    this.#rolling.requests += 1;
    if (outcome.error) {
      bump(this.#errors, slot);
      this.#total.errors += 1;
      this.#rolling.errors += 1;
    }
    if (outcome.aborted) {
      bump(this.#aborted, slot);
      this.#total.aborted += 1;
    }
    if (slow) {
      bump(this.#slow, slot);
      this.#rolling.slow += 1;
    }
  }

  /** The guard's counts at this second. O(1) amortised. */
  guardCounts(second: number): GuardCounts {
    this.#advance(second);
    return { ...this.#rolling };
  }

  /** Counts of the current second and the `windowSeconds - 1` before it. */
  window(second: number, windowSeconds: number): CohortCounts {
    this.#advance(second);
    const span = Math.min(windowSeconds, SLOTS, this.#second + 1);
    let requests = 0;
    let errors = 0;
    let aborted = 0;
    let latencySum = 0;
    const buckets = new Float64Array(BUCKETS);
    for (let back = 0; back < span; back++) {
      const slot = (this.#second - back) % SLOTS;
      requests += this.#requests[slot] ?? 0;
      errors += this.#errors[slot] ?? 0;
      aborted += this.#aborted[slot] ?? 0;
      latencySum += this.#latencySum[slot] ?? 0;
      for (let i = 0; i < BUCKETS; i++) {
        buckets[i] = (buckets[i] ?? 0) + (this.#buckets[slot * BUCKETS + i] ?? 0);
      }
    }
    return summarize({ requests, errors, aborted, latencySum, buckets });
  }

  /** Counts since construction or the last reset. */
  total(): CohortCounts {
    return summarize(this.#total);
  }

  /** Forgets everything. */
  reset(): void {
    for (const ring of [this.#requests, this.#errors, this.#aborted, this.#slow, this.#latencySum, this.#buckets]) {
      ring.fill(0);
    }
    Object.assign(this.#total, { requests: 0, errors: 0, aborted: 0, latencySum: 0 });
    this.#total.buckets.fill(0);
    Object.assign(this.#rolling, { requests: 0, errors: 0, slow: 0 });
  }

  #advance(second: number): void {
    if (second <= this.#second) return;
    if (second - this.#second >= SLOTS) {
      // Everything in the ring is older than the window. The totals stay.
      for (const ring of [this.#requests, this.#errors, this.#aborted, this.#slow, this.#latencySum, this.#buckets]) {
        ring.fill(0);
      }
      Object.assign(this.#rolling, { requests: 0, errors: 0, slow: 0 });
      this.#second = second;
      return;
    }
    while (this.#second < second) {
      this.#second += 1;
      this.#leaveGuardWindow(this.#second - this.#guard.windowSeconds);
      this.#clearSlot(this.#second % SLOTS);
    }
  }

  #leaveGuardWindow(second: number): void {
    if (second < 0) return;
    // With the widest window this is the slot about to be cleared: hence the order in #advance.
    const slot = second % SLOTS;
    this.#rolling.requests -= this.#requests[slot] ?? 0;
    this.#rolling.errors -= this.#errors[slot] ?? 0;
    this.#rolling.slow -= this.#slow[slot] ?? 0;
  }

  #clearSlot(slot: number): void {
    this.#requests[slot] = 0;
    this.#errors[slot] = 0;
    this.#aborted[slot] = 0;
    this.#slow[slot] = 0;
    this.#latencySum[slot] = 0;
    this.#buckets.fill(0, slot * BUCKETS, (slot + 1) * BUCKETS);
  }
}

/** Index of the first bound a latency does not exceed; the last one is +Inf. */
export function bucketIndex(latencyMs: number): number {
  let low = 0;
  let high = LATENCY_BOUNDS_MS.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (latencyMs <= (LATENCY_BOUNDS_MS[middle] ?? Infinity)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * A quantile from cumulative counts, interpolated linearly within its bucket as Prometheus' `histogram_quantile`
 * does; in the open last bucket the answer is the highest bound. Null without requests.
 */
export function quantile(histogram: LatencyHistogram, q: number): number | null {
  const { boundsMs, cumulative } = histogram;
  const total = cumulative.at(-1) ?? 0;
  if (total === 0) return null;
  const rank = q * total;
  const index = cumulative.findIndex((count) => count >= rank);
  const upper = boundsMs[index];
  if (upper === undefined) return boundsMs.at(-1) ?? null;
  const lower = index === 0 ? 0 : (boundsMs[index - 1] ?? 0);
  const before = index === 0 ? 0 : (cumulative[index - 1] ?? 0);
  const inside = (cumulative[index] ?? 0) - before;
  return inside === 0 ? upper : lower + ((upper - lower) * (rank - before)) / inside;
}

interface RawCounts {
  readonly requests: number;
  readonly errors: number;
  readonly aborted: number;
  readonly latencySum: number;
  readonly buckets: Float64Array;
}

function summarize(raw: RawCounts): CohortCounts {
  const cumulative: number[] = [];
  let running = 0;
  for (const count of raw.buckets) cumulative.push((running += count));
  const histogram = { boundsMs: LATENCY_BOUNDS_MS, cumulative };
  return {
    requests: raw.requests,
    errors: raw.errors,
    aborted: raw.aborted,
    errorRate: raw.requests === 0 ? null : raw.errors / raw.requests,
    latencyMs: {
      p50: quantile(histogram, 0.5),
      p95: quantile(histogram, 0.95),
      p99: quantile(histogram, 0.99),
      mean: raw.requests === 0 ? null : raw.latencySum / raw.requests,
    },
    histogram,
  };
}

function bump(counts: Uint32Array | Float64Array, index: number): void {
  counts[index] = (counts[index] ?? 0) + 1;
}
