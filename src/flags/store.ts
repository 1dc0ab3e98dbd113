import type { DeltaIdentity } from './delta';
import type { FlagDocument, StoredFlag } from './flag';
import type { FlagOutcomes, OutcomeDelta } from './outcomes';

/** Where a store stands. */
export interface StoreHead {
  /** Random, drawn with the store's first write: another one means another history, of which nothing is known. */
  readonly incarnation: string;
  /**
   * Of the latest write: the store's clock in milliseconds, or one more than the write before where that is higher. So a
   * revision never comes again, also where a store is emptied and begins anew. 0 in a store that was never written to.
   */
  readonly revision: number;
}

/** What happened since a head. */
export interface StoreChanges {
  readonly head: StoreHead;
  /** The flags told are all there are: whatever else a follower has is gone. */
  readonly complete: boolean;
  readonly deleted: readonly string[];
}

/** What a snapshot is followed from. */
export interface FlagSource {
  head(): Promise<StoreHead>;
  /**
   * Tells every flag written since `since`, or all of them. One flag at a time, because all of them at once with all
   * their lists may be more than fits beside what a follower makes of them.
   */
  changes(since: StoreHead | null, tell: (flag: StoredFlag) => void): Promise<StoreChanges>;
  /** Calls back when there may be something new; may miss a change and may call for none. Returns how to stop it. */
  subscribe(listener: () => void): () => void;
}

/** What was changed, by whom. */
export interface NewAuditEntry {
  /** ISO time of the server that wrote. */
  readonly at: string;
  readonly actor: string;
  readonly action: AuditAction;
  readonly flag: string;
  /** Each changed field, before and after; lists by what was added and removed. */
  readonly changes: Readonly<Record<string, unknown>>;
  readonly request_id: string | null;
}

export const AUDIT_ACTIONS = ['created', 'updated', 'rollout', 'listed', 'unlisted', 'deleted'] as const;
export type AuditAction = (typeof AUDIT_ACTIONS)[number];

export interface AuditEntry extends NewAuditEntry {
  /** Grows with time; a text, because stores count in different ways. */
  readonly id: string;
  /** The store's revision with this write. */
  readonly revision: number;
}

/** A write that may be repeated: what it was asked, and how it was answered. */
export interface Idempotency {
  readonly key: string;
  /** Of the request; the same key with another request is somebody's mistake. */
  readonly fingerprint: string;
  readonly status: number;
}

/** A request that was carried out before. Not its whole answer: a flag with its lists for every user added is too much. */
export interface Remembered {
  readonly fingerprint: string;
  readonly status: number;
  readonly revision: number;
}

export interface FlagWrite {
  readonly name: string;
  /** The revision of the flag that this write was made from; null: there must be none of the name. */
  readonly expected: number | null;
  /** null deletes it. */
  readonly next: FlagDocument | null;
  readonly audit: NewAuditEntry;
  readonly idempotency: Idempotency | null;
}

/** A request that changes nothing, as long as the flag is what it was asked for. */
export interface FlagUnchanged {
  readonly name: string;
  readonly expected: number;
  readonly idempotency: Idempotency;
}

export type FlagWritten =
  | { readonly kind: 'written'; readonly revision: number }
  /** The flag is not what it was when the write was made. */
  | { readonly kind: 'conflict' }
  /** This very request was carried out before. */
  | { readonly kind: 'repeated'; readonly remembered: Remembered };

export type OutcomesAdded =
  | { readonly kind: 'added' }
  /** The flag is gone, or was made anew, and what was to be added is dropped. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'repeated'; readonly remembered: Remembered };

/** Checks of one flag on one day. */
export interface UsageDelta {
  readonly flag: string;
  /** When that flag was made: another one of the name is none of it. Left out: whichever flag has the name. */
  readonly createdAt?: string;
  /** `20261126`, UTC. */
  readonly day: string;
  readonly enabled: number;
  readonly disabled: number;
  readonly users: readonly string[];
  /** ISO time of the last of them. */
  readonly lastAt: string;
  /** Of one that may be sent again. */
  readonly identity?: DeltaIdentity;
}

export interface UsageOfDay {
  readonly day: string;
  readonly enabled: number;
  readonly disabled: number;
  readonly unique_users: number;
}

export interface FlagUsage {
  readonly days: readonly UsageOfDay[];
  /** Over all the days, each user once. */
  readonly unique_users: number;
  /** Of all days that are kept, and not only of those asked for. */
  readonly last_evaluated_at: string | null;
}

export interface OutcomeQuery {
  readonly flag: string;
  readonly environment: string;
  /** Of what is recent, milliseconds back from the store's now. */
  readonly windowMs: number;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** What the next page begins after; null on the last one. */
  readonly next: string | null;
}

/** Where flags are kept. All that fails by the store being away throws {@link StoreUnavailable}. */
export interface FlagStore extends FlagSource {
  readonly kind: 'memory' | 'sqlite' | 'redis';
  get(name: string): Promise<StoredFlag | null>;
  /** By name, those after `after`. */
  list(page: { readonly after: string | null; readonly limit: number }): Promise<Page<StoredFlag>>;
  /** Flag, index, audit entry and idempotency record change in one step or not at all. */
  write(write: FlagWrite): Promise<FlagWritten>;
  /**
   * Remembers such a request as a write is, so that its repeat does nothing either when another has changed the flag
   * since; answers as a write does, with the revision that the flag keeps.
   */
  remember(unchanged: FlagUnchanged): Promise<FlagWritten>;
  recall(idempotencyKey: string): Promise<Remembered | null>;
  /** Newest first; of one flag, or of all. Throws {@link ForeignCursor} for a `before` that no page of this store ended with. */
  audit(query: {
    readonly flag: string | null;
    readonly before: string | null;
    readonly limit: number;
  }): Promise<Page<AuditEntry>>;
  /** Usage of a flag that is no longer there, or was made anew, is dropped. A delta with an identity is counted once within a day. */
  addUsage(deltas: readonly UsageDelta[]): Promise<void>;
  /** Of these days, in their order. */
  usage(flag: string, days: readonly string[]): Promise<FlagUsage>;
  /**
   * Both sides and the idempotency record change in one step or not at all. A delta with an identity is counted once
   * within a day, and each time answered as added.
   */
  addOutcomes(delta: OutcomeDelta, idempotency: Idempotency | null): Promise<OutcomesAdded>;
  /** All of one moment; null where nothing was ever counted. */
  outcomes(query: OutcomeQuery): Promise<FlagOutcomes | null>;
  close(): Promise<void>;
}

/** What is wrong with a cursor, for people. */
export const BAD_CURSOR = 'a cursor is taken from next_cursor of the page before';

/** A cursor that this store never gave: each counts in its own way, so only the store can tell. */
export class ForeignCursor extends Error {
  override readonly name = 'ForeignCursor';

  constructor() {
    super(BAD_CURSOR);
  }
}

/** The number of an entry where entries are counted from 1, by the cursor that was given for it. */
export function countOfCursor(cursor: string): number {
  const count = /^[1-9]\d*$/.test(cursor) ? Number(cursor) : NaN;
  if (!Number.isSafeInteger(count)) throw new ForeignCursor();
  return count;
}

/** The store did not answer, or not in time. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable';
  /** It was asked, and may have done what it was asked for. */
  readonly unanswered: boolean;

  constructor(message: string, options: { cause?: unknown; unanswered?: boolean } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.unanswered = options.unanswered ?? false;
  }
}

/** The revision of a write at `nowMs`, after `last`. */
export function nextRevision(last: number, nowMs: number): number {
  return Math.max(last + 1, Math.floor(nowMs));
}

/**
 * Whether what happened since a head cannot be told piece by piece: of nothing, of another history, of deletions that
 * are forgotten, or of a head that this store has never reached, as one that came back with less than it had.
 */
export function isPastTelling(since: StoreHead | null, now: StoreHead & { readonly forgotten: number }): boolean {
  if (since?.incarnation !== now.incarnation) return true;
  return since.revision < now.forgotten || since.revision > now.revision;
}

/** A day as usage counts it, UTC. */
export function usageDay(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10).replaceAll('-', '');
}

/** The last `count` days up to that of `nowMs`, oldest first. */
export function usageDays(nowMs: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => usageDay(nowMs - (count - 1 - i) * 86_400_000));
}
