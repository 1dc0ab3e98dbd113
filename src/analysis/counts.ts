import type { ArmCounts } from './event-evidence';

/**
 * Events counted for the evidence judge: whole numbers of disjoint batches, both tracks over the same time, errors and
 * totals of the same moment. Produced by a metric source, counted by `gather-evidence.ts`.
 */

/** What one track counted in a batch: events, or a histogram's counts at or below each boundary, the last one the total. */
export type ArmBatch = ArmCounts | { readonly cumulative: readonly number[] };

/** All events of a batch; none where nothing was counted. */
export function totalOf(batch: ArmBatch | null): number {
  if (batch === null) return 0;
  return 'cumulative' in batch ? (batch.cumulative.at(-1) ?? 0) : batch.total;
}

/** What came since: of a histogram boundary by boundary; what the earlier one lacks counts as nothing. */
export function minus(now: ArmBatch, before: ArmBatch): ArmBatch {
  if ('cumulative' in now) {
    const earlier = 'cumulative' in before ? before.cumulative : [];
    return { cumulative: now.cumulative.map((count, index) => count - (earlier[index] ?? 0)) };
  }
  const earlier = 'cumulative' in before ? { bad: 0, total: 0 } : before;
  return { bad: now.bad - earlier.bad, total: now.total - earlier.total };
}

/** No event at all, in the shape of another batch. */
export function nothingLike(batch: ArmBatch): ArmBatch {
  return 'cumulative' in batch ? { cumulative: batch.cumulative.map(() => 0) } : { bad: 0, total: 0 };
}

/**
 * How unevenly bad events fell on the processes of one track: Pearson's chi-squared of "all have the same share of bad
 * events", and its degrees of freedom. Their quotient is expected at 1 where events are independent, and at the size of
 * the clusters where they come together.
 */
export interface Spread {
  readonly chiSquared: number;
  readonly degrees: number;
}

export const NO_SPREAD: Spread = { chiSquared: 0, degrees: 0 };

/** A histogram as one event for each of its boundaries: slower than it. */
export function slowerThan(cumulative: readonly number[]): readonly ArmCounts[] {
  const total = cumulative.at(-1) ?? 0;
  return cumulative.slice(0, -1).map((count) => ({ bad: total - count, total }));
}

/** Of what each process counted in one batch: of events one, of a histogram one for each of its boundaries. */
export function spreadsOf(counted: readonly ArmBatch[]): readonly Spread[] {
  const events = counted.map((each) => ('cumulative' in each ? slowerThan(each.cumulative) : [each]));
  const [first] = events;
  return first?.map((_, index) => spreadOf(events.flatMap((each) => each[index] ?? []))) ?? [];
}

/** Nothing where no event was bad, or all were. */
function spreadOf(counted: readonly ArmCounts[]): Spread {
  const asked = counted.filter(({ total }) => total > 0);
  const { bad, total } = sumOf(asked);
  if (asked.length < 2 || bad === 0 || bad === total) return NO_SPREAD;
  const share = bad / total;
  const chiSquared = asked.reduce(
    (sum, each) => sum + (each.bad - each.total * share) ** 2 / (each.total * share * (1 - share)),
    0,
  );
  return { chiSquared, degrees: asked.length - 1 };
}

/** What several processes counted together. */
export function sumOf(counted: readonly ArmCounts[]): ArmCounts {
  return counted.reduce((sum, { bad, total }) => ({ bad: sum.bad + bad, total: sum.total + total }), {
    bad: 0,
    total: 0,
  });
}

/** Of several batches, event by event. */
export function addSpreads(sum: readonly Spread[], more: readonly Spread[]): readonly Spread[] {
  return Array.from({ length: Math.max(sum.length, more.length) }, (_, index) => {
    const [one, other] = [sum[index] ?? NO_SPREAD, more[index] ?? NO_SPREAD];
    return { chiSquared: one.chiSquared + other.chiSquared, degrees: one.degrees + other.degrees };
  });
}

/** One track over some time, as it was counted. */
export type CountedTrack =
  | {
      readonly kind: 'batch';
      /** Null without a single series. */
      readonly counts: ArmBatch | null;
      /** Of the track's processes, as `spreadsOf` has it; absent where they are not known apart. */
      readonly spreads?: readonly Spread[];
      readonly dropped: readonly string[];
      /** Some target was left out because it has only just appeared, or fallen: from the next batch on it counts. */
      readonly appeared: boolean;
    }
  | { readonly kind: 'error'; readonly message: string };

/** Why a batch is begun anew: what fell may be all that a target ever counted, which is nothing of this batch. */
export const SUM_FELL =
  'a series without labels has fallen: a restart, or a sum over targets of which one is gone (sum by (job, instance) tells them apart)';

/** Why counting begins where a cursor is not that of the counters that answer; of one without any a resume was the reason. */
export function whyAnew(cursor: CountCursor, otherwise: string): string {
  const isResumed = cursor.kind === 'reading' && cursor.counters.length === 0;
  return isResumed ? 'what came before the first look after the resume' : otherwise;
}

/** Up to where one metric of a source that only knows what it has counted so far was counted, and the moment of the look. */
export interface CountedUntil {
  readonly metric: 'errors' | 'latency';
  readonly cursor: CountCursor | undefined;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** So many clauses are told of what a batch leaves out: one for each target would be hundreds, at each look. */
const DROPPED_TOLD = 5;

function firstOf(dropped: readonly string[]): readonly string[] {
  const more = dropped.length - DROPPED_TOLD;
  return more <= 0 ? dropped : [...dropped.slice(0, DROPPED_TOLD), `and ${more} more`];
}

/** A track that nothing is asked of. */
const NOT_COUNTED: CountedTrack = { kind: 'batch', counts: null, dropped: [], appeared: false };

/** Up to where a metric is counted: small, JSON, handed back to the source that made it. */
export type CountCursor =
  /** A source that can be asked about any moment: epoch milliseconds. */
  | {
      readonly kind: 'time';
      readonly at: number;
      /** No batch ended there: counting is told to begin there. */
      readonly begins?: true;
      /** What the tracks' counters came to there, as the source told it then; of a histogram all buckets together. */
      readonly told?: { readonly canary: number; readonly stable: number };
    }
  /** A source that only knows what it has counted so far: that, and who counted it. */
  | {
      readonly kind: 'reading';
      /** Empty where nothing of what was read until the next look is to be counted. */
      readonly counters: readonly string[];
      readonly canary: ArmBatch;
      readonly stable: ArmBatch;
      /** What stable counted, process by process in the order of `counters`; absent where they are not known apart. */
      readonly stableParts?: readonly ArmBatch[];
      /** The moment it was read for, epoch milliseconds; absent in a state of an earlier version of Sluice. */
      readonly at?: number;
    };

/** The two moments between which a source was asked to count, epoch milliseconds. */
export interface CountedBetween {
  /** Null where counters are read that began with the weight, and were never read before. */
  readonly from: number | null;
  readonly to: number;
}

/** What a source counted of one metric since the cursor it was given. */
export type Counted = {
  readonly name: string;
  /** What was asked, as sent. */
  readonly query: string;
  /** Between which moments, whatever the answer; absent where the source was not asked. */
  readonly asked?: CountedBetween;
} & (
  | {
      readonly kind: 'batch';
      readonly canary: ArmBatch;
      readonly stable: ArmBatch;
      /** Upper ends of a histogram's buckets in seconds, without the last, which is open; absent for events. */
      readonly boundaries?: readonly number[];
      /** Of stable's processes, as `spreadsOf` has it, where the source knows them apart. */
      readonly spreads?: readonly Spread[];
      /** The same of the time before, where counting was told to begin and the source can tell. */
      readonly before?: readonly Spread[];
      /** What was left out of the batch and why, a clause each. */
      readonly dropped: readonly string[];
      /** Where the next batch begins, once this one is counted. */
      readonly cursor: CountCursor;
    }
  /** Nothing to be counted yet: counting begins, or begins anew, at the cursor. */
  | {
      readonly kind: 'begin';
      readonly why: string;
      readonly cursor: CountCursor;
      /** Of stable's processes in the time before, where the source can tell. */
      readonly spreads?: readonly Spread[];
    }
  | { readonly kind: 'problem'; readonly problem: { readonly kind: 'error' | 'no-data'; readonly message: string } }
);

/** Between which moments counters are read of which the present alone is known. */
export function readBetween(cursor: CountCursor | undefined, to: number): CountedBetween {
  return { from: cursor?.at ?? null, to };
}

/** `Omit` of each member of a union by itself. */
type Without<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** What was counted since a cursor, of whichever metric. */
export type CountedSince = Without<Exclude<Counted, { kind: 'problem' }>, 'name' | 'query' | 'asked'>;

/**
 * Both tracks as one batch of a metric. After a weight change nothing is counted until both had requests under the new
 * weight, and counting begins there; and a batch that would leave out for good what appeared after it began is begun
 * anew. Without stable traffic all that is said here of both is said of the canary. Backtests go by the same.
 */
export function joinTracks(
  tracks: { readonly canary: CountedTrack; readonly stable: CountedTrack },
  {
    isFirst,
    alone,
    cursor,
    boundaries,
    ...named
  }: {
    readonly name: string;
    readonly query: string;
    readonly asked?: CountedBetween;
    /** Nothing was counted at this weight yet. */
    readonly isFirst: boolean;
    /** All traffic goes to the canary: stable is silent, and nothing is waited for. */
    readonly alone: boolean;
    /** Where the next batch begins. */
    readonly cursor: CountCursor;
    /** Of a histogram, seconds; null for events. */
    readonly boundaries: readonly number[] | null;
  },
): Counted {
  const problem = (kind: 'error' | 'no-data', message: string): Counted => ({
    ...named,
    kind: 'problem',
    problem: { kind, message },
  });
  const { canary } = tracks;
  const stable = alone ? NOT_COUNTED : tracks.stable;
  if (canary.kind === 'error') return problem('error', canary.message);
  if (stable.kind === 'error') return problem('error', stable.message);
  const either = canary.counts ?? stable.counts;
  if (either === null) {
    return problem('no-data', `${alone ? 'the canary has no' : 'neither track has a'} series of these counters`);
  }
  const silent = (alone ? [canary] : [canary, stable]).filter(({ counts }) => totalOf(counts) === 0);
  if (isFirst) {
    if (silent.some(({ appeared }) => !appeared)) {
      const whoHas = alone ? 'the canary has not' : 'not both tracks have';
      return problem('no-data', `${whoHas} been seen to have requests since the weight changed`);
    }
    return { ...named, kind: 'begin', why: 'what came before the first look at this weight', cursor };
  }
  const anew = silent.filter(({ appeared }) => appeared);
  if (anew.length > 0) {
    const hasFallen = anew.some(({ dropped }) => dropped.includes(SUM_FELL));
    const why = hasFallen ? SUM_FELL : 'the counters of a track have only just appeared';
    return { ...named, kind: 'begin', why, cursor };
  }
  return {
    ...named,
    kind: 'batch',
    canary: canary.counts ?? nothingLike(either),
    stable: stable.counts ?? nothingLike(either),
    ...(boundaries === null ? {} : { boundaries }),
    ...(stable.spreads === undefined ? {} : { spreads: stable.spreads }),
    dropped: firstOf([...canary.dropped, ...stable.dropped]),
    cursor,
  };
}
