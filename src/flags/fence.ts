import type { FlagFence } from './flag';

/** Why a write with this fence, or without one, may not change the percentage; null when it may. */
export function refuseFence(
  held: FlagFence | null,
  given: FlagFence | undefined,
): { readonly code: 'stale-fence' | 'release-holds'; readonly detail: string } | null {
  if (held === null) return null;
  if (given === undefined) {
    if (held.hold !== true) return null;
    return {
      code: 'release-holds',
      detail: `Release ${held.owner} holds this flag, so only it changes the percentage; abort that release, or switch the flag off ({"enabled": false}), which is always allowed.`,
    };
  }
  if (given.epoch < held.epoch) {
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

function shown({ owner, epoch }: FlagFence): string {
  return `release ${owner}, epoch ${epoch}`;
}
