import { TargetFailure } from '../../target';
import type { TargetWrite } from '../../target';
import type { DeploymentView } from '../deployment-view';
import { undoneBySomebody } from '../workloads';
import type { TracksView } from './tracks-view';

/** How often a promotion gives stable again what somebody else undoes: each time is a rolling update from its beginning. */
const MOST_UNDONE = 5;

/** One whole course of a promotion of stable's pods. */
export interface PromotionRound {
  /** For it, milliseconds. */
  readonly leftMs: number;
  /** What somebody has undone so far, a clause each; more may be added. */
  readonly undone: string[];
}

/**
 * Does a promotion again, from its beginning, as long as somebody else undoes it; not more often than five times, nor
 * longer than it may take, and only once where an edit is to end the release. Its sentence tells of that.
 *
 * @throws Undone when it is lost; what the round throws.
 */
export async function againWhileUndone(
  timeoutMs: number,
  { once }: { readonly once: boolean },
  round: (round: PromotionRound) => Promise<string>,
): Promise<string> {
  const started = performance.now();
  const undone: string[] = [];
  for (;;) {
    const leftMs = Math.round(timeoutMs - (performance.now() - started));
    try {
      return `${await round({ leftMs: Math.max(1_000, leftMs), undone })}${describeUndone(undone)}`;
    } catch (error) {
      if (!(error instanceof TargetFailure)) throw error;
      if (!(error instanceof Undone)) {
        // Who writes later has undone it by right, and it was not done again.
        if (undone.length === 0 || error.kind === 'fenceLost') throw error;
        const { retryAfterMs } = error;
        const options = { cause: error, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
        throw new TargetFailure(error.kind, `${error.message}${describeUndone(undone)}`, options);
      }
      undone.push(error.clause);
      if (once || undone.length > MOST_UNDONE || performance.now() - started >= timeoutMs) throw error;
    }
  }
}

/** Stable has another version than the promotion gave it. */
export class Undone extends TargetFailure {
  readonly clause: string;

  constructor(stable: DeploymentView, clause: string) {
    super('deployFailed', describeLost(stable, clause));
    this.clause = clause;
  }
}

/**
 * Users who come back from the canary are to find the proven version.
 *
 * @throws TargetFailure `invalidTarget` where stable has another one than the promotion gave it.
 */
export function refuseUndone({ stable, stableObject }: TracksView, { fence }: TargetWrite): void {
  const clause = undoneBySomebody(stableObject, fence.release);
  if (clause !== null) throw new TargetFailure('invalidTarget', describeLost(stable, clause));
}

export function describeLost({ namespace, name }: DeploymentView, clause: string): string {
  return `Deployment ${namespace}/${name} ${clause}: somebody else has undone the promotion, so it is no place to hand the traffic back to; keep what applies it (a GitOps tool's sync) off its image for the time of a release.`;
}

function describeUndone(undone: readonly string[]): string {
  const last = undone.at(-1);
  if (last === undefined) return '';
  const times = undone.length === 1 ? 'once' : `${undone.length} times`;
  return ` Somebody else has undone this ${times} meanwhile, and it was done again; then stable was found so: it ${last}.`;
}
