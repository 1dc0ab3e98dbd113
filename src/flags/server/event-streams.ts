import type { ServerResponse } from 'node:http';
import { FlagDefaults } from '../defaults';
import type { Ruleset } from '../ruleset';
import { versionETag } from './ofrep';
import { OpenStreams } from './open-streams';

/** What a change is called on the stream. */
export interface ChangeEvent {
  readonly version: string;
  readonly revision: number;
}

/** The open event streams: each is told of a change, and asks again for what it wants to know. */
export class EventStreams {
  readonly #current: () => ChangeEvent;
  readonly #streams = new OpenStreams({
    most: FlagDefaults.maxStreams,
    backlogBytes: FlagDefaults.maxStreamBacklogBytes,
  });
  readonly #unsubscribe: () => void;

  constructor(ruleset: Ruleset, current: () => ChangeEvent) {
    this.#current = current;
    this.#unsubscribe = ruleset.onChange(() => this.#streams.writeAll(eventText(this.#current())));
  }

  get size(): number {
    return this.#streams.size;
  }

  /** Refuses one stream more than there may be. */
  admit(): void {
    this.#streams.admit();
  }

  /** Keeps the response open; one that comes back after a change that it missed is told at once. */
  add(response: ServerResponse, lastEventId: string | undefined, headers: Readonly<Record<string, string>>): void {
    this.#streams.add(response, { headers });
    const current = this.#current();
    if (lastEventId !== undefined && lastEventId !== current.version) response.write(eventText(current));
  }

  close(): void {
    this.#unsubscribe();
    this.#streams.close();
  }
}

function eventText({ version, revision }: ChangeEvent): string {
  const data = { type: 'refetchEvaluation', etag: versionETag(version), lastModified: Math.floor(revision / 1000) };
  return `id: ${version}\nevent: message\ndata: ${JSON.stringify(data)}\n\n`;
}
