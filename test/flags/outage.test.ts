import { setTimeout as delay } from 'node:timers/promises';
import { flagBucket } from '../../src/flags/bucket';
import { FlagDefaults } from '../../src/flags/defaults';
import { CreateFlag, newFlag } from '../../src/flags/flag';
import type { StoredFlag } from '../../src/flags/flag';
import { MemoryFlagStore } from '../../src/flags/memory-store';
import { OutcomeRecorder } from '../../src/flags/outcome-recorder';
import { NO_OUTCOMES } from '../../src/flags/outcomes';
import { openRedisFlagStore } from '../../src/flags/redis-store';
import { Ruleset } from '../../src/flags/ruleset';
import { StoreUnavailable, usageDays } from '../../src/flags/store';
import type { FlagStore, StoreHead } from '../../src/flags/store';
import { UsageRecorder } from '../../src/flags/usage';
import { describeWithRedis, isReachable, openStore } from './redis-server';
import { serveFlags, stopServers } from './serve';
import { startSilentProxy } from './silent-proxy';
import { recordingLogger, send, silentLogger, until } from './support';

afterEach(stopServers);

/** A store in memory that can be taken away. */
class BreakableStore extends MemoryFlagStore {
  broken = false;

  override head() {
    return this.broken ? Promise.reject(new StoreUnavailable('it is away')) : super.head();
  }

  override addUsage(deltas: Parameters<FlagStore['addUsage']>[0]) {
    return this.broken ? Promise.reject(new StoreUnavailable('it is away')) : super.addUsage(deltas);
  }
}

async function put(store: FlagStore, name: string, given: Record<string, unknown> = {}): Promise<void> {
  const held = await store.get(name);
  const next = newFlag(CreateFlag.parse({ name, enabled: true, ...given }), 'now');
  const audit = { at: 'now', actor: 't', action: 'updated' as const, flag: name, changes: {}, request_id: null };
  await store.write({ name, expected: held?.revision ?? null, next, audit, idempotency: null });
}

const oneOutcome = {
  flag: 'f',
  environment: 'production',
  enabled: { ...NO_OUTCOMES, total: 1 },
  disabled: NO_OUTCOMES,
};

describe('a ruleset whose store goes away', () => {
  it('keeps what it knew, shows its age, and says once that it is so', async () => {
    const store = new BreakableStore();
    await put(store, 'f');
    let now = 0;
    const logger = recordingLogger();
    const ruleset = new Ruleset({ source: store, logger, pollMs: 5, staleMs: 1_000, monotonic: () => now });
    await ruleset.start(1_000);
    expect(ruleset.state).toBe('fresh');

    store.broken = true;
    await until(() => logger.lines.length > 0);
    now = 999;
    expect(ruleset).toMatchObject({ state: 'fresh', ageMs: 999 });
    now = 1_001;
    expect(ruleset.state).toBe('stale');
    expect(ruleset.flag('f')?.enabled).toBe(true);
    await delay(50);
    expect(logger.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);

    store.broken = false;
    await until(() => ruleset.state === 'fresh');
    expect(logger.lines.at(-1)).toMatchObject({ level: 'info', message: 'the flag store answers again' });
    await ruleset.stop();
  });

  it('keeps what it knew when the store comes back empty, until somebody writes', async () => {
    let store: FlagStore = new MemoryFlagStore();
    await put(store, 'old');
    const source = {
      head: () => store.head(),
      changes: (...all: Parameters<FlagStore['changes']>) => store.changes(...all),
      subscribe: () => () => undefined,
    };
    const logger = recordingLogger();
    const ruleset = new Ruleset({ source, logger, pollMs: 5 });
    await ruleset.start(1_000);

    store = new MemoryFlagStore();
    await until(() => logger.lines.some(({ level }) => level === 'error'));
    expect(ruleset.flag('old')).toBeDefined();

    await put(store, 'new');
    await until(() => ruleset.flag('new') !== undefined);
    expect(ruleset.flag('old')).toBeUndefined();
    await ruleset.stop();
  });

  it('says that the store came back with less than it had, and answers as it has it then', async () => {
    let store: FlagStore = new MemoryFlagStore();
    const { incarnation } = await store.head();
    await put(store, 'kept', { rollout_percentage: 0 });
    const older = store;
    // The same history, further on.
    store = new MemoryFlagStore(() => Date.now() + 60_000);
    await put(store, 'kept', { rollout_percentage: 100 });
    await put(store, 'lost');
    const source = {
      head: async () => ({ ...(await store.head()), incarnation }),
      changes: async (since: StoreHead | null, tell: (flag: StoredFlag) => void) => {
        const changes = await store.changes(since && { ...since, incarnation: (await store.head()).incarnation }, tell);
        return { ...changes, head: { ...changes.head, incarnation } };
      },
      subscribe: () => () => undefined,
    };
    const logger = recordingLogger();
    const ruleset = new Ruleset({ source, logger, pollMs: 60_000 });
    await ruleset.start(1_000);
    const told: (readonly string[])[] = [];
    ruleset.onChange((names) => told.push(names));
    const known = (await store.head()).revision;

    store = older;
    await ruleset.refresh();
    await ruleset.refresh();

    expect(ruleset.flag('kept')?.percentage).toBe(0);
    expect(ruleset.flag('lost')).toBeUndefined();
    expect(told).toEqual([['kept', 'lost']]);
    expect(logger.lines).toEqual([
      {
        level: 'error',
        message: 'the flag store came back with less than it had; flags are answered as it has them now',
        data: { incarnation, revision: (await older.head()).revision, known },
      },
    ]);
    await ruleset.stop();
  });

  it('begins without it, with every flag off, counted and logged', async () => {
    const store = new BreakableStore();
    store.broken = true;
    const logger = recordingLogger();
    const server = await serveFlags([], { store, logger });

    const check = await send(`${server.url}/api/feature-flags/f/check`, 'POST', { body: { user_id: 'u' } });
    const ofrep = await send(`${server.url}/ofrep/v1/evaluate/flags/f`, 'POST', { body: {} });
    const explained = await send(`${server.url}/api/feature-flags/f/explain`, 'POST', { body: { user_id: 'u' } });

    expect(check).toMatchObject({ status: 200, body: { enabled: false, reason: 'unavailable' } });
    // Nothing is known of its rules, and not that there is no such flag either.
    expect(explained).toMatchObject({ status: 503, body: { code: 'store-unavailable' } });
    expect(ofrep).toMatchObject({ status: 503, body: { key: 'f', errorCode: 'GENERAL' } });
    expect(logger.lines.some(({ message }) => message.startsWith('no flags were loaded yet'))).toBe(true);
    expect(await send(`${server.url}/readyz`, 'GET')).toMatchObject({
      status: 503,
      body: { status: 'empty', fallbacks: 2 },
    });
    expect((await send(`${server.url}/metrics`, 'GET')).body).toContain('sluice_flag_fallback_total 2');
    store.broken = false;
    await until(async () => (await send(`${server.url}/readyz`, 'GET')).status === 200);
  });
});

describe('usage', () => {
  it('that the store does not take is kept and written later', async () => {
    const store = new BreakableStore();
    await put(store, 'f');
    const usage = new UsageRecorder({ store, logger: silentLogger, flushMs: 60_000 });
    usage.of('f').record(true, 'a');
    store.broken = true;
    await usage.flush();
    usage.of('f').record(false, 'b');
    await usage.flush();

    store.broken = false;
    await usage.close();

    const day = new Date().toISOString().slice(0, 10).replaceAll('-', '');
    expect((await store.usage('f', [day])).days).toEqual([{ day, enabled: 1, disabled: 1, unique_users: 2 }]);
  });

  it('of as many users as can be told apart is written at once', async () => {
    const store = new MemoryFlagStore();
    await put(store, 'f');
    const usage = new UsageRecorder({ store, logger: silentLogger, flushMs: 60_000 });
    const counter = usage.of('f');
    const day = new Date().toISOString().slice(0, 10).replaceAll('-', '');
    const unique = async () => (await store.usage('f', [day])).unique_users;

    for (let i = 0; i < FlagDefaults.usageUsersBuffered; i += 1) counter.record(true, `user-${i}`);
    await until(async () => (await unique()) === FlagDefaults.usageUsersBuffered);
    counter.record(true, 'one more');
    await usage.close();

    expect(await unique()).toBe(FlagDefaults.usageUsersBuffered + 1);
  });

  it('is written within a second by itself', async () => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
    try {
      const store = new MemoryFlagStore();
      await put(store, 'f');
      const usage = new UsageRecorder({ store, logger: silentLogger });
      usage.of('f').record(true, null);

      await jest.advanceTimersByTimeAsync(1_000);

      expect((await store.usage('f', usageDays(Date.now(), 1))).days).toMatchObject([{ enabled: 1 }]);
      await usage.close();
    } finally {
      jest.useRealTimers();
    }
  });
});

interface Recording {
  readonly recorder: { flush(): Promise<void>; close(): Promise<void> };
  readonly count: (flag?: string) => void;
}

const RECORDERS: readonly [string, (store: FlagStore) => Recording][] = [
  [
    'usage',
    (store) => {
      const recorder = new UsageRecorder({ store, logger: silentLogger, flushMs: 60_000 });
      return { recorder, count: (flag = 'f') => recorder.of(flag).record(true, null) };
    },
  ],
  [
    'outcomes',
    (store) => {
      const recorder = new OutcomeRecorder({ store, logger: silentLogger, flushMs: 60_000 });
      return { recorder, count: (flag = 'f') => void recorder.add({ ...oneOutcome, flag }) };
    },
  ],
];

describe('what is counted of many flags', () => {
  it.each(RECORDERS)('is handed on many at a time: %s', async (_what, open) => {
    const flags = 1_000;
    let answers: (() => void)[] = [];
    let asked = 0;
    class SlowStore extends MemoryFlagStore {
      async #answer(): Promise<void> {
        asked += 1;
        await new Promise<void>((resolve) => answers.push(resolve));
      }
      override addUsage() {
        return this.#answer();
      }
      override async addOutcomes() {
        await this.#answer();
        return { kind: 'added' as const };
      }
    }
    const { recorder, count } = open(new SlowStore());
    for (let i = 0; i < flags; i += 1) count(`flag-${i}`);

    const closed = recorder.close();
    let rounds = 0;
    while (asked < flags || answers.length > 0) {
      await until(() => answers.length > 0);
      const round = answers;
      answers = [];
      for (const answer of round) answer();
      rounds += 1;
      await delay(0);
    }
    await closed;

    expect(asked).toBe(flags);
    expect(rounds).toBe(flags / FlagDefaults.deltasAtOnce);
  });
});

describe('what is buffered of a flag that is deleted and made anew', () => {
  it('is not counted for the new one', async () => {
    let now = Date.parse('2026-11-26T12:00:00Z');
    const { url } = await serveFlags([{ name: 'f', enabled: true }], {
      store: new MemoryFlagStore(() => now),
      now: () => now,
    });
    const at = `${url}/api/feature-flags/f`;
    const use = async () => {
      await send(`${at}/check`, 'POST', { body: { user_id: 'u' } });
      await send(`${at}/outcomes`, 'POST', { body: { outcomes: [{ user_id: 'u', ok: false }] } });
    };

    await use();
    await send(at, 'DELETE');
    now += 1;
    await send(`${url}/api/feature-flags`, 'POST', { body: { name: 'f', enabled: true } });
    expect((await send(`${at}/stats`, 'GET')).body).toMatchObject({ total: 0, unique_users: 0 });
    expect((await send(`${at}/outcomes`, 'GET')).body).toMatchObject({ counters: null, enabled: { total: 0 } });

    await use();
    expect((await send(`${at}/stats`, 'GET')).body).toMatchObject({ total: 1, unique_users: 1 });
    expect((await send(`${at}/outcomes`, 'GET')).body).toMatchObject({ enabled: { total: 1, failed: 1 } });
  });
});

describe('a stop while the store hangs', () => {
  it.each(RECORDERS)('waits for the try that is under way and for one more: %s', async (_what, open) => {
    const tries: (() => void)[] = [];
    class HangingStore extends MemoryFlagStore {
      #hang() {
        return new Promise<never>((_, reject) => {
          tries.push(() => reject(new StoreUnavailable('it did not answer')));
        });
      }
      override addUsage() {
        return this.#hang();
      }
      override addOutcomes() {
        return this.#hang();
      }
    }
    const { recorder, count } = open(new HangingStore());

    for (let i = 0; i < 5; i += 1) {
      count();
      void recorder.flush();
    }
    let closed = false;
    const close = recorder.close().then(() => {
      closed = true;
    });
    await until(() => {
      tries.at(-1)?.();
      return closed;
    });
    await close;

    expect(tries).toHaveLength(2);
  });
});

describeWithRedis('a Redis that hangs and keeps its connections', (redis) => {
  it('counts what it is sent again and again once', async () => {
    const store = await openStore(redis().url);
    await put(store, 'f');
    const usage = new UsageRecorder({ store, logger: silentLogger, flushMs: 60_000 });
    const outcomes = new OutcomeRecorder({ store, logger: silentLogger, flushMs: 60_000 });
    const count = (user: string) => {
      usage.of('f').record(true, user);
      outcomes.add(oneOutcome);
    };
    const flush = () => Promise.all([usage.flush(), outcomes.flush()]);

    try {
      count('before');
      await flush();
      redis().hang();
      // The first is given up after two seconds, and what it sent waits in the connection; the others find none.
      for (const user of ['a', 'b', 'c']) {
        count(user);
        await flush();
      }
      redis().goOn();
      await until(() => isReachable(store));
      count('after');
      await Promise.all([usage.close(), outcomes.close()]);

      const [day = ''] = usageDays(Date.now(), 1);
      expect((await store.usage('f', [day])).days).toEqual([{ day, enabled: 5, disabled: 0, unique_users: 5 }]);
      const found = await store.outcomes({ flag: 'f', environment: 'production', windowMs: 60_000 });
      expect(found).toMatchObject({ enabled: { total: 5 }, recent: { enabled: { total: 5 } } });
    } finally {
      redis().goOn();
      await store.close();
    }
  }, 60_000);
});

describeWithRedis('a Redis whose connections were lost without a word', (redis) => {
  it('is reached over new ones, for questions and for what is published', async () => {
    const proxy = await startSilentProxy(redis().url);
    const logger = recordingLogger();
    const store = openRedisFlagStore({ url: proxy.url, logger });
    const other = await openStore(redis().url);
    let told = 0;
    try {
      await until(() => isReachable(store));
      await put(store, 'f');
      await until(() => proxy.opened === 2);

      proxy.silence();
      await expect(put(store, 'f')).rejects.toThrow('Redis did not answer within 2000 ms.');
      await until(() => isReachable(store), 10_000);
      await put(store, 'f', { rollout_percentage: 20 });
      await until(() => proxy.opened === 4, 10_000);

      store.subscribe(() => {
        told += 1;
      });
      // The first may be told of by the new connection itself.
      for (const percentage of [30, 40]) {
        const before = told;
        await put(other, 'f', { rollout_percentage: percentage });
        await until(() => told > before, 10_000);
      }
      expect(logger.lines.map(({ message }) => message)).toEqual([
        'Redis cannot be reached; flags are answered as they were last known',
        'Redis can be reached again',
      ]);
    } finally {
      await store.close();
      await other.close();
      await proxy.close();
    }
  }, 60_000);

  it('keeps a connection on which nobody asks anything', async () => {
    const proxy = await startSilentProxy(redis().url);
    const store = await openStore(proxy.url);
    try {
      await until(() => proxy.opened === 2);
      // Longer than a silent one is kept.
      await delay(FlagDefaults.redisSilenceMs + 1_000);

      expect(await isReachable(store)).toBe(true);
      expect(proxy.opened).toBe(2);
    } finally {
      await store.close();
      await proxy.close();
    }
  }, 60_000);
});

describeWithRedis('a Redis that hangs while it is asked to write', (redis) => {
  it('may have made the change, which is said, and made once with the same key', async () => {
    const store = await openStore(redis().url);
    const audit = { at: 'now', actor: 't', action: 'created' as const, flag: 'late', changes: {}, request_id: null };
    const next = newFlag(CreateFlag.parse({ name: 'late', enabled: true }), 'now');
    const idempotency = { key: 'late', fingerprint: 'x', status: 201 };
    const write = (key: typeof idempotency | null) =>
      store.write({ name: 'late', expected: null, next, audit, idempotency: key });
    try {
      // So that it has the script, of which only the name is sent.
      await put(store, 'early');
      redis().hang();
      await expect(write(idempotency)).rejects.toThrow(
        'Redis did not answer within 2000 ms. The change may have been made all the same: repeat it with the same Idempotency-Key, and it is made once.',
      );
      // Over a connection that is only just being made nothing is asked.
      await expect(write(null)).rejects.toThrow(/^Redis cannot be used: (?!.*may have been made)/);
      redis().goOn();

      await until(async () => (await isReachable(store)) && (await store.get('late')) !== null);
      expect(await write(idempotency)).toMatchObject({ kind: 'repeated' });
    } finally {
      redis().goOn();
      await store.close();
    }
  }, 60_000);
});

/** Counts the looks that the store answered. */
function watched(store: FlagStore): FlagStore & { readonly answered: number } {
  const { head } = store;
  let answered = 0;
  store.head = async () => {
    const found = await head.call(store);
    answered += 1;
    return found;
  };
  return Object.defineProperty(store, 'answered', { get: () => answered }) as FlagStore & { readonly answered: number };
}

describeWithRedis('a service whose Redis is killed and comes back, under load', (redis) => {
  it('gives no wrong answer and no error, and has what is new with its first look after the return', async () => {
    const store = watched(openRedisFlagStore({ url: redis().url, logger: silentLogger }));
    await until(() => isReachable(store));
    const flags = [
      { name: 'halved', enabled: true, rollout_percentage: 50, whitelist: ['listed'], blacklist: ['barred'] },
    ];
    const { url, ruleset } = await serveFlags(flags, { store });
    const at = `${url}/api/feature-flags/halved`;
    const users = Array.from({ length: 40 }, (_, i) => `user-${i}`);
    const expected = new Map(users.map((user) => [user, flagBucket('halved', user) < 50]));
    expect(new Set(expected.values())).toEqual(new Set([true, false]));
    expected.set('listed', true).set('barred', false);
    const wrong: unknown[] = [];
    let asked = 0;
    let running = true;
    const everybody = [...expected];
    const load = Promise.all(
      [0, 1, 2, 3].map(async (first) => {
        for (let i = first; running; i += 1) {
          const [user_id, isOn] = everybody[i % everybody.length] ?? ['', false];
          const reply = await send(`${at}/check`, 'POST', { body: { user_id } });
          const { enabled } = reply.body as { enabled?: boolean };
          if (reply.status !== 200 || enabled !== isOn) wrong.push(reply);
          asked += 1;
        }
      }),
    );
    const write = (text: string) => send(at, 'PUT', { body: { description: text } });

    await until(() => asked > 2 * everybody.length);
    await redis().kill();
    await until(async () => (await write('nobody takes it')).status === 503);
    const before = asked;
    await until(() => asked > before + 2 * everybody.length);
    let looksAtChange: number | null = null;
    ruleset.onChange(() => {
      looksAtChange ??= store.answered;
    });
    await redis().start();
    const returned = performance.now();
    // Another process is the first to write, and nobody tells this one of it but its own connection.
    const other = await openStore(redis().url);
    const held = await other.get('halved');
    if (held === null) throw new Error('the flag of the test is gone');
    const audit = { at: 'now', actor: 't', action: 'updated' as const, flag: 'halved', changes: {}, request_id: null };
    const next = { ...held.flag, description: 'of another' };
    const written = await other.write({ name: 'halved', expected: held.revision, next, audit, idempotency: null });
    const looksBefore = store.answered;
    await until(() => looksAtChange !== null);
    const heardMs = Math.round(performance.now() - returned);
    await until(async () => (await write('of this one')).status === 200);
    const writtenMs = Math.round(performance.now() - returned);
    process.stderr.write(
      `Redis came back under load: a change was known after ${heardMs} ms, one was written after ${writtenMs} ms\n`,
    );
    await until(async () => (await send(`${url}/readyz`, 'GET')).status === 200);
    running = false;
    await load;
    await other.close();

    expect(wrong).toEqual([]);
    expect(written.kind).toBe('written');
    // One may have been under way, asked before the change; the next one has it. How long that is, is the machine's.
    expect((looksAtChange ?? Infinity) - looksBefore).toBeLessThanOrEqual(2);
    // How long nobody tries to connect is ours.
    expect(FlagDefaults.redisRetryMaxMs).toBeLessThan(1_000);
    await until(async () => {
      const { body } = await send(`${at}/stats`, 'GET');
      return (body as { total: number }).total >= asked;
    });
  }, 60_000);

  it('answers as it has the flags now when it comes back from an older copy of its data', async () => {
    const logger = recordingLogger();
    const { url } = await serveFlags([{ name: 'restored', enabled: true, rollout_percentage: 0 }], {
      store: await openStore(redis().url),
      logger,
    });
    const at = `${url}/api/feature-flags/restored`;
    const answer = async (): Promise<unknown> => {
      const { body } = await send(`${at}/check`, 'POST', { body: { user_id: 'u' } });
      return (body as { enabled: unknown }).enabled;
    };
    await redis().kill();
    const older = redis().copyData();
    await redis().start();
    await until(async () => (await send(`${at}/rollout`, 'PATCH', { body: { percentage: 100 } })).status === 200);
    await send(`${url}/api/feature-flags`, 'POST', { body: { name: 'newer', enabled: true } });
    expect(await answer()).toBe(true);

    await redis().kill();
    older.putBack();
    await redis().start();

    await until(async () => (await answer()) === false);
    expect(await send(at, 'GET')).toMatchObject({ status: 200, body: { rollout_percentage: 0 } });
    expect((await send(`${url}/api/feature-flags/newer/check`, 'POST', { body: { user_id: 'u' } })).status).toBe(404);
    expect(logger.lines.filter(({ level }) => level === 'error').map(({ message }) => message)).toEqual([
      'the flag store came back with less than it had; flags are answered as it has them now',
    ]);
  });

  it('hears of a change that another process made', async () => {
    const open = (): Promise<FlagStore> => openStore(redis().url);
    const [one, other] = [await serveFlags([], { store: await open() }), await serveFlags([], { store: await open() })];
    const flag = { name: 'shared', enabled: true };
    await send(`${one.url}/api/feature-flags`, 'POST', { body: flag });

    await until(() => other.ruleset.flag('shared') !== undefined);
    await send(`${one.url}/api/feature-flags/shared`, 'DELETE');
    await until(() => other.ruleset.flag('shared') === undefined);
  });
});
