import type { EvidenceState } from '../../src/analysis/gather-evidence';
import { ACTIVITY_FAILURES } from '../../src/workflows/activity-types';
import { FakeWorld } from './fake-world';
import { shortPlan, testPlan, testSteps, weights } from './plans';
import { refusalOf, send, statusOf, TimeSkipping } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start({ shortTimeouts: true });
});
afterAll(() => time.stop());

const oneWeight = testSteps(weights(100));
const noData = (then: 'pause' | 'rollback' | 'promote', extendMs = 60_000): Parameters<typeof shortPlan>[0] => ({
  steps: oneWeight,
  analysis: { onNoData: { extendMs, then } },
});

describe('evidence that does not suffice', () => {
  it('extends the soak once, and then rolls back where the spec says so, whatever onFailure says', async () => {
    const world = new FakeWorld();
    world.verdict = () => 'insufficient-data';

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ ...noData('rollback'), onFailure: 'pause' }));

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      const status = await statusOf(handle);
      expect(status.events.map((e) => e.type)).not.toContain('stepPassed');
      expect(status.events.filter((e) => e.type === 'soakExtended')).toHaveLength(1);
      // Not held against the canary: the step did not end as a failing verdict.
      expect(status.steps[2]).toMatchObject({ state: 'failed', verdict: 'insufficient-data' });
      expect(world.count('measure')).toBe(4);
      expect(world.allOld).toBe(true);
    });
  });

  it('pauses by default, with the weight held; after resume the step has a soak of its own', async () => {
    const world = new FakeWorld();
    world.verdict = () => 'inconclusive';

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan(noData('pause')));
      const held = await time.until(handle, (s) => s.paused?.cause === 'noData');
      expect(held).toMatchObject({ weight: 100, phase: 'paused' });
      expect(held.steps[2]?.state).toBe('running');
      world.verdict = () => 'pass';
      await time.env.sleep(307_000);
      // Passing while it is held does not let it go on.
      expect((await statusOf(handle)).phase).toBe('paused');
      await send(handle, 'resume');

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect(world.weights).toEqual([100]);
    });
  });

  it('passes in the extension as soon as it does suffice', async () => {
    const world = new FakeWorld();
    world.verdict = (_, call) => (call <= 2 ? 'insufficient-data' : 'pass');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan(noData('rollback', 600_000)));

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect(world.count('measure')).toBe(3);
    });
  });

  it('without an extension is dealt with at the end of the soak', async () => {
    const world = new FakeWorld();
    world.verdict = () => 'insufficient-data';

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan(noData('rollback', 0)));

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      expect(world.count('measure')).toBe(2);
    });
  });

  it.each(['pause', 'rollback'] as const)('a backend that stays broken ends the wait early (%s)', async (then) => {
    const world = new FakeWorld();
    world.verdict = () => 'error';
    const plan = testPlan({
      steps: oneWeight,
      analysis: { consecutiveErrorLimit: 2, onNoData: { extendMs: 0, then } },
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, plan);
      const status = await time.until(handle, (s) => s.paused !== null || s.outcome !== null);

      expect(status.measurements).toHaveLength(3);
      expect(status.paused?.cause).toBe(then === 'pause' ? 'noData' : undefined);
      if (then === 'pause') await send(handle, 'rollback');
      await handle.result();
      expect(world.allOld).toBe(true);
    });
  });
});

describe('an activity that is stuck', () => {
  it('measure, once: the measurement is lost, said to be, and the release goes on', async () => {
    const world = new FakeWorld().hang('measure', { deaf: true, calls: 3 });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, testPlan({ steps: oneWeight }));

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const { measurements } = await statusOf(handle);
      expect(measurements[0]).toMatchObject({
        verdict: 'error',
        sentence: expect.stringMatching(/^No measurement could be made: The activity measure did not finish/),
      });
    });
  });

  it('measure, always: never a pass, never held against the canary', async () => {
    const world = new FakeWorld().hang('measure', { deaf: true });

    await time.run(world, async (room) => {
      const plan = shortPlan({ ...noData('pause', 0), onFailure: 'rollback' });
      const handle = await time.startRelease(room, plan);
      const held = await time.until(handle, (s) => s.paused !== null);
      expect(held.paused?.cause).toBe('noData');
      expect(held.weight).toBe(100);
      expect(held.events.map((e) => e.type)).not.toContain('stepFailed');
      world.release();
      await send(handle, 'rollback');
      await handle.result();
    });
  });

  it.each([
    ['deploy', ['removeCanary']],
    ['setWeight', ['restoreWeight', 'removeCanary']],
    ['promote', ['restoreWeight', 'restoreStable', 'removeCanary']],
  ] as const)('%s: given up in its time, taken back, and its late write refused', async (activity, compensations) => {
    const world = new FakeWorld().hang(activity, { deaf: true });
    const steps = testSteps(weights(100)).map((step) =>
      step.kind === 'deploy' || step.kind === 'promote' ? { ...step, timeoutMs: 300 } : step,
    );

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ steps }));

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      expect((await statusOf(handle)).message).toMatch(/did not finish in its time/);
      expect(world.compensated).toEqual(compensations);
      world.release();
      await new Promise((resolve) => setImmediate(resolve));
      expect(world.allOld).toBe(true);
    });
  });

  it('compensate: noticed, told, and tried again until it is done', async () => {
    const world = new FakeWorld().hang('compensate', { deaf: true, calls: 3 });
    world.verdict = () => 'fail';

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan());

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      const { events } = await statusOf(handle);
      expect(events.find((e) => e.type === 'compensationFailed')?.message).toMatch(
        /try 1 \(weight back to 0 %\): The activity compensate did not finish in its time/,
      );
      expect(world.allOld).toBe(true);
    });
  });
});

describe('a notification', () => {
  const slack = { notify: { slack: { channel: '#deploys' } } };
  interface Told {
    readonly message: unknown;
    readonly news: readonly { seq: number }[];
  }
  const told = (world: FakeWorld): Told[] =>
    world.calls.filter((call) => call.activity === 'notifySlack').map((call) => call.input as Told);

  it('edits one message, one at a time, and tells everything once', async () => {
    const world = new FakeWorld();
    let open = 0;
    world.on('notifySlack', async (_, call) => {
      open += 1;
      expect(open).toBe(1);
      // The first is so slow that the release is deployed and tested meanwhile.
      if (call === 1) await world.begun('setWeight');
      open -= 1;
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan(slack));
      await handle.result();
      const { events } = await statusOf(handle);

      const all = told(world);
      expect(all.flatMap((one) => one.news.map((event) => event.seq))).toEqual(events.map((event) => event.seq));
      // What happens during one is told with the next.
      expect(all.length).toBeLessThan(events.length);
      expect(all.map((one) => one.message)).toEqual([
        null,
        ...all.slice(1).map(() => ({ channel: '#deploys', ts: '1.1' })),
      ]);
    });
  });

  it('that fails or hangs holds nothing up, and is in the story once', async () => {
    const world = new FakeWorld().fail('notifySlack', ACTIVITY_FAILURES.invalidTarget);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan(slack));

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const { events, message } = await statusOf(handle);
      expect(events.filter((e) => e.type === 'notificationFailed')).toHaveLength(1);
      expect(message).toBe('v2 is the stable version.');
    });
  });

  it('that hangs does not keep the release from rolling back', async () => {
    const world = new FakeWorld().hang('notifySlack');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan(slack));
      await world.begun('notifySlack');
      await time.until(handle, (s) => s.phase === 'soaking', 100);
      await send(handle, 'rollback');
      await world.begun('compensate', 2);
      await time.until(handle, (s) => s.outcome !== null, 1);
      expect(world.allOld).toBe(true);
      world.release();

      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      // Its last words were told after all.
      expect(told(world).at(-1)?.news.at(-1)?.seq).toBe((await statusOf(handle)).events.length);
    });
  });
});

it('a release that is over refuses what comes too late', async () => {
  const world = new FakeWorld().hang('notifySlack');

  await time.run(world, async (room) => {
    const handle = await time.startRelease(room, shortPlan({ notify: { slack: { channel: '#d' } } }));
    await time.until(handle, (s) => s.phase === 'soaking', 100);
    await send(handle, 'rollback');
    await time.until(handle, (s) => s.outcome !== null, 1);
    for (const name of ['approve', 'reject', 'pause', 'resume', 'promote', 'skipSoak'] as const) {
      expect(await refusalOf(send(handle, name))).toEqual({
        type: 'Refused',
        message: 'The release is over: aborted.',
      });
    }
    world.release();
    await handle.result();
  });
});

describe('a service with hardly any traffic', () => {
  it('is promoted without evidence where the spec says so, and it is told that there was none', async () => {
    const world = new FakeWorld();
    world.verdict = () => 'insufficient-data';

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan(noData('promote')));

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const status = await statusOf(handle);
      expect(status.steps[2]).toMatchObject({ state: 'skipped', verdict: 'insufficient-data' });
      expect(status.events.filter((e) => e.type === 'soakExtended')).toHaveLength(1);
      const told = status.events.find((e) => e.type === 'soakSkipped');
      expect(told?.message).toMatch(/^No verdict could be reached .* It goes on without, as onNoData\.then says\.$/);
    });
  });

  it.each(['error', 'inconclusive'] as const)('is not promoted after a verdict of %s', async (verdict) => {
    const world = new FakeWorld();
    world.verdict = () => verdict;

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan(noData('promote')));
      const held = await time.until(handle, (s) => s.paused?.cause === 'noData');

      expect(held).toMatchObject({ weight: 100, phase: 'paused' });
      await send(handle, 'rollback');
      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
    });
  });
});

it('of a long soak the newest sixty measurements are kept', async () => {
  const world = new FakeWorld();

  await time.run(world, async (room) => {
    const steps = oneWeight.map((step) => (step.kind === 'weight' ? { ...step, soakMs: 350_000 } : step));
    const handle = await time.startRelease(room, testPlan({ steps }));

    expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
    const { measurements, steps: ended } = await statusOf(handle);
    expect(ended[2]).toMatchObject({ state: 'passed', measurements: 70 });
    expect(measurements).toHaveLength(60);
    expect(measurements.at(-1)).toEqual(ended[2]?.evidence);
  });
});

it('of samples that are late the first look of a weight comes a lag later, and the last one at the end of the soak', async () => {
  const world = new FakeWorld();
  const looks: number[] = [];
  world.on('measure', (input) => {
    const { at, since } = input as { at: number; since: number };
    looks.push(Math.round((at - since) / 1_000));
  });

  await time.run(world, async (room) => {
    const plan = testPlan({ steps: oneWeight, analysis: { intervalMs: 10_000, initialDelayMs: 5_000, lagMs: 15_000 } });
    const handle = await time.startRelease(room, plan);

    expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
    expect(looks).toEqual([30, 40, 50, 60]);
  });
});

describe('evidence of the whole release', () => {
  const counted = (batches: number): EvidenceState => ({
    subject: 'canary',
    since: batches,
    metrics: {},
  });

  it('is handed from look to look, through the weights, and from run to run', async () => {
    const world = new FakeWorld();
    const handed: (number | null)[] = [];
    world.gather = ({ evidence }) => {
      const before = evidence?.since ?? null;
      handed.push(before);
      return counted((before ?? 0) + 1);
    };

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ steps: testSteps(weights(25, 100)) }), {
        historyLimit: 60,
      });

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect(handed).toEqual(handed.map((_, index) => (index === 0 ? null : index)));
      expect(handed.length).toBeGreaterThan(3);
    });
  });

  it.each(['between two looks', 'during a look'])('is dropped by a resume after a failure: %s', async (when) => {
    const world = new FakeWorld();
    const dropped: boolean[] = [];
    const resumedAt: (number | undefined)[] = [];
    world.gather = ({ evidence }) => {
      dropped.push(evidence?.forgottenAt !== undefined);
      if (evidence?.forgottenAt !== undefined) resumedAt.push(evidence.forgottenAt);
      return counted(1);
    };
    world.verdict = (_, call) => (call <= 2 ? 'fail' : 'pass');
    let next = 0;

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ steps: oneWeight, onFailure: 'pause' }));
      const reason = 'it was the dependency';
      world.on('measure', async (_, call) => {
        if (when !== 'during a look' || call !== 2) return;
        next = dropped.length + 1;
        await send(handle, 'resume', { reason });
      });
      await time.until(handle, (s) => s.paused?.cause === 'failure');
      await time.env.sleep(307_000);
      if (when === 'between two looks') {
        next = dropped.length;
        await send(handle, 'resume', { reason });
      }

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect(dropped.flatMap((each, index) => (each ? [index] : []))).toEqual([next]);
      const resumed = (await statusOf(handle)).events.find(({ type }) => type === 'resumed');
      expect(resumedAt).toEqual([resumed?.at]);
      expect(resumed?.message).toBe(
        'Resumed by ada: it was the dependency. The evidence counted until now is dropped, and gathered anew.',
      );
    });
  });

  it('ends a soak before its time when it suffices, and not without a pass', async () => {
    const world = new FakeWorld();
    world.enough = () => true;
    world.verdict = (_, call) => (call === 1 ? 'insufficient-data' : 'pass');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, testPlan({ steps: oneWeight }));

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const status = await statusOf(handle);
      // Of twelve that the soak has room for.
      expect(status.steps[2]).toMatchObject({ state: 'passed', measurements: 2 });
      expect(status.steps[2]?.sentence).toMatch(/Proven good enough before the end of the soak\.$/);
    });
  });
});
