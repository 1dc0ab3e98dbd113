import { ReleaseError } from '../errors';
import type { ReleaseErrorCode } from '../errors';
import { Problem, PROBLEMS } from '../flags/problem';
import type { ProblemKind } from '../flags/problem';

/** What can go wrong with a release, as HTTP says it. */
export const RELEASE_PROBLEMS: Readonly<Record<ReleaseErrorCode, ProblemKind>> = {
  usage: { status: 400, title: 'The request is not valid' },
  forbidden: PROBLEMS.forbidden,
  'not-found': { status: 404, title: 'There is no such release' },
  conflict: { status: 409, title: 'Not possible as the release stands' },
  queued: { status: 409, title: 'The release waits for another one to end' },
  superseded: { status: 410, title: 'The release was never started: a newer one took its place' },
  withdrawn: { status: 410, title: 'The release was never started: it was taken out of the queue' },
  'invalid-spec': { status: 422, title: 'The spec is not valid' },
  unsupported: { status: 422, title: 'This target cannot do it' },
  internal: PROBLEMS.internal,
  unreachable: { status: 503, title: 'Temporal does not answer' },
  'no-worker': { status: 503, title: 'No worker is running' },
  timeout: { status: 504, title: 'There was no answer in time' },
};

/** An error of the client as a problem; anything else as it is. */
export function asProblem(error: unknown): unknown {
  if (!(error instanceof ReleaseError)) return error;
  const { code, message, hint } = error;
  return new Problem({ code, ...RELEASE_PROBLEMS[code] }, message, hint === undefined ? {} : { hint });
}
