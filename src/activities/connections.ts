/**
 * Keeps what holds connections (targets, metric sources) open between activities, so that a weight change need not
 * connect first. The least recently used goes when there are too many; one in use finishes its requests.
 */
export class Connections<T extends { close(): void }> {
  readonly #open = new Map<string, T>();
  readonly #most: number;

  /** `most`: how many stay open; 300 is more than the releases one worker runs at a time. */
  constructor(most = 300) {
    this.#most = most;
  }

  /** The one for this key (a plan), opened when there is none. What `open` throws is not kept. */
  get(plan: unknown, open: () => T): T {
    const key = JSON.stringify(plan);
    const known = this.#open.get(key);
    const one = known ?? open();
    this.#open.delete(key);
    this.#open.set(key, one);
    if (this.#open.size > this.#most) {
      const [oldest] = this.#open.entries();
      if (oldest !== undefined) {
        this.#open.delete(oldest[0]);
        oldest[1].close();
      }
    }
    return one;
  }

  closeAll(): void {
    for (const one of this.#open.values()) one.close();
    this.#open.clear();
  }
}
