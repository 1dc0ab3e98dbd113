import { OpenFeature, ProviderEvents } from '@openfeature/server-sdk';
import {
  createFlagClient,
  createFlagProvider,
  flagWeight,
  FlagServiceClient,
  MemoryFlagStore,
  openRedisFlagStore,
} from '../../src/flags';
import { CreateFlag, newFlag } from '../../src/flags/flag';
import { StoreUnavailable } from '../../src/flags/store';
import type { FlagStore } from '../../src/flags';
import { createCohortRouter } from '../../src/router';
import { describeWithRedis, isReachable } from './redis-server';
import { serveFlags, stopServers } from './serve';
import { silentLogger, until } from './support';

afterEach(stopServers);

async function put(store: FlagStore, name: string, given: Record<string, unknown>): Promise<void> {
  const held = await store.get(name);
  const next = newFlag(CreateFlag.parse({ name, enabled: true, ...given }), 'now');
  const audit = { at: 'now', actor: 't', action: 'updated' as const, flag: name, changes: {}, request_id: null };
  await store.write({ name, expected: held?.revision ?? null, next, audit, idempotency: null });
}

async function take(store: FlagStore, name: string): Promise<void> {
  const held = await store.get(name);
  const audit = { at: 'now', actor: 't', action: 'deleted' as const, flag: name, changes: {}, request_id: null };
  await store.write({ name, expected: held?.revision ?? null, next: null, audit, idempotency: null });
}

describe('the client of the REST endpoints', () => {
  it('does with flags what can be done', async () => {
    const { url } = await serveFlags();
    const client = new FlagServiceClient({ url: `${url}/` });

    const created = await client.create({ name: 'f', enabled: true, rollout_percentage: 0 });
    expect(await client.get('f')).toEqual(created);
    expect((await client.list()).flags).toEqual([created]);
    await client.update('f', { description: 'of the test' }, { revision: created.revision });
    await client.addUser('f', { list: 'whitelist', userId: 'a/b' });
    expect(await client.check('f', { userId: 'a/b' })).toMatchObject({ enabled: true, reason: 'whitelist' });
    expect((await client.explain('f', { userId: 'c', environment: 'staging' })).rules.at(-1)?.rule).toBe('percentage');
    await client.removeUser('f', { list: 'whitelist', userId: 'a/b' });
    expect(await client.stats('f')).toMatchObject({ total: 1, unique_users: 1 });
    expect((await client.audit('f')).entries.map(({ action }) => action)).toEqual([
      'unlisted',
      'listed',
      'updated',
      'created',
    ]);
    await client.delete('f');
    await expect(client.get('f')).rejects.toMatchObject({ code: 'flag-not-found', status: 404 });
  });

  it('sets a percentage under a fence, and is told why it may not', async () => {
    const { url } = await serveFlags([{ name: 'f', enabled: true, rollout_percentage: 0 }]);
    const client = new FlagServiceClient({ url });
    const { revision } = await client.get('f');

    const set = await client.setRollout('f', { percentage: 5, fence: { owner: 'r', epoch: 7 } }, { revision });

    expect(set).toMatchObject({ rollout_percentage: 5, fence: { owner: 'r', epoch: 7 } });
    const late = client.setRollout('f', { percentage: 50, fence: { owner: 'r', epoch: 6 } });
    await expect(late).rejects.toMatchObject({ code: 'stale-fence', status: 409 });
    const blind = client.setRollout('f', { percentage: 50 }, { revision });
    await expect(blind).rejects.toMatchObject({ code: 'precondition-failed', status: 412 });
  });

  it('says when there was no answer', async () => {
    const client = new FlagServiceClient({ url: 'http://127.0.0.1:1' });

    await expect(client.get('f')).rejects.toMatchObject({
      code: 'unreachable',
      status: null,
      message: expect.stringMatching(/^The flag service at http:\/\/127.0.0.1:1\/api does not answer: /),
    });
  });
});

describe('flags in this process', () => {
  it('are answered from memory, and follow the store', async () => {
    const store = new MemoryFlagStore();
    await put(store, 'f', { rollout_percentage: 0, whitelist: ['in'] });
    const client = await createFlagClient({ store, logger: silentLogger });

    expect(client.isEnabled('f', 'in')).toBe(true);
    expect(client.isEnabled('f', 'out')).toBe(false);
    expect(client.isEnabled('gone', 'in')).toBe(false);
    expect(client.state).toBe('fresh');
    await put(store, 'f', { rollout_percentage: 100 });
    await until(() => client.isEnabled('f', 'out'));
    await client.close();

    const day = new Date().toISOString().slice(0, 10).replaceAll('-', '');
    expect((await store.usage('f', [day])).days[0]?.enabled).toBeGreaterThanOrEqual(2);
  });
});

describe('somebody who cannot be a user of the service', () => {
  afterEach(() => OpenFeature.close());

  it.each<[string, unknown]>([
    ['an empty text', ''],
    ['nothing', undefined],
    ['a number', 7],
    ['a control character', 'user\n1'],
    ['half a character', 'user\ud800'],
    ['a token in place of an id', 'x'.repeat(257)],
  ])('is no user in the process either: %s', async (_what, given) => {
    const userId = given as string | undefined;
    const store = new MemoryFlagStore();
    await put(store, 'half', { rollout_percentage: 50 });
    await put(store, 'everybody', {});
    const client = await createFlagClient({ store, logger: silentLogger });

    try {
      expect(client.check('half', userId).kind).toBe('user-missing');
      expect(client.isEnabled('half', userId)).toBe(false);
      expect(client.isEnabled('everybody', userId)).toBe(true);
      client.reportOutcome('half', { userId, ok: true });
      expect(client.lostOutcomes).toBe(1);
      await OpenFeature.setProviderAndWait(createFlagProvider(client));
      const context = { targetingKey: userId } as { targetingKey: string };
      expect(await OpenFeature.getClient().getBooleanDetails('half', true, context)).toMatchObject({
        value: true,
        errorCode: 'TARGETING_KEY_MISSING',
      });
    } finally {
      await client.close();
    }
  });
});

describe('the OpenFeature provider', () => {
  afterEach(() => OpenFeature.close());

  it('evaluates every type in memory, and tells of changes', async () => {
    const store = new MemoryFlagStore();
    await put(store, 'on', { rollout_percentage: 100 });
    await put(store, 'half', { rollout_percentage: 50 });
    await put(store, 'limit', { variants: { values: { low: 5, high: 10 }, on: 'high', default: 'low' } });
    await put(store, 'config', { variants: { values: { a: { size: 1 }, b: { size: 3 } }, on: 'b', default: 'a' } });
    const flags = await createFlagClient({ store, logger: silentLogger });
    await OpenFeature.setProviderAndWait(createFlagProvider(flags));
    const client = OpenFeature.getClient();
    const user = { targetingKey: 'user-1' };

    expect(await client.getBooleanDetails('on', false, user)).toMatchObject({
      value: true,
      reason: 'SPLIT',
      variant: 'on',
      flagMetadata: { rule: 'percentage' },
    });
    expect(await client.getNumberValue('limit', 0, user)).toBe(10);
    expect(await client.getObjectValue('config', {}, user)).toEqual({ size: 3 });
    expect(await client.getStringDetails('limit', 'x', user)).toMatchObject({ value: 'x', errorCode: 'TYPE_MISMATCH' });
    expect(await client.getBooleanDetails('gone', true)).toMatchObject({ value: true, errorCode: 'FLAG_NOT_FOUND' });
    expect(await client.getBooleanDetails('half', true)).toMatchObject({ errorCode: 'TARGETING_KEY_MISSING' });

    let changes = 0;
    client.addHandler(ProviderEvents.ConfigurationChanged, () => {
      changes += 1;
    });
    await put(store, 'on', { enabled: false });
    await until(() => changes > 0);
    expect(await client.getBooleanValue('on', true, user)).toBe(false);
  });
});

describe('a flag as the weight of the cohort router', () => {
  const begin = (router: ReturnType<typeof createCohortRouter>, userId: string) =>
    router.begin({ userId }).assignment.cohort;
  const weighted = async () => {
    const store = new MemoryFlagStore();
    await put(store, 'new-shop', { rollout_percentage: 100 });
    const client = await createFlagClient({ store, logger: silentLogger });
    const router = createCohortRouter({
      stableVersion: 'v1',
      canaryVersion: 'v2',
      environment: {},
      logger: silentLogger,
      weightFrom: flagWeight(client, 'new-shop'),
    });
    return { store, client, router };
  };

  it('rules while no release holds the router and nothing has tripped', async () => {
    const { store, client, router } = await weighted();

    expect(begin(router, 'u')).toBe('canary');
    await put(store, 'new-shop', { rollout_percentage: 100, enabled: false });
    await until(() => client.percentage('new-shop') === 0);
    expect(begin(router, 'u')).toBe('stable');
    expect(router.metrics().weight).toBe(0);

    await put(store, 'new-shop', { rollout_percentage: 25 });
    await until(() => client.percentage('new-shop') === 25);
    const canaries = Array.from({ length: 2_000 }, (_, i) => begin(router, `user-${i}`)).filter(
      (one) => one === 'canary',
    );
    expect(Math.abs(canaries.length - 500)).toBeLessThan(100);

    const { config, events } = router.state();
    expect(config.weight).toEqual({ value: 25, origin: 'source', source: 'new-shop' });
    expect(events.at(-1)).toMatchObject({
      type: 'weight-changed',
      message: 'weightFrom new-shop set the weight from 0 to 25',
      origin: 'source',
      fence: null,
      data: { weight: 25, source: 'new-shop' },
    });

    router.rollback('of the test');
    expect(begin(router, 'user-1')).toBe('stable');
    expect(router.snapshot().weight).toBe(0);
    await client.close();
  });

  it('is 0 when it is deleted, and the last one only while nothing could be loaded', async () => {
    const { store, client, router } = await weighted();
    expect(begin(router, 'u')).toBe('canary');

    await take(store, 'new-shop');
    await until(() => client.percentage('new-shop') === 0);

    expect([begin(router, 'u'), router.metrics().weight]).toEqual(['stable', 0]);
    expect(client.isEnabled('new-shop', 'u')).toBe(false);
    await client.close();
    const away = new MemoryFlagStore();
    away.head = () => Promise.reject(new StoreUnavailable('of the test'));
    const unloaded = await createFlagClient({ store: away, logger: silentLogger, patienceMs: 1 });
    expect([unloaded.state, unloaded.percentage('new-shop')]).toEqual(['empty', null]);
    await unloaded.close();
  });

  it('that is not known leaves the weight as it is', () => {
    const router = createCohortRouter({
      stableVersion: 'v1',
      canaryVersion: 'v2',
      weight: 100,
      environment: {},
      logger: silentLogger,
      weightFrom: { name: 'f', weight: () => null },
    });

    expect(begin(router, 'u')).toBe('canary');
  });

  it('whose source throws does not break a request', () => {
    const router = createCohortRouter({
      stableVersion: 'v1',
      canaryVersion: 'v2',
      environment: {},
      logger: silentLogger,
      weightFrom: {
        name: 'f',
        weight: () => {
          throw new Error('of the test');
        },
      },
    });

    expect(begin(router, 'u')).toBe('stable');
  });
});

describeWithRedis('flags of another process by Redis', (redis) => {
  it('are followed', async () => {
    const open = () => openRedisFlagStore({ url: redis().url, logger: silentLogger });
    const { url } = await serveFlags([{ name: 'f', enabled: true, rollout_percentage: 0 }], {
      store: await ready(open()),
    });
    const client = await createFlagClient({ store: open(), logger: silentLogger });
    expect(client.isEnabled('f', 'u')).toBe(false);

    await new FlagServiceClient({ url }).setRollout('f', { percentage: 100 });
    await until(() => client.isEnabled('f', 'u'));

    await client.close();
  });
});

async function ready(store: FlagStore): Promise<FlagStore> {
  await until(() => isReachable(store));
  return store;
}
