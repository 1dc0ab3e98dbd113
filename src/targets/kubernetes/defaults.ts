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
} as const;
