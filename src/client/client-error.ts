import {
  isGrpcServiceError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  QueryNotRegisteredError,
  QueryRejectedError,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { ASK_AGAIN, FAILURES } from '../workflows/api';
import { messageOf, ReleaseError } from '../errors';
import { unreachable } from './unreachable';

/** gRPC's status codes, as numbers on the wire. */
const GRPC = {
  cancelled: 1,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  unimplemented: 12,
  unavailable: 14,
  unauthenticated: 16,
} as const;

export interface ErrorContext {
  /** Address and namespace, for the sentence. */
  readonly where: string;
  /** What was asked about: `shop/checkout`. */
  readonly subject: string;
}

/** No answer in time: Temporal holds the request, but nobody works on it. */
export function isUnanswered(error: unknown): boolean {
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return true;
  const code = grpcCode(error);
  return (
    code === GRPC.deadlineExceeded ||
    code === GRPC.cancelled ||
    (code === GRPC.failedPrecondition && /poller/i.test(detailsOf(error)))
  );
}

/** Temporal's own word for a message that came with a workflow task whose answer had nothing to say of it. */
const UNPROCESSED = 'UnprocessedUpdate';

/**
 * Temporal dropped a message, because the workflow task it came with could not be completed: the release was just about
 * to end, say, when an activity answered. Or the worker that got the task was not told of it: one that takes over from a
 * worker that was killed, now and then. No line of the release has seen it either way; the next try finds it in another
 * state.
 */
export function isDropped(error: unknown): boolean {
  if (error instanceof WorkflowUpdateFailedError) {
    return error.cause instanceof ApplicationFailure && error.cause.type === UNPROCESSED;
  }
  return grpcCode(error) === GRPC.failedPrecondition && /workflow task failure/i.test(detailsOf(error));
}

/** The SDK's word for a history that the workflow's code does not lead to. */
const UNREPLAYABLE = /TMPRL1100|nondeterminism/i;

/** A worker that is just taking over what is asked cannot say yet; it has put its own words into the failure. */
export function isToBeAskedAgain(error: unknown): boolean {
  return error instanceof Error && error.message.includes(ASK_AGAIN);
}

export function isNotFound(error: unknown): boolean {
  return error instanceof WorkflowNotFoundError || grpcCode(error) === GRPC.notFound;
}

/** Temporal answered, and does not let the caller do this. */
export function isRefusedByTemporal(error: unknown): boolean {
  const code = grpcCode(error);
  return code === GRPC.permissionDenied || code === GRPC.unauthenticated || code === GRPC.unimplemented;
}

/** A search attribute that the namespace does not know; a list may name one, and a start. */
export function isUnknownSearchAttribute(error: unknown): boolean {
  return grpcCode(error) === GRPC.invalidArgument && /search attribute/i.test(detailsOf(error));
}

/** Any failure of Temporal's client as an error for people. */
export function toReleaseError(error: unknown, context: ErrorContext): ReleaseError {
  if (error instanceof ReleaseError) return error;
  if (error instanceof WorkflowUpdateFailedError && error.cause instanceof ApplicationFailure) {
    const { type, message } = error.cause;
    return new ReleaseError(type === FAILURES.forbidden ? 'forbidden' : 'conflict', sentence(message), {
      cause: error,
    });
  }
  if (error instanceof QueryNotRegisteredError && UNREPLAYABLE.test(error.message)) {
    return new ReleaseError(
      'internal',
      `No worker can go on with the release of ${context.subject}: none finds again what one has done before (${clause(error.message)}).`,
      {
        hint: 'Start workers of the version that began it; else see "Past the workflow" in docs/runbooks/release-stuck.md.',
        cause: error,
      },
    );
  }
  if (error instanceof QueryNotRegisteredError || error instanceof QueryRejectedError) {
    return new ReleaseError(
      'internal',
      `The workflow of ${context.subject} does not answer like a release: ${clause(error.message)}.`,
      {
        hint: 'Is its id used by something else, or its worker of another version of Sluice?',
        cause: error,
      },
    );
  }
  const details = detailsOf(error);
  if (/namespace .*(not found|is invalid)/i.test(details)) {
    return new ReleaseError('not-found', `Temporal at ${context.where} has no such namespace: ${clause(details)}.`, {
      hint: 'Set TEMPORAL_NAMESPACE or --temporal-namespace to one that exists.',
      cause: error,
    });
  }
  switch (grpcCode(error)) {
    case GRPC.failedPrecondition:
      // Passes with the next try that succeeds: a worker that had too much to do, or one of a version with a defect.
      if (!/workflow task in failed state/i.test(details)) break;
      return new ReleaseError(
        'no-worker',
        `No worker gets on with the release of ${context.subject}: its last workflow task failed, and is tried again.`,
        { hint: "The worker's log says why it failed, and so does the history in the Temporal UI.", cause: error },
      );
    case GRPC.unavailable:
    case GRPC.deadlineExceeded:
      return unreachable(context.where, { cause: error });
    case GRPC.permissionDenied:
    case GRPC.unauthenticated:
    case GRPC.unimplemented:
      return new ReleaseError('forbidden', `Temporal at ${context.where} refuses: ${clause(details)}.`, {
        hint: 'Check TEMPORAL_API_KEY, the TLS files, and what this identity may do.',
        cause: error,
      });
    case GRPC.resourceExhausted:
      return new ReleaseError('unreachable', `Temporal at ${context.where} is overloaded: ${clause(details)}.`, {
        hint: 'Try again in a moment.',
        cause: error,
      });
    default:
      break;
  }
  if (isNotFound(error)) {
    return new ReleaseError('not-found', `There is no release of ${context.subject} at ${context.where}.`, {
      hint: 'See `sluice list` for those there are.',
      cause: error,
    });
  }
  return new ReleaseError('internal', `Temporal at ${context.where} answered unexpectedly: ${clause(details)}.`, {
    cause: error,
  });
}

/** Nobody has said where Temporal is, and at the default address one answers that knows nothing of Sluice. */
export function strangersTemporal(where: string): ReleaseError {
  return new ReleaseError(
    'no-worker',
    `Nothing of Sluice is at ${where}, where Temporal was looked for because no address is set and no \`sluice dev\` runs: no worker polls there and no search attribute is registered, so nothing was written to it.`,
    {
      hint: 'Say where Temporal is with --address or TEMPORAL_ADDRESS, or start one with `sluice dev`.\nIf it is this one, start `sluice worker`, or say its address.',
    },
  );
}

function grpcCode(error: unknown): number | null {
  if (isGrpcServiceError(error)) return error.code;
  if (error instanceof Error && error.cause !== undefined && error.cause !== error) return grpcCode(error.cause);
  return null;
}

function detailsOf(error: unknown): string {
  if (isGrpcServiceError(error)) return error.details === '' ? error.message : error.details;
  if (error instanceof Error && isGrpcServiceError(error.cause)) return detailsOf(error.cause);
  return messageOf(error);
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Another's sentence, fit to end ours. */
function clause(text: string): string {
  return text.replace(/\.$/, '');
}
