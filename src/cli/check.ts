import { messageOf, ReleaseError } from '../errors';

/** One thing looked at. */
export interface Check {
  readonly name: string;
  readonly state: 'ok' | 'bad' | 'warn';
  readonly sentence: string;
  /** What to do. */
  readonly hint: string | null;
}

export function ok(name: string, sentence: string): Check {
  return { name, state: 'ok', sentence, hint: null };
}

export function bad(name: string, problem: unknown, hint: string | null): Check {
  if (problem instanceof ReleaseError) {
    return { name, state: 'bad', sentence: problem.message, hint: problem.hint ?? hint };
  }
  return { name, state: 'bad', sentence: messageOf(problem), hint };
}
