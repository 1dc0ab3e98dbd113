import { messageOf } from '../errors';
import { FlagDefaults } from './defaults';
import type { FlagLogger } from './logger';
import { usageDay } from './store';
import type { FlagStore, UsageDelta } from './store';

/** What was counted and not yet handed on. */
interface Counts {
  enabled: number;
  disabled: number;
  users: Set<string>;
}

/** Counts the checks of one flag; whoever counts often has one at hand. */
export class UsageCounter {
  #counts: Counts = { enabled: 0, disabled: 0, users: new Set() };
  readonly #full: () => void;

  /** @param full - told when no more users can be told apart until what was counted is taken */
  constructor(full: () => void) {
    this.#full = full;
  }

  /** Counts one check. */
  record(enabled: boolean, userId: string | null): void {
    const counts = this.#counts;
    if (enabled) counts.enabled += 1;
    else counts.disabled += 1;
    // While the store is away the numbers go on, and only the users beyond the bound are not told apart.
    if (userId === null || counts.users.size >= FlagDefaults.usageUsersBuffered) return;
    counts.users.add(userId);
    if (counts.users.size === FlagDefaults.usageUsersBuffered) this.#full();
  }

  /** What was counted, which is counted here no longer; null: nothing. */
  take(): Counts | null {
    const counts = this.#counts;
    if (counts.enabled + counts.disabled === 0) return null;
    this.#counts = { enabled: 0, disabled: 0, users: new Set() };
    return counts;
  }

  /** What was taken and could not be handed on, beside what was counted since. */
  giveBack(taken: Counts): void {
    const { enabled, disabled, users } = this.#counts;
    for (const user of users) if (taken.users.size < FlagDefaults.usageUsersBuffered) taken.users.add(user);
    this.#counts = { enabled: taken.enabled + enabled, disabled: taken.disabled + disabled, users: taken.users };
  }
}

export interface UsageRecorderOptions {
  readonly store: Pick<FlagStore, 'addUsage'>;
  readonly logger: FlagLogger;
  readonly now?: () => number;
  /** Between two flushes, milliseconds; default 500. */
  readonly flushMs?: number;
}

/**
 * Counts checks in memory and hands them on within a second, so that no check waits for a store. What a crash loses is
 * what was counted since the last flush; a stop in order loses nothing.
 */
export class UsageRecorder {
  readonly #store: Pick<FlagStore, 'addUsage'>;
  readonly #logger: FlagLogger;
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout;
  readonly #counters = new Map<string, UsageCounter>();
  #flushing: Promise<void> = Promise.resolve();
  #failing = false;

  constructor({ store, logger, now = Date.now, flushMs = FlagDefaults.usageFlushMs }: UsageRecorderOptions) {
    this.#store = store;
    this.#logger = logger;
    this.#now = now;
    this.#timer = setInterval(() => void this.flush(), flushMs);
    this.#timer.unref();
  }

  /** The counter of a flag, always the same. */
  of(flag: string): UsageCounter {
    let counter = this.#counters.get(flag);
    if (counter === undefined) {
      counter = new UsageCounter(() => void this.flush());
      this.#counters.set(flag, counter);
    }
    return counter;
  }

  /** Hands everything counted so far on; what the store does not take is kept for the next time. Never throws. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#flush());
    return this.#flushing;
  }

  /** The last flush, at a stop. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  async #flush(): Promise<void> {
    const taken = [...this.#counters].flatMap(([flag, counter]) => {
      const counts = counter.take();
      return counts === null ? [] : [{ flag, counter, counts }];
    });
    if (taken.length === 0) return;
    const nowMs = this.#now();
    const common = { day: usageDay(nowMs), lastAt: new Date(nowMs).toISOString() };
    let isAway = false;
    for (const { flag, counter, counts } of taken) {
      const { enabled, disabled, users } = counts;
      const delta: UsageDelta = { ...common, flag, enabled, disabled, users: [...users] };
      try {
        // After one failure the others would only wait for the same.
        if (isAway) throw new Error('the store is away');
        await this.#store.addUsage([delta]);
        this.#failing = false;
      } catch (error) {
        if (!this.#failing) {
          this.#logger.warn('usage cannot be written; it is kept and tried again', { error: messageOf(error) });
        }
        this.#failing = true;
        isAway = true;
        counter.giveBack(counts);
      }
    }
  }
}
