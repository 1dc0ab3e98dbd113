import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client, Connection, WorkflowExecutionInfo } from '@temporalio/client';
import { defineSearchAttributeKey, WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import type { Plan } from '../spec/plan-types';
import {
  RELEASE_QUEUE_WORKFLOW,
  RELEASE_WORKFLOW,
  releaseQueueWorkflowId,
  releaseWorkflowId,
  TASK_QUEUE,
} from '../workflows/api';
import type {
  MessageAck,
  MessageBase,
  Outcome,
  Phase,
  QueuedRelease,
  QueueStatus,
  ReleaseInput,
  ReleaseStatus,
  RollbackMessage,
  UpdateName,
} from '../workflows/api';
import { releaseStartOptions } from '../workflows/start-options';
import { messageOf, ReleaseError } from '../errors';
import { isNotFound, isUnanswered, toReleaseError } from './client-error';
import type {
  DeployOptions,
  DeployResult,
  ListOptions,
  ReleaseSummary,
  ServiceRef,
  SluiceClient,
  WatchOptions,
  WorkerInfo,
} from './client-types';
import { newReleaseId } from './release-id';
import { ensureSearchAttributes } from './search-attributes';

export interface SluiceClientParts {
  readonly client: Client;
  readonly connection: Connection;
  readonly where: string;
  readonly timeoutMs: number;
  readonly taskQueue?: string;
}

const WATCH_EVERY_MS = 500;

/** A worker's long poll takes a minute; one that has not polled for longer is gone. */
const POLLER_FRESH_MS = 75_000;

const LIST_LIMIT = 50;

/** Over a connection that stands; `connect` makes both. */
export function createSluiceClient(parts: SluiceClientParts): SluiceClient {
  const { client, connection, where, timeoutMs } = parts;
  const taskQueue = parts.taskQueue ?? TASK_QUEUE;
  const { namespace } = client.options;
  let prepared: Promise<void> | null = null;

  /** One question with a deadline, its failure in the domain's words. */
  async function ask<T>(subject: string, question: () => Promise<T>): Promise<T> {
    try {
      return await connection.withDeadline(Date.now() + timeoutMs, question);
    } catch (error) {
      if (isUnanswered(error)) throw await unanswered(error, subject);
      throw toReleaseError(error, { where, subject });
    }
  }

  /** Temporal holds the question, but gave no answer in time: is anybody there to work on it? */
  async function unanswered(error: unknown, subject: string): Promise<ReleaseError> {
    const workers = await sluice.workers().catch(() => null);
    if (workers === null) return toReleaseError(error, { where, subject });
    if (workers.length === 0) return noWorker(taskQueue, where, error);
    return new ReleaseError('timeout', `${subject} did not answer within ${timeoutMs / 1000} s.`, {
      hint: 'Its worker may be overloaded, or the release stuck on an error: look at it in the Temporal UI.',
      cause: error,
    });
  }

  async function prepare(): Promise<void> {
    prepared ??= ensureSearchAttributes(connection, namespace).catch((error: unknown) => {
      prepared = null;
      throw error;
    });
    await prepared;
  }

  /** The run that knows a release that is not its service's newest; one release may be several runs. */
  async function findRun(ref: ServiceRef, release: string): Promise<string> {
    const workflowId = releaseWorkflowId(ref.namespace, ref.service);
    const query = `WorkflowId = '${quoted(workflowId)}' AND SluiceRelease = '${quoted(release)}'`;
    for await (const info of client.workflow.list({ query, pageSize: 1 })) return info.runId;
    throw new ReleaseError('not-found', `There is no release ${release} of ${nameOf(ref)} at ${where}.`, {
      hint: `See \`sluice list --service ${ref.service}\` for those there are.`,
    });
  }

  async function send(ref: ServiceRef, update: UpdateName, message: MessageBase): Promise<MessageAck> {
    const bound = ref.release === undefined ? message : { ...message, release: message.release ?? ref.release };
    const handle = client.workflow.getHandle(releaseWorkflowId(ref.namespace, ref.service));
    return ask(nameOf(ref), async () => {
      try {
        return await handle.executeUpdate<MessageAck, [MessageBase]>(update, { args: [bound], updateId: randomUUID() });
      } catch (error) {
        if (isNotFound(error)) throw await notRunning(ref, error);
        throw error;
      }
    });
  }

  /** A message for a release that is over, or for a service that never had one. */
  async function notRunning(ref: ServiceRef, cause: unknown): Promise<ReleaseError> {
    const [last] = await sluice.list({ service: ref.service, namespace: ref.namespace, limit: 1 });
    if (last === undefined) return toReleaseError(cause, { where, subject: nameOf(ref) });
    return new ReleaseError(
      'conflict',
      `No release of ${nameOf(ref)} is in progress; the last one, ${last.release}, ended as ${last.outcome ?? last.phase}.`,
      { cause },
    );
  }

  async function running(plan: Plan): Promise<{ release: string | null; queued: boolean }> {
    const describe = async (workflowId: string): Promise<Record<string, unknown> | null> => {
      try {
        const found = await client.workflow.getHandle(workflowId).describe();
        return found.status.name === 'RUNNING' ? (found.memo ?? {}) : null;
      } catch (error) {
        if (isNotFound(error)) return null;
        throw error;
      }
    };
    const [release, queue] = await Promise.all([
      describe(releaseWorkflowId(plan.namespace, plan.service)),
      describe(releaseQueueWorkflowId(plan.namespace, plan.service)),
    ]);
    return { release: release === null ? null : String(release['release'] ?? 'unknown'), queued: queue !== null };
  }

  async function enqueue(input: ReleaseInput, supersede: boolean): Promise<void> {
    const { service, namespace: ns } = input.plan;
    const queued: QueuedRelease = { input, supersede };
    await client.workflow.signalWithStart(RELEASE_QUEUE_WORKFLOW, {
      workflowId: releaseQueueWorkflowId(ns, service),
      taskQueue,
      args: [{ service, namespace: ns }],
      signal: 'enqueue',
      signalArgs: [queued],
      staticSummary: `releases of ${service} that wait`,
    });
  }

  const sluice: SluiceClient = {
    where,

    async deploy(plan: Plan, options: DeployOptions): Promise<DeployResult> {
      const input: ReleaseInput = {
        release: newReleaseId(plan.service),
        plan,
        startedBy: options.actor,
        ...(options.reason === undefined ? {} : { reason: options.reason }),
      };
      const policy = options.onConflict ?? plan.onConflict;
      const subject = `${plan.namespace}/${plan.service}`;
      const start = releaseStartOptions(input, taskQueue);
      const result = { release: input.release, workflowId: start.workflowId };
      await ask(subject, prepare);
      return ask(subject, async () => {
        const now = await running(plan);
        if (now.release === null && !now.queued) {
          try {
            await client.workflow.start(RELEASE_WORKFLOW, { ...start, args: [input] });
            return { ...result, state: 'started', behind: null };
          } catch (error) {
            if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
          }
        }
        const behind = (await running(plan)).release ?? now.release;
        if (policy === 'reject') {
          throw new ReleaseError(
            'conflict',
            `Release ${behind ?? 'that waits in the queue'} of ${subject} is in progress.`,
            {
              hint: 'Wait for it, take it back with `sluice rollback`, or say --on-conflict queue or supersede.',
            },
          );
        }
        await enqueue(input, policy === 'supersede');
        return { ...result, state: 'queued', behind };
      });
    },

    async status(ref: ServiceRef): Promise<ReleaseStatus> {
      const workflowId = releaseWorkflowId(ref.namespace, ref.service);
      return ask(nameOf(ref), async () => {
        const newest = await client.workflow.getHandle(workflowId).query<ReleaseStatus>('status');
        if (ref.release === undefined || newest.release === ref.release) return newest;
        return client.workflow.getHandle(workflowId, await findRun(ref, ref.release)).query<ReleaseStatus>('status');
      });
    },

    async *watch(ref: ServiceRef, options: WatchOptions = {}): AsyncIterable<ReleaseStatus> {
      const { signal, everyMs = WATCH_EVERY_MS, onTrouble } = options;
      let shown: string | null = null;
      let trouble: string | null = null;
      let pinned = ref;
      while (signal?.aborted !== true) {
        try {
          const status = await sluice.status(pinned);
          // From the first look on it is this release that is watched, not whichever is the newest.
          pinned = { ...ref, release: status.release };
          trouble = null;
          const text = JSON.stringify(status);
          if (text !== shown) {
            shown = text;
            yield status;
          }
          if (status.outcome !== null) return;
        } catch (error) {
          if (!isPassing(error)) throw error;
          const sentence = messageOf(error);
          if (sentence !== trouble) onTrouble?.(sentence);
          trouble = sentence;
        }
        await rest(everyMs, signal);
      }
    },

    async list(options: ListOptions = {}): Promise<ReleaseSummary[]> {
      const limit = options.limit ?? LIST_LIMIT;
      const conditions = [
        `WorkflowType = '${RELEASE_WORKFLOW}'`,
        // A run that went on as another one is not a release of its own.
        `ExecutionStatus != 'ContinuedAsNew'`,
        ...(options.service === undefined ? [] : [`SluiceService = '${quoted(options.service)}'`]),
        ...(options.namespace === undefined ? [] : [`SluiceNamespace = '${quoted(options.namespace)}'`]),
        ...(options.open === true ? [`ExecutionStatus = 'Running'`] : []),
      ];
      await ask('the list of releases', prepare);
      return ask('the list of releases', async () => {
        const found: ReleaseSummary[] = [];
        for await (const info of client.workflow.list({
          query: conditions.join(' AND '),
          pageSize: Math.min(limit, 1000),
        })) {
          found.push(summaryOf(info));
          if (found.length >= limit) break;
        }
        return found.sort((a, b) => b.startedAt - a.startedAt);
      });
    },

    async queue(ref: ServiceRef): Promise<QueueStatus | null> {
      const handle = client.workflow.getHandle(releaseQueueWorkflowId(ref.namespace, ref.service));
      return ask(nameOf(ref), async () => {
        try {
          const { status } = await handle.describe();
          return status.name === 'RUNNING' ? await handle.query<QueueStatus>('queue') : null;
        } catch (error) {
          if (isNotFound(error)) return null;
          throw error;
        }
      });
    },

    approve: (ref, message) => send(ref, 'approve', message),
    reject: (ref, message) => send(ref, 'reject', message),
    pause: (ref, message) => send(ref, 'pause', message),
    resume: (ref, message) => send(ref, 'resume', message),
    promote: (ref, message) => send(ref, 'promote', message),
    setWeight: (ref, message) => send(ref, 'setWeight', message),
    skipSoak: (ref, message) => send(ref, 'skipSoak', message),

    async rollback(ref: ServiceRef, message: RollbackMessage): Promise<MessageAck> {
      try {
        return await send(ref, 'rollback', message);
      } catch (error) {
        if (!(error instanceof ReleaseError) || error.code !== 'no-worker' || message.abandon === true) throw error;
        // A signal is kept by Temporal until somebody works on it; a roll back must not get lost for want of a worker.
        await ask(nameOf(ref), () =>
          client.workflow.getHandle(releaseWorkflowId(ref.namespace, ref.service)).signal('rollback', {
            by: message.actor.name,
            ...(message.actor.groups === undefined ? {} : { groups: message.actor.groups }),
            ...(message.reason === undefined ? {} : { reason: message.reason }),
          }),
        );
        return {
          release: ref.release ?? '',
          seq: 0,
          message: `The roll back is stored at Temporal, but no worker polls the task queue ${taskQueue}: it is carried out as soon as one does.`,
        };
      }
    },

    async workers(): Promise<WorkerInfo[]> {
      const seen = new Map<string, number | null>();
      for (const taskQueueType of [
        temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
      ]) {
        const { pollers } = await askTemporal(() =>
          connection.workflowService.describeTaskQueue({ namespace, taskQueue: { name: taskQueue }, taskQueueType }),
        );
        for (const poller of pollers ?? []) {
          const at = poller.lastAccessTime?.seconds;
          const lastSeen = at === undefined || at === null ? null : Number(at) * 1000;
          if (lastSeen === null || Date.now() - lastSeen < POLLER_FRESH_MS) seen.set(poller.identity ?? '?', lastSeen);
        }
      }
      return [...seen].map(([identity, lastSeen]) => ({ identity, lastSeen }));
    },

    close: () => connection.close(),
  };

  /** A question Temporal answers by itself, without a worker. */
  async function askTemporal<T>(question: () => Promise<T>): Promise<T> {
    try {
      return await connection.withDeadline(Date.now() + timeoutMs, question);
    } catch (error) {
      throw toReleaseError(error, { where, subject: `the task queue ${taskQueue}` });
    }
  }

  return sluice;
}

/** Nobody would work on it: said, with the way out. */
export function noWorker(taskQueue: string, where: string, cause?: unknown): ReleaseError {
  return new ReleaseError('no-worker', `No worker polls the task queue ${taskQueue} at ${where}.`, {
    hint: 'Start one with `sluice worker`; what is stored at Temporal goes on then.',
    cause,
  });
}

function isPassing(error: unknown): boolean {
  return error instanceof ReleaseError && ['unreachable', 'no-worker', 'timeout'].includes(error.code);
}

async function rest(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    if (signal?.aborted !== true) throw error;
  }
}

function nameOf(ref: ServiceRef): string {
  return `${ref.namespace}/${ref.service}`;
}

/** Temporal's query language quotes with single quotes and escapes with a backslash. */
function quoted(text: string): string {
  return text.replace(/[\\']/g, (character) => `\\${character}`);
}

const keys = {
  service: defineSearchAttributeKey('SluiceService', 'KEYWORD'),
  namespace: defineSearchAttributeKey('SluiceNamespace', 'KEYWORD'),
  release: defineSearchAttributeKey('SluiceRelease', 'KEYWORD'),
  version: defineSearchAttributeKey('SluiceVersion', 'KEYWORD'),
  phase: defineSearchAttributeKey('SluicePhase', 'KEYWORD'),
  outcome: defineSearchAttributeKey('SluiceOutcome', 'KEYWORD'),
  weight: defineSearchAttributeKey('SluiceWeight', 'INT'),
};

function summaryOf(info: WorkflowExecutionInfo): ReleaseSummary {
  const attributes = info.typedSearchAttributes;
  const stopped =
    info.status.name !== 'RUNNING' && info.status.name !== 'COMPLETED' && info.status.name !== 'CANCELLED';
  return {
    release: attributes.get(keys.release) ?? '',
    service: attributes.get(keys.service) ?? '',
    namespace: attributes.get(keys.namespace) ?? '',
    version: attributes.get(keys.version) ?? '',
    // Terminated, timed out or failed from outside: it could not say so itself.
    phase: stopped ? 'failed' : ((attributes.get(keys.phase) ?? 'starting') as Phase),
    outcome: stopped ? 'failed' : ((attributes.get(keys.outcome) ?? null) as Outcome | null),
    weight: attributes.get(keys.weight) ?? 0,
    startedAt: info.startTime.getTime(),
    endedAt: info.closeTime?.getTime() ?? null,
    workflowId: info.workflowId,
    runId: info.runId,
  };
}
