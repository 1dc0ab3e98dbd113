import type { ReleaseStatus } from '../../src/workflows/api';
import { FakeWorld } from './fake-world';
import { shortPlan } from './plans';
import { statusOf, TimeSkipping } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start({ shortTimeouts: true });
});
afterAll(() => time.stop());

async function released(world: FakeWorld, consecutiveErrorLimit: number): Promise<ReleaseStatus> {
  return time.run(world, async (room) => {
    const plan = shortPlan({ analysis: { consecutiveErrorLimit, onNoData: { extendMs: 0, then: 'rollback' } } });
    const handle = await time.startRelease(room, plan);
    await handle.result();
    return statusOf(handle);
  });
}

describe("a metric source whose clock is ahead of Temporal's", () => {
  it('has no measurement, and nothing that it counted is kept: it may be of the weight before', async () => {
    const world = new FakeWorld();
    world.sourceClock = ({ at }) => at + 60_000;
    world.gather = ({ subject, since }) => ({ subject, since, metrics: {} });

    const { phase, measurements } = await released(world, 0);

    expect(phase).toBe('rolledBack');
    expect(measurements[0]).toMatchObject({
      weight: 25,
      verdict: 'error',
      observedShare: null,
      metrics: [],
      sentence: expect.stringMatching(
        /^No measurement could be made: the metric source has a clock that is at least \d\d s ahead of Temporal's; set both clocks right\.$/u,
      ) as string,
    });
    const evidences = world.calls
      .filter(({ activity }) => activity === 'measure')
      .map(({ input }) => (input as { evidence: unknown }).evidence);
    expect(new Set(evidences)).toEqual(new Set([null]));
  });

  it('is an error of that one look, where it is put right', async () => {
    const world = new FakeWorld();
    world.sourceClock = ({ at }) => (world.count('measure') === 1 ? at + 60_000 : at);

    const { phase, measurements } = await released(world, 4);

    expect(phase).toBe('promoted');
    expect(measurements.map(({ verdict }) => verdict).slice(0, 2)).toEqual(['error', 'pass']);
  });

  it.each([
    ['ahead by no more than can be told', 2_000],
    ['long before, as of a look that waited for its result to be heard', -60_000],
  ])('is of no account %s', async (_, ms) => {
    const world = new FakeWorld();
    world.sourceClock = ({ at }) => at + ms;

    const { phase, measurements } = await released(world, 0);

    expect(phase).toBe('promoted');
    expect(new Set(measurements.map(({ verdict }) => verdict))).toEqual(new Set(['pass']));
  });
});
