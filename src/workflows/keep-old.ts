import { condition, upsertMemo } from '@temporalio/workflow';
import type { Plan } from '../spec/plan-types';
import { KEEPS_OLD_MEMO } from './api';
import { continueAsNewIfDue, handOverPossible } from './continue-as-new';
import { leaveIfRollingBack } from './hold';
import { enter, record } from './run';
import type { Run } from './run';

/** True where a promotion makes nothing anew, and the old version's pods are there after it: all of a blue-green release. */
export function switches({ target }: Plan): boolean {
  return target.kind === 'kubernetes' && target.strategy === 'blueGreen';
}

/** When the old version is to be scaled down that a promotion of this very moment leaves; null for at once. */
export function keepUntil({ plan, state }: Run): number | null {
  const { target } = plan;
  if (!switches(plan) || target.kind !== 'kubernetes' || target.keepOldMs === 0) return null;
  // The next release needs the old one's place: it waits already.
  return state.successors.length > 0 ? null : Date.now() + target.keepOldMs;
}

/**
 * After the promotion: the old version is kept, and the way back is one write. Ends by the clock or by the next release
 * of the service, which needs the old one's place; a roll back cancels it like the way forward. Nothing else is done
 * meanwhile, and nobody waits for it: the release is promoted, and says so.
 */
export async function keepOldVersion(run: Run): Promise<void> {
  const { state } = run;
  if (state.keepOld === null) return;
  enter(run, 'promoted');
  upsertMemo({ [KEEPS_OLD_MEMO]: state.keepOld.until });
  for (;;) {
    leaveIfRollingBack(run);
    await continueAsNewIfDue(run);
    const left = state.keepOld.until - Date.now();
    if (left <= 0 || state.successors.length > 0) break;
    const woken = (): boolean => state.rollback !== null || state.successors.length > 0 || handOverPossible(run);
    await condition(woken, left, { summary: 'the old version is kept' });
  }
  const { version } = state.keepOld;
  const [successor] = state.successors;
  // Said at once, so that no roll back is accepted that finds nothing to go back to.
  state.keepOld = null;
  state.compensations = [];
  const why = successor === undefined ? 'Its time is over' : `Release ${successor} needs its place`;
  record(run, 'keepOldEnded', `${why}: ${version} is not kept any longer.`);
}

/** A roll back while the old version is kept: what was promoted is not, until the way back says how it ended. */
export function reopen(run: Run): void {
  const { state } = run;
  if (state.keepOld === null) return;
  state.keepOld = null;
  state.leftovers = [];
  state.outcome = null;
  upsertMemo({ [KEEPS_OLD_MEMO]: null });
}
