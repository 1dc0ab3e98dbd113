import { EARLY_MS } from '../../src/analysis/soak-course';
import type { Plan } from '../../src/spec/plan-types';
import type { MessageAck, ReleaseEvent, ReleaseStatus, UpdateName } from '../../src/workflows/api';
import { FakeWorld } from './fake-world';
import { approve, shortPlan, testSteps, weights } from './plans';
import { ADA, ONCALL, send, statusOf, TimeSkipping } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start();
});
afterAll(() => time.stop());

function withApproval(more: Partial<Pick<Plan, 'onFailure'>> = {}): Plan {
  return shortPlan({ ...more, steps: testSteps([...weights(25), approve(), ...weights(100)]) });
}

function ignored(status: ReleaseStatus): ReleaseEvent[] {
  return status.events.filter((event) => event.type === 'messageIgnored');
}

describe('a message that arrives while the weight rises', () => {
  it('pause: says that the change is made first, and then nothing rises and no soak is eaten', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      const answers: MessageAck[] = [];
      world.on('setWeight', async (_, call) => {
        if (call === 1) answers.push(await send(handle, 'pause', { reason: 'a ticket' }));
      });
      const held = await time.until(handle, (s) => s.phase === 'paused');
      expect(answers.map((one) => one.message)).toEqual([
        'The change to 25 % is under way; the release pauses once it is done.',
      ]);
      expect(held.events.find((e) => e.type === 'paused')).toMatchObject({
        actor: ADA,
        weight: 0,
        message: 'Paused by ada: a ticket. The change to 25 % is under way; the release pauses once it is done.',
      });
      await time.env.sleep(607_000);
      expect(world.weights).toEqual([25]);
      expect((await statusOf(handle)).phase).toBe('paused');

      await send(handle, 'resume');
      const { soak, events } = await statusOf(handle);
      // All of it is left, and not a moment more: it began after the pause was asked for.
      expect((soak?.endsAt ?? 0) - (events.at(-1)?.at ?? 0)).toBe(60_000);
      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const passed = (await statusOf(handle)).events.find((e) => e.type === 'stepPassed');
      expect((passed?.at ?? 0) - (events.at(-1)?.at ?? 0)).toBeGreaterThanOrEqual(60_000 - EARLY_MS);
    });
  });

  it('traffic: says that it comes after the change, and then it does', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      const answers: MessageAck[] = [];
      world.on('setWeight', async (_, call) => {
        if (call === 1) answers.push(await send(handle, 'setWeight', { weight: 10 }));
      });
      const held = await time.until(handle, (s) => s.phase === 'paused');

      expect(answers.map((one) => one.message)).toEqual([
        'The change to 25 % is under way; weight 10 % is set once it is done, and the release then pauses.',
      ]);
      expect(world.weights).toEqual([25, 10]);
      expect(held).toMatchObject({ weight: 10, paused: { cause: 'manualWeight', by: ADA } });
      await send(handle, 'rollback');
      await handle.result();
    });
  });

  it('promote: is not held up by the pause that a weight set by hand brings', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      world.on('setWeight', async (_, call) => {
        if (call === 2) await send(handle, 'promote');
      });
      await send(handle, 'setWeight', { weight: 10 });

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect(world.weights).toEqual([25, 10, 100]);
    });
  });

  it('a later word takes the place of an earlier one, which is said', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      world.on('setWeight', async (_, call) => {
        if (call > 1) return;
        await send(handle, 'promote');
        await send(handle, 'setWeight', { weight: 10 });
        await send(handle, 'setWeight', { weight: 11 });
      });
      const held = await time.until(handle, (s) => s.phase === 'paused');

      expect(world.weights).toEqual([25, 11]);
      expect(ignored(held).map((e) => e.message)).toEqual([
        'The promotion asked for by ada is not carried out because ada sets the weight by hand after it.',
        'The weight 10 % asked for by ada is not carried out because ada sets the weight by hand after it.',
      ]);
      await send(handle, 'rollback');
      await handle.result();
    });
  });
});

/** What is asked for while a measurement is made, and how the story calls it when it is not carried out. */
const asked: [UpdateName, Record<string, unknown>, string][] = [
  ['promote', {}, 'promotion asked for by ada'],
  ['setWeight', { weight: 80 }, 'weight 80 % asked for by ada'],
  ['skipSoak', {}, 'end of the soak asked for by ada'],
  ['approve', { actor: ONCALL }, 'approval by otto'],
];

describe.each(asked)('%s that is not carried out is said to be, once', (name, message, called) => {
  const plan = name === 'approve' ? withApproval : shortPlan;
  /** The measurement during which it is asked for: the third is the first look while an approval is waited for. */
  const look = name === 'approve' ? 3 : 1;

  it.each(['rollback', 'pause'] as const)('after a failure (onFailure: %s)', async (onFailure) => {
    const world = new FakeWorld();
    world.verdict = (_, call) => (call === look ? 'fail' : 'pass');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, plan({ onFailure }));
      world.on('measure', async (_, call) => {
        if (call === look) await send(handle, name, message);
      });
      const status = await time.until(handle, (s) => s.paused !== null || s.outcome !== null);

      expect(ignored(status).map((e) => e.message)).toEqual([`The ${called} is not carried out after the failure.`]);
      expect(world.weights).toEqual([25]);
      if (onFailure === 'pause') await send(handle, 'rollback');
      await handle.result();
      expect(ignored(await statusOf(handle))).toHaveLength(1);
    });
  });

  it('by a roll back', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, plan());
      world.on('measure', async (_, call) => {
        if (call !== look) return;
        await send(handle, name, message);
        await send(handle, 'rollback');
      });

      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      expect(ignored(await statusOf(handle)).map((e) => e.message)).toEqual([
        `The ${called} is not carried out because the release is rolled back.`,
      ]);
      expect(world.weights).toEqual([25]);
    });
  });
});

describe('a word that comes while a look is taken', () => {
  it('reject: takes the service back, though the look fails and the spec says to hold then', async () => {
    const world = new FakeWorld();
    world.verdict = (_, call) => (call === 3 ? 'fail' : 'pass');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, withApproval({ onFailure: 'pause' }));
      world.on('measure', async (_, call) => {
        if (call === 3) await send(handle, 'reject', { actor: ONCALL, reason: 'odd' });
      });

      expect(await handle.result()).toMatchObject({ outcome: 'rejected' });
      expect(world.allOld).toBe(true);
      expect((await statusOf(handle)).message).toBe('Rolled back to v1: otto rejected the release: odd.');
    });
  });

  it('skipSoak: ends the soak, though the look finds no data and the spec says to hold then', async () => {
    const world = new FakeWorld();
    world.verdict = ({ weight }) => (weight === 25 ? 'insufficient-data' : 'pass');

    await time.run(world, async (room) => {
      const analysis = { onNoData: { extendMs: 0, then: 'pause' as const } };
      const handle = await time.startRelease(room, shortPlan({ analysis }));
      world.on('measure', async (_, call) => {
        if (call === 2) await send(handle, 'skipSoak');
      });

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect((await statusOf(handle)).steps[2]).toMatchObject({ state: 'skipped' });
    });
  });
});
