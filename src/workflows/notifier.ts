import { ActivityFailure } from '@temporalio/common';
import { CancellationScope, condition } from '@temporalio/workflow';
import { notifySlack } from './activity-proxies';
import { handOverDue } from './continue-as-new';
import { record } from './run';
import type { Run } from './run';
import { causeOf } from './step-failure';
import { statusOf } from './status';

/** How long a release that is over waits for its last words to be told. It holds the service's lock meanwhile. */
const LAST_WORDS_MS = 10_000;

/**
 * Tells Slack in the background: one activity at a time, so that edits cannot overtake each other; what happens
 * meanwhile is told with the next one. The release never waits for it, except briefly at its end.
 */
export function startNotifier(run: Run): void {
  const slack = run.plan.notify.slack;
  if (slack === null) return;
  // Outside of the release's scopes: the news of a cancellation is news too. Its own failures are recorded inside.
  void CancellationScope.nonCancellable(async () => {
    for (;;) {
      await condition(() => (hasNews(run) && !hasToWait(run)) || run.closing);
      if (!hasNews(run)) return;
      await tell(run, slack.channel);
    }
  });
}

export async function flushNotifications(run: Run): Promise<void> {
  if (run.plan.notify.slack !== null) {
    const told = (): boolean => !hasNews(run) && !run.telling;
    await condition(told, LAST_WORDS_MS, { summary: 'last words to Slack' });
  }
  run.closing = true;
}

/**
 * News waits where it would hold up something: the first write of a roll back leaves before it, and a hand-over to the
 * next run is not put off again and again (the next run tells it). At the end there is no next run. Nor is the end told
 * before all of it is in the state: no later news would edit the message again.
 */
function hasToWait(run: Run): boolean {
  const { rollback, phase, outcome, endedAt, keepOld } = run.state;
  // The old version may be kept for days, and the promotion is news now.
  if (outcome !== null && keepOld === null) return endedAt === null;
  return (rollback !== null && phase !== 'rollingBack') || handOverDue(run);
}

function hasNews(run: Run): boolean {
  const { events, notified } = run.state;
  return events.length > notified.upTo;
}

async function tell(run: Run, channel: string): Promise<void> {
  const { state } = run;
  const upTo = state.events.length;
  const status = { ...statusOf(run), events: [], measurements: [] };
  run.telling = true;
  try {
    state.notified.slack = await notifySlack.executeWithOptions({ summary: 'tell Slack' }, [
      { channel, message: state.notified.slack, status, news: state.events.slice(state.notified.upTo) },
    ]);
    state.notified.upTo = upTo;
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    // What could not be told is told no more (the next event edits the message with all of the status anyway); what
    // happened meanwhile is tried.
    const nothingElse = state.events.length === upTo;
    state.notified.upTo = upTo;
    state.notified.failures += 1;
    if (state.notified.failures === 1) {
      const before = state.message;
      record(run, 'notificationFailed', `Slack could not be told: ${causeOf(error).message}`);
      state.message = before;
      if (nothingElse) state.notified.upTo = state.events.length;
    }
  } finally {
    run.telling = false;
  }
}
