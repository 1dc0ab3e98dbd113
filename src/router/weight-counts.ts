import type { RequestOutcome } from './recorder';
import { bucketIndex } from './recorder';
import { LATENCY_BOUNDS_MS } from './defaults';
import type { Cohort, CountsAtWeight } from './protocol';
import type { RoutedUnder } from './subject-sample';

const BUCKETS = LATENCY_BOUNDS_MS.length + 1;

interface Counts {
  requests: number;
  errors: number;
  readonly buckets: Float64Array;
}

/**
 * Counts of the requests that the weight in force has decided about, both cohorts from the same moment on: what an
 * analysis takes its disjoint batches from. A request that was decided before the weight changed belongs to another
 * weight, whenever it ends.
 */
export class WeightCounts {
  readonly #cohorts: Readonly<Record<Cohort, Counts>> = { stable: nothing(), canary: nothing() };
  #under: RoutedUnder | null = null;
  #sinceMs = 0;

  /** `under` is what the request was decided by, `now` what is in force. */
  record(
    cohort: Cohort,
    outcome: Pick<RequestOutcome, 'latencyMs' | 'error'>,
    under: RoutedUnder,
    now: RoutedUnder,
  ): void {
    this.#turnTo(now);
    if (!isSame(under, now)) return;
    const counts = this.#cohorts[cohort];
    const bucket = bucketIndex(outcome.latencyMs);
    counts.requests += 1;
    if (outcome.error) counts.errors += 1;
    counts.buckets[bucket] = (counts.buckets[bucket] ?? 0) + 1;
  }

  counts(now: RoutedUnder): Omit<CountsAtWeight, 'since'> & { readonly sinceMs: number } {
    this.#turnTo(now);
    const { stable, canary } = this.#cohorts;
    return { weight: now.weight, sinceMs: this.#sinceMs, stable: summary(stable), canary: summary(canary) };
  }

  /** Forgets everything; what is counted from here on is another series. */
  reset(nowMs: number): void {
    for (const counts of Object.values(this.#cohorts)) {
      counts.requests = 0;
      counts.errors = 0;
      counts.buckets.fill(0);
    }
    this.#sinceMs = nowMs;
  }

  #turnTo(now: RoutedUnder): void {
    if (this.#under !== null && isSame(this.#under, now)) return;
    this.#under = now;
    this.reset(now.weightChangedAtMs);
  }
}

function isSame(one: RoutedUnder, other: RoutedUnder): boolean {
  return one.weight === other.weight && one.weightChangedAtMs === other.weightChangedAtMs && one.salt === other.salt;
}

function nothing(): Counts {
  return { requests: 0, errors: 0, buckets: new Float64Array(BUCKETS) };
}

function summary({ requests, errors, buckets }: Counts): CountsAtWeight['canary'] {
  const cumulative: number[] = [];
  let running = 0;
  for (const count of buckets) cumulative.push((running += count));
  return { requests, errors, histogram: { boundsMs: LATENCY_BOUNDS_MS, cumulative } };
}
