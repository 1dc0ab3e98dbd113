import { OUTAGE_DEFAULTS } from './defaults';

/** What a cluster's client knows of outages of its API server. */
export interface Outages {
  /**
   * Milliseconds until others that watch the same API server are back at it, too, after an outage that this client has
   * seen: 0 where it saw none. It lasts while the server is away.
   */
  followedInMs(): number;
}

/**
 * Notes tries as they end, and finds the outages in them. A gateway watches routes and pods each for itself, and comes
 * back to each in its own time: client-go waits 0.8 s after the first failed try and doubles that up to 30 s, each
 * lengthened by chance to twice as much at most. What it waits last is so no more than twice what it waited before, which
 * is the outage, and a minute at most.
 */
export class ApiOutages implements Outages {
  readonly #now: () => number;
  #failingSinceMs: number | null = null;
  #followedAtMs = Number.NEGATIVE_INFINITY;

  /** `now` is a clock of milliseconds that never goes back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** A try had an answer that shows the server at work. */
  answered(): void {
    if (this.#failingSinceMs === null) return;
    const now = this.#now();
    const lastedMs = now - this.#failingSinceMs;
    this.#failingSinceMs = null;
    if (lastedMs < OUTAGE_DEFAULTS.shortestMs) return;
    const followMs = Math.min(OUTAGE_DEFAULTS.longestFollowMs, OUTAGE_DEFAULTS.followFactor * lastedMs);
    this.#followedAtMs = Math.max(this.#followedAtMs, now + followMs);
  }

  /** A try had none, or one by which the server says that it is not at work. */
  failed(): void {
    this.#failingSinceMs ??= this.#now();
  }

  followedInMs(): number {
    return Math.max(0, this.#followedAtMs - this.#now());
  }
}
