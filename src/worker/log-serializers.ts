/** An error in a log line: what it says and where it was thrown, and what it was caused by. */
interface LoggedError {
  readonly type: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly causes: readonly string[];
}

/**
 * For pino's `serializers`. Only names, messages and the stack: an error may carry a request with its headers, and the
 * headers a token.
 */
export function logError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const causes: string[] = [];
  for (let cause = error.cause; cause instanceof Error && causes.length < 5; cause = cause.cause) {
    causes.push(`${cause.name}: ${cause.message}`);
  }
  return { type: error.name, message: error.message, stack: error.stack, causes } satisfies LoggedError;
}

/** What every logger of a worker needs; the SDK hands errors over under `error`. */
export const LOG_SERIALIZERS = { error: logError, err: logError } as const;
