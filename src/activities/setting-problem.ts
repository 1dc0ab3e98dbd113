import { ReleaseError } from '../errors';

/**
 * What a source throws is a setting that no retry mends, for people to read: in the verdict, and not instead of it.
 * Anything else is thrown on.
 */
export function settingProblem(error: unknown): string {
  if (!(error instanceof ReleaseError)) throw error;
  return error.hint === undefined ? error.message : `${error.message} ${error.hint}`;
}
