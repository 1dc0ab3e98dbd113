/** Where the router takes time from; tests give their own. */
export interface RouterClock {
  /** Wall clock, milliseconds since 1970: for what people read and for expiry. */
  now(): number;
  /** Never goes back, milliseconds from any origin: for latencies and for the sliding window. */
  monotonic(): number;
}

/** The process's own clocks. */
export const systemClock: RouterClock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};
