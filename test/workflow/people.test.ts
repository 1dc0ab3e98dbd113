import { EARLY_MS } from '../../src/analysis/soak-course';
import { WorkflowNotFoundError } from '@temporalio/client';
import type { Plan } from '../../src/spec/plan-types';
import type { ReleaseStatus } from '../../src/workflows/api';
import { FakeWorld } from './fake-world';
import { approve, shortPlan, testPlan, testSteps, weights } from './plans';
import { ADA, ONCALL, refusalOf, send, statusOf, TimeSkipping } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start();
});
afterAll(() => time.stop());

const waiting = (status: ReleaseStatus): boolean => status.phase === 'awaitingApproval';

function withApproval(more: Parameters<typeof approve>[0] = {}, plan: Partial<Plan> = {}): Plan {
  const { analysis: _, ...rest } = plan;
  return shortPlan({ ...rest, steps: testSteps([...weights(25), approve(more), ...weights(100)]) });
}

describe('an approval', () => {
  it.each([
    ['by name', { name: 'oncall', via: 'cli' }],
    ['by group', ONCALL],
  ])('%s lets the release go on, and is on record', async (_, actor) => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, withApproval());
      const asked = await time.until(handle, waiting);
      expect(asked.approval).toMatchObject({ step: 3, by: ['oncall'], onExpiry: 'rollback' });
      expect(world.weight).toBe(25);
      await send(handle, 'approve', { actor, reason: 'looks good', step: 3 });

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const approved = (await statusOf(handle)).events.find((e) => e.type === 'approved');
      expect(approved).toMatchObject({ actor, message: `Approved by ${actor.name}: looks good.`, step: 3 });
    });
  });

  it('is refused from those who may not, for another step, twice, and when none is waited for', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, withApproval());
      await time.until(handle, (s) => s.phase === 'soaking');
      expect(await refusalOf(send(handle, 'approve', { actor: ONCALL }))).toEqual({
        type: 'Refused',
        message: 'no approval is waited for.',
      });
      const before = await time.until(handle, waiting);

      const forbidden = await refusalOf(send(handle, 'approve'));
      expect(forbidden).toMatchObject({ type: 'Forbidden', message: expect.stringMatching(/for oncall; ada/) });
      expect((await refusalOf(send(handle, 'reject'))).type).toBe('Forbidden');
      expect((await refusalOf(send(handle, 'approve', { actor: ONCALL, step: 5 }))).message).toMatch(
        /step 4 waits for approval, not step 6/,
      );
      expect((await refusalOf(send(handle, 'approve', { actor: ONCALL, release: 'old' }))).message).toMatch(
        /is for release old; the current one is shop-/,
      );
      expect((await refusalOf(send(handle, 'approve', { actor: { name: '' } }))).message).toMatch(/who sends it/);
      // A refused message leaves no trace in the story.
      expect((await statusOf(handle)).events).toEqual(before.events);

      await send(handle, 'pause');
      await send(handle, 'approve', { actor: ONCALL });
      expect((await refusalOf(send(handle, 'reject', { actor: ONCALL }))).message).toBe('otto has decided already.');
      await send(handle, 'resume');
      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
    });
  });

  it('is what the status says again after a pause, with the deadline moved by it', async () => {
    await time.run(new FakeWorld(), async (room) => {
      const handle = await time.startRelease(room, withApproval());
      const before = await time.until(handle, waiting);
      const until = (status: ReleaseStatus): string =>
        new Date(status.approval?.expiresAt ?? 0).toISOString().replace(/T(.*)\.\d+Z/u, ' $1Z');
      expect(before.message).toBe(`Approval by oncall is waited for, until ${until(before)}.`);

      await send(handle, 'pause', { reason: 'lunch' });
      expect((await statusOf(handle)).message).toBe('Paused by ada: lunch.');
      await send(handle, 'resume');

      const after = await statusOf(handle);
      expect(after.events.at(-1)?.message).toBe('Resumed by ada.');
      expect(after.message).toBe(`Approval by oncall is waited for, until ${until(after)}.`);
      await send(handle, 'reject', { actor: ONCALL });
      expect((await statusOf(handle)).message).not.toContain('is waited for');
      await handle.result();
    });
  });

  it('of a release whose metrics are made up is answered so, and its memo says it to lists', async () => {
    await time.run(new FakeWorld(), async (room) => {
      const steps = testSteps([approve(), ...weights(100)]);
      const source = { kind: 'simulated', phases: [] } as const;
      const handle = await time.startRelease(room, testPlan({ steps, analysis: { source } }));
      await time.until(handle, waiting);

      expect(await send(handle, 'reject', { actor: ONCALL })).toMatchObject({ simulated: true });
      expect((await handle.describe()).memo).toMatchObject({ simulated: true });
      expect(await handle.result()).toMatchObject({ outcome: 'rejected' });
    });
  });

  it('rejected during a pause takes the service back at once, without a resume', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, withApproval());
      await time.until(handle, waiting);
      await send(handle, 'pause');
      await send(handle, 'reject', { actor: ONCALL, reason: 'search is slow' });

      expect(await handle.result()).toMatchObject({ outcome: 'rejected' });
      expect(world.weight).toBe(0);
      const { events } = await statusOf(handle);
      expect(events.map((e) => e.type)).not.toContain('resumed');
      expect(events.filter((e) => e.type === 'rejected')).toHaveLength(1);
    });
  });

  it('rejected takes the service back, also under onFailure: pause', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, withApproval({}, { onFailure: 'pause' }));
      await time.until(handle, waiting);
      await send(handle, 'reject', { actor: ONCALL, reason: 'the graph looks odd' });

      expect(await handle.result()).toMatchObject({ outcome: 'rejected' });
      expect(world.allOld).toBe(true);
      expect(world.weights).toEqual([25]);
      const { events } = await statusOf(handle);
      expect(events.find((e) => e.type === 'rejected')).toMatchObject({ actor: ONCALL });
      expect(events.at(-1)?.message).toMatch(/the graph looks odd/);
    });
  });

  it.each([
    ['rollback', 'rolledBack'],
    ['continue', 'promoted'],
  ] as const)('that expires with onExpiry: %s ends as %s', async (onExpiry, outcome) => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const plan = withApproval({ onExpiry, timeoutMs: 120_000 }, { onFailure: 'pause' });
      const handle = await time.startRelease(room, plan);

      expect(await handle.result()).toMatchObject({ outcome });
      const { events } = await statusOf(handle);
      expect(events.map((e) => e.type)).toContain('approvalExpired');
      const asked = events.find((e) => e.type === 'approvalRequested');
      const expired = events.find((e) => e.type === 'approvalExpired');
      expect((expired?.at ?? 0) - (asked?.at ?? 0)).toBeGreaterThanOrEqual(120_000);
    });
  });

  it('that expires with onExpiry: pause holds, and is asked for again after resume', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, withApproval({ onExpiry: 'pause', timeoutMs: 60_000 }));
      const held = await time.until(handle, (s) => s.paused?.cause === 'approvalExpired');
      expect(held.approval).toBeNull();
      expect((await refusalOf(send(handle, 'approve', { actor: ONCALL }))).message).toBe('no approval is waited for.');
      await send(handle, 'resume');
      await time.until(handle, waiting);
      await send(handle, 'approve', { actor: ONCALL });

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
    });
  });

  it('that anyone may give still has to say who gives it', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, withApproval({ by: [] }));
      await time.until(handle, waiting);
      await handle.signal('approve');
      const ignored = await time.until(handle, (s) => s.events.some((e) => e.type === 'messageIgnored'));
      expect(ignored.events.at(-1)?.message).toMatch(/does not say by whom; send \{"by"/);
      await handle.signal('approve', { by: 'eve' });

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
    });
  });

  it('comes by signal too, from the Temporal UI, and nothing sent there can stop the release', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, withApproval());
      // Before it is waited for.
      await handle.signal('approve', { by: 'oncall' });
      await time.until(handle, waiting);
      for (const odd of [undefined, null, 'oncall', 7, { by: 'eve', groups: 'oncall' }, { by: ['oncall'] }]) {
        await handle.signal('approve', odd);
      }
      await handle.signal('successorWaiting');
      const still = await time.until(handle, (s) => s.events.filter((e) => e.type === 'messageIgnored').length === 7);
      expect(still.phase).toBe('awaitingApproval');
      expect(still.events.at(-1)).toMatchObject({ actor: { name: 'someone with access to Temporal', via: 'signal' } });
      await handle.signal('approve', { by: 'eve', groups: ['oncall'], reason: 'seen' });

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const approved = (await statusOf(handle)).events.find((e) => e.type === 'approved');
      expect(approved).toMatchObject({ message: 'Approved by eve: seen.', actor: { name: 'eve', via: 'signal' } });
    });
  });
});

describe('a pause', () => {
  it('keeps the soak the time it had left', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, testPlan({ steps: testSteps(weights(100)) }));
      const soaking = await time.until(handle, (s) => s.soak !== null && s.measurements.length >= 3);
      await send(handle, 'pause', { reason: 'lunch' });
      const paused = await statusOf(handle);
      expect(paused.paused).toMatchObject({ by: ADA, reason: 'lunch', cause: 'person' });
      const left = (soaking.soak?.endsAt ?? 0) - (paused.paused?.since ?? 0);
      expect((await refusalOf(send(handle, 'pause'))).message).toMatch(/paused already, by ada/);
      await time.env.sleep(607_000);
      expect(world.weight).toBe(100);

      await send(handle, 'resume');
      const after = await statusOf(handle);
      const resumedAt = after.events.at(-1)?.at ?? 0;
      expect((after.soak?.endsAt ?? 0) - resumedAt).toBe(left);
      await handle.result();
      const status = await statusOf(handle);
      const passed = status.events.find((e) => e.type === 'stepPassed')?.at ?? 0;
      expect(passed - resumedAt).toBeGreaterThanOrEqual(left - EARLY_MS);
    });
  });

  it('keeps an approval the time it had left', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, withApproval({ timeoutMs: 300_000 }));
      const asked = await time.until(handle, waiting);
      await send(handle, 'pause');
      await time.env.sleep(127_000);
      // Its weight is set by hand meanwhile: that is the same pause.
      await send(handle, 'setWeight', { weight: 10 });
      await time.until(handle, (s) => s.weight === 10);
      await time.env.sleep(607_000);
      expect((await statusOf(handle)).approval?.expiresAt).toBe(asked.approval?.expiresAt);
      await send(handle, 'resume');
      const resumed = await statusOf(handle);

      expect((resumed.approval?.expiresAt ?? 0) - (asked.approval?.expiresAt ?? 0)).toBeGreaterThanOrEqual(720_000);
      await send(handle, 'approve', { actor: ONCALL });
      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
    });
  });

  it('during deploy holds after it', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      world.on('deploy', async () => {
        await send(handle, 'pause');
      });
      await time.until(handle, (s) => s.phase === 'paused');
      expect(world.calls.map((c) => c.activity)).toEqual(['observe', 'deploy']);
      expect((await refusalOf(send(handle, 'skipSoak'))).message).toBe('No soak is running.');
      await send(handle, 'resume');
      expect((await refusalOf(send(handle, 'resume'))).message).toBe('The release is not paused.');

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
    });
  });
});

describe('while a person is waited for', () => {
  const waits: [string, Plan, (status: ReleaseStatus) => boolean][] = [
    ['an approval', withApproval(), waiting],
    ['a resume', withApproval(), (s) => s.phase === 'paused'],
  ];
  it.each(waits)('(%s) a canary that begins to fail is rolled back', async (what, plan, there) => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, plan);
      if (what === 'a resume') {
        await time.until(handle, (s) => s.phase === 'soaking');
        await send(handle, 'pause');
      }
      await time.until(handle, there);
      world.verdict = () => 'insufficient-data';
      await time.env.sleep(307_000);
      // No data is not held against it.
      expect(there(await statusOf(handle))).toBe(true);
      world.verdict = () => 'fail';

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      expect(world.allOld).toBe(true);
    });
  });

  it('under onFailure: pause it is held, and asked for anew after resume', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, withApproval({}, { onFailure: 'pause' }));
      await time.until(handle, waiting);
      world.verdict = () => 'fail';
      await time.until(handle, (s) => s.paused?.cause === 'failure');
      expect((await refusalOf(send(handle, 'approve', { actor: ONCALL }))).message).toBe('no approval is waited for.');
      world.verdict = () => 'pass';
      await send(handle, 'resume');
      await time.until(handle, waiting);
      await send(handle, 'approve', { actor: ONCALL });

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
    });
  });
});

describe('a message', () => {
  it('sent twice with one id is carried out once and answered the same', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      const first = await send(handle, 'pause', { reason: 'one' }, 'id-1');
      const again = await send(handle, 'pause', { reason: 'one' }, 'id-1');

      expect(again).toEqual(first);
      expect((await statusOf(handle)).events.filter((e) => e.type === 'paused')).toHaveLength(1);
      await send(handle, 'rollback');
      await handle.result();
    });
  });

  it('after the end is refused: by the release as long as it says its last words, then by Temporal', async () => {
    const world = new FakeWorld();
    world.hang('notifySlack');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ notify: { slack: { channel: '#d' } } }));
      await time.until(handle, (s) => s.phase === 'soaking');
      await send(handle, 'rollback');
      await time.until(handle, (s) => s.outcome !== null, 1);
      expect((await refusalOf(send(handle, 'rollback'))).message).toBe('The release is over: aborted.');
      await handle.signal('rollback');
      await handle.signal('approve', { by: 'oncall' });
      world.release();
      await handle.result();

      expect((await statusOf(handle)).outcome).toBe('aborted');
      await expect(send(handle, 'rollback')).rejects.toBeInstanceOf(WorkflowNotFoundError);
    });
  });

  it('that comes after its deadline is refused; the same one again is answered as before', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      const { startedAt } = await time.until(handle, (s) => s.phase === 'soaking');
      await send(handle, 'pause', { deadline: startedAt + 3_600_000 }, 'in-time');
      for (const name of ['resume', 'promote', 'setWeight', 'rollback'] as const) {
        expect(await refusalOf(send(handle, name, { weight: 1, deadline: startedAt - 1 }))).toMatchObject({
          type: 'TooLate',
          message: expect.stringMatching(/^the message is too late: it was to arrive by /),
        });
      }
      expect((await statusOf(handle)).events.at(-1)?.type).toBe('paused');
      await time.env.sleep(3_600_487);
      expect((await send(handle, 'pause', { deadline: startedAt + 3_600_000 }, 'in-time')).message).toMatch(/^Paused/);
      await send(handle, 'rollback');
      await handle.result();
    });
  });

  it('that came with the start is in the story after it', async () => {
    const world = new FakeWorld();

    await time.runApart(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await handle.signal('rollback', { by: 'eve', reason: 'wrong version' });
      await room.startWorkflows();

      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      expect(world.calls).toEqual([]);
      const { events } = await statusOf(handle);
      expect(events.map((e) => e.type)).toEqual(['started', 'rollbackRequested', 'rollbackStarted', 'rolledBack']);
    });
  });

  it('roll back beats an approval in the same workflow task', async () => {
    const world = new FakeWorld();

    await time.runApart(world, async (room) => {
      await room.startWorkflows();
      const handle = await time.startRelease(room, withApproval());
      await time.until(handle, waiting);
      await room.stopWorkflows();
      await handle.signal('approve', { by: 'oncall' });
      await handle.signal('rollback', { by: 'eve' });
      await room.startWorkflows();

      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      expect(world.weights).toEqual([25]);
      expect(world.allOld).toBe(true);
    });
  });
});
