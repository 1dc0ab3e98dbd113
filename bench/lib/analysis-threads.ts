import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { JobAnswer, JobInput, JobName } from './analysis-jobs';

export interface JobMessage {
  readonly id: number;
  readonly job: JobName;
  readonly input: unknown;
}

export type AnswerMessage =
  { readonly id: number; readonly answer: unknown } | { readonly id: number; readonly error: string };

interface Waiting {
  readonly message: JobMessage;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Simulations side by side, one a core. What each one answers does not depend on how many there are, nor on their order. */
export class AnalysisThreads {
  readonly #workers: readonly Worker[];
  readonly #idle: Worker[];
  readonly #queue: Waiting[] = [];
  readonly #running = new Map<number, Waiting>();
  readonly #onDone: (done: number, all: number) => void;
  #asked = 0;
  #done = 0;

  constructor(onDone: (done: number, all: number) => void) {
    this.#onDone = onDone;
    this.#workers = Array.from({ length: availableParallelism() }, () => this.#start());
    this.#idle = [...this.#workers];
  }

  run<Name extends JobName>(job: Name, input: JobInput<Name>): Promise<JobAnswer<Name>> {
    this.#asked += 1;
    return new Promise<JobAnswer<Name>>((resolve, reject) => {
      const message = { id: this.#asked, job, input };
      // What `JOBS` answers by that name, told apart again on this side.
      this.#queue.push({ message, resolve: (answer) => resolve(answer as JobAnswer<Name>), reject });
      this.#next();
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #start(): Worker {
    const worker = new Worker(join(__dirname, 'analysis-thread.js'));
    worker.on('message', (message: AnswerMessage) => {
      const waiting = this.#running.get(message.id);
      this.#running.delete(message.id);
      this.#idle.push(worker);
      this.#done += 1;
      if ('error' in message) waiting?.reject(new Error(message.error));
      else waiting?.resolve(message.answer);
      this.#onDone(this.#done, this.#asked);
      this.#next();
    });
    worker.on('error', (error: Error) => {
      for (const { reject } of [...this.#running.values(), ...this.#queue.splice(0)]) reject(error);
    });
    return worker;
  }

  #next(): void {
    const worker = this.#queue.length === 0 ? undefined : this.#idle.pop();
    const waiting = worker === undefined ? undefined : this.#queue.shift();
    if (worker === undefined || waiting === undefined) return;
    this.#running.set(waiting.message.id, waiting);
    worker.postMessage(waiting.message);
  }
}
