import { KEEPS_OLD_MEMO, releaseWorkflowId } from '../../src/workflows/api';
import type { ReleaseStatus } from '../../src/workflows/api';
import { ACTIVITY_FAILURES } from '../../src/workflows/activity-types';
import { failure, FakeWorld } from './fake-world';
import { blueGreenPlan } from './plans';
import { refusalOf, send, statusOf, TimeSkipping } from './time-skipping';
import type { ReleaseHandle } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start();
});
afterAll(() => time.stop());

function worldOf(): FakeWorld {
  const world = new FakeWorld();
  world.switches = true;
  return world;
}

const KEPT_MS = 600_000;
const isKept = (status: ReleaseStatus): boolean => (status.keepOld ?? null) !== null;

/** When an event of a type was recorded, milliseconds. */
function at(status: ReleaseStatus, type: ReleaseStatus['events'][number]['type']): number {
  const event = status.events.find((one) => one.type === type);
  if (event === undefined) throw new Error(`There is no event ${type}.`);
  return event.at;
}

async function memoOf(handle: Pick<ReleaseHandle, 'describe'>): Promise<unknown> {
  return (await handle.describe()).memo?.[KEEPS_OLD_MEMO];
}

describe('a blue-green release after its promotion', () => {
  it('is promoted at once, keeps the old version for its time, and then scales it down', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, blueGreenPlan());
      const kept = await time.until(handle, isKept);

      expect(kept).toMatchObject({ outcome: 'promoted', phase: 'promoted', endedAt: null, weight: 100 });
      expect(kept.keepOld).toMatchObject({ version: 'v1' });
      // Nobody looks meanwhile.
      expect(kept.observedShare).toBeNull();
      // As people read times elsewhere.
      const until = /v1 is kept until \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ/;
      expect(kept.message).toMatch(/^Promoted\. v1 is kept until .*: a roll back until then is one write\.$/);
      expect(kept.message).toMatch(until);
      expect(kept.events.find((event) => event.type === 'promoted')?.message).toMatch(until);
      // What a roll back would run: the switch first, and nothing else before the pods.
      expect(kept.compensations).toEqual([{ op: 'removeCanary' }, { op: 'restoreWeight', weight: 0 }]);
      expect(await memoOf(handle)).toBe(kept.keepOld?.until);

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const status = await statusOf(handle);
      expect(at(status, 'keepOldEnded') - at(status, 'promoted')).toBeGreaterThanOrEqual(KEPT_MS);
      expect(status.events.map((event) => event.type).slice(-3)).toEqual(['promoted', 'keepOldEnded', 'cleanedUp']);
      expect(status).toMatchObject({ outcome: 'promoted', keepOld: null, compensations: [] });
      expect(world.allNew).toBe(true);
      expect(world.compensated).toEqual(['removeCanary']);
      expect(world.weights).toEqual([100]);
    });
  });

  it('with keepOld: 0s scales the old version down once it has drained', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, blueGreenPlan({ keepOldMs: 0 }));

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const status = await statusOf(handle);
      expect(status.events.map((event) => event.type)).not.toContain('keepOldEnded');
      // The switch is a minute ago, and its drain of 30 s with it.
      expect(at(status, 'cleanedUp') - at(status, 'promoted')).toBeLessThan(30_000);
      expect(world.allNew).toBe(true);
    });
  });

  it('goes back by the switch alone when it is rolled back in that time', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, blueGreenPlan());
      await time.until(handle, isKept);
      await time.env.sleep(301_000);
      await send(handle, 'rollback', { reason: 'baskets are empty' });

      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      const status = await statusOf(handle);
      expect(world.compensated).toEqual(['restoreWeight', 'removeCanary']);
      expect(world.allOld).toBe(true);
      expect(status).toMatchObject({ outcome: 'aborted', phase: 'rolledBack', weight: 0, keepOld: null });
      expect(status.events.map((event) => event.type).slice(-6)).toEqual([
        ...['promoted', 'rollbackRequested', 'rollbackStarted', 'compensated', 'compensated', 'rolledBack'],
      ]);
      // The new version's pods drain before they go; the traffic did not wait for anything.
      const [traffic, pods] = status.events.filter((event) => event.type === 'compensated');
      expect((traffic?.at ?? 0) - at(status, 'rollbackRequested')).toBeLessThan(1_000);
      expect((pods?.at ?? 0) - (traffic?.at ?? 0)).toBeGreaterThanOrEqual(30_000);
      expect(await memoOf(handle)).toBeUndefined();
      expect(status.message).toMatch(/Rolled back to v1: baskets are empty/);
    });
  });

  it('goes back by the signal, and by a cancellation at Temporal, too', async () => {
    for (const way of ['signal', 'cancel'] as const) {
      const world = worldOf();
      await time.run(world, async (room) => {
        const handle = await time.startRelease(room, blueGreenPlan());
        await time.until(handle, isKept);
        if (way === 'signal') await handle.signal('rollback', { by: 'eve' });
        else await handle.cancel();
        const ended = await time.until(handle, (status) => status.endedAt !== null);

        expect(ended.outcome).toBe('aborted');
        expect(world.allOld).toBe(true);
      });
    }
  });

  it('takes no other message meanwhile', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, blueGreenPlan());
      await time.until(handle, isKept);
      for (const [name, message] of [
        ['pause', {}],
        ['promote', {}],
        ['setWeight', { weight: 0 }],
      ] as const) {
        expect((await refusalOf(send(handle, name, message))).message).toBe(
          'The release is promoted; while v1 is kept, it can only be rolled back.',
        );
      }
      await handle.result();

      const { outcome, endedAt } = await statusOf(handle);
      expect(outcome).toBe('promoted');
      expect(endedAt).not.toBeNull();
    });
  });

  it('gives the old version up for the next release, which begins at once', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, blueGreenPlan());
      await time.until(handle, isKept);
      await time.enqueue(room, time.inputOf(room, blueGreenPlan({ version: 'v3' })));

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      // By its run: the service's id is the next one's.
      const first = await statusOf(time.env.client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId));
      expect(at(first, 'keepOldEnded') - at(first, 'promoted')).toBeLessThan(KEPT_MS / 2);
      expect(first.events.find((event) => event.type === 'keepOldEnded')?.message).toMatch(
        /^Release \S+ needs its place: v1 is not kept any longer\.$/,
      );

      const second = time.env.client.workflow.getHandle(releaseWorkflowId(room.namespace, 'shop'));
      const kept = await time.until(second, (status) => status.version.to === 'v3' && isKept(status));
      expect(kept).toMatchObject({ version: { from: 'v2' }, keepOld: { version: 'v2' } });
      await time.until(second, (status) => status.endedAt !== null);
      expect(world.stable).toBe('v3');
    });
  });

  it('keeps nothing where the next release waits already', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, blueGreenPlan());
      await time.until(handle, (status) => status.phase === 'soaking');
      await time.enqueue(room, time.inputOf(room, blueGreenPlan({ version: 'v3' })));
      await time.until(handle, (status) => status.successors.length > 0 || status.endedAt !== null);
      await handle.result();
      const status = await statusOf(time.env.client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId));

      expect(status.events.map((event) => event.type)).not.toContain('keepOldEnded');
      expect(status.outcome).toBe('promoted');
    });
  });

  it('keeps it across continue-as-new, and still goes back', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, blueGreenPlan(), { historyLimit: 20 });
      const kept = await time.until(handle, isKept);
      // Little: where the server has lost count of who holds its clock, this takes as long as it says.
      await time.env.sleep(11_000);
      await time.quiet(handle);
      const later = await statusOf(time.env.client.workflow.getHandle(handle.workflowId));

      expect(later.keepOld).toEqual(kept.keepOld);
      expect(later.runId).not.toBe(handle.firstExecutionRunId);
      expect(await memoOf(time.env.client.workflow.getHandle(handle.workflowId) as ReleaseHandle)).toBe(
        kept.keepOld?.until,
      );
      await send(time.env.client.workflow.getHandle(handle.workflowId) as ReleaseHandle, 'rollback');
      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      expect(world.allOld).toBe(true);
    });
  });

  it('keeps it while no worker is there: what was asked meanwhile is done when one comes', async () => {
    const world = worldOf();

    await time.runApart(world, async (room) => {
      await room.startWorkflows();
      const handle = await time.startRelease(room, blueGreenPlan());
      await time.until(handle, isKept);
      await room.stopWorkflows();
      await handle.signal('rollback', { by: 'eve' });
      await room.startWorkflows();

      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      expect(world.allOld).toBe(true);
    });
  });

  it('finds that it was taken back on the cluster itself, and says so', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, blueGreenPlan());
      await time.until(handle, isKept);
      world.on('compensate', () => {
        throw failure(ACTIVITY_FAILURES.fenceLost, 'held by a later epoch');
      });

      expect(await handle.result()).toMatchObject({ outcome: 'superseded' });
      const status = await statusOf(handle);
      expect(status).toMatchObject({ phase: 'rolledBack', weight: 0 });
      expect(status.events.at(-1)?.message).toMatch(/Taken back to v1 on the cluster itself.*held by a later epoch/);
    });
  });

  it('tells Slack of the promotion at once, and not at the end of that time', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, blueGreenPlan({ notify: { slack: { channel: '#d' } } }));
      await time.until(handle, isKept);
      await time.quiet(handle);
      const told = world.calls
        .filter(({ activity }) => activity === 'notifySlack')
        .map(({ input }) => (input as { status: ReleaseStatus }).status);

      expect(told.at(-1)).toMatchObject({ outcome: 'promoted', keepOld: { version: 'v1' } });
      await handle.result();
    });
  });
});

it('a failing version is switched back before its pods go, and nothing is made anew', async () => {
  const world = worldOf();
  world.verdict = () => 'fail';

  await time.run(world, async (room) => {
    const handle = await time.startRelease(room, blueGreenPlan());

    expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
    expect(world.compensated).toEqual(['restoreWeight', 'removeCanary']);
    expect(world.count('promote')).toBe(0);
    expect(world.allOld).toBe(true);
  });
});
