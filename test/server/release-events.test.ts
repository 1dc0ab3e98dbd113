import type { ServiceRef, WatchOptions } from '../../src/client/client-types';
import { FlagDefaults } from '../../src/flags/defaults';
import type { ReleaseStatus } from '../../src/workflows/api';
import { FakeSluice } from '../cli/fake-client';
import { aRolledBackStatus, aStatus, START } from '../cli/statuses';
import { until } from '../flags/support';
import { readEvents } from './event-reader';
import type { EventReader } from './event-reader';
import { serveReleases, stopReleaseServers } from './serve';

const RELEASE = 'checkout-20261121-140000-0001';
const readers: EventReader[] = [];

afterEach(async () => {
  for (const reader of readers.splice(0)) reader.close();
  await stopReleaseServers();
});

/** Counts what it is asked. */
class CountingSluice extends FakeSluice {
  looks = 0;
  watches = 0;
  watching = 0;
  trouble: ((sentence: string) => void) | undefined;

  override status(ref: ServiceRef): Promise<ReleaseStatus> {
    this.looks += 1;
    return super.status(ref);
  }

  override async *watch(ref: ServiceRef, options: WatchOptions = {}): AsyncIterable<ReleaseStatus> {
    this.watches += 1;
    this.watching += 1;
    this.trouble = options.onTrouble;
    try {
      yield* super.watch(ref, options);
    } finally {
      this.watching -= 1;
    }
  }
}

async function serve(client: FakeSluice) {
  const { url, ask } = await serveReleases(client);
  const follow = async (lastEventId?: string, query = ''): Promise<EventReader> => {
    const headers: Record<string, string> = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
    const reader = await readEvents(`${url}/api/releases/shop/checkout/events${query}`, headers);
    readers.push(reader);
    return reader;
  };
  return { url, ask, follow };
}

describe('the event stream of a release', () => {
  it('tells the story from its beginning, then what happens, and ends with the release', async () => {
    const client = new FakeSluice(aStatus());
    const { follow } = await serve(client);

    const reader = await follow();
    await until(() => reader.events.length >= 2);
    client.update(RELEASE, { weight: 50 }, { message: 'Weight 25 % → 50 %.' });
    await until(() => reader.story().length === 2);
    const over = { phase: 'promoted', outcome: 'promoted', endedAt: START + 9000 } as const;
    client.update(RELEASE, over, { type: 'promoted', message: 'Promoted.' });
    await reader.ended;

    expect(reader.story()).toEqual([1, 2, 3]);
    expect(reader.events[0]).toMatchObject({
      id: `${RELEASE}/1`,
      data: { kind: 'ReleaseEvent', namespace: 'shop', service: 'checkout', release: RELEASE, type: 'started' },
    });
    expect(reader.events.at(-1)).toMatchObject({
      event: 'status',
      id: null,
      data: { outcome: 'promoted', weight: 50 },
    });
  });

  it('is taken up again where it was left', async () => {
    const client = new FakeSluice(aStatus());
    const { follow } = await serve(client);
    const first = await follow();
    await until(() => first.story().length === 1);
    first.close();
    client.update(RELEASE, { weight: 50 }, {});
    client.update(RELEASE, { weight: 100 }, {});

    const second = await follow(first.lastEventId());
    await until(() => second.story().length >= 2);

    expect(second.story()).toEqual([2, 3]);
  });

  it('goes on with the release it was of when another one has begun since, and is over when that is', async () => {
    const client = new FakeSluice(aRolledBackStatus(), aStatus({ release: 'checkout-2' }));
    const { follow } = await serve(client);
    const seqs = aRolledBackStatus().events.map(({ seq }) => seq);

    const rest = await follow(`${RELEASE}/1`);
    await rest.ended;
    const nothing = await follow(rest.lastEventId());
    const current = await follow();
    await until(() => current.story().length > 0);

    expect(rest.story()).toEqual(seqs.slice(1));
    expect(nothing.status).toBe(204);
    expect(current.events[0]?.id).toBe('checkout-2/1');
  });

  it('asks no more for a viewer more, and nothing any more when the last one has left', async () => {
    const client = new CountingSluice(aStatus());
    const { follow } = await serve(client);

    const viewers = await Promise.all([follow(), follow(), follow()]);
    viewers.push(await follow(undefined, `?release=${RELEASE}`), await follow(`${RELEASE}/0`));
    await until(() => viewers.every((viewer) => viewer.story().length === 1));
    client.update(RELEASE, { weight: 50 }, {});
    await until(() => viewers.every((viewer) => viewer.story().length === 2));

    // The first look, that of the watch, and one for the change.
    expect({ looks: client.looks, watches: client.watches }).toEqual({ looks: 3, watches: 1 });
    for (const viewer of viewers) viewer.close();
    await until(() => client.watching === 0);
    const again = await follow();
    await until(() => again.story().length === 2);
    expect(client.watches).toBe(2);
  });

  it('tells of trouble, and goes on after it', async () => {
    const client = new CountingSluice(aStatus());
    const { follow } = await serve(client);
    const reader = await follow();
    await until(() => client.trouble !== undefined);

    client.trouble?.('Temporal does not answer.');
    await until(() => reader.events.some(({ event }) => event === 'trouble'));
    client.update(RELEASE, { weight: 50 }, {});
    await until(() => reader.story().length === 2);

    expect(reader.events.find(({ event }) => event === 'trouble')?.data).toEqual({
      message: 'Temporal does not answer.',
    });
  });

  it('has a heartbeat, so that proxies keep it open', async () => {
    jest.useFakeTimers({
      doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask', 'setTimeout', 'clearTimeout', 'performance'],
    });
    try {
      const { url } = await serve(new FakeSluice(aStatus()));
      const response = await fetch(`${url}/api/releases/shop/checkout/events`);
      let text = '';
      const reading = (async () => {
        for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) text += chunk;
      })();
      await until(() => text.includes('event: status'));

      jest.advanceTimersByTime(FlagDefaults.streamHeartbeatMs);
      await until(() => text.endsWith('\n\n:\n\n'));

      await stopReleaseServers();
      await reading;
    } finally {
      jest.useRealTimers();
    }
  });

  it.each([
    ['x', 400, 'invalid-request'],
    [`${RELEASE}/x`, 400, 'invalid-request'],
    ['checkout-9/1', 404, 'not-found'],
  ])('is refused from the place %s', async (lastEventId, status, code) => {
    const { ask } = await serve(new FakeSluice(aStatus()));

    const reply = await ask('GET', '/api/releases/shop/checkout/events', { headers: { 'last-event-id': lastEventId } });

    expect(reply).toMatchObject({ status, body: { code } });
  });

  it('ends with the server', async () => {
    const client = new CountingSluice(aStatus());
    const { follow } = await serve(client);
    const reader = await follow();
    await until(() => reader.story().length === 1);

    await stopReleaseServers();
    await reader.ended;

    expect(client.watching).toBe(0);
    expect(client.closed).toBe(true);
  });
});
