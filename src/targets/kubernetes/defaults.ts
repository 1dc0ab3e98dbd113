/** The numbers of the Kubernetes client, each with where it comes from. */
export const CLUSTER_DEFAULTS = {
  /** Who our writes belong to in `metadata.managedFields`. */
  fieldManager: 'sluice',
  /** One try of one request. The API server ends a request of its own accord after 60 s; a healthy one answers in 1. */
  timeoutMs: 10_000,
  /** All tries of one request together: well inside the 30 s that activities give their calls. */
  retryBudgetMs: 20_000,
  /** Tries of one request, the first included. */
  maxTries: 5,
  /** First wait between two tries; doubles each time, with full jitter, so that many workers do not return together. */
  firstDelayMs: 100,
  maxDelayMs: 5_000,
  /** Largest answer. A page of 250 pods comes to some 5 MB; anything beyond is not what was asked for. */
  maxBytes: 32 * 1024 * 1024,
  /** Objects in a page of a list. */
  pageSize: 250,
  /** Pages of one list: a selector that matches more than 25,000 objects is a mistake. */
  maxPages: 100,
  /** Connections kept to one API server; HTTP/1.1, so this many requests are under way at once, others wait. */
  maxSockets: 32,
  /** Reviews of our own permissions under way at once: a release needs some twenty, and others need connections, too. */
  reviewsAtOnce: 8,
} as const;

/** The numbers of waiting for pods, each with where it comes from. */
export const READY_DEFAULTS = {
  /** Until the second look: the controller needs some 10 to 50 ms to see a change, a pod without probes about a second. */
  firstPollMs: 250,
  /** Each wait is this much longer than the last: ten looks in the first ten seconds, then one each `pollMs`. */
  pollGrowth: 1.5,
  pollMs: 2_000,
  /** Pods are looked at when a Deployment is not ready by then: one that is well mostly is, and costs two requests less. */
  firstPodsMs: 1_000,
  /** Between two looks at the pods: a crash loop is known for a kubelet's back-off of 10 s at least. */
  betweenPodsMs: 3_000,
  /** How long a deadline that was exceeded before the wait began is not taken for this version's. */
  staleDeadlineMs: 10_000,
  /** For the last look at pods and their events, when the time is up. */
  lastLookMs: 5_000,
} as const;

/** The numbers of asking a registry for a digest. */
export const REGISTRY_DEFAULTS = {
  /** All requests for one image: a HEAD, a token and a HEAD take about a second; well inside an activity's 30 s. */
  timeoutMs: 15_000,
  /** Largest manifest; registries take no larger ones than 4 MB (OCI distribution specification, pushing manifests). */
  maxBytes: 4 * 1024 * 1024,
  /** Redirects of one request; one to a content network is usual where there is any. */
  maxRedirects: 3,
} as const;
