/**
 * Does something one run at a time, with at most one more waiting: who asks during a run needs one that begins afterwards,
 * and shares it with all who asked meanwhile. So nobody waits for more than two, however long each takes.
 */
export class SharedRuns {
  readonly #task: () => Promise<void>;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  /** @param task - never throws */
  constructor(task: () => Promise<void>) {
    this.#task = task;
  }

  /** Resolves after a run that began no earlier than this call. */
  run(): Promise<void> {
    if (this.#running === null) {
      this.#running = this.#task().finally(() => {
        this.#running = null;
      });
      return this.#running;
    }
    this.#next ??= this.#running.then(() => {
      this.#next = null;
      return this.run();
    });
    return this.#next;
  }
}
