import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createClient } from '@redis/client';
import { CreateFlag, newFlag } from '../../src/flags/flag';
import type { FlagDocument, StoredFlag } from '../../src/flags/flag';
import { MemoryFlagStore } from '../../src/flags/memory-store';
import { NO_OUTCOMES } from '../../src/flags/outcomes';
import type { OutcomeCounts } from '../../src/flags/outcomes';
import { openRedisFlagStore } from '../../src/flags/redis-store';
import { openSqliteFlagStore } from '../../src/flags/sqlite-store';
import { ForeignCursor, StoreUnavailable, usageDay, usageDays } from '../../src/flags/store';
import type { FlagStore, FlagWrite, StoreHead } from '../../src/flags/store';
import { startRedis } from './redis-process';
import { describeWithRedis, isReachable, openStore, redisServer } from './redis-server';
import { silentLogger, until } from './support';

function flagNamed(name: string, given: Record<string, unknown> = {}): FlagDocument {
  return newFlag(
    CreateFlag.parse({ name, enabled: true, rollout_percentage: 10, ...given }),
    '2026-11-26T00:00:00.000Z',
  );
}

function writeOf(name: string, expected: number | null, rest: Partial<FlagWrite> = {}): FlagWrite {
  const audit = { at: '2026-11-26T00:00:00.000Z', actor: 'test', action: 'created', flag: name, changes: {} } as const;
  return {
    name,
    expected,
    next: flagNamed(name),
    audit: { ...audit, request_id: null },
    idempotency: null,
    ...rest,
  };
}

async function write(
  store: FlagStore,
  name: string,
  expected: number | null,
  rest?: Partial<FlagWrite>,
): Promise<number> {
  const written = await store.write(writeOf(name, expected, rest));
  if (written.kind !== 'written') throw new Error(`the write was answered with ${written.kind}`);
  return written.revision;
}

async function changesOf(store: FlagStore, since: StoreHead | null) {
  const flags: StoredFlag[] = [];
  const changes = await store.changes(since, (flag) => flags.push(flag));
  return { ...changes, names: flags.map(({ flag }) => flag.name).sort() };
}

/** What every store promises. `again` opens the same store once more, as another process or a later one would. */
function contract(open: () => Promise<FlagStore>, again: ((store: FlagStore) => Promise<FlagStore>) | null): void {
  let store: FlagStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(async () => {
    await store.close();
  });

  it('begins empty', async () => {
    expect(await store.head()).toMatchObject({ revision: 0 });
    expect(await store.get('f')).toBeNull();
    expect(await store.list({ after: null, limit: 10 })).toEqual({ items: [], next: null });
    expect(await store.audit({ flag: null, before: null, limit: 10 })).toEqual({ items: [], next: null });
  });

  it('gives back what was written, with a revision that grows', async () => {
    const next = flagNamed('f', { whitelist: ['ä', '用户', "o'brien"], metadata: { tags: ['x'] } });
    const first = await write(store, 'f', null, { next });
    const second = await write(store, 'g', null);

    expect(await store.get('f')).toEqual({ flag: next, revision: first });
    expect(second).toBeGreaterThan(first);
    expect((await store.head()).revision).toBe(second);
  });

  it('refuses a write that was made from another state, and changes nothing', async () => {
    const first = await write(store, 'f', null);
    const second = await write(store, 'f', first, { next: flagNamed('f', { rollout_percentage: 20 }) });

    expect(await store.write(writeOf('f', null))).toEqual({ kind: 'conflict' });
    expect(await store.write(writeOf('f', first))).toEqual({ kind: 'conflict' });
    expect(await store.write(writeOf('f', first, { next: null }))).toEqual({ kind: 'conflict' });
    expect(await store.write(writeOf('g', 7))).toEqual({ kind: 'conflict' });

    expect(await store.get('f')).toMatchObject({ flag: { rollout_percentage: 20 }, revision: second });
    expect((await store.audit({ flag: null, before: null, limit: 10 })).items).toHaveLength(2);
    expect((await store.head()).revision).toBe(second);
  });

  it('lets exactly one of many racing writers win', async () => {
    const first = await write(store, 'f', null);

    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        store.write(writeOf('f', first, { next: flagNamed('f', { rollout_percentage: i }) })),
      ),
    );

    expect(outcomes.filter(({ kind }) => kind === 'written')).toHaveLength(1);
    expect(outcomes.filter(({ kind }) => kind === 'conflict')).toHaveLength(19);
    expect((await store.audit({ flag: 'f', before: null, limit: 50 })).items).toHaveLength(2);
  });

  it('never gives a revision twice, also to a flag that was deleted and made anew', async () => {
    const first = await write(store, 'f', null);
    await write(store, 'f', first, { next: null });
    const again = await write(store, 'f', null);

    expect(again).toBeGreaterThan(first + 1);
    expect(await store.write(writeOf('f', first))).toEqual({ kind: 'conflict' });
  });

  it('lists by name, in pages', async () => {
    for (const name of ['b', 'd', 'a', 'c', 'e']) await write(store, name, null);
    const names = async (after: string | null) => {
      const { items, next } = await store.list({ after, limit: 2 });
      return [items.map(({ flag }) => flag.name), next];
    };

    expect(await names(null)).toEqual([['a', 'b'], 'b']);
    expect(await names('b')).toEqual([['c', 'd'], 'd']);
    expect(await names('d')).toEqual([['e'], null]);
  });

  it('tells what changed since a head', async () => {
    const a = await write(store, 'a', null);
    await write(store, 'b', null);
    const before = await store.head();
    await write(store, 'c', null);
    await write(store, 'a', a, { next: null });

    expect(await changesOf(store, before)).toMatchObject({ complete: false, names: ['c'], deleted: ['a'] });
    expect(await changesOf(store, await store.head())).toMatchObject({ complete: false, names: [], deleted: [] });
    expect(await changesOf(store, null)).toMatchObject({ complete: true, names: ['b', 'c'] });
    const foreign = { incarnation: 'another', revision: before.revision };
    expect(await changesOf(store, foreign)).toMatchObject({ complete: true, names: ['b', 'c'] });
  });

  it('tells all it has to who knows more than it has, as after an older dump', async () => {
    await write(store, 'a', null);
    const { incarnation, revision } = await store.head();

    const changes = await changesOf(store, { incarnation, revision: revision + 1 });

    expect(changes).toEqual({ head: { incarnation, revision }, complete: true, deleted: [], names: ['a'] });
  });

  it('tells more flags than fit one chunk', async () => {
    for (let i = 0; i < 450; i += 1) await write(store, `flag-${i}`, null);

    expect((await changesOf(store, null)).names).toHaveLength(450);
  });

  it('calls those who follow it', async () => {
    let calls = 0;
    const stop = store.subscribe(() => {
      calls += 1;
    });
    await write(store, 'f', null);
    await until(() => calls > 0);

    stop();
  });

  it('keeps an audit entry beside each write, newest first', async () => {
    const a = await write(store, 'a', null);
    const b = await write(store, 'b', null);
    const audit = {
      ...writeOf('a', null).audit,
      action: 'rollout' as const,
      changes: { rollout_percentage: [10, 20] },
    };
    const third = await write(store, 'a', a, { audit });

    const { items, next } = await store.audit({ flag: null, before: null, limit: 2 });

    expect(items).toMatchObject([
      { flag: 'a', action: 'rollout', revision: third, changes: { rollout_percentage: [10, 20] } },
      { flag: 'b', revision: b },
    ]);
    expect(await store.audit({ flag: null, before: next, limit: 2 })).toMatchObject({
      items: [{ flag: 'a', revision: a }],
      next: null,
    });
    expect((await store.audit({ flag: 'a', before: null, limit: 10 })).items).toHaveLength(2);
  });

  it('reads the audit from its own cursors on, and refuses every other', async () => {
    for (const name of ['a', 'b', 'c']) await write(store, name, null);
    const { next } = await store.audit({ flag: null, before: null, limit: 1 });
    const own = next ?? '';
    const ofAnotherStore = own.includes('-') ? '7' : '9999999999999-3';
    const wrong = ['', 'x', '+', '-', '-1', '0', '0-0', '01', '01-1', '1.5', '1e3', ` ${own}`, `(${own}`, `${own}-1-1`];
    const tooLarge = ['9007199254740993', '9'.repeat(20), `${'9'.repeat(20)}-0`, `1-${'9'.repeat(20)}`];

    for (const flag of [null, 'a']) {
      for (const before of [ofAnotherStore, ...wrong, ...tooLarge]) {
        await expect(store.audit({ flag, before, limit: 1 })).rejects.toThrow(ForeignCursor);
      }
      expect((await store.audit({ flag, before: own, limit: 3 })).items).toHaveLength(flag === null ? 2 : 1);
    }
  });

  it('carries a request with a key out once', async () => {
    const idempotency = { key: 'k1', fingerprint: 'x', status: 201 };

    const [one, two] = await Promise.all([
      store.write(writeOf('f', null, { idempotency })),
      store.write(writeOf('f', null, { idempotency })),
    ]);

    expect(one.kind).toBe('written');
    const revision = one.kind === 'written' ? one.revision : 0;
    const remembered = { fingerprint: 'x', status: 201, revision };
    expect(two).toEqual({ kind: 'repeated', remembered });
    expect(await store.recall('k1')).toEqual(remembered);
    expect(await store.recall('k2')).toBeNull();
    expect((await store.audit({ flag: null, before: null, limit: 10 })).items).toHaveLength(1);
  });

  it('remembers a request that changes nothing, and changes nothing', async () => {
    const revision = await write(store, 'f', null);
    const idempotency = { key: 'k1', fingerprint: 'x', status: 200 };
    const remembered = { fingerprint: 'x', status: 200, revision };

    expect(await store.remember({ name: 'f', expected: revision - 1, idempotency })).toEqual({ kind: 'conflict' });
    expect(await store.remember({ name: 'g', expected: revision, idempotency })).toEqual({ kind: 'conflict' });
    expect(await store.recall('k1')).toBeNull();
    expect(await store.remember({ name: 'f', expected: revision, idempotency })).toEqual({ kind: 'written', revision });

    const later = await write(store, 'f', revision);
    expect(await store.recall('k1')).toEqual(remembered);
    expect(await store.remember({ name: 'f', expected: later, idempotency })).toEqual({ kind: 'repeated', remembered });
    expect((await store.head()).revision).toBe(later);
    expect((await store.audit({ flag: null, before: null, limit: 10 })).items).toHaveLength(2);
  });

  it('adds usage up by day, and counts users once', async () => {
    await write(store, 'f', null);
    const [yesterday = '', today = ''] = usageDays(Date.now(), 2);
    const delta = { flag: 'f', lastAt: '2026-11-26T10:00:00.000Z' };

    await store.addUsage([
      { ...delta, day: yesterday, enabled: 2, disabled: 1, users: ['a', 'b'] },
      { ...delta, day: today, enabled: 1, disabled: 0, users: ['b'] },
    ]);
    await store.addUsage([{ ...delta, day: today, enabled: 1, disabled: 3, users: ['b', 'c'] }]);

    expect(await store.usage('f', [yesterday, today])).toEqual({
      days: [
        { day: yesterday, enabled: 2, disabled: 1, unique_users: 2 },
        { day: today, enabled: 2, disabled: 3, unique_users: 2 },
      ],
      unique_users: 3,
      last_evaluated_at: '2026-11-26T10:00:00.000Z',
    });
  });

  it('says when a flag was last asked for, also when that was before the days in question', async () => {
    await write(store, 'f', null);
    const [yesterday = '', today = ''] = usageDays(Date.now(), 2);
    const lastAt = `${yesterday}T10:00:00.000Z`;

    await store.addUsage([{ flag: 'f', lastAt, day: yesterday, enabled: 2, disabled: 1, users: ['a'] }]);

    expect(await store.usage('f', [today])).toEqual({
      days: [{ day: today, enabled: 0, disabled: 0, unique_users: 0 }],
      unique_users: 0,
      last_evaluated_at: lastAt,
    });
  });

  it('counts usage and outcomes that are sent again once, and what comes late not at all', async () => {
    await write(store, 'f', null);
    const day = usageDay(Date.now());
    const identityOf = (number: number, source = 'one') => ({ identity: { source: `${source}:f`, number } });
    const usage = { flag: 'f', day, enabled: 1, disabled: 2, users: ['a'], lastAt: 'now' };
    const numbers = [7, 7, 8, 7, 8];

    for (const number of numbers) {
      await store.addUsage([{ ...usage, ...identityOf(number) }]);
      const outcomes = { ...delta, ...identityOf(number, 'outcomes of one') };
      expect(await store.addOutcomes(outcomes, null)).toEqual({ kind: 'added' });
    }
    await store.addUsage([{ ...usage, users: ['b'], ...identityOf(1, 'another') }]);
    await store.addOutcomes({ ...delta, ...identityOf(1, 'outcomes of another') }, null);

    expect((await store.usage('f', [day])).days).toEqual([{ day, enabled: 3, disabled: 6, unique_users: 2 }]);
    const counts = { enabled: countsOf(9, 3), disabled: countsOf(15, 0) };
    expect(await store.outcomes(query)).toMatchObject({ ...counts, recent: counts });
  });

  it('counts many users at once', async () => {
    await write(store, 'f', null);
    const users = Array.from({ length: 5_000 }, (_, i) => `user-${i}`);
    const day = usageDay(Date.now());

    await store.addUsage([{ flag: 'f', day, enabled: 5_000, disabled: 0, users, lastAt: 'now' }]);

    // Redis estimates; 0.81 % is its standard error.
    expect(Math.abs((await store.usage('f', [day])).unique_users - 5_000)).toBeLessThan(200);
  });

  it('forgets usage after its days, and with its flag', async () => {
    const first = await write(store, 'f', null);
    const days = usageDays(Date.now(), 12);
    const [old = '', today = ''] = [days[0], days.at(-1)];
    const delta = { flag: 'f', enabled: 1, disabled: 0, users: [], lastAt: 'now' };
    await store.addUsage([{ ...delta, day: old }]);
    await store.addUsage([{ ...delta, day: today }]);
    expect((await store.usage('f', [old, today])).days.map(({ enabled }) => enabled)).toEqual([0, 1]);

    await write(store, 'f', first, { next: null });
    await store.addUsage([{ ...delta, day: today, users: ['a'] }]);

    expect(await store.usage('f', [today])).toMatchObject({ unique_users: 0, last_evaluated_at: null });
  });

  const countsOf = (total: number, failed: number): OutcomeCounts => ({
    total,
    failed,
    latency: NO_OUTCOMES.latency.map((_, at) => (at === 3 ? total : 0)),
  });
  const delta = { flag: 'f', environment: 'production', enabled: countsOf(3, 1), disabled: countsOf(5, 0) };
  const query = { flag: 'f', environment: 'production', windowMs: 60_000 };

  it('adds outcomes up, of each environment by itself', async () => {
    await write(store, 'f', null);
    expect(await store.outcomes(query)).toBeNull();

    expect(await store.addOutcomes(delta, null)).toEqual({ kind: 'added' });
    const first = await store.outcomes(query);
    await store.addOutcomes(delta, null);
    await store.addOutcomes({ ...delta, environment: 'staging', disabled: countsOf(9, 9) }, null);
    const second = await store.outcomes(query);

    expect(first).toMatchObject({ enabled: countsOf(3, 1), disabled: countsOf(5, 0) });
    expect(first?.counters).toMatch(/^[0-9a-f-]{36}$/);
    expect(second).toEqual({
      counters: first?.counters,
      since: first?.since,
      enabled: countsOf(6, 2),
      disabled: countsOf(10, 0),
      recent: { enabled: countsOf(6, 2), disabled: countsOf(10, 0) },
    });
    const staging = await store.outcomes({ ...query, environment: 'staging' });
    expect(staging).toMatchObject({ disabled: countsOf(9, 9), recent: { enabled: countsOf(3, 1) } });
    expect(staging?.counters).not.toBe(first?.counters);
  });

  it('tells what came in lately from what came before', async () => {
    await write(store, 'f', null);
    await store.addOutcomes(delta, null);
    // Until the first is older than the window, by the store's own clock.
    await until(async () => (await store.outcomes({ ...query, windowMs: 50 }))?.recent.enabled.total === 0);
    await store.addOutcomes({ ...delta, disabled: countsOf(7, 7) }, null);

    const found = await store.outcomes({ ...query, windowMs: 60_000 });
    expect(found?.recent.disabled).toEqual(countsOf(12, 7));
    expect(found?.disabled).toEqual(countsOf(12, 7));
  });

  it('adds outcomes with a key once, however many send them at the same time', async () => {
    await write(store, 'f', null);
    const idempotency = { key: 'k', fingerprint: 'x', status: 202 };

    const added = await Promise.all(Array.from({ length: 10 }, () => store.addOutcomes(delta, idempotency)));

    expect(added.filter(({ kind }) => kind === 'added')).toHaveLength(1);
    expect(added).toContainEqual({
      kind: 'repeated',
      remembered: { fingerprint: 'x', status: 202, revision: expect.any(Number) },
    });
    expect((await store.outcomes(query))?.enabled).toEqual(countsOf(3, 1));
    // A key is of one kind of request alone, whichever came first.
    expect(await store.write(writeOf('g', null, { idempotency }))).toMatchObject({ kind: 'repeated' });
  });

  it('counts nothing for a new flag that was counted of another one of the name', async () => {
    const [before, after] = ['2026-11-26T00:00:00.000Z', '2026-11-27T00:00:00.000Z'];
    const day = usageDay(Date.now());
    const usage = { flag: 'f', day, enabled: 1, disabled: 0, users: ['a'], lastAt: 'now' };
    const first = await write(store, 'f', null);
    const made = await write(store, 'f', first, { next: { ...flagNamed('f'), updated_at: after } });
    await write(store, 'f', made, { next: null });
    await write(store, 'f', null, { next: { ...flagNamed('f'), created_at: after } });

    await store.addUsage([{ ...usage, createdAt: before }]);
    expect(await store.addOutcomes({ ...delta, createdAt: before }, null)).toEqual({ kind: 'unknown' });
    expect(await store.usage('f', [day])).toMatchObject({ unique_users: 0, last_evaluated_at: null });
    expect(await store.outcomes(query)).toBeNull();

    await store.addUsage([{ ...usage, createdAt: after }]);
    expect(await store.addOutcomes({ ...delta, createdAt: after }, null)).toEqual({ kind: 'added' });
    expect(await store.usage('f', [day])).toMatchObject({ unique_users: 1, days: [{ enabled: 1 }] });
    expect(await store.outcomes(query)).toMatchObject({ enabled: countsOf(3, 1) });
  });

  it('drops outcomes with their flag, and counts those of a new one of the name anew', async () => {
    const first = await write(store, 'f', null);
    await store.addOutcomes(delta, null);
    const before = await store.outcomes(query);

    await write(store, 'f', first, { next: null });
    expect(await store.addOutcomes(delta, null)).toEqual({ kind: 'unknown' });
    expect(await store.outcomes(query)).toBeNull();
    await write(store, 'f', null);
    expect(await store.outcomes(query)).toBeNull();
    await store.addOutcomes(delta, null);

    const after = await store.outcomes(query);
    expect(after).toMatchObject({ enabled: countsOf(3, 1), recent: { enabled: countsOf(3, 1) } });
    expect(after?.counters).not.toBe(before?.counters);
  });

  if (again !== null) {
    it('goes on counting outcomes when it is opened again', async () => {
      await write(store, 'f', null);
      await store.addOutcomes(delta, null);
      const before = await store.outcomes(query);
      const other = await again(store);

      try {
        expect(await other.outcomes(query)).toEqual(before);
        await other.addOutcomes(delta, null);
        expect(await other.outcomes(query)).toMatchObject({ counters: before?.counters, enabled: countsOf(6, 2) });
      } finally {
        await other.close();
      }
    });

    it('lets exactly one of the writers win that race over two connections', async () => {
      const first = await write(store, 'f', null);
      const other = await again(store);

      try {
        const outcomes = await Promise.all(
          Array.from({ length: 20 }, (_, i) =>
            (i % 2 === 0 ? store : other).write(
              writeOf('f', first, { next: flagNamed('f', { rollout_percentage: i }) }),
            ),
          ),
        );

        expect(outcomes.filter(({ kind }) => kind === 'written')).toHaveLength(1);
        expect(outcomes.filter(({ kind }) => kind === 'conflict')).toHaveLength(19);
        expect(await other.get('f')).toEqual(await store.get('f'));
        expect(await other.head()).toEqual(await store.head());
        expect((await other.audit({ flag: 'f', before: null, limit: 50 })).items).toHaveLength(2);
      } finally {
        await other.close();
      }
    });

    it('has it all when it is opened again', async () => {
      const revision = await write(store, 'f', null);
      const other = await again(store);

      try {
        expect(await other.get('f')).toMatchObject({ revision });
        expect(await other.head()).toEqual(await store.head());
        expect((await other.audit({ flag: 'f', before: null, limit: 1 })).items).toHaveLength(1);
      } finally {
        await other.close();
      }
    });
  }
}

describe('the memory store', () => {
  contract(() => Promise.resolve(new MemoryFlagStore()), null);

  it('forgets usage after its days, also of a flag that nobody asks any more', async () => {
    let now = Date.parse('2026-11-26T12:00:00Z');
    const store = new MemoryFlagStore(() => now);
    for (const name of ['idle', 'asked']) await write(store, name, null);
    const [day, counts] = [usageDay(now), { enabled: 1, disabled: 0, users: ['a'], lastAt: 'now' }];
    await store.addUsage([{ ...counts, flag: 'idle', day }]);

    now += 8 * 86_400_000;
    await store.addUsage([{ ...counts, flag: 'asked', day: usageDay(now) }]);

    expect(await store.usage('idle', [day])).toMatchObject({ days: [{ enabled: 0 }], unique_users: 0 });
  });

  it('forgets usage after its days, also when nothing is asked but for how much there is', async () => {
    let now = Date.parse('2026-11-26T12:00:00Z');
    const store = new MemoryFlagStore(() => now);
    await write(store, 'f', null);
    const day = usageDay(now);
    await store.addUsage([{ flag: 'f', day, enabled: 1, disabled: 0, users: ['a'], lastAt: 'now' }]);

    now += 8 * 86_400_000;

    expect(await store.usage('f', [day])).toMatchObject({ unique_users: 0, last_evaluated_at: null });
  });

  it('begins outcomes anew after days without any', async () => {
    let now = Date.parse('2026-11-26T00:00:00Z');
    const store = new MemoryFlagStore(() => now);
    await write(store, 'f', null);
    const one = { ...NO_OUTCOMES, total: 1 };
    const delta = { flag: 'f', environment: 'production', enabled: one, disabled: one };
    const query = { flag: 'f', environment: 'production', windowMs: 60_000 };
    await store.addOutcomes(delta, null);
    const before = await store.outcomes(query);

    now += 8 * 86_400_000 - 1;
    expect(await store.outcomes(query)).toMatchObject({ enabled: { total: 1 }, recent: { enabled: { total: 0 } } });
    now += 1;
    expect(await store.outcomes(query)).toBeNull();
    await store.addOutcomes(delta, null);
    const after = await store.outcomes(query);
    expect(after?.enabled.total).toBe(1);
    expect(after?.counters).not.toBe(before?.counters);
  });

  it('remembers a request for a day', async () => {
    let now = 1_000_000;
    const store = new MemoryFlagStore(() => now);
    await write(store, 'f', null, { idempotency: { key: 'k', fingerprint: 'x', status: 201 } });

    now += 24 * 3_600_000 - 1;
    expect(await store.recall('k')).not.toBeNull();
    now += 1;
    expect(await store.recall('k')).toBeNull();
  });
});

describe('the SQLite store', () => {
  let directory: string;
  let path: string;
  let number = 0;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'sluice-flags-'));
  });
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  contract(
    () => {
      number += 1;
      path = join(directory, `${number}.db`);
      return Promise.resolve(openSqliteFlagStore({ path }));
    },
    () => Promise.resolve(openSqliteFlagStore({ path })),
  );

  it('forgets usage and outcomes after their time, also of a flag that nobody asks any more', async () => {
    let now = Date.parse('2026-11-26T12:00:00Z');
    const file = join(directory, 'idle.db');
    const store = openSqliteFlagStore({ path: file, now: () => now });
    const kept = () => {
      const database = new DatabaseSync(file, { readOnly: true });
      const flagsOf = (table: string) =>
        database
          .prepare(`SELECT flag FROM ${table} ORDER BY flag`)
          .all()
          .map(({ flag }) => flag);
      const found = {
        usage: flagsOf('usage'),
        users: flagsOf('usage_users').length,
        outcomes: flagsOf('outcomes'),
        recent: flagsOf('recent_outcomes'),
      };
      database.close();
      return found;
    };
    const one = { ...NO_OUTCOMES, total: 1 };
    const ask = async (flag: string, users: readonly string[]) => {
      const counts = { flag, enabled: users.length, disabled: 0, users, lastAt: 'now' };
      await store.addUsage([{ ...counts, day: usageDay(now) }]);
      await store.addOutcomes({ flag, environment: 'production', enabled: one, disabled: one }, null);
    };
    try {
      await write(store, 'idle', null);
      await write(store, 'asked', null);
      // More than are deleted at once.
      await ask(
        'idle',
        Array.from({ length: 1_200 }, (_, i) => `user-${i}`),
      );

      now += 8 * 86_400_000 - 1;
      await ask('asked', ['a']);
      // Today less eight days is a day that is gone; the outcomes have one millisecond left.
      expect(kept()).toEqual({ usage: ['asked'], users: 1, outcomes: ['asked', 'idle'], recent: ['asked'] });

      now += 1;
      await ask('asked', ['a']);
      expect(kept()).toMatchObject({ outcomes: ['asked'], recent: ['asked', 'asked'] });
    } finally {
      await store.close();
    }
  });

  it.each(['it is opened', 'somebody asks for usage'])('forgets usage after its days when %s', async (when) => {
    let now = Date.parse('2026-11-26T12:00:00Z');
    const file = join(directory, `${when}.db`);
    const open = () => openSqliteFlagStore({ path: file, now: () => now });
    const first = open();
    await write(first, 'f', null);
    const day = usageDay(now);
    await first.addUsage([{ flag: 'f', day, enabled: 1, disabled: 0, users: ['a'], lastAt: 'now' }]);
    const one = { ...NO_OUTCOMES, total: 1 };
    await first.addOutcomes({ flag: 'f', environment: 'production', enabled: one, disabled: one }, null);
    const rows = (table: string): unknown => {
      const database = new DatabaseSync(file, { readOnly: true });
      const found = database.prepare(`SELECT count(*) AS rows FROM ${table}`).get();
      database.close();
      return found?.['rows'];
    };

    now += 8 * 86_400_000;
    const second = when === 'it is opened' ? open() : first;
    try {
      if (second === first) {
        expect(await first.usage('f', [day])).toMatchObject({ unique_users: 0, last_evaluated_at: null });
      } else {
        expect(['outcomes', 'recent_outcomes'].map(rows)).toEqual([0, 0]);
      }
      expect(['usage', 'usage_users'].map(rows)).toEqual([0, 0]);
    } finally {
      await first.close();
      if (second !== first) await second.close();
    }
  });

  it('says in a sentence why a file cannot be opened', () => {
    expect(() => openSqliteFlagStore({ path: join(directory, 'none', 'flags.db') })).toThrow(
      /flag store .*none\/flags.db cannot be opened/,
    );
  });
});

describeWithRedis('the Redis store', (redis) => {
  const connect = (): Promise<FlagStore> => openStore(redis().url);
  const raw = async <T>(ask: (client: ReturnType<typeof createClient>) => Promise<T>): Promise<T> => {
    const client = createClient({ url: redis().url });
    await client.connect();
    try {
      return await ask(client as ReturnType<typeof createClient>);
    } finally {
      client.destroy();
    }
  };
  contract(async () => {
    await raw((client) => client.flushAll());
    return connect();
  }, connect);

  it('keeps flags under the names that others know, and usage that ends by itself', async () => {
    await raw((client) => client.flushAll());
    const store = await connect();
    try {
      await write(store, 'f', null);
      const day = usageDay(Date.now());
      await store.addUsage([{ flag: 'f', day, enabled: 1, disabled: 0, users: ['a'], lastAt: 'now' }]);

      const keys = await raw((client) => client.keys('*'));
      expect(keys).toEqual(expect.arrayContaining(['feature_flag:f', 'feature_flag:all', 'feature_flag:usage:f']));
      const ttl = await raw((client) => client.ttl('feature_flag:usage:f'));
      expect(ttl).toBeGreaterThan(7 * 86_400);
      expect(ttl).toBeLessThanOrEqual(8 * 86_400);
    } finally {
      await store.close();
    }
  });

  it('leaves out a flag that somebody else spoiled, and has the others', async () => {
    await raw((client) => client.flushAll());
    const store = await connect();
    try {
      await write(store, 'a', null);
      await write(store, 'b', null);
      await raw((client) => client.hSet('feature_flag:a', 'document', '{"name":'));

      expect(await changesOf(store, null)).toMatchObject({ names: ['b'] });
    } finally {
      await store.close();
    }
  });
});

const program = redisServer();
(program === undefined ? describe.skip : describe)('a Redis that is away', () => {
  it('is said at once, and found again', async () => {
    const redis = await startRedis(program ?? '');
    const store = openRedisFlagStore({ url: redis.url, logger: silentLogger });
    try {
      await until(() => isReachable(store));
      await write(store, 'f', null);
      await redis.kill();

      await until(() =>
        store.head().then(
          () => false,
          (error) => error instanceof StoreUnavailable,
        ),
      );
      await expect(store.write(writeOf('g', null))).rejects.toThrow(StoreUnavailable);

      let told = 0;
      store.subscribe(() => {
        told += 1;
      });
      await redis.start();
      await until(() =>
        store.get('f').then(
          (found) => found !== null,
          () => false,
        ),
      );
      await until(() => told > 0);
    } finally {
      await store.close();
      await redis.close();
    }
  });
});
