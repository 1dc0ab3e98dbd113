import { allHandlersFinished, condition, continueAsNew, workflowInfo } from '@temporalio/workflow';
import type { release } from './release';
import type { Run } from './run';

/** Well below the server's own suggestion (4,096) and its limit (51,200), so that a burst of messages still fits. */
const HISTORY_LIMIT = 3_800;

/**
 * Hands the whole state to a fresh run when the history has grown. Called by the main loop alone, between two acts,
 * where everything the release knows is in its state. A message that arrives in the last moment makes the server
 * refuse the hand-over, and the loop is run again with it.
 */
export async function continueAsNewIfDue(run: Run): Promise<void> {
  const info = workflowInfo();
  const due = info.historyLength >= (run.input.historyLimit ?? HISTORY_LIMIT) || info.continueAsNewSuggested;
  if (!due) return;
  await condition(() => allHandlersFinished() && !run.telling);
  await continueAsNew<typeof release>({ ...run.input, carried: run.state });
}
