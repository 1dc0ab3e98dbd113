/** Every default of the router, in one place. */
export const RouterDefaults = {
  adminPath: '/canary',
  /** The sliding window of counts, in 1-second slots. */
  windowSeconds: 300,
  /** Admin bodies are a few hundred bytes; ten times the largest is room enough. */
  maxBodyBytes: 16 * 1024,
  /** Events kept for `GET /canary/state`. */
  eventsKept: 100,
  /** Releases whose trip is remembered after their canary is gone, so that a late one cannot raise it again. */
  tripsKept: 32,
  /** (cohort, version) pairs with Prometheus series; a process sees two or three in its life. */
  seriesKept: 16,
  /** Days an anonymous id lives; browsers cap cookies at 400 days. */
  anonymousIdDays: 400,
  guard: {
    minRequests: 100,
    maxErrorRate: 0.01,
    maxLatencyMs: 2000,
    maxErrorRatio: 2,
    /** On small counts the relative rule fires by chance; ten errors keep that rare. */
    minErrors: 10,
  },
} as const;

/** Upper bounds of the latency histogram in milliseconds, fixed so that instances can be summed; one more is +Inf. */
export const LATENCY_BOUNDS_MS: readonly number[] = [
  1, 2.5, 5, 10, 25, 50, 75, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 7500,
  10_000, 15_000, 30_000,
];
