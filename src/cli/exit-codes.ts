import type { ReleaseErrorCode } from '../errors';
import type { ReleaseStatus } from '../workflows/api';

/** What the exit code of every command means; printed by `sluice help exit-codes`. Stable: scripts rely on it. */
export const EXIT = {
  ok: 0,
  error: 1,
  usage: 2,
  rolledBack: 3,
  forbidden: 4,
  aborted: 5,
  pending: 8,
  timeout: 124,
  interrupted: 130,
  terminated: 143,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Code and meaning, in the order they are printed. */
export const EXIT_CODE_TABLE: readonly (readonly [ExitCode, string])[] = [
  [EXIT.ok, 'the desired state was reached'],
  [EXIT.error, 'an error: something failed or could not be asked'],
  [EXIT.usage, 'wrong usage, or a release.yaml that does not validate'],
  [EXIT.rolledBack, 'rolled back by itself: a step failed, or its evidence (monitor: a threshold, or the evidence)'],
  [EXIT.forbidden, 'forbidden: you may not do that'],
  [EXIT.aborted, 'aborted, rejected, superseded or withdrawn by a person'],
  [EXIT.pending, 'still pending: it waits for a person (paused or awaiting approval) or is in progress'],
  [EXIT.timeout, 'the timeout ran out'],
  [EXIT.interrupted, 'Ctrl-C; a release goes on'],
  [EXIT.terminated, 'SIGTERM; a release goes on'],
];

export function exitCodeOfError(code: ReleaseErrorCode): ExitCode {
  switch (code) {
    case 'usage':
    case 'invalid-spec':
      return EXIT.usage;
    case 'forbidden':
      return EXIT.forbidden;
    case 'timeout':
      return EXIT.timeout;
    case 'queued':
      return EXIT.pending;
    case 'superseded':
    case 'withdrawn':
      return EXIT.aborted;
    case 'not-found':
    case 'conflict':
    case 'unreachable':
    case 'no-worker':
    case 'unsupported':
    case 'internal':
      return EXIT.error;
    default:
      return code satisfies never;
  }
}

/** How a release stands, as an exit code; `pending` while it has not ended. */
export function exitCodeOfStatus(status: Pick<ReleaseStatus, 'outcome'>): ExitCode {
  switch (status.outcome) {
    case null:
      return EXIT.pending;
    case 'promoted':
    case 'cleanedUp':
      return EXIT.ok;
    case 'rolledBack':
      return EXIT.rolledBack;
    case 'aborted':
    case 'rejected':
    case 'superseded':
      return EXIT.aborted;
    case 'failed':
      return EXIT.error;
    default:
      return status.outcome satisfies never;
  }
}
