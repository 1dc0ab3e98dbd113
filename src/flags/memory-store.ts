import { randomUUID } from 'node:crypto';
import { FlagDefaults } from './defaults';
import type { DeltaIdentity } from './delta';
import type { StoredFlag } from './flag';
import { Listeners } from './listeners';
import { addSides, NO_SIDES, OUTCOME_WINDOW_MS } from './outcomes';
import type { FlagOutcomes, OutcomeDelta, SideCounts } from './outcomes';
import { countOfCursor, isPastTelling, nextRevision, usageDay } from './store';
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

interface DayCounts {
  enabled: number;
  disabled: number;
  readonly users: Set<string>;
}

interface Outcomes {
  readonly counters: string;
  readonly since: string;
  total: SideCounts;
  /** In the order in which they came. */
  readonly recent: { readonly at: number; readonly counts: SideCounts }[];
  lastAt: number;
}

/** Flags in this process alone, gone with it: for trying things out, and for tests. */
export class MemoryFlagStore implements FlagStore {
  readonly kind = 'memory';
  readonly #now: () => number;
  readonly #incarnation = randomUUID();
  readonly #flags = new Map<string, StoredFlag>();
  readonly #deleted = new Map<string, number>();
  /** Deletions up to here may have been forgotten. */
  #forgotten = 0;
  #audit: AuditEntry[] = [];
  #auditCount = 0;
  readonly #remembered = new Map<string, { readonly until: number; readonly answer: Remembered }>();
  readonly #usage = new Map<string, { readonly days: Map<string, DayCounts>; lastAt: string | null }>();
  /** Usage up to this day is gone. */
  #forgottenDay = '';
  /** By flag, then by environment. */
  readonly #outcomes = new Map<string, Map<string, Outcomes>>();
  /** The number of the last delta of each source. */
  readonly #deltas = new Map<string, number>();
  readonly #listeners = new Listeners();
  #revision = 0;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  head(): Promise<StoreHead> {
    return Promise.resolve({ incarnation: this.#incarnation, revision: this.#revision });
  }

  async changes(since: StoreHead | null, tell: (flag: StoredFlag) => void): Promise<StoreChanges> {
    const head = await this.head();
    const complete = isPastTelling(since, { ...head, forgotten: this.#forgotten });
    const from = complete ? 0 : (since?.revision ?? 0);
    for (const flag of [...this.#flags.values()]) if (flag.revision > from) tell(flag);
    const deleted = complete
      ? []
      : [...this.#deleted].flatMap(([name, revision]) => (revision > from && !this.#flags.has(name) ? [name] : []));
    return { head, complete, deleted };
  }

  subscribe(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  get(name: string): Promise<StoredFlag | null> {
    return Promise.resolve(this.#flags.get(name) ?? null);
  }

  list({ after, limit }: { after: string | null; limit: number }): Promise<Page<StoredFlag>> {
    const names = [...this.#flags.keys()].sort().filter((name) => after === null || name > after);
    const items = names.slice(0, limit).flatMap((name) => this.#flags.get(name) ?? []);
    return Promise.resolve({ items, next: names.length > limit ? (items.at(-1)?.flag.name ?? null) : null });
  }

  write({ name, expected, next, audit, idempotency }: FlagWrite): Promise<FlagWritten> {
    const known = idempotency === null ? null : this.#recall(idempotency.key);
    if (known !== null) return Promise.resolve({ kind: 'repeated', remembered: known });
    if ((this.#flags.get(name)?.revision ?? null) !== expected) return Promise.resolve({ kind: 'conflict' });
    const revision = nextRevision(this.#revision, this.#now());
    this.#revision = revision;
    if (next === null) {
      this.#flags.delete(name);
      this.#usage.delete(name);
      this.#outcomes.delete(name);
      this.#noteDeletion(name, revision);
    } else {
      this.#flags.set(name, { flag: next, revision });
      this.#deleted.delete(name);
    }
    this.#auditCount += 1;
    this.#audit.push({ ...audit, id: String(this.#auditCount), revision });
    if (this.#audit.length > FlagDefaults.auditKept) this.#audit = this.#audit.slice(-FlagDefaults.auditKept / 2);
    if (idempotency !== null) this.#remember(idempotency.key, { ...idempotency, revision });
    this.#listeners.tell();
    return Promise.resolve({ kind: 'written', revision });
  }

  remember({ name, expected, idempotency }: FlagUnchanged): Promise<FlagWritten> {
    const known = this.#recall(idempotency.key);
    if (known !== null) return Promise.resolve({ kind: 'repeated', remembered: known });
    if (this.#flags.get(name)?.revision !== expected) return Promise.resolve({ kind: 'conflict' });
    this.#remember(idempotency.key, { ...idempotency, revision: expected });
    return Promise.resolve({ kind: 'written', revision: expected });
  }

  recall(key: string): Promise<Remembered | null> {
    return Promise.resolve(this.#recall(key));
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
    const last = before === null ? Infinity : countOfCursor(before);
    const found = this.#audit.filter((entry) => (flag === null || entry.flag === flag) && Number(entry.id) < last);
    const items = found.slice(-limit).reverse();
    return { items, next: found.length > limit ? (items.at(-1)?.id ?? null) : null };
  }

  addUsage(deltas: readonly UsageDelta[]): Promise<void> {
    const oldest = usageDay(this.#now() - FlagDefaults.usageKeptDays * 86_400_000);
    for (const delta of deltas) {
      if (!this.#isThere(delta) || delta.day <= oldest || !this.#isNew(delta.identity)) continue;
      const usage = this.#usage.get(delta.flag) ?? { days: new Map<string, DayCounts>(), lastAt: null };
      this.#usage.set(delta.flag, usage);
      const day = usage.days.get(delta.day) ?? { enabled: 0, disabled: 0, users: new Set() };
      usage.days.set(delta.day, day);
      day.enabled += delta.enabled;
      day.disabled += delta.disabled;
      for (const user of delta.users) day.users.add(user);
      usage.lastAt = delta.lastAt;
    }
    this.#forgetUsage(oldest);
    return Promise.resolve();
  }

  usage(flag: string, days: readonly string[]): Promise<FlagUsage> {
    this.#forgetUsage(usageDay(this.#now() - FlagDefaults.usageKeptDays * 86_400_000));
    const usage = this.#usage.get(flag);
    const found = days.map((day) => ({ day, counts: usage?.days.get(day) }));
    const users = new Set(found.flatMap(({ counts }) => (counts === undefined ? [] : [...counts.users])));
    return Promise.resolve({
      days: found.map(({ day, counts }) => ({
        day,
        enabled: counts?.enabled ?? 0,
        disabled: counts?.disabled ?? 0,
        unique_users: counts?.users.size ?? 0,
      })),
      unique_users: users.size,
      last_evaluated_at: usage?.lastAt ?? null,
    });
  }

  addOutcomes(delta: OutcomeDelta, idempotency: Idempotency | null): Promise<OutcomesAdded> {
    const known = idempotency === null ? null : this.#recall(idempotency.key);
    if (known !== null) return Promise.resolve({ kind: 'repeated', remembered: known });
    const { flag, environment, enabled, disabled } = delta;
    if (!this.#isThere(delta)) return Promise.resolve({ kind: 'unknown' });
    if (!this.#isNew(delta.identity)) return Promise.resolve({ kind: 'added' });
    const now = this.#now();
    const ofFlag = this.#outcomes.get(flag) ?? new Map<string, Outcomes>();
    this.#outcomes.set(flag, ofFlag);
    const held = this.#kept(ofFlag.get(environment), now) ?? {
      counters: randomUUID(),
      since: new Date(now).toISOString(),
      total: NO_SIDES,
      recent: [],
      lastAt: now,
    };
    ofFlag.set(environment, held);
    const counts = { enabled, disabled };
    held.total = addSides(held.total, counts);
    const kept = held.recent.findIndex(({ at }) => at > now - OUTCOME_WINDOW_MS);
    held.recent.splice(0, kept === -1 ? held.recent.length : kept);
    held.recent.push({ at: now, counts });
    held.lastAt = now;
    if (idempotency !== null) this.#remember(idempotency.key, { ...idempotency, revision: this.#revision });
    return Promise.resolve({ kind: 'added' });
  }

  outcomes({ flag, environment, windowMs }: OutcomeQuery): Promise<FlagOutcomes | null> {
    const now = this.#now();
    const held = this.#kept(this.#outcomes.get(flag)?.get(environment), now);
    if (held === null) return Promise.resolve(null);
    const { counters, since, total, recent } = held;
    const within = recent.filter(({ at }) => at > now - windowMs).map(({ counts }) => counts);
    return Promise.resolve({ counters, since, ...total, recent: within.reduce(addSides, NO_SIDES) });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #kept(outcomes: Outcomes | undefined, now: number): Outcomes | null {
    if (outcomes === undefined || outcomes.lastAt <= now - FlagDefaults.outcomesKeptDays * 86_400_000) return null;
    return outcomes;
  }

  /** Up to this day, also of flags that nobody asks any more. */
  #forgetUsage(oldest: string): void {
    if (oldest === this.#forgottenDay) return;
    for (const [flag, { days }] of this.#usage) {
      for (const day of days.keys()) if (day <= oldest) days.delete(day);
      if (days.size === 0) this.#usage.delete(flag);
    }
    this.#forgottenDay = oldest;
  }

  /** Whether its flag is there, and no other one of the name. */
  #isThere({ flag, createdAt }: Pick<UsageDelta, 'flag' | 'createdAt'>): boolean {
    const held = this.#flags.get(flag);
    return held !== undefined && (createdAt === undefined || held.flag.created_at === createdAt);
  }

  /** Whether a delta was not counted before; it is then to be counted, and is not new again. */
  #isNew(identity: DeltaIdentity | undefined): boolean {
    if (identity === undefined) return true;
    const { source, number } = identity;
    if ((this.#deltas.get(source) ?? 0) >= number) return false;
    this.#deltas.set(source, number);
    return true;
  }

  #recall(key: string): Remembered | null {
    const known = this.#remembered.get(key);
    return known === undefined || known.until <= this.#now() ? null : known.answer;
  }

  #remember(key: string, { fingerprint, status, revision }: Remembered): void {
    const now = this.#now();
    // In the order of their writing, which is that of their end.
    for (const [old, { until }] of this.#remembered) {
      if (until > now) break;
      this.#remembered.delete(old);
    }
    this.#remembered.delete(key);
    this.#remembered.set(key, {
      until: now + FlagDefaults.idempotencySeconds * 1000,
      answer: { fingerprint, status, revision },
    });
  }

  #noteDeletion(name: string, revision: number): void {
    this.#deleted.delete(name);
    this.#deleted.set(name, revision);
    if (this.#deleted.size <= FlagDefaults.deletionsKept) return;
    const [oldest] = this.#deleted;
    if (oldest === undefined) return;
    this.#deleted.delete(oldest[0]);
    this.#forgotten = oldest[1];
  }
}
