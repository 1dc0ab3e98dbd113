import type { temporal } from '@temporalio/proto';
import type { ReleaseStatus } from '../../src/workflows/api';
import { ACTIVITY_FAILURES } from '../../src/workflows/activity-types';
import { FakeWorld } from './fake-world';
import { approve, shortPlan, testPlan, testSteps, weights } from './plans';
import { ONCALL, send, statusOf, TimeSkipping } from './time-skipping';
import type { ReleaseHandle } from './time-skipping';

let time: TimeSkipping;
beforeAll(async () => {
  time = await TimeSkipping.start();
});
afterAll(() => time.stop());

/** Runs of one release; continue-as-new makes the next. */
async function runsOf(handle: ReleaseHandle): Promise<string[]> {
  const runs: string[] = [];
  let next: string | undefined = handle.firstExecutionRunId;
  while (next !== undefined && next !== '') {
    runs.push(next);
    const history: temporal.api.history.v1.IHistory = await time.env.client.workflow
      .getHandle(handle.workflowId, next)
      .fetchHistory();
    next = history.events?.at(-1)?.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId ?? undefined;
  }
  return runs;
}

function seqs(status: ReleaseStatus): number[] {
  return status.events.map((event) => event.seq);
}

describe('continue-as-new', () => {
  it('in the middle of soaks and an approval changes nothing about the release', async () => {
    const world = new FakeWorld();
    const plan = testPlan({
      steps: testSteps([...weights(5), approve(), ...weights(100)]),
      notify: { slack: { channel: '#deploys' } },
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, plan, { historyLimit: 60, reason: 'long' });
      const first = await time.until(handle, (s) => s.measurements.length >= 9);
      const ack = await send(handle, 'pause', { reason: 'one' }, 'pause-1');
      await time.env.sleep(307_000);
      const before = await statusOf(handle);
      // The same message again, though another run answers it.
      expect(before.runId).not.toBe(first.runId);
      expect(await send(handle, 'pause', { reason: 'one' }, 'pause-1')).toEqual(ack);
      await send(handle, 'resume');
      await time.until(handle, (s) => s.phase === 'awaitingApproval');
      await time.env.sleep(607_000);
      await send(handle, 'approve', { actor: ONCALL });

      expect(await handle.result()).toMatchObject({ outcome: 'promoted' });
      const status = await statusOf(handle);
      expect((await runsOf(handle)).length).toBeGreaterThan(4);
      expect(seqs(status)).toEqual(status.events.map((_, index) => index + 1));
      expect(status.events.map((e) => e.type)).toEqual([
        ...['started', 'deployed', 'smokeTestPassed', 'weightChanged', 'paused', 'resumed', 'stepPassed'],
        ...['approvalRequested', 'approved', 'weightChanged', 'stepPassed', 'promoted'],
      ]);
      // The soak kept its rhythm: as many measurements as without.
      expect(status.steps[4]?.measurements).toBe(12);
      const fences = world.calls.flatMap((call) => {
        const { fence } = call.input as { fence?: { step: number; epoch: number } };
        return fence === undefined ? [] : [fence];
      });
      expect(fences.map((fence) => fence.step)).toEqual(fences.map((_, index) => index + 1));
      expect(new Set(fences.map((fence) => fence.epoch)).size).toBe(1);
      expect(status.startedAt).toBe(first.startedAt);
      // Slack's message is the same one all along, and nothing was told twice or not at all.
      const told = world.calls
        .filter((call) => call.activity === 'notifySlack')
        .map((call) => call.input as { message: unknown; news: { seq: number }[] });
      expect(told.filter((one) => one.message === null)).toHaveLength(1);
      expect(told.flatMap((one) => one.news.map((event) => event.seq))).toEqual(seqs(status));

      const described = await handle.describe();
      expect(described.memo).toMatchObject({ release: status.release, reason: 'long', version: 'v2' });
      const attributes = Object.fromEntries(
        described.typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value]),
      );
      expect(attributes).toMatchObject({
        SluiceService: 'shop',
        SluiceRelease: status.release,
        SluicePhase: 'promoted',
        SluiceOutcome: 'promoted',
        SluiceNamespace: room.namespace,
        SluiceVersion: 'v2',
        SluiceWeight: 100,
      });
    });
  });

  it('in a roll back that is stuck keeps what is left to do, and how it went so far', async () => {
    const world = new FakeWorld().fail('compensate', ACTIVITY_FAILURES.unsupported);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan(), { historyLimit: 60 });
      await time.until(handle, (s) => s.phase === 'soaking');
      await send(handle, 'rollback', { reason: 'bad' }, 'roll-1');
      const stuck = await time.until(handle, (s) => (s.stuck?.attempts ?? 0) >= 16, 29_300);
      expect(stuck.compensations?.map((one) => one.op)).toEqual(['removeCanary', 'restoreWeight']);
      expect((await runsOf(handle)).length).toBeGreaterThan(1);
      expect((await send(handle, 'rollback', {}, 'roll-1')).message).toBe('The roll back is under way.');
      expect((await send(handle, 'rollback')).message).toBe('The roll back is tried again now.');
      world.on('compensate', () => undefined);
      await send(handle, 'resume');

      expect(await handle.result()).toMatchObject({ outcome: 'aborted', reason: expect.stringMatching(/bad/) });
      expect(world.allOld).toBe(true);
      const status = await statusOf(handle);
      expect(seqs(status)).toEqual(status.events.map((_, index) => index + 1));
      expect(status.events.filter((e) => e.type === 'rollbackStarted')).toHaveLength(1);
    });
  });

  it('is put off in the roll back after a cancellation, so that the workflow ends as cancelled', async () => {
    const world = new FakeWorld().fail('compensate', ACTIVITY_FAILURES.unsupported);

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan(), { historyLimit: 60 });
      await time.until(handle, (s) => s.phase === 'soaking');
      await handle.cancel();
      await time.until(handle, (s) => (s.stuck?.attempts ?? 0) >= 10, 29_300);
      world.on('compensate', () => undefined);

      await expect(handle.result()).rejects.toThrow();
      expect((await handle.describe()).status.name).toBe('CANCELLED');
      expect(world.allOld).toBe(true);
    });
  });

  it('does not wait for a notification that hangs', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const plan = testPlan({ notify: { slack: { channel: '#d' } }, steps: testSteps(weights(100)) });
      const handle = await time.startRelease(room, plan, { historyLimit: 60 });
      await time.until(handle, (s) => s.phase === 'soaking');
      world.hang('notifySlack', { deaf: true });
      await send(handle, 'pause');
      await world.begun('notifySlack', 2);
      // More of history than the limit, by messages alone: the clock stands still while the notification hangs.
      for (let round = 0; round < 12; round += 1) {
        await send(handle, 'resume');
        await send(handle, 'pause');
      }
      const { runId } = await statusOf(handle);
      await send(handle, 'rollback');
      await world.begun('compensate', 2);
      world.release();
      await handle.result();

      expect(world.allOld).toBe(true);
      expect((await statusOf(handle)).runId).toBe(runId);
    });
  });
});

describe('the history', () => {
  it('of a default release has at most eleven events for a measurement, and labels what it does', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, testPlan());
      await handle.result();
      const events = (await handle.fetchHistory()).events ?? [];
      const activityOf = (event: temporal.api.history.v1.IHistoryEvent): string =>
        event.activityTaskScheduledEventAttributes?.activityType?.name ?? '';
      const looks = events.flatMap((event, index) => (activityOf(event) === 'measure' ? [index] : []));
      const apart = looks.slice(1).map((at, index) => at - (looks[index] ?? 0));

      // Within a soak; between two there is a weight change as well.
      expect(Math.min(...apart)).toBeLessThanOrEqual(11);
      expect(apart.filter((count) => count > 11)).toHaveLength(3);
      expect(events.length).toBeLessThan(640);
      expect(events.length).toBeLessThan(4_000);

      const summaries = events.flatMap((event) => {
        const data = event.userMetadata?.summary?.data;
        return data ? [String(JSON.parse(Buffer.from(data).toString()))] : [];
      });
      expect(new Set(summaries)).toEqual(
        new Set([
          ...['shop → v2', 'look at the target', 'deploy v2', 'smoke test v2', 'promote v2'],
          ...['weight 0 % → 5 %', 'weight 5 % → 25 %', 'weight 25 % → 50 %', 'weight 50 % → 100 %'],
          ...[5, 25, 50, 100].flatMap((weight) => [`measure at ${weight} %`, `soak at ${weight} %`]),
        ]),
      );
      // No activity and no timer without a label.
      const unlabelled = events.filter(
        (event) =>
          (event.activityTaskScheduledEventAttributes || event.timerStartedEventAttributes) &&
          !event.userMetadata?.summary,
      );
      expect(unlabelled).toEqual([]);
    });
  });

  it("gives each activity its own time: the spec's for deploy, smoke test and promotion, the target's for the rest", async () => {
    const world = new FakeWorld();
    const steps = testSteps(weights(100)).map((step) => {
      if (step.kind === 'deploy') return { ...step, timeoutMs: 123_000 };
      if (step.kind === 'promote') return { ...step, timeoutMs: 77_000 };
      return step.kind === 'smokeTest' ? { ...step, attempts: 4, timeoutMs: 3_000, intervalMs: 2_000 } : step;
    });

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan({ steps }));
      await handle.result();
      const scheduled = ((await handle.fetchHistory()).events ?? []).flatMap((event) => {
        const asked = event.activityTaskScheduledEventAttributes;
        return asked ? [asked] : [];
      });
      const seconds = (span: { seconds?: unknown } | null | undefined): number => Number(span?.seconds ?? 0);
      const times = Object.fromEntries(
        scheduled.map((one) => [
          one.activityType?.name,
          [one.startToCloseTimeout, one.scheduleToCloseTimeout, one.heartbeatTimeout].map(seconds),
        ]),
      );

      expect(times).toEqual({
        observe: [20, 120, 4],
        // The step's own time, and ten seconds for a worker that dies in it.
        deploy: [133, 133, 4],
        // Four tries of three seconds with two in between, a quarter more, and twenty seconds.
        smokeTest: [45, 45, 4],
        setWeight: [20, 60, 4],
        measure: [30, 60, 4],
        promote: [87, 87, 4],
      });
    });
  });

  it('shows the release in the Temporal UI: current details, descriptions of the messages', async () => {
    const world = new FakeWorld();

    await time.run(world, async (room) => {
      const handle = await time.startRelease(room, shortPlan(), { reason: 'a | b\nc' });
      await time.until(handle, (s) => s.phase === 'soaking' && s.measurements.length > 0);
      const metadata = await handle.query<temporal.api.sdk.v1.IWorkflowMetadata>('__temporal_workflow_metadata');

      expect(metadata.currentDetails).toMatch(
        /^\*\*shop\*\* v1 → v2 · \*\*soaking\*\* · weight 25 % \(observed 25\.0 %\)/,
      );
      expect(metadata.currentDetails).toMatch(/- ✔ smoke test/);
      expect(metadata.currentDetails).toMatch(/Last measurement: \*\*pass\*\*/);
      expect(metadata.currentDetails).toMatch(/release of shop v2: a \\\| b c\. \| ada \|/);
      expect(metadata.currentDetails?.length).toBeLessThan(6_600);
      expect(metadata.definition?.updateDefinitions?.map((one) => one.name).sort()).toEqual(
        ['approve', 'pause', 'promote', 'reject', 'resume', 'rollback', 'setWeight', 'skipSoak'].sort(),
      );
      const signals = metadata.definition?.signalDefinitions ?? [];
      for (const name of ['approve', 'rollback']) {
        expect(signals.find((one) => one.name === name)?.description).toContain('{"by": "NAME"');
      }
      await send(handle, 'rollback');
      await handle.result();
    });
  });
});
