import type { Plan } from '../spec/plan-types';
import { FLAG_TRACKS } from '../spec/presets';

/** What stands for {{track}} in a plan's queries where that is not `canary` and `stable`; null where it is. */
export function trackNames(plan: Plan): { readonly canary: string; readonly stable: string } | null {
  if (plan.target.kind === 'flag') return FLAG_TRACKS;
  return isPair(plan) ? { canary: 'green', stable: 'blue' } : null;
}

/** Which of the colours has the users is not asked for: both are, and what they had is added up. */
export function isPair({ target }: Plan): boolean {
  return target.kind === 'kubernetes' && target.strategy === 'blueGreen';
}
