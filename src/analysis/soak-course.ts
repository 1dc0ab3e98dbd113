import type { Verdict } from './verdict';

/**
 * How a soak goes from look to look: when each is, and what follows from it. One rule for a release (in milliseconds) and
 * for a backtest (in ticks of the interval); all times of a call are of one unit.
 */

export interface SoakTimes {
  /** From the weight's arrival to the last look. */
  readonly soak: number;
  /** Before what is seen counts, or can have arrived. */
  readonly delay: number;
  /** Between two looks. */
  readonly interval: number;
  /** What a soak whose evidence does not suffice is made longer by, once; 0 for never. */
  readonly extension: number;
}

export interface SoakClock {
  readonly endsAt: number;
  readonly nextAt: number;
  /** It was made longer: from now on the first look that passes ends it. */
  readonly extended: boolean;
}

export interface SoakLook {
  /** Of this look alone: what ends the soak at once. */
  readonly decision: 'fail' | 'error' | 'continue';
  /** Of the step as a whole, if it ended now. */
  readonly stepVerdict: Verdict;
  /** The evidence is so good that no more of it is needed (`until: evidence`). */
  readonly enough: boolean;
  /** Something else must be settled first, by a person. */
  readonly held: boolean;
}

export type SoakDecision =
  | { readonly kind: 'failed' }
  /** Neither pass nor fail could be said. */
  | { readonly kind: 'undecided'; readonly verdict: Verdict }
  | { readonly kind: 'held' }
  /** `early`: before the soak's end, which had not been put off. */
  | { readonly kind: 'passed'; readonly early: boolean }
  | { readonly kind: 'goesOn'; readonly clock: SoakClock; readonly extendedNow: boolean };

export function beginSoakClock(now: number, { soak, delay, interval }: Omit<SoakTimes, 'extension'>): SoakClock {
  const endsAt = now + soak;
  return { endsAt, nextAt: Math.min(now + delay + interval, endsAt), extended: false };
}

export function decideSoak(
  clock: SoakClock,
  now: number,
  { decision, stepVerdict, enough, held }: SoakLook,
  { interval, extension }: Pick<SoakTimes, 'interval' | 'extension'>,
): SoakDecision {
  if (decision === 'fail') return { kind: 'failed' };
  if (decision === 'error') return { kind: 'undecided', verdict: 'error' };
  if (held) return { kind: 'held' };
  const over = now >= clock.endsAt;
  if ((over || clock.extended || enough) && stepVerdict === 'pass') {
    return { kind: 'passed', early: !over && !clock.extended };
  }
  if (over && stepVerdict === 'fail') return { kind: 'failed' };
  if (over && (clock.extended || extension === 0)) return { kind: 'undecided', verdict: stepVerdict };
  const endsAt = over ? now + extension : clock.endsAt;
  return {
    kind: 'goesOn',
    clock: { endsAt, nextAt: nextLook({ ...clock, endsAt }, now, interval), extended: clock.extended || over },
    extendedNow: over,
  };
}

/** Looks keep their rhythm; those whose time has passed while one took long are left out, not made up for. */
function nextLook({ nextAt, endsAt }: SoakClock, now: number, interval: number): number {
  const next = nextAt > now ? nextAt : nextAt + interval * (Math.floor((now - nextAt) / interval) + 1);
  // The last one is at the end; another just before it would see nothing else.
  return next > endsAt - interval / 2 ? endsAt : next;
}

/** A last look that was faster than others ends a soak early by this at most: to write the next weight takes longer. */
export const EARLY_MS = 25;

/** As many of the latest looks as their usual duration is told by; an odd number has a middle. */
export const LOOKS_TIMED = 5;

/**
 * How long before the end of a soak its last look is begun, so that its answer is there when the soak ends: what looks
 * took lately (the middle one of them), and never more than half of what lies between two.
 */
export function lastLookAhead(took: readonly number[], interval: number): number {
  const middle = took.toSorted((a, b) => a - b)[Math.floor(took.length / 2)] ?? 0;
  return Math.min(middle, interval / 2);
}
