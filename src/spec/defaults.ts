/**
 * Every default and every bound of a release.yaml, each with its reason. Durations are written as in a spec.
 * docs/spec.md shows them; a test keeps both equal.
 */

/** The environment variables a spec may name. Others are refused, so that a spec cannot make a worker send secrets. */
export const ROUTER_TOKEN_ENV = 'SLUICE_ROUTER_TOKEN';
export const ROUTER_OVERRIDE_SECRET_ENV = 'SLUICE_ROUTER_OVERRIDE_SECRET';
export const PROMETHEUS_TOKEN_ENV = 'SLUICE_PROMETHEUS_TOKEN';
export const HTTP_METRICS_TOKEN_ENV = 'SLUICE_HTTP_METRICS_TOKEN';

export const FLAGS_URL_ENV = 'SLUICE_FLAGS_URL';
export const FLAGS_TOKEN_ENV = 'SLUICE_FLAGS_TOKEN';
/** What a flag release releases, in the place of a version. */
export const FLAG_VERSION = 'on';
/** Where a flag service listens that was started without settings. */
export const FLAGS_URL = 'http://127.0.0.1:8014';

/** The worker's environment variable with the hosts that metrics of kind `http` may be asked at; none without it. */
export const HTTP_METRICS_HOSTS_ENV = 'SLUICE_HTTP_METRICS_HOSTS';

/** Where the histograms of the in-app router and of a flag's outcomes end; a test keeps it equal to theirs. */
export const LAST_BOUNDARY_SECONDS = 30;

export const DEFAULTS = {
  namespace: 'default',
  /** Image pull and readiness of an ordinary service, with room for a cold node; a stuck one is found the same day. */
  deployTimeout: '10m',
  /** Few users first; each step at most five times the one before; 100 before promotion, so that full load is seen. */
  weights: [5, 25, 50, 100],
  /** The shortest hold in which a 60 s window is filled with nothing but the new weight's traffic. */
  soak: '60s',
  smokeTest: { expectStatus: 200, attempts: 3, interval: '1s', timeout: '5s' },
  /** A working day and the night around it: the question is answered or the release goes back. */
  approve: { timeout: '24h', onExpiry: 'rollback' },
  analysis: {
    /** Two looks per usual Prometheus scrape (10 to 15 s): soon enough, and no load worth mentioning. */
    interval: '5s',
    /** Nothing is ignored unless asked for: a canary that fails at once is taken back at once. */
    initialDelay: '0s',
    /** A Prometheus has a sample as soon as the scrape is over, which takes milliseconds. */
    lag: '0s',
    /** Four scrapes at 15 s; shorter windows make `rate` jumpy, longer ones hide the onset. */
    window: '60s',
    /** One good look may be luck. Lowered to what the shortest soak has room for, never below 1. */
    minMeasurements: 3,
    /** With 20 requests one single error is 5 %, not above it: no single unlucky request takes a release back. */
    minRequests: 20,
    /** A limit that was passed is passed. */
    failureLimit: 0,
    /** Rides out a restart of the metrics backend of about 20 s at the default interval. */
    consecutiveErrorLimit: 4,
    /** A quiet service gets more time; then a person decides, since silence says nothing against the canary. */
    onNoData: { extend: '5m', then: 'pause' },
    /** Guard-rails anyone understands; a healthy web service is far below both. */
    limits: { errorRate: '5%', p95Latency: '1s' },
    /** At most one false alarm in a hundred releases; a canary up to a quarter worse than stable is let through. */
    compare: { alpha: 0.01, tolerate: 1.25 },
    /**
     * Retries make two errors of one; more of a cluster is rare enough to be told. The batches of the default steps that
     * have stable traffic to be compared with: three stages of 60 s, one each 5 s.
     */
    evidence: { clusters: 2, plannedBatches: 36 },
    /**
     * The new stable pods run what the canary has proven, so that little of alpha will do for them: it takes ln E 2.3 more
     * to fail them than with all of it, and 0.1 more to fail the canary.
     */
    stableShare: 0.1,
    /** A weight is held for its time: load, caches and leaks need time, not requests. */
    until: 'soak',
    /** 304 requests of the canary exclude five times the errors, 2,243 twice (median; base 0.5 %, weight 5 %). */
    promotion: { exclude: 5, beta: 0.05 },
    /** Sticky sessions and probes move shares without anybody's fault: to be told, and not acted on unasked. */
    routingCheck: 'warn',
    prometheusTimeout: '10s',
  },
  kubernetes: {
    /** What is proven is what is deployed, promoted and returned to, whatever becomes of the tag meanwhile. */
    resolveImage: 'registry',
    /** Copies need the right to read Secrets, which nobody should hand out unasked. */
    config: 'keep',
    /** As long as load balancers and kube-proxies commonly lag behind, and most requests last. */
    drain: '30s',
    /** What a post-switch soak misses shows within minutes; twice the pods cost something. */
    keepOld: '10m',
    /** Somebody's self-healing tool is no reason to take a healthy version back. */
    onForeignEdit: 'reassert',
  },
  onFailure: 'rollback',
  onConflict: 'reject',
} as const;

/** Lower and upper bounds, both allowed. */
export const BOUNDS = {
  /** A file is read whole into memory. */
  fileBytes: 1024 * 1024,
  /** Below a second no metric source has news; above a week it is no soak but a second version in production. */
  soak: ['1s', '7d'],
  deployTimeout: ['1s', '2h'],
  approvalTimeout: ['1s', '30d'],
  smokeInterval: ['100ms', '5m'],
  smokeTimeout: ['100ms', '1m'],
  smokeAttempts: [1, 100],
  interval: ['1s', '1h'],
  initialDelay: ['0s', '1d'],
  /** Remote writes are late by seconds, metrics of clouds by minutes; what comes later is no live metric. */
  lag: ['0s', '1h'],
  window: ['1s', '1d'],
  minMeasurements: [1, 1_000],
  minRequests: [1, 1_000_000],
  failureLimit: [0, 1_000],
  consecutiveErrorLimit: [0, 1_000],
  extend: ['0s', '7d'],
  /** An activity that waits longer for one answer would hold the soak's loop up. */
  prometheusTimeout: ['100ms', '30s'],
  maxRatio: [1, 1_000],
  alpha: [0.000001, 0.5],
  tolerate: [1, 100],
  clusters: [1, 1_000],
  exclude: [1.1, 100],
  plannedBatches: [1, 1_000_000],
  port: [1, 65_535],
  drain: ['0s', '10m'],
  keepOld: ['0s', '7d'],
  routes: [1, 20],
  steps: [1, 100],
  instances: [1, 100],
  metrics: [1, 50],
  labels: 20,
  query: 4_000,
  /** Enough for a filter or two; a path is followed at each look. */
  jsonPath: 500,
} as const;
