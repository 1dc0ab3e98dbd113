import { ACTIVITY_FAILURES } from '../../src/workflows/activity-types';
import type { Plan } from '../../src/spec/plan-types';
import { shortPlan as planShort } from '../../src/spec/short-plans';
import type { ShortWish } from '../../src/spec/short-plans';
import { FakeWorld } from './fake-world';
import { kubernetesPlan } from './plans';
import { ADA, refusalOf, send, statusOf, TimeSkipping } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start();
});
afterAll(() => time.stop());

/** v2 runs beside v1 already, with so much of the traffic. */
function worldOf(weight = 0): FakeWorld {
  const world = new FakeWorld();
  world.handsBack = true;
  world.canary = 'v2';
  world.weight = weight;
  return world;
}

const planOf = (wish: ShortWish, base: Plan = kubernetesPlan()): Plan => planShort(base, wish);
const TRAFFIC: ShortWish = { kind: 'traffic', weight: 20, holdMs: 3_600_000 };
const CLEAN_UP: ShortWish = { kind: 'cleanup', track: 'canary' };

describe('a short release of what the canary runs', () => {
  it('promotes it: all of the traffic, its soak, the promotion', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf({ kind: 'promote' }));
      const result = await handle.result();

      expect(result).toMatchObject({ outcome: 'promoted', version: 'v2' });
      expect(world.weights).toEqual([100, 50, 0]);
      expect(world.allNew).toBe(true);
      const { events } = await statusOf(handle);
      expect(events[0]?.message).toMatch(/started a short release \(promote\) of what the canary of shop runs, v2/u);
    });
  });

  it('is taken back by a failing verdict', async () => {
    const world = worldOf();
    world.verdict = () => 'fail';

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf({ kind: 'promote' }));

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      expect(world.compensated).toEqual(['restoreWeight', 'removeCanary']);
      expect(world.allOld).toBe(true);
    });
  });

  it('holds at its weight for a person, and goes back when nobody comes', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf(TRAFFIC));
      const result = await handle.result();
      const status = await statusOf(handle);

      expect(result).toMatchObject({
        outcome: 'rolledBack',
        reason: expect.stringContaining('Nobody approved in time.'),
      });
      expect(world.weights).toEqual([20]);
      expect(status.endedAt! - status.startedAt).toBeGreaterThanOrEqual(3_600_000);
      expect(world.allOld).toBe(true);
    });
  });

  it('goes on from the hold when it is promoted, and back when it is rolled back', async () => {
    for (const message of ['promote', 'rollback'] as const) {
      const world = worldOf();

      await time.run(world, async (room) => {
        const handle = await time.startRelease(room, planOf(TRAFFIC));
        await time.until(handle, (status) => status.phase === 'awaitingApproval');
        await send(handle, message, { actor: ADA });
        const result = await handle.result();

        expect(result.outcome).toBe(message === 'promote' ? 'promoted' : 'aborted');
        expect(message === 'promote' ? world.allNew : world.allOld).toBe(true);
      });
    }
  });

  it('of a colour ends before anything is changed when that has the traffic by now', async () => {
    const base = kubernetesPlan();
    const target = { ...base.target, strategy: 'blueGreen' } as Plan['target'];
    const world = worldOf();
    world.idle = 'blue';

    await time.run(world, async (room) => {
      const wish: ShortWish = { kind: 'switch', colour: 'green', weight: 100, holdMs: 1 };
      const handle = await time.startRelease(room, planOf(wish, { ...base, target }));

      expect(await handle.result()).toMatchObject({
        outcome: 'rolledBack',
        reason: expect.stringContaining('This is about green while it is idle, but green has the traffic.'),
      });
      expect(world.writes).toEqual([]);
    });
  });
});

describe('while only the canary can carry the traffic', () => {
  const WHY = 'Stable has no pods; promote the canary.';
  const stranded = (weight: number): FakeWorld => {
    const world = worldOf(weight);
    world.onlyCanary = WHY;
    return world;
  };

  it('it is promoted, though no other plan could lower it', async () => {
    const world = stranded(100);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf({ kind: 'promote' }));

      expect(await handle.result()).toMatchObject({ outcome: 'promoted', version: 'v2' });
      expect(world.allNew).toBe(true);
    });
  });

  it.each<[string, number, (world: FakeWorld) => Plan]>([
    ['a lower weight', 100, () => planOf(TRAFFIC)],
    [
      'another image',
      100,
      (world) => {
        world.canary = 'v0';
        return kubernetesPlan();
      },
    ],
    ['a clean-up', 40, () => planOf(CLEAN_UP)],
  ])('%s ends before anything is changed', async (_, weight, planFor) => {
    const world = stranded(weight);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planFor(world));

      expect(await handle.result()).toMatchObject({ reason: expect.stringContaining(WHY) });
      expect(world.writes).toEqual([]);
      expect(world.weight).toBe(weight);
    });
  });
});

describe('a clean-up', () => {
  it('takes the traffic first, lets the pods drain, and then takes them away', async () => {
    const world = worldOf(40);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf(CLEAN_UP));
      const result = await handle.result();
      const status = await statusOf(handle);

      expect(result).toMatchObject({ outcome: 'cleanedUp', reason: 'Done: removeCanary.' });
      expect(world.writes.map(({ activity, weight }) => [activity, weight])).toEqual([
        ['setWeight', 0],
        ['compensate', 0],
      ]);
      expect(world.allOld).toBe(true);
      // Read back by the removal, whose activity has the time for it.
      const asked = world.calls.find(({ activity }) => activity === 'setWeight')?.input;
      expect(asked).toMatchObject({ weight: 0, back: true });
      expect(status).toMatchObject({ phase: 'cleanedUp', weight: 0, compensations: [], step: 1 });
      expect(status.events.map(({ type }) => type)).toEqual(['started', 'weightChanged', 'cleanedUp']);
      expect(status.endedAt! - status.startedAt).toBeGreaterThanOrEqual(30_000);
    });
  });

  it('of a canary with all of the traffic is refused, and the traffic stays', async () => {
    const world = worldOf(100);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf(CLEAN_UP));

      expect(await handle.result()).toMatchObject({
        outcome: 'failed',
        reason: 'Not cleaned up: The canary has all of the traffic, so it is not cleaned up.',
      });
      expect(world.writes).toEqual([]);
      const status = await statusOf(handle);
      expect(status).toMatchObject({ phase: 'failed', weight: 100 });
      const types = status.events.map(({ type }) => type);
      expect(types).toEqual(['started', 'stepFailed', 'rollbackStarted', 'failed']);
      expect(status.events.some(({ message }) => /roll(ing|ed) back/iu.test(message))).toBe(false);
    });
  });

  it('that is rolled back while the pods drain leaves them, without traffic', async () => {
    const world = worldOf(40);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf(CLEAN_UP));
      await time.until(handle, (status) => status.events.some(({ type }) => type === 'weightChanged'));
      await send(handle, 'rollback', { actor: ADA, reason: 'wait' });

      expect(await handle.result()).toMatchObject({ outcome: 'aborted', reason: 'Not cleaned up: wait' });
      expect(world).toMatchObject({ canary: 'v2', weight: 0 });
    });
  });

  it('whose removal is left to a later release has not cleaned up', async () => {
    const world = worldOf();
    world.fail('compensate', ACTIVITY_FAILURES.fenceLost);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf(CLEAN_UP));

      const { outcome, reason } = await handle.result();
      expect({ outcome, canary: world.canary }).toEqual({ outcome: 'superseded', canary: 'v2' });
      expect(reason).toMatch(/^Not cleaned up: /u);
    });
  });

  it('of a colour says which all along, and ends where somebody has given that the traffic meanwhile', async () => {
    const world = worldOf(40);
    const base = kubernetesPlan();
    const target = { ...base.target, strategy: 'blueGreen' } as Plan['target'];
    world.idle = 'green';
    world.fail('compensate', ACTIVITY_FAILURES.notIdle);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf({ kind: 'cleanup', track: 'green' }, { ...base, target }));

      const { outcome, reason } = await handle.result();
      expect({ outcome, canary: world.canary }).toEqual({ outcome: 'failed', canary: 'v2' });
      expect(reason).toMatch(/^Not cleaned up: /u);
      const asked = world.calls.filter(({ activity }) => activity === 'setWeight' || activity === 'compensate');
      expect(asked.length).toBeGreaterThan(1);
      expect(asked.map(({ input }) => (input as { idle?: string }).idle)).toEqual(asked.map(() => 'green'));
      expect((await statusOf(handle)).stuck).toBeNull();
    });
  });

  it('whose removal fails goes on until it is done', async () => {
    const world = worldOf();
    world.fail('compensate', ACTIVITY_FAILURES.invalidTarget, 2);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf(CLEAN_UP));

      expect(await handle.result()).toMatchObject({ outcome: 'cleanedUp' });
      expect(world.allOld).toBe(true);
      const status = await statusOf(handle);
      expect(status).toMatchObject({ phase: 'cleanedUp', compensations: [] });
      expect(status.steps.map(({ state }) => state)).toEqual(['passed']);
    });
  });

  it.each([
    ['promote', { actor: ADA }],
    ['setWeight', { actor: ADA, weight: 10 }],
  ] as const)('is told nothing about traffic: %s is refused', async (message, body) => {
    const world = worldOf();
    world.hang('setWeight');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf(CLEAN_UP));
      await world.begun('setWeight');
      const { message: refused } = await refusalOf(send(handle, message, body));
      world.release();

      expect(refused).toContain('only cleans a track up');
      expect(await handle.result()).toMatchObject({ outcome: 'cleanedUp' });
    });
  });
});
