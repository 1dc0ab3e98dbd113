import type { RouterClock } from './clock';
import { RouterDefaults } from './defaults';
import type { RouterLogger } from './logger';
import type { RouterEvent } from './protocol';

/** An event before it has its number and time. */
export type NewEvent = Omit<RouterEvent, 'seq' | 'at'>;

/** The router's story: the latest events in memory, each also a log line and a call of `onEvent`. */
export class EventLog {
  readonly #clock: RouterClock;
  readonly #logger: RouterLogger;
  readonly #onEvent: ((event: RouterEvent) => void) | undefined;
  readonly #kept: RouterEvent[] = [];
  #seq = 0;

  /** `logger` must not throw (see `safeLogger`); `onEvent` may, and is then reported and otherwise ignored. */
  constructor(clock: RouterClock, logger: RouterLogger, onEvent: ((event: RouterEvent) => void) | undefined) {
    this.#clock = clock;
    this.#logger = logger;
    this.#onEvent = onEvent;
  }

  /** Adds an event; the oldest makes room. */
  add(event: NewEvent): void {
    const entry: RouterEvent = Object.freeze({
      ...event,
      seq: ++this.#seq,
      at: new Date(this.#clock.now()).toISOString(),
    });
    this.#kept.push(entry);
    if (this.#kept.length > RouterDefaults.eventsKept) this.#kept.shift();
    const level = entry.type === 'guard-tripped' || entry.type === 'rolled-back' ? 'error' : 'info';
    this.#logger[level](entry.message, { event: entry.type, origin: entry.origin, fence: entry.fence, ...entry.data });
    try {
      this.#onEvent?.(entry);
    } catch (error) {
      this.#logger.error('onEvent threw', { error: String(error), event: entry.type });
    }
  }

  /** The kept events, oldest first. */
  list(): readonly RouterEvent[] {
    return [...this.#kept];
  }
}
