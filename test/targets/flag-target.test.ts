import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { FlagDocument, GivenFence } from '../../src/flags/flag';
import { FlagServiceClient } from '../../src/flags/client/flag-service-client';
import { MemoryFlagStore } from '../../src/flags/memory-store';
import { startFlagsServer } from '../../src/flags/server/flags-server';
import type { FlagsServer } from '../../src/flags/server/flags-server';
import { createFlagTarget } from '../../src/targets/flag/flag-target';
import type { Target, TargetWrite } from '../../src/targets/target';
import { silentLogger } from '../flags/support';
import { FLAG_PLAN } from './flag-plan';
import { failureOf } from './failure-of';

const { signal } = new AbortController();
const promotion = { release: 'r1', smokeTest: null, timeoutMs: 10_000 };

function write(step: number, more: { release?: string; epoch?: number; attempt?: number } = {}): TargetWrite {
  return { version: 'on', artifact: null, fence: { release: 'r1', epoch: 1, step, attempt: 2, ...more }, signal };
}

const ours = (step: number, hold: boolean): GivenFence => ({ owner: 'r1', epoch: 1, step, attempt: 2, hold });

const weigh = (step: number, weight: number, more: Parameters<typeof write>[1] = {}) => ({
  ...write(step, more),
  weight,
  previousWeight: 0,
  match: [],
});

describe('a flag as a target, at a real flag service', () => {
  let server: FlagsServer;
  let flags: FlagServiceClient;
  let target: Target;

  beforeEach(async () => {
    server = await startFlagsServer({ store: new MemoryFlagStore(), access: {}, logger: silentLogger });
    flags = new FlagServiceClient({ url: server.url });
    target = createFlagTarget(FLAG_PLAN, { FLAGS_URL: server.url });
    await flags.create({ name: 'new-till', enabled: true, rollout_percentage: 10, whitelist: ['ada'] });
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    target.close();
    await server.close();
  });

  const flag = (): Promise<FlagDocument> => flags.get('new-till');
  const percentage = async (): Promise<number | null> => (await flag()).rollout_percentage;

  it('raises the percentage to everybody, and leaves the flag to whoever comes next', async () => {
    expect(await target.observe({ version: 'on', signal })).toEqual({
      stableVersion: '10 %',
      canaryVersion: null,
      weight: 10,
      artifact: null,
    });
    expect(await target.deploy({ ...write(1), timeoutMs: 1_000 })).toBe(
      'Flag new-till is held by this release, at 10 %.',
    );
    await target.setWeight(weigh(2, 25));
    expect(await percentage()).toBe(25);
    await target.setWeight(weigh(3, 100));
    expect(await target.promote({ ...write(4), ...promotion })).toBe('Flag new-till is on for everybody.');

    expect(await flag()).toMatchObject({ rollout_percentage: 100, whitelist: ['ada'], fence: { hold: false } });
    await flags.setRollout('new-till', { percentage: 50 });
    expect(await percentage()).toBe(50);
  });

  it('goes back to what it was before, from any weight, and twice is as once', async () => {
    await target.deploy({ ...write(1), timeoutMs: 1_000 });
    await target.setWeight(weigh(2, 50));
    for (const step of [3, 5]) {
      await target.setWeight(weigh(step, 0));
      expect(await percentage()).toBe(10);
      await target.removeCanary(write(step + 1));
    }

    expect(await flag()).toMatchObject({ rollout_percentage: 10, fence: { owner: 'r1', hold: false } });
  });

  it('takes half a promotion back, too', async () => {
    await target.deploy({ ...write(1), timeoutMs: 1_000 });
    await target.promote({ ...write(2), ...promotion });
    await target.restoreStable({ ...write(3), stableVersion: '10 %' });

    expect(await flag()).toMatchObject({ rollout_percentage: 10, fence: { hold: true } });
  });

  it('takes nobody out who had the flag before', async () => {
    await target.deploy({ ...write(1), timeoutMs: 1_000 });
    const said = await target.setWeight(weigh(2, 5));

    expect(said).toBe('Flag new-till is at 10 %, which it had before: nobody is taken out.');
    expect(await percentage()).toBe(10);
    expect(await target.reassert(weigh(3, 5))).toMatchObject({ foreignEdits: [] });
  });

  it('refuses hands on the percentage meanwhile, and calls the switch a roll back', async () => {
    await target.deploy({ ...write(1), timeoutMs: 1_000 });
    await target.setWeight(weigh(2, 25));
    await expect(flags.setRollout('new-till', { percentage: 90 })).rejects.toMatchObject({ code: 'release-holds' });
    const calm = await target.reassert(weigh(3, 25));
    await flags.update('new-till', { enabled: false });
    const off = await target.reassert(weigh(4, 25));
    const raise = await failureOf(target.setWeight(weigh(5, 50)));

    const tracks = { canary: 'on', stable: 'off' };
    expect(calm).toEqual({ foreignEdits: [], guardTripped: null, unreachable: [], tracks });
    expect(off).toMatchObject({ guardTripped: 'Flag new-till was switched off by hand.' });
    expect(raise.kind).toBe('invalidTarget');
    // The way back needs no switch.
    await target.setWeight(weigh(6, 0));
    expect(await flag()).toMatchObject({ enabled: false, rollout_percentage: 10 });
  });

  it('takes it for a roll back, too, when its environment is taken from the flag, and says nowhere that it is on', async () => {
    await target.deploy({ ...write(1), timeoutMs: 1_000 });
    await target.setWeight(weigh(2, 25));
    await flags.update('new-till', { environments: ['staging', 'dev'] });
    const out = await target.reassert(weigh(3, 25));
    const raise = await failureOf(target.setWeight(weigh(4, 50)));
    const end = await failureOf(target.promote({ ...write(5), ...promotion }));

    expect(out).toMatchObject({
      foreignEdits: [],
      guardTripped: 'Flag new-till was taken out of production by hand; its environments are staging, dev.',
    });
    for (const { kind, message } of [raise, end]) {
      expect([kind, message]).toEqual(['invalidTarget', expect.stringMatching(/is never on in production/)]);
    }
    expect(await percentage()).toBe(25);
    // The way back needs no environment.
    await target.setWeight(weigh(6, 0));
    await target.removeCanary(write(7));
    expect(await flag()).toMatchObject({ environments: ['staging', 'dev'], rollout_percentage: 10 });
    expect((await flag()).fence?.hold).toBe(false);
  });

  it('goes on when its environment is still one of those named by hand', async () => {
    await target.deploy({ ...write(1), timeoutMs: 1_000 });
    await flags.update('new-till', { environments: ['staging', 'production'], whitelist: ['ada', 'bob'] });

    expect(await target.reassert(weigh(2, 10))).toMatchObject({ foreignEdits: [], guardTripped: null });
    await target.setWeight(weigh(3, 25));
    expect(await flag()).toMatchObject({ rollout_percentage: 25, whitelist: ['ada', 'bob'] });
  });

  it('lets a late write of its own, or of an older release, not land', async () => {
    await target.deploy({ ...write(1), timeoutMs: 1_000 });
    await target.setWeight(weigh(3, 0));
    const late = await failureOf(target.setWeight(weigh(2, 50, { attempt: 4 })));
    await target.deploy({ ...write(1, { release: 'r2', epoch: 2 }), timeoutMs: 1_000 });
    const older = await failureOf(target.setWeight(weigh(9, 50)));
    const looked = await failureOf(target.reassert(weigh(10, 50)));

    expect([late.kind, older.kind, looked.kind]).toEqual(['fenceLost', 'fenceLost', 'fenceLost']);
    expect(await percentage()).toBe(10);
  });

  it('begins where a release before it that never ended had begun', async () => {
    await target.deploy({ ...write(1), timeoutMs: 1_000 });
    await target.setWeight(weigh(2, 50));
    expect(await target.observe({ version: 'on', signal })).toMatchObject({ stableVersion: '10 %', weight: 50 });
    await target.deploy({ ...write(1, { release: 'r2', epoch: 2 }), timeoutMs: 1_000 });

    expect(await flag()).toMatchObject({ rollout_percentage: 10, fence: { owner: 'r2', former: 10 } });
  });

  it('has nothing to release where everybody has it', async () => {
    await flags.setRollout('new-till', { percentage: 100 });

    expect(await target.observe({ version: 'on', signal })).toMatchObject({ stableVersion: 'on', canaryVersion: null });
  });

  it.each<[string, Parameters<FlagServiceClient['update']>[1], RegExp]>([
    ['switched off', { enabled: false }, /^The flag new-till is switched off, .*: sluice flag set new-till --on\.$/],
    [
      'of other environments',
      { environments: ['staging', 'dev'] },
      /^The flag new-till is never on in production; its environments are staging, dev\. /,
    ],
  ])('is not begun with a flag that is %s', async (_, changes, sentence) => {
    await flags.update('new-till', changes);

    const refused = await failureOf(target.deploy({ ...write(1), timeoutMs: 1_000 }));
    expect([refused.kind, refused.message]).toEqual(['invalidTarget', expect.stringMatching(sentence)]);
    expect((await flag()).fence).toBeNull();
    // Nor is one that says 100 % taken for released already, which would end the release before it is begun.
    for (const everybody of [100, null]) {
      await flags.update('new-till', { rollout_percentage: everybody });
      const unreached = await failureOf(target.observe({ version: 'on', signal }));
      expect([unreached.kind, unreached.message]).toEqual(['invalidTarget', expect.stringMatching(sentence)]);
    }
  });

  it('says that there is no such flag, and that nobody answers', async () => {
    const other = createFlagTarget({ ...FLAG_PLAN, name: 'old-till' }, { FLAGS_URL: server.url });
    const missing = await failureOf(other.observe({ version: 'on', signal }));
    await server.close();
    const away = await failureOf(target.setWeight(weigh(2, 50)));
    const look = await target.reassert(weigh(3, 25));

    expect([missing.kind, missing.message]).toEqual([
      'invalidTarget',
      expect.stringMatching(/^Flag old-till: .*old-till/),
    ]);
    expect([away.kind, away.message]).toEqual([
      'unreachable',
      expect.stringMatching(/^Flag new-till: The flag service at \S+ does not answer: /),
    ]);
    expect(look).toMatchObject({ foreignEdits: [], guardTripped: null });
    expect(look.unreachable).toHaveLength(1);
  });

  it('ends when its flag is deleted at any time of it, with nothing to take back', async () => {
    const gone =
      'Flag new-till does not exist any more, so there is nothing to release: it was deleted, or the flag service has lost it.';
    const nothing = 'Nothing to take back: Flag new-till does not exist any more.';
    await target.observe({ version: 'on', signal });
    await flags.delete('new-till');

    for (const forward of [
      target.deploy({ ...write(2), timeoutMs: 1_000 }),
      target.setWeight(weigh(3, 50)),
      target.promote({ ...write(4), ...promotion }),
    ]) {
      const { kind, message } = await failureOf(forward);
      expect([kind, message]).toEqual(['guardTripped', gone]);
    }
    expect(await target.reassert(weigh(5, 25))).toMatchObject({
      foreignEdits: [],
      guardTripped: gone,
      unreachable: [],
    });
    expect(await target.setWeight(weigh(6, 0))).toBe(nothing);
    expect(await target.restoreStable({ ...write(7), stableVersion: '10 %' })).toBe(nothing);
    expect(await target.removeCanary(write(8))).toBe(nothing);
  });

  it('says so, too, when its flag is deleted between its look and its write', async () => {
    const { get } = FlagServiceClient.prototype;
    const deletedBehind = (): void => {
      jest.spyOn(FlagServiceClient.prototype, 'get').mockImplementationOnce(async function (
        this: FlagServiceClient,
        ...args
      ) {
        const seen = await get.apply(this, args);
        await flags.delete('new-till');
        return seen;
      });
    };
    const again = (): Promise<unknown> => flags.create({ name: 'new-till', enabled: true, rollout_percentage: 10 });
    deletedBehind();
    const look = await target.reassert(weigh(2, 25));
    await again();
    deletedBehind();
    const end = await target.removeCanary(write(3));

    expect(look.guardTripped).toMatch(/does not exist any more/);
    expect(end).toBe('Nothing to take back: Flag new-till does not exist any more.');
  });

  it('takes no other 404 at the flag service’s address for a flag that is gone', async () => {
    const stranger = createServer((_, response) => response.writeHead(404).end('no such page'));
    await once(stranger.listen(0, '127.0.0.1'), 'listening');
    const { port } = stranger.address() as AddressInfo;
    const lost = createFlagTarget(FLAG_PLAN, { FLAGS_URL: `http://127.0.0.1:${port}` });

    try {
      expect((await failureOf(lost.setWeight(weigh(2, 0)))).kind).toBe('invalidTarget');
      expect((await failureOf(lost.removeCanary(write(3)))).kind).toBe('invalidTarget');
    } finally {
      stranger.close();
    }
  });

  it('says which state it writes from, also on the way back, at a service that wants to know', async () => {
    const strict = await startFlagsServer({
      store: new MemoryFlagStore(),
      access: {},
      requireIfMatch: true,
      logger: silentLogger,
    });
    const there = new FlagServiceClient({ url: strict.url });
    await there.create({ name: 'new-till', enabled: true, rollout_percentage: 10 });
    const released = createFlagTarget(FLAG_PLAN, { FLAGS_URL: strict.url });

    try {
      await released.deploy({ ...write(1), timeoutMs: 1_000 });
      await released.setWeight(weigh(2, 50));
      const { revision } = await there.get('new-till');
      await there.setRollout('new-till', { percentage: 40, fence: ours(2, true) }, { revision });
      expect((await released.reassert(weigh(3, 50))).foreignEdits).toHaveLength(1);
      await released.promote({ ...write(4), ...promotion });
      await released.restoreStable({ ...write(5), stableVersion: '10 %' });
      await released.setWeight(weigh(6, 0));
      await released.removeCanary(write(7));

      expect(await there.get('new-till')).toMatchObject({ rollout_percentage: 10, fence: { hold: false } });
    } finally {
      await strict.close();
    }
  });

  it('looks again when somebody else wrote after its look', async () => {
    await target.deploy({ ...write(1), timeoutMs: 1_000 });
    const { setRollout } = FlagServiceClient.prototype;
    const between = async (change: Parameters<FlagServiceClient['update']>[1]): Promise<void> => {
      jest.spyOn(FlagServiceClient.prototype, 'setRollout').mockImplementationOnce(async function (
        this: FlagServiceClient,
        ...args
      ) {
        await flags.update('new-till', change);
        return setRollout.apply(this, args);
      });
    };
    await between({ description: 'of the tills' });
    const raised = await target.setWeight(weigh(2, 50));
    await between({ enabled: false });
    const promoted = await failureOf(target.promote({ ...write(3), ...promotion }));

    expect(raised).toBe('Flag new-till is at 50 %.');
    expect([promoted.kind, promoted.message]).toEqual(['invalidTarget', expect.stringMatching(/is switched off/)]);
    expect(await flag()).toMatchObject({ rollout_percentage: 50, description: 'of the tills' });
  });

  it('leaves a flag alone that it does not hold, and lets its own late write not land there either', async () => {
    const untouched = await target.removeCanary(write(2));
    const late = await failureOf(target.deploy({ ...write(1), timeoutMs: 1_000 }));
    await target.deploy({ ...write(1, { release: 'r2', epoch: 2 }), timeoutMs: 1_000 });
    await target.setWeight(weigh(2, 50, { release: 'r2', epoch: 2 }));
    const others = await target.removeCanary(write(3, { release: 'r3', epoch: 3 }));

    expect(untouched).toBe('Flag new-till is held by no release; nothing of this one is left.');
    expect(late.kind).toBe('fenceLost');
    expect(others).toBe('Flag new-till is held by release r2; nothing of this one is left.');
    expect(await flag()).toMatchObject({ rollout_percentage: 50, fence: { owner: 'r2', hold: true } });
  });

  it('has nothing to take back of a flag that its key may not write', async () => {
    const [admin, here] = ['a key that is long enough', 'a key of one environment'];
    const sha256 = createHash('sha256').update(here).digest('hex');
    const keys = { keys: [{ id: 'worker', sha256, grants: ['write:production'] }] };
    const locked = await startFlagsServer({
      store: new MemoryFlagStore(),
      access: { adminKey: admin, keys },
      logger: silentLogger,
    });
    await new FlagServiceClient({ url: locked.url, apiKey: admin }).create({ name: 'new-till', enabled: true });
    const refused = createFlagTarget(FLAG_PLAN, { FLAGS_URL: locked.url, FLAGS_TOKEN: here });

    try {
      const begun = await failureOf(refused.deploy({ ...write(1), timeoutMs: 1_000 }));
      expect([begun.kind, begun.message]).toEqual(['invalidTarget', expect.stringMatching(/in all environments/)]);
      expect(await refused.removeCanary(write(2))).toMatch(/nothing of this one is left/);
    } finally {
      await locked.close();
    }
  });

  it('sends its key, and says when that one may not', async () => {
    const key = 'a key that is long enough';
    const store = new MemoryFlagStore();
    const locked = await startFlagsServer({ store, access: { adminKey: key }, logger: silentLogger });
    await new FlagServiceClient({ url: locked.url, apiKey: key }).create({ name: 'new-till', enabled: true });
    const by = (env: Record<string, string>): Target => createFlagTarget(FLAG_PLAN, { FLAGS_URL: locked.url, ...env });

    const seen = await by({ FLAGS_TOKEN: ` ${key}\n` }).observe({ version: 'on', signal });
    const unknown = await failureOf(by({}).observe({ version: 'on', signal }));
    await locked.close();

    expect(seen.stableVersion).toBe('on');
    expect(unknown.kind).toBe('invalidTarget');
  });
});
