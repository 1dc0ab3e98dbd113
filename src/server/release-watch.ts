import type { ServiceRef, SluiceClient } from '../client/client-types';
import { messageOf } from '../errors';
import type { ReleaseEvent, ReleaseStatus } from '../workflows/api';

/** Who follows a release. Each call comes once for all of them, with what there is new. */
export interface Viewer {
  /** Events in the order of the story, and the status after them. */
  changed(status: ReleaseStatus, fresh: readonly ReleaseEvent[]): void;
  /** The release cannot be asked at the moment. */
  trouble(sentence: string): void;
  /** The release is over, and all was told; or it cannot be followed any longer. */
  ended(): void;
}

/** One release that is looked at on behalf of all who follow it. It begins with the first of them and ends with the last. */
export class ReleaseWatch {
  /** Which release is meant; the service's current or last one when left out. */
  readonly wanted: string | undefined;
  /** The first look. */
  readonly begun: Promise<ReleaseStatus>;
  /** Resolves when nobody is left to be told anything. */
  readonly over: Promise<void>;
  readonly #viewers = new Set<Viewer>();
  readonly #abort = new AbortController();
  /** Of those who wait for the first look and those who follow. */
  #interested = 0;
  #last: ReleaseStatus | null = null;
  #isOver = false;

  constructor(client: SluiceClient, ref: ServiceRef) {
    this.wanted = ref.release;
    this.begun = client.status(ref).then((status) => {
      this.#last = status;
      return status;
    });
    this.over = this.begun.then((first) => this.#follow(client, first));
    // Whoever waits for the first look is told of its failure; nobody waits for this one.
    this.over.catch(() => undefined);
  }

  /** What was seen last. */
  get last(): ReleaseStatus | null {
    return this.#last;
  }

  /** Nothing more will be told. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether it can be joined for this release, or for the service's current one. */
  answersFor(release: string | undefined): boolean {
    if (this.#abort.signal.aborted) return false;
    if (this.#last === null) return this.wanted === release;
    // One release of a service runs at a time, so one that has not ended is the current one.
    return release === undefined ? this.#last.endedAt === null : this.#last.release === release;
  }

  /** Holds it open while somebody waits for the first look. */
  interest(): void {
    this.#interested += 1;
  }

  add(viewer: Viewer): void {
    this.#viewers.add(viewer);
  }

  /** Takes back an interest, and the viewer that came of it. */
  leave(viewer: Viewer | null): void {
    if (viewer !== null) this.#viewers.delete(viewer);
    this.#interested -= 1;
    if (this.#interested === 0) this.stop();
  }

  stop(): void {
    this.#abort.abort();
  }

  async #follow(client: SluiceClient, first: ReleaseStatus): Promise<void> {
    const { namespace, service, release } = first;
    let told = first.events.at(-1)?.seq ?? 0;
    try {
      const statuses = client.watch(
        { namespace, service, release },
        {
          signal: this.#abort.signal,
          onTrouble: (sentence) => {
            for (const viewer of this.#viewers) viewer.trouble(sentence);
          },
        },
      );
      for await (const status of statuses) {
        this.#last = status;
        const fresh = status.events.filter((event) => event.seq > told);
        told = status.events.at(-1)?.seq ?? told;
        for (const viewer of this.#viewers) viewer.changed(status, fresh);
      }
    } catch (error) {
      for (const viewer of this.#viewers) viewer.trouble(messageOf(error));
    } finally {
      this.#isOver = true;
      this.stop();
      for (const viewer of this.#viewers) viewer.ended();
    }
  }
}
