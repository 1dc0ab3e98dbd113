import { hash, randomUUID } from 'node:crypto';
import type * as Sqlite from 'node:sqlite';
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { z } from 'zod';
import { messageOf } from '../errors';
import { FlagDefaults } from './defaults';
import type { DeltaIdentity } from './delta';
import { FlagDocument } from './flag';
import type { StoredFlag } from './flag';
import { Listeners } from './listeners';
import { addSides, NO_SIDES, OUTCOME_WINDOW_MS, packCounts, unpackCounts } from './outcomes';
import type { FlagOutcomes, OutcomeCounts, OutcomeDelta, SideCounts } from './outcomes';
import { StoredAudit } from './stored-audit';
import { countOfCursor, isPastTelling, nextRevision, StoreUnavailable, usageDay } from './store';
import type {
  AuditEntry,
  FlagStore,
  FlagUnchanged,
  FlagUsage,
  FlagWrite,
  FlagWritten,
  Idempotency,
  OutcomeQuery,
  OutcomesAdded,
  Page,
  Remembered,
  StoreChanges,
  StoreHead,
  UsageDelta,
} from './store';

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS head (only INTEGER PRIMARY KEY CHECK (only = 1), incarnation TEXT NOT NULL,
    revision INTEGER NOT NULL, forgotten INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS flags (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, document TEXT NOT NULL) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS flags_by_revision ON flags (revision);
  CREATE TABLE IF NOT EXISTS deletions (name TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS deletions_by_revision ON deletions (revision);
  CREATE TABLE IF NOT EXISTS audit (id INTEGER PRIMARY KEY AUTOINCREMENT, flag TEXT NOT NULL, revision INTEGER NOT NULL,
    entry TEXT NOT NULL);
  CREATE INDEX IF NOT EXISTS audit_by_flag ON audit (flag, id);
  CREATE TABLE IF NOT EXISTS idempotency (key TEXT PRIMARY KEY, until INTEGER NOT NULL, fingerprint TEXT NOT NULL,
    status INTEGER NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS idempotency_by_end ON idempotency (until);
  CREATE TABLE IF NOT EXISTS usage (flag TEXT NOT NULL, day TEXT NOT NULL, enabled INTEGER NOT NULL,
    disabled INTEGER NOT NULL, last_at TEXT NOT NULL, PRIMARY KEY (flag, day)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS usage_by_day ON usage (day);
  CREATE TABLE IF NOT EXISTS usage_users (flag TEXT NOT NULL, day TEXT NOT NULL, user TEXT NOT NULL,
    PRIMARY KEY (flag, day, user)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS outcomes (flag TEXT NOT NULL, environment TEXT NOT NULL, counters TEXT NOT NULL,
    since TEXT NOT NULL, last_at INTEGER NOT NULL, enabled TEXT NOT NULL, disabled TEXT NOT NULL,
    PRIMARY KEY (flag, environment)) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS outcomes_by_last ON outcomes (last_at);
  CREATE TABLE IF NOT EXISTS recent_outcomes (flag TEXT NOT NULL, environment TEXT NOT NULL, at INTEGER NOT NULL,
    enabled TEXT NOT NULL, disabled TEXT NOT NULL);
  CREATE INDEX IF NOT EXISTS recent_outcomes_by_time ON recent_outcomes (flag, environment, at);
  CREATE INDEX IF NOT EXISTS recent_outcomes_by_age ON recent_outcomes (at);
  CREATE TABLE IF NOT EXISTS deltas (source TEXT PRIMARY KEY, until INTEGER NOT NULL, number INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS deltas_by_end ON deltas (until);
`;

/** Users written or deleted in one transaction: a few milliseconds in which the process does nothing else. */
const USERS_AT_ONCE = 500;

/** Rows, as far as they are read. */
const HeadRow = z.object({ incarnation: z.string(), revision: z.int(), forgotten: z.int() });
const FlagRow = z.object({ revision: z.int(), document: z.string() });
const NameRow = z.object({ name: z.string() });
const AuditRow = z.object({ id: z.int(), revision: z.int(), entry: z.string() });
const RememberedRow = z.object({
  fingerprint: z.string(),
  status: z.int(),
  revision: z.int(),
});
const UsageRow = z.object({ enabled: z.int(), disabled: z.int() });
const LastUsageRow = z.object({ last_at: z.string() });
const FlagDayRow = z.object({ flag: z.string(), day: z.string() });
const CountRow = z.object({ count: z.int() });
const SidesRow = z.object({ enabled: z.string(), disabled: z.string() });
const OutcomesRow = SidesRow.extend({ counters: z.string(), since: z.string() });
const Packed = z.array(z.int());

/** Opens, and where it is not there makes, the file; `:memory:` keeps it in memory. */
export function openSqliteFlagStore(options: { path: string; now?: () => number }): FlagStore {
  try {
    return new SqliteFlagStore(options.path, options.now ?? Date.now);
  } catch (error) {
    throw new StoreUnavailable(`The flag store ${options.path} cannot be opened: ${messageOf(error)}.`, {
      cause: error,
    });
  }
}

/** Flags in one file of one process: Node's own SQLite, which answers at once and needs nothing installed. */
class SqliteFlagStore implements FlagStore {
  readonly kind = 'sqlite';
  readonly #database: DatabaseSync;
  readonly #now: () => number;
  readonly #statements = new Map<string, StatementSync>();
  readonly #listeners = new Listeners();

  constructor(path: string, now: () => number) {
    this.#now = now;
    this.#database = new (loadSqlite().DatabaseSync)(path);
    // Readers are not held up by a writer, and a power cut loses at most the last moment, never the file.
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 2000;');
    this.#database.exec(SCHEMA);
    this.#run('INSERT OR IGNORE INTO head VALUES (1, ?, 0, 0)', randomUUID());
    this.#forgetOutcomes(now());
    // It goes on while the store is used; where it fails, as at a stop between, the next one to ask for usage goes on.
    this.#forgetUsage().catch(() => undefined);
  }

  head(): Promise<StoreHead> {
    return this.#do(() => {
      const { incarnation, revision } = this.#head();
      return { incarnation, revision };
    });
  }

  async changes(since: StoreHead | null, tell: (flag: StoredFlag) => void): Promise<StoreChanges> {
    const { forgotten, ...head } = await this.#do(() => this.#head());
    const complete = isPastTelling(since, { ...head, forgotten });
    let from = complete ? 0 : (since?.revision ?? 0);
    const deleted = complete
      ? []
      : await this.#do(() => this.#all(NameRow, 'SELECT name FROM deletions WHERE revision > ?', from));
    for (;;) {
      const rows = await this.#do(() =>
        this.#all(
          FlagRow,
          'SELECT revision, document FROM flags WHERE revision > ? ORDER BY revision LIMIT ?',
          from,
          FlagDefaults.loadChunk,
        ),
      );
      for (const row of rows) tell(storedFlag(row));
      from = rows.at(-1)?.revision ?? from;
      if (rows.length < FlagDefaults.loadChunk) break;
      await nextTurn();
    }
    return { head, complete, deleted: deleted.map(({ name }) => name) };
  }

  subscribe(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  get(name: string): Promise<StoredFlag | null> {
    return this.#do(() => {
      const row = this.#one(FlagRow, 'SELECT revision, document FROM flags WHERE name = ?', name);
      return row === null ? null : storedFlag(row);
    });
  }

  list({ after, limit }: { after: string | null; limit: number }): Promise<Page<StoredFlag>> {
    return this.#do(() => {
      const rows = this.#all(
        FlagRow,
        'SELECT revision, document FROM flags WHERE name > ? ORDER BY name LIMIT ?',
        after ?? '',
        limit + 1,
      );
      const items = rows.slice(0, limit).map(storedFlag);
      return { items, next: rows.length > limit ? (items.at(-1)?.flag.name ?? null) : null };
    });
  }

  async write(write: FlagWrite): Promise<FlagWritten> {
    const written = await this.#do(() => this.#transaction(() => this.#write(write)));
    if (written.kind === 'written') this.#listeners.tell();
    return written;
  }

  remember({ name, expected, idempotency }: FlagUnchanged): Promise<FlagWritten> {
    return this.#do(() =>
      this.#transaction((): FlagWritten => {
        const known = this.#recall(idempotency.key);
        if (known !== null) return { kind: 'repeated', remembered: known };
        const held = this.#one(FlagRow, 'SELECT revision, document FROM flags WHERE name = ?', name);
        if (held?.revision !== expected) return { kind: 'conflict' };
        this.#remember(idempotency, { now: this.#now(), revision: expected });
        return { kind: 'written', revision: expected };
      }),
    );
  }

  recall(key: string): Promise<Remembered | null> {
    return this.#do(() => this.#recall(key));
  }

  async audit({
    flag,
    before,
    limit,
  }: {
    flag: string | null;
    before: string | null;
    limit: number;
  }): Promise<Page<AuditEntry>> {
    const last = before === null ? Number.MAX_SAFE_INTEGER : countOfCursor(before);
    return this.#do(() => {
      const rows =
        flag === null
          ? this.#all(AuditRow, 'SELECT * FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?', last, limit + 1)
          : this.#all(
              AuditRow,
              'SELECT * FROM audit WHERE flag = ? AND id < ? ORDER BY id DESC LIMIT ?',
              flag,
              last,
              limit + 1,
            );
      const items = rows.slice(0, limit).map(({ id, revision, entry }) => ({
        ...StoredAudit.parse(JSON.parse(entry)),
        id: String(id),
        revision,
      }));
      return { items, next: rows.length > limit ? (items.at(-1)?.id ?? null) : null };
    });
  }

  async addUsage(deltas: readonly UsageDelta[]): Promise<void> {
    for (const delta of deltas) {
      const { flag, day, enabled, disabled, users, lastAt, identity } = delta;
      const known = await this.#do(() =>
        this.#transaction(() => {
          if (!this.#isThere(delta)) return false;
          // Of its users some may be missing, and none is counted twice.
          if (!this.#isNew(identity)) return true;
          this.#run(
            `INSERT INTO usage VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET enabled = enabled + excluded.enabled,
              disabled = disabled + excluded.disabled, last_at = excluded.last_at`,
            flag,
            day,
            enabled,
            disabled,
            lastAt,
          );
          return true;
        }),
      );
      for (let at = 0; known && at < users.length; at += USERS_AT_ONCE) {
        const some = users.slice(at, at + USERS_AT_ONCE);
        await this.#do(() =>
          this.#transaction(() => {
            // Deleted between two of them, with its usage.
            if (this.#one(FlagDayRow, 'SELECT flag, day FROM usage WHERE flag = ? AND day = ?', flag, day) === null)
              return;
            // Not the id itself: a count needs none, and then the file has none.
            for (const user of some) {
              this.#run(
                'INSERT OR IGNORE INTO usage_users VALUES (?, ?, ?)',
                flag,
                day,
                hash('sha256', user, 'base64url').slice(0, 16),
              );
            }
          }),
        );
        await nextTurn();
      }
    }
    await this.#forgetUsage();
  }

  async usage(flag: string, days: readonly string[]): Promise<FlagUsage> {
    await this.#forgetUsage();
    return this.#do(() => {
      const found = days.map((day) => ({
        day,
        row: this.#one(UsageRow, 'SELECT enabled, disabled FROM usage WHERE flag = ? AND day = ?', flag, day),
        users: this.#count('SELECT count(*) AS count FROM usage_users WHERE flag = ? AND day = ?', flag, day),
      }));
      // Of any day: a flag that was not asked for on these may have been before.
      const last = 'SELECT last_at FROM usage WHERE flag = ? ORDER BY day DESC LIMIT 1';
      const all = `SELECT count(DISTINCT user) AS count FROM usage_users WHERE flag = ? AND day IN (${days.map(() => '?').join()})`;
      return {
        days: found.map(({ day, row, users }) => ({
          day,
          enabled: row?.enabled ?? 0,
          disabled: row?.disabled ?? 0,
          unique_users: users,
        })),
        unique_users: this.#count(all, flag, ...days),
        last_evaluated_at: this.#one(LastUsageRow, last, flag)?.last_at ?? null,
      };
    });
  }

  addOutcomes(delta: OutcomeDelta, idempotency: Idempotency | null): Promise<OutcomesAdded> {
    return this.#do(() => this.#transaction(() => this.#addOutcomes(delta, idempotency)));
  }

  outcomes({ flag, environment, windowMs }: OutcomeQuery): Promise<FlagOutcomes | null> {
    return this.#do(() => {
      const now = this.#now();
      const held = this.#heldOutcomes(flag, environment, now);
      if (held === null) return null;
      const recent = this.#all(
        SidesRow,
        'SELECT enabled, disabled FROM recent_outcomes WHERE flag = ? AND environment = ? AND at > ?',
        flag,
        environment,
        now - windowMs,
      );
      const { counters, since } = held;
      return { counters, since, ...sidesOf(held), recent: recent.map(sidesOf).reduce(addSides, NO_SIDES) };
    });
  }

  close(): Promise<void> {
    return this.#do(() => this.#database.close());
  }

  /** What is past its days, also of flags that nobody asks any more. */
  async #forgetUsage(): Promise<void> {
    const day = usageDay(this.#now() - FlagDefaults.usageKeptDays * 86_400_000);
    for (;;) {
      const more = await this.#do(() => {
        const old = this.#one(FlagDayRow, 'SELECT flag, day FROM usage WHERE day <= ? LIMIT 1', day);
        if (old === null) return false;
        this.#transaction(() => {
          const deleted = this.#run(
            `DELETE FROM usage_users WHERE flag = ?1 AND day = ?2 AND user IN
              (SELECT user FROM usage_users WHERE flag = ?1 AND day = ?2 LIMIT ?3)`,
            old.flag,
            old.day,
            USERS_AT_ONCE,
          );
          // The day itself goes last, so that its users are found again after a stop between.
          if (deleted < USERS_AT_ONCE) this.#run('DELETE FROM usage WHERE flag = ? AND day = ?', old.flag, old.day);
        });
        return true;
      });
      if (!more) return;
      await nextTurn();
    }
  }

  #forgetOutcomes(now: number): void {
    this.#run('DELETE FROM outcomes WHERE last_at <= ?', outcomesEnd(now));
    this.#run('DELETE FROM recent_outcomes WHERE at <= ?', now - OUTCOME_WINDOW_MS);
  }

  #write({ name, expected, next, audit, idempotency }: FlagWrite): FlagWritten {
    const known = idempotency === null ? null : this.#recall(idempotency.key);
    if (known !== null) return { kind: 'repeated', remembered: known };
    const held = this.#one(FlagRow, 'SELECT revision, document FROM flags WHERE name = ?', name);
    if ((held?.revision ?? null) !== expected) return { kind: 'conflict' };
    const now = this.#now();
    const revision = nextRevision(this.#head().revision, now);
    this.#run('UPDATE head SET revision = ?', revision);
    const document = next === null ? null : JSON.stringify(next);
    if (document === null) {
      this.#run('DELETE FROM flags WHERE name = ?', name);
      this.#run('DELETE FROM usage WHERE flag = ?', name);
      this.#run('DELETE FROM usage_users WHERE flag = ?', name);
      this.#run('DELETE FROM outcomes WHERE flag = ?', name);
      this.#run('DELETE FROM recent_outcomes WHERE flag = ?', name);
      this.#run('INSERT OR REPLACE INTO deletions VALUES (?, ?)', name, revision);
      this.#forgetDeletions();
    } else {
      this.#run('INSERT OR REPLACE INTO flags VALUES (?, ?, ?)', name, revision, document);
      this.#run('DELETE FROM deletions WHERE name = ?', name);
    }
    this.#run('INSERT INTO audit (flag, revision, entry) VALUES (?, ?, ?)', name, revision, JSON.stringify(audit));
    this.#run('DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?', FlagDefaults.auditKept);
    if (idempotency !== null) this.#remember(idempotency, { now, revision });
    return { kind: 'written', revision };
  }

  #addOutcomes(
    { flag, createdAt, environment, identity, ...sides }: OutcomeDelta,
    idempotency: Idempotency | null,
  ): OutcomesAdded {
    const known = idempotency === null ? null : this.#recall(idempotency.key);
    if (known !== null) return { kind: 'repeated', remembered: known };
    if (!this.#isThere({ flag, createdAt })) return { kind: 'unknown' };
    if (!this.#isNew(identity)) return { kind: 'added' };
    const now = this.#now();
    const held = this.#heldOutcomes(flag, environment, now);
    const total = held === null ? sides : addSides(sidesOf(held), sides);
    this.#run(
      'INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?)',
      flag,
      environment,
      held?.counters ?? randomUUID(),
      held?.since ?? new Date(now).toISOString(),
      now,
      packed(total.enabled),
      packed(total.disabled),
    );
    this.#forgetOutcomes(now);
    this.#run(
      'INSERT INTO recent_outcomes VALUES (?, ?, ?, ?, ?)',
      flag,
      environment,
      now,
      packed(sides.enabled),
      packed(sides.disabled),
    );
    if (idempotency !== null) this.#remember(idempotency, { now, revision: this.#head().revision });
    return { kind: 'added' };
  }

  /** Whether its flag is there, and no other one of the name. */
  #isThere({ flag, createdAt }: { readonly flag: string; readonly createdAt?: string | undefined }): boolean {
    const found = `SELECT name FROM flags WHERE name = ?1 AND (?2 IS NULL OR json_extract(document, '$.created_at') = ?2)`;
    return this.#one(NameRow, found, flag, createdAt ?? null) !== null;
  }

  /** Whether a delta was not counted before; with the transaction that counts it, it is not new again. */
  #isNew(identity: DeltaIdentity | undefined): boolean {
    if (identity === undefined) return true;
    const now = this.#now();
    this.#run('DELETE FROM deltas WHERE until <= ?', now);
    const changed = this.#run(
      `INSERT INTO deltas VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET until = excluded.until, number = excluded.number
        WHERE number < excluded.number`,
      identity.source,
      now + FlagDefaults.idempotencySeconds * 1000,
      identity.number,
    );
    return changed > 0;
  }

  /** What was counted, unless nobody added to it for too long. */
  #heldOutcomes(flag: string, environment: string, now: number): z.infer<typeof OutcomesRow> | null {
    return this.#one(
      OutcomesRow,
      'SELECT counters, since, enabled, disabled FROM outcomes WHERE flag = ? AND environment = ? AND last_at > ?',
      flag,
      environment,
      outcomesEnd(now),
    );
  }

  #remember(
    { key, fingerprint, status }: Idempotency,
    { now, revision }: { readonly now: number; readonly revision: number },
  ): void {
    this.#run('DELETE FROM idempotency WHERE until <= ?', now);
    const until = now + FlagDefaults.idempotencySeconds * 1000;
    this.#run('INSERT INTO idempotency VALUES (?, ?, ?, ?, ?)', key, until, fingerprint, status, revision);
  }

  #forgetDeletions(): void {
    const over = this.#count('SELECT count(*) AS count FROM deletions') - FlagDefaults.deletionsKept;
    if (over <= 0) return;
    const last = this.#one(
      z.object({ revision: z.int() }),
      'SELECT revision FROM deletions ORDER BY revision LIMIT 1 OFFSET ?',
      over - 1,
    );
    if (last === null) return;
    this.#run('DELETE FROM deletions WHERE revision <= ?', last.revision);
    this.#run('UPDATE head SET forgotten = ?', last.revision);
  }

  #recall(key: string): Remembered | null {
    return this.#one(
      RememberedRow,
      'SELECT fingerprint, status, revision FROM idempotency WHERE key = ? AND until > ?',
      key,
      this.#now(),
    );
  }

  #head(): z.infer<typeof HeadRow> {
    const head = this.#one(HeadRow, 'SELECT incarnation, revision, forgotten FROM head');
    if (head === null) throw new Error('the table head is empty');
    return head;
  }

  /** SQLite answers at once; what it throws is told as any store's failure is. */
  #do<T>(work: () => T): Promise<T> {
    try {
      return Promise.resolve(work());
    } catch (error) {
      return Promise.reject(
        new StoreUnavailable(`The flag store's file cannot be used: ${messageOf(error)}.`, { cause: error }),
      );
    }
  }

  #transaction<T>(work: () => T): T {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.#database.exec('COMMIT');
      return result;
    } catch (error) {
      this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  #prepared(sql: string): StatementSync {
    const known = this.#statements.get(sql) ?? this.#database.prepare(sql);
    this.#statements.set(sql, known);
    return known;
  }

  /** Answers how many rows it changed. */
  #run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#prepared(sql).run(...values).changes);
  }

  #one<T>(row: z.ZodType<T>, sql: string, ...values: SQLInputValue[]): T | null {
    const found = this.#prepared(sql).get(...values);
    return found === undefined ? null : row.parse({ ...found });
  }

  #all<T>(row: z.ZodType<T>, sql: string, ...values: SQLInputValue[]): T[] {
    return this.#prepared(sql)
      .all(...values)
      .map((found) => row.parse({ ...found }));
  }

  #count(sql: string, ...values: SQLInputValue[]): number {
    return this.#one(CountRow, sql, ...values)?.count ?? 0;
  }
}

/** Outcomes whose last was counted no later than this are gone. */
function outcomesEnd(now: number): number {
  return now - FlagDefaults.outcomesKeptDays * 86_400_000;
}

function packed(counts: OutcomeCounts): string {
  return JSON.stringify(packCounts(counts));
}

function sidesOf({ enabled, disabled }: z.infer<typeof SidesRow>): SideCounts {
  return { enabled: unpacked(enabled), disabled: unpacked(disabled) };
}

function unpacked(text: string): OutcomeCounts {
  return unpackCounts(Packed.parse(JSON.parse(text)));
}

function storedFlag({ revision, document }: z.infer<typeof FlagRow>): StoredFlag {
  return { flag: FlagDocument.parse(JSON.parse(document)), revision };
}

/**
 * Node's SQLite, without the line on stderr that calls it experimental: what it does is held by our own tests, and the
 * line would be the first thing that every user of `sluice flags-server` reads.
 */
function loadSqlite(): typeof Sqlite {
  const emitWarning = process.emitWarning.bind(process);
  process.emitWarning = ((warning: string | Error, ...rest: unknown[]) => {
    if (String(warning).includes('SQLite')) return;
    (emitWarning as (...all: unknown[]) => void)(warning, ...rest);
  }) as typeof process.emitWarning;
  try {
    // Only when it is asked for, and after the warning is silenced.
    // eslint-disable-next-line @typescript-eslint/no-require-imports
    return require('node:sqlite') as typeof Sqlite;
  } finally {
    process.emitWarning = emitWarning;
  }
}
