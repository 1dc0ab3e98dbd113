import { messageOf } from '../../errors';
import type { Interruption } from '../interrupt';
import type { Session } from '../session';
import type { Load } from './load';
import type { DemoReporter } from './reporter';

/** What is released on, and who uses it meanwhile. */
export interface Stage {
  readonly load: Load;
  readonly specPath: string;
  /** What the worker needs to know of it, beside the environment. */
  readonly workerEnv: NodeJS.ProcessEnv;
  /** What a version of the shop is called where it is released: v2, or an image. */
  versionOf(version: string): string;
  /** Told before a release begins: from now on that version is the canary, and all others are stable. */
  releasing(version: string): void;
  /** Of one release, milliseconds. */
  readonly maxReleaseMs: number;
}

export interface StageSetUp {
  readonly session: Session;
  readonly report: DemoReporter;
  readonly started: Started;
}

/** Thrown to leave the set-up when Ctrl-C comes in it. */
export class Interrupted extends Error {}

/** Everything that was started; stopped in reverse order, also what a Ctrl-C caught in the middle of its start. */
export class Started {
  readonly #interruption: Interruption;
  readonly #stops: (() => Promise<void>)[] = [];

  constructor(interruption: Interruption) {
    this.#interruption = interruption;
  }

  /** Waits for a start, but not longer than until Ctrl-C; whatever comes of it, it will be stopped. */
  async keep<T>(start: Promise<T>, stop: (thing: T) => Promise<void>): Promise<T> {
    this.#stops.push(() => start.then(stop, () => undefined));
    return this.wait(start);
  }

  async wait<T>(work: Promise<T>): Promise<T> {
    const interrupted = this.#interruption.happened.then((): never => {
      throw new Interrupted();
    });
    return Promise.race([work, interrupted]);
  }

  async stopAll(complain: (sentence: string) => void): Promise<void> {
    for (const stop of this.#stops.splice(0).reverse()) {
      await stop().catch((error: unknown) => complain(`Not everything was stopped: ${messageOf(error)}`));
    }
  }
}
