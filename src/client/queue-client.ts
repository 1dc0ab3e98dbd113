import type { Client } from '@temporalio/client';
import { RELEASE_QUEUE_WORKFLOW, releaseQueueWorkflowId, releaseWorkflowId } from '../workflows/api';
import type {
  DroppedRelease,
  MessageAck,
  MessageBase,
  QueuedRelease,
  QueueMemo,
  QueueStatus,
  ReleaseInput,
  WithdrawMessage,
} from '../workflows/api';
import { ReleaseError } from '../errors';
import { askWorkflow } from './ask-workflow';
import { isNotFound } from './client-error';
import type { ListOptions, ReleaseSummary, ServiceRef } from './client-types';
import { untilHeard } from './until-heard';

export interface QueueClientParts {
  readonly client: Client;
  readonly taskQueue: string;
  /** A question that a worker answers; `subject` is for its failures. */
  readonly ask: <T>(subject: string, question: () => Promise<T>) => Promise<T>;
  /** A question that Temporal answers by itself. */
  readonly askTemporal: <T>(subject: string, question: () => Promise<T>) => Promise<T>;
}

/** A service's queue: the releases that wait for the running one to end. */
export interface QueueClient {
  enqueue(input: ReleaseInput, supersede: boolean): Promise<void>;
  /** The queue, also when it is empty and over: it remembers whom it dropped. Null where there never was one. */
  last(ref: ServiceRef): Promise<QueueStatus | null>;
  /** The queue while somebody waits in it. */
  running(ref: ServiceRef): Promise<QueueStatus | null>;
  /** Takes a release that waits out of the queue; null where it does not wait, or is just being started. */
  withdraw(ref: ServiceRef, release: string, message: MessageBase): Promise<MessageAck | null>;
  /** The same where no worker answers: Temporal keeps it. Null where it is not known to wait. */
  leaveWithdrawal(ref: ServiceRef, release: string, message: MessageBase): Promise<MessageAck | null>;
  /** Those that wait, as a list of releases shows them; a little late, like every list. */
  list(options: ListOptions): Promise<ReleaseSummary[]>;
}

/** A list looks at no more queues than this; each is a service with releases that wait. */
const QUEUES_LISTED = 200;

export function createQueueClient({ client, taskQueue, ask, askTemporal }: QueueClientParts): QueueClient {
  const handleOf = (ref: ServiceRef): ReturnType<typeof client.workflow.getHandle> =>
    client.workflow.getHandle(releaseQueueWorkflowId(ref.namespace, ref.service));

  const asked = (ref: ServiceRef): Promise<QueueStatus> => askWorkflow(handleOf(ref), 'queue');

  async function last(ref: ServiceRef): Promise<QueueStatus | null> {
    return ask(nameOf(ref), () => unlessNotFound(() => asked(ref)));
  }

  return {
    async enqueue(input: ReleaseInput, supersede: boolean): Promise<void> {
      const { service, namespace } = input.plan;
      const queued: QueuedRelease = { input, supersede };
      await client.workflow.signalWithStart(RELEASE_QUEUE_WORKFLOW, {
        workflowId: releaseQueueWorkflowId(namespace, service),
        taskQueue,
        args: [{ service, namespace }],
        signal: 'enqueue',
        signalArgs: [queued],
        staticSummary: `releases of ${service} that wait`,
      });
    },

    last,

    async running(ref: ServiceRef): Promise<QueueStatus | null> {
      return ask(nameOf(ref), () =>
        unlessNotFound(async () => {
          const { status } = await handleOf(ref).describe();
          return status.name === 'RUNNING' ? await asked(ref) : null;
        }),
      );
    },

    async withdraw(ref: ServiceRef, release: string, message: MessageBase): Promise<MessageAck | null> {
      const queue = await last(ref);
      const dropped = queue?.dropped?.find((one) => one.release === release);
      if (dropped !== undefined) throw neverStarted(ref, dropped);
      if (queue?.waiting.some((one) => one.release === release) !== true) return null;
      try {
        return await ask(nameOf(ref), () =>
          untilHeard(() =>
            handleOf(ref).executeUpdate<MessageAck, [WithdrawMessage]>('withdraw', {
              args: [withdrawal(release, message)],
            }),
          ),
        );
      } catch (error) {
        // Its turn has come between the two questions: it is a release like any other now.
        if (error instanceof ReleaseError && (error.code === 'conflict' || error.code === 'not-found')) return null;
        throw error;
      }
    },

    async leaveWithdrawal(ref: ServiceRef, release: string, message: MessageBase): Promise<MessageAck | null> {
      return askTemporal(nameOf(ref), () =>
        unlessNotFound(async () => {
          const { status, memo, runId } = await handleOf(ref).describe();
          if (status.name !== 'RUNNING' || !waitingIn(memo).some((one) => one.release === release)) return null;
          await client.workflow
            .getHandle(releaseQueueWorkflowId(ref.namespace, ref.service), runId)
            .signal('withdraw', withdrawal(release, message));
          return {
            release,
            seq: 0,
            message: `Release ${release} waits in the queue. That it is withdrawn is stored at Temporal, but no worker answers: it is carried out as soon as one does, and before the release is started.`,
          };
        }),
      );
    },

    async list(options: ListOptions): Promise<ReleaseSummary[]> {
      const found: ReleaseSummary[] = [];
      const query = `WorkflowType = '${RELEASE_QUEUE_WORKFLOW}' AND ExecutionStatus = 'Running'`;
      let queues = 0;
      for await (const { workflowId, memo } of client.workflow.list({ query, pageSize: QUEUES_LISTED })) {
        const ref = readQueueId(workflowId);
        const wanted =
          ref !== null &&
          (options.service === undefined || ref.service === options.service) &&
          (options.namespace === undefined || ref.namespace === options.namespace);
        if (wanted) {
          for (const { release, version, since } of waitingIn(memo)) {
            found.push({
              ...ref,
              release,
              version,
              phase: 'queued',
              outcome: null,
              weight: 0,
              startedAt: since,
              endedAt: null,
              workflowId: releaseWorkflowId(ref.namespace, ref.service),
              runId: null,
            });
          }
        }
        queues += 1;
        if (queues >= QUEUES_LISTED) break;
      }
      return found;
    },
  };
}

/** Why a release that waited never began. */
export function neverStarted(ref: ServiceRef, dropped: DroppedRelease, cause?: unknown): ReleaseError {
  const which = `Release ${dropped.release} of ${nameOf(ref)} was`;
  if ('supersededBy' in dropped) {
    return new ReleaseError(
      'superseded',
      `${which} never started: ${dropped.supersededBy} took its place in the queue.`,
      { cause },
    );
  }
  const { by, reason } = dropped.withdrawn;
  return new ReleaseError(
    'withdrawn',
    `${which} withdrawn by ${by.name} while it waited, and never started${reason === null ? '' : `: ${reason}`}.`,
    { cause },
  );
}

function withdrawal(release: string, { actor, reason }: MessageBase): WithdrawMessage {
  return { release, actor, ...(reason === undefined ? {} : { reason }) };
}

/** Who waits, by a queue's memo. */
export function waitingIn(memo: Record<string, unknown> | undefined): QueueMemo['waiting'] {
  const waiting = memo?.['waiting' satisfies keyof QueueMemo];
  return Array.isArray(waiting) ? (waiting as QueueMemo['waiting']) : [];
}

/** The other way round of `releaseQueueWorkflowId`. */
function readQueueId(workflowId: string): { namespace: string; service: string } | null {
  const [, namespace, service] = /^release-queue:([^/]+)\/(.+)$/u.exec(workflowId) ?? [];
  return namespace === undefined || service === undefined ? null : { namespace, service };
}

async function unlessNotFound<T>(question: () => Promise<T>): Promise<T | null> {
  try {
    return await question();
  } catch (error) {
    if (isNotFound(error)) return null;
    throw error;
  }
}

function nameOf({ namespace, service }: ServiceRef): string {
  return `${namespace}/${service}`;
}
