import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/common';
import type { WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import { WorkflowUpdateFailedError } from '@temporalio/client';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import type { WorkerOptions, WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { findTestServer } from '../../src/devserver/find-test-server';
import { releaseStartOptions } from '../../src/workflows/start-options';
import { SEARCH_ATTRIBUTES } from '../../src/workflows/api';
import type { Actor, MessageAck, ReleaseInput, ReleaseStatus, UpdateName } from '../../src/workflows/api';
import { release } from '../../src/workflows/release';
import type { Plan } from '../../src/spec/plan-types';
import type { FakeWorld } from './fake-world';

export type ReleaseHandle = WorkflowHandleWithFirstExecutionRunId<typeof release>;

export const ADA: Actor = { name: 'ada', via: 'cli' };
/** Of the group that `approve()` in plans.ts asks for. */
export const ONCALL: Actor = { name: 'otto', groups: ['oncall'], via: 'cli' };

/**
 * The activities' timeouts, shorter: a hanging activity is waited for in real time, because the test server's clock
 * stands still while one runs.
 */
const SHORTER: readonly [RegExp, string][] = [
  [/heartbeatTimeout: '10s'/g, "heartbeatTimeout: '400ms'"],
  [/scheduleToCloseTimeout: '[12]m'/g, "scheduleToCloseTimeout: '1200ms'"],
  [/GRACE_MS = 10_?000/g, 'GRACE_MS = 500'],
];

/** The workers of a test, when it needs to stop the one that runs the workflow and start it again. */
export interface Apart {
  readonly queue: string;
  stopWorkflows(): Promise<void>;
  startWorkflows(): Promise<void>;
}

/** One time-skipping server and one bundle for a test file; a worker and a task queue for each test. */
export class TimeSkipping {
  private constructor(
    readonly env: TestWorkflowEnvironment,
    readonly bundle: WorkflowBundleWithSourceMap,
  ) {}

  static async start(options: { shortTimeouts?: boolean } = {}): Promise<TimeSkipping> {
    Runtime.install({
      logger: new DefaultLogger('ERROR'),
      telemetryOptions: { logging: { filter: 'error', forward: {} } },
    });
    const { path } = await findTestServer({ onProgress: () => undefined });
    const env = await TestWorkflowEnvironment.createTimeSkipping({
      server: { executable: { type: 'existing-path', path } },
    });
    const bundle = await bundleWorkflows();
    await registerSearchAttributes(env);
    return new TimeSkipping(env, options.shortTimeouts === true ? shorten(bundle) : bundle);
  }

  /** Runs `act` beside a worker that hosts the workflows and the world's activities. */
  async run<T>(world: FakeWorld, act: (queue: string) => Promise<T>): Promise<T> {
    const queue = `test-${randomUUID()}`;
    const worker = await this.worker(queue, { workflowBundle: this.bundle, activities: world.activities });
    const result = await worker.runUntil(() => act(queue));
    expect(world.violations).toEqual([]);
    return result;
  }

  /** The same with two workers, so that messages and answers can pile up while the workflow's is away. */
  async runApart<T>(world: FakeWorld, act: (workers: Apart) => Promise<T>): Promise<T> {
    const queue = `test-${randomUUID()}`;
    const activities = await this.worker(queue, { activities: world.activities });
    let workflows: { stop(): Promise<void> } | null = null;
    const apart: Apart = {
      queue,
      stopWorkflows: async () => {
        await workflows?.stop();
        workflows = null;
      },
      startWorkflows: async () => {
        const worker = await this.worker(queue, { workflowBundle: this.bundle });
        const running = worker.run();
        workflows = {
          stop: async () => {
            worker.shutdown();
            await running;
          },
        };
      },
    };
    try {
      const result = await activities.runUntil(() => act(apart));
      expect(world.violations).toEqual([]);
      return result;
    } finally {
      await apart.stopWorkflows();
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
      ...options,
    } as WorkerOptions);
  }

  inputOf(plan: Plan, more: Partial<ReleaseInput> = {}): ReleaseInput {
    // Each release is of a service of its own, unless the test names the namespace.
    const own = plan.namespace === 'default' ? { ...plan, namespace: randomUUID().slice(0, 13) } : plan;
    return { release: `${plan.service}-${randomUUID().slice(0, 8)}`, plan: own, startedBy: ADA, ...more };
  }

  async startRelease(taskQueue: string, plan: Plan, more: Partial<ReleaseInput> = {}): Promise<ReleaseHandle> {
    const input = this.inputOf(plan, more);
    return this.env.client.workflow.start(release, { ...releaseStartOptions(input, taskQueue), args: [input] });
  }

  /** Advances the clock in small steps until the release's status is as wanted, and answers it. */
  async until(
    handle: Pick<ReleaseHandle, 'query'>,
    wanted: (status: ReleaseStatus) => boolean,
    stepMs = 1_000,
  ): Promise<ReleaseStatus> {
    let status = await statusOf(handle);
    for (let steps = 0; !wanted(status); steps += 1) {
      if (steps > 600) throw new Error(`The release never became so; it is ${status.phase}: ${status.message}`);
      await this.env.sleep(stepMs);
      status = await statusOf(handle);
    }
    return status;
  }

  async stop(): Promise<void> {
    await this.env.teardown();
  }
}

export function statusOf(handle: Pick<ReleaseHandle, 'query'>): Promise<ReleaseStatus> {
  return handle.query<ReleaseStatus>('status');
}

/** Sends a message as a person would. */
export function send(
  handle: Pick<ReleaseHandle, 'executeUpdate'>,
  name: UpdateName,
  message: Record<string, unknown> = {},
  updateId?: string,
): Promise<MessageAck> {
  return handle.executeUpdate<MessageAck, [unknown]>(name, {
    args: [{ actor: ADA, ...message }],
    ...(updateId === undefined ? {} : { updateId }),
  });
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

export function bundleWorkflows(path = '../../src/workflows/index.ts'): Promise<WorkflowBundleWithSourceMap> {
  return bundleWorkflowCode({ workflowsPath: require.resolve(path), logger: new DefaultLogger('ERROR') });
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
