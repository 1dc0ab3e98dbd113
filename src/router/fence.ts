import type { Fence } from './protocol';

/** How a given fence stands to the one held. */
export type FenceOrder =
  /** Nothing is held, or the given one is higher. */
  | 'newer'
  /** The same release and the same position. */
  | 'equal'
  /** Lower than the one held. */
  | 'stale'
  /** Same epoch, another release: neither may overrule the other, so the one that came first stays. */
  | 'foreign';

/** Orders `given` against `held` by (epoch, step, attempt), and by release within an epoch. */
export function compareFence(held: Fence | null, given: Fence): FenceOrder {
  if (held === null) return 'newer';
  if (given.epoch !== held.epoch) return given.epoch > held.epoch ? 'newer' : 'stale';
  if (given.release !== held.release) return 'foreign';
  if (given.step !== held.step) return given.step > held.step ? 'newer' : 'stale';
  if (given.attempt !== held.attempt) return given.attempt > held.attempt ? 'newer' : 'stale';
  return 'equal';
}

/** A fence as people read it. */
export function formatFence(fence: Fence): string {
  return `release ${fence.release}, epoch ${fence.epoch}, step ${fence.step}, attempt ${fence.attempt}`;
}
