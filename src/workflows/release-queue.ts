import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  allHandlersFinished,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  isCancellation,
  ParentClosePolicy,
  patched,
  setHandler,
  startChild,
  upsertMemo,
  workflowInfo,
} from '@temporalio/workflow';
import type { ChildWorkflowHandle } from '@temporalio/workflow';
import { FAILURES, releaseWorkflowId } from './api';
import type { DroppedRelease, QueuedRelease, QueueMemo, QueueStatus, WaitingRelease, WithdrawMessage } from './api';
import {
  enqueueSignal,
  queueQuery,
  releaseEndedSignal,
  rollbackSignal,
  successorSignal,
  successorWithdrawnSignal,
  withdrawSignal,
  withdrawUpdate,
} from './messages';
import { refusal } from './refusal';
import { release } from './release';
import { releaseStartOptions } from './start-options';

export interface ReleaseQueueInput {
  readonly service: string;
  readonly namespace: string;
  /** Only from run to run. */
  readonly waiting?: readonly QueuedRelease[];
  readonly dropped?: readonly DroppedRelease[];
  /** History length at which the queue continues as new; for tests, 2,000 otherwise. */
  readonly historyLimit?: number;
}

/**
 * The running release says when it ends; these looks are for one that cannot any more (terminated), and ever rarer:
 * a release may be held for days, and each costs ten events of history.
 */
const LOOK_FIRST_MS = 15_000;
const LOOK_RAREST_MS = 120_000;
const AFTER_ITS_WORD_MS = 500;
const HISTORY_LIMIT = 2_000;
const DROPPED_KEPT = 20;

/** What a queue knows; the handlers change it, the one loop acts on it. */
interface Queue {
  readonly input: ReleaseQueueInput;
  waiting: QueuedRelease[];
  dropped: DroppedRelease[];
  /** Releases the running one was told of. */
  readonly announced: Set<string>;
  /** Of those, the ones that will not come after all and of which it was not told yet. */
  withdrawn: WithdrawMessage[];
  /** The release whose start was asked of Temporal and not answered yet. */
  starting: string | null;
  /** The last one that was started: what came for it while it was being started is told to it. */
  lastStarted: { readonly release: string; readonly run: ChildWorkflowHandle<typeof release> } | null;
  /** The running release said that it ends. */
  ended: boolean;
  /** Counts what the loop has to act upon. */
  changes: number;
  /** Starts in a row that did not come about, and why where that is not the running release. */
  tries: number;
  trouble: QueueStatus['trouble'];
}

/**
 * The releases of one service that wait for the running one to end; started by the first that has to wait, over when
 * none does. Each release stays a workflow of its own under the service's id, which is the lock.
 */
export async function releaseQueue(input: ReleaseQueueInput): Promise<void> {
  const queue: Queue = {
    input,
    waiting: [...(input.waiting ?? [])],
    dropped: [...(input.dropped ?? [])],
    announced: new Set(),
    withdrawn: [],
    starting: null,
    lastStarted: null,
    ended: false,
    changes: 0,
    tries: 0,
    trouble: null,
  };
  installHandlers(queue);

  let shown = '';
  for (;;) {
    shown = showWaiting(queue, shown);
    for (const message of queue.withdrawn.splice(0)) await takeBack(queue, message);
    const next = queue.waiting[0];
    if (next === undefined) {
      // A withdrawal that came for the one just started is still being told to it.
      await condition(allHandlersFinished);
      if (queue.waiting.length === 0) return;
      continue;
    }
    if (workflowInfo().historyLength > (input.historyLimit ?? HISTORY_LIMIT)) {
      await condition(allHandlersFinished);
      await continueAsNew<typeof releaseQueue>({ ...input, waiting: queue.waiting, dropped: queue.dropped });
    }
    if (await started(queue, next)) {
      // It may have been dropped while it was being started: then it runs, and is told to give way like any other.
      queue.waiting = queue.waiting.filter((one) => one !== next);
      queue.dropped = queue.dropped.filter((one) => one.release !== next.input.release);
      queue.announced.clear();
      continue;
    }
    const known = queue.changes;
    for (const queued of queue.waiting.filter((one) => !queue.announced.has(one.input.release))) {
      queue.announced.add(queued.input.release);
      await announce(queue, queued);
    }
    const pause = queue.ended ? AFTER_ITS_WORD_MS : nextLook(queue.tries);
    if (queue.trouble) queue.trouble = { ...queue.trouble, nextTryAt: Date.now() + pause };
    queue.ended = false;
    await condition(() => queue.ended || queue.changes !== known, pause, {
      summary: 'until the running release ends',
    });
  }
}

function installHandlers(queue: Queue): void {
  setHandler(enqueueSignal, (queued) => {
    if (typeof queued?.input?.release !== 'string' || !Array.isArray(queued.input.plan?.steps)) return;
    const { release } = queued.input;
    if (queue.waiting.some((one) => one.input.release === release)) return;
    queue.changes += 1;
    if (queued.supersede) {
      // The newest that supersedes makes those before it pointless: they would be rolled back at once.
      for (const { input } of queue.waiting) {
        drop(queue, { release: input.release, version: input.plan.version, supersededBy: release });
      }
      queue.waiting = [];
    }
    queue.waiting.push({ ...queued, since: Date.now() });
  });
  setHandler(releaseEndedSignal, () => {
    queue.ended = true;
    queue.tries = 0;
  });
  setHandler(
    withdrawUpdate,
    async (message) => {
      if (queue.starting === message.release) await untilNotStarting(queue, message.release);
      // What was being started may run now.
      refuseFor(problemWithWithdrawal(queue, message));
      return { release: message.release, seq: 0, message: withdraw(queue, message) };
    },
    {
      description: 'Takes a release that only waits out of the queue.',
      validator: (message) => refuseFor(problemWithWithdrawal(queue, message)),
    },
  );
  // It cannot be refused, and whoever sent it was told that it is carried out: what runs by now is rolled back instead.
  setHandler(withdrawSignal, async (message) => {
    if (malformed(message) !== null) return;
    if (queue.starting === message.release) await untilNotStarting(queue, message.release);
    if (problemWithWithdrawal(queue, message) === null) withdraw(queue, message);
    else if (queue.lastStarted?.release === message.release) await rollBackInstead(queue.lastStarted.run, message);
  });
  setHandler(queueQuery, (): QueueStatus => ({
    service: queue.input.service,
    namespace: queue.input.namespace,
    waiting: queue.waiting.map(waitingRelease),
    dropped: queue.dropped,
    trouble: queue.trouble ?? null,
  }));
}

function waitingRelease({ input, supersede, since }: QueuedRelease): WaitingRelease {
  const { release, plan, startedBy, startKey } = input;
  const waiting = { release, version: plan.version, supersede, since: since ?? 0, by: startedBy };
  return startKey === undefined ? waiting : { ...waiting, startKey };
}

function drop(queue: Queue, dropped: DroppedRelease): void {
  queue.dropped = [...queue.dropped, dropped].slice(-DROPPED_KEPT);
}

/**
 * Whether it is started is not known before Temporal answers; it mostly runs into the lock, and waits on. Waits only where
 * there is something to wait for: whoever gives way to the main loop for nothing lets it start what is to be withdrawn.
 */
async function untilNotStarting(queue: Queue, release: string): Promise<void> {
  while (queue.starting === release) await condition(() => queue.starting !== release);
}

async function rollBackInstead(
  run: ChildWorkflowHandle<typeof release>,
  { actor: { name, groups }, reason }: WithdrawMessage,
): Promise<void> {
  await hint(() =>
    run.signal(rollbackSignal, {
      by: name,
      ...(groups === undefined ? {} : { groups }),
      ...(reason === undefined ? {} : { reason }),
    }),
  );
}

function refuseFor(problem: string | null): void {
  if (problem !== null) throw refusal(problem, FAILURES.refused);
}

/** Whatever people send: what is missing in it. */
function malformed(message: WithdrawMessage | undefined): string | null {
  if (typeof message?.release !== 'string') return 'the message does not say which release is meant.';
  return typeof message.actor?.name !== 'string' || message.actor.name === ''
    ? 'the message does not say who sends it.'
    : null;
}

function problemWithWithdrawal(queue: Queue, message: WithdrawMessage): string | null {
  const problem = malformed(message);
  if (problem !== null) return problem;
  const { release } = message;
  if (queue.waiting.some((one) => one.input.release === release)) return null;
  if (queue.lastStarted?.release === release) return `release ${release} was just started; roll it back instead.`;
  const dropped = queue.dropped.find((one) => one.release === release);
  if (dropped === undefined) return `release ${release} does not wait in the queue.`;
  return 'withdrawn' in dropped
    ? null
    : `release ${release} was dropped already: ${dropped.supersededBy} took its place.`;
}

/** Sent twice, it is answered as done. */
function withdraw(queue: Queue, message: WithdrawMessage): string {
  const { release, actor, reason = null } = message;
  const queued = queue.waiting.find((one) => one.input.release === release);
  if (queued !== undefined) {
    queue.waiting = queue.waiting.filter((one) => one !== queued);
    drop(queue, { release, version: queued.input.plan.version, withdrawn: { by: actor, reason, at: Date.now() } });
    queue.changes += 1;
    if (queue.announced.has(release)) queue.withdrawn.push(message);
  }
  const asked = queued?.supersede === true ? ' The roll back of the running one, which it asked for, goes on.' : '';
  return `Release ${release} is withdrawn from the queue; it is not started.${asked}`;
}

/** Keeps the memo as the queue is, for lists; one event of the history a change. Queues begun before have none. */
function showWaiting(queue: Queue, shown: string): string {
  const memo: QueueMemo = { waiting: queue.waiting.slice(0, 50).map(waitingRelease) };
  const text = JSON.stringify(memo);
  if (text === shown || !patched('queue-memo')) return shown;
  upsertMemo({ ...memo });
  return text;
}

async function started(queue: Queue, { input }: QueuedRelease): Promise<boolean> {
  queue.starting = input.release;
  try {
    const run = await startChild(release, {
      ...releaseStartOptions(input, workflowInfo().taskQueue),
      args: [input],
      parentClosePolicy: ParentClosePolicy.ABANDON,
    });
    queue.lastStarted = { release: input.release, run };
    queue.tries = 0;
    queue.trouble = null;
    return true;
  } catch (error) {
    if (isCancellation(error)) throw error;
    queue.tries += 1;
    // Whatever it is, those that wait must not be lost with the queue: said, and tried again.
    queue.trouble =
      error instanceof WorkflowExecutionAlreadyStartedError
        ? null
        : { message: error instanceof Error ? error.message : String(error), tries: queue.tries, nextTryAt: 0 };
    return false;
  } finally {
    queue.starting = null;
  }
}

/** 15 s, 30 s, 1 min, 2 min, and no longer. */
function nextLook(tries: number): number {
  return Math.min(LOOK_FIRST_MS * 2 ** Math.min(tries - 1, 10), LOOK_RAREST_MS);
}

/** Tells the running release who waits. It may just have ended: then the next round starts the successor. */
async function announce({ input: { namespace, service } }: Queue, { input, supersede }: QueuedRelease): Promise<void> {
  await hint(() =>
    getExternalWorkflowHandle(releaseWorkflowId(namespace, service)).signal(successorSignal, {
      release: input.release,
      version: input.plan.version,
      supersede,
      actor: input.startedBy,
    }),
  );
}

async function takeBack({ input: { namespace, service } }: Queue, { release, actor }: WithdrawMessage): Promise<void> {
  await hint(() =>
    getExternalWorkflowHandle(releaseWorkflowId(namespace, service)).signal(successorWithdrawnSignal, {
      release,
      actor,
    }),
  );
}

/** No such workflow may run any more. Whatever else it may be: only a hint was lost, and the lock is the id. */
async function hint(tell: () => Promise<void>): Promise<void> {
  try {
    await tell();
  } catch (error) {
    if (isCancellation(error)) throw error;
  }
}
