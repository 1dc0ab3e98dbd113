import { allHandlersFinished, condition, makeContinueAsNewFunc, workflowInfo } from '@temporalio/workflow';
import { boundKept } from './kept-measurements';
import type { release } from './release';
import type { Run } from './run';

/** Well below the server's own suggestion (4,096) and its limit (51,200), so that a burst of messages still fits. */
const HISTORY_LIMIT = 3_800;

/**
 * Temporal forgets a cancellation at continue-as-new, and the release is to end as cancelled: a roll back after one
 * keeps its run for as long as the server's limit lets it, which is days of trying.
 */
const HISTORY_LIMIT_CANCELLED = 40_000;

/** True when the history has grown so far that the next safe place should hand over to a fresh run. */
export function handOverDue(run: Run): boolean {
  const { historyLength, continueAsNewSuggested } = workflowInfo();
  if (run.cancelledHere) return historyLength >= HISTORY_LIMIT_CANCELLED;
  return historyLength >= (run.input.historyLimit ?? HISTORY_LIMIT) || continueAsNewSuggested;
}

/** The same, and nothing is under way that this run has to wait for. Long waits wake up for it. */
export function handOverPossible(run: Run): boolean {
  return handOverDue(run) && !run.telling;
}

/**
 * Hands the whole state to a fresh run when the history has grown. Called by the main loop alone, between two acts,
 * where everything the release knows is in its state. A message that arrives in the last moment makes the server
 * refuse the hand-over, and the loop is run again with it. A notification under way is not waited for, because it may
 * hang for minutes: the notifier begins no other, and the next call here hands over.
 */
export async function continueAsNewIfDue(run: Run): Promise<void> {
  if (!handOverPossible(run)) return;
  if (!allHandlersFinished()) await condition(allHandlersFinished);
  boundKept(run.state);
  // The next run's own start is not the release's: lists read when that was from here.
  const memo = { ...workflowInfo().memo, startedAt: run.state.epoch };
  await makeContinueAsNewFunc<typeof release>({ memo })({ ...run.input, carried: run.state });
}
