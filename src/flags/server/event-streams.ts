import type { ServerResponse } from 'node:http';
import { FlagDefaults } from '../defaults';
import { FlagProblem } from '../problem';
import type { Ruleset } from '../ruleset';

/** What a change is called on the stream. */
export interface ChangeEvent {
  readonly version: string;
  readonly revision: number;
}

/** The open event streams: each is told of a change, and asks again for what it wants to know. */
export class EventStreams {
  readonly #current: () => ChangeEvent;
  readonly #open = new Set<ServerResponse>();
  readonly #heartbeat: NodeJS.Timeout;
  readonly #unsubscribe: () => void;

  constructor(ruleset: Ruleset, current: () => ChangeEvent) {
    this.#current = current;
    this.#unsubscribe = ruleset.onChange(() => this.#tellAll());
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
    if (this.#open.size < FlagDefaults.maxStreams) return;
    throw new FlagProblem('too-many-streams', `${this.#open.size} event streams are open, which is the most.`);
  }

  /** Keeps the response open; one that comes back after a change that it missed is told at once. */
  add(response: ServerResponse, lastEventId: string | undefined, headers: Readonly<Record<string, string>>): void {
    response.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      // A stream has its connection for itself, and takes it along when it ends.
      connection: 'close',
      // nginx would hold events back otherwise.
      'x-accel-buffering': 'no',
    });
    const current = this.#current();
    response.write(`retry: 1000\n\n`);
    if (lastEventId !== undefined && lastEventId !== current.version) response.write(eventText(current));
    this.#open.add(response);
    response.once('close', () => this.#open.delete(response));
    response.on('error', () => this.#open.delete(response));
  }

  close(): void {
    clearInterval(this.#heartbeat);
    this.#unsubscribe();
    for (const response of this.#open) response.end();
    this.#open.clear();
  }

  #tellAll(): void {
    const text = eventText(this.#current());
    for (const response of this.#open) {
      // Who does not read what there is will ask again when it connects again.
      if (response.writableLength > FlagDefaults.maxStreamBacklogBytes) response.destroy();
      else response.write(text);
    }
  }
}

function eventText({ version, revision }: ChangeEvent): string {
  const data = { type: 'refetchEvaluation', etag: `"${version}"`, lastModified: Math.floor(revision / 1000) };
  return `id: ${version}\nevent: message\ndata: ${JSON.stringify(data)}\n\n`;
}
