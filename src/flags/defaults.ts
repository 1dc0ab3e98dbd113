/** Every limit, interval and default of the flag service, in one place. */
export const FlagDefaults = {
  /** Users in a flag's whitelist or blacklist. One write carries the whole flag, so this bounds a write too. */
  maxListedUsers: 10_000,
  /** Characters of a user's id; longer ones are somebody's mistake, or a token. */
  maxUserIdLength: 256,
  /** Environments a flag names. */
  maxEnvironments: 50,
  maxTags: 50,
  maxVariants: 50,
  /** Characters of a variant's value as JSON. */
  maxVariantLength: 16_384,
  /** Bytes of a request's body: a flag with both lists full and ordinary ids fits. */
  maxBodyBytes: 2 * 1024 * 1024,
  /** Bytes of the body of a check or of an evaluation: one user and a context. */
  maxContextBytes: 64 * 1024,
  /** Objects and lists within each other in a body; what is deeper would run code that follows it out of stack. */
  maxBodyDepth: 64,
  /** Flags of one page of a list. */
  pageSize: 50,
  maxPageSize: 500,
  /** The environment of a check that names none, unless the caller's key has only one. */
  environment: 'production',
  /** Between two looks at the store's revision; a change is usually heard of by publish/subscribe long before. */
  pollMs: 500,
  /** Without contact to the store for this long a snapshot is called stale; it is still answered from. */
  staleMs: 5 * 60_000,
  /** Buffered usage is written this often: what a crash loses at most. */
  usageFlushMs: 500,
  /** Flags whose usage or outcomes are on the way to the store at once: ten thousand one by one would take seconds. */
  deltasAtOnce: 200,
  /** Users remembered for one flag between two flushes; at so many it is flushed at once. */
  usageUsersBuffered: 20_000,
  /** Outcomes in one request: each is hashed, and a thousand take some milliseconds in which nothing else is answered. */
  maxOutcomes: 1_000,
  /** The latency of one outcome, milliseconds; more is somebody's mistake in the unit. */
  maxLatencyMs: 24 * 60 * 60_000,
  /** How far back the numbers of a window reach. */
  outcomeWindowSeconds: 300,
  /** The window of a question that names none, seconds: that of an analysis. */
  outcomeWindow: 60,
  /** Flags and environments whose outcomes are buffered while the store is away. */
  outcomeKeysBuffered: 10_000,
  /** Outcomes that an application holds while the service is away. */
  outcomesBuffered: 10_000,
  /** An application gives outcomes up that are so old: they are of another percentage by then. Milliseconds. */
  outcomePatienceMs: 60_000,
  /** Days that outcomes are kept after the last one. */
  outcomesKeptDays: 8,
  /** Days that usage is reported over. */
  usageDays: 7,
  /** Days that usage is kept: the window and the day that is under way in another time zone. */
  usageKeptDays: 8,
  /** Audit entries kept by a store. */
  auditKept: 100_000,
  maxIdempotencyKeyLength: 255,
  /** How long an Idempotency-Key is remembered, seconds. */
  idempotencySeconds: 24 * 60 * 60,
  /** Tries of a write that loses against others, when its caller did not say which state it was made from. */
  writeTries: 20,
  /** Flags of one answer of a ruleset; of more, a follower gets all in pages. */
  rulesetPageSize: 100,
  /** A service that last heard of its store longer ago does not say that nothing has changed. */
  rulesetHeardMs: 5_000,
  /** Between two looks of a client at a flag service; its event stream tells of a change long before. */
  servicePollMs: 5_000,
  /** For one answer of a flag service to a client that follows it, milliseconds. */
  serviceTimeoutMs: 5_000,
  /** Between two tries to open a flag service's event stream again. */
  serviceRetryMs: 500,
  /** An event stream that is silent for so long is dead: it has a heartbeat. */
  streamSilenceMs: 45_000,
  /** For one answer of Redis, milliseconds. */
  redisTimeoutMs: 2_000,
  /** Between two pings to Redis on each connection, each after the answer to the one before, milliseconds. */
  redisPingMs: 2_000,
  /** A connection to Redis that is silent for so long is dead: it is pinged more often. */
  redisSilenceMs: 5_000,
  /** At most between two tries to reach Redis again, at least a third of it: a return is seen well within a second. */
  redisRetryMaxMs: 225,
  /** Deletions a store remembers, so that a follower can be told of them; one further behind loads everything anew. */
  deletionsKept: 10_000,
  /** Flags fetched at once while a snapshot is loaded. */
  loadChunk: 200,
  /** Open event streams of one server. */
  maxStreams: 10_000,
  /** Unread bytes after which an event stream is given up. */
  maxStreamBacklogBytes: 64 * 1024,
  /** Between two comments on a silent event stream, so that proxies keep it open. */
  streamHeartbeatMs: 15_000,
  /** A page in the background for so long closes its event stream; the protocol's own default. */
  streamInactivitySeconds: 120,
  /** How long a server tries to load its flags before it listens without them. */
  startPatienceMs: 3_000,
  /** How long a stop waits for requests under way; one that is never read to its end does not keep a server. */
  stopPatienceMs: 5_000,
  /** A connection that asks nothing for so long is closed. */
  keepAliveMs: 72_000,
  /** For a request to arrive as a whole. */
  requestMs: 30_000,
  /** How long a link to the event stream works: browsers open it at once and again after a lost connection. */
  streamTokenSeconds: 24 * 60 * 60,
} as const;

/** Upper bounds of the buckets that latencies of outcomes are counted in, milliseconds: those of the in-app router. */
export const OUTCOME_BOUNDS_MS: readonly number[] = [
  1, 2.5, 5, 10, 25, 50, 75, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 7500,
  10_000, 15_000, 30_000,
];
