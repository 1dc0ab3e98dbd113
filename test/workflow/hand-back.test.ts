import { cancellationSignal, heartbeat } from '@temporalio/activity';
import type { Plan, PlanStep } from '../../src/spec/plan-types';
import { ACTIVITY_FAILURES } from '../../src/workflows/activity-types';
import type { MeasureInput } from '../../src/workflows/activity-types';
import type { ReleaseStatus } from '../../src/workflows/api';
import { failure, FakeWorld } from './fake-world';
import { kubernetesPlan, weights } from './plans';
import { send, statusOf, TimeSkipping } from './time-skipping';
import type { ReleaseHandle } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start();
});
afterAll(() => time.stop());

function worldOf(): FakeWorld {
  const world = new FakeWorld();
  world.handsBack = true;
  return world;
}

/** When an event of a type was recorded, milliseconds. */
function at(status: ReleaseStatus, type: ReleaseStatus['events'][number]['type']): number {
  const event = status.events.find((one) => one.type === type);
  if (event === undefined) throw new Error(`There is no event ${type}.`);
  return event.at;
}

describe('a promotion that makes the stable track anew', () => {
  it('hands the traffic back by half, watched, and removes the canary once it has drained', async () => {
    const world = worldOf();
    const subjects: string[] = [];
    world.on('measure', (input) => {
      subjects.push((input as { subject: string }).subject);
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      const result = await handle.result();
      const status = await statusOf(handle);

      expect(result).toMatchObject({ outcome: 'promoted' });
      expect(world.allNew).toBe(true);
      expect(world.weights).toEqual([25, 100, 50, 0]);
      // Two measurements a soak, and the last one is of the new stable pods.
      expect(subjects).toEqual(['canary', 'canary', 'canary', 'canary', 'stable', 'stable']);
      expect(world.compensated).toEqual(['removeCanary']);
      expect(status.events.map((event) => event.type).slice(-7)).toEqual([
        'stepPassed',
        'stableReplaced',
        'weightChanged',
        'stepPassed',
        'weightChanged',
        'promoted',
        'cleanedUp',
      ]);
      expect(at(status, 'cleanedUp') - at(status, 'promoted')).toBeGreaterThanOrEqual(30_000);
      expect(status).toMatchObject({ outcome: 'promoted', weight: 100, compensations: [] });
    });
  });

  it('says that the canary drains, and until when', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      const draining = await time.until(handle, (status) => status.outcome === 'promoted');
      await handle.result();
      const status = await statusOf(handle);

      expect(draining.endedAt).toBeNull();
      expect(draining.message).toMatch(
        /^Promoted\. What gets no traffic any more drains until \d{4}-\S+ \S+Z, and is then taken away\.$/,
      );
      expect(status.message).not.toContain('drains');
    });
  });

  it('whose new pods fail under half of the traffic leaves it all to the canary, and then gets the old template back', async () => {
    const world = worldOf();
    world.verdict = ({ subject }) => (subject === 'stable' ? 'fail' : 'pass');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      const result = await handle.result();

      expect(result).toMatchObject({ outcome: 'rolledBack' });
      expect(result.reason).toMatch(/The new stable pods/);
      expect(world.compensated).toEqual(['restoreStable', 'restoreWeight', 'removeCanary']);
      expect(world.weights).toEqual([25, 100, 50]);
      const back = world.writes.filter(({ activity }) => activity === 'compensate');
      expect(back.map(({ before, weight }) => [before, weight])).toEqual([
        [50, 100],
        [100, 0],
        [0, 0],
      ]);
      expect(world.allOld).toBe(true);
    });
  });

  it('whose traffic is never known to be back is not promoted, and goes back whole', async () => {
    const world = worldOf();
    world.on('setWeight', (input) => {
      if ((input as { weight: number }).weight > 0) return;
      throw failure(ACTIVITY_FAILURES.unreachable, 'The weight 0 % was written, and is not known to be in force.');
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      const result = await handle.result();
      const { events } = await statusOf(handle);

      expect(result).toMatchObject({ outcome: 'rolledBack' });
      expect(result.reason).toMatch(/not known to be in force/);
      expect(events.some(({ type }) => type === 'promoted')).toBe(false);
      expect(world.compensated).toEqual(['restoreStable', 'restoreWeight', 'removeCanary']);
      expect(world.allOld).toBe(true);
    });
  });

  it('that fails while the pods are made is taken back in the same order', async () => {
    const world = worldOf();
    world.fail('promote', ACTIVITY_FAILURES.deployFailed);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());

      expect(await handle.result()).toMatchObject({ outcome: 'rolledBack' });
      expect(world.compensated).toEqual(['restoreStable', 'restoreWeight', 'removeCanary']);
      expect(world.allOld).toBe(true);
    });
  });

  it('can be rolled back by a person while the new stable pods are watched', async () => {
    const world = worldOf();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      await time.until(handle, (status) => status.phase === 'promoting' && status.weight === 50);
      await send(handle, 'rollback', { reason: 'enough' });

      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      expect(world.compensated).toEqual(['restoreStable', 'restoreWeight', 'removeCanary']);
      expect(world.allOld).toBe(true);
    });
  });

  it('without evidence about the new pods is held, and a resume tries it again', async () => {
    const world = worldOf();
    world.verdict = ({ subject }) => (subject === 'stable' ? 'insufficient-data' : 'pass');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      const held = await time.until(handle, (status) => status.paused !== null);

      expect(held.paused).toMatchObject({ cause: 'noData' });
      expect(world.weight).toBe(50);

      world.verdict = () => 'pass';
      await send(handle, 'resume');

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect(world.allNew).toBe(true);
    });
  });

  it('ends as promoted, and says what is left, when the canary cannot be removed', async () => {
    const world = worldOf();
    world.on('compensate', () => {
      throw failure(ACTIVITY_FAILURES.unreachable, 'the cluster is away');
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const { events } = await statusOf(handle);
      expect(events.at(-1)).toMatchObject({ type: 'leftOver' });
      expect(events.at(-1)?.message).toMatch(/the cluster is away/);
    });
  });
});

/** The looks at the canary while stable is made anew: those that have no stable to compare with. */
function looksOf(world: FakeWorld): MeasureInput[] {
  const inputs = world.calls.flatMap(({ activity, input }) => (activity === 'measure' ? (input as MeasureInput) : []));
  return inputs.filter(isWhilePromoted);
}

function isWhilePromoted({ stableVersion }: MeasureInput): boolean {
  return stableVersion === null;
}

/** How many activities were told that they are not wanted any more. */
async function cancelledIn(handle: Pick<ReleaseHandle, 'fetchHistory'>): Promise<number> {
  const { events } = await handle.fetchHistory();
  return (events ?? []).flatMap((event) => event.activityTaskCancelRequestedEventAttributes ?? []).length;
}

/** One weight, and looks so often that some come within a promotion's time, in which the clock is the wall's. */
function quickPlan(more: Parameters<typeof kubernetesPlan>[0] = {}): Plan {
  const { analysis, ...rest } = more;
  const middle = weights(100).map((step) => ({ ...step, soakMs: 400 }) as PlanStep);
  const plan = kubernetesPlan({ ...rest, middle, analysis: { intervalMs: 200, ...analysis } });
  const handBack = { smokeTest: null, soakMs: 400 };
  const steps = plan.steps.map((step) => (step.kind === 'promote' ? { ...step, timeoutMs: 20_000, handBack } : step));
  return { ...plan, steps };
}

it('the new stable pods are looked at when the first samples under half of the traffic can have arrived', async () => {
  const world = worldOf();
  const looks: number[] = [];
  world.on('measure', (input) => {
    const { at: moment, since, subject } = input as { at: number; since: number; subject: string };
    if (subject === 'stable') looks.push(Math.round((moment - since) / 1_000));
  });

  await time.run(world, async (room) => {
    const handle = await time.startRelease(room, kubernetesPlan({ analysis: { intervalMs: 20_000, lagMs: 15_000 } }));

    expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
    expect(looks).toEqual([35, 55, 60]);
  });
});

describe('while stable is made anew', () => {
  /** The promotion takes as long as so many looks at the canary. */
  function lastFor(world: FakeWorld, looks: number): void {
    world.last('promote', () => world.begun('measure', world.count('measure') + looks));
  }

  it('the canary is looked at at every interval, alone and in the order of all writes before the promotion', async () => {
    const world = worldOf();
    lastFor(world, 3);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, quickPlan());

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const looks = looksOf(world);
      // One more may begin before the promotion's answer is there.
      expect(looks.length).toBeGreaterThanOrEqual(3);
      expect(looks.every(({ weight, subject }) => weight === 100 && subject === 'canary')).toBe(true);
      const steps = looks.map(({ fence }) => fence.step);
      const promotion = world.writes.find(({ activity }) => activity === 'promote');
      expect(steps).toEqual([...new Set(steps)].sort((a, b) => a - b));
      expect(promotion?.fence.step).toBeGreaterThan(steps.at(-1) ?? Infinity);
      expect(world.weights).toEqual([100, 50, 0]);
      expect(world.allNew).toBe(true);
      expect((await statusOf(handle)).steps.at(-1)).toMatchObject({ kind: 'promote', state: 'passed' });
    });
  });

  it('a canary that begins to fail is taken back before the promotion ends, with what was measured', async () => {
    const world = worldOf().hang('promote');
    world.verdict = (input) => (isWhilePromoted(input) && looksOf(world).length > 1 ? 'fail' : 'pass');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, quickPlan());
      const result = await handle.result();
      const { events, steps } = await statusOf(handle);

      expect(result).toMatchObject({ outcome: 'rolledBack' });
      expect(result.reason).toMatch(/The canary failed while stable was made anew: 1 measurement failed/);
      expect(events.find(({ type }) => type === 'stepFailed')?.evidence).toMatchObject({
        verdict: 'fail',
        weight: 100,
      });
      expect(steps.at(-1)).toMatchObject({ kind: 'promote', state: 'failed', verdict: 'fail' });
      expect(looksOf(world)).toHaveLength(2);
      expect(await cancelledIn(handle)).toBe(1);
      expect(world.compensated).toEqual(['restoreStable', 'restoreWeight', 'removeCanary']);
      expect(world.allOld).toBe(true);
    });
  });

  it('a canary that fails is held where the spec says so, and a resume promotes it again', async () => {
    const world = worldOf().hang('promote');
    world.verdict = (input) => (isWhilePromoted(input) ? 'fail' : 'pass');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, quickPlan({ onFailure: 'pause' }));
      const held = await time.until(handle, (status) => status.paused !== null);

      expect(held).toMatchObject({ weight: 100, paused: { cause: 'failure' } });
      world.release();
      world.verdict = () => 'pass';
      // The clock stands until the message was carried out (`quiet` says why).
      await time.quiet(handle);
      await send(handle, 'resume');

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      expect(world.allNew).toBe(true);
    });
  });

  it.each(['error', 'insufficient-data', 'lost'] as const)(
    'looks that come to nothing (%s), however many, end nothing',
    async (kind) => {
      const world = worldOf();
      lastFor(world, 4);
      world.verdict = (input) => (isWhilePromoted(input) && kind !== 'lost' ? kind : 'pass');
      world.on('measure', (input) => {
        if (kind !== 'lost' || !isWhilePromoted(input as MeasureInput)) return;
        throw failure(ACTIVITY_FAILURES.unsupported, 'the backend is away');
      });

      await time.run(world, async (room) => {
        const handle = await time.startRelease(room, quickPlan({ analysis: { consecutiveErrorLimit: 0 } }));

        expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
        expect(looksOf(world).length).toBeGreaterThanOrEqual(4);
        expect(world.allNew).toBe(true);
      });
    },
  );

  it('an edit of the route is put right, and keeps neither the promotion nor its next attempt out', async () => {
    const world = worldOf();
    world.last('promote', async () => {
      await world.begun('measure', world.count('measure') + 2);
      if (world.count('promote') === 1) throw failure(ACTIVITY_FAILURES.unreachable, 'the API server is away');
    });
    world.on('measure', (input) => {
      if (isWhilePromoted(input as MeasureInput) && looksOf(world).length % 2 === 1) world.weight = 40;
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, quickPlan());

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const { events } = await statusOf(handle);
      expect(events.filter(({ type }) => type === 'foreignEdit').length).toBeGreaterThanOrEqual(2);
      expect(world.refused).toEqual([]);
      expect(world.allNew).toBe(true);
    });
  });

  it('where the number of pods is the share, the canary is only looked at', async () => {
    const world = worldOf();
    lastFor(world, 2);
    const plan = quickPlan();
    if (plan.target.kind !== 'kubernetes') throw new Error('not a plan for Kubernetes');
    const target = { ...plan.target, traffic: { kind: 'replicas' } as const };

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, { ...plan, target });

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const inputs = world.calls.filter(({ activity }) => activity === 'measure').map(({ input }) => input);
      expect(looksOf(world).every(({ reassert }) => reassert === false)).toBe(true);
      expect(inputs.filter((input) => (input as MeasureInput).reassert === false)).toHaveLength(looksOf(world).length);
    });
  });

  it('a roll back by a person waits neither for the promotion nor for the next look, which has room in the history', async () => {
    const world = worldOf().hang('promote');
    const plan = kubernetesPlan({ analysis: { intervalMs: 5_000 } });
    const steps = plan.steps.map((step) => (step.kind === 'promote' ? { ...step, timeoutMs: 7_200_000 } : step));

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, { ...plan, steps });
      const result = handle.result();
      await world.begun('promote');
      await send(handle, 'rollback', { reason: 'enough' });

      expect(await result).toMatchObject({ outcome: 'aborted' });
      expect(looksOf(world)).toEqual([]);
      expect(world.compensated).toEqual(['restoreStable', 'restoreWeight', 'removeCanary']);
      expect(world.allOld).toBe(true);
      const { events } = await handle.fetchHistory();
      const timers = (events ?? []).flatMap(({ timerStartedEventAttributes: timer }) => timer ?? []);
      // Two hours are looked at 200 times, and not at every interval; the drain's is the last.
      expect(timers.slice(-2).map((timer) => Number(timer.startToFireTimeout?.seconds ?? 0))).toEqual([36, 30]);
    });
  });

  it('a roll back by a person in the middle of a look waits for neither', async () => {
    const world = worldOf().hang('promote');

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, quickPlan());
      world.on('measure', async (input) => {
        if (isWhilePromoted(input as MeasureInput)) await send(handle, 'rollback', { reason: 'enough' });
      });

      expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      expect(world.compensated).toEqual(['restoreStable', 'restoreWeight', 'removeCanary']);
      expect(world.allOld).toBe(true);
    });
  });

  it('a promotion that fails does not wait for a look that hangs', async () => {
    const world = worldOf();
    const looked = new Promise<void>((resolve) => {
      world.on('measure', async (input) => {
        if (!isWhilePromoted(input as MeasureInput)) return;
        resolve();
        await new Promise<void>((end) => {
          const beat = setInterval(() => heartbeat(), 20);
          cancellationSignal().addEventListener('abort', () => {
            clearInterval(beat);
            end();
          });
        });
      });
    });
    world.last('promote', async () => {
      await looked;
      throw failure(ACTIVITY_FAILURES.deployFailed, 'the pods crash');
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, quickPlan());
      const result = await handle.result();

      expect(result).toMatchObject({ outcome: 'rolledBack' });
      expect(result.reason).toMatch(/the pods crash/);
      expect(await cancelledIn(handle)).toBe(1);
      expect(looksOf(world)).toHaveLength(1);
      expect(world.compensated).toEqual(['restoreStable', 'restoreWeight', 'removeCanary']);
      expect(world.allOld).toBe(true);
    });
  });
});

describe('a roll back in Kubernetes', () => {
  it('lets the canary drain before its pods go, and not where it never had traffic', async () => {
    const [drained, untouched] = [worldOf(), worldOf()];
    drained.verdict = () => 'fail';
    untouched.fail('smokeTest', ACTIVITY_FAILURES.smokeTestFailed);

    await time.run(drained, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      await handle.result();
      const { events } = await statusOf(handle);
      const [weight, canary] = events.filter((event) => event.type === 'compensated');

      expect((canary?.at ?? 0) - (weight?.at ?? 0)).toBeGreaterThanOrEqual(30_000);
      expect(drained.allOld).toBe(true);
    });
    await time.run(untouched, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());
      await handle.result();
      const status = await statusOf(handle);

      expect(at(status, 'compensated') - at(status, 'rollbackStarted')).toBeLessThan(30_000);
    });
  });

  it('somebody else changed the traffic: put right, or back, as the spec says', async () => {
    const [put, back] = [worldOf(), worldOf()];
    for (const world of [put, back]) {
      world.on('measure', (_, call) => {
        if (call === 1) world.weight = 3;
      });
    }

    await time.run(put, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan());

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
    });
    await time.run(back, async (room) => {
      const handle = await time.startRelease(room, kubernetesPlan({ onForeignEdit: 'rollback', onFailure: 'pause' }));
      const result = await handle.result();

      expect(result).toMatchObject({ outcome: 'rolledBack' });
      expect(result.reason).toMatch(/Somebody else changed/);
    });
  });
});

describe('a match step', () => {
  it('sends marked requests to the canary from then on, and none after a roll back', async () => {
    const world = worldOf();
    const seen: unknown[] = [];
    for (const activity of ['observe', 'setWeight', 'measure'] as const) {
      world.on(activity, (input) => {
        seen.push((input as { match: unknown }).match);
      });
    }
    const match = { kind: 'header', name: 'x-canary', value: 'true' } as const;

    await time.run(world, async (room) => {
      const plan = kubernetesPlan({ match: [{ kind: 'match', name: 'match header x-canary', match }] });
      const handle = await time.startRelease(room, plan);
      const held = await time.until(handle, (status) => status.weight === 25);

      expect(held.events.map((event) => event.type)).toContain('matchChanged');
      await send(handle, 'rollback');
      await handle.result();

      expect(world.weights.slice(0, 2)).toEqual([0, 25]);
      expect(seen.every((one) => JSON.stringify(one) === JSON.stringify([match]))).toBe(true);
      expect(world.compensated).toEqual(['restoreWeight', 'removeCanary']);
    });
  });
});
