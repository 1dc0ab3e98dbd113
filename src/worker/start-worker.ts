import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { NativeConnection, Worker } from '@temporalio/worker';
import type { WorkerOptions } from '@temporalio/worker';
import type { Logger } from 'pino';
import { createActivities } from '../activities/activities';
import type { ActivityDeps } from '../activities/deps';
import { openConnection } from '../client/connect';
import { resolveConnection } from '../client/connection-options';
import type { ConnectionSettings, TemporalAccess } from '../client/connection-options';
import { ensureSearchAttributes } from '../client/search-attributes';
import { ReleaseError } from '../errors';
import { TASK_QUEUE } from '../workflows/api';
import { createDeps } from './create-deps';
import { activityLogging } from './activity-logging';
import { clusterMetrics } from './cluster-metrics';
import { startHealthServer } from './health-server';
import type { HealthServer } from './health-server';
import { installRuntime } from './runtime';
import type { Tracing } from './tracing';
import type * as TracingModule from './tracing';
import { TRACING_ENV } from './tracing-setting';
import { PRELOADED_MODULES } from './workflow-bundle';

export interface StartWorkerOptions extends ConnectionSettings {
  readonly taskQueue?: string;
  /** Nobody has said where Temporal is: what is written to the one that is found is a warning in the log. */
  readonly assumed?: boolean;
  /** Port of the health and metrics endpoints on 127.0.0.1 (or `healthHost`); 0 for a free one, null for none. */
  readonly healthPort?: number | null;
  readonly healthHost?: string;
  /** The environment that secrets are read from by the names a plan gives; the process's own by default. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly logger?: Logger;
  /** The world the activities act in; the real one by default. */
  readonly deps?: ActivityDeps;
}

export interface RunningWorker {
  /** Settles when the worker has stopped; rejects when it stopped because it could not go on. */
  readonly stopped: Promise<void>;
  /** Finishes the activities under way (for at most `SHUTDOWN_GRACE`), then stops. May be called more than once. */
  stop(): Promise<void>;
  readonly healthUrl: string | null;
}

/** Activities are short; the longest that may be cut off is a smoke test, and that is asked again. */
const SHUTDOWN_GRACE = '10s';
const SHUTDOWN_FORCE = '20s';

const CONNECT_TIMEOUT_MS = 10_000;

/** Other commands write nothing there; a worker is how it becomes Sluice's, and says so. */
const REGISTERED_AT_DEFAULT =
  'search attributes registered at the default address, because no address is set and no sluice dev runs';

/** Releases under way rest between measurements; what runs at once is a fraction of them. */
const CONCURRENT_ACTIVITIES = 200;
const CONCURRENT_WORKFLOW_TASKS = 100;

/**
 * As many polls for workflow tasks as wait for one, by what the server says of its queue. The SDK's ten are too few for
 * 200 releases at once on a busy machine: their tasks waited 1.4 s at the median, and those that waited for longer than
 * `STICKY_TIMEOUT` were replayed, which made all others wait for longer still.
 */
const WORKFLOW_TASK_POLLS = { type: 'autoscaling', minimum: 5, initial: 10, maximum: 60 } as const;

/**
 * How long the server waits for the worker that knows a release already, before any other gets its next task. The SDK's
 * 10 s would be how late a release's next step, or a person's roll back, comes when that worker was killed; the price of
 * less is a replay of the history, now and then, by a worker that had too much to do.
 */
const STICKY_TIMEOUT = '2s';

/** The SDK would keep most heartbeats back, so that a short heartbeat timeout would be missed by a worker that lives. */
const HEARTBEAT_THROTTLE = '1s';

/**
 * The process that hosts workflows and activities.
 *
 * @throws ReleaseError `unreachable` when Temporal does not answer, `forbidden` when search attributes are missing and
 * cannot be registered from here.
 */
export async function startWorker(options: StartWorkerOptions = {}): Promise<RunningWorker> {
  const { address, namespace, options: connectionOptions } = resolveConnection(options);
  const env = options.env ?? process.env;
  const keepsStacks = readStacksSetting(env);
  const tracing = openTracing(env);
  const runtime = await installRuntime({
    ...(options.logger === undefined ? {} : { logger: options.logger }),
    metrics: typeof options.healthPort === 'number',
  });
  const registered = await prepareNamespace(connectionOptions, namespace);
  if (registered.length > 0) {
    const what = { address, temporalNamespace: namespace, searchAttributes: registered };
    if (options.assumed === true) options.logger?.warn(what, REGISTERED_AT_DEFAULT);
    else options.logger?.info(what, 'search attributes registered');
  }

  const connection = await NativeConnection.connect(connectionOptions);
  const owned = createDeps(env);
  let health: HealthServer | null = null;
  const closeAll = async (): Promise<void> => {
    await health?.close();
    owned.close();
    await tracing?.close();
    await connection.close();
  };
  try {
    const worker = await Worker.create({
      connection,
      namespace,
      taskQueue: options.taskQueue ?? TASK_QUEUE,
      ...workflowCode(tracing !== null || keepsStacks),
      activities: createActivities(options.deps ?? owned),
      ...(tracing === null ? {} : { plugins: [tracing.plugin] }),
      maxConcurrentActivityTaskExecutions: CONCURRENT_ACTIVITIES,
      maxConcurrentWorkflowTaskExecutions: CONCURRENT_WORKFLOW_TASKS,
      workflowTaskPollerBehavior: WORKFLOW_TASK_POLLS,
      stickyQueueScheduleToStartTimeout: STICKY_TIMEOUT,
      maxHeartbeatThrottleInterval: HEARTBEAT_THROTTLE,
      shutdownGraceTime: SHUTDOWN_GRACE,
      shutdownForceTime: SHUTDOWN_FORCE,
    });
    if (options.healthPort !== undefined && options.healthPort !== null) {
      health = await startHealthServer({
        port: options.healthPort,
        host: options.healthHost ?? '127.0.0.1',
        state: () => worker.getState(),
        runtimeMetricsUrl: runtime.metricsUrl,
        ownMetrics: () => clusterMetrics(owned.clusterRequests),
      });
    }
    const stopped = worker.run().finally(closeAll);
    return {
      stopped,
      stop: async () => {
        if (worker.getState() === 'RUNNING') worker.shutdown();
        await stopped;
      },
      healthUrl: health?.url ?? null,
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** For debugging: with stack traces in what a workflow throws, and in Temporal's view of what it waits for. */
const STACKS_ENV = 'SLUICE_WORKFLOW_STACKS';

type WorkflowCode = Pick<WorkerOptions, 'workflowBundle' | 'workflowsPath' | 'bundlerOptions' | 'interceptors'>;

/**
 * The bundle made at build time; beside sources (tests), for tracing, and for stack traces (see workflow-bundle.ts), the
 * worker bundles by itself.
 */
function workflowCode(asIs: boolean): WorkflowCode {
  const activity = [activityLogging];
  const codePath = join(__dirname, '..', 'workflow-bundle.js');
  if (!asIs && existsSync(codePath)) return { workflowBundle: { codePath }, interceptors: { activity } };
  return {
    bundlerOptions: { preloadModules: [...PRELOADED_MODULES] },
    workflowsPath: require.resolve('../workflows/index'),
    interceptors: { activity, workflowModules: [require.resolve('../workflows/interceptors')] },
  };
}

/** @throws ReleaseError `usage` for a setting that is not known. */
function readStacksSetting(env: Readonly<Record<string, string | undefined>>): boolean {
  const setting = env[STACKS_ENV]?.trim() ?? '';
  if (!['', 'true', 'false'].includes(setting)) {
    throw new ReleaseError('usage', `${STACKS_ENV} is "${setting}"; allowed are true and false.`);
  }
  return setting === 'true';
}

/** @throws ReleaseError `usage` for a setting that is not known. */
function openTracing(env: Readonly<Record<string, string | undefined>>): Tracing | null {
  const setting = env[TRACING_ENV]?.trim() ?? '';
  if (setting === '' || setting === 'none') return null;
  if (setting !== 'otlp') {
    throw new ReleaseError('usage', `${TRACING_ENV} is "${setting}"; allowed are otlp and none.`);
  }
  // Loaded only now: OpenTelemetry's packages cost a start most people need not pay.
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  const { createTracing } = require('./tracing') as typeof TracingModule;
  return createTracing(env);
}

async function prepareNamespace(access: TemporalAccess, namespace: string): Promise<readonly string[]> {
  const connection = await openConnection(access, CONNECT_TIMEOUT_MS);
  try {
    return await ensureSearchAttributes(connection, namespace);
  } finally {
    await connection.close();
  }
}
