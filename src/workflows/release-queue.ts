import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  isCancellation,
  ParentClosePolicy,
  setHandler,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import { releaseWorkflowId } from './api';
import type { QueuedRelease, QueueStatus } from './api';
import { enqueueSignal, queueQuery, releaseEndedSignal, successorSignal } from './messages';
import { release } from './release';
import { releaseStartOptions } from './start-options';

export interface ReleaseQueueInput {
  readonly service: string;
  readonly namespace: string;
  /** Only from run to run. */
  readonly waiting?: readonly QueuedRelease[];
  readonly dropped?: QueueStatus['dropped'];
}

/** The running release says when it ends; this look is for one that cannot any more (terminated). */
const LOOK_EVERY_MS = 15_000;
const AFTER_ITS_WORD_MS = 500;
const HISTORY_LIMIT = 2_000;
const DROPPED_KEPT = 20;

/**
 * The releases of one service that wait for the running one to end; started by the first that has to wait, over when
 * none does. Each release stays a workflow of its own under the service's id, which is the lock.
 */
export async function releaseQueue(input: ReleaseQueueInput): Promise<void> {
  let waiting: QueuedRelease[] = [...(input.waiting ?? [])];
  let dropped = [...(input.dropped ?? [])];
  const announced = new Set<string>();
  let ended = false;
  let arrivals = 0;

  setHandler(enqueueSignal, (queued) => {
    if (typeof queued?.input?.release !== 'string' || !Array.isArray(queued.input.plan?.steps)) return;
    const { release } = queued.input;
    if (waiting.some((one) => one.input.release === release)) return;
    arrivals += 1;
    if (queued.supersede) {
      // The newest that supersedes makes those before it pointless: they would be rolled back at once.
      const now = waiting.map(({ input: { release, plan } }) => ({ release, version: plan.version }));
      dropped = [...dropped, ...now.map((one) => ({ ...one, supersededBy: release }))].slice(-DROPPED_KEPT);
      waiting = [];
    }
    waiting.push(queued);
  });
  setHandler(releaseEndedSignal, () => {
    ended = true;
  });
  setHandler(queueQuery, () => ({
    service: input.service,
    namespace: input.namespace,
    waiting: waiting.map(({ input: { release, plan }, supersede }) => ({ release, version: plan.version, supersede })),
    dropped,
  }));

  for (;;) {
    const next = waiting[0];
    if (next === undefined) return;
    if (workflowInfo().historyLength > HISTORY_LIMIT) {
      const { service, namespace } = input;
      await continueAsNew<typeof releaseQueue>({ service, namespace, waiting, dropped });
    }
    if (await started(next)) {
      // It may have been dropped while it was being started: then it runs, and is told to give way like any other.
      waiting = waiting.filter((one) => one !== next);
      dropped = dropped.filter((one) => one.release !== next.input.release);
      announced.clear();
      continue;
    }
    const known = arrivals;
    for (const queued of waiting.filter((one) => !announced.has(one.input.release))) {
      announced.add(queued.input.release);
      await announce(input, queued);
    }
    const pause = ended ? AFTER_ITS_WORD_MS : LOOK_EVERY_MS;
    ended = false;
    await condition(() => ended || arrivals !== known, pause, { summary: 'until the running release ends' });
  }
}

async function started({ input }: QueuedRelease): Promise<boolean> {
  try {
    await startChild(release, {
      ...releaseStartOptions(input, workflowInfo().taskQueue),
      args: [input],
      parentClosePolicy: ParentClosePolicy.ABANDON,
    });
    return true;
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return false;
    throw error;
  }
}

/** Tells the running release who waits. It may just have ended: then the next round starts the successor. */
async function announce(queue: ReleaseQueueInput, { input, supersede }: QueuedRelease): Promise<void> {
  try {
    await getExternalWorkflowHandle(releaseWorkflowId(queue.namespace, queue.service)).signal(successorSignal, {
      release: input.release,
      version: input.plan.version,
      supersede,
      actor: input.startedBy,
    });
  } catch (error) {
    // No such workflow is running any more. Whatever else it may be: only a hint was lost, and the lock is the id.
    if (isCancellation(error)) throw error;
  }
}
