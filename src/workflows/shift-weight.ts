import { setWeight } from './activity-proxies';
import type { Actor } from './api';
import { enter, nextFence, publishAttributes, record, SLUICE, targetRef } from './run';
import type { Run } from './run';

/** Moves traffic. The way back is in the state before the first of it moves. */
export async function shiftWeight(run: Run, weight: number, actor: Actor = SLUICE): Promise<void> {
  const { state } = run;
  if (!state.compensations.some((one) => one.op === 'restoreWeight')) {
    state.compensations.push({ op: 'restoreWeight', weight: 0 });
  }
  enter(run, 'shifting');
  const before = state.weight;
  const { sentence } = await setWeight.executeWithOptions({ summary: `weight ${before} % → ${weight} %` }, [
    { ...targetRef(run), fence: nextFence(run), weight, previousWeight: before },
  ]);
  state.weight = weight;
  state.weightSince = Date.now();
  state.observedShare = null;
  state.guardJudge = null;
  record(run, 'weightChanged', `Weight ${before} % → ${weight} %. ${sentence}`, { actor, step: state.step });
  publishAttributes(run);
}
