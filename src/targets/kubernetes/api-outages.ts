import { OUTAGE_DEFAULTS } from './defaults';

/** What a cluster's client knows of outages of its API server. */
export interface Outages {
  /**
   * Milliseconds until others that watch the same API server are back at it, too, after an outage that this client has
   * seen: 0 where it saw none. While the server is away it is what it would be if it came back now.
   */
  followedInMs(): number;
  /** Since when the server is away, milliseconds since 1970; null while it is there, or away for too short to be called so. */
  awaySince(): number | null;
}

/**
 * Notes tries as they end, and finds the outages in them. A gateway watches routes and pods each for itself, and comes
 * back to each in its own time: client-go waits 0.8 s after the first failed try and doubles that up to 30 s, each wait
 * lengthened by chance to twice as much at most. The wait that the server's return falls into is so no more than
 * twice those before it, which are the outage, and a minute at most. What it tries then may be the watch of before: a
 * server that began anew refuses that as too old, and there is another wait, twice as long, before it lists. Then it has
 * a configuration to write.
 */
export class ApiOutages implements Outages {
  readonly #now: () => number;
  #answeredMs = Number.NEGATIVE_INFINITY;
  #failingSinceMs: number | null = null;
  /** The same by the clock that people read, and settled once: it is a part of what is said of each failure. */
  #failingSince: number | null = null;
  #followedAtMs = Number.NEGATIVE_INFINITY;
  #backAtMs = Number.NEGATIVE_INFINITY;

  /** `now` is a clock of milliseconds that never goes back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  now(): number {
    return this.#now();
  }

  /** A try had an answer that shows the server at work. */
  answered(): void {
    this.#followedAtMs = this.#followedAt();
    if (this.#failingSinceMs !== null) this.#backAtMs = this.#now();
    this.#failingSinceMs = null;
    this.#failingSince = null;
    this.#answeredMs = this.#now();
  }

  /** A try that began then had none, or one by which the server says that it is not at work. */
  failed(beganMs: number): void {
    // One that hangs while others are answered is no outage.
    this.#failingSinceMs ??= Math.max(beganMs, this.#answeredMs);
    this.#failingSince ??= Date.now() - (this.#now() - this.#failingSinceMs);
  }

  awaySince(): number | null {
    if (this.#failingSinceMs === null) return null;
    return this.#now() - this.#failingSinceMs < OUTAGE_DEFAULTS.shortestMs ? null : this.#failingSince;
  }

  /**
   * Whether the server that answers may have begun just now, so that it has not read yet who may do what. Also after an
   * outage that was too short to count for those who follow: a server begins anew within a second.
   */
  isJustBack(): boolean {
    return this.#failingSinceMs !== null || this.#now() - this.#backAtMs < OUTAGE_DEFAULTS.rightsUnreadMs;
  }

  followedInMs(): number {
    return Math.max(0, this.#followedAt() - this.#now());
  }

  /** Where the server is away: if it came back now. */
  #followedAt(): number {
    if (this.#failingSinceMs === null) return this.#followedAtMs;
    const now = this.#now();
    const lastedMs = now - this.#failingSinceMs;
    if (lastedMs < OUTAGE_DEFAULTS.shortestMs) return this.#followedAtMs;
    const { followFactor, followMs, longestFollowMs } = OUTAGE_DEFAULTS;
    return Math.max(this.#followedAtMs, now + Math.min(longestFollowMs, followFactor * lastedMs + followMs));
  }
}
