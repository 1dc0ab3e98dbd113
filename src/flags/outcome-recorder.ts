import { messageOf } from '../errors';
import { FlagDefaults } from './defaults';
import type { FlagLogger } from './logger';
import { addOutcome, addSides, NO_SIDES } from './outcomes';
import type { Outcome, OutcomeDelta, Side, SideCounts } from './outcomes';
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

/** Outcomes of one request as they are counted. */
export function countOutcomes(outcomes: readonly SidedOutcome[]): SideCounts {
  const sides: Record<Side, SideCounts[Side]> = { ...NO_SIDES };
  for (const { side, ...outcome } of outcomes) sides[side] = addOutcome(sides[side], outcome);
  return sides;
}

/**
 * Counts outcomes in memory and hands them on within a second, as usage is. What a crash loses is what was counted since
 * the last flush; a stop in order loses nothing.
 */
export class OutcomeRecorder {
  readonly #store: Pick<FlagStore, 'addOutcomes'>;
  readonly #logger: FlagLogger;
  readonly #timer: NodeJS.Timeout;
  #deltas = new Map<string, OutcomeDelta>();
  #flushing: Promise<void> = Promise.resolve();
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
    const held = this.#deltas.get(key);
    if (held === undefined && this.#deltas.size >= FlagDefaults.outcomeKeysBuffered) return false;
    this.#deltas.set(key, held === undefined ? delta : { ...delta, ...addSides(held, delta) });
    return true;
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
    const deltas = [...this.#deltas];
    for (const [key, delta] of deltas) {
      try {
        this.#deltas.delete(key);
        await this.#store.addOutcomes(delta, null);
        this.#failing = false;
      } catch (error) {
        // What came meanwhile is added to it; the other flags would only wait for the same.
        const newer = this.#deltas.get(key);
        this.#deltas.set(key, newer === undefined ? delta : { ...delta, ...addSides(delta, newer) });
        if (!this.#failing) {
          this.#logger.warn('outcomes cannot be written; they are kept and tried again', { error: messageOf(error) });
        }
        this.#failing = true;
        return;
      }
    }
  }
}
