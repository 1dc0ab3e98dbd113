import { FlagDefaults, OUTCOME_BOUNDS_MS } from './defaults';
import type { DeltaIdentity } from './delta';

/**
 * Outcomes: how it went for users of a flag, counted for those who had it (`enabled`) and for those who had not
 * (`disabled`). Counts only grow, until their flag is deleted or nobody reported for days.
 */

/** The sides that are compared. */
export const SIDES = ['enabled', 'disabled'] as const;
export type Side = (typeof SIDES)[number];

export interface OutcomeCounts {
  readonly total: number;
  readonly failed: number;
  /** How many took so long, bucket by bucket: up to each of the bounds, and above the last; without those of no latency. */
  readonly latency: readonly number[];
}

export type SideCounts = Readonly<Record<Side, OutcomeCounts>>;

/** What is to be added, of one flag in one environment. */
export interface OutcomeDelta extends SideCounts {
  readonly flag: string;
  /** When that flag was made: another one of the name is none of it. Left out: whichever flag has the name. */
  readonly createdAt?: string;
  readonly environment: string;
  /** Of one that may be sent again. */
  readonly identity?: DeltaIdentity;
}

/** What a store has counted. */
export interface FlagOutcomes extends SideCounts {
  /** Random, drawn when counting began: other counters begin at nothing, and have another one. */
  readonly counters: string;
  /** When counting began; ISO. */
  readonly since: string;
  /** Of what was added within the window that was asked for. */
  readonly recent: SideCounts;
}

/** How one use of a flag went. */
export interface Outcome {
  readonly ok: boolean;
  /** Milliseconds; null: nobody took the time. */
  readonly latencyMs: number | null;
}

const BUCKETS = OUTCOME_BOUNDS_MS.length + 1;

export const NO_OUTCOMES: OutcomeCounts = { total: 0, failed: 0, latency: new Array<number>(BUCKETS).fill(0) };

export function addOutcome(counts: OutcomeCounts, { ok, latencyMs }: Outcome): OutcomeCounts {
  const bucket = latencyMs === null ? null : bucketOf(latencyMs);
  return {
    total: counts.total + 1,
    failed: counts.failed + (ok ? 0 : 1),
    latency: bucket === null ? counts.latency : counts.latency.map((count, at) => (at === bucket ? count + 1 : count)),
  };
}

export function addCounts(one: OutcomeCounts, other: OutcomeCounts): OutcomeCounts {
  return {
    total: one.total + other.total,
    failed: one.failed + other.failed,
    latency: one.latency.map((count, at) => count + (other.latency[at] ?? 0)),
  };
}

export function addSides(one: SideCounts, other: SideCounts): SideCounts {
  return {
    enabled: addCounts(one.enabled, other.enabled),
    disabled: addCounts(one.disabled, other.disabled),
  };
}

export const NO_SIDES: SideCounts = { enabled: NO_OUTCOMES, disabled: NO_OUTCOMES };

/** As a store writes them: total, failed, then the buckets. */
export function packCounts({ total, failed, latency }: OutcomeCounts): number[] {
  return [total, failed, ...latency];
}

export function unpackCounts([total = 0, failed = 0, ...latency]: readonly number[]): OutcomeCounts {
  return { total, failed, latency: NO_OUTCOMES.latency.map((_, at) => latency[at] ?? 0) };
}

/** Each bucket with all below it, as a histogram is summed and read; the last one counts everything. */
export function cumulative({ latency }: OutcomeCounts): number[] {
  let sum = 0;
  return latency.map((count) => (sum += count));
}

/** How far back a window may reach, milliseconds. */
export const OUTCOME_WINDOW_MS = FlagDefaults.outcomeWindowSeconds * 1000;

function bucketOf(latencyMs: number): number {
  const bucket = OUTCOME_BOUNDS_MS.findIndex((bound) => latencyMs <= bound);
  return bucket === -1 ? OUTCOME_BOUNDS_MS.length : bucket;
}
