import { ACTIVITY_FAILURES } from '../../src/workflows/activity-types';
import type { ReleaseStatus } from '../../src/workflows/api';
import { failure, FakeWorld } from './fake-world';
import { kubernetesPlan } from './plans';
import { send, statusOf, TimeSkipping } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start();
});
afterAll(() => time.stop());

function worldOf(): FakeWorld {
  const world = new FakeWorld();
  world.handsBack = true;
  return world;
}

/** When an event of a type was recorded, milliseconds. */
function at(status: ReleaseStatus, type: ReleaseStatus['events'][number]['type']): number {
  const event = status.events.find((one) => one.type === type);
  if (event === undefined) throw new Error(`There is no event ${type}.`);
  return event.at;
}

describe('a promotion that makes the stable track anew', () => {
  it('hands the traffic back by half, watched, and removes the canary once it has drained', async () => {
    const world = worldOf();
    const subjects: string[] = [];
    world.on('measure', (input) => {
      subjects.push((input as { subject: string }).subject);
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      const result = await handle.result();
      const status = await statusOf(handle);

      expect(result).toMatchObject({ outcome: 'promoted' });
      expect(world.allNew).toBe(true);
      expect(world.weights).toEqual([25, 100, 50, 0]);
      // Two measurements a soak, and the last one is of the new stable pods.
      expect(subjects).toEqual(['canary', 'canary', 'canary', 'canary', 'stable', 'stable']);
      expect(world.compensated).toEqual(['removeCanary']);
      expect(status.events.map((event) => event.type).slice(-7)).toEqual([
        'stepPassed',
        'stableReplaced',
        'weightChanged',
        'stepPassed',
        'weightChanged',
        'promoted',
        'cleanedUp',
      ]);
      expect(at(status, 'cleanedUp') - at(status, 'promoted')).toBeGreaterThanOrEqual(30_000);
      expect(status).toMatchObject({ outcome: 'promoted', weight: 100, compensations: [] });
    });
  });

  it('whose new pods fail under half of the traffic gets the old template back before the traffic', async () => {
    const world = worldOf();
    world.verdict = ({ subject }) => (subject === 'stable' ? 'fail' : 'pass');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      const result = await handle.result();

      expect(result).toMatchObject({ outcome: 'rolledBack' });
      expect(result.reason).toMatch(/The new stable pods/);
      expect(world.compensated).toEqual(['restoreStable', 'restoreWeight', 'removeCanary']);
      expect(world.weights).toEqual([25, 100, 50]);
      expect(world.allOld).toBe(true);
    });
  });

  it('that fails while the pods are made is taken back in the same order', async () => {
    const world = worldOf();
    world.fail('promote', ACTIVITY_FAILURES.deployFailed);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      expect(world.compensated).toEqual(['restoreStable', 'restoreWeight', 'removeCanary']);
      expect(world.allOld).toBe(true);
    });
  });

  it('can be rolled back by a person while the new stable pods are watched', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      await time.until(handle, (status) => status.phase === 'promoting' && status.weight === 50);
      await send(handle, 'rollback', { reason: 'enough' });

      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      expect(world.compensated).toEqual(['restoreStable', 'restoreWeight', 'removeCanary']);
      expect(world.allOld).toBe(true);
    });
  });

  it('without evidence about the new pods is held, and a resume tries it again', async () => {
    const world = worldOf();
    world.verdict = ({ subject }) => (subject === 'stable' ? 'insufficient-data' : 'pass');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      const held = await time.until(handle, (status) => status.paused !== null);

      expect(held.paused).toMatchObject({ cause: 'noData' });
      expect(world.weight).toBe(50);

      world.verdict = () => 'pass';
      await send(handle, 'resume');

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect(world.allNew).toBe(true);
    });
  });

  it('ends as promoted, and says what is left, when the canary cannot be removed', async () => {
    const world = worldOf();
    world.on('compensate', () => {
      throw failure(ACTIVITY_FAILURES.unreachable, 'the cluster is away');
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const { events } = await statusOf(handle);
      expect(events.at(-1)).toMatchObject({ type: 'leftOver' });
      expect(events.at(-1)?.message).toMatch(/the cluster is away/);
    });
  });
});

describe('a roll back in Kubernetes', () => {
  it('lets the canary drain before its pods go, and not where it never had traffic', async () => {
    const [drained, untouched] = [worldOf(), worldOf()];
    drained.verdict = () => 'fail';
    untouched.fail('smokeTest', ACTIVITY_FAILURES.smokeTestFailed);

    await time.run(drained, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      await handle.result();
      const { events } = await statusOf(handle);
      const [weight, canary] = events.filter((event) => event.type === 'compensated');

      expect((canary?.at ?? 0) - (weight?.at ?? 0)).toBeGreaterThanOrEqual(30_000);
      expect(drained.allOld).toBe(true);
    });
    await time.run(untouched, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      await handle.result();
      const status = await statusOf(handle);

      expect(at(status, 'compensated') - at(status, 'rollbackStarted')).toBeLessThan(30_000);
    });
  });

  it('somebody else changed the traffic: put right, or back, as the spec says', async () => {
    const [put, back] = [worldOf(), worldOf()];
    for (const world of [put, back]) {
      world.on('measure', (_, call) => {
        if (call === 1) world.weight = 3;
      });
    }

    await time.run(put, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
    });
    await time.run(back, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan({ onForeignEdit: 'rollback', onFailure: 'pause' }));
      const result = await handle.result();

      expect(result).toMatchObject({ outcome: 'rolledBack' });
      expect(result.reason).toMatch(/Somebody else changed/);
    });
  });
});

describe('a match step', () => {
  it('sends marked requests to the canary from then on, and none after a roll back', async () => {
    const world = worldOf();
    const seen: unknown[] = [];
    for (const activity of ['setWeight', 'measure'] as const) {
      world.on(activity, (input) => {
        seen.push((input as { match: unknown }).match);
      });
    }
    const match = { kind: 'header', name: 'x-canary', value: 'true' } as const;

    await time.run(world, async (room) => {
      const plan = kubernetesPlan({ match: [{ kind: 'match', name: 'match header x-canary', match }] });
      const handle = await time.startRelease(room, plan);
      const held = await time.until(handle, (status) => status.weight === 25);

      expect(held.events.map((event) => event.type)).toContain('matchChanged');
      await send(handle, 'rollback');
      await handle.result();

      expect(world.weights.slice(0, 2)).toEqual([0, 25]);
      expect(seen.every((one) => JSON.stringify(one) === JSON.stringify([match]))).toBe(true);
      expect(world.compensated).toEqual(['restoreWeight', 'removeCanary']);
    });
  });
});
