import type { ActivateInput } from '@temporalio/workflow';
import { ASK_AGAIN } from './api';

/** How the SDK's core calls a question that comes by itself, and not with a workflow task. */
const ALONE = 'legacy_query';

/** Of the last activation that brought something: when its workflow task began, and how much of the history it knew. */
let last: { readonly began: string; readonly events: number } | null = null;
/** The state has taken in events that no workflow task has brought. */
let isAhead = false;

/**
 * A question that a worker answers by replaying a release's history, because it does not know the release yet, has all
 * events of it, those after its last workflow task included: the SDK's core (1.24) has the workflow act on them, too. If
 * a message then comes with the task that was to bring those events, it acts on a state that is ahead: a look that has
 * begun because a timer has fired is cancelled by a roll back before anybody has heard of it, and its number is spent.
 * A replay has timer and message at once, and the message first: the numbers differ, and the release is stuck for good.
 *
 * So a state that is ahead answers no question that comes by itself. The failure makes the worker forget it, and it
 * replays the release from its history when the task comes. Nothing of it is in the history: only who asked has to ask
 * again. One that was ended from outside has no task to come, and nothing to be stuck with: who knows that gives the
 * question an argument, whichever.
 *
 * @throws Error with `ASK_AGAIN` as its message.
 */
export function refuseAheadOfTask({ activation }: ActivateInput): void {
  const { jobs, timestamp, isReplaying, historyLength } = activation;
  const questions = jobs?.flatMap(({ queryWorkflow }) => queryWorkflow ?? []) ?? [];
  if (questions.length > 0) {
    const alone = questions.some((one) => one.queryId === ALONE && (one.arguments ?? []).length === 0);
    if (isAhead && alone) throw new Error(ASK_AGAIN);
    return;
  }
  // Each workflow task has one time for all that it brings, and a time of its own. What it cancels may bring another
  // activation with the same time: of the same events.
  const now = { began: `${String(timestamp?.seconds)}.${String(timestamp?.nanos)}`, events: historyLength ?? 0 };
  isAhead = isReplaying !== true && last !== null && now.began === last.began && now.events > last.events;
  last = now;
}
