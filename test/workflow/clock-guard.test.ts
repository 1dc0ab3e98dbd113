import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { FakeWorld } from './fake-world';
import { shortPlan } from './plans';
import { endLateTries, TimeSkipping } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start();
});
afterAll(() => time.stop());

describe('the guard of the clock', () => {
  it('gives a hold back that nobody has, so that a test that waits for time goes on', async () => {
    const before = await time.env.currentTimeMs();
    await time.env.connection.testService?.lockTimeSkipping({});
    await time.env.sleep(3_600_000);

    expect(time.freed).toBe(1);
    expect((await time.env.currentTimeMs()) - before).toBeGreaterThanOrEqual(3_600_000);
  });

  it('does so, too, where the test waits in steps that are shorter than its patience', async () => {
    const freed = time.freed;
    await time.env.connection.testService?.lockTimeSkipping({});
    for (let steps = 0; time.freed === freed && steps < 20; steps += 1) await time.env.sleep(4_321);

    expect(time.freed).toBe(freed + 1);
    // And goes on as if nothing had been.
    await time.env.sleep(3_600_000);
    expect(time.freed).toBe(freed + 1);
  });

  it('leaves the clock to an activity that is at work', async () => {
    const world = new FakeWorld().hang('deploy');

    await time.run(world, async (room) => {
      const [handle, freed] = [await time.startRelease(room, shortPlan()), time.freed];
      await world.begun('deploy');
      // Longer than the guard's patience and its looks, in real time: the clock stands still meanwhile.
      await time.env.sleep(14_000);
      expect(time.freed).toBe(freed);
      world.release();
      await handle.result();
    });
  });
});

it.each([
  ['is the last one where the time for all is over', 150_001, 150_000, true],
  ['is made again within that time', 150_000, 150_000, false],
  ['is made again where there is no such time', 150_001, 0, false],
])('a try that fails %s', async (_, after, scheduleToCloseTimeoutMs, isLast) => {
  const scheduledTimestampMs = 1_795_848_904_000;
  const currentAttemptScheduledTimestampMs = scheduledTimestampMs + after;
  const env = new MockActivityEnvironment(
    { scheduledTimestampMs, scheduleToCloseTimeoutMs, currentAttemptScheduledTimestampMs },
    { interceptors: [endLateTries] },
  );
  const failed = env.run(() => Promise.reject(ApplicationFailure.retryable('the cluster is away', 'Unreachable')));

  await expect(failed).rejects.toMatchObject({
    message: 'the cluster is away',
    type: 'Unreachable',
    nonRetryable: isLast,
  });
});
