import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { QueueStatus, ReleaseInput, ReleaseStatus } from '../../src/workflows/api';
import { releaseQueueWorkflowId, releaseWorkflowId } from '../../src/workflows/api';
import { releaseQueue } from '../../src/workflows/release-queue';
import { FakeWorld } from './fake-world';
import { shortPlan, testSteps, weights } from './plans';
import { send, statusOf, TimeSkipping } from './time-skipping';
import type { Room } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start();
});
afterAll(() => time.stop());

describe('a second release while one runs', () => {
  interface Queued {
    readonly version: string;
    readonly supersede?: boolean;
  }
  async function enqueue(room: Room, { version, supersede = false }: Queued): Promise<ReleaseInput> {
    const input = time.inputOf(room, shortPlan({ version, steps: testSteps(weights(100)) }));
    await time.env.client.workflow.signalWithStart(releaseQueue, {
      workflowId: releaseQueueWorkflowId(room.namespace, 'shop'),
      taskQueue: room.taskQueue,
      args: [{ service: 'shop', namespace: room.namespace }],
      signal: 'enqueue',
      signalArgs: [{ input, supersede }],
    });
    return input;
  }
  const queueOf = (room: Room): Promise<QueueStatus> =>
    time.env.client.workflow.getHandle(releaseQueueWorkflowId(room.namespace, 'shop')).query<QueueStatus>('queue');
  const current = (room: Room): ReturnType<typeof time.env.client.workflow.getHandle> =>
    time.env.client.workflow.getHandle(releaseWorkflowId(room.namespace, 'shop'));
  /** Advances until the service's current release is of the version, and as wanted. */
  async function untilCurrent(room: Room, version: string, wanted: (s: ReleaseStatus) => boolean): Promise<void> {
    await time.until(current(room), (s) => s.version.to === version && wanted(s));
  }
  const over = (s: ReleaseStatus): boolean => s.outcome !== null;

  it('is refused by Temporal itself, because the workflow id is the lock', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await expect(time.startRelease(room, shortPlan({ version: 'v3' }))).rejects.toBeInstanceOf(
        WorkflowExecutionAlreadyStartedError,
      );
      await handle.result();
      expect(world.allNew).toBe(true);
    });
  });

  it('waits in the queue until the first is over, several in their order', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      const third = await enqueue(room, { version: 'v3' });
      const fourth = await enqueue(room, { version: 'v4' });
      const waiting = await time.until(handle, (s) => s.successors.length === 2);
      expect(waiting.successors).toEqual([third.release, fourth.release]);
      expect((await queueOf(room)).waiting.map((one) => one.version)).toEqual(['v3', 'v4']);
      await untilCurrent(room, 'v4', over);

      expect(world.stable).toBe('v4');
      const deployed = world.calls
        .filter((c) => c.activity === 'deploy')
        .map((c) => (c.input as { version: string }).version);
      expect(deployed).toEqual(['v2', 'v3', 'v4']);
      expect((await handle.describe()).status.name).toBe('COMPLETED');
    });
  });

  it('that supersedes rolls the running one back, and takes the place of those before it', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      const third = await enqueue(room, { version: 'v3' });
      await time.until(handle, (s) => s.successors.length === 1);
      const fourth = await enqueue(room, { version: 'v4', supersede: true });

      // Without any time going by.
      await world.begun('compensate', 2);
      await untilCurrent(room, 'v4', over);
      const first = await time.env.client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId).result();
      expect(first).toMatchObject({ outcome: 'superseded' });
      expect(world.stable).toBe('v4');
      expect(await queueOf(room)).toMatchObject({
        waiting: [],
        dropped: [{ release: third.release, version: 'v3', supersededBy: fourth.release }],
      });
    });
  });

  it('that supersedes does not touch one that is being promoted', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      world.on('promote', async (_, call) => {
        if (call > 1) return;
        await enqueue(room, { version: 'v3', supersede: true });
        while ((await statusOf(handle)).successors.length === 0)
          await new Promise((resolve) => setTimeout(resolve, 10));
      });
      await send(handle, 'promote');
      await untilCurrent(room, 'v3', over);

      expect(world.stable).toBe('v3');
      expect(world.compensated).toEqual([]);
    });
  });

  it('starts by itself when the first one was terminated', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      await enqueue(room, { version: 'v3' });
      await time.until(handle, (s) => s.successors.length === 1);
      await time.env.client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId).terminate();
      await untilCurrent(room, 'v3', over);

      expect(world.stable).toBe('v3');
    });
  });

  it('is not lost when nothing runs, nor stopped by what somebody else sends to the queue', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      const input = await enqueue(room, { version: 'v3' });
      const queue = time.env.client.workflow.getHandle(releaseQueueWorkflowId(room.namespace, 'shop'));
      await queue.signal('enqueue');
      await queue.signal('enqueue', { input: { release: 'x' } });
      await queue.signal('enqueue', { input, supersede: false });
      expect((await queueOf(room)).waiting).toHaveLength(1);
      await send(handle, 'rollback');
      await untilCurrent(room, 'v3', over);

      expect(world.stable).toBe('v3');
    });
  });
});
