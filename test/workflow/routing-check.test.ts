import { FakeWorld } from './fake-world';
import { shortPlan } from './plans';
import { send, statusOf, TimeSkipping } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start({ shortTimeouts: true });
});
afterAll(() => time.stop());

/** 25 % is not delivered; 100 % is not looked at. */
function misrouting(): FakeWorld {
  const world = new FakeWorld();
  world.routing = ({ weight }) => (weight === 25 ? 'fail' : undefined);
  return world;
}

describe('a weight that is not delivered', () => {
  it('is told once, with its evidence, and holds nothing up by default', async () => {
    const world = misrouting();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ analysis: { routingCheck: 'warn' } }));

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const told = (await statusOf(handle)).events.filter((event) => event.type === 'misrouted');
      expect(told).toEqual([
        expect.objectContaining({
          message: 'The weight is not delivered.',
          weight: 25,
          evidence: expect.objectContaining({ routing: expect.objectContaining({ verdict: 'fail', stable: 1000 }) }),
        }),
      ]);
    });
  });

  it('holds the weight for a person where the spec says so; their resume is the last word at this weight', async () => {
    const world = misrouting();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ analysis: { routingCheck: 'pause' } }));
      const held = await time.until(handle, (status) => status.paused !== null);
      expect(held).toMatchObject({
        weight: 25,
        paused: { cause: 'misrouted', reason: 'The weight is not delivered.' },
      });
      await send(handle, 'resume');

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect(world.weights).toEqual([25, 100]);
    });
  });

  it('is taken back where the spec says so, and not as a failure of the canary', async () => {
    const world = misrouting();

    await time.run(world, async (room) => {
      const plan = shortPlan({ onFailure: 'pause', analysis: { routingCheck: 'rollback' } });
      const handle = await time.startRelease(room, plan);

      expect(await handle.result()).toMatchObject({
        outcome: 'rolledBack',
        reason: 'Rolled back to v1: The weight is not delivered.',
      });
      expect((await statusOf(handle)).steps[2]).toMatchObject({ state: 'failed', verdict: 'error' });
      expect(world.allOld).toBe(true);
    });
  });

  it('remembers the evidence of a weight, and begins anew with the next', async () => {
    const world = new FakeWorld();
    world.routing = () => 'pass';

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ analysis: { routingCheck: 'warn' } }));
      await handle.result();

      const remembered = world.calls
        .filter(({ activity }) => activity === 'measure')
        .map(({ input }) => input as { weight: number; routing: unknown })
        .map(({ weight, routing }) => ({ weight, routing }));
      expect(remembered).toEqual([
        { weight: 25, routing: { highest: 0 } },
        { weight: 25, routing: { highest: 1 } },
        { weight: 100, routing: { highest: 0 } },
        { weight: 100, routing: { highest: 1 } },
      ]);
    });
  });
});
