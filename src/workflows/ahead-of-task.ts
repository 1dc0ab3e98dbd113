import type { ActivateInput } from '@temporalio/workflow';
import { ASK_AGAIN } from './api';

/** When the workflow task began that the last activation belongs to; the module is each workflow's own. */
let taskBegan: string | null = null;
/** The state has taken in events that no workflow task has brought. */
let isAhead = false;

/**
 * A question that a worker answers by replaying a release's history, because it does not know the release yet, has all
 * events of it, those after its last workflow task included: the SDK's core (1.24) has the workflow act on them, too. If
 * a message then comes with the task that was to bring those events, it acts on a state that is ahead: a look that has
 * begun because a timer has fired is cancelled by a roll back before anybody has heard of it, and its number is spent.
 * A replay has timer and message at once, and the message first: the numbers differ, and the release is stuck for good.
 *
 * So a state that is ahead answers no question. The failure makes the worker forget it, and it replays the release from
 * its history when the task comes. Nothing of it is in the history: only who asked has to ask again.
 *
 * @throws Error with `ASK_AGAIN` as its message.
 */
export function refuseAheadOfTask({ activation }: ActivateInput): void {
  const { jobs, timestamp, isReplaying } = activation;
  if (jobs?.some(({ queryWorkflow }) => queryWorkflow !== undefined && queryWorkflow !== null) === true) {
    if (isAhead) throw new Error(ASK_AGAIN);
    return;
  }
  // Each workflow task has one time for all that it brings, and begins after the one before.
  const began = `${String(timestamp?.seconds)}.${String(timestamp?.nanos)}`;
  isAhead = isReplaying !== true && began === taskBegan;
  taskBegan = began;
}
