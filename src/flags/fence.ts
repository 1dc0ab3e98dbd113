import type { FlagDocument, FlagFence, GivenFence, SetRollout } from './flag';

/** Why a write with this fence, or without one, may not change what a release holds; null when it may. */
export function refuseFence(
  held: FlagFence | null,
  given: GivenFence | undefined,
): { readonly code: 'stale-fence' | 'release-holds'; readonly detail: string } | null {
  if (held === null) return null;
  if (given === undefined) {
    if (!held.hold) return null;
    return {
      code: 'release-holds',
      detail: `Release ${held.owner} holds this flag: nobody else changes its percentage or its variants, or deletes it. Abort that release, or switch the flag off ({"enabled": false}), which is always allowed.`,
    };
  }
  if (compare(given, held) < 0) {
    return {
      code: 'stale-fence',
      detail: `The write (${shown(given)}) is older than the one held (${shown(held)}).`,
    };
  }
  if (given.epoch === held.epoch && given.owner !== held.owner) {
    return {
      code: 'stale-fence',
      detail: `The write (${shown(given)}) is of another release with the same epoch as the one held (${shown(held)}).`,
    };
  }
  return null;
}

/** The flag after a write of its percentage that is not refused. */
export function rollOut(flag: FlagDocument, { percentage, fence }: SetRollout): FlagDocument {
  if (fence === undefined) return { ...flag, rollout_percentage: percentage };
  const former = formerOf(flag, fence.owner);
  return { ...flag, rollout_percentage: percentage ?? former, fence: { ...fence, former } };
}

/**
 * What a release finds. What another one still holds is unproven, so that one's own finding stands in its place: a release
 * that never ended leaves no half of it behind.
 */
function formerOf({ fence: held, rollout_percentage: now }: FlagDocument, owner: string): number | null {
  if (held === null) return now;
  return held.owner === owner || held.hold ? held.former : now;
}

function compare(one: GivenFence, other: GivenFence): number {
  return one.epoch - other.epoch || one.step - other.step || one.attempt - other.attempt;
}

function shown({ owner, epoch, step, attempt }: GivenFence): string {
  return `release ${owner}, epoch ${epoch}, step ${step}, attempt ${attempt}`;
}
