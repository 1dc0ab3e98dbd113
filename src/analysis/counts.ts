import type { ArmCounts } from './event-evidence';

/**
 * Events counted for the evidence judge: whole numbers of disjoint batches, both tracks over the same time, errors and
 * totals of the same moment. Produced by a metric source, counted by `gather-evidence.ts`.
 */

/** What one track counted in a batch: events, or a histogram's counts at or below each boundary, the last one the total. */
export type ArmBatch = ArmCounts | { readonly cumulative: readonly number[] };

/**
 * How unevenly bad events fell on the processes of one track: Pearson's chi-squared of "all have the same share of bad
 * events", and its degrees of freedom. Their quotient is expected at 1 where events are independent, and at the size of
 * the clusters where they come together.
 */
export interface Spread {
  readonly chiSquared: number;
  readonly degrees: number;
}

/** Up to where a metric is counted: small, JSON, handed back to the source that made it. */
export type CountCursor =
  /** A source that can be asked about any moment: epoch milliseconds. */
  | { readonly kind: 'time'; readonly at: number }
  /** A source that only knows what it has counted so far: that, and who counted it. */
  | {
      readonly kind: 'reading';
      readonly counters: readonly string[];
      readonly canary: ArmBatch;
      readonly stable: ArmBatch;
    };

/** What a source counted of one metric since the cursor it was given. */
export type Counted = { readonly name: string; /** What was asked, as sent. */ readonly query: string } & (
  | {
      readonly kind: 'batch';
      readonly canary: ArmBatch;
      readonly stable: ArmBatch;
      /** Upper ends of a histogram's buckets in seconds, without the last, which is open; absent for events. */
      readonly boundaries?: readonly number[];
      /** Of stable's processes, where the source knows them apart. */
      readonly spread?: Spread;
      /** What was left out of the batch and why, a clause each. */
      readonly dropped: readonly string[];
      /** Where the next batch begins, once this one is counted. */
      readonly cursor: CountCursor;
    }
  /** Nothing to be counted yet: counting begins, or begins anew, at the cursor. */
  | { readonly kind: 'begin'; readonly why: string; readonly cursor: CountCursor }
  | { readonly kind: 'problem'; readonly problem: { readonly kind: 'error' | 'no-data'; readonly message: string } }
);
