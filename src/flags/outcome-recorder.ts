import { messageOf } from '../errors';
import { someAtOnce } from './at-once';
import { FlagDefaults } from './defaults';
import { DeltaIdentities } from './delta';
import type { FlagLogger } from './logger';
import { addOutcome, addSides, NO_SIDES } from './outcomes';
import type { Outcome, OutcomeDelta, Side, SideCounts } from './outcomes';
import { SharedRuns } from './shared-runs';
import type { FlagStore } from './store';

export interface OutcomeRecorderOptions {
  readonly store: Pick<FlagStore, 'addOutcomes'>;
  readonly logger: FlagLogger;
  /** Between two flushes, milliseconds; default 500. */
  readonly flushMs?: number;
}

/** An outcome and where it belongs. */
export interface SidedOutcome extends Outcome {
  readonly side: Side;
}

/** What is held of one flag in one environment. */
interface Held {
  /** Sent, and nobody said that it is counted. */
  sent: OutcomeDelta | null;
  /** Since then. */
  counted: OutcomeDelta | null;
}

/** Outcomes of one request as they are counted. */
export function countOutcomes(outcomes: readonly SidedOutcome[]): SideCounts {
  const sides: Record<Side, SideCounts[Side]> = { ...NO_SIDES };
  for (const { side, ...outcome } of outcomes) sides[side] = addOutcome(sides[side], outcome);
  return sides;
}

/**
 * Counts outcomes in memory and hands them on within a second, as usage is. What a crash loses is what was counted since
 * the last flush; a stop in order loses nothing. What the store did not answer for is sent again as it was.
 */
export class OutcomeRecorder {
  readonly #store: Pick<FlagStore, 'addOutcomes'>;
  readonly #logger: FlagLogger;
  readonly #timer: NodeJS.Timeout;
  readonly #held = new Map<string, Held>();
  readonly #identities = new DeltaIdentities();
  readonly #flushes = new SharedRuns(() => this.#flush());
  #failing = false;

  constructor({ store, logger, flushMs = FlagDefaults.usageFlushMs }: OutcomeRecorderOptions) {
    this.#store = store;
    this.#logger = logger;
    this.#timer = setInterval(() => void this.flush(), flushMs);
    this.#timer.unref();
  }

  /** Counts them; false: so many flags are waiting for the store that these are not taken. */
  add(delta: OutcomeDelta): boolean {
    // Neither has a ":".
    const key = `${delta.flag}:${delta.environment}`;
    let held = this.#held.get(key);
    if (held === undefined) {
      if (this.#held.size >= FlagDefaults.outcomeKeysBuffered) return false;
      held = { sent: null, counted: null };
      this.#held.set(key, held);
    }
    // What was counted of another flag of the name is none of this one, and nobody asks for it any more.
    const isMore = held.counted !== null && held.counted.createdAt === delta.createdAt;
    held.counted = held.counted !== null && isMore ? { ...delta, ...addSides(held.counted, delta) } : delta;
    return true;
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
      await someAtOnce([...this.#held], FlagDefaults.deltasAtOnce, ([key, held]) => this.#handOn(key, held));
    } catch (error) {
      // The other flags would only wait for the same.
      if (!this.#failing) {
        this.#logger.warn('outcomes cannot be written; they are kept and tried again', { error: messageOf(error) });
      }
      this.#failing = true;
    }
  }

  async #handOn(key: string, held: Held): Promise<void> {
    try {
      if (held.sent !== null) await this.#send(held, held.sent);
      if (held.counted !== null) {
        const delta = { ...held.counted, identity: this.#identities.next(key) };
        held.counted = null;
        await this.#send(held, delta);
      }
    } catch (error) {
      // This one is the last of the next time, should it be its own fault.
      this.#held.delete(key);
      this.#held.set(key, held);
      throw error;
    }
    // Unless more came meanwhile.
    if (held.counted === null) this.#held.delete(key);
  }

  async #send(held: Held, delta: OutcomeDelta): Promise<void> {
    held.sent = delta;
    await this.#store.addOutcomes(delta, null);
    held.sent = null;
    this.#failing = false;
  }
}
