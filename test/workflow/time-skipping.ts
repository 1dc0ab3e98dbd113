import { randomUUID } from 'node:crypto';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import type { WorkflowBundleWithSourceMap } from '@temporalio/worker';
import type { WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import { findTestServer } from '../../src/devserver/find-test-server';
import { releaseStartOptions } from '../../src/workflows/start-options';
import { SEARCH_ATTRIBUTES } from '../../src/workflows/api';
import type { ReleaseInput } from '../../src/workflows/api';
import { release } from '../../src/workflows/release';
import type { Plan } from '../../src/spec/plan-types';
import type { FakeWorld } from './fake-world';

export type ReleaseHandle = WorkflowHandleWithFirstExecutionRunId<typeof release>;

/** One time-skipping server and one bundle for a test file; a worker and a task queue for each test. */
export class TimeSkipping {
  private constructor(
    readonly env: TestWorkflowEnvironment,
    private readonly bundle: WorkflowBundleWithSourceMap,
  ) {}

  static async start(): Promise<TimeSkipping> {
    Runtime.install({
      logger: new DefaultLogger('ERROR'),
      telemetryOptions: { logging: { filter: 'error', forward: {} } },
    });
    const { path } = await findTestServer({ onProgress: () => undefined });
    const env = await TestWorkflowEnvironment.createTimeSkipping({
      server: { executable: { type: 'existing-path', path } },
    });
    const bundle = await bundleWorkflowCode({
      workflowsPath: require.resolve('../../src/workflows/index.ts'),
      logger: new DefaultLogger('ERROR'),
    });
    await registerSearchAttributes(env);
    return new TimeSkipping(env, bundle);
  }

  /** Runs `act` beside a worker that hosts the workflows and the world's activities. */
  async run<T>(world: FakeWorld, act: (queue: string) => Promise<T>): Promise<T> {
    const taskQueue = `test-${randomUUID()}`;
    const worker = await Worker.create({
      connection: this.env.nativeConnection,
      taskQueue,
      workflowBundle: this.bundle,
      activities: world.activities,
      // A defect in the workflow ends the run, loudly: a task that is retried for ever would freeze the clock.
      workflowFailureErrorTypes: { '*': ['Error'] },
    } as never);
    return worker.runUntil(() => act(taskQueue));
  }

  /** Each release is of a service of its own, unless the test names the namespace. */
  async startRelease(taskQueue: string, plan: Plan, more: Partial<ReleaseInput> = {}): Promise<ReleaseHandle> {
    const own = plan.namespace === 'default' ? { ...plan, namespace: randomUUID().slice(0, 13) } : plan;
    const input: ReleaseInput = {
      release: `${plan.service}-${randomUUID().slice(0, 8)}`,
      plan: own,
      startedBy: { name: 'ada', via: 'cli' },
      ...more,
    };
    return this.env.client.workflow.start(release, { ...releaseStartOptions(input, taskQueue), args: [input] });
  }

  async stop(): Promise<void> {
    await this.env.teardown();
  }
}

/** The test server knows how to add attributes, but not how to list them. */
async function registerSearchAttributes(env: TestWorkflowEnvironment): Promise<void> {
  const types = { KEYWORD: 2, INT: 3 } as const;
  await env.connection.operatorService.addSearchAttributes({
    namespace: 'default',
    searchAttributes: Object.fromEntries(Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => [name, types[type]])),
  });
}
