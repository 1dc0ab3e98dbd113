/** A step as it is looked at: when, and how much was counted since the look before. */
export interface StepLook {
  /** From the weight change, milliseconds. */
  readonly atMs: number;
  /** Batches that are counted together. */
  readonly batches: number;
  /** Requests of each arm in all of them. */
  readonly canary: number;
  readonly stable: number;
}

export interface LooksOptions {
  /** The canary's share of the traffic, a fraction. */
  readonly share: number;
  readonly requestsPerSecond: number;
  /** Counting begins that long after the weight change. */
  readonly startMs: number;
  /** Length of a batch. */
  readonly intervalMs: number;
  readonly lengthMs: number;
}

/** So many batches are looked at one by one; later ones in groups that are no longer than a tenth of the time before. */
const SINGLE_BATCHES = 24;
const GROWTH = 0.1;

/**
 * The batches of a step, with traffic as even as a clock: whole requests, as many as came by then. As in a release, a
 * batch is not cut as long as one of the arms had no request. A long step is looked at less and less often, which finds
 * nothing sooner than a release does, and later by a tenth at most.
 */
export function looksOf({ share, requestsPerSecond, startMs, intervalMs, lengthMs }: LooksOptions): StepLook[] {
  const looks: StepLook[] = [];
  const perBatch = (requestsPerSecond * intervalMs) / 1000;
  const canaryBy = (batch: number): number => Math.floor(perBatch * share * batch + 1e-9);
  const stableBy = (batch: number): number => Math.floor(perBatch * (1 - share) * batch + 1e-9);
  const all = Math.floor((lengthMs - startMs) / intervalMs + 1e-9);
  let from = 0;
  while (from < all) {
    const least = Math.max(1, Math.floor(from * GROWTH));
    let to = from < SINGLE_BATCHES ? from + 1 : Math.min(all, from + least);
    // The next batch in which both arms had a request: straight to it, since it may be thousands away.
    const both = Math.max(nextBatch(perBatch * share, from), nextBatch(perBatch * (1 - share), from));
    const waits = both > to;
    to = Math.max(to, both);
    if (to > all) break;
    const batches = waits ? 1 : to - from;
    looks.push({
      atMs: startMs + to * intervalMs,
      batches,
      canary: canaryBy(to) - canaryBy(from),
      stable: stableBy(to) - stableBy(from),
    });
    from = to;
  }
  return looks;
}

/** The first batch by whose end an arm has a request more than by the end of batch `from`. */
function nextBatch(perBatch: number, from: number): number {
  if (perBatch <= 0) return Infinity;
  const had = Math.floor(perBatch * from + 1e-9);
  return Math.ceil((had + 1) / perBatch - 1e-9);
}
