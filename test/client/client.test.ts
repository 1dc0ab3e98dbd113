import { connect as connectTcp, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { randomUUID } from 'node:crypto';
import { Client, Connection, WorkflowNotFoundError } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time';
import type { ActivityDeps } from '../../src/activities/deps';
import { connect, openConnection } from '../../src/client/connect';
import type { DeployResult, SluiceClient } from '../../src/client/client-types';
import { newReleaseId } from '../../src/client/release-id';
import { createSluiceClient } from '../../src/client/sluice-client';
import { ReleaseError } from '../../src/errors';
import type { Plan } from '../../src/spec/plan-types';
import {
  RELEASE_QUEUE_WORKFLOW,
  RELEASE_WORKFLOW,
  releaseQueueWorkflowId,
  SEARCH_ATTRIBUTES,
  TASK_QUEUE,
} from '../../src/workflows/api';
import type { Actor, MessageAck, QueueStatus, ReleaseInput, ReleaseStatus } from '../../src/workflows/api';
import { releaseStartOptions } from '../../src/workflows/start-options';
import { FakeSource, FakeTarget } from '../activities/fakes';
import { planOf, startStack, until } from '../integration/stack';
import type { Stack } from '../integration/stack';
import { eventually } from '../targets/instance';
import { targetPlan } from '../targets/kubernetes/target-plans';

// Real servers on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(150_000);

const ada: Actor = { name: 'ada', via: 'cli' };
const namespace = 'test';

/** The world of a worker: targets that do as they are told and evidence that is good. */
function world(): ActivityDeps {
  return {
    target: () => new FakeTarget(),
    source: () => new FakeSource(),
    slack: () => {
      throw new Error('nobody is told here');
    },
  };
}

let services = 0;
/** Every test has a service of its own, so that none meets another's release. */
function newService(): string {
  services += 1;
  return `service-${services}`;
}

function specOf(service: string, steps: string): string {
  return `
apiVersion: sluice.dev/v1
kind: Release
metadata: { name: ${service}, namespace: ${namespace} }
spec:
  target: { router: { instances: [http://127.0.0.1:1] } }
  steps:
${steps}
  analysis:
    interval: 1s
    minRequests: 1
    metrics:
      - { name: error-rate, max: 20% }
`;
}

const QUICK = '    - { weight: 100, soak: 1s }';
const LONG = '    - { weight: 50, soak: 1h }\n    - { weight: 100, soak: 1s }';
const APPROVAL = '    - approve: { by: [oncall], timeout: 1h }\n    - { weight: 100, soak: 1s }';

const quick = (service: string): Plan => planOf(specOf(service, QUICK), 'v2');
const long = (service: string): Plan => planOf(specOf(service, LONG), 'v2');

async function failureOf(call: Promise<unknown>): Promise<ReleaseError> {
  const result = await call.then(
    (value) => value,
    (error: unknown) => error,
  );
  if (!(result instanceof ReleaseError)) throw new Error(`no failure but ${JSON.stringify(result)}`);
  expect(result.message).toMatch(/^\S.*\.$/s);
  return result;
}

describe('the client', () => {
  let stack: Stack;
  let client: SluiceClient;
  let raw: Client;
  const opened: SluiceClient[] = [];

  /** A client with an hour's patience: what it says before a test's deadline, it said without waiting it out. */
  async function patient(taskQueue: string, address = stack.temporal.address): Promise<SluiceClient> {
    const one = await connect({ env: {}, address, taskQueue, timeoutMs: 3_600_000 });
    opened.push(one);
    return one;
  }

  beforeAll(async () => {
    stack = await startStack();
    client = stack.client;
    await stack.startWorker({ deps: world() });
    raw = new Client({ connection: await Connection.connect({ address: stack.temporal.address }) });
  });
  afterAll(async () => {
    for (const one of opened) await one.close();
    await raw?.connection.close();
    await stack?.stop();
  });

  const rollback = (service: string): Promise<MessageAck> =>
    client.rollback({ service, namespace }, { actor: ada, reason: 'the test is over' });
  const ended = (service: string): Promise<ReleaseStatus> =>
    until(client, service, (status) => status.endedAt !== null);
  const soaking = (service: string): Promise<ReleaseStatus> =>
    until(client, service, (status) => status.phase === 'soaking');

  describe('deploying', () => {
    it('starts a release, and refuses a second one by naming the first', async () => {
      const service = newService();
      const first = await client.deploy(long(service), { actor: ada, reason: 'because' });
      await soaking(service);

      const refused = await failureOf(client.deploy(long(service), { actor: ada }));
      const status = await client.status({ service, namespace });

      expect(first).toMatchObject({ state: 'started', behind: null, workflowId: `release:${namespace}/${service}` });
      expect(status).toMatchObject({ release: first.release, reason: 'because', startedBy: ada });
      expect(refused.code).toBe('conflict');
      expect(refused.message).toBe(`Release ${first.release} of ${namespace}/${service} is in progress.`);
      await rollback(service);
      await ended(service);
    });

    it('knows the plan of the last release, and that there is none', async () => {
      const service = newService();
      const before = await client.lastPlan({ service, namespace });
      const plan = quick(service);
      await client.deploy(plan, { actor: ada });
      await ended(service);

      expect(before).toBeNull();
      expect(await client.lastPlan({ service, namespace })).toEqual(plan);
    });

    it('lets one of two that are started at the same time begin', async () => {
      const service = newService();

      const results = await Promise.allSettled([1, 2].map(() => client.deploy(long(service), { actor: ada })));

      expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected']);
      await rollback(service);
    });

    it('knows a repeat by its key: of what runs, of what waits, and of what is over and the newest', async () => {
      const service = newService();
      const [first, again] = await Promise.all(
        [1, 2].map(() => client.deploy(long(service), { actor: ada, startKey: 'k1' })),
      );
      await soaking(service);
      const waiting = { actor: ada, startKey: 'k2', onConflict: 'queue' } as const;
      const queued = await client.deploy(quick(service), waiting);
      await eventually(
        async () => (await client.list({ service })).some((one) => one.phase === 'queued'),
        'the queue has it in its memo',
      );
      const queuedAgain = await client.deploy(quick(service), waiting);
      await rollback(service);
      await begun(service, queued);
      await ended(service);
      const overAgain = await client.deploy(quick(service), waiting);

      expect(again?.release).toBe(first?.release);
      expect([first, again].filter((one) => one?.repeated === true)).toHaveLength(1);
      const { release, workflowId } = queued;
      expect(queued.repeated).toBeUndefined();
      expect(queuedAgain).toEqual({ release, workflowId, state: 'queued', behind: first?.release, repeated: true });
      expect(overAgain).toEqual({ release, workflowId, state: 'started', behind: null, repeated: true });
      expect(await client.list({ service })).toHaveLength(2);
    });

    it('queues a second one, which begins when the first is over', async () => {
      const service = newService();
      const first = await client.deploy(long(service), { actor: ada });
      await soaking(service);
      const second = await client.deploy(quick(service), { actor: ada, onConflict: 'queue' });
      expect(second).toMatchObject({ state: 'queued', behind: first.release });
      await eventually(async () => {
        const queue = await client.queue({ service, namespace });
        return queue?.waiting.length === 1 && queue.waiting[0]?.release === second.release;
      }, 'the second waits in the queue');

      await rollback(service);
      const done = await until(
        client,
        service,
        (status) => status.release === first.release && status.endedAt !== null,
      );
      await begun(service, second);

      expect(done.outcome).toBe('aborted');
      expect((await ended(service)).outcome).toBe('promoted');
      await eventually(async () => (await client.queue({ service, namespace })) === null, 'the queue is over');
    });

    it('begins at once behind a release that is promoted and only keeps the old version', async () => {
      const service = newService();
      const target = { ...targetPlan({ strategy: 'blueGreen', keepOldMs: 3_600_000 }), serviceName: service };
      const first = await client.deploy({ ...quick(service), target }, { actor: ada });
      const kept = await until(client, service, (status) => (status.keepOld ?? null) !== null);
      const second = await client.deploy(long(service), { actor: ada, onConflict: 'reject' });
      await begun(service, second);
      const done = await client.status({ service, namespace, release: first.release });

      expect(kept).toMatchObject({ outcome: 'promoted', endedAt: null });
      expect(second).toMatchObject({ state: 'queued', behind: first.release, endsKeeping: true });
      expect(done.outcome).toBe('promoted');
      expect(done.endedAt).not.toBeNull();
      await rollback(service);
    });

    it('is refused behind one that is taken back while it keeps the old version', async () => {
      const service = newService();
      const target = { ...targetPlan({ strategy: 'blueGreen', keepOldMs: 3_600_000, drainMs: 3_600_000 }) };
      await client.deploy({ ...quick(service), target }, { actor: ada });
      await until(client, service, (status) => (status.keepOld ?? null) !== null);
      await rollback(service);
      await until(client, service, (status) => status.phase === 'rollingBack');

      expect((await failureOf(client.deploy(long(service), { actor: ada }))).code).toBe('conflict');
    });

    it('supersedes: the first is taken back, and the second begins', async () => {
      const service = newService();
      const first = await client.deploy(long(service), { actor: ada });
      await soaking(service);

      const second = await client.deploy(quick(service), { actor: ada, onConflict: 'supersede' });
      await begun(service, second);

      expect(second.state).toBe('queued');
      expect((await ended(service)).outcome).toBe('promoted');
      const before = await client.status({ service, namespace, release: first.release });
      expect(before).toMatchObject({ release: first.release, outcome: 'superseded' });
    });

    it('says what became of one that waited: that it waits, and that a newer one took its place', async () => {
      const service = newService();
      await client.deploy(long(service), { actor: ada });
      await soaking(service);
      const waiting = await client.deploy(quick(service), { actor: ada, onConflict: 'queue' });
      const asked = { service, namespace, release: waiting.release };
      await eventually(async () => (await client.queue({ service, namespace })) !== null, 'it is in the queue');
      await expect(client.status(asked)).rejects.toMatchObject({ code: 'queued' });

      const newer = await client.deploy(quick(service), { actor: ada, onConflict: 'supersede' });
      await begun(service, newer);

      await expect(client.status(asked)).rejects.toMatchObject({
        code: 'superseded',
        message: expect.stringContaining(`${newer.release} took its place`) as unknown,
      });
      expect((await ended(service)).outcome).toBe('promoted');
      // The queue is over by now, and still knows.
      await expect(client.status(asked)).rejects.toMatchObject({ code: 'superseded' });
    });

    it('finds one that leaves the queue while it is asked for by its id, before any list shows it', async () => {
      const service = newService();
      await client.deploy(long(service), { actor: ada });
      await soaking(service);
      const waiting = await client.deploy(long(service), { actor: ada, onConflict: 'queue' });
      await eventually(async () => (await client.queue({ service, namespace })) !== null, 'it is in the queue');
      const connection = await openConnection({ address: stack.temporal.address }, 60_000);
      const temporal = new Client({ connection });
      // It begins after the service's newest release was asked for, and lists are a moment behind.
      jest.spyOn(temporal.workflow, 'list').mockImplementation(() => ({
        async *[Symbol.asyncIterator]() {
          await rollback(service);
          await begun(service, waiting);
        },
        intoHistories: () => {
          throw new Error('no histories are asked for here');
        },
      }));
      const asking = createSluiceClient({ client: temporal, connection, where: 'a test', timeoutMs: 60_000 });
      opened.push(asking);

      const found = await asking.status({ service, namespace, release: waiting.release });

      expect(found).toMatchObject({ release: waiting.release, endedAt: null });
      expect(temporal.workflow.list).toHaveBeenCalled();
      await rollback(service);
    });

    it('withdraws one that waits, by its id, and says from then on who did', async () => {
      const service = newService();
      const first = await client.deploy(long(service), { actor: ada });
      await soaking(service);
      const waiting = await client.deploy(quick(service), { actor: ada, onConflict: 'queue' });
      const asked = { service, namespace, release: waiting.release };
      await eventually(
        async () => (await client.list({ service, namespace })).some((one) => one.phase === 'queued'),
        'it is listed as queued',
      );
      const listed = await client.list({ service, namespace });
      expect(listed).toMatchObject([
        { release: waiting.release, version: 'v2', phase: 'queued', outcome: null, runId: null, endedAt: null },
        { release: first.release, phase: 'soaking' },
      ]);
      expect(await client.list({ service: 'another', namespace })).toEqual([]);

      const ack = await client.rollback(asked, { actor: ada, reason: 'wrong build' });
      expect(ack.message).toBe(`Release ${waiting.release} is withdrawn from the queue; it is not started.`);

      const sentence = `Release ${waiting.release} of ${namespace}/${service} was withdrawn by ada while it waited, and never started: wrong build.`;
      for (const call of [
        client.status(asked),
        client.rollback(asked, { actor: ada }),
        client.watch(asked)[Symbol.asyncIterator]().next(),
      ]) {
        expect(await failureOf(call)).toMatchObject({ code: 'withdrawn', message: sentence });
      }
      expect(await client.status({ service, namespace })).toMatchObject({ release: first.release, phase: 'soaking' });
      await rollback(service);
    });

    async function begun(service: string, { release }: DeployResult): Promise<void> {
      await eventually(
        async () => (await client.status({ service, namespace })).release === release,
        `${release} has begun`,
        60_000,
      );
    }
  });

  describe('a withdrawal that only Temporal takes', () => {
    /** Enqueued, withdrawn by signal after the delay, and waited for until nobody waits any more. */
    async function withdrawn(service: string, delayMs: number): Promise<string> {
      const input: ReleaseInput = { release: newReleaseId(service), plan: long(service), startedBy: ada };
      const queue = await raw.workflow.signalWithStart(RELEASE_QUEUE_WORKFLOW, {
        workflowId: releaseQueueWorkflowId(namespace, service),
        taskQueue: TASK_QUEUE,
        args: [{ service, namespace }],
        signal: 'enqueue',
        signalArgs: [{ input, supersede: false }],
      });
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      const { release } = input;
      try {
        await queue.signal('withdraw', { release, actor: ada, reason: 'a hunch' });
      } catch (error) {
        // On a slow machine the queue may be over by then, and its release is one like any other.
        if (!(error instanceof WorkflowNotFoundError)) throw error;
        await client.rollback({ service, namespace, release }, { actor: ada, reason: 'a hunch' });
      }
      await queue.result();
      return release;
    }

    it('is carried out whenever it comes, also while the start is being tried', async () => {
      const service = newService();
      const { release } = await client.deploy(long(service), { actor: ada });
      for (let delayMs = 0; delayMs < 8; delayMs += 1) {
        const asked = { service, namespace, release: await withdrawn(service, delayMs) };
        expect({ delayMs, code: (await failureOf(client.status(asked))).code }).toEqual({ delayMs, code: 'withdrawn' });
      }
      expect((await client.status({ service, namespace })).release).toBe(release);
      await rollback(service);
    });

    it('rolls back what it could not keep from being started', async () => {
      const service = newService();
      for (let delayMs = 0; delayMs < 10; delayMs += 1) {
        const asked = { service, namespace, release: await withdrawn(service, delayMs) };
        const { dropped } = await lastQueue(service);
        if (dropped?.some((one) => one.release === asked.release) === true) continue;
        await eventually(async () => (await client.status(asked)).endedAt !== null, 'the release is over', 60_000);
        const { outcome, message } = await client.status(asked);
        expect({ delayMs, outcome, message }).toEqual({
          delayMs,
          outcome: 'aborted',
          message: expect.stringContaining('a hunch') as string,
        });
      }
    });

    const lastQueue = (service: string): Promise<QueueStatus> =>
      raw.workflow.getHandle(releaseQueueWorkflowId(namespace, service)).query<QueueStatus>('queue');
  });

  describe('asking', () => {
    it('knows older releases by their id, and says when there is none', async () => {
      const service = newService();
      const first = await client.deploy(quick(service), { actor: ada });
      await ended(service);
      const second = await client.deploy(quick(service), { actor: ada });
      await ended(service);

      const older = await client.status({ service, namespace, release: first.release });
      const newest = await client.status({ service, namespace });
      const unknown = await failureOf(client.status({ service, namespace, release: 'never-was' }));

      expect(older).toMatchObject({ release: first.release, outcome: 'promoted' });
      expect(newest.release).toBe(second.release);
      expect(unknown.code).toBe('not-found');
      expect(unknown.message).toContain(`There is no release never-was of ${namespace}/${service}`);
    });

    it('says when a service never had a release', async () => {
      const failure = await failureOf(client.status({ service: "no'such", namespace }));
      const message = await failureOf(client.pause({ service: "no'such", namespace }, { actor: ada }));

      expect(failure).toMatchObject({ code: 'not-found' });
      expect(failure.message).toContain(`There is no release of ${namespace}/no'such`);
      expect(message).toMatchObject({ code: 'not-found', message: failure.message });
      expect(await client.queue({ service: "no'such", namespace })).toBeNull();
      expect(await client.list({ service: "no'such", namespace })).toEqual([]);
    });

    it('lists newest first, of one service, and those in progress', async () => {
      const service = newService();
      const first = await client.deploy(quick(service), { actor: ada });
      await ended(service);
      const second = await client.deploy(long(service), { actor: ada });
      await soaking(service);

      const listed = async (open?: boolean): Promise<string[]> =>
        (await client.list({ service, namespace, ...(open === undefined ? {} : { open }) })).map((one) => one.release);
      await eventually(async () => (await listed()).length === 2, 'both are listed');

      expect(await listed()).toEqual([second.release, first.release]);
      expect(await listed(true)).toEqual([second.release]);
      expect(await client.list({ service, namespace, limit: 1 })).toHaveLength(1);
      const [open, closed] = await client.list({ service, namespace });
      expect(open).toMatchObject({ service, namespace, version: 'v2', outcome: null, weight: 50, endedAt: null });
      expect(closed).toMatchObject({ service, version: 'v2', phase: 'promoted', outcome: 'promoted' });
      await rollback(service);
    });

    it('lists a release once that went on in several runs, and knows it by its id', async () => {
      const service = newService();
      const input: ReleaseInput = {
        release: newReleaseId(service),
        plan: long(service),
        startedBy: ada,
        historyLimit: 40,
      };
      await raw.workflow.start(RELEASE_WORKFLOW, { ...releaseStartOptions(input), args: [input] });
      const handle = raw.workflow.getHandle(`release:${namespace}/${service}`);
      const first = (await client.status({ service, namespace })).runId;
      const started = (await handle.describe()).startTime.getTime();
      await eventually(async () => (await handle.describe()).runId !== first, 'it went on as another run');

      await rollback(service);
      const status = await ended(service);
      await eventually(
        async () => (await client.list({ service, namespace })).some((one) => one.outcome === 'aborted'),
        'its end is listed',
      );

      expect(status.runId).not.toBe(first);
      const listed = await client.list({ service, namespace });
      expect(listed.map((one) => one.release)).toEqual([input.release]);
      // The release's start, and not that of its last run.
      expect(listed.map((one) => one.startedAt)).toEqual([started]);
      const newer = await client.deploy(quick(service), { actor: ada });
      expect(newer.release).not.toBe(input.release);
      const older = await client.status({ service, namespace, release: input.release });
      expect(older).toMatchObject({ release: input.release, outcome: 'aborted', runId: status.runId });
      await ended(service);
    });

    it('says that a release was terminated, and does not take its last word for its state', async () => {
      const service = newService();
      await client.deploy(long(service), { actor: ada });
      await soaking(service);

      await raw.workflow.getHandle(`release:${namespace}/${service}`).terminate('a test');
      const status = await ended(service);

      expect(status).toMatchObject({ phase: 'failed', outcome: 'failed', weight: 50 });
      expect(status.message).toContain('ended at Temporal (terminated)');
      const over = await failureOf(client.rollback({ service, namespace }, { actor: ada }));
      expect(over.code).toBe('conflict');
      expect(over.message).toMatch(/the last one, \S+, failed\.$/);
    });

    it('says of a release that was terminated while nobody was there that it could take nothing back', async () => {
      const service = newService();
      const taskQueue = `ended-${service}`;
      const one = await patient(taskQueue);
      const first = await stack.startWorker({ deps: world(), taskQueue });
      const { workflowId } = await one.deploy(long(service), { actor: ada });
      await until(one, service, (status) => status.phase === 'soaking');
      await first.stop();
      const handle = raw.workflow.getHandle(workflowId);
      // A timer has fired, and the task that is to bring it is never to come.
      await eventually(
        async () => {
          const { events } = await handle.fetchHistory();
          const [before, last] = events?.slice(-2) ?? [];
          return Boolean(before?.timerFiredEventAttributes) && Boolean(last?.workflowTaskScheduledEventAttributes);
        },
        'a timer has fired that no worker hears of',
        20_000,
      );
      await handle.terminate('by hand');
      await stack.startWorker({ deps: world(), taskQueue });

      expect(await one.status({ service, namespace })).toMatchObject({
        phase: 'failed',
        message: expect.stringContaining('The workflow was ended at Temporal (terminated)'),
      });
    });
  });

  describe('watching', () => {
    it('begins with the present status, tells changes only, and ends with the release', async () => {
      const service = newService();
      await client.deploy(quick(service), { actor: ada });

      const seen: ReleaseStatus[] = [];
      for await (const status of client.watch({ service, namespace }, { everyMs: 20 })) seen.push(status);

      expect(seen.at(-1)).toMatchObject({ outcome: 'promoted', phase: 'promoted' });
      expect(seen.filter((status) => status.endedAt !== null)).toHaveLength(1);
      expect(new Set(seen.map((status) => JSON.stringify(status))).size).toBe(seen.length);
    });

    it('stays with its release though a newer one has taken the service', async () => {
      const service = newService();
      const first = await client.deploy(long(service), { actor: ada });
      await soaking(service);
      const watching = client.watch({ service, namespace }, { everyMs: 20 })[Symbol.asyncIterator]();
      expect((await watching.next()).value).toMatchObject({ release: first.release });
      const second = await client.deploy(long(service), { actor: ada, onConflict: 'supersede' });
      // The watcher looks away until the newer one runs.
      await eventually(
        async () => (await client.status({ service, namespace })).release === second.release,
        'the newer one runs',
      );

      const seen: ReleaseStatus[] = [];
      for (let next = await watching.next(); next.done !== true; next = await watching.next()) seen.push(next.value);

      expect(seen.at(-1)).toMatchObject({ release: first.release, outcome: 'superseded' });
      expect(new Set(seen.map((status) => status.release))).toEqual(new Set([first.release]));
      await rollback(service);
    });

    it('ends when it is told to, also while nothing answers', async () => {
      const service = newService();
      const alone = await patient(`nobody-${service}`);
      await alone.deploy(long(service), { actor: ada });
      const stop = new AbortController();
      let troubles = 0;

      const seen: ReleaseStatus[] = [];
      const options = {
        signal: stop.signal,
        everyMs: 10,
        onTrouble: () => {
          troubles += 1;
          setImmediate(() => stop.abort());
        },
      };
      for await (const status of alone.watch({ service, namespace }, options)) seen.push(status);

      expect({ seen, troubles }).toEqual({ seen: [], troubles: 1 });
    });

    it('rides out restarts of the worker, saying once what is missing', async () => {
      const service = newService();
      const taskQueue = `restarted-${service}`;
      const one = await connect({ env: {}, address: stack.temporal.address, taskQueue, timeoutMs: 1_500 });
      opened.push(one);
      const before = await stack.startWorker({ deps: world(), taskQueue });
      await one.deploy(planOf(specOf(service, APPROVAL), 'v2'), { actor: ada });
      const troubles: string[] = [];
      const seen: ReleaseStatus[] = [];
      const watching = (async () => {
        const options = { everyMs: 50, onTrouble: (sentence: string) => void troubles.push(sentence) };
        for await (const status of one.watch({ service, namespace }, options)) seen.push(status);
      })();
      await eventually(() => seen.some((status) => status.phase === 'awaitingApproval'), 'the approval is waited for');

      await before.stop();
      await eventually(() => troubles.length > 0, 'the watcher told of the missing worker');
      await stack.startWorker({ deps: world(), taskQueue });
      await one.approve({ service, namespace }, { actor: { ...ada, groups: ['oncall'] } });
      await watching;

      expect(seen.at(-1)?.outcome).toBe('promoted');
      expect(new Set(troubles).size).toBe(troubles.length);
      expect(troubles[0]).toMatch(/No worker polls the task queue|did not answer within 1.5 s/);
    });

    it('rides out a short absence of Temporal', async () => {
      const service = newService();
      const door = await openDoor(stack.temporal.address);
      const one = await connect({ env: {}, address: door.address, timeoutMs: 2_000 });
      opened.push(one);
      await client.deploy(planOf(specOf(service, APPROVAL), 'v2'), { actor: ada });
      const troubles: string[] = [];
      const seen: ReleaseStatus[] = [];
      const watching = (async () => {
        const options = { everyMs: 50, onTrouble: (sentence: string) => void troubles.push(sentence) };
        for await (const status of one.watch({ service, namespace }, options)) seen.push(status);
      })();
      await eventually(() => seen.some((status) => status.phase === 'awaitingApproval'), 'the approval is waited for');

      await door.shut();
      await eventually(() => troubles.length > 0, 'the watcher told of the absence');
      await door.open();
      await client.approve({ service, namespace }, { actor: { ...ada, groups: ['oncall'] } });
      await watching;
      await one.close();
      await door.shut();

      expect(seen.at(-1)?.outcome).toBe('promoted');
      expect(troubles[0]).toContain(`Temporal does not answer at ${door.address}`);
    });
  });

  describe('messages', () => {
    it('that are not allowed now are a conflict, with the release’s own sentence', async () => {
      const service = newService();
      await client.deploy(long(service), { actor: ada });
      await soaking(service);

      const approval = await failureOf(client.approve({ service, namespace }, { actor: ada }));
      const other = await failureOf(client.pause({ service, namespace, release: 'another' }, { actor: ada }));
      await client.pause({ service, namespace }, { actor: ada, reason: 'lunch' });
      const again = await failureOf(client.pause({ service, namespace }, { actor: ada }));

      expect(approval).toMatchObject({ code: 'conflict', message: 'No approval is waited for.' });
      expect(other.code).toBe('conflict');
      expect(other.message).toContain('The message is for release another');
      expect(again).toMatchObject({ code: 'conflict', message: 'The release is paused already, by ada.' });
      await client.resume({ service, namespace }, { actor: ada });
      await rollback(service);
    });

    it('from those who may not are forbidden', async () => {
      const service = newService();
      await client.deploy(planOf(specOf(service, APPROVAL), 'v2'), { actor: ada });
      await until(client, service, (status) => status.phase === 'awaitingApproval');

      const failure = await failureOf(client.approve({ service, namespace }, { actor: ada }));
      const ack = await client.reject({ service, namespace }, { actor: { name: 'oncall', via: 'cli' }, reason: 'no' });

      expect(failure.code).toBe('forbidden');
      expect(failure.message).toContain('ada is none of them');
      expect(ack.release).toBe((await client.status({ service, namespace })).release);
      expect((await ended(service)).outcome).toBe('rejected');
    });

    it('that a worker gives back without a word are sent again', async () => {
      const service = newService();
      const taskQueue = `unheard-${service}`;
      const one = await patient(taskQueue);
      const first = await stack.startWorker({ deps: world(), taskQueue });
      await one.deploy(planOf(specOf(service, APPROVAL), 'v2'), { actor: ada });
      await until(one, service, (status) => status.phase === 'awaitingApproval');
      await first.stop();

      // In the place of one that takes over with a part of the story: it answers the task, and the message not at all.
      const at = { namespace: 'default', identity: 'unheard' };
      const { workflowService } = raw.connection;
      const polled = raw.connection.withDeadline(Date.now() + 60_000, () =>
        workflowService.pollWorkflowTaskQueue({ ...at, taskQueue: { name: taskQueue } }),
      );
      const approval = one.approve({ service, namespace }, { actor: { name: 'oncall', via: 'cli' } });
      const { taskToken, messages } = await polled;
      await workflowService.respondWorkflowTaskCompleted({ ...at, taskToken, commands: [] });
      await stack.startWorker({ deps: world(), taskQueue });

      expect(messages).toHaveLength(1);
      expect((await approval).message).toBe('The approval by oncall is recorded.');
      expect((await until(one, service, ({ endedAt }) => endedAt !== null)).outcome).toBe('promoted');
    });

    it('to a release that is over say how it ended', async () => {
      const service = newService();
      const { release } = await client.deploy(quick(service), { actor: ada });
      await ended(service);
      await eventually(
        async () =>
          (await raw.workflow.getHandle(`release:${namespace}/${service}`).describe()).status.name !== 'RUNNING',
        'the workflow is closed',
      );

      for (const late of [client.pause, client.rollback, client.promote]) {
        const failure = await failureOf(late({ service, namespace }, { actor: ada }));

        expect(failure).toMatchObject({
          code: 'conflict',
          message: `No release of ${namespace}/${service} is in progress; the last one, ${release}, was promoted.`,
        });
      }
    });

    it('carry out what they say', async () => {
      const service = newService();
      await client.deploy(long(service), { actor: ada });
      await soaking(service);
      const ref = { service, namespace };

      const weight = await client.setWeight(ref, { actor: ada, weight: 70 });
      await until(client, service, (status) => status.weight === 70 && status.paused?.cause === 'manualWeight');
      await client.resume(ref, { actor: ada });
      await soakingAt(service, 70);
      await client.promote(ref, { actor: ada });

      expect(weight.message).toContain('70 %');
      expect((await ended(service)).outcome).toBe('promoted');
    });

    async function soakingAt(service: string, weight: number): Promise<void> {
      await until(client, service, (status) => status.paused === null && status.weight >= weight);
    }

    it('ends a soak on a person’s word', async () => {
      const service = newService();
      await client.deploy(long(service), { actor: ada });
      await soaking(service);

      await client.skipSoak({ service, namespace }, { actor: ada });

      const status = await ended(service);
      expect(status.outcome).toBe('promoted');
      expect(status.steps.find((step) => step.name.includes('50'))?.state).toBe('skipped');
    });

    it('reach a release that has only just begun: no roll back gets lost', async () => {
      const started = await Promise.all(
        Array.from({ length: 6 }, async () => {
          const service = newService();
          await client.deploy(long(service), { actor: ada });
          return { service, ack: await client.rollback({ service, namespace }, { actor: ada, reason: 'at once' }) };
        }),
      );

      for (const { service } of started) expect((await ended(service)).outcome).toBe('aborted');
    });

    it('with the same id are carried out once, and answered the same', async () => {
      const service = newService();
      await client.deploy(long(service), { actor: ada });
      await soaking(service);
      const handle = raw.workflow.getHandle(`release:${namespace}/${service}`);
      const updateId = randomUUID();
      const pause = (): Promise<MessageAck> =>
        handle.executeUpdate<MessageAck, [{ actor: Actor }]>('pause', { updateId, args: [{ actor: ada }] });

      const [one, two] = [await pause(), await pause()];

      const { events } = await client.status({ service, namespace });
      expect(one).toEqual(two);
      expect(events.filter((event) => event.type === 'paused')).toHaveLength(1);
      await rollback(service);
    });
  });

  describe('without a worker', () => {
    it('says so at once, for what a worker would have to answer', async () => {
      const service = newService();
      const taskQueue = `nobody-${service}`;
      const alone = await patient(taskQueue);
      const started = await alone.deploy(long(service), { actor: ada });
      expect(started.state).toBe('started');

      const nobody = `No worker polls the task queue ${taskQueue} at ${alone.where}.`;
      const asked = await failureOf(alone.status({ service, namespace }));
      expect(asked).toMatchObject({ code: 'no-worker', message: nobody });
      expect(asked.hint).toContain('sluice worker');
      const ref = { service, namespace };
      const told: [string, () => Promise<MessageAck>][] = [
        ['approval', () => alone.approve(ref, { actor: ada })],
        ['rejection', () => alone.reject(ref, { actor: ada })],
        ['pause', () => alone.pause(ref, { actor: ada })],
        ['resume', () => alone.resume(ref, { actor: ada })],
        ['promotion', () => alone.promote(ref, { actor: ada })],
        ['change of the weight', () => alone.setWeight(ref, { actor: ada, weight: 3 })],
        ['end of the soak', () => alone.skipSoak(ref, { actor: ada })],
        ['end of the roll back', () => alone.rollback(ref, { actor: ada, abandon: true })],
      ];
      // What becomes of it is said of each: nobody is to find an approval of last night carried out in the morning.
      const failures = await Promise.all(told.map(([, tell]) => failureOf(tell())));
      for (const [index, failure] of failures.entries()) {
        const fate = `The ${told[index]?.[0]} is carried out only if one is there by`;
        expect(failure.code).toBe('no-worker');
        expect(failure.message.replace(/\d\d:\d\d:\d\dZ/, 'THEN')).toBe(`${nobody} ${fate} THEN; later it is refused.`);
        expect(failure.hint).toBe('Start one with `sluice worker`, and send it again.');
      }
      expect(await alone.workers()).toEqual([]);
      expect((await client.workers()).length).toBeGreaterThan(0);
    });

    it("starts nothing at another program's Temporal, unless its address was chosen", async () => {
      const theirs = newService();
      await raw.workflowService.registerNamespace({
        namespace: theirs,
        workflowExecutionRetentionPeriod: msToTs('1 day'),
      });
      const { address } = stack.temporal;
      const open = async (assumed: boolean): Promise<SluiceClient> => {
        const one = await connect({ env: {}, address, namespace: theirs, timeoutMs: 10_000, assumed });
        opened.push(one);
        return one;
      };
      const found = await open(true);
      const chosen = await open(false);
      await eventually(async () => (await chosen.workers().catch(() => null)) !== null, 'the namespace is there');

      const failure = await failureOf(found.deploy(long(theirs), { actor: ada }));
      const known = await raw.connection.operatorService.listSearchAttributes({ namespace: theirs });

      expect(failure.code).toBe('no-worker');
      expect(failure.message).toContain(`Nothing of Sluice is at ${address}, namespace ${theirs}, where Temporal was`);
      expect(Object.keys(known.customAttributes ?? {}).filter((name) => name.startsWith('Sluice'))).toEqual([]);
      expect(await chosen.isStranger()).toBe(false);
      expect(await chosen.list()).toEqual([]);
      expect(await chosen.missingSearchAttributes()).toEqual(Object.keys(SEARCH_ATTRIBUTES));
      await eventually(async () => {
        await chosen.deploy(long(theirs), { actor: ada });
        return true;
      }, 'a release starts where the address was chosen');
      expect(await found.isStranger()).toBe(false);
      expect(await chosen.missingSearchAttributes()).toEqual([]);
    });

    it('does not carry out a message that nobody was there to take in time, when a worker comes', async () => {
      const service = newService();
      const taskQueue = `night-${service}`;
      const one = await connect({ env: {}, address: stack.temporal.address, taskQueue, timeoutMs: 1_500 });
      opened.push(one);
      const { workflowId } = await one.deploy(long(service), { actor: ada });
      const sent = Date.now();
      expect((await failureOf(one.pause({ service, namespace }, { actor: ada }))).code).toBe('no-worker');
      await eventually(() => Promise.resolve(Date.now() > sent + 2_500), 'its deadline is over');

      await stack.startWorker({ deps: world(), taskQueue });
      const status = await until(one, service, ({ phase }) => phase === 'soaking');

      expect(status.events.map((event) => event.type)).not.toContain('paused');
      const late = { actor: ada, deadline: sent };
      const refused = await raw.workflow
        .getHandle(workflowId)
        .executeUpdate('pause', { args: [late] })
        .catch((error: unknown) => (error as Error).cause);
      expect(refused).toMatchObject({
        type: 'TooLate',
        message: expect.stringMatching(
          /^the message is too late: it was to arrive by 20\S+Z, and it is 20\S+Z\. Nothing was done; send it again if/,
        ) as unknown,
      });
      await one.rollback({ service, namespace }, { actor: ada });
    });

    it('keeps a withdrawal from the queue at Temporal, and it is carried out before the release is started', async () => {
      const service = newService();
      const taskQueue = `queue-${service}`;
      const alone = await connect({ env: {}, address: stack.temporal.address, taskQueue, timeoutMs: 3_000 });
      opened.push(alone);
      const worker = await stack.startWorker({ deps: world(), taskQueue });
      const first = await alone.deploy(long(service), { actor: ada });
      const waiting = await alone.deploy(quick(service), { actor: ada, onConflict: 'queue' });
      const asked = { service, namespace, release: waiting.release };
      await eventually(
        async () => (await alone.list({ service, namespace })).some((one) => one.phase === 'queued'),
        'it waits',
      );
      await worker.stop();

      const ack = await alone.rollback(asked, { actor: ada, reason: 'a hunch' });
      await stack.startWorker({ deps: world(), taskQueue });

      expect(ack.message).toContain(`Release ${waiting.release} waits in the queue. That it is withdrawn is stored`);
      await eventually(async () => (await client.queue({ service, namespace })) === null, 'the queue is over', 60_000);
      expect(await failureOf(client.status(asked))).toMatchObject({ code: 'withdrawn' });
      await client.rollback({ service, namespace, release: first.release }, { actor: ada });
    });

    it('keeps a roll back at Temporal, and it is carried out when a worker comes', async () => {
      const service = newService();
      const taskQueue = `later-${service}`;
      const alone = await patient(taskQueue);
      const { release } = await alone.deploy(long(service), { actor: ada });

      const stale = await failureOf(
        alone.rollback({ service, namespace, release: 'an-older-one' }, { actor: ada, reason: 'stale' }),
      );
      const ack = await alone.rollback({ service, namespace }, { actor: ada, reason: 'a hunch' });
      await stack.startWorker({ deps: world(), taskQueue });
      const status = await until(alone, service, ({ endedAt }) => endedAt !== null);

      expect(stale).toMatchObject({ code: 'conflict' });
      expect(stale.message).toContain(`The message is for release an-older-one; the current one is ${release}.`);
      expect(ack).toMatchObject({ release, seq: 0 });
      expect(ack.message).toContain('The roll back is stored at Temporal');
      expect(status.outcome).toBe('aborted');
      expect(status.message).toContain('a hunch');
    });

    it('keeps a roll back also when a worker that died lately was thought to be there', async () => {
      const service = newService();
      const taskQueue = `gone-${service}`;
      const one = await connect({ env: {}, address: stack.temporal.address, taskQueue, timeoutMs: 1_500 });
      opened.push(one);
      const worker = await stack.startWorker({ deps: world(), taskQueue });
      await one.deploy(long(service), { actor: ada });
      await until(one, service, (status) => status.phase === 'soaking');
      await worker.stop();

      const ack = await one.rollback({ service, namespace }, { actor: ada, reason: 'a hunch' });
      await stack.startWorker({ deps: world(), taskQueue });

      expect(ack.message).toContain('The roll back is stored at Temporal');
      expect((await until(one, service, ({ endedAt }) => endedAt !== null)).outcome).toBe('aborted');
    });
  });

  describe('a namespace that is not there', () => {
    it('is named, whatever is asked', async () => {
      const lost = await connect({ env: {}, address: stack.temporal.address, namespace: 'nowhere', timeoutMs: 5_000 });
      opened.push(lost);
      const service = newService();

      for (const ask of [
        () => lost.deploy(quick(service), { actor: ada }),
        () => lost.status({ service, namespace }),
        () => lost.list(),
        () => lost.rollback({ service, namespace }, { actor: ada }),
        () => lost.workers(),
      ]) {
        const failure = await failureOf(ask());

        expect(failure.code).toBe('not-found');
        expect(failure.message).toContain('has no such namespace');
        expect(failure.message).toContain('nowhere');
      }
    });
  });

  describe('when Temporal goes away', () => {
    it('is closed without ending the process under a call that is being tried again', async () => {
      const door = await openDoor(stack.temporal.address);
      const connection = await openConnection({ address: door.address }, 5_000);
      await door.shut();
      const call = connection.withDeadline(Date.now() + 60_000, () => connection.workflowService.getSystemInfo({}));
      let failed: unknown = null;
      call.catch((error: unknown) => (failed = error));
      const broken = (): Promise<boolean> =>
        connection.untilDecided(Date.now() + 10_000).then(
          () => false,
          () => true,
        );
      await eventually(broken, 'the connection is broken');

      await connection.close();

      // The next try fails like any call; thrown in its timer instead, it would end this process.
      await eventually(() => failed !== null, 'the call under way has failed');
    });

    it('says so in one sentence', async () => {
      const door = await openDoor(stack.temporal.address);
      const one = await connect({ env: {}, address: door.address, timeoutMs: 1_500 });
      await door.shut();

      for (const ask of [() => one.list(), () => one.status({ service: 'any', namespace })]) {
        const failure = await failureOf(ask());

        expect(failure.code).toBe('unreachable');
        expect(failure.message).toBe(`Temporal does not answer at ${door.address}, namespace default.`);
      }
      await one.close();
    });
  });
});

interface Door {
  readonly address: string;
  /** Nobody gets in, and those who were in are thrown out. */
  shut(): Promise<void>;
  open(): Promise<void>;
}

/** A door to a server: a TCP proxy that can be shut and opened again at the same port. */
async function openDoor(to: string): Promise<Door> {
  const [host = '', port = ''] = to.split(':');
  const sockets = new Set<Socket>();
  let server: Server | null = null;
  let own = 0;
  const open = async (): Promise<void> => {
    const opening = createServer((inside) => {
      const outside = connectTcp(Number(port), host);
      for (const socket of [inside, outside]) {
        sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => {
          sockets.delete(socket);
          inside.destroy();
          outside.destroy();
        });
      }
      inside.pipe(outside).pipe(inside);
    });
    await new Promise<void>((resolve, reject) => {
      opening.once('error', reject);
      opening.listen(own, '127.0.0.1', resolve);
    });
    own = (opening.address() as AddressInfo).port;
    server = opening;
  };
  await open();
  return {
    address: `127.0.0.1:${own}`,
    open,
    shut: async () => {
      const shutting = server;
      server = null;
      for (const socket of sockets) socket.destroy();
      if (shutting !== null) await new Promise((resolve) => shutting.close(resolve));
    },
  };
}
