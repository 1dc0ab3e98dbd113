import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FlagServiceClient } from '../../src/flags/client/flag-service-client';
import { MemoryFlagStore } from '../../src/flags/memory-store';
import { startFlagsServer } from '../../src/flags/server/flags-server';
import type { FlagsServer } from '../../src/flags/server/flags-server';
import { silentLogger } from '../flags/support';
import { FakeSluice } from './fake-client';
import { run } from './harness';
import type { Ran } from './harness';

const KEY = 'a-key-of-this-test-alone';

describe('sluice flag', () => {
  let server: FlagsServer;
  beforeEach(async () => {
    server = await startFlagsServer({ store: new MemoryFlagStore(), access: { adminKey: KEY }, logger: silentLogger });
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await server.close();
  });

  const flag = (...args: string[]): Promise<Ran> =>
    run(['flag', ...args], { env: { SLUICE_FLAGS_URL: server.url, SLUICE_FLAGS_TOKEN: KEY } });

  it('makes a flag, shows it, changes it and lists it', async () => {
    const made = await flag(
      'set',
      'new-checkout',
      '--create',
      '--on',
      '--percentage',
      '84',
      '--description',
      'The till',
    );
    const again = await flag('set', 'new-checkout', '--create');
    const off = await flag('set', 'new-checkout', '--off', '--environment', 'staging', 'production', '-o', 'json');
    const list = await flag('list');

    expect([made.code, made.out]).toEqual([
      0,
      [
        'new-checkout',
        'The till',
        'State         on',
        'Percentage    84 %',
        'Environments  all',
        'Whitelist     0 users',
        'Blacklist     0 users\n',
      ].join('\n'),
    ]);
    expect(again.code).not.toBe(0);
    expect(again.err).toMatch(/new-checkout already/);
    expect(JSON.parse(off.out)).toMatchObject({ enabled: false, environments: ['staging', 'production'] });
    expect(list.out).toMatch(/^FLAG +STATE +PERCENTAGE +RELEASE +DESCRIPTION\nnew-checkout +off +84 % +The till\n$/);
    expect((await flag('get', 'new-checkout')).out).toContain('Environments  staging, production');
  });

  it('checks it, says why, and counts', async () => {
    await flag('set', 'new-checkout', '--create', '--on', '--percentage', '84');
    const on = await flag('check', 'new-checkout', 'user-1');
    await flag('set', 'new-checkout', '--percentage', '83');
    const off = await flag('check', 'new-checkout', 'user-1', '-o', 'json');
    const why = await flag('explain', 'new-checkout', 'user-1');
    const stats = await flag('stats', 'new-checkout', '-o', 'json');

    expect(on.out).toBe('new-checkout is on for user-1 by the rule percentage (variant on).\n');
    expect(JSON.parse(off.out)).toMatchObject({ enabled: false, reason: 'percentage' });
    expect(why.out).toMatch(/percentage +.*83/);
    expect(JSON.parse(stats.out)).toMatchObject({ flag: 'new-checkout', total: 2, enabled: 1, disabled: 1 });
  });

  it('names for machines what each document is, and lists one flag a line', async () => {
    await flag('set', 'one', '--create', '--on');
    const kinds: unknown[] = [];
    for (const args of [
      ['set', 'two', '--create'],
      ['get', 'one'],
      ['list'],
      ['check', 'one', 'user-1'],
      ['explain', 'one', 'user-1'],
      ['stats', 'one'],
    ]) {
      const { apiVersion, kind } = JSON.parse((await flag(...args, '-o', 'json')).out) as Record<string, unknown>;
      kinds.push(`${String(apiVersion)} ${String(kind)}`);
    }
    const lines = (await flag('list', '-o', 'jsonl')).out.trimEnd().split('\n');

    const names = ['Flag', 'Flag', 'FlagList', 'FlagCheck', 'FlagExplanation', 'FlagStats'];
    expect(kinds).toEqual(names.map((kind) => `sluice.dev/v1 ${kind}`));
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { apiVersion: 'sluice.dev/v1', kind: 'Flag', name: 'one', enabled: true },
      { apiVersion: 'sluice.dev/v1', kind: 'Flag', name: 'two' },
    ]);
  });

  it('says which state it changes, where the server wants to know, and looks again when another change came first', async () => {
    await server.close();
    server = await startFlagsServer({
      store: new MemoryFlagStore(),
      access: { adminKey: KEY },
      requireIfMatch: true,
      logger: silentLogger,
    });
    await flag('set', 'new-checkout', '--create', '--on');
    const flags = new FlagServiceClient({ url: server.url, apiKey: KEY });
    const { update } = FlagServiceClient.prototype;
    jest.spyOn(FlagServiceClient.prototype, 'update').mockImplementationOnce(async function (
      this: FlagServiceClient,
      ...args
    ) {
      await update.call(flags, 'new-checkout', { description: 'The till' }, { revision: '*' });
      return update.apply(this, args);
    });
    const off = await flag('set', 'new-checkout', '--off', '-o', 'json');

    expect(JSON.parse(off.out)).toMatchObject({ enabled: false, description: 'The till' });
  });

  it('shows who holds it', async () => {
    await flag('set', 'new-checkout', '--create', '--on', '--percentage', '10');
    await fetch(`${server.url}/api/feature-flags/new-checkout/rollout`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
      body: JSON.stringify({ percentage: 25, fence: { owner: 'r1', epoch: 1, hold: true } }),
    });
    const refused = await flag('set', 'new-checkout', '--percentage', '90');

    expect((await flag('get', 'new-checkout')).out).toContain('Held by       release r1, which found 10 %');
    expect(refused.code).not.toBe(0);
    expect(refused.err).toMatch(/Release r1 holds this flag/);
  });

  it.each<[string[], RegExp]>([
    [['get', 'old-checkout'], /old-checkout.*\n?.*sluice flag list/s],
    [['set', 'new-checkout'], /It is not said what to change/],
    [['set', 'new-checkout', '--percentage', '0.5'], /--percentage is "0\.5"/],
    [['set', 'new:checkout', '--create'], /new:checkout|name/],
    [['stats', 'new-checkout', '--days', '30'], /--days is "30"/],
    [['set', 'new-checkout', '--on', '--off'], /--on/],
  ])('%j is refused in a sentence', async (args, sentence) => {
    const ran = await flag(...args);

    expect([ran.code === 0, ran.out]).toEqual([false, '']);
    expect(ran.err).toMatch(sentence);
  });

  it('says when nobody answers, and when the key is not known', async () => {
    const stranger = await run(['flag', 'list'], {
      env: { SLUICE_FLAGS_URL: server.url, SLUICE_FLAGS_TOKEN: 'other' },
    });
    await server.close();
    const away = await flag('list');
    const nowhere = await run(['flag', 'list'], { env: { SLUICE_FLAGS_URL: 'flags' } });

    expect(stranger.err).toMatch(/SLUICE_FLAGS_TOKEN/);
    expect(away.err).toMatch(/does not answer.*sluice flags-server/s);
    expect(nowhere.err).toMatch(/SLUICE_FLAGS_URL is "flags", which is no address/);
  });

  it('is what the status of a service without a release shows', async () => {
    await flag('set', 'new-checkout', '--create', '--on', '--percentage', '10');
    const directory = mkdtempSync(join(tmpdir(), 'sluice-flag-'));
    const path = join(directory, 'release.yaml');
    writeFileSync(
      path,
      'apiVersion: sluice.dev/v1\nkind: Release\nmetadata: { name: shop }\nspec: { target: { flag: { name: new-checkout, environment: production } }, analysis: { source: { prometheus: { url: "http://p" } } } }\n',
    );
    const env = { SLUICE_FLAGS_URL: server.url, SLUICE_FLAGS_TOKEN: KEY };
    const ran = await run(['status', 'shop', '-f', path], { client: new FakeSluice(), env });
    rmSync(directory, { recursive: true, force: true });

    expect(ran.out).toContain('Release  there was none yet\nnew-checkout\nState         on\nPercentage    10 %\n');
  });

  it('releases a flag, of a spec that has one', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'sluice-flag-'));
    const spec = (target: string): string => {
      const path = join(directory, 'release.yaml');
      const source = 'source: { prometheus: { url: "http://p", labels: { flag: new-checkout } } }';
      writeFileSync(
        path,
        `apiVersion: sluice.dev/v1\nkind: Release\nmetadata: { name: shop }\nspec: { target: { ${target} }, analysis: { ${source} } }\n`,
      );
      return path;
    };
    try {
      const plan = await flag(
        'release',
        spec('flag: { name: new-checkout, environment: production }'),
        '--dry-run',
        '-o',
        'json',
      );
      const other = await flag('release', spec('router: { instances: ["http://a"] }'));

      expect(JSON.parse(plan.out)).toMatchObject({ version: 'on', target: { kind: 'flag', name: 'new-checkout' } });
      expect(plan.out).toContain('variant=\\"{{track}}\\",flag=\\"new-checkout\\"');
      expect(other.err).toMatch(/releases to a router target, and not a flag/);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
