import { messageOf } from '../errors';
import { FlagDefaults } from './defaults';
import type { FlagLogger } from './logger';
import { usageDay } from './store';
import type { FlagStore, UsageDelta } from './store';

interface Counts {
  enabled: number;
  disabled: number;
  users: Set<string>;
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
  #counts = new Map<string, Counts>();
  #flushing: Promise<void> = Promise.resolve();
  #failing = false;

  constructor({ store, logger, now = Date.now, flushMs = FlagDefaults.usageFlushMs }: UsageRecorderOptions) {
    this.#store = store;
    this.#logger = logger;
    this.#now = now;
    this.#timer = setInterval(() => void this.flush(), flushMs);
    this.#timer.unref();
  }

  /** Counts one check. */
  record(flag: string, enabled: boolean, userId: string | null): void {
    let counts = this.#counts.get(flag);
    if (counts === undefined) {
      counts = { enabled: 0, disabled: 0, users: new Set() };
      this.#counts.set(flag, counts);
    }
    if (enabled) counts.enabled += 1;
    else counts.disabled += 1;
    // While the store is away the numbers go on, and only the users beyond the bound are not told apart.
    if (userId !== null && counts.users.size < FlagDefaults.usageUsersBuffered) counts.users.add(userId);
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
    if (this.#counts.size === 0) return;
    const counts = this.#counts;
    this.#counts = new Map();
    const nowMs = this.#now();
    const common = { day: usageDay(nowMs), lastAt: new Date(nowMs).toISOString() };
    const failed = new Map<string, Counts>();
    for (const [flag, { enabled, disabled, users }] of counts) {
      const delta: UsageDelta = { ...common, flag, enabled, disabled, users: [...users] };
      try {
        // After one failure the others would only wait for the same.
        if (failed.size > 0) throw new Error('the store is away');
        await this.#store.addUsage([delta]);
        this.#failing = false;
      } catch (error) {
        if (!this.#failing) {
          this.#logger.warn('usage cannot be written; it is kept and tried again', { error: messageOf(error) });
        }
        this.#failing = true;
        failed.set(flag, { enabled, disabled, users });
      }
    }
    for (const [flag, { enabled, disabled, users }] of failed) {
      const newer = this.#counts.get(flag);
      for (const user of newer?.users ?? []) if (users.size < FlagDefaults.usageUsersBuffered) users.add(user);
      this.#counts.set(flag, {
        enabled: enabled + (newer?.enabled ?? 0),
        disabled: disabled + (newer?.disabled ?? 0),
        users,
      });
    }
  }
}
