import { LONGEST_AFTER_OUTAGE_MS } from '../../spec/after-outage';

/** The numbers of the Kubernetes client, each with where it comes from. */
export const CLUSTER_DEFAULTS = {
  /** Who our writes belong to in `metadata.managedFields`. */
  fieldManager: 'sluice',
  /** One try of one request. The API server ends a request of its own accord after 60 s; a healthy one answers in 1. */
  timeoutMs: 10_000,
  /** All tries of one request together: well inside the 30 s that activities give their calls. */
  retryBudgetMs: 20_000,
  /**
   * The same in an activity, which is tried again itself: a try that begins by then and hangs ends before the 20 s that the
   * shortest attempt may take, and so the attempt ends with what is wrong and not with Temporal's word for its time.
   */
  activityRetryBudgetMs: 8_000,
  /** Tries of one request, the first included. */
  maxTries: 5,
  /** First wait between two tries; doubles each time, with full jitter, so that many workers do not return together. */
  firstDelayMs: 100,
  maxDelayMs: 5_000,
  /**
   * Longest wish to be left alone that an activity keeps: the API server's own are of a second, and an activity that is
   * given a minute is to have another try in it, whatever a proxy says.
   */
  longestWishMs: 30_000,
  /** Largest answer. A page of 250 pods comes to some 5 MB; anything beyond is not what was asked for. */
  maxBytes: 32 * 1024 * 1024,
  /** Objects in a page of a list. */
  pageSize: 250,
  /** Pages of one list: a selector that matches more than 25,000 objects is a mistake. */
  maxPages: 100,
  /** Connections kept to one API server; HTTP/1.1, so this many requests are under way at once, others wait. */
  maxSockets: 32,
  /** For the question whether the server is ready; it answers from its memory. */
  readyzMs: 3_000,
  /** Reviews of our own permissions under way at once: a release needs some twenty, and others need connections, too. */
  reviewsAtOnce: 8,
} as const;

/** The numbers of an API server's outages, each with where it comes from. */
export const OUTAGE_DEFAULTS = {
  /** What is over sooner is a connection that was cut, or another leader; watches are back within two seconds of it. */
  shortestMs: 3_000,
  /**
   * client-go's reflector (`NewExponentialBackoffManager(800ms, 30s, 2min, 2.0, 1.0)`) may wait twice more after the API
   * server's return, see `ApiOutages`: twice the outage and 1.6 s, then twice that again, each a minute at most. Of 60
   * informers of client-go 0.34 after six outages of 33 s one in seventy came later than 90 s, the last after 103 s.
   */
  followFactor: 6,
  /** What the two waits have beyond the outage (4.8 s), the list, and a configuration, which Traefik writes every 2 s. */
  followMs: 10_000,
  longestFollowMs: LONGEST_AFTER_OUTAGE_MS,
  /**
   * So long after an outage a right that is said to be missing may be there: a server that has just begun answers 403
   * until it has read its roles, and of several behind one address each begins in its own time. 130 ms were seen of an
   * empty cluster; one with thousands of roles takes some seconds.
   */
  rightsUnreadMs: 30_000,
} as const;

/** The numbers of watching single objects, each with where it comes from. */
export const WATCH_DEFAULTS = {
  /** From asking for credentials to the answer's head: the API server sends that at once, whether there are events or not. */
  openMs: 5_000,
  /**
   * How long the server lets a watch go on, seconds; with as much again by chance, so that many do not return together. As
   * client-go has it.
   */
  lastsS: 300,
  /** Between two PINGs of a connection, and for the answer: so long may a cut line go unnoticed. */
  pingEveryMs: 10_000,
  pongWithinMs: 5_000,
  /** Before the kernel asks a silent peer by itself. */
  keepAliveMs: 15_000,
  /** Watches of one connection; the API server allows fewer of its own accord (100 or 250), and says how many. */
  streamsPerConnection: 200,
  /** The same until it has said so: what HTTP/2 (RFC 9113, 6.5.2) asks of every server at least. */
  streamsUntold: 100,
  /** Without event or bookmark a watch is not believed any longer: the API server sends a bookmark each minute. */
  quietMs: 150_000,
  /** A watch that nobody read for so long is closed: a release looks twice a minute even while it waits for a person. */
  idleMs: 120_000,
  /** How long an object is asked for each time after its watch was refused: a Role may be mended meanwhile. */
  refusedMs: 300_000,
  /** The same after a watch that failed otherwise. */
  failedMs: 10_000,
} as const;

/** The numbers of waiting for pods, each with where it comes from. */
export const READY_DEFAULTS = {
  /**
   * From the first pods of a version to its first share: a gateway hears of pods and of its routes by watches of their own,
   * mostly within 100 ms. One that heard of the share first would have nobody to send it to, and Traefik for instance
   * looks again after two seconds only.
   */
  gatewayHearsMs: 1_000,
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
  /** Pods whose events are read in one look, of those that no node takes: they have one template, and mostly one reason. */
  podsAskedAbout: 5,
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
