import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  ParentClosePolicy,
  setHandler,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import { releaseWorkflowId } from './api';
import type { QueuedRelease } from './api';
import { enqueueSignal, queueQuery, releaseEndedSignal, successorSignal } from './messages';
import { release } from './release';
import { releaseStartOptions } from './start-options';

export interface ReleaseQueueInput {
  readonly service: string;
  readonly namespace: string;
  /** Only from run to run. */
  readonly waiting?: readonly QueuedRelease[];
}

/** The running release says when it ends; this look is for one that cannot any more (terminated). */
const LOOK_EVERY_MS = 15_000;
const AFTER_ITS_WORD_MS = 500;
const HISTORY_LIMIT = 2_000;

/**
 * The releases of one service that wait for the running one to end; started by the first that has to wait, over when
 * none does. Each release stays a workflow of its own under the service's id, which is the lock.
 */
export async function releaseQueue(input: ReleaseQueueInput): Promise<void> {
  const waiting: QueuedRelease[] = [...(input.waiting ?? [])];
  const announced = new Set<string>();
  let ended = false;

  setHandler(enqueueSignal, (queued) => {
    if (waiting.some((one) => one.input.release === queued.input.release)) return;
    // The newest that supersedes makes those before it pointless: they would be rolled back at once.
    if (queued.supersede) waiting.length = 0;
    waiting.push(queued);
  });
  setHandler(releaseEndedSignal, () => {
    ended = true;
  });
  setHandler(queueQuery, () => ({
    service: input.service,
    namespace: input.namespace,
    waiting: waiting.map(({ input: { release, plan }, supersede }) => ({ release, version: plan.version, supersede })),
  }));

  for (;;) {
    const next = waiting[0];
    if (next === undefined) return;
    if (workflowInfo().historyLength > HISTORY_LIMIT) {
      await continueAsNew<typeof releaseQueue>({ service: input.service, namespace: input.namespace, waiting });
    }
    if (await started(next)) {
      waiting.splice(waiting.indexOf(next), 1);
      announced.clear();
      continue;
    }
    for (const queued of waiting.filter((one) => !announced.has(one.input.release))) {
      announced.add(queued.input.release);
      await announce(input, queued);
    }
    const known = waiting.length;
    const pause = ended ? AFTER_ITS_WORD_MS : LOOK_EVERY_MS;
    ended = false;
    await condition(() => ended || waiting.length !== known, pause, { summary: 'until the running release ends' });
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
    // The one failure there is: no such workflow is running any more.
    if (!(error instanceof Error) || !/not found|already completed|external workflow/i.test(error.message)) throw error;
  }
}
