import { setTimeout as delay } from 'node:timers/promises';
import { EARLY_MS } from '../../src/analysis/soak-course';
import { refuseStale, withFence } from '../../src/traffic/fence';
import { ACTIVITY_FAILURES } from '../../src/workflows/activity-types';
import type { MeasureInput } from '../../src/workflows/activity-types';
import { REFUSED_MEMO } from '../../src/workflows/api';
import type { ReleaseStatus } from '../../src/workflows/api';
import { FLAG_PLAN } from '../targets/flag-plan';
import { failure, FakeWorld } from './fake-world';
import type { ActivityName } from './fake-world';
import { approve, shortPlan, testPlan, testSteps, weights } from './plans';
import { ADA, ask, ONCALL, refusalOf, send, statusOf, TimeSkipping } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start();
});
afterAll(() => time.stop());

describe('a healthy release', () => {
  it('goes through every weight, measures, and is promoted', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, testPlan());
      const result = await handle.result();
      const status = await statusOf(handle);

      expect(result).toMatchObject({ outcome: 'promoted', version: 'v2', reason: 'v2 is the stable version.' });
      expect(world.allNew).toBe(true);
      expect(world.weights).toEqual([5, 25, 50, 100]);
      expect(world.count('measure')).toBe(48);
      expect(status).toMatchObject({ phase: 'promoted', outcome: 'promoted', step: 7, compensations: [] });
      expect(status.steps.every((step) => step.state === 'passed')).toBe(true);
      expect(status.events.map((e) => e.type)).toEqual([
        'started',
        'deployed',
        'smokeTestPassed',
        ...[5, 25, 50, 100].flatMap(() => ['weightChanged', 'stepPassed']),
        'promoted',
      ]);
      expect(status.events.map((e) => e.seq)).toEqual(status.events.map((_, index) => index + 1));
      // What the Temporal UI shows of it.
      const { currentDetails } = await ask<{ currentDetails: string }>(handle, '__temporal_workflow_metadata');
      expect(currentDetails).toContain('v1 → v2 · **promoted** · weight 100 %');
      expect(currentDetails).toContain('- ✔ weight 100 %: ');
      expect(currentDetails).toMatch(/\| v2 is the stable version\. \| sluice \|$/);
      // Rule 8: what passed says by which numbers.
      expect(status.events.filter((e) => e.type === 'stepPassed').every((e) => e.evidence?.verdict === 'pass')).toBe(
        true,
      );
    });
  });

  it('begins the last look of a soak ahead of its time, once it knows what looks take', async () => {
    const world = new FakeWorld();
    // Real time, which passes for the release as well while an activity runs.
    world.on('measure', () => delay(400));

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, testPlan({ steps: testSteps(weights(25, 100)) }));
      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const { events, steps } = await statusOf(handle);

      const began = events.filter((event) => event.type === 'weightChanged').map((event) => event.at);
      const lastLooks = [25, 100].map((weight) => {
        const looks = world.calls
          .map(({ input }) => input as Partial<MeasureInput>)
          .filter((input) => 'analysis' in input);
        return looks.findLast((look) => look.weight === weight)?.at ?? NaN;
      });
      lastLooks.forEach((at, index) => {
        expect(at).toBeLessThan((began[index] ?? NaN) + 60_000);
        expect(at).toBeGreaterThanOrEqual((began[index] ?? NaN) + 57_500);
      });
      for (const [index, step] of steps.filter(({ kind }) => kind === 'weight').entries()) {
        expect(step.measurements).toBe(12);
        // But for a few milliseconds, nothing is decided ahead of it.
        expect(step.endedAt).toBeGreaterThanOrEqual((began[index] ?? NaN) + 60_000 - EARLY_MS);
      }
    });
  });

  it('says with the deployment which weights the target cannot reach, before the first of them', async () => {
    const world = new FakeWorld();
    world.missed = 'With 4 pods not every weight can be reached: 5 % comes to 25 %.';

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, testPlan({ steps: testSteps(weights(5, 100)) }));
      await handle.result();
      const { events, steps } = await statusOf(handle);

      const said = `v2 is ready beside v1. ${world.missed}`;
      expect(world.calls.find(({ activity }) => activity === 'observe')?.input).toMatchObject({ weights: [5, 100] });
      expect(events.find(({ type }) => type === 'deployed')?.message).toBe(said);
      expect(steps[0]?.sentence).toBe(said);
    });
  });

  it('does nothing when the version is stable already', async () => {
    const world = new FakeWorld();
    world.stable = 'v2';

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, testPlan());

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect(world.calls.map((call) => call.activity)).toEqual(['observe']);
      expect((await statusOf(handle)).steps.every((step) => step.state === 'skipped')).toBe(true);
    });
  });

  it('of a service that has no version yet gets all of the traffic at once, after the smoke test, and soaks', async () => {
    const world = new FakeWorld();
    world.serving = false;

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, testPlan());
      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const status = await statusOf(handle);

      expect(world.weights).toEqual([100]);
      expect(world.count('measure')).toBe(12);
      expect(status.steps.map(({ kind, state }) => [kind, state])).toEqual([
        ['deploy', 'passed'],
        ['smokeTest', 'passed'],
        ['weight', 'skipped'],
        ['weight', 'skipped'],
        ['weight', 'skipped'],
        ['weight', 'passed'],
        ['promote', 'passed'],
      ]);
      const looks = world.calls.filter(({ activity }) => activity === 'measure');
      expect(looks.every(({ input }) => (input as MeasureInput).stableVersion === null)).toBe(true);
    });
  });

  it('a first version that fails its soak leaves the service without traffic and without pods', async () => {
    const world = new FakeWorld();
    world.serving = false;
    world.verdict = () => 'fail';

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, testPlan());

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      expect(world.allOld).toBe(true);
      expect(world.compensated).toEqual(['restoreWeight', 'removeCanary']);
      const [last] = (await statusOf(handle)).events.filter((e) => e.type === 'rolledBack');
      expect(last?.message).toMatch(/^Rolled back to what was there before: /);
    });
  });

  it('puts right what somebody else changed, says so, and does not drown in it', async () => {
    const world = new FakeWorld();
    world.on('measure', () => {
      world.weight = 3;
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, testPlan({ steps: testSteps(weights(100)) }));
      await handle.result();
      const edits = (await statusOf(handle)).events.filter((e) => e.type === 'foreignEdit');

      expect(edits[0]?.message).toBe('It was at 3 %; put back to 100 %.');
      // Twelve measurements; the eleventh and twelfth edit are not told any more.
      expect(edits).toHaveLength(10);
    });
  });

  it('tells once a step of what somebody else changed and it leaves as it is', async () => {
    const world = new FakeWorld();
    world.standing.push('Stable has another template.');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, testPlan({ steps: testSteps([...weights(50), ...weights(100)]) }));
      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const told = (await statusOf(handle)).events.filter((e) => e.type === 'foreignEdit');

      expect(told.map(({ message }) => message)).toEqual(Array(2).fill('Stable has another template.'));
    });
  });
});

/** Every way of failing at every step: what fails, and what is then taken back, traffic first. */
const faults: [string, (world: FakeWorld) => void, string[], { outcome?: string; held?: boolean }?][] = [
  ['the look at the target', (w) => w.fail('observe', ACTIVITY_FAILURES.invalidTarget), []],
  ['deploy', (w) => w.fail('deploy', ACTIVITY_FAILURES.unknownVersion), ['removeCanary']],
  ['an unreachable target in deploy', (w) => w.fail('deploy', ACTIVITY_FAILURES.unreachable), ['removeCanary']],
  ['the smoke test', (w) => w.fail('smokeTest', ACTIVITY_FAILURES.smokeTestFailed), ['removeCanary']],
  ...[25, 100].map((weight): (typeof faults)[number] => [
    `the change to weight ${weight} %`,
    (w) =>
      w.on('setWeight', (input) => {
        if ((input as { weight: number }).weight === weight) throw new Error('no way');
      }),
    ['restoreWeight', 'removeCanary'],
  ]),
  ...[25, 100].map((weight): (typeof faults)[number] => [
    `the verdict at weight ${weight} %`,
    (w) => (w.verdict = (input) => (input.weight === weight ? 'fail' : 'pass')),
    ['restoreWeight', 'removeCanary'],
  ]),
  [
    'promote',
    (w) => w.fail('promote', ACTIVITY_FAILURES.unsupported),
    ['restoreWeight', 'restoreStable', 'removeCanary'],
  ],
];

describe.each(faults)('when %s fails', (_, inject, compensations) => {
  it('ends all-old, compensated in reverse with traffic first', async () => {
    const world = new FakeWorld();
    inject(world);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      const result = await handle.result();
      const status = await statusOf(handle);

      expect(result.outcome).toBe('rolledBack');
      expect(world.allOld).toBe(true);
      expect(world.compensated).toEqual(compensations);
      expect(status).toMatchObject({ phase: 'rolledBack', weight: 0, compensations: [] });
      expect(status.events.map((e) => e.type)).toEqual(
        expect.arrayContaining(['stepFailed', 'rollbackStarted', 'rolledBack']),
      );
      expect(status.steps.filter((step) => step.state === 'failed')).toHaveLength(1);
      const words = compensations.length === 0 ? /^Refused before anything was changed: / : /^Rolled back to v1: /;
      expect(result.reason).toMatch(words);
      // Lists tell it by the memo.
      const refused = compensations.length === 0 ? true : undefined;
      expect([status.refused, (await handle.describe()).memo?.[REFUSED_MEMO]]).toEqual([refused, refused]);
      const begun = status.events.find((event) => event.type === 'rollbackStarted')?.message;
      expect(begun).toMatch(compensations.length === 0 ? /nothing was changed yet\.$/ : /^Rolling back to v1: /);
    });
  });

  it('under onFailure: pause holds until a recorded resume, which tries the step again', async () => {
    const world = new FakeWorld();
    inject(world);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ onFailure: 'pause' }));
      const held = await time.until(handle, (s) => s.paused?.cause === 'failure');
      const { weight } = held;
      const failedAt = held.step;
      // Waiting moves nothing.
      await time.env.sleep(187_000);

      expect(world.weight).toBe(weight);
      expect((await statusOf(handle)).phase).toBe('paused');
      if (failedAt >= 2) {
        expect(await refusalOf(send(handle, 'promote'))).toMatchObject({ type: 'Refused' });
        if (weight < 100) {
          expect((await refusalOf(send(handle, 'setWeight', { weight: weight + 1 }))).message).toMatch(/resume it/);
        }
      }

      world
        .on('observe', () => undefined)
        .on('deploy', () => undefined)
        .on('smokeTest', () => undefined);
      world.on('setWeight', () => undefined).on('promote', () => undefined);
      world.verdict = () => 'pass';
      await send(handle, 'resume', { reason: 'it was the test' });

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect(world.allNew).toBe(true);
      const { events } = await statusOf(handle);
      const resumed = events.findIndex((e) => e.type === 'resumed');
      expect(events[resumed]?.actor).toEqual(ADA);
      const between = events.slice(
        events.findIndex((e) => e.type === 'stepFailed'),
        resumed,
      );
      expect(between.every((e) => e.weight === weight)).toBe(true);
    });
  });
});

describe('held after a failure', () => {
  it('can be rolled back, and its weight lowered by hand but not raised again', async () => {
    const world = new FakeWorld();
    world.verdict = ({ weight }) => (weight === 25 ? 'fail' : 'pass');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ onFailure: 'pause' }));
      await time.until(handle, (s) => s.paused?.cause === 'failure');
      await send(handle, 'setWeight', { weight: 1 });
      await time.until(handle, (s) => s.weight === 1);

      expect((await refusalOf(send(handle, 'setWeight', { weight: 2 }))).message).toMatch(/paused after a failure/);
      await send(handle, 'rollback', { reason: 'enough' });
      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      expect(world.allOld).toBe(true);
    });
  });

  it('does not carry out what was asked for before the failure was known', async () => {
    const world = new FakeWorld();
    world.verdict = () => 'fail';

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ onFailure: 'pause' }));
      // While the measurement that is to fail is being made.
      world.on('measure', async (_, call) => {
        if (call === 1) await send(handle, 'setWeight', { weight: 80 });
      });
      await time.until(handle, (s) => s.paused?.cause === 'failure');
      await time.env.sleep(307_000);

      expect(world.weights).toEqual([25]);
      expect((await statusOf(handle)).events.map((e) => e.type)).toContain('messageIgnored');
      await send(handle, 'rollback');
      await handle.result();
    });
  });

  it('puts a weight whose write was never answered back, so that it cannot rise late', async () => {
    const world = new FakeWorld();
    world.on('setWeight', (input) => {
      const asked = input as Parameters<FakeWorld['activities']['setWeight']>[0];
      if (asked.weight === 100) world.postpone('setWeight', asked, world.changeOf('setWeight', asked));
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ onFailure: 'pause' }));
      await time.until(handle, (s) => s.events.some((e) => e.message === 'The weight is held at 25 %.'));
      world.landLateWrites();

      expect(world.weight).toBe(25);
      expect(world.refused.some((one) => one.late)).toBe(true);
      await send(handle, 'rollback');
      await handle.result();
      expect(world.allOld).toBe(true);
    });
  });
});

describe('a lower weight by hand whose write was never answered', () => {
  it('is what the release is held at, and not the higher one before it', async () => {
    const world = new FakeWorld();
    let asking: number | null = null;
    world.on('setWeight', (input) => {
      const asked = input as Parameters<FakeWorld['activities']['setWeight']>[0];
      if (asked.weight !== 5) return;
      asking ??= asked.fence.step;
      if (asked.fence.step === asking) world.postpone('setWeight', asked, world.changeOf('setWeight', asked));
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ onFailure: 'pause' }));
      await time.until(handle, (s) => s.phase === 'soaking' && s.weight === 25);
      await send(handle, 'setWeight', { weight: 5 });
      const held = await time.until(handle, (s) => s.events.some((e) => e.message === 'The weight is held at 5 %.'));

      expect(held).toMatchObject({ weight: 5, paused: { cause: 'failure' } });
      expect(world.weights).toEqual([25, 5]);
      await send(handle, 'rollback');
      await handle.result();
      expect(world.allOld).toBe(true);
    });
  });

  it('is not taken back by a look while it cannot be held either', async () => {
    const world = new FakeWorld();
    let isAway = true;
    // Written each time, and never answered.
    world.on('setWeight', (input) => {
      const asked = input as Parameters<FakeWorld['activities']['setWeight']>[0];
      if (asked.weight !== 5 || !isAway) return;
      world.weight = 5;
      throw failure(ACTIVITY_FAILURES.unsupported, 'no answer');
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ onFailure: 'pause' }));
      await time.until(handle, (s) => s.phase === 'soaking' && s.weight === 25);
      await send(handle, 'setWeight', { weight: 5 });
      const uncertain = await time.until(handle, (s) => s.events.some((e) => e.type === 'weightUncertain'));
      const looks = world.count('measure');
      await time.env.sleep(97_321);
      await time.quiet(handle);

      expect(uncertain.events.at(-1)?.message).toBe('It is not certain that the weight is at 5 %: no answer');
      expect(world.count('measure')).toBeGreaterThan(looks);
      expect(world.weight).toBe(5);
      // It tries that, too, and holds nothing against the router.
      expect(world.calls.findLast(({ activity }) => activity === 'measure')?.input).toMatchObject({
        weight: 5,
        unsettled: true,
      });
      isAway = false;
      const held = await time.until(handle, (s) => s.weight === 5);
      expect(held.events.map((e) => e.type)).not.toContain('foreignEdit');
      await send(handle, 'rollback');
      await handle.result();
      expect(world.allOld).toBe(true);
    });
  });
});

describe('a weight that can be neither changed nor held', () => {
  it('is said once, whatever else is said meanwhile, and again after it was held in between', async () => {
    const world = new FakeWorld();
    let away = true;
    world.on('setWeight', (input) => {
      const { weight, previousWeight } = input as Parameters<FakeWorld['activities']['setWeight']>[0];
      if (weight === 25 && previousWeight !== 25) return;
      if (away) throw failure(ACTIVITY_FAILURES.unsupported, 'no answer');
    });
    const uncertain = (status: ReleaseStatus): number =>
      status.events.filter((e) => e.type === 'weightUncertain').length;

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ onFailure: 'pause' }));
      const first = await time.until(handle, (s) => uncertain(s) === 1);
      expect(first.events.at(-1)?.message).toBe('It is not certain that the weight is at 25 %: no answer');
      const tries = world.count('setWeight');
      // Something else to say, each time.
      for (const by of ['eve', 'bob', 'joe']) {
        await handle.signal('approve', { by });
        await time.env.sleep(61_487);
      }
      await time.quiet(handle);
      expect(world.count('setWeight')).toBeGreaterThan(tries + 3);
      expect(uncertain(await statusOf(handle))).toBe(1);

      away = false;
      await time.until(handle, (s) => s.events.at(-1)?.message === 'The weight is held at 25 %.');
      away = true;
      await send(handle, 'resume');
      await time.until(handle, (s) => uncertain(s) === 2);
      await send(handle, 'rollback');
      await handle.result();
      expect((await statusOf(handle)).events.map((e) => e.type)).not.toContain('compensationFailed');
    });
  });
});

describe('what ends a release whatever onFailure says', () => {
  it.each(['rollback', 'pause'] as const)("the target's own guard (%s)", async (onFailure) => {
    const world = new FakeWorld();
    world.on('measure', (_, call) => {
      if (call === 2) {
        world.weight = 0;
        world.guardTripped = 'The error rate was 7 %.';
      }
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ onFailure }));

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      expect(world.allOld).toBe(true);
      const { events } = await statusOf(handle);
      expect(events.find((e) => e.type === 'guardTripped')?.message).toBe('The error rate was 7 %.');
    });
  });

  const writers: ActivityName[] = ['deploy', 'setWeight', 'measure', 'promote'];
  it.each(writers)('a later release that holds the target, found in %s', async (activity) => {
    const world = new FakeWorld();
    world.on(activity, () => {
      world.held ??= { fence: { release: 'other', epoch: 1, step: 1 }, attempt: 1 };
      world.held = { fence: { release: 'other', epoch: Number.MAX_SAFE_INTEGER, step: 1 }, attempt: 1 };
      world.canary = null;
      world.weight = 0;
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ onFailure: 'pause' }));
      const result = await handle.result();

      expect(result.outcome).toBe('superseded');
      expect(world.held?.fence.release).toBe('other');
      expect(world.allOld).toBe(true);
      // Everything recorded was looked at, and found to be another's.
      const { compensations, events } = await statusOf(handle);
      expect(compensations).toEqual([]);
      expect(events.at(-1)?.message).toMatch(/^Not rolled back to .+, because a later release holds the target: /);
    });
  });

  it.each(['going forward', 'a roll back'])('`rollback --direct`, which %s finds, by its name', async (way) => {
    const world = new FakeWorld();
    let held = '';
    const refuse = (): void => {
      if (held !== '') throw failure(ACTIVITY_FAILURES.fenceLost, held);
    };
    world.on('setWeight', refuse).on('measure', refuse).on('compensate', refuse);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      const { release } = await time.until(handle, (s) => s.phase === 'soaking');
      // As the traffic's object has it, or the workloads.
      held =
        way === 'going forward'
          ? heldSentence(release)
          : `A later write holds the traffic: release ${release}, step 2.`;
      if (way === 'a roll back') await send(handle, 'rollback');
      await handle.result();

      const { outcome, events } = await statusOf(handle);
      expect(outcome).toBe(way === 'a roll back' ? 'aborted' : 'superseded');
      const told = events.map(({ message }) => message);
      expect(told.at(-1)).toBe(
        'Taken back to v1 on the cluster itself, past this release, by `sluice rollback --direct`, which finishes it when it was cut short.',
      );
      expect(told).toContain(
        'Nothing to take back (weight back to 0 %): `sluice rollback --direct` does that on the cluster itself.',
      );
      expect(told.join(' ')).not.toMatch(/a later release|came too late/);
    });
  });
});

/** Why the object of the traffic refuses a write of a release once a later one has been made in its name. */
function heldSentence(release: string): string {
  const fence = { release, epoch: 8, step: 4, attempt: 1 };
  const route = { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'HTTPRoute', metadata: { name: 'shop' } };
  try {
    refuseStale(withFence(route, { ...fence, epoch: 9, step: 1 }), fence);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('It was not refused.');
}

describe('by hand', () => {
  it('skips a soak, and only that one', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      expect((await refusalOf(send(handle, 'skipSoak'))).message).toBe('No soak is running.');
      await time.until(handle, (s) => s.phase === 'soaking');
      await send(handle, 'skipSoak', { reason: 'in a hurry' });
      await handle.result();
      const status = await statusOf(handle);

      expect(status.events.find((e) => e.type === 'soakSkipped')?.message).toMatch(/skipped by ada: in a hurry/);
      expect(status.steps[2]).toMatchObject({ state: 'skipped' });
      expect(world.count('measure')).toBe(2);
    });
  });

  it('a skip that comes with the passing measurement does not skip the next soak', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      world.on('measure', async (_, call) => {
        if (call === 2) await send(handle, 'skipSoak');
      });
      await handle.result();

      expect(world.count('measure')).toBe(4);
      expect((await statusOf(handle)).steps.slice(2, 4)).toMatchObject([{ state: 'passed' }, { state: 'passed' }]);
    });
  });

  it('sets the weight down and up, pauses there, and resume goes on with the plan', async () => {
    const world = new FakeWorld();
    const plan = shortPlan({ steps: testSteps(weights(5, 25, 50, 100)) });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, plan);
      expect((await refusalOf(send(handle, 'setWeight', { weight: 0 }))).message).toMatch(/not deployed and tested/);
      await time.until(handle, (s) => s.phase === 'soaking' && s.weight === 25);
      await send(handle, 'setWeight', { weight: 2 });
      await time.until(handle, (s) => s.paused?.cause === 'manualWeight');
      expect(world.weight).toBe(2);
      await send(handle, 'resume');
      // The step begins anew at its own weight, with a soak of its own.
      await time.until(handle, (s) => s.phase === 'soaking' && s.weight === 25);
      await send(handle, 'setWeight', { weight: 60 });
      await time.until(handle, (s) => s.weight === 60);
      await send(handle, 'resume');
      await handle.result();
      const status = await statusOf(handle);

      expect(world.weights).toEqual([5, 25, 2, 25, 60, 100]);
      expect(status.steps.map((s) => s.state).slice(2, 6)).toEqual(['passed', 'skipped', 'skipped', 'passed']);
      expect((await statusOf(handle)).outcome).toBe('promoted');
    });
  });

  it('refuses a weight that is none', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      for (const weight of [-1, 101, Number.NaN, '50', undefined]) {
        expect((await refusalOf(send(handle, 'setWeight', { weight }))).message).toMatch(/allowed is 0 to 100/);
      }
      await send(handle, 'rollback');
      await handle.result();
    });
  });

  it('refuses a part of a percent of a flag, which goes on', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ target: FLAG_PLAN }));
      await time.until(handle, (s) => s.phase === 'soaking');
      expect((await refusalOf(send(handle, 'setWeight', { weight: 12.5 }))).message).toBe(
        "The weight is 12.5; a flag's percentage is a whole number, 0 to 100.",
      );
      expect((await statusOf(handle)).paused).toBeNull();
      await send(handle, 'setWeight', { weight: 12 });
      await time.until(handle, (s) => s.weight === 12);
      await send(handle, 'rollback');
      await handle.result();
    });
  });

  it('promotes early, by way of 100 %', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, testPlan());
      await time.until(handle, (s) => s.phase === 'soaking' && s.weight === 5);
      await send(handle, 'promote', { reason: 'hot fix' });
      const result = await handle.result();
      const status = await statusOf(handle);

      expect(result.outcome).toBe('promoted');
      expect(world.weights).toEqual([5, 100]);
      expect(world.allNew).toBe(true);
      expect(status.steps.slice(2, 6).every((step) => step.state === 'skipped')).toBe(true);
      expect(status.events.find((e) => e.type === 'promotionRequested')?.message).toMatch(/hot fix/);
    });
  });

  it('a pause after the wish to promote is kept, and resume promotes', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());
      await time.until(handle, (s) => s.phase === 'soaking');
      world.on('measure', async (_, call) => {
        if (call > 1) return;
        // Both while a measurement is under way.
        await send(handle, 'promote');
        await send(handle, 'pause');
      });
      await time.until(handle, (s) => s.phase === 'paused');
      await time.env.sleep(607_000);
      expect(world.weights).toEqual([25]);

      await send(handle, 'resume');
      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
    });
  });

  it.each([
    ['promote', {}],
    ['setWeight', { weight: 50 }],
  ] as const)('%s does not walk around an approval', async (name, message) => {
    const world = new FakeWorld();
    const plan = shortPlan({ steps: testSteps([...weights(25), approve(), ...weights(100)]) });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, plan);
      await time.until(handle, (s) => s.phase === 'soaking');
      const refusal = await refusalOf(send(handle, name, message));
      expect(refusal).toMatchObject({ type: 'Forbidden', message: expect.stringMatching(/which is for oncall; ada/) });

      // Those who may approve may pass it.
      await send(handle, name, { ...message, actor: ONCALL });
      await time.until(handle, (s) => s.outcome !== null || s.paused !== null);
      if (name === 'setWeight') await send(handle, 'rollback');
      expect(await handle.result()).toMatchObject({ outcome: name === 'promote' ? 'promoted' : 'aborted' });
    });
  });

  it('a weight that the plan reaches before the approval needs none', async () => {
    const world = new FakeWorld();
    const plan = shortPlan({ steps: testSteps([...weights(5, 25), approve(), ...weights(100)]) });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, plan);
      await time.until(handle, (s) => s.phase === 'soaking');
      await send(handle, 'setWeight', { weight: 25 });
      await time.until(handle, (s) => s.weight === 25);
      await send(handle, 'rollback');
      await handle.result();
    });
  });

  it('an approval after the last weight is not passed by promote either', async () => {
    const world = new FakeWorld();
    const plan = shortPlan({ steps: testSteps([...weights(100), approve()]) });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, plan);
      await time.until(handle, (s) => s.phase === 'soaking');
      expect((await refusalOf(send(handle, 'promote'))).type).toBe('Forbidden');
      await send(handle, 'rollback');
      await handle.result();
    });
  });
});
