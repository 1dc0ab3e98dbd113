import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/common';
import type {
  WorkflowHandle,
  WorkflowHandleWithFirstExecutionRunId,
  WorkflowHandleWithSignaledRunId,
} from '@temporalio/client';
import {
  isGrpcDeadlineError,
  ServiceError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import type { ActivityInterceptorsFactory, WorkerOptions, WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { isToBeAskedAgain } from '../../src/client/client-error';
import { releaseStartOptions } from '../../src/workflows/start-options';
import { releaseQueueWorkflowId, SEARCH_ATTRIBUTES } from '../../src/workflows/api';
import type { ReleaseActivities } from '../../src/workflows/activity-types';
import type { Actor, MessageAck, ReleaseInput, ReleaseStatus, UpdateName } from '../../src/workflows/api';
import { release } from '../../src/workflows/release';
import { releaseQueue } from '../../src/workflows/release-queue';
import type { Plan } from '../../src/spec/plan-types';
import { bundleWorkflows as bundle } from '../../src/worker/workflow-bundle';
import { isAtWork, isInTask } from './clock-guard';
import type { FakeWorld } from './fake-world';
import { startTestServer } from './test-server';
import type { TestServer } from './test-server';

export type ReleaseHandle = WorkflowHandleWithFirstExecutionRunId<typeof release>;

const TASK_QUEUE = 'sluice-test';
const A_DAY_MS = 24 * 3_600_000;

export const ADA: Actor = { name: 'ada', via: 'cli' };
/** Of the group that `approve()` in plans.ts asks for. */
export const ONCALL: Actor = { name: 'otto', groups: ['oncall'], via: 'cli' };

/**
 * The activities' timeouts, shorter: a hanging activity is waited for in real time, because the test server's clock
 * stands still while one runs.
 */
const SHORTER: readonly [RegExp, string][] = [
  [/heartbeatTimeout: '4s'/g, "heartbeatTimeout: '400ms'"],
  [/scheduleToCloseTimeout: '[12]m'/g, "scheduleToCloseTimeout: '1200ms'"],
  [/GRACE_MS = 10_?000/g, 'GRACE_MS = 500'],
];

/** Where a test's releases live. */
export interface Room {
  readonly namespace: string;
  readonly taskQueue: string;
}

/** The same, with a worker for the workflow that is stopped and started again. */
export interface Apart extends Room {
  stopWorkflows(): Promise<void>;
  startWorkflows(): Promise<void>;
}

/**
 * One time-skipping server, one bundle and one worker for a test file, because starting them takes longer than a
 * release. Each test has a namespace of Sluice's of its own, by which its activities find its world.
 */
export class TimeSkipping {
  readonly #worlds = new Map<string, FakeWorld>();
  #stopWorker: () => Promise<void> = () => Promise.resolve();

  #server: TestServer | undefined;
  /** The clock at the end of the last test. */
  #leftAt: number | null = null;
  /** Whether a queue was at work: see `#ensureClock`. */
  #queued = false;

  private constructor(
    readonly bundle: WorkflowBundleWithSourceMap,
    private readonly given: ReleaseActivities | null,
  ) {}

  /** `activities`: these for every release, in place of those of its test's world. */
  static async start(options: { shortTimeouts?: boolean; activities?: ReleaseActivities } = {}): Promise<TimeSkipping> {
    installRuntime();
    const bundle = await bundleWorkflows();
    const time = new TimeSkipping(
      options.shortTimeouts === true ? shorten(bundle) : bundle,
      options.activities ?? null,
    );
    await time.renew();
    return time;
  }

  get env(): TestWorkflowEnvironment {
    if (this.#server === undefined) throw new Error('The test server does not run.');
    return this.#server.env;
  }

  /** How many holds on the clock that nobody had were given back. */
  get freed(): number {
    return this.#server?.guard.freed ?? 0;
  }

  /** Another server and worker, and the clock starts anew. */
  async renew(): Promise<void> {
    await this.stop();
    this.#leftAt = null;
    this.#queued = false;
    this.#server = await startTestServer();
    await registerSearchAttributes(this.env);
    const options = { workflowBundle: this.bundle, activities: this.#activities() };
    this.#stopWorker = runWorker(await this.worker(TASK_QUEUE, options));
  }

  /**
   * The test server's clock may be held, or run away, once a workflow has ended while something of it was still at work
   * (an activity, a child): the server then miscounts who holds it. A test begins with a sound one. A queue starts its
   * releases as children that outlive it, and the miscount may show only in a later test: after one the server is
   * always another.
   */
  async #ensureClock(): Promise<void> {
    if (this.#queued) return this.renew();
    const [real, virtual] = [performance.now(), await this.env.currentTimeMs()];
    const ranAway = this.#leftAt !== null && virtual - this.#leftAt > A_DAY_MS;
    await this.env.sleep(2_500);
    const jumped = (await this.env.currentTimeMs()) - virtual > A_DAY_MS;
    const held = performance.now() - real > 2_000;
    if (ranAway || jumped || held) await this.renew();
  }

  /** Runs `act` in a namespace where the activities work on this world. */
  async run<T>(world: FakeWorld, act: (room: Room) => Promise<T>): Promise<T> {
    await this.#ensureClock();
    return this.#act(world, act);
  }

  async #act<T>(world: FakeWorld, act: (room: Room) => Promise<T>): Promise<T> {
    const namespace = `ns-${randomUUID().slice(0, 13)}`;
    this.#worlds.set(namespace, world);
    try {
      const result = await act({ namespace, taskQueue: TASK_QUEUE });
      expect(world.violations).toEqual([]);
      return result;
    } finally {
      world.release();
      this.#leftAt = await this.env.currentTimeMs();
    }
  }

  /** The same with workers of its own, so that messages and answers can pile up while the workflow's is away. */
  async runApart<T>(world: FakeWorld, act: (room: Apart) => Promise<T>): Promise<T> {
    await this.#ensureClock();
    const taskQueue = `apart-${randomUUID()}`;
    const stopActivities = runWorker(await this.worker(taskQueue, { activities: this.#activities() }));
    let stopWorkflows = (): Promise<void> => Promise.resolve();
    try {
      return await this.#act(world, ({ namespace }) =>
        act({
          namespace,
          taskQueue,
          startWorkflows: async () => {
            // Without a cache, so that nothing waits for a worker that is gone; every task is a replay, too.
            const options = { workflowBundle: this.bundle, maxCachedWorkflows: 0 };
            stopWorkflows = runWorker(await this.worker(taskQueue, options));
          },
          stopWorkflows: () => stopWorkflows(),
        }),
      );
    } finally {
      await Promise.all([stopWorkflows(), stopActivities()]);
    }
  }

  private worker(taskQueue: string, options: Partial<WorkerOptions>): Promise<Worker> {
    return Worker.create({
      connection: this.env.nativeConnection,
      taskQueue,
      identity: 'sluice-test',
      // Cancellations are heard of by heartbeats; these are to be heard of at once.
      maxHeartbeatThrottleInterval: '20ms',
      defaultHeartbeatThrottleInterval: '20ms',
      // A defect in the workflow ends the run, loudly: a task that is retried for ever would freeze the clock.
      workflowFailureErrorTypes: { '*': ['Error'] },
      interceptors: { activity: [endLateTries] },
      ...options,
    } as WorkerOptions);
  }

  /** Each call goes to the world of the release that it is for, unless all go to those that were given. */
  #activities(): ReleaseActivities {
    if (this.given !== null) return this.given;
    const worldOf = (namespace: string): ReleaseActivities => {
      const world = this.#worlds.get(namespace);
      if (world === undefined) throw new Error(`There is no world ${namespace}.`);
      return world.activities;
    };
    return {
      observe: (input) => worldOf(input.namespace).observe(input),
      deploy: (input) => worldOf(input.namespace).deploy(input),
      smokeTest: (input) => worldOf(input.namespace).smokeTest(input),
      setWeight: (input) => worldOf(input.namespace).setWeight(input),
      measure: (input) => worldOf(input.namespace).measure(input),
      promote: (input) => worldOf(input.namespace).promote(input),
      compensate: (input) => worldOf(input.namespace).compensate(input),
      notifySlack: (input) => worldOf(input.status.namespace).notifySlack(input),
    };
  }

  inputOf(room: Room, plan: Plan, more: Partial<ReleaseInput> = {}): ReleaseInput {
    const release = `${plan.service}-${randomUUID().slice(0, 8)}`;
    return { release, plan: { ...plan, namespace: room.namespace }, startedBy: ADA, ...more };
  }

  async startRelease(room: Room, plan: Plan, more: Partial<ReleaseInput> = {}): Promise<ReleaseHandle> {
    const input = this.inputOf(room, plan, more);
    return this.env.client.workflow.start(release, { ...releaseStartOptions(input, room.taskQueue), args: [input] });
  }

  /** A next release of the service, as a client hands it over to the service's queue. */
  async enqueue(
    room: Room,
    input: ReleaseInput,
    { supersede = false, historyLimit }: { supersede?: boolean; historyLimit?: number | undefined } = {},
  ): Promise<WorkflowHandleWithSignaledRunId<typeof releaseQueue>> {
    this.#queued = true;
    const { service } = input.plan;
    return this.env.client.workflow.signalWithStart(releaseQueue, {
      workflowId: releaseQueueWorkflowId(room.namespace, service),
      taskQueue: room.taskQueue,
      args: [{ service, namespace: room.namespace, ...(historyLimit === undefined ? {} : { historyLimit }) }],
      signal: 'enqueue',
      signalArgs: [{ input, supersede }],
    });
  }

  /**
   * Advances the clock in small steps until the release's status is as wanted, and answers it. The steps are odd on
   * purpose, here and wherever a test sleeps: see `quiet`, of which timers are the other half. A message at the very
   * moment at which one fires would be lost.
   */
  async until(
    handle: Pick<ReleaseHandle, 'query' | 'client' | 'describe' | 'fetchHistory'>,
    wanted: (status: ReleaseStatus) => boolean,
    stepMs = 4_321,
  ): Promise<ReleaseStatus> {
    for (let steps = 0; ; steps += 1) {
      await this.quiet(handle);
      const status = await statusOf(handle);
      if (wanted(status)) return status;
      if (steps > 600) throw new Error(`The release never became so; it is ${status.phase}: ${status.message}`);
      await this.env.sleep(stepMs);
    }
  }

  /**
   * Until the release waits for nothing but time or a person. The test server refuses the cancellation of an activity
   * that has just ended, or of a timer that has just fired (Temporal's own does not), and then loses the update that
   * came with it, or the whole workflow task: so a message that cancels something is sent when the release is quiet,
   * or from within the activity itself, and the clock moves on when it was carried out.
   */
  async quiet(handle: Pick<ReleaseHandle, 'describe' | 'fetchHistory'>): Promise<void> {
    for (let looks = 0; looks < LOOKS; looks += 1) {
      // Slack is nobody's way.
      if (!(await isAtWork(handle, ['notifySlack']))) return;
      await shortly();
    }
  }

  /**
   * How many workflow tasks the test server refused (see `quiet`). Each leaves a release behind that never goes on, and
   * with it a clock that never skips: a random test begins anew then, on another server.
   */
  get tasksLost(): number {
    return tasksLost;
  }

  async stop(): Promise<void> {
    await this.#stopWorker();
    this.#stopWorker = () => Promise.resolve();
    await this.#server?.stop();
    this.#server = undefined;
  }
}

export function statusOf(handle: Asked): Promise<ReleaseStatus> {
  return ask<ReleaseStatus>(handle, 'status');
}

export type Asked = Pick<WorkflowHandle, 'query' | 'client' | 'fetchHistory'>;

/**
 * Asks a query between two workflow tasks. The test server keeps a query that comes in the middle of
 * one among what the task's end has to carry on; when the task continues as new, it then schedules a next task of the
 * run that is over, throws, and loses the event, the query's answer and, for good, a hold on its clock
 * (`TestWorkflowMutableStateImpl.completeWorkflowTask` of sdk-java; Temporal's own server does not).
 *
 * An activity that ends just then (Slack's, which nothing waits for) begins a task that no look before can see: the
 * answer is asked for again then. A query changes nothing, and the guard gives the hold back.
 */
export async function ask<T>(handle: Asked, query: string): Promise<T> {
  const { connection } = handle.client;
  return againUntilAnswered(
    async (deadline) => {
      for (let looks = 0; looks < LOOKS && isInTask(await handle.fetchHistory()); looks += 1) await shortly();
      return connection.withDeadline(deadline(), () => handle.query<T>(query));
    },
    // To a workflow that is asked, two tasks within one moment of a clock that stands look like one (ahead-of-task.ts).
    (error) => (error instanceof ServiceError && isGrpcDeadlineError(error.cause)) || isToBeAskedAgain(error),
  );
}

/** So many looks at a workflow that is at work, `shortly` apart: ten seconds and more. */
const LOOKS = 2_000;

function shortly(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5));
}

/** The test server loses the answer to a message or query whose task continued as new: then it is asked for again. */
const ASKED_AGAIN_MS = 4_000;
/** A message that nobody has answered by then, however busy the machine is, is a defect. */
const ANSWERED_WITHIN_MS = 40_000;

/** Asks until it is answered; `isLost` knows the errors that say only that no answer came. */
async function againUntilAnswered<T>(
  once: (deadline: () => number) => Promise<T>,
  isLost: (error: unknown) => boolean,
): Promise<T> {
  const started = performance.now();
  for (;;) {
    try {
      return await once(() => Date.now() + ASKED_AGAIN_MS);
    } catch (error) {
      if (!isLost(error) || performance.now() - started > ANSWERED_WITHIN_MS) throw error;
    }
  }
}

/**
 * Sends a message as a person would, and waits for its answer. Asking again is for the answer alone: a message is known by
 * its id, in the same run and in those that follow it, and carried out once.
 */
export async function send(
  handle: Pick<ReleaseHandle, 'executeUpdate' | 'client'>,
  name: UpdateName,
  message: Record<string, unknown> = {},
  updateId: string = randomUUID(),
): Promise<MessageAck> {
  const args: [unknown] = [{ actor: ADA, ...message }];
  return againUntilAnswered(
    (deadline) =>
      handle.client.connection.withDeadline(deadline(), () =>
        handle.executeUpdate<MessageAck, [unknown]>(name, { args, updateId }),
      ),
    (error) => error instanceof WorkflowUpdateRPCTimeoutOrCancelledError,
  );
}

/** The refusal of a message: its type and sentence. */
export async function refusalOf(sent: Promise<unknown>): Promise<{ type: string; message: string }> {
  try {
    await sent;
  } catch (error) {
    if (!(error instanceof WorkflowUpdateFailedError) || !(error.cause instanceof ApplicationFailure)) throw error;
    return { type: error.cause.type ?? '', message: error.cause.message };
  }
  throw new Error('The message was accepted.');
}

/**
 * The test server tries an activity again for ever where its time for all tries ends on a whole second
 * (`TestServiceRetryState.getBackoffIntervalInSeconds` of sdk-java takes no nanoseconds for no end). A try that begins
 * after that time is one that Temporal's own server does not make: its failure is the last.
 */
export const endLateTries: ActivityInterceptorsFactory = ({ info }) => ({
  inbound: {
    execute: async (input, next) => {
      try {
        return await next(input);
      } catch (error) {
        const { scheduledTimestampMs, scheduleToCloseTimeoutMs, currentAttemptScheduledTimestampMs } = info;
        const isLate = currentAttemptScheduledTimestampMs > scheduledTimestampMs + scheduleToCloseTimeoutMs;
        if (!isLate || scheduleToCloseTimeoutMs === 0 || !(error instanceof ApplicationFailure)) throw error;
        throw ApplicationFailure.nonRetryable(error.message, error.type);
      }
    },
  },
});

let installed = false;
let tasksLost = 0;

/** Once for a test file: a process has one. */
export function installRuntime(): void {
  if (installed) return;
  installed = true;
  const logger = new DefaultLogger('WARN', ({ level, message, meta }) => {
    if (message === 'Error while completing workflow activation') tasksLost += 1;
    if (level === 'ERROR') console.error(message, meta);
  });
  Runtime.install({ logger, telemetryOptions: { logging: { filter: 'warn', forward: {} } } });
}

function runWorker(worker: Worker): () => Promise<void> {
  const running = worker.run();
  return async () => {
    if (worker.getState() === 'RUNNING') worker.shutdown();
    await running;
  };
}

/** As at build time. */
export function bundleWorkflows(path = '../../src/workflows/index.ts'): Promise<WorkflowBundleWithSourceMap> {
  return bundle({
    workflowsPath: require.resolve(path),
    workflowInterceptorModules: [require.resolve('../../src/workflows/interceptors.ts')],
    logger: new DefaultLogger('ERROR'),
  });
}

function shorten(bundle: WorkflowBundleWithSourceMap): WorkflowBundleWithSourceMap {
  let { code } = bundle;
  for (const [long, short] of SHORTER) {
    if (code.search(long) === -1) throw new Error(`There is no ${long.source} in the bundle any more.`);
    code = code.replace(long, short);
  }
  return { ...bundle, code };
}

/** The test server knows how to add attributes, but not how to list them. */
async function registerSearchAttributes(env: TestWorkflowEnvironment): Promise<void> {
  const types = { KEYWORD: 2, INT: 3 } as const;
  await env.connection.operatorService.addSearchAttributes({
    namespace: 'default',
    searchAttributes: Object.fromEntries(Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => [name, types[type]])),
  });
}
