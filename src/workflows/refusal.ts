import { ApplicationFailure } from '@temporalio/common';
import { FAILURES } from './api';
import type { MessageBase } from './api';

/** Refuses an update with a sentence; called by validators. */
export function refuseIf(condition: boolean, sentence: string): void {
  if (condition) throw refusal(sentence, FAILURES.refused);
}

/** Temporal may keep a message until a worker comes; what was meant for last night is not carried out this morning. */
export function refuseIfLate({ deadline }: MessageBase): void {
  const now = Date.now();
  if (deadline === undefined || now <= deadline) return;
  const [by, at] = [deadline, now].map((time) => new Date(time).toISOString());
  throw refusal(
    `the message is too late: it was to arrive by ${by}, and it is ${at}. Nothing was done; send it again if it is still meant.`,
    FAILURES.tooLate,
    now,
  );
}

export function refusal(sentence: string, type: string, ...details: unknown[]): ApplicationFailure {
  return ApplicationFailure.create({ message: sentence, type, nonRetryable: true, details });
}
