import type { Sample } from '../analysis/sample';
import type { Plan } from '../spec/plan-types';
import { FLAG_TRACKS } from '../spec/presets';

export interface TrackNames {
  readonly canary: string;
  readonly stable: string;
}

/** What stands for {{track}} in a plan's queries where that is not `canary` and `stable`; null where it is. */
export function trackNames(plan: Plan): TrackNames | null {
  if (plan.target.kind === 'flag') return FLAG_TRACKS;
  return isPair(plan) ? { canary: 'green', stable: 'blue' } : null;
}

/** Which of the colours has the users is not asked for: both are, and what they had is added up. */
export function isPair({ target }: Plan): boolean {
  return target.kind === 'kubernetes' && target.strategy === 'blueGreen';
}

/**
 * Asks for the tracks of a plan by their names. Pods of before a pair's first release carry no colour and count as
 * stable's, so of a pair whose colours have nothing the plain names are asked for. Where those have nothing either, the
 * answer is that of the colours.
 */
export async function askByTracks<T>(
  plan: Plan,
  ask: (names: TrackNames | null) => Promise<T>,
  hasData: (answer: T) => boolean,
): Promise<T> {
  const answer = await ask(trackNames(plan));
  if (!isPair(plan) || hasData(answer)) return answer;
  const before = await ask(null);
  return hasData(before) ? before : answer;
}

/** Also true of a source that fails: it would fail again. */
export function hasValues({ metrics }: Sample): boolean {
  return metrics.some(({ canary, stable }) =>
    [canary, stable].some((arm) => arm !== null && (arm.value !== null || arm.problem?.kind === 'error')),
  );
}
