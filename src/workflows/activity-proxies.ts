import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import type { RetryPolicy } from '@temporalio/common';
import { LONGEST_AFTER_OUTAGE_MS } from '../spec/after-outage';
import type { Plan } from '../spec/plan-types';
import { NON_RETRYABLE } from './activity-types';
import type { ReleaseActivities } from './activity-types';

/**
 * Timeouts and retries of every activity, chosen one by one. What they share:
 * - A retry budget is a time (`scheduleToCloseTimeout`), never a count: how often fits into it is not the point.
 * - Activities heartbeat every second, so a worker that was killed is noticed after `heartbeatTimeout`
 *   and not after the whole `startToCloseTimeout`. The next try begins at once: a step is late by that much.
 * - `TRY_CANCEL`: a roll back does not wait for a cancelled activity to agree. Its late writes are fenced.
 */
const shared = {
  cancellationType: ActivityCancellationType.TRY_CANCEL,
  heartbeatTimeout: '4s',
} as const;

const quickRetry: RetryPolicy = {
  initialInterval: '200ms',
  backoffCoefficient: 2,
  maximumInterval: '5s',
  nonRetryableErrorTypes: [...NON_RETRYABLE],
};

/** The SDK wants one to be there; every call of these activities gives its own. */
const UNLESS_GIVEN = '10m';

/** A read. Two minutes bridge an app's restart; a target that cannot be seen for longer is no place to release to. */
export const { observe } = proxyActivities<Pick<ReleaseActivities, 'observe'>>({
  ...shared,
  startToCloseTimeout: '20s',
  scheduleToCloseTimeout: '2m',
  retry: quickRetry,
});

/** Both timeouts are given with each call, from the spec's `deployTimeout`; a worker's death in it costs four seconds. */
export const { deploy } = proxyActivities<Pick<ReleaseActivities, 'deploy'>>({
  ...shared,
  startToCloseTimeout: UNLESS_GIVEN,
  retry: quickRetry,
});

/**
 * The test repeats its own requests as the spec says, and a failed test is an answer and not retried. Both timeouts are
 * given with each call: all tries with their waits.
 */
export const { smokeTest } = proxyActivities<Pick<ReleaseActivities, 'smokeTest'>>({
  ...shared,
  startToCloseTimeout: UNLESS_GIVEN,
  retry: quickRetry,
});

/** A few small writes. One minute: an instance that is away for longer cannot take part in a release. */
export const { setWeight } = proxyActivities<Pick<ReleaseActivities, 'setWeight'>>({
  ...shared,
  startToCloseTimeout: '20s',
  scheduleToCloseTimeout: '1m',
  retry: quickRetry,
});

/**
 * One look. A metric backend that hangs is bounded inside by its own timeout; one repetition fits, and then the
 * measurement is lost and said to be, which is never held against the canary.
 */
export const { measure } = proxyActivities<Pick<ReleaseActivities, 'measure'>>({
  ...shared,
  startToCloseTimeout: '30s',
  scheduleToCloseTimeout: '1m',
  retry: quickRetry,
});

/** Both timeouts are given with each call, from the plan's promote step. */
export const { promote } = proxyActivities<Pick<ReleaseActivities, 'promote'>>({
  ...shared,
  startToCloseTimeout: UNLESS_GIVEN,
  retry: quickRetry,
});

/**
 * The way back. Retried fast and for a minute here; the workflow then tells people and starts it again, without end.
 * First retry after 50 ms, because this is traffic on a failing version.
 */
export const { compensate } = proxyActivities<Pick<ReleaseActivities, 'compensate'>>({
  ...shared,
  startToCloseTimeout: '30s',
  scheduleToCloseTimeout: '1m',
  retry: { ...quickRetry, initialInterval: '50ms' },
});

/** Never on the release's way: two minutes for a Slack that limits or is away, then the next news tries again. */
export const { notifySlack } = proxyActivities<Pick<ReleaseActivities, 'notifySlack'>>({
  startToCloseTimeout: '15s',
  scheduleToCloseTimeout: '2m',
  retry: {
    initialInterval: '1s',
    backoffCoefficient: 2,
    maximumInterval: '30s',
    nonRetryableErrorTypes: [...NON_RETRYABLE],
  },
});

/** Beyond what was asked for: for two attempts on workers that died at their start, each noticed after four seconds. */
const GRACE_MS = 10_000;

/** One attempt may take the whole of a time that the spec gives, and so may all of them together. */
export function within(ms: number): { startToCloseTimeout: number; scheduleToCloseTimeout: number } {
  return { startToCloseTimeout: ms + GRACE_MS, scheduleToCloseTimeout: ms + GRACE_MS };
}

/** The whole of a promotion. After an outage it makes no pods anew before gateways are back at the API server, too. */
export function promotionTimeouts({ target }: Plan, timeoutMs: number): ReturnType<typeof within> {
  return within(target.kind === 'kubernetes' ? timeoutMs + LONGEST_AFTER_OUTAGE_MS : timeoutMs);
}

/** Nor are pods taken away before that; then there is the minute that every inverse has. */
export function removalTimeouts({ target }: Plan): { scheduleToCloseTimeout?: number } {
  return target.kind === 'kubernetes' ? { scheduleToCloseTimeout: 60_000 + LONGEST_AFTER_OUTAGE_MS } : {};
}

/** What waits for pods in Kubernetes may take as long as a deployment; elsewhere the activity's own timeouts hold. */
export function podTimeouts({ target, steps }: Plan): ReturnType<typeof within> | Record<string, never> {
  const deploy = steps.find((step) => step.kind === 'deploy');
  return target.kind === 'kubernetes' && deploy !== undefined ? within(deploy.timeoutMs + LONGEST_AFTER_OUTAGE_MS) : {};
}
