import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client, WorkflowExecutionDescription, WorkflowExecutionInfo } from '@temporalio/client';
import { defaultPayloadConverter, WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import type { Plan } from '../spec/plan-types';
import {
  KEEPS_OLD_MEMO,
  RELEASE_WORKFLOW,
  releaseQueueWorkflowId,
  releaseWorkflowId,
  SEARCH_ATTRIBUTES,
  REFUSED_MEMO,
  SIMULATED_MEMO,
  START_KEY_MEMO,
  TASK_QUEUE,
} from '../workflows/api';
import type {
  MessageAck,
  MessageBase,
  Outcome,
  Phase,
  ReleaseInput,
  ReleaseStatus,
  RollbackMessage,
  UpdateName,
} from '../workflows/api';
import type { WaitDetails } from '../workflows/activity-types';
import { SEARCH_KEYS } from '../workflows/search-attribute-keys';
import { releaseStartOptions } from '../workflows/start-options';
import type { ReleaseStartOptions } from '../workflows/start-options';
import { messageOf, ReleaseError } from '../errors';
import { askWorkflow } from './ask-workflow';
import {
  isNotFound,
  isRefusedByTemporal,
  isUnanswered,
  isUnknownSearchAttribute,
  strangersTemporal,
  toReleaseError,
} from './client-error';
import type { PatientConnection } from './patient-connection';
import type {
  DeployOptions,
  DeployResult,
  ListOptions,
  MessageOptions,
  ReleaseSummary,
  ServiceRef,
  SluiceClient,
  WatchOptions,
  WorkerInfo,
} from './client-types';
import { expires, timeOfRefusal, withFate } from './expiry';
import { outcomeWords } from './outcome-words';
import { createQueueClient, neverStarted, waitingIn } from './queue-client';
import { newReleaseId } from './release-id';
import { ensureSearchAttributes, missingSearchAttributes, searchAttributesMissing } from './search-attributes';
import { untilHeard } from './until-heard';

export interface SluiceClientParts {
  readonly client: Client;
  readonly connection: PatientConnection;
  readonly where: string;
  readonly timeoutMs: number;
  readonly taskQueue?: string;
  /** See `ConnectSettings`. */
  readonly assumed?: boolean;
}

const WATCH_EVERY_MS = 500;

/** A worker's long poll takes a minute; one that has not polled for longer is gone. */
const POLLER_FRESH_MS = 75_000;

const LIST_LIMIT = 50;

/** A worker that is there answers in milliseconds; after this it is worth a question whether there is one. */
const SOON_MS = 700;

/** A run that went on as another one is not a release of its own. */
const NOT_CONTINUED = `ExecutionStatus != 'ContinuedAsNew'`;

/** Over a connection that stands; `connect` makes both. */
export function createSluiceClient(parts: SluiceClientParts): SluiceClient {
  const { client, connection, where, timeoutMs } = parts;
  const taskQueue = parts.taskQueue ?? TASK_QUEUE;
  const { namespace } = client.options;
  let prepared: Promise<void> | null = null;
  const underWay = new Set<Promise<unknown>>();
  const closing = new AbortController();

  /** Notes a call until it has ended, so that the connection is not closed under it. */
  function noted<T>(call: Promise<T>): Promise<T> {
    underWay.add(call);
    const ended = (): boolean => underWay.delete(call);
    call.then(ended, ended);
    return call;
  }

  /** A question Temporal answers by itself, without a worker; its failure in the domain's words. */
  async function askTemporal<T>(subject: string, question: () => Promise<T>): Promise<T> {
    try {
      return await noted(
        connection.withAbortSignal(until([closing.signal]), () =>
          connection.withDeadline(Date.now() + timeoutMs, question),
        ),
      );
    } catch (error) {
      throw toReleaseError(error, { where, subject });
    }
  }

  /** A question that a worker answers. Where none is, that is said after a moment, and not only at the deadline. */
  async function ask<T>(subject: string, question: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const over = new AbortController();
    const ended = until([over.signal, closing.signal, ...(signal === undefined ? [] : [signal])]);
    const asked = noted(
      connection.withAbortSignal(ended, () => connection.withDeadline(Date.now() + timeoutMs, question)),
    );
    try {
      return await Promise.race([asked, nobodyThere(ended)]);
    } catch (error) {
      if (isUnanswered(error)) throw await unanswered(error, subject);
      throw toReleaseError(error, { where, subject });
    } finally {
      over.abort();
      // The loser of the race: its failure is no news any more.
      asked.catch(() => undefined);
    }
  }

  /** Rejects when nobody polls the task queue, and otherwise never settles. */
  async function nobodyThere(ended: AbortSignal): Promise<never> {
    await rest(SOON_MS, ended);
    const workers = ended.aborted ? null : await sluice.workers().catch(() => null);
    if (workers?.length === 0) throw noWorker(taskQueue, where);
    return new Promise<never>(() => undefined);
  }

  /** Temporal holds the question, but gave no answer in time: is anybody there to work on it? */
  async function unanswered(error: unknown, subject: string): Promise<ReleaseError> {
    const workers = await sluice.workers().catch(() => null);
    if (workers === null) return toReleaseError(error, { where, subject });
    if (workers.length === 0) return noWorker(taskQueue, where, error);
    const seen = Math.max(...workers.map((worker) => worker.lastSeen ?? 0));
    const ago =
      seen === 0 ? '' : ` Its worker was last seen ${Math.max(0, Math.round((Date.now() - seen) / 1000))} s ago.`;
    return new ReleaseError('timeout', `${subject} did not answer within ${timeoutMs / 1000} s.${ago}`, {
      hint: 'The worker may be gone or overloaded, or the release stuck on an error: look at it in the Temporal UI.',
      cause: error,
    });
  }

  async function prepare(): Promise<void> {
    prepared ??= prepareOurs().catch((error: unknown) => {
      prepared = null;
      throw error;
    });
    await prepared;
  }

  async function prepareOurs(): Promise<void> {
    if (await sluice.isStranger()) throw strangersTemporal(where);
    await ensureSearchAttributes(connection, namespace);
  }

  /** The last run of a release that is not its service's newest; one release may be several runs. */
  async function findRun(ref: ServiceRef, release: string): Promise<string> {
    const query = [
      `WorkflowId = '${quoted(releaseWorkflowId(ref.namespace, ref.service))}'`,
      `${SEARCH_KEYS.release.name} = '${quoted(release)}'`,
      NOT_CONTINUED,
    ].join(' AND ');
    try {
      for await (const info of client.workflow.list({ query, pageSize: 1 })) return info.runId;
    } catch (error) {
      // A namespace without them has never had a release.
      if (!isUnknownSearchAttribute(error)) throw error;
    }
    throw new ReleaseError('not-found', `There is no release ${release} of ${nameOf(ref)} at ${where}.`, {
      hint: `See \`sluice list ${nameOf(ref)}\` for those there are.`,
    });
  }

  /**
   * A release's status. `knownRun` is a run of it seen before: it is asked where a newer release has taken the
   * service's id, because lists are a little late.
   */
  async function look(ref: ServiceRef, more: { knownRun?: string; signal?: AbortSignal } = {}): Promise<ReleaseStatus> {
    const newest = await ask(nameOf(ref), () => lookAt(ref), more.signal);
    if (ref.release === undefined || newest.release === ref.release) return newest;
    const wanted = ref.release;
    if (more.knownRun !== undefined) {
      const known = await ask(nameOf(ref), () => lookAt(ref, more.knownRun), more.signal);
      if (known.endedAt !== null) return known;
    }
    try {
      const run = await findStarted(ref, wanted);
      return await ask(nameOf(ref), () => lookAt(ref, run), more.signal);
    } catch (error) {
      if (!(error instanceof ReleaseError) || error.code !== 'not-found') throw error;
      // It may have left the queue meanwhile, and be the service's newest now, which no list shows yet.
      const begun = await ask(nameOf(ref), () => lookAt(ref), more.signal);
      if (begun.release === wanted) return begun;
      throw error;
    }
  }

  /** Where a release is not to be found, it may wait in the queue, or have lost its place there. */
  async function findStarted(ref: ServiceRef, release: string): Promise<string> {
    try {
      return await askTemporal(nameOf(ref), () => findRun(ref, release));
    } catch (error) {
      if (!(error instanceof ReleaseError) || error.code !== 'not-found') throw error;
      const queue = await queues.last(ref);
      const dropped = queue?.dropped?.find((one) => one.release === release);
      if (dropped !== undefined) throw neverStarted(ref, dropped, error);
      if (queue?.waiting.some((one) => one.release === release) === true) {
        const { trouble } = queue;
        const why = trouble
          ? `cannot be started (try ${trouble.tries}): ${trouble.message}`
          : 'waits for the running one to end.';
        throw new ReleaseError('queued', `Release ${release} of ${nameOf(ref)} ${why}`, {
          hint: `See \`sluice status ${nameOf(ref)}\` for the one that runs.`,
          cause: error,
        });
      }
      throw error;
    }
  }

  /** What one run says, and what Temporal knows of its end where that came from outside and it could not say so. */
  async function lookAt(ref: ServiceRef, runId?: string): Promise<ReleaseStatus> {
    const handle = client.workflow.getHandle(releaseWorkflowId(ref.namespace, ref.service), runId);
    const [status, info] = await Promise.all([askWorkflow<ReleaseStatus>(handle, 'status'), handle.describe()]);
    if (status.endedAt !== null || info.runId !== status.runId) return status;
    if (!endedFromOutside(info)) {
      const waits = waitOf(info);
      if (waits !== null) return { ...status, message: `${status.message} ${waits}`, waits };
      const trouble = troubleOf(info);
      return trouble === null ? status : { ...status, message: trouble.sentence, trouble: trouble.why };
    }
    return {
      ...status,
      phase: 'failed',
      outcome: 'failed',
      endedAt: info.closeTime?.getTime() ?? Date.now(),
      message: `The workflow was ended at Temporal (${info.status.name.toLowerCase().replace('_', ' ')}) and could take nothing back: the target is as it was left, with weight ${status.weight} %.`,
    };
  }

  async function send(
    ref: ServiceRef,
    update: UpdateName,
    { message, options }: { message: MessageBase; options: MessageOptions | undefined },
  ): Promise<MessageAck> {
    const handle = client.workflow.getHandle(releaseWorkflowId(ref.namespace, ref.service));
    // One id for all tries: what was carried out and not answered is not carried out twice.
    const updateId = options?.updateId ?? randomUUID();
    const sentAt = Date.now();
    let deadline = sentAt + timeoutMs;
    let clocksAgree = true;
    try {
      return await ask(nameOf(ref), async () => {
        for (;;) {
          const meant = { ...bound(ref, message), ...(expires(update, message) ? { deadline } : {}) };
          try {
            return await untilHeard(() =>
              handle.executeUpdate<MessageAck, [MessageBase]>(update, { args: [meant], updateId }),
            );
          } catch (error) {
            const theirs = timeOfRefusal(error);
            if (theirs !== null && clocksAgree) {
              clocksAgree = false;
              deadline = theirs + sentAt + timeoutMs - Date.now();
              continue;
            }
            throw isNotFound(error) ? await notRunning(ref, error) : error;
          }
        }
      });
    } catch (error) {
      throw expires(update, message) ? withFate(error, update, deadline) : error;
    }
  }

  /** One that only waits is withdrawn; null where it does not wait. */
  async function withdraw(ref: ServiceRef, message: RollbackMessage): Promise<MessageAck | null> {
    const { release } = bound(ref, message);
    return release === undefined || message.abandon === true ? null : queues.withdraw(ref, release, message);
  }

  /** A signal is kept by Temporal until somebody works on it; a roll back must not get lost for want of a worker. */
  async function leaveRollback(ref: ServiceRef, message: RollbackMessage, why: ReleaseError): Promise<MessageAck> {
    return askTemporal(nameOf(ref), async () => {
      const workflowId = releaseWorkflowId(ref.namespace, ref.service);
      const found = await client.workflow.getHandle(workflowId).describe();
      if (found.status.name !== 'RUNNING') throw await notRunning(ref, why);
      const release = String(found.memo?.['release'] ?? '');
      const wanted = bound(ref, message).release;
      if (wanted !== undefined && wanted !== release) {
        const left = await queues.leaveWithdrawal(ref, wanted, message);
        if (left !== null) return left;
        throw new ReleaseError('conflict', `The message is for release ${wanted}; the current one is ${release}.`);
      }
      // To this very run: another release may begin in between.
      await client.workflow.getHandle(workflowId, found.runId).signal('rollback', {
        by: message.actor.name,
        ...(message.actor.groups === undefined ? {} : { groups: message.actor.groups }),
        ...(message.reason === undefined ? {} : { reason: message.reason }),
      });
      const when =
        why.code === 'no-worker' ? `no worker polls the task queue ${taskQueue}` : 'no worker answered in time';
      return {
        release,
        seq: 0,
        message: `The roll back is stored at Temporal, but ${when}: it is carried out as soon as one does.`,
      };
    });
  }

  /** A message for a release that is over, or for a service that never had one. */
  async function notRunning(ref: ServiceRef, cause: unknown): Promise<ReleaseError> {
    let last: ReleaseSummary;
    try {
      // Not from a list, which may be a moment behind.
      last = summaryOf(await client.workflow.getHandle(releaseWorkflowId(ref.namespace, ref.service)).describe());
    } catch (error) {
      return toReleaseError(error, { where, subject: nameOf(ref) });
    }
    return new ReleaseError(
      'conflict',
      `No release of ${nameOf(ref)} is in progress; the last one, ${last.release}, ${outcomeWords(last)}.`,
      { cause },
    );
  }

  /** What the service's newest release and its queue say in their memos; null where there is none. */
  async function newest({ namespace, service }: Plan): Promise<{ release: NewestRun | null; queue: NewestRun | null }> {
    const describe = async (workflowId: string): Promise<NewestRun | null> => {
      try {
        const { status, memo = {} } = await client.workflow.getHandle(workflowId).describe();
        return { running: status.name === 'RUNNING', memo };
      } catch (error) {
        if (isNotFound(error)) return null;
        throw error;
      }
    };
    const [release, queue] = await Promise.all([
      describe(releaseWorkflowId(namespace, service)),
      describe(releaseQueueWorkflowId(namespace, service)),
    ]);
    return { release, queue };
  }

  /** What an earlier request with the same key began. */
  async function earlierStart(plan: Plan, startKey: string | undefined): Promise<DeployResult | null> {
    if (startKey === undefined) return null;
    const { release, queue } = await newest(plan);
    const behind = release === null ? null : String(release.memo['release'] ?? 'unknown');
    const begun = { workflowId: releaseWorkflowId(plan.namespace, plan.service), repeated: true } as const;
    if (behind !== null && release?.memo[START_KEY_MEMO] === startKey) {
      return { ...begun, release: behind, state: 'started', behind: null };
    }
    const waiting =
      queue?.running === true ? waitingIn(queue.memo).find((one) => one.startKey === startKey) : undefined;
    return waiting === undefined ? null : { ...begun, release: waiting.release, state: 'queued', behind };
  }

  async function running(plan: Plan): Promise<{ release: string | null; queued: boolean; keepsOld: boolean }> {
    const found = await newest(plan);
    const [release, queue] = [found.release, found.queue].map((one) => (one?.running === true ? one.memo : null));
    return {
      release: release ? String(release['release'] ?? 'unknown') : null,
      queued: queue !== null,
      keepsOld: typeof release?.[KEEPS_OLD_MEMO] === 'number',
    };
  }

  /** False when a release runs already. */
  async function started(start: ReleaseStartOptions, input: ReleaseInput): Promise<boolean> {
    try {
      await client.workflow.start(RELEASE_WORKFLOW, { ...start, args: [input] });
      return true;
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return false;
      if (isUnknownSearchAttribute(error)) {
        throw searchAttributesMissing(namespace, Object.keys(SEARCH_ATTRIBUTES), error);
      }
      throw error;
    }
  }

  const queues = createQueueClient({ client, taskQueue, ask, askTemporal });

  const sluice: SluiceClient = {
    where,

    async deploy(plan: Plan, options: DeployOptions): Promise<DeployResult> {
      const input: ReleaseInput = {
        release: newReleaseId(plan.service),
        plan,
        startedBy: options.actor,
        ...(options.reason === undefined ? {} : { reason: options.reason }),
        ...(options.startKey === undefined ? {} : { startKey: options.startKey }),
      };
      const policy = options.onConflict ?? plan.onConflict;
      const subject = `${plan.namespace}/${plan.service}`;
      const start = releaseStartOptions(input, taskQueue);
      const result = { release: input.release, workflowId: start.workflowId };
      await askTemporal(subject, prepare);
      return askTemporal(subject, async () => {
        const earlier = await earlierStart(plan, options.startKey);
        if (earlier !== null) return earlier;
        const now = await running(plan);
        const isFree = now.release === null && !now.queued;
        if (isFree && (await started(start, input))) return { ...result, state: 'started', behind: null };
        // What has come a moment earlier, before this look or after it, may be a try of the same request.
        const other = await earlierStart(plan, options.startKey);
        if (other !== null) return other;
        const { release: behind, queued, keepsOld } = now.release === null ? await running(plan) : now;
        // A release that is promoted holds up nobody: told of the next one, it gives the old version up and ends.
        const endsKeeping = keepsOld && !queued;
        if (policy === 'reject' && !endsKeeping) {
          const which = behind === null ? `Another release of ${subject}` : `Release ${behind} of ${subject}`;
          throw new ReleaseError('conflict', `${which} is in progress${queued ? ', and others wait' : ''}.`, {
            hint: 'Wait for it, take it back with `sluice rollback`, or say --on-conflict queue or supersede.',
          });
        }
        await queues.enqueue(input, policy === 'supersede');
        return { ...result, state: 'queued', behind, ...(endsKeeping ? { endsKeeping } : {}) };
      });
    },

    status: (ref: ServiceRef) => look(ref),

    lastPlan: (ref: ServiceRef) =>
      askTemporal(nameOf(ref), async () => {
        const workflowId = releaseWorkflowId(ref.namespace, ref.service);
        try {
          // It began with its plan, which Temporal keeps: no worker is asked.
          const { history } = await connection.workflowService.getWorkflowExecutionHistory({
            namespace,
            execution: { workflowId },
            maximumPageSize: 1,
          });
          const input = history?.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0];
          return input === undefined || input === null
            ? null
            : defaultPayloadConverter.fromPayload<ReleaseInput>(input).plan;
        } catch (error) {
          if (isNotFound(error)) return null;
          throw error;
        }
      }),

    async *watch(ref: ServiceRef, options: WatchOptions = {}): AsyncIterable<ReleaseStatus> {
      const { signal, everyMs = WATCH_EVERY_MS, onTrouble } = options;
      let shown: string | null = null;
      let trouble: string | null = null;
      let pinned = ref;
      let knownRun: string | undefined;
      while (!isAborted(signal)) {
        try {
          const status = await look(pinned, {
            ...(knownRun === undefined ? {} : { knownRun }),
            ...(signal === undefined ? {} : { signal }),
          });
          // From the first look on it is this release that is watched, not whichever is the newest.
          pinned = { ...ref, release: status.release };
          knownRun = status.runId;
          trouble = null;
          const text = JSON.stringify(status);
          if (text !== shown) {
            shown = text;
            yield status;
          }
          if (status.endedAt !== null) return;
        } catch (error) {
          if (isAborted(signal)) return;
          // What was seen once is there; a list that does not name it yet is late.
          const late = knownRun !== undefined && error instanceof ReleaseError && error.code === 'not-found';
          if (!isPassing(error) && !late) throw error;
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
        NOT_CONTINUED,
        ...(options.service === undefined ? [] : [`${SEARCH_KEYS.service.name} = '${quoted(options.service)}'`]),
        ...(options.namespace === undefined ? [] : [`${SEARCH_KEYS.namespace.name} = '${quoted(options.namespace)}'`]),
        ...(options.open === true ? [`ExecutionStatus = 'Running'`] : []),
      ];
      return askTemporal('the list of releases', async () => {
        const found: ReleaseSummary[] = [];
        try {
          const query = conditions.join(' AND ');
          for await (const info of client.workflow.list({ query, pageSize: Math.min(limit, 1000) })) {
            found.push(summaryOf(info));
            if (found.length >= limit) break;
          }
        } catch (error) {
          // A namespace that does not know them has never had a release.
          if (!isUnknownSearchAttribute(error)) throw error;
        }
        const begun = new Set(found.map((one) => one.release));
        const waiting = (await queues.list(options)).filter((one) => !begun.has(one.release));
        return [...found, ...waiting].sort((a, b) => b.startedAt - a.startedAt).slice(0, limit);
      });
    },

    queue: (ref) => queues.running(ref),

    approve: (ref, message, options) => send(ref, 'approve', { message, options }),
    reject: (ref, message, options) => send(ref, 'reject', { message, options }),
    pause: (ref, message, options) => send(ref, 'pause', { message, options }),
    resume: (ref, message, options) => send(ref, 'resume', { message, options }),
    promote: (ref, message, options) => send(ref, 'promote', { message, options }),
    setWeight: (ref, message, options) => send(ref, 'setWeight', { message, options }),
    skipSoak: (ref, message, options) => send(ref, 'skipSoak', { message, options }),

    async rollback(ref: ServiceRef, message: RollbackMessage, options?: MessageOptions): Promise<MessageAck> {
      try {
        return await send(ref, 'rollback', { message, options });
      } catch (error) {
        if (error instanceof ReleaseError && (error.code === 'conflict' || error.code === 'not-found')) {
          const withdrawn = await withdraw(ref, message);
          if (withdrawn !== null) return withdrawn;
        }
        const unheard = error instanceof ReleaseError && (error.code === 'no-worker' || error.code === 'timeout');
        if (!unheard || message.abandon === true) throw error;
        return leaveRollback(ref, message, error);
      }
    },

    async workers(): Promise<WorkerInfo[]> {
      const seen = new Map<string, number | null>();
      for (const taskQueueType of [
        temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
      ]) {
        const { pollers } = await askTemporal(`the task queue ${taskQueue}`, () =>
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

    missingSearchAttributes: () =>
      askTemporal(`the namespace ${namespace}`, async () => {
        try {
          return await missingSearchAttributes(connection, namespace);
        } catch (error) {
          if (isRefusedByTemporal(error)) return null;
          throw error;
        }
      }),

    async isStranger(): Promise<boolean> {
      if (parts.assumed !== true || (await sluice.workers()).length > 0) return false;
      // One with permissions is no program's own; what may be done there it says itself.
      return (await sluice.missingSearchAttributes())?.length === Object.keys(SEARCH_ATTRIBUTES).length;
    },

    close: async () => {
      closing.abort();
      await Promise.allSettled(underWay);
      await connection.close();
    },
  };

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
  return error instanceof ReleaseError && ['unreachable', 'no-worker', 'timeout', 'queued'].includes(error.code);
}

/** A signal for one question: the SDK leaves a listener on it for every call, and a list is many. */
function until(signals: AbortSignal[]): AbortSignal {
  const signal = AbortSignal.any(signals);
  setMaxListeners(0, signal);
  return signal;
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

async function rest(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    if (signal?.aborted !== true) throw error;
  }
}

/** A message for a certain release only, where one is named. */
function bound<M extends MessageBase>(ref: ServiceRef, message: M): M {
  return ref.release === undefined || message.release !== undefined ? message : { ...message, release: ref.release };
}

function nameOf(ref: ServiceRef): string {
  return `${ref.namespace}/${ref.service}`;
}

/** Why a release stands still, where an activity is tried again and again: the workflow itself is told only at its end. */
function troubleOf(info: WorkflowExecutionDescription): { readonly sentence: string; readonly why: string } | null {
  const pending = info.raw.pendingActivities?.find((one) => (one.attempt ?? 0) > 1 && one.lastFailure?.message);
  if (pending === undefined) return null;
  const tries = (pending.attempt ?? 1) - 1;
  const why = pending.lastFailure?.message ?? '';
  const failed = `${pending.activityType?.name ?? 'An activity'} failed ${tries === 1 ? 'once' : `${tries} times`}`;
  return { sentence: `${failed} and is tried again: ${why}`, why };
}

/** What an activity waits for in the attempt that is under way: that is newer than why the one before it failed. */
function waitOf(info: WorkflowExecutionDescription): string | null {
  for (const { attempt, heartbeatDetails } of info.raw.pendingActivities ?? []) {
    const payload = heartbeatDetails?.payloads?.[0];
    if (payload === undefined) continue;
    const said = defaultPayloadConverter.fromPayload<Partial<WaitDetails> | null>(payload);
    if (said?.attempt === attempt && typeof said?.waits === 'string') return said.waits;
  }
  return null;
}

/** Temporal's query language quotes with single quotes and escapes with a backslash. */
function quoted(text: string): string {
  return text.replace(/[\\']/g, (character) => `\\${character}`);
}

/** What the last run under a workflow's id says without a worker. */
interface NewestRun {
  readonly running: boolean;
  readonly memo: Record<string, unknown>;
}

/** What a list and a description of a workflow have in common, as far as it is read here. */
type KnownRun = Pick<
  WorkflowExecutionInfo,
  'workflowId' | 'runId' | 'status' | 'startTime' | 'typedSearchAttributes' | 'memo'
> & { readonly closeTime?: Date | undefined };

/** Terminated, timed out or failed: a release ends otherwise by itself, also when it is cancelled. */
function endedFromOutside({ status }: Pick<KnownRun, 'status'>): boolean {
  return status.name === 'TERMINATED' || status.name === 'TIMED_OUT' || status.name === 'FAILED';
}

function summaryOf(info: KnownRun): ReleaseSummary {
  const attributes = info.typedSearchAttributes;
  const stopped = endedFromOutside(info);
  return {
    release: attributes.get(SEARCH_KEYS.release) ?? '',
    service: attributes.get(SEARCH_KEYS.service) ?? '',
    namespace: attributes.get(SEARCH_KEYS.namespace) ?? '',
    version: attributes.get(SEARCH_KEYS.version) ?? '',
    // It could not say so itself.
    phase: stopped ? 'failed' : ((attributes.get(SEARCH_KEYS.phase) ?? 'starting') as Phase),
    outcome: stopped ? 'failed' : ((attributes.get(SEARCH_KEYS.outcome) ?? null) as Outcome | null),
    weight: attributes.get(SEARCH_KEYS.weight) ?? 0,
    startedAt: startOf(info),
    endedAt: info.closeTime?.getTime() ?? null,
    workflowId: info.workflowId,
    runId: info.runId,
    ...(info.memo?.[SIMULATED_MEMO] === true ? { simulated: true } : {}),
    ...(info.memo?.[REFUSED_MEMO] === true ? { refused: true } : {}),
  };
}

/** The release's start: what a run that took over says of it, and otherwise the run's own. */
function startOf({ memo, startTime }: Pick<KnownRun, 'memo' | 'startTime'>): number {
  const startedAt = memo?.['startedAt'];
  return typeof startedAt === 'number' ? startedAt : startTime.getTime();
}
