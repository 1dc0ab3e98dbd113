import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/devserver/free-port';
import { createFlagClient, FlagServiceClient } from '../../src/flags';
import type { FlagClient } from '../../src/flags';
import { MemoryFlagStore } from '../../src/flags/memory-store';
import { StoreUnavailable } from '../../src/flags/store';
import { serveFlags, stopServers } from './serve';
import { serviceProcess } from './service-process';
import { recordingLogger, send, until } from './support';

const ADMIN = 'the-admin-key-of-this-test';
const reader = {
  id: 'reader',
  grants: ['read:staging'],
  sha256: createHash('sha256').update('reads-in-staging').digest('hex'),
};
const keys = { keys: [reader] };
const clients: FlagClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await stopServers();
});

async function follow(url: string, more: { apiKey?: string; environment?: string; patienceMs?: number } = {}) {
  const { apiKey, ...rest } = more;
  const logger = recordingLogger();
  const service = { url, ...(apiKey === undefined ? {} : { apiKey }) };
  const client = await createFlagClient({ service, logger, ...rest });
  clients.push(client);
  return { client, logger };
}

describe('flags in this process by a flag service', () => {
  it('are answered from memory, and follow every change', async () => {
    const { url } = await serveFlags([{ name: 'f', enabled: true, rollout_percentage: 0, whitelist: ['in'] }]);
    const service = new FlagServiceClient({ url });
    const { client } = await follow(`${url}/`);

    expect(client.state).toBe('fresh');
    expect([client.isEnabled('f', 'in'), client.isEnabled('f', 'out'), client.isEnabled('gone', 'in')]).toEqual([
      true,
      false,
      false,
    ]);
    await service.setRollout('f', { percentage: 100 });
    await until(() => client.isEnabled('f', 'out'));
    await service.create({ name: 'new', enabled: true });
    await until(() => client.isEnabled('new', 'out'));
    await service.delete('f');
    await until(() => client.check('f', 'in').kind === 'unknown');
    expect(client.ageMs).toBeLessThan(60_000);
  });

  it('tell the service how it went for their users', async () => {
    const { url } = await serveFlags([
      { name: 'f', enabled: true, rollout_percentage: 0, whitelist: ['in'] },
      { name: 'same', enabled: true, variants: { values: { one: 1, two: 2 }, on: 'one', default: 'one' } },
    ]);
    const service = new FlagServiceClient({ url });
    const { client } = await follow(url, { environment: 'staging' });

    client.reportOutcome('f', { userId: 'in', ok: true, latencyMs: 5 });
    client.reportOutcome('f', { userId: 'in', ok: false, enabled: false });
    client.reportOutcome('f', { userId: null, ok: true, enabled: true }, 'production');
    client.reportOutcome('same', { userId: 'u', ok: true });
    client.reportOutcome('gone', { userId: 'in', ok: true });
    client.reportOutcome('f', { userId: 'in', ok: true, latencyMs: Number.NaN });
    await client.close();

    expect(await service.outcomes('f', { environment: 'staging' })).toMatchObject({
      enabled: { total: 1, failed: 0 },
      disabled: { total: 1, failed: 1 },
    });
    expect(await service.outcomes('f', { environment: 'production' })).toMatchObject({ enabled: { total: 1 } });
    expect(await service.outcomes('same', { environment: 'staging' })).toMatchObject({ enabled: { total: 1 } });
    expect(client.lostOutcomes).toBe(2);
  });

  it('come in pages where there are many, at the start and when many change at once', async () => {
    const flags = Array.from({ length: 230 }, (_, i) => ({ name: `flag-${i}`, enabled: true }));
    const { url } = await serveFlags(flags);
    const { client } = await follow(url);
    expect(flags.filter(({ name }) => !client.isEnabled(name, 'u'))).toEqual([]);

    const service = new FlagServiceClient({ url });
    const before = await service.ruleset();
    for (const { name } of flags.slice(0, 120)) await service.update(name, { enabled: false });
    const { incarnation = '', revision = 0 } = before ?? {};
    const since = await service.ruleset({ since: { incarnation, revision } });

    expect(since).toMatchObject({ complete: true, next_cursor: expect.any(String) });
    await until(() => flags.filter(({ name }) => client.isEnabled(name, 'u')).length === 110);
  });

  it('are those that the key may see', async () => {
    const flags = [
      { name: 'everywhere', enabled: true },
      { name: 'staging', enabled: true, environments: ['staging'] },
      { name: 'production', enabled: true, environments: ['production'] },
    ];
    const headers = { authorization: `Bearer ${ADMIN}` };
    const { url } = await serveFlags(flags, { access: { adminKey: ADMIN, keys } }, headers);
    const { client } = await follow(url, { apiKey: 'reads-in-staging', environment: 'staging' });

    expect(client.isEnabled('everywhere', 'u')).toBe(true);
    expect(client.isEnabled('staging', 'u')).toBe(true);
    expect(client.check('production', 'u').kind).toBe('unknown');
    await new FlagServiceClient({ url, apiKey: ADMIN }).update('staging', { environments: ['production'] });
    await until(() => client.check('staging', 'u').kind === 'unknown');
  });

  it('are off while none could be loaded, which is counted and logged, and the rest is said of the key', async () => {
    const { url } = await serveFlags([], { access: { adminKey: ADMIN } });

    const { client, logger } = await follow(url, { apiKey: 'a-wrong-key', patienceMs: 100 });

    expect(client.isEnabled('f', 'u')).toBe(false);
    expect(client).toMatchObject({ state: 'empty', fallbacks: 1, ageMs: null });
    expect(logger.lines.map(({ message }) => message)).toEqual(
      expect.arrayContaining([
        'the flag store does not answer; flags are answered as they were last known',
        'no flags were loaded yet, so a flag is answered with its default',
      ]),
    );
    expect(JSON.stringify(logger.lines)).toContain('The API key or token is not known');
    expect(JSON.stringify(logger.lines)).not.toContain('a-wrong-key');
  });
});

describe('the ruleset of a service', () => {
  it('is not sent again while nothing changes, and is not said to be unchanged when that is not known', async () => {
    class BreakableStore extends MemoryFlagStore {
      broken = false;
      override head() {
        return this.broken ? Promise.reject(new StoreUnavailable('it is away')) : super.head();
      }
    }
    const store = new BreakableStore();
    const { url, ruleset } = await serveFlags([{ name: 'f', enabled: true }], { store });
    const first = await send(`${url}/api/ruleset`, 'GET');
    const known = { 'if-none-match': first.headers.get('etag') ?? '' };

    expect(first.body).toMatchObject({ complete: true, flags: [{ name: 'f' }], next_cursor: null });
    expect(await send(`${url}/api/ruleset`, 'GET', { headers: known })).toMatchObject({ status: 304, body: '' });
    expect((await send(`${url}/api/ruleset?since=x`, 'GET')).status).toBe(400);
    store.broken = true;
    await until(() => (ruleset.ageMs ?? 0) > 5_000);
    expect((await send(`${url}/api/ruleset`, 'GET', { headers: known })).status).toBe(503);
  });
});

describe('the ruleset of a key whose grants are changed', () => {
  it('is another history, which a follower loads whole', async () => {
    const store = new MemoryFlagStore();
    const withGrants = (...grants: string[]) => ({ adminKey: ADMIN, keys: { keys: [{ ...reader, grants }] } });
    const serviceWith = async (...grants: string[]) => {
      const { url } = await serveFlags([], { store, access: withGrants(...grants) });
      return new FlagServiceClient({ url, apiKey: 'reads-in-staging' });
    };
    const flags = ['staging', 'production'].map((name) => ({ name, enabled: true, environments: [name] }));
    const admin = { authorization: `Bearer ${ADMIN}` };
    await serveFlags(flags, { store, access: withGrants('read:staging') }, admin);
    const before = await serviceWith('read:staging', 'read:test');
    const same = await serviceWith('report:test', 'write:staging');
    const changed = await serviceWith('read:production', 'read:test');
    const { incarnation = '', revision = 0 } = (await before.ruleset()) ?? {};
    const since = { incarnation, revision };

    expect(await before.ruleset({ since })).toBeNull();
    expect(await same.ruleset({ since })).toBeNull();
    expect(await changed.ruleset({ since })).toMatchObject({
      revision,
      complete: true,
      flags: [{ name: 'production' }],
    });
  });
});

describe('a client whose service is killed and comes back', () => {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-flags-source-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('gives no wrong answer meanwhile, shows the age, and follows again', async () => {
    const file = join(directory, 'flags.db');
    const process = serviceProcess(await freePort(), file, { SLUICE_API_KEY: ADMIN });
    const service = new FlagServiceClient({ url: process.url, apiKey: ADMIN });
    try {
      const { client, logger } = await follow(process.url, { apiKey: ADMIN, patienceMs: 50 });
      // Begun before its service is there.
      expect(client.isEnabled('f', 'in')).toBe(false);
      expect(client).toMatchObject({ state: 'empty', fallbacks: 1, ageMs: null });
      await process.start();
      await service.create({ name: 'f', enabled: true, rollout_percentage: 0, whitelist: ['in'] });
      await until(() => client.isEnabled('f', 'in'));

      const { fallbacks } = client;
      let asked = 0;
      let wrong = 0;
      const load = setInterval(() => {
        asked += 1;
        if (!client.isEnabled('f', 'in') || client.isEnabled('f', 'out')) wrong += 1;
      }, 1);
      await process.kill();
      await until(() => logger.lines.some(({ message }) => message.startsWith('the event stream')));
      const before = client.ageMs ?? 0;
      await until(() => (client.ageMs ?? 0) > before + 500);
      await process.start();
      await until(() => (client.ageMs ?? Infinity) < before + 500);
      clearInterval(load);
      await service.setRollout('f', { percentage: 100 });
      await until(() => client.isEnabled('f', 'out'));

      expect(asked).toBeGreaterThan(100);
      expect({ wrong, fallbacks: client.fallbacks }).toEqual({ wrong: 0, fallbacks });
    } finally {
      await process.kill();
    }
  }, 120_000);
});
