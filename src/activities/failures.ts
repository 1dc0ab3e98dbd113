import { cancellationSignal, log } from '@temporalio/activity';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { cutText } from '../analysis/bounded-text';
import { messageOf, ReleaseError } from '../errors';
import { SlackFailure } from '../notify/slack-failure';
import { TargetFailure } from '../targets/target';
import { ACTIVITY_FAILURES, NON_RETRYABLE } from '../workflows/activity-types';

/**
 * Names at the Temporal border: the workflow and the retry policies go by them. What a cancellation broke off is one;
 * Temporal's own failures pass as they are; a defect keeps its stack and is tried again.
 */
export function toActivityFailure(error: unknown): Error {
  const signal = cancellationSignal();
  if (signal.aborted) {
    const reason: unknown = signal.reason;
    return reason instanceof CancelledFailure ? reason : new CancelledFailure('The activity was cancelled.');
  }
  if (error instanceof TargetFailure) {
    return named(ACTIVITY_FAILURES[error.kind], error.message, error, error.retryAfterMs);
  }
  if (error instanceof SlackFailure) return ofSlack(error);
  if (error instanceof ReleaseError) return named(typeOf(error), withHint(error), error);
  return error instanceof Error ? error : new Error(messageOf(error));
}

type FailureType = (typeof ACTIVITY_FAILURES)[keyof typeof ACTIVITY_FAILURES];

/**
 * Temporal keeps 4 kB of why an activity that it tries again has failed, and of a longer failure nothing but that it was
 * too long: what a status tells meanwhile would be that. So causes and stacks, which say where in Sluice it was told, are
 * for the worker's log alone.
 */
const MESSAGE_CHARS = 2_500;

function named(type: FailureType, message: string, cause: Error, nextRetryDelay?: number): ApplicationFailure {
  log.debug('an activity failed', { type, error: cause });
  const failure = ApplicationFailure.create({
    message: cutText(message, MESSAGE_CHARS),
    type,
    // The retry policies know them, too; a failure that says so itself is final under any policy.
    nonRetryable: NON_RETRYABLE.includes(type),
    ...(nextRetryDelay === undefined ? {} : { nextRetryDelay }),
  });
  failure.stack = '';
  return failure;
}

/** What Slack says about the app, the channel or the message is as lasting as any setting. */
function ofSlack(error: SlackFailure): ApplicationFailure {
  const type = error.retryable ? ACTIVITY_FAILURES.unreachable : ACTIVITY_FAILURES.invalidTarget;
  return named(type, withHint(error), error, error.retryable ? error.retryAfterMs : undefined);
}

function typeOf(error: ReleaseError): FailureType {
  switch (error.code) {
    case 'unreachable':
    case 'timeout':
      return ACTIVITY_FAILURES.unreachable;
    case 'unsupported':
      return ACTIVITY_FAILURES.unsupported;
    default:
      return ACTIVITY_FAILURES.invalidTarget;
  }
}

function withHint(error: { readonly message: string; readonly hint: string | undefined }): string {
  return error.hint === undefined ? error.message : `${error.message} ${error.hint}`;
}
