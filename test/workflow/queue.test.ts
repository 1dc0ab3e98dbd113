import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { MessageAck, QueueStatus, ReleaseInput, ReleaseStatus, WithdrawMessage } from '../../src/workflows/api';
import { releaseQueueWorkflowId, releaseWorkflowId } from '../../src/workflows/api';
import { FakeWorld } from './fake-world';
import { shortPlan, testSteps, weights } from './plans';
import { ADA, ask, refusalOf, send, statusOf, TimeSkipping } from './time-skipping';
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
    readonly historyLimit?: number;
  }
  async function enqueue(room: Room, { version, supersede = false, historyLimit }: Queued): Promise<ReleaseInput> {
    const input = time.inputOf(room, shortPlan({ version, steps: testSteps(weights(100)) }));
    await time.enqueue(room, input, { supersede, historyLimit });
    return input;
  }
  const queueOf = (room: Room): Promise<QueueStatus> =>
    ask(time.env.client.workflow.getHandle(releaseQueueWorkflowId(room.namespace, 'shop')), 'queue');
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
      const ended = time.env.client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId);
      expect(await ended.result()).toMatchObject({ outcome: 'superseded' });
      const told = (await statusOf(ended)).events.filter((event) => event.type === 'successorWaiting');
      expect(told.at(-1)?.message).toBe(
        `Release ${fourth.release} of v4 waits for this one to end. It takes the place of ${third.release}, which waited before it and will not be started.`,
      );
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

  describe('that waits', () => {
    const withdrawUpdate = (room: Room, release: string, reason?: string): Promise<MessageAck> =>
      queueHandle(room).executeUpdate<MessageAck, [WithdrawMessage]>('withdraw', {
        args: [{ release, actor: ADA, ...(reason === undefined ? {} : { reason }) }],
      });
    const queueHandle = (room: Room): ReturnType<typeof time.env.client.workflow.getHandle> =>
      time.env.client.workflow.getHandle(releaseQueueWorkflowId(room.namespace, 'shop'));

    it('is withdrawn at once, with who and why, and the running one is told', async () => {
      const world = new FakeWorld();

      await time.run(world, async (room) => {
        const handle = await time.startRelease(room, shortPlan());
        await time.until(handle, (s) => s.phase === 'soaking');
        const third = await enqueue(room, { version: 'v3' });
        const fourth = await enqueue(room, { version: 'v4' });
        await time.until(handle, (s) => s.successors.length === 2);

        const ack = await withdrawUpdate(room, third.release, 'wrong build');
        expect(ack).toMatchObject({
          release: third.release,
          message: `Release ${third.release} is withdrawn from the queue; it is not started.`,
        });
        // Asked again, it is answered the same.
        expect(await withdrawUpdate(room, third.release)).toEqual(ack);
        const told = await time.until(handle, (s) => s.successors.length === 1, 1);
        expect(told.successors).toEqual([fourth.release]);
        expect(told.events.at(-1)).toMatchObject({
          type: 'successorWithdrawn',
          actor: ADA,
          message: `Release ${third.release}, which waited, was withdrawn by ada.`,
        });
        const queue = await queueOf(room);
        expect(queue.waiting.map((one) => one.release)).toEqual([fourth.release]);
        expect(queue.dropped).toMatchObject([
          { release: third.release, version: 'v3', withdrawn: { by: ADA, reason: 'wrong build' } },
        ]);
        expect((await queueHandle(room).describe()).memo).toMatchObject({
          waiting: [{ release: fourth.release, version: 'v4', supersede: false, by: ADA }],
        });
        await untilCurrent(room, 'v4', over);

        expect(world.calls.some((c) => (c.input as { version?: string }).version === 'v3')).toBe(false);
      });
    });

    it('is withdrawn by signal, too; the queue is over when it was the last', async () => {
      const world = new FakeWorld();

      await time.run(world, async (room) => {
        const handle = await time.startRelease(room, shortPlan());
        await time.until(handle, (s) => s.phase === 'soaking');
        const third = await enqueue(room, { version: 'v3' });
        await time.until(handle, (s) => s.successors.length === 1);
        // Nothing that somebody else sends stops it.
        await queueHandle(room).signal('withdraw');
        await queueHandle(room).signal('withdraw', { release: third.release });
        await queueHandle(room).signal('withdraw', { release: 'other', actor: ADA });
        expect((await queueOf(room)).waiting).toHaveLength(1);
        await queueHandle(room).signal('withdraw', { release: third.release, actor: ADA });
        await queueHandle(room).result();
        await time.until(handle, (s) => s.successors.length === 0, 1);

        expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
        expect((await queueOf(room)).dropped).toMatchObject([{ withdrawn: { by: ADA, reason: null } }]);
      });
    });

    it('cannot be withdrawn when it does not wait', async () => {
      const world = new FakeWorld();

      await time.run(world, async (room) => {
        const handle = await time.startRelease(room, shortPlan());
        await time.until(handle, (s) => s.phase === 'soaking');
        const third = await enqueue(room, { version: 'v3' });
        await time.until(handle, (s) => s.successors.length === 1);

        expect((await refusalOf(withdrawUpdate(room, 'other'))).message).toBe(
          'release other does not wait in the queue.',
        );
        const refusals: string[] = [];
        world.on('compensate', async (_, call) => {
          if (call === 1) refusals.push((await refusalOf(withdrawUpdate(room, third.release))).message);
        });
        const fourth = await enqueue(room, { version: 'v4', supersede: true });
        await untilCurrent(room, 'v4', over);

        expect(refusals).toEqual([`release ${third.release} was dropped already: ${fourth.release} took its place.`]);
      });
    });

    it('is looked after ever more rarely while another is held, for days', async () => {
      const world = new FakeWorld();

      await time.run(world, async (room) => {
        const handle = await time.startRelease(room, shortPlan());
        await time.until(handle, (s) => s.phase === 'soaking');
        await send(handle, 'setWeight', { weight: 0 });
        await time.until(handle, (s) => s.paused !== null);
        await enqueue(room, { version: 'v3' });
        await time.until(handle, (s) => s.successors.length === 1);
        await time.env.sleep(1_200_487);

        const { events } = await queueHandle(room).fetchHistory();
        const tries = events?.filter((event) => event.startChildWorkflowExecutionInitiatedEventAttributes) ?? [];
        // Every 15 s it would be 80; every two minutes it is 10, and a few at first.
        expect(tries.length).toBeGreaterThan(8);
        expect(tries.length).toBeLessThan(20);
        await send(handle, 'rollback');
        await untilCurrent(room, 'v3', over);
      });
    });

    it('is handed from run to run of the queue, which continues as new, and withdrawn from any', async () => {
      const world = new FakeWorld();

      await time.run(world, async (room) => {
        const handle = await time.startRelease(room, shortPlan());
        await time.until(handle, (s) => s.phase === 'soaking');
        await send(handle, 'setWeight', { weight: 0 });
        await time.until(handle, (s) => s.paused !== null);
        const third = await enqueue(room, { version: 'v3', historyLimit: 60 });
        const fourth = await enqueue(room, { version: 'v4' });
        const fifth = await enqueue(room, { version: 'v5' });
        const first = (await queueHandle(room).describe()).runId;
        await withdrawUpdate(room, fourth.release);
        const since = (await queueOf(room)).waiting.map((one) => one.since);
        await time.env.sleep(1_200_487);

        expect((await queueHandle(room).describe()).runId).not.toBe(first);
        const queue = await queueOf(room);
        expect(queue.waiting.map((one) => one.release)).toEqual([third.release, fifth.release]);
        expect(queue.waiting.map((one) => one.since)).toEqual(since);
        expect(queue.dropped).toMatchObject([{ release: fourth.release, withdrawn: { by: ADA } }]);
        await withdrawUpdate(room, third.release);
        // It is told once to wait, and not by each run of the queue.
        const waits = (await statusOf(handle)).events.filter((e) => e.type === 'successorWaiting');
        expect(new Set(waits.map((e) => e.message)).size).toBe(waits.length);
        await send(handle, 'rollback');
        await untilCurrent(room, 'v5', over);

        const deployed = world.calls.filter((c) => c.activity === 'deploy');
        expect(deployed.map((c) => (c.input as { version: string }).version)).toEqual(['v2', 'v5']);
      });
    });

    it('and cannot be started is not lost: it is said why, tried again, and can be withdrawn', async () => {
      const world = new FakeWorld();

      await time.run(world, async (room) => {
        const plan = shortPlan({ version: 'v3' });
        // As no client sends it.
        const broken = time.inputOf(room, { ...plan, steps: [null as never] });
        await time.enqueue(room, broken);
        await time.env.sleep(62_487);

        const queue = await queueOf(room);
        expect(queue.trouble?.message).toMatch(/null/);
        expect(queue.trouble?.tries).toBeGreaterThanOrEqual(3);
        expect((queue.trouble?.nextTryAt ?? 0) - (await time.env.currentTimeMs())).toBeGreaterThan(0);
        const sound = await enqueue(room, { version: 'v4' });
        await withdrawUpdate(room, broken.release);
        await world.begun('deploy');
        await untilCurrent(room, 'v4', over);
        expect((await statusOf(current(room))).release).toBe(sound.release);
      });
    });
  });
});
