import { WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { FAILURES } from '../workflows/api';
import type { MessageBase, RollbackMessage, UpdateName } from '../workflows/api';
import { ReleaseError } from '../errors';

/**
 * Temporal may keep a message that nobody worked on, and hand it over when a worker comes: an approval or a pause of
 * last night, carried out in the morning. So each says until when it is meant; only a roll back always is.
 */
export function expires(update: UpdateName, message: MessageBase): boolean {
  return update !== 'rollback' || (message as RollbackMessage).abandon === true;
}

/**
 * The workflow's time in the refusal of a message that came too late; null for any other failure. Who still waits for
 * the answer was not late: the two clocks differ, and this says by how much.
 */
export function timeOfRefusal(error: unknown): number | null {
  if (!(error instanceof WorkflowUpdateFailedError) || !(error.cause instanceof ApplicationFailure)) return null;
  if (error.cause.type !== FAILURES.tooLate) return null;
  const now: unknown = error.cause.details?.[0];
  return typeof now === 'number' ? now : null;
}

const WORDS: Record<UpdateName, string> = {
  approve: 'approval',
  reject: 'rejection',
  pause: 'pause',
  resume: 'resume',
  rollback: 'end of the roll back',
  promote: 'promotion',
  setWeight: 'change of the weight',
  skipSoak: 'end of the soak',
};

/** A failure that leaves a message unanswered, with what becomes of the message; others as they are. */
export function withFate(error: unknown, update: UpdateName, deadline: number): unknown {
  if (!(error instanceof ReleaseError) || (error.code !== 'no-worker' && error.code !== 'timeout')) return error;
  const by = new Date(deadline).toISOString().slice(11, 19);
  const fate =
    error.code === 'no-worker'
      ? `The ${WORDS[update]} is carried out only if one is there by ${by}Z; later it is refused.`
      : `Whether the ${WORDS[update]} was carried out is not known; from now on it is refused.`;
  const hint =
    error.code === 'no-worker'
      ? 'Start one with `sluice worker`, and send it again.'
      : `Look with \`sluice status\`, and send it again if need be. ${error.hint ?? ''}`.trimEnd();
  return new ReleaseError(error.code, `${error.message} ${fate}`, { hint, cause: error.cause });
}
