/** Stable codes of the errors Sluice tells people about; CLI exit codes and JSON output are derived from them. */
export type ReleaseErrorCode =
  | 'usage' // the command line or an argument is off
  | 'invalid-spec' // a release.yaml does not validate
  | 'not-found' // no such service, release, step or metric
  | 'conflict' // another release of the service is in progress, or the release is in the wrong state for the wish
  | 'forbidden' // the caller may not do that
  | 'queued' // the release waits for another one's end and cannot be asked yet
  | 'superseded' // the release was never started, because a newer one took its place in the queue
  | 'withdrawn' // the release was never started, because a person took it out of the queue
  | 'unreachable' // Temporal, a metric source, an instance or Slack does not answer
  | 'no-worker' // nobody polls the task queue
  | 'unsupported' // understood, but this build or this target cannot do it
  | 'timeout' // the caller's own patience ran out
  | 'internal'; // a defect in Sluice

/**
 * An error a person is meant to read: one clear sentence that says what and where, and a hint that says what is
 * allowed and what to do. Anything else that reaches an edge is a defect and is shown with its stack.
 */
export class ReleaseError extends Error {
  readonly code: ReleaseErrorCode;
  readonly hint: string | undefined;

  constructor(code: ReleaseErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ReleaseError';
    this.code = code;
    this.hint = options.hint;
  }
}

/** The message of anything that was thrown, without its stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
