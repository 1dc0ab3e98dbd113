import type { KayentaPolicy } from '../../src/analysis/kayenta-policy';
import type { Plan } from '../../src/spec/plan-types';
import type { MeasureInput } from '../../src/workflows/activity-types';
import type { ReleaseStatus } from '../../src/workflows/api';
import { kayentaMetric } from '../analysis/kayenta-metrics';
import { FakeWorld } from './fake-world';
import { shortPlan, testSteps, weights } from './plans';
import { statusOf, TimeSkipping } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start({ shortTimeouts: true });
});
afterAll(() => time.stop());

const KAYENTA: KayentaPolicy = {
  metrics: [kayentaMetric({ name: 'error-rate', groups: ['errors'], direction: 'increase' })],
  groupWeights: { errors: 100 },
  scoreThresholds: { pass: 95, marginal: 75 },
};

/** Six looks of ten seconds at each weight, all of which keep their limits. */
function planOf(onNoData: Plan['analysis']['onNoData'], percents = [25, 100]): Plan {
  return shortPlan({
    steps: testSteps(weights(...percents)),
    analysis: { intervalMs: 10_000, windowMs: 10_000, onNoData, kayenta: KAYENTA },
  });
}

const ROLL_BACK = { extendMs: 0, then: 'rollback' } as const;

/** A world whose canary has that many times stable's values, within the limits; null for none. */
function worldOf(times: (input: MeasureInput, call: number) => number | null): FakeWorld {
  const world = new FakeWorld();
  world.values = (input, call) => {
    const stable = 0.01 + (call % 3) / 1_000;
    const by = times(input, call);
    return { stable, canary: by === null ? null : stable * by };
  };
  return world;
}

function looksOf(world: FakeWorld, weight: number): MeasureInput[] {
  const looks = world.calls.filter(({ activity }) => activity === 'measure').map(({ input }) => input as MeasureInput);
  return looks.filter((look) => look.weight === weight);
}

function answersOf({ measurements }: ReleaseStatus, weight: number): unknown[] {
  return measurements.filter((one) => one.weight === weight).map(({ kayenta }) => kayenta?.verdict ?? null);
}

describe("Kayenta's judge in a soak", () => {
  it('takes a canary back at the end that it fails, and not before', async () => {
    const world = worldOf(() => 2);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf(ROLL_BACK));

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      const status = await statusOf(handle);
      expect(answersOf(status, 25)).toEqual([null, null, null, null, null, 'fail']);
      expect(status.steps[2]).toMatchObject({
        state: 'failed',
        verdict: 'fail',
        sentence: expect.stringMatching(/^By Kayenta's judge, of 6 looks: Score 0 of 100: Fail/u) as string,
        evidence: {
          verdict: 'pass',
          kayenta: {
            result: { classification: 'Fail', score: 0, groups: { errors: 0 }, metrics: [{ classification: 'High' }] },
          },
        },
      });
      expect(world.weights).toEqual([25]);
      expect(world.allOld).toBe(true);
    });
  });

  it('lets one go on that it passes, with the values of each weight alone; at 100 % it has no say', async () => {
    // Bad where nothing is compared any more: there the limits have the word.
    const world = worldOf(({ weight }) => (weight === 100 ? 2 : 1));

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf(ROLL_BACK, [25, 50, 100]));

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const { steps } = await statusOf(handle);
      expect(steps[3]?.sentence).toMatch(/By Kayenta's judge, of 6 looks: Score 100 of 100: Pass/u);
      expect(steps[4]?.sentence).toMatch(
        /Kayenta's judge was not asked: all of the traffic goes to the new version\.$/u,
      );
      for (const weight of [25, 50, 100]) {
        const questions = looksOf(world, weight).map(({ kayenta }) => kayenta);
        expect(questions.map((question) => question?.points?.[0]?.canary.length ?? null)).toEqual([
          ...[null, null, null, null, null, 5],
        ]);
        expect(questions[0]?.lookedAt).toBeNull();
        expect(questions[3]?.lookedAt).toBe(looksOf(world, weight)[2]?.at);
      }
    });
  });

  it('with too few values leaves the step to onNoData, and is nothing against the canary', async () => {
    const world = worldOf((_, call) => (call <= 2 ? null : 2));

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf(ROLL_BACK));

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      const [, , step] = (await statusOf(handle)).steps;
      expect(step).toMatchObject({ state: 'failed', verdict: 'insufficient-data' });
      expect(step?.sentence).toContain('error-rate: the experiment has 4 values, the control 6; 5 each are needed.');
    });
  });

  it('is asked once more at the end of the extension, and not at each look in it', async () => {
    const world = worldOf((_, call) => (call <= 2 ? null : 1));

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf({ extendMs: 60_000, then: 'rollback' }));

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const status = await statusOf(handle);
      expect(answersOf(status, 25)).toEqual([
        ...[null, null, null, null, null, 'insufficient-data'],
        ...[null, null, null, null, null, 'pass'],
      ]);
      expect(status.events.filter(({ type }) => type === 'soakExtended')).toHaveLength(1);
    });
  });

  it('keeps its pass while the last measurement is made up for', async () => {
    const world = worldOf(() => 1);
    world.verdict = (_, call) => (call === 6 ? 'error' : 'pass');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf({ extendMs: 60_000, then: 'rollback' }));

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect(answersOf(await statusOf(handle), 25)).toEqual([null, null, null, null, null, 'pass', null]);
    });
  });

  it('passes nothing on the word of a worker that does not know it', async () => {
    const world = worldOf(() => 1);
    world.withoutKayenta = true;

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf(ROLL_BACK));

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      expect((await statusOf(handle)).steps[2]?.sentence).toContain("Kayenta's judge has not been asked yet.");
    });
  });

  it('is asked at the end, also where the look before it took longer than that', async () => {
    const world = worldOf(() => 1).hang('measure', { calls: 1 });
    const steps = planOf(ROLL_BACK).steps.map((step) => (step.kind === 'weight' ? { ...step, soakMs: 2_000 } : step));
    const analysis = { intervalMs: 1_000, windowMs: 1_000, onNoData: ROLL_BACK, kayenta: KAYENTA };

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ steps, analysis }));

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      const status = await statusOf(handle);
      expect(answersOf(status, 25)).toEqual([null, 'insufficient-data']);
      expect(status.measurements[0]?.sentence).toMatch(/^No measurement could be made/u);
    });
  });

  it('remembers its values over a hand-over to the next run', async () => {
    const world = worldOf(() => 2);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, planOf(ROLL_BACK), { historyLimit: 60 });

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      const { runId, steps } = await statusOf(handle);
      expect(runId).not.toBe(handle.firstExecutionRunId);
      expect(steps[2]?.sentence).toContain('of 6 looks');
    });
  });
});
