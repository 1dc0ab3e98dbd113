import { ActivityFailure, ApplicationFailure, TimeoutFailure } from '@temporalio/common';
import type { Verdict } from '../analysis/verdict';
import { ACTIVITY_FAILURES } from './activity-types';
import type { Measurement, RollbackCause } from './api';
import type { Run } from './run';
import { isTakenBackDirectly, TAKEN_BACK_DIRECTLY } from './taken-back';

/** A step that failed. A local word of the workflow's own flow: it never leaves the workflow. */
export class StepFailure extends Error {
  readonly evidence: Measurement | undefined;
  /** Rolled back whatever `onFailure` says, with this outcome; null where the spec decides. */
  readonly final: RollbackCause['outcome'] | null;
  readonly by: RollbackCause['actor'] | undefined;
  /** The step's verdict, where it was a verdict that failed it. */
  readonly verdict: Verdict | undefined;

  constructor(
    message: string,
    more: {
      evidence?: Measurement;
      final?: RollbackCause['outcome'];
      by?: RollbackCause['actor'];
      verdict?: Verdict;
    } = {},
  ) {
    super(message);
    this.name = 'StepFailure';
    this.evidence = more.evidence;
    this.final = more.final ?? null;
    this.by = more.by;
    this.verdict = more.verdict ?? (more.evidence === undefined ? undefined : 'fail');
  }
}

/** What an activity's failure means for the step that asked for it. */
export function toStepFailure(run: Run, error: unknown): StepFailure {
  if (error instanceof StepFailure) return error;
  if (!(error instanceof ActivityFailure)) throw error;
  const { type, message } = causeOf(error);
  switch (type) {
    case ACTIVITY_FAILURES.fenceLost:
      return new StepFailure(isTakenBackDirectly(run, message) ? TAKEN_BACK_DIRECTLY : message, {
        final: 'superseded',
      });
    case ACTIVITY_FAILURES.guardTripped:
    case ACTIVITY_FAILURES.notIdle:
      return new StepFailure(message, { final: 'rolledBack' });
    default:
      return new StepFailure(message);
  }
}

/** Type and sentence of the failure inside an activity's failure. */
export function causeOf(error: ActivityFailure): { type: string | null; message: string } {
  const { cause } = error;
  if (cause instanceof ApplicationFailure) return { type: cause.type ?? null, message: cause.message };
  if (cause instanceof TimeoutFailure) {
    const inner = cause.cause instanceof ApplicationFailure ? ` The last try said: ${cause.cause.message}` : '';
    return { type: 'Timeout', message: `The activity ${error.activityType} did not finish in its time.${inner}` };
  }
  return { type: null, message: cause?.message ?? error.message };
}
