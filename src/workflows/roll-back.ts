import { ActivityFailure } from '@temporalio/common';
import { condition } from '@temporalio/workflow';
import { compensate } from './activity-proxies';
import { ACTIVITY_FAILURES } from './activity-types';
import type { Compensation } from './api';
import { continueAsNewIfDue } from './continue-as-new';
import { endStep, enter, nextFence, publishAttributes, record, targetRef } from './run';
import type { Run } from './run';
import { causeOf } from './step-failure';

/** Between rounds of an activity that has already retried for a minute: 5 s, 10 s … 60 s. */
const RETRY_FIRST_MS = 5_000;
const RETRY_MOST_MS = 60_000;

/**
 * The recorded inverses in reverse order: traffic first, then what carried it. Goes on until all are done, however
 * long that takes, telling people; only a person's `abandon` ends it before, and then the release has failed.
 * Runs in a scope that cancellation cannot reach.
 */
export async function rollBack(run: Run): Promise<void> {
  const { state } = run;
  const cause = state.rollback;
  if (cause === null) return;
  if (state.phase !== 'rollingBack') {
    state.soak = null;
    state.approval = null;
    state.paused = null;
    enter(run, 'rollingBack');
    record(run, 'rollbackStarted', `Rolling back to ${state.stableVersion ?? 'the stable version'}: ${cause.reason}`, {
      actor: cause.actor,
      step: state.step,
      ...(cause.evidence === undefined ? {} : { evidence: cause.evidence }),
    });
    const running = state.steps[state.step];
    if (running?.state === 'running') endStep(run, 'failed', cause.reason);
  }

  for (;;) {
    const compensation = state.compensations.at(-1);
    if (compensation === undefined) break;
    await continueAsNewIfDue(run);
    if (state.wishes.abandon !== null) {
      abandon(run, state.wishes.abandon.actor.name);
      return;
    }
    await attempt(run, compensation);
  }
  state.stuck = null;
  state.weight = 0;
  state.outcome = cause.outcome;
  record(run, 'rolledBack', `Rolled back to ${state.stableVersion ?? 'the stable version'}: ${cause.reason}`, {
    actor: cause.actor,
    ...(cause.evidence === undefined ? {} : { evidence: cause.evidence }),
  });
}

async function attempt(run: Run, compensation: Compensation): Promise<void> {
  const { state } = run;
  try {
    const { sentence } = await compensate.executeWithOptions({ summary: describe(compensation) }, [
      { ...targetRef(run), fence: nextFence(run), compensation, reason: state.rollback?.reason ?? '' },
    ]);
    done(run, compensation, sentence);
  } catch (error) {
    if (!(error instanceof ActivityFailure)) throw error;
    const { type, message } = causeOf(error);
    if (type === ACTIVITY_FAILURES.fenceLost) {
      done(run, compensation, `Nothing to take back, because a later release holds the target: ${message}`);
      return;
    }
    const attempts = (state.stuck?.attempts ?? 0) + 1;
    state.stuck = { since: state.stuck?.since ?? Date.now(), message, attempts };
    // Told at the first failure and then ever more rarely, so that the story of a long outage stays readable.
    if (Number.isInteger(Math.log2(attempts))) {
      record(
        run,
        'compensationFailed',
        `The roll back cannot finish, try ${attempts} (${describe(compensation)}): ${message}`,
      );
    }
    const pause = Math.min(RETRY_FIRST_MS * 2 ** Math.min(attempts - 1, 10), RETRY_MOST_MS);
    await condition(() => state.wishes.retryNow || state.wishes.abandon !== null, pause, {
      summary: 'before the roll back is tried again',
    });
    state.wishes.retryNow = false;
  }
}

function done(run: Run, compensation: Compensation, sentence: string): void {
  const { state } = run;
  state.compensations = state.compensations.filter((one) => one !== compensation);
  state.stuck = null;
  if (compensation.op === 'restoreWeight' || compensation.op === 'restoreStable') {
    state.weight = 0;
    state.weightSince = Date.now();
    publishAttributes(run);
  }
  record(run, 'compensated', sentence);
}

function abandon(run: Run, by: string): void {
  const { state } = run;
  const left = state.compensations.map(describe).reverse().join(', ');
  state.outcome = 'failed';
  record(run, 'failed', `${by} gave up the rest of the roll back, which is left undone: ${left}.`);
}

function describe(compensation: Compensation): string {
  switch (compensation.op) {
    case 'removeCanary':
      return 'remove the canary';
    case 'restoreWeight':
      return `weight back to ${compensation.weight} %`;
    case 'restoreStable':
      return `stable back to ${compensation.version}`;
  }
}
