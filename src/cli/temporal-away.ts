import { ReleaseError } from '../errors';

/** Whether Temporal, or every worker, is away: what the cluster itself can do is all that is left then. */
export function isAway(error: unknown): error is ReleaseError {
  return (
    error instanceof ReleaseError &&
    (error.code === 'unreachable' || error.code === 'timeout' || error.code === 'no-worker')
  );
}

/**
 * Where Temporal is away, the same failure with the way that works without it: before the one to have Temporal again,
 * which takes longer. Other failures as they are.
 */
export function withWayAround(error: unknown, way: string): unknown {
  if (!isAway(error)) return error;
  const hint = error.hint === undefined ? way : `${way}\n${error.hint}`;
  return new ReleaseError(error.code, error.message, { hint, cause: error });
}
