import { CancelledFailure, WorkflowFailedError } from '@temporalio/client';
import type { temporal } from '@temporalio/proto';
import { ACTIVITY_FAILURES } from '../../src/workflows/activity-types';
import { failure, FakeWorld } from './fake-world';
import type { ActivityName } from './fake-world';
import { approve, shortPlan, testSteps, weights } from './plans';
import { ADA, send, statusOf, TimeSkipping } from './time-skipping';
import type { ReleaseHandle } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start();
});
afterAll(() => time.stop());

/** Ways to ask for it, and the outcome each comes to. */
const asks: [string, (handle: ReleaseHandle) => Promise<unknown>][] = [
  ['update', (handle) => send(handle, 'rollback', { reason: 'stop' })],
  ['signal', (handle) => handle.signal('rollback', { by: 'eve', reason: 'stop' })],
  ['cancel', (handle) => handle.cancel()],
];

/** Where it hangs, how often the activity was called by then, and what is taken back. */
const places: [string, ActivityName, string[]][] = [
  ['deploy', 'deploy', ['removeCanary']],
  ['the smoke test', 'smokeTest', ['removeCanary']],
  ['a weight change', 'setWeight', ['restoreWeight', 'removeCanary']],
  ['a measurement', 'measure', ['restoreWeight', 'removeCanary']],
  ['the promotion', 'promote', ['restoreWeight', 'restoreStable', 'removeCanary']],
];

describe.each(asks)('a roll back by %s', (way, ask) => {
  it.each(places)('during %s, which hangs, waits for nothing', async (_, activity, compensations) => {
    const world = new FakeWorld().hang(activity);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      if (activity === 'measure' || activity === 'promote') await advanceTo(handle, world, activity);
      await world.begun(activity);
      await ask(handle);
      await ended(handle, way);

      expect(world.compensated).toEqual(compensations);
      expect(world.allOld).toBe(true);
      // What hung comes to itself, and its write is too late.
      world.release();
      expect(world.allOld).toBe(true);
    });
  });

  it.each([
    ['a soak', shortPlan(), 'soaking'],
    ['an approval', shortPlan({ steps: testSteps([...weights(25), approve()]) }), 'awaitingApproval'],
    [
      'a pause',
      shortPlan({ steps: testSteps([...weights(25), approve({ onExpiry: 'pause', timeoutMs: 1 })]) }),
      'paused',
    ],
  ])('during %s is carried out at once', async (_, plan, phase) => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, plan);
      await time.until(handle, (s) => s.phase === phase);
      await ask(handle);
      await ended(handle, way);

      expect(world.compensated).toEqual(['restoreWeight', 'removeCanary']);
      expect(world.allOld).toBe(true);
    });
  });

  it('during the compensation changes nothing', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      world.verdict = () => 'fail';
      world.on('compensate', async (_input, call) => {
        if (call === 1) await ask(handle);
      });
      const result = await handle.result();

      expect(result.outcome).toBe('rolledBack');
      expect(world.compensated).toEqual(['restoreWeight', 'removeCanary']);
      expect(world.allOld).toBe(true);
      expect((await statusOf(handle)).events.filter((e) => e.type === 'rollbackStarted')).toHaveLength(1);
    });
  });
});

/** Time to where the activity hangs; not further, because the clock stands still there. */
async function advanceTo(handle: ReleaseHandle, world: FakeWorld, activity: ActivityName): Promise<void> {
  await time.until(handle, (s) => s.phase === 'soaking');
  if (activity === 'promote') {
    await send(handle, 'promote');
    return;
  }
  for (let steps = 0; world.count(activity) === 0 && steps < 60; steps += 1) await time.env.sleep(1_100);
}

async function ended(handle: ReleaseHandle, way: string): Promise<void> {
  await time.quiet(handle);
  const result = await handle.result().catch((error: unknown) => error);
  const status = await statusOf(handle);
  expect(status).toMatchObject({ outcome: 'aborted', phase: 'rolledBack', weight: 0, compensations: [] });
  if (way === 'cancel') {
    expect(result).toBeInstanceOf(WorkflowFailedError);
    expect((result as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    expect((await handle.describe()).status.name).toBe('CANCELLED');
  } else {
    expect(result).toMatchObject({ outcome: 'aborted', reason: expect.stringMatching(/stop/) });
    const asked = status.events.find((e) => e.type === 'rollbackRequested');
    expect(asked?.actor).toEqual(way === 'update' ? ADA : { name: 'eve', via: 'signal' });
  }
}

describe('how fast a roll back is', () => {
  it('asks for weight 0 in the very workflow task that accepts it, before everything else', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ notify: { slack: { channel: '#d' } } }));
      await time.until(handle, (s) => s.phase === 'soaking');
      await send(handle, 'rollback');
      await handle.result();
      const events = (await handle.fetchHistory()).events ?? [];
      const accepted = events.findIndex((e) => e.workflowExecutionUpdateAcceptedEventAttributes);
      const task = events.findIndex((e) => e.activityTaskScheduledEventAttributes?.activityType?.name === 'compensate');

      expect(accepted).toBeGreaterThan(0);
      const between = events.slice(accepted, task);
      // No other task began, no timer and no activity came before it.
      expect(between.map(kindOf).filter((kind) => /Task|timerStarted/.test(kind))).toEqual([]);
      const input: unknown = JSON.parse(
        Buffer.from(
          events[task]?.activityTaskScheduledEventAttributes?.input?.payloads?.[0]?.data ?? new Uint8Array(),
        ).toString(),
      );
      expect(input).toMatchObject({ compensation: { op: 'restoreWeight', weight: 0 } });
    });
  });
});

function kindOf(event: temporal.api.history.v1.IHistoryEvent): string {
  return Object.keys(event).find((key) => key.endsWith('EventAttributes')) ?? '';
}

describe('a roll back that meets the promotion', () => {
  it('which has just succeeded is carried out all the same', async () => {
    const world = new FakeWorld();

    await time.runApart(world, async (room) => {
      await room.startWorkflows();
      const handle = await time.startRelease(room, shortPlan());
      world.on('promote', async () => {
        // The workflow's worker is away when the request and the promotion's answer come, so it sees them together.
        await room.stopWorkflows();
        await handle.signal('rollback', { by: 'eve' });
      });
      await time.until(handle, (s) => s.phase === 'soaking');
      await send(handle, 'promote');
      await world.begun('promote');
      while (!world.allNew) await new Promise((resolve) => setTimeout(resolve, 5));
      await room.startWorkflows();

      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      expect(world.compensated).toEqual(['restoreWeight', 'restoreStable', 'removeCanary']);
      expect(world.allOld).toBe(true);
    });
  });

  it('which is over is refused: all-new stays all-new', async () => {
    const world = new FakeWorld().hang('notifySlack');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ notify: { slack: { channel: '#d' } } }));
      await time.until(handle, (s) => s.phase === 'soaking');
      await send(handle, 'promote');
      await time.until(handle, (s) => s.outcome !== null, 1);
      await expect(send(handle, 'rollback')).rejects.toThrow();
      await handle.signal('rollback');
      world.release();

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect(world.compensated).toEqual([]);
      expect(world.allNew).toBe(true);
    });
  });
});

describe('a roll back that cannot finish', () => {
  it('is tried again ever more rarely, says so, and finishes when it can', async () => {
    const world = new FakeWorld().fail('compensate', ACTIVITY_FAILURES.unsupported);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      await send(handle, 'rollback');
      const stuck = await time.until(handle, (s) => (s.stuck?.attempts ?? 0) >= 9, 19_300);

      expect(stuck.stuck?.message).toMatch(/failed on purpose/);
      expect(stuck.compensations?.map((one) => one.op)).toEqual(['removeCanary', 'restoreWeight']);
      expect(
        stuck.events.filter((e) => e.type === 'compensationFailed').map((e) => /try (\d+)/.exec(e.message)?.[1]),
      ).toEqual(['1', '2', '4', '8']);
      world.on('compensate', () => undefined);
      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      expect(world.allOld).toBe(true);
      expect((await statusOf(handle)).stuck).toBeNull();
    });
  });

  it('is tried again soon where each try has itself gone on for a minute, as while a cluster is away', async () => {
    const world = new FakeWorld().fail('compensate', ACTIVITY_FAILURES.unreachable);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      await send(handle, 'rollback');
      await time.until(handle, (s) => (s.stuck?.attempts ?? 0) >= 6, 19_300);
      const { events } = await handle.fetchHistory();
      const pauses = (events ?? []).flatMap(({ timerStartedEventAttributes: timer, userMetadata }) => {
        const summary = JSON.stringify(userMetadata?.summary?.data?.toString() ?? '');
        return timer && /tried again/.test(summary) ? Number(timer.startToFireTimeout?.seconds ?? 0) : [];
      });
      world.on('compensate', () => undefined);
      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });

      expect(pauses.slice(0, 6)).toEqual([5, 5, 5, 5, 5, 5]);
    });
  });

  it('is tried at once when somebody asks for it again', async () => {
    const world = new FakeWorld().fail('compensate', ACTIVITY_FAILURES.unsupported);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      await send(handle, 'rollback', { reason: 'bad' });
      await time.until(handle, (s) => (s.stuck?.attempts ?? 0) >= 6, 19_300);
      const tries = world.count('compensate');
      const answer = await send(handle, 'rollback', { reason: 'still bad' }, 'again');
      // The clock stands still here: only the message can have brought it about.
      await world.begun('compensate', tries + 1);
      await time.quiet(handle);
      world.on('compensate', () => undefined);
      await send(handle, 'rollback', {}, 'and-again');
      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      const { events } = await statusOf(handle);

      expect(answer.message).toBe('The roll back is tried again now.');
      expect(events.filter(({ type }) => type === 'rollbackRequested')).toHaveLength(1);
      expect(events.find(({ type }) => type === 'resumed')).toMatchObject({
        actor: ADA,
        message: 'The roll back is tried again now, as ada asked: still bad.',
      });
    });
  });

  it('is tried at once on resume', async () => {
    const world = new FakeWorld().fail('compensate', ACTIVITY_FAILURES.unsupported);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      await send(handle, 'rollback');
      await time.until(handle, (s) => (s.stuck?.attempts ?? 0) >= 6, 19_300);
      const tries = world.count('compensate');
      expect((await send(handle, 'resume')).message).toBe('The roll back is tried again now.');
      // The clock stands still here: only the message can have brought it about.
      await world.begun('compensate', tries + 1);
      await time.quiet(handle);
      world.on('compensate', () => undefined);
      await send(handle, 'resume');
      await world.begun('compensate', tries + 3);
      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      const asked = (await statusOf(handle)).events.filter(({ type }) => type === 'resumed');
      expect(asked).toHaveLength(2);
      expect(asked[0]).toMatchObject({
        actor: ADA,
        message: 'The roll back is tried again now, as ada asked.',
      });
    });
  });

  it('ends as failed when a person abandons it, and says what is left', async () => {
    const world = new FakeWorld().on('compensate', (input) => {
      const { compensation } = input as Parameters<FakeWorld['activities']['compensate']>[0];
      if (compensation.op === 'removeCanary') throw failure(ACTIVITY_FAILURES.unsupported, 'no way');
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      await expect(send(handle, 'rollback', { abandon: true })).rejects.toThrow();
      await send(handle, 'rollback', { reason: 'bad' });
      await time.until(handle, (s) => s.stuck !== null);
      await send(handle, 'rollback', { abandon: true });

      expect(await handle.result()).toMatchObject({ outcome: 'failed' });
      const status = await statusOf(handle);
      expect(status.phase).toBe('failed');
      expect(status.compensations).toEqual([{ op: 'removeCanary' }]);
      expect(status.events.at(-1)).toMatchObject({ type: 'failed', actor: ADA });
      expect(status.events.at(-1)?.message).toMatch(/left undone: remove the canary/);
      // Its traffic is back all the same.
      expect(world.weight).toBe(0);
    });
  });

  it('shows no share of the canary from before the traffic was taken away', async () => {
    const world = new FakeWorld().on('compensate', (input) => {
      const { compensation } = input as Parameters<FakeWorld['activities']['compensate']>[0];
      if (compensation.op === 'removeCanary') throw failure(ACTIVITY_FAILURES.unsupported, 'no way');
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.observedShare !== null);
      await send(handle, 'rollback');
      const stuck = await time.until(handle, (s) => s.stuck !== null);

      expect(stuck).toMatchObject({ phase: 'rollingBack', weight: 0, observedShare: null });
      await send(handle, 'rollback', { abandon: true });
      await handle.result();
    });
  });

  it('is not given up when it works again in the meantime', async () => {
    const world = new FakeWorld().fail('compensate', ACTIVITY_FAILURES.unsupported, 1);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      await send(handle, 'rollback');
      await time.until(handle, (s) => s.stuck !== null);
      world.on('compensate', async (_, call) => {
        if (call === 2) await send(handle, 'rollback', { abandon: true });
      });

      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      expect(world.allOld).toBe(true);
    });
  });
});
