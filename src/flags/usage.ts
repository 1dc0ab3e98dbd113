import { messageOf } from '../errors';
import { someAtOnce } from './at-once';
import { FlagDefaults } from './defaults';
import { DeltaIdentities } from './delta';
import type { FlagLogger } from './logger';
import { SharedRuns } from './shared-runs';
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
  /** When the flag was made; null: nobody asks which one of the name it is. */
  readonly createdAt: string | null;
  #counts: Counts = { enabled: 0, disabled: 0, users: new Set() };
  readonly #full: () => void;

  /**
   * @param createdAt - goes with what is counted, so that a store can tell the flag from another of the name
   * @param full - told when no more users can be told apart until what was counted is taken
   */
  constructor(createdAt: string | null, full: () => void) {
    this.createdAt = createdAt;
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
 * what was counted since the last flush; a stop in order loses nothing. What the store did not answer for is sent again as
 * it was, because it may have been counted all the same; what is counted meanwhile waits for that.
 */
export class UsageRecorder {
  readonly #store: Pick<FlagStore, 'addUsage'>;
  readonly #logger: FlagLogger;
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout;
  readonly #counters = new Map<string, UsageCounter>();
  /** By flag: what was sent, and what nobody said of that it is counted. */
  readonly #sent = new Map<string, UsageDelta>();
  readonly #identities = new DeltaIdentities();
  readonly #flushes = new SharedRuns(() => this.#flush());
  #failing = false;

  constructor({ store, logger, now = Date.now, flushMs = FlagDefaults.usageFlushMs }: UsageRecorderOptions) {
    this.#store = store;
    this.#logger = logger;
    this.#now = now;
    this.#timer = setInterval(() => void this.flush(), flushMs);
    this.#timer.unref();
  }

  /** The counter of a flag, always the same. That of another flag of the name is dropped, with what it has counted. */
  of(flag: string, createdAt: string | null = null): UsageCounter {
    let counter = this.#counters.get(flag);
    if (counter?.createdAt !== createdAt) {
      counter = new UsageCounter(createdAt, () => void this.flush());
      this.#counters.set(flag, counter);
    }
    return counter;
  }

  /** Hands everything counted so far on; what the store does not take is kept for the next time. Never throws. */
  flush(): Promise<void> {
    return this.#flushes.run();
  }

  /** The last flush, at a stop. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  async #flush(): Promise<void> {
    try {
      await someAtOnce(this.#counters, FlagDefaults.deltasAtOnce, async ([flag, counter]) => {
        const unanswered = this.#sent.get(flag);
        if (unanswered !== undefined) await this.#send(unanswered);
        const delta = this.#take(flag, counter);
        if (delta !== null) await this.#send(delta);
      });
    } catch (error) {
      // The other flags would only wait for the same.
      if (!this.#failing) {
        this.#logger.warn('usage cannot be written; it is kept and tried again', { error: messageOf(error) });
      }
      this.#failing = true;
    }
  }

  #take(flag: string, counter: UsageCounter): UsageDelta | null {
    const counts = counter.take();
    if (counts === null) return null;
    const nowMs = this.#now();
    const { enabled, disabled, users } = counts;
    return {
      flag,
      ...(counter.createdAt === null ? {} : { createdAt: counter.createdAt }),
      day: usageDay(nowMs),
      enabled,
      disabled,
      users: [...users],
      lastAt: new Date(nowMs).toISOString(),
      identity: this.#identities.next(flag),
    };
  }

  async #send(delta: UsageDelta): Promise<void> {
    this.#sent.set(delta.flag, delta);
    await this.#store.addUsage([delta]);
    this.#sent.delete(delta.flag);
    this.#failing = false;
  }
}
