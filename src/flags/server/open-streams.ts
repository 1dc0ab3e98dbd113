import type { ServerResponse } from 'node:http';
import { FlagDefaults } from '../defaults';
import { FlagProblem } from '../problem';

export interface OpenStreamsLimits {
  /** Open at once. */
  readonly most: number;
  /** Unread bytes after which a stream is given up: who comes back is told what was missed. */
  readonly backlogBytes: number;
}

/** Open responses of server-sent events: their head, their heartbeat, and their end. */
export class OpenStreams {
  readonly #limits: OpenStreamsLimits;
  readonly #open = new Set<ServerResponse>();
  readonly #heartbeat: NodeJS.Timeout;

  constructor(limits: OpenStreamsLimits) {
    this.#limits = limits;
    this.#heartbeat = setInterval(() => {
      for (const response of this.#open) response.write(':\n\n');
    }, FlagDefaults.streamHeartbeatMs);
    this.#heartbeat.unref();
  }

  get size(): number {
    return this.#open.size;
  }

  /** Refuses one stream more than there may be. */
  admit(): void {
    if (this.#open.size < this.#limits.most) return;
    throw new FlagProblem('too-many-streams', `${this.#open.size} event streams are open, which is the most.`);
  }

  /** Keeps the response open until its reader goes away, which is told to `gone`. */
  add(
    response: ServerResponse,
    { headers = {}, gone }: { headers?: Readonly<Record<string, string>>; gone?: () => void } = {},
  ): void {
    if (response.destroyed) {
      gone?.();
      return;
    }
    response.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      // A stream has its connection for itself, and takes it along when it ends.
      connection: 'close',
      // nginx would hold events back otherwise.
      'x-accel-buffering': 'no',
    });
    response.write(`retry: 1000\n\n`);
    this.#open.add(response);
    const forget = (): void => {
      if (this.#open.delete(response)) gone?.();
    };
    response.once('close', forget);
    response.on('error', forget);
  }

  write(response: ServerResponse, text: string): void {
    // Who does not read what there is will ask again when it connects again.
    if (response.writableLength > this.#limits.backlogBytes) response.destroy();
    else response.write(text);
  }

  writeAll(text: string): void {
    for (const response of this.#open) this.write(response, text);
  }

  close(): void {
    clearInterval(this.#heartbeat);
    for (const response of this.#open) response.end();
  }
}
