import type { Cluster, FindOptions } from '../../../src/targets/kubernetes/cluster';
import { ClusterFailure } from '../../../src/targets/kubernetes/cluster-failure';
import { WATCH_DEFAULTS } from '../../../src/targets/kubernetes/defaults';
import type { ObjectRef } from '../../../src/targets/kubernetes/objects';
import { watchObjects } from '../../../src/targets/kubernetes/watched-objects';
import { until } from './api-server';
import { failure, FakeWatchable, objectOf, REF } from './fake-watchable';

const signal = AbortSignal.timeout(10 * 60_000);
const options = { signal };

describe('watched objects', () => {
  let api: FakeWatchable;
  let cluster: Cluster;
  let nowMs: number;

  beforeEach(() => {
    api = new FakeWatchable();
    api.edit(5);
    nowMs = Date.parse('2026-01-01T00:00:00Z');
    cluster = watchObjects(api, { now: () => nowMs, random: () => 0.5 });
  });

  afterEach(() => cluster.close());

  /** What a read answers, and what it asked. */
  async function read(
    how: Partial<FindOptions> = {},
    ref: ObjectRef = REF,
  ): Promise<{ weight: unknown; asked: readonly string[] }> {
    const before = api.calls.length;
    const found = await cluster.find(ref, { signal, ...how });
    return { weight: found === null ? null : found['weight'], asked: api.calls.slice(before) };
  }

  /** As it is between the first operations of a release: listed, and watched. */
  async function watched(): Promise<void> {
    await read();
    await read();
    expect(api.calls).toEqual(['list', 'watch']);
  }

  const patchTo = (weight: number, resourceVersion: string): Promise<unknown> =>
    cluster.patch(REF, { type: 'merge', patch: { weight }, resourceVersion }, options);
  const versionNow = (): string => api.live?.metadata.resourceVersion ?? '';

  it('are listed once and watched from that version, and then asked for no more', async () => {
    expect(await read()).toMatchObject({ weight: 5 });
    expect(await read()).toMatchObject({ weight: 5 });
    expect(await read()).toEqual({ weight: 5, asked: [] });
    expect(api.calls).toEqual(['list', 'watch']);
    // 1.5 times the least, by the middle of chance.
    expect(api.held.options).toMatchObject({
      resourceVersion: String(api.version),
      timeoutSeconds: 1.5 * WATCH_DEFAULTS.lastsS,
    });
  });

  it('follow what is told, also that an object goes and comes', async () => {
    await watched();
    const seen: unknown[] = [];
    for (const weight of [25, null, 50]) {
      api.edit(weight);
      api.tellLive();
      seen.push((await read()).weight);
    }

    expect(seen).toEqual([25, null, 50]);
    expect(api.calls).toEqual(['list', 'watch']);
  });

  it('are watched while they are not there', async () => {
    api.edit(null);
    await watched();
    expect(await read()).toEqual({ weight: null, asked: [] });
    api.edit(5);
    api.tell({ type: 'ADDED', object: objectOf(5, api.version) });

    expect(await read()).toEqual({ weight: 5, asked: [] });
  });

  it('are the server’s word where that is asked for, and learn it', async () => {
    await watched();
    api.edit(25);

    expect(await read()).toEqual({ weight: 5, asked: [] });
    expect(await read({ fresh: true })).toEqual({ weight: 25, asked: ['get'] });
    expect(await read()).toEqual({ weight: 25, asked: [] });
    api.edit(50);
    expect(await read({ asked: true })).toEqual({ weight: 50, asked: ['get'] });
    api.edit(null);
    expect(await read({ fresh: true })).toEqual({ weight: null, asked: ['get'] });
    // That it is gone says no version; so the next read asks from which one on.
    expect(await read()).toEqual({ weight: null, asked: ['list'] });
    expect(await read()).toEqual({ weight: null, asked: [] });
  });

  it('what is asked first is the server’s word, too, and watched from there', async () => {
    expect(await read({ asked: true })).toMatchObject({ weight: 5 });
    await read();

    expect(api.calls).toEqual(['list', 'watch']);
  });

  it('are never older than what was written through here', async () => {
    await watched();
    const old = objectOf(5, api.version);
    await patchTo(25, versionNow());
    expect(await read()).toEqual({ weight: 25, asked: [] });
    // What happened before it arrives after it.
    api.tell({ type: 'MODIFIED', object: old });
    expect(await read()).toEqual({ weight: 25, asked: [] });
    await cluster.apply(objectOf(50), options);
    expect(await read()).toEqual({ weight: 50, asked: [] });
    api.edit(null);
    api.tellLive();
    await cluster.create(objectOf(75), options);
    api.tell({ type: 'DELETED', object: objectOf(50, api.version - 1) });

    expect(await read()).toEqual({ weight: 75, asked: [] });
  });

  it('compare versions as numbers, however long', async () => {
    api.version = 2 ** 53 - 2;
    api.edit(5);
    await watched();
    // Which no floating point number tells apart.
    for (const [weight, resourceVersion] of [
      [6, '9007199254740992'],
      [7, '9007199254740993'],
      [8, '9007199254740992'],
    ] as const) {
      api.tell({ type: 'MODIFIED', object: { ...objectOf(weight), metadata: { name: REF.name, resourceVersion } } });
    }

    expect((await read()).weight).toBe(7);
  });

  it.each([
    ['a conflict', () => patchTo(25, '1'), 'conflict'],
    ['an object that is there already', () => cluster.create(objectOf(25), options), 'alreadyExists'],
  ])('%s drops what was known, and the next read asks', async (_, work, kind) => {
    await watched();
    await expect(work()).rejects.toMatchObject({ kind });

    expect(await read()).toEqual({ weight: 5, asked: ['list'] });
    // The watch has gone on.
    expect(await read()).toEqual({ weight: 5, asked: [] });
    expect(api.watches).toHaveLength(1);
  });

  it('a write without an answer drops what was known: it may have landed', async () => {
    await watched();
    api.before = (verb) => {
      if (verb !== 'patch') return;
      api.edit(25);
      throw failure('timeout');
    };
    await expect(patchTo(25, versionNow())).rejects.toMatchObject({ kind: 'timeout' });

    expect(await read()).toEqual({ weight: 25, asked: ['list'] });
  });

  it('a dry run changes nothing of what is known', async () => {
    await watched();
    await cluster.apply(objectOf(25), { signal, dryRun: true });

    expect(await read()).toEqual({ weight: 5, asked: [] });
  });

  it('after a deletion the next read asks: an object may stay for a while', async () => {
    await watched();
    await cluster.delete(REF, options);

    expect(await read()).toEqual({ weight: null, asked: ['list'] });
    expect(await read()).toEqual({ weight: null, asked: [] });
  });

  it('a list that was asked for before a conflict is not what is known after it', async () => {
    await watched();
    // As after a conflict: the next read lists, and while that is on its way there is another one.
    await expect(patchTo(25, '1')).rejects.toMatchObject({ kind: 'conflict' });
    const release = holdList();
    const early = cluster.find(REF, options);
    await until(() => Promise.resolve(api.calls.at(-1) === 'list'));
    api.edit(50);
    await expect(patchTo(25, '1')).rejects.toMatchObject({ kind: 'conflict' });
    release();
    expect((await early)?.['weight']).toBe(5);

    expect(await read()).toEqual({ weight: 50, asked: ['list'] });
  });

  it('what is told while a list is on its way is newer than it', async () => {
    await watched();
    await expect(patchTo(25, '1')).rejects.toMatchObject({ kind: 'conflict' });
    const release = holdList();
    const listing = cluster.find(REF, options);
    await until(() => Promise.resolve(api.calls.at(-1) === 'list'));
    api.edit(50);
    api.tellLive();
    release();
    await listing;

    expect(await read()).toEqual({ weight: 50, asked: [] });
  });

  it('several who ask at once share a list, and nobody’s cancellation is the others’', async () => {
    const release = holdList();
    const cancellation = new AbortController();
    const cancelled = cluster.find(REF, { signal: cancellation.signal });
    const others = [cluster.find(REF, options), cluster.find(REF, options)];
    cancellation.abort();
    await expect(cancelled).rejects.toMatchObject({ kind: 'cancelled' });
    release();

    expect((await Promise.all(others)).map((found) => found?.['weight'])).toEqual([5, 5]);
    expect(api.calls.filter((verb) => verb === 'list')).toHaveLength(1);
  });

  describe('a watch that is over', () => {
    it.each([
      ['whose past the server has forgotten (410)', () => api.tell({ type: 'ERROR' })],
      ['whose stream ended', () => api.held.options.onEnd()],
      [
        'that tells of a version that is none',
        () => api.tell({ type: 'MODIFIED', object: { ...objectOf(5), metadata: { name: REF.name } } }),
      ],
    ])('%s is begun again with a list', async (_, end) => {
      await watched();
      api.edit(25);
      end();

      expect((await read()).weight).toBe(25);
      expect(await read()).toMatchObject({ weight: 25 });
      expect(await read()).toEqual({ weight: 25, asked: [] });
      expect(api.calls).toEqual(['list', 'watch', 'list', 'watch']);
    });

    it('before it has begun is none', async () => {
      api.watchable = 'cut';
      await read();
      await until(() => Promise.resolve(api.calls.includes('watch')));
      await new Promise(setImmediate);
      api.edit(25);

      expect((await read()).weight).toBe(25);
    });
  });

  it('one that gives no sign of life is not believed, and is again when it does', async () => {
    await watched();
    api.held.alive = false;
    api.edit(25);
    expect(await read()).toEqual({ weight: 25, asked: ['list'] });
    api.edit(50);
    expect(await read()).toEqual({ weight: 50, asked: ['list'] });
    api.held.alive = true;

    expect(await read()).toEqual({ weight: 50, asked: [] });
    expect(api.watches).toHaveLength(1);
  });

  it('one that tells neither of a change nor that there is none for too long is begun again', async () => {
    await watched();
    nowMs += WATCH_DEFAULTS.quietMs - 1;
    api.tell({ type: 'BOOKMARK' });
    nowMs += WATCH_DEFAULTS.quietMs - 1;
    expect(await read()).toEqual({ weight: 5, asked: [] });
    nowMs += 2;
    expect((await read()).asked[0]).toBe('list');

    expect(api.watches.map(({ closed }) => closed)[0]).toBe(true);
    await read();
    expect(api.watches).toHaveLength(2);
  });

  describe('without the right', () => {
    it.each(['list', 'watch'])('to %s each read gets the object, until that is tried again', async (forbidden) => {
      api.before = (verb) => {
        if (verb === forbidden) throw failure('forbidden');
      };
      expect((await read()).weight).toBe(5);
      await new Promise(setImmediate);
      api.edit(25);
      expect(await read()).toEqual({ weight: 25, asked: ['get'] });
      expect(await read({ asked: true })).toEqual({ weight: 25, asked: ['get'] });
      api.before = () => undefined;
      nowMs += WATCH_DEFAULTS.refusedMs + 1;
      await read();
      await read();

      expect(await read()).toEqual({ weight: 25, asked: [] });
    });

    it('to list, as a server says that is just back, it is listed again soon', async () => {
      api.before = (verb) => {
        if (verb === 'list') throw new ClusterFailure('unreachable', 'not read yet', { status: 403 });
      };
      expect(await read()).toEqual({ weight: 5, asked: ['list', 'get'] });
      api.before = () => undefined;
      nowMs += WATCH_DEFAULTS.failedMs + 1;

      expect((await read()).asked[0]).toBe('list');
    });

    it('to watch it is asked for once, however many read meanwhile', async () => {
      api.before = async (verb) => {
        if (verb !== 'watch') return;
        await new Promise(setImmediate);
        throw failure('forbidden');
      };
      await read();
      const found = await Promise.all([read(), read(), read({ asked: true })]);

      expect(found.map(({ weight }) => weight)).toEqual([5, 5, 5]);
      expect(api.calls.filter((verb) => verb === 'watch')).toHaveLength(1);
    });

    it('to get it either, the failure is told', async () => {
      api.before = () => {
        throw failure('forbidden');
      };

      await expect(read()).rejects.toMatchObject({ kind: 'forbidden' });
    });
  });

  it('where nothing can be watched at all, each read gets the object', async () => {
    api.watchable = 'no';
    await read();
    await new Promise(setImmediate);

    expect(await read()).toEqual({ weight: 5, asked: ['get'] });
    expect(await read({}, { ...REF, name: 'other' })).toMatchObject({ asked: ['get'] });
  });

  it('a watch that fails is tried again after a moment, and no read fails by it', async () => {
    api.before = (verb) => {
      if (verb === 'watch') throw failure('unreachable');
    };
    await read();
    await new Promise(setImmediate);
    expect(await read()).toEqual({ weight: 5, asked: ['get'] });
    api.before = () => undefined;
    nowMs += WATCH_DEFAULTS.failedMs + 1;
    await read();
    await read();

    expect(await read()).toEqual({ weight: 5, asked: [] });
  });

  it('a list that fails is the read’s own failure', async () => {
    api.before = () => {
      throw failure('unreachable');
    };
    await expect(read()).rejects.toBeInstanceOf(ClusterFailure);
    api.before = () => undefined;

    expect((await read()).weight).toBe(5);
  });

  it('of a server whose versions are no numbers nothing is remembered', async () => {
    api.version = Number.NaN;
    api.edit(5);
    await read();

    expect(await read()).toEqual({ weight: 5, asked: ['get'] });
    expect(api.watches).toEqual([]);
  });

  it.each(['Secret', 'ConfigMap'])('a %s is never kept', async (kind) => {
    const ref = { apiVersion: 'v1', kind, namespace: 'shop', name: 'settings' };
    await read({}, ref);

    expect(await read({}, ref)).toMatchObject({ asked: ['get'] });
    expect(api.watches).toEqual([]);
  });

  it('what nobody reads any more is no longer watched', async () => {
    cluster.close();
    cluster = watchObjects(api, { now: () => nowMs, idleMs: 20 });
    await watched();
    nowMs += 21;
    await until(() => Promise.resolve(api.held.closed));

    expect((await read()).asked[0]).toBe('list');
  });

  it('what somebody waits for is watched however long', async () => {
    cluster.close();
    cluster = watchObjects(api, { now: () => nowMs, idleMs: 20 });
    const other = { ...REF, name: 'other' };
    await watched();
    const stop = cluster.watching?.onChange(REF, () => undefined);
    await read({}, other);
    await read({}, other);
    const [first, second] = api.watches;
    nowMs += 21;
    await until(() => Promise.resolve(second?.closed === true));
    expect(first?.closed).toBe(false);
    stop?.();
    await until(() => Promise.resolve(first?.closed === true));
  });

  it('tell whoever waits of a change, and of the end of their watch', async () => {
    await watched();
    let calls = 0;
    const stop = cluster.watching?.onChange(REF, () => (calls += 1));
    api.edit(25);
    api.tellLive();
    expect(calls).toBe(1);
    api.held.options.onEnd();
    expect(calls).toBe(2);
    stop?.();
    await read();
    await read();
    api.tellLive();

    expect(calls).toBe(2);
  });

  it('leave nothing behind when they are closed, a watch that is only about to begin included', async () => {
    await watched();
    let go = (): void => undefined;
    api.before = (verb) => (verb === 'watch' ? new Promise<void>((resolve) => (go = resolve)) : undefined);
    await read({}, { ...REF, name: 'other' });
    await until(() => Promise.resolve(api.calls.at(-1) === 'watch'));
    cluster.close();
    go();
    await until(() => Promise.resolve(api.watches.length === 2));
    await new Promise(setImmediate);

    expect(api.watches.map(({ closed }) => closed)).toEqual([true, true]);
    expect(api.closed).toBe(true);
  });

  /** Keeps the answer of lists back. */
  function holdList(): () => void {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    api.listed = () => held;
    return () => {
      api.listed = () => undefined;
      release();
    };
  }
});
