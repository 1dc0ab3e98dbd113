import { statusQuery } from '../../src/workflows/messages';
import { FakeWorld } from './fake-world';
import { testPlan } from './plans';
import { TimeSkipping } from './time-skipping';

describe('a healthy release', () => {
  let time: TimeSkipping;
  beforeAll(async () => {
    time = await TimeSkipping.start();
  });
  afterAll(() => time.stop());

  it('goes through every weight, measures, and is promoted', async () => {
    const world = new FakeWorld();

    await time.run(world, async (queue) => {
      const handle = await time.startRelease(queue, testPlan());
      const result = await handle.result();
      const status = await handle.query(statusQuery);

      expect(result).toMatchObject({ outcome: 'promoted', version: 'v2' });
      expect(world.stable).toBe('v2');
      expect(world.canary).toBeNull();
      expect(world.writes.filter((w) => w.activity === 'setWeight').map((w) => w.weight)).toEqual([5, 25, 50, 100]);
      expect(world.count('measure')).toBe(48);
      expect(status.phase).toBe('promoted');
      expect(status.events.map((e) => e.type)).toEqual([
        'started',
        'deployed',
        'smokeTestPassed',
        ...[5, 25, 50, 100].flatMap(() => ['weightChanged', 'stepPassed']),
        'promoted',
      ]);
    });
  });

  it('is taken back by a failing verdict at 25 %', async () => {
    const world = new FakeWorld();
    world.verdict = ({ weight }) => (weight === 25 ? 'fail' : 'pass');

    await time.run(world, async (queue) => {
      const handle = await time.startRelease(queue, testPlan());
      const result = await handle.result();

      expect(result.outcome).toBe('rolledBack');
      expect(world.stable).toBe('v1');
      expect(world.canary).toBeNull();
      expect(world.weight).toBe(0);
      const status = await handle.query(statusQuery);
      expect(status.events.map((e) => e.type).slice(-5)).toEqual([
        'stepFailed',
        'rollbackStarted',
        'compensated',
        'compensated',
        'rolledBack',
      ]);
    });
  });
});
