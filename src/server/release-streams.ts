import type { ServerResponse } from 'node:http';
import type { ServiceRef } from '../client/client-types';
import { FlagProblem } from '../flags/problem';
import type { Answer } from '../flags/server/endpoint';
import { OpenStreams } from '../flags/server/open-streams';
import type { ReleaseEvent, ReleaseStatus } from '../workflows/api';
import { ReleaseWatch } from './release-watch';
import type { Viewer } from './release-watch';
import { ServerDefaults } from './server-defaults';
import type { TemporalLink } from './temporal-link';

/** Where a stream was left: a release, and the number of the last event of its story. */
interface Place {
  readonly release: string;
  readonly seq: number;
}

/** The event streams of releases. All who follow a release share one watch: a viewer more is no question more. */
export class ReleaseStreams {
  readonly #temporal: TemporalLink;
  readonly #streams = new OpenStreams({
    most: ServerDefaults.maxStreams,
    backlogBytes: ServerDefaults.maxStreamBacklogBytes,
  });
  /** By namespace and service. */
  readonly #watches = new Map<string, Set<ReleaseWatch>>();

  constructor(temporal: TemporalLink) {
    this.#temporal = temporal;
  }

  get size(): number {
    return this.#streams.size;
  }

  /**
   * Follows a release from where the stream was left, or from its beginning. A stream that is taken up again goes on with
   * the release it was of, also when another one has begun since.
   *
   * @throws ReleaseError as `status` does.
   */
  async open(ref: ServiceRef, lastEventId: string | undefined): Promise<Answer> {
    this.#streams.admit();
    const place = lastEventId === undefined || lastEventId === '' ? null : placeOf(lastEventId);
    const release = ref.release ?? place?.release;
    const watch = await this.#join(release === undefined ? ref : { ...ref, release });
    let first: ReleaseStatus;
    try {
      first = await watch.begun;
    } catch (error) {
      watch.leave(null);
      throw error;
    }
    const { events, endedAt } = watch.last ?? first;
    const known = place?.release === first.release ? place.seq : 0;
    // Told so, browsers do not come back.
    if (endedAt !== null && known >= (events.at(-1)?.seq ?? 0)) {
      watch.leave(null);
      return { status: 204, body: null };
    }
    return { status: 200, body: null, stream: (response) => this.#stream(watch, response, { first, known }) };
  }

  close(): void {
    for (const watches of this.#watches.values()) for (const watch of watches) watch.stop();
    this.#streams.close();
  }

  /** The watch of others for the same release, or a new one. */
  async #join(ref: ServiceRef): Promise<ReleaseWatch> {
    const client = await this.#temporal.client();
    const name = `${ref.namespace}/${ref.service}`;
    const watches = this.#watches.get(name) ?? new Set();
    this.#watches.set(name, watches);
    let watch = [...watches].find((one) => one.answersFor(ref.release));
    if (watch === undefined) {
      const begun = new ReleaseWatch(client, ref);
      const forget = (): void => {
        watches.delete(begun);
        if (watches.size === 0 && this.#watches.get(name) === watches) this.#watches.delete(name);
      };
      watches.add(begun);
      begun.over.then(forget, forget);
      watch = begun;
    }
    watch.interest();
    return watch;
  }

  #stream(
    watch: ReleaseWatch,
    response: ServerResponse,
    { first, known }: { readonly first: ReleaseStatus; readonly known: number },
  ): void {
    let shown = '';
    const tell = (now: ReleaseStatus, events: readonly ReleaseEvent[]): void => {
      const text = statusText(now);
      const news = [...events.map((event) => eventText(now, event)), ...(text === shown ? [] : [text])].join('');
      shown = text;
      if (news !== '') this.#streams.write(response, news);
    };
    const viewer: Viewer = {
      changed: tell,
      trouble: (sentence) =>
        this.#streams.write(response, `event: trouble\ndata: ${JSON.stringify({ message: sentence })}\n\n`),
      ended: () => response.end(),
    };
    this.#streams.add(response, { gone: () => watch.leave(viewer) });
    // What was seen by others since the first look, too.
    const now = watch.last ?? first;
    tell(
      now,
      now.events.filter((event) => event.seq > known),
    );
    if (watch.isOver) response.end();
    else watch.add(viewer);
  }
}

/** An event of the story: its number is what a stream is taken up again by. */
function eventText({ service, namespace, release, simulated }: ReleaseStatus, event: ReleaseEvent): string {
  const data = {
    apiVersion: 'sluice.dev/v1',
    kind: 'ReleaseEvent',
    ...{ service, namespace, release, simulated },
    ...event,
  };
  return `id: ${release}/${event.seq}\nevent: message\ndata: ${JSON.stringify(data)}\n\n`;
}

/** How the release stands now, without what only grows. */
function statusText(status: ReleaseStatus): string {
  const { release, service, namespace, version, phase, outcome, message, weight, observedShare, step } = status;
  const { soak, approval, paused, keepOld = null, stuck, successors, endedAt } = status;
  const data = {
    ...{ release, service, namespace, version, phase, outcome, message, weight, observedShare, step },
    ...{ soak, approval, paused, keepOld, stuck, successors, endedAt },
  };
  return `event: status\ndata: ${JSON.stringify(data)}\n\n`;
}

function placeOf(lastEventId: string): Place {
  const [, release, seq] = /^([a-zA-Z0-9._-]{1,128})\/(\d{1,9})$/.exec(lastEventId) ?? [];
  if (release === undefined || seq === undefined) {
    throw new FlagProblem('invalid-request', 'Last-Event-ID is not the id of an event of a release: RELEASE/NUMBER.');
  }
  return { release, seq: Number(seq) };
}
