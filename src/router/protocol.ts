/**
 * The documents that travel between a cohort router and whoever steers it: plain types and the names on the wire.
 *
 * Units are in the names: `…Ms` milliseconds, `…Seconds` seconds, `weight` percent from 0 to 100 (fractions allowed),
 * rates from 0 to 1. Times are ISO 8601 in UTC, from the wall clock of the process that answers.
 */

/** Which side of a release a request belongs to. */
export type Cohort = 'stable' | 'canary';

/**
 * Who may write: every write of a release carries the release's id and a position that only grows.
 * Fences are ordered by (epoch, step, attempt); two releases with the same epoch exclude each other.
 */
export interface Fence {
  /** The release's id, 1 to 200 visible ASCII characters. */
  readonly release: string;
  /** Grows from one release of a service to the next; an integer from 0. */
  readonly epoch: number;
  /** The release's step; an integer from 0. */
  readonly step: number;
  /** The attempt at this step; an integer from 0. */
  readonly attempt: number;
}

/** Who set a value, from weakest to strongest; `source`: where the weight comes from (`weightFrom`), such as a flag. */
export type Origin = 'default' | 'code' | 'environment' | 'admin' | 'source' | 'release' | 'guard';

/** The machine-readable reason of a refusal. */
export type ProblemCode =
  /** 400: the body is not JSON, or not an object. */
  | 'INVALID_JSON'
  /** 422: a field, a query parameter or a key is wrong; `errors` lists each. */
  | 'INVALID_INPUT'
  /** 401: the admin token is missing or wrong. */
  | 'UNAUTHORIZED'
  /** 403: no admin token is configured, so nobody may write. */
  | 'ADMIN_DISABLED'
  /** 404: no such endpoint. */
  | 'NOT_FOUND'
  /** 405: the endpoint knows other methods; `Allow` lists them. */
  | 'METHOD_NOT_ALLOWED'
  /** 413: the body is over the limit. */
  | 'BODY_TOO_LARGE'
  /** 409: an older fence than the one held, or one already spent on a different write; `held` is the one held. */
  | 'STALE_FENCE'
  /** 409: a write without a fence while a release holds the router; `held` is its fence. */
  | 'RELEASE_HOLDS'
  /** 409: this process took the canary of this release to 0 (guard, or a hand); `tripped` says why. */
  | 'GUARD_TRIPPED'
  /** 409: no canary is declared here by this release (a restarted process has forgotten it). */
  | 'NO_CANARY'
  /** 409: the version to promote is not the canary's. */
  | 'VERSION_MISMATCH'
  /** 409: routing is switched off by configuration. */
  | 'ROUTER_DISABLED'
  /** 422: the app does not have this version; `versions` lists those it has. */
  | 'UNKNOWN_VERSION'
  /** 500: a fault of the router itself. */
  | 'INTERNAL';

/** One wrong input: where, what was found, what is allowed. */
export interface InputError {
  /** A JSON pointer into the body (`/weight`) or `?name` for a query parameter. */
  readonly where: string;
  /** The value found, shortened. */
  readonly found: string;
  /** What is allowed, as a phrase. */
  readonly allowed: string;
}

/** An error answer, `application/problem+json` (RFC 9457). */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** One sentence: what happened and the way out. */
  readonly detail: string;
  readonly code: ProblemCode;
  /** The answering process: what the other documents call `instance`, which RFC 9457 means otherwise. */
  readonly routerInstance: string;
  readonly errors?: readonly InputError[];
  readonly held?: Fence | null;
  readonly tripped?: Trip;
  readonly versions?: readonly string[];
}

/** The rules that can take a canary to 0; `manual` is a person's (or an orchestrator's) roll back. */
export type TripRule = 'error-rate' | 'latency' | 'error-ratio' | 'manual';

/** Why the canary is held at 0 in this process. */
export interface Trip {
  readonly rule: TripRule;
  /** One sentence with the numbers. */
  readonly reason: string;
  readonly at: string;
  readonly version: string;
  /** The release that declared the canary; null when no release did. */
  readonly release: string | null;
  readonly previousWeight: number;
  /** The counts the guard decided on; null when a hand rolled back. */
  readonly evidence: GuardEvidence | null;
}

/** What the guard looked at: counts in its window. */
export interface GuardEvidence {
  readonly windowSeconds: number;
  readonly canary: GuardCounts;
  readonly stable: GuardCounts;
}

/** Counts of one cohort in the guard's window. */
export interface GuardCounts {
  readonly requests: number;
  readonly errors: number;
  /** Requests slower than the latency threshold (0 when that rule is off). */
  readonly slow: number;
}

/**
 * Latencies as cumulative counts: `cumulative[i]` requests took at most `boundsMs[i]`; the last entry of
 * `cumulative`, one more than there are bounds, is the number of all requests. Instances are summed entry by entry.
 */
export interface LatencyHistogram {
  readonly boundsMs: readonly number[];
  readonly cumulative: readonly number[];
}

/** Latency of a cohort, interpolated within histogram buckets; null without requests. */
export interface LatencyQuantiles {
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
  readonly mean: number | null;
}

/** What one cohort did over one span of time. */
export interface CohortCounts {
  readonly requests: number;
  /** Answers with a status from 500, handlers that threw, connections closed before the answer was complete. */
  readonly errors: number;
  /** The part of `errors` whose connection closed before the answer was complete. */
  readonly aborted: number;
  /** errors / requests, 0 to 1; null without requests. */
  readonly errorRate: number | null;
  readonly latencyMs: LatencyQuantiles;
  readonly histogram: LatencyHistogram;
}

/** One cohort in the metrics document. */
export interface CohortMetrics {
  readonly version: string | null;
  /** Since when `total` counts, and before which `window` knows nothing: a start, a reset, or a change of version. */
  readonly since: string;
  readonly window: CohortCounts;
  readonly total: CohortCounts;
}

/** Whom the weight in force has decided about, each subject once, since it last changed; at most some 65,000. */
export interface RoutedSubjects {
  /** The weight that decided. */
  readonly weight: number;
  readonly stable: number;
  readonly canary: number;
}

/**
 * What became of the requests that the weight in force has decided about, both cohorts from the same moment on. Only
 * grows until `since` changes: with the weight, with a reset of the metrics, with a version that is counted anew.
 */
export interface CountsAtWeight {
  /** The weight that decided. */
  readonly weight: number;
  readonly since: string;
  readonly stable: Pick<CohortCounts, 'requests' | 'errors' | 'histogram'>;
  readonly canary: Pick<CohortCounts, 'requests' | 'errors' | 'histogram'>;
}

/** `GET /canary/metrics`. */
export interface MetricsDocument {
  readonly service: string | null;
  /** Random per start of the process: a changed id means a restart that has forgotten weight and fence. */
  readonly instance: string;
  readonly startedAt: string;
  readonly resetAt: string;
  readonly now: string;
  /** A canary is declared, routing is on and no guard has tripped. */
  readonly active: boolean;
  readonly weight: number;
  readonly weightChangedAt: string;
  readonly salt: string | null;
  readonly versions: { readonly stable: string; readonly canary: string | null };
  readonly fence: Fence | null;
  readonly tripped: Trip | null;
  /** The span of `window` in seconds: the current second and the ones before it, never more than this. */
  readonly windowSeconds: number;
  readonly cohorts: { readonly stable: CohortMetrics; readonly canary: CohortMetrics };
  readonly routed: RoutedSubjects;
  readonly atWeight: CountsAtWeight;
  /** Requests steered by a signed override (they count in no cohort), and override tokens ignored. */
  readonly overrides: { readonly accepted: number; readonly rejected: number };
}

/** A configured value and who set it. */
export interface Effective<T> {
  readonly value: T;
  readonly origin: Origin;
}

/** The effective configuration; `false` is a rule that is off. Secrets are shown only as present or absent. */
export interface EffectiveConfig {
  readonly enabled: Effective<boolean>;
  readonly stableVersion: Effective<string>;
  readonly canaryVersion: Effective<string | null>;
  /** `source`: the name of `weightFrom`, where it set the weight. */
  readonly weight: Effective<number> & { readonly source?: string };
  readonly salt: Effective<string | null>;
  readonly versions: Effective<readonly string[] | null>;
  readonly trustProxy: Effective<number | readonly string[] | false>;
  readonly adminToken: Effective<'set' | 'not set'>;
  readonly overrideSecret: Effective<'set' | 'not set' | 'the admin token'>;
  readonly guardMinRequests: Effective<number>;
  readonly guardMaxErrorRate: Effective<number | false>;
  readonly guardMaxLatencyMs: Effective<number | false>;
  readonly guardMaxErrorRatio: Effective<number | false>;
  readonly guardMinErrors: Effective<number>;
  readonly guardWindowSeconds: Effective<number>;
}

/** What happened to the router. */
export type RouterEventType =
  | 'started'
  | 'release-declared'
  | 'release-removed'
  | 'weight-changed'
  | 'promoted'
  | 'rolled-back'
  | 'guard-tripped'
  | 'metrics-reset';

/** One entry of the router's story; `seq` counts from 1 since the start. */
export interface RouterEvent {
  readonly seq: number;
  readonly at: string;
  readonly type: RouterEventType;
  /** One sentence. */
  readonly message: string;
  readonly origin: Origin;
  readonly fence: Fence | null;
  readonly data: Readonly<Record<string, unknown>>;
}

/** `GET /canary/state`. */
export interface StateDocument {
  readonly service: string | null;
  readonly instance: string;
  readonly startedAt: string;
  readonly now: string;
  readonly active: boolean;
  readonly config: EffectiveConfig;
  readonly fence: Fence | null;
  /** The release that declared the canary and has not yet promoted or removed it. */
  readonly holder: string | null;
  readonly guard: { readonly tripped: Trip | null; readonly window: GuardEvidence };
  /** Writes refused since the start, whatever the reason. */
  readonly refusedWrites: number;
  /** The latest events, oldest first. */
  readonly events: readonly RouterEvent[];
}

/** `PUT /canary/release`: declares the canary. */
export interface DeclareRequest {
  readonly version: string;
  /** What the bucket of a subject is computed with; the release's id is a good one. */
  readonly salt: string;
  readonly fence?: Fence;
  /** Lifts this release's trip, as a recorded decision of a person. Default false. */
  readonly rearm?: boolean;
}

/** Answer to `PUT /canary/release` and `DELETE /canary/release`. */
export interface ReleaseAnswer {
  readonly instance: string;
  readonly stableVersion: string;
  readonly canaryVersion: string | null;
  readonly weight: number;
  readonly salt: string | null;
  readonly fence: Fence | null;
}

/** `PUT /canary/weight`. */
export interface WeightRequest {
  readonly weight: number;
  readonly fence?: Fence;
}

/** Answer to `PUT /canary/weight`. */
export interface WeightAnswer {
  readonly instance: string;
  readonly weight: number;
  /** The weight just before this write: after a repeat it is the same weight. */
  readonly previousWeight: number;
  readonly version: string | null;
  readonly fence: Fence | null;
}

/** `POST /canary/promote`. */
export interface PromoteRequest {
  readonly version: string;
  readonly fence?: Fence;
}

/** `DELETE /canary/release`. */
export interface RemoveRequest {
  readonly fence?: Fence;
}

/** `POST /canary/rollback`. */
export interface RollbackRequest {
  /** Why, 1 to 500 characters. */
  readonly reason: string;
  /** Who, for the record. */
  readonly actor?: string;
}

/** Answer to `POST /canary/rollback`. */
export interface RollbackAnswer {
  readonly instance: string;
  readonly weight: 0;
  readonly previousWeight: number;
  /** The canary's version; null when there was none. */
  readonly version: string | null;
  readonly fence: Fence | null;
  readonly tripped: Trip | null;
}

/** Answer to `POST /canary/metrics/reset`. */
export interface ResetAnswer {
  readonly instance: string;
  readonly resetAt: string;
}

/** Names the wire uses. */
export const RouterHeaders = {
  cohort: 'X-Deployment-Cohort',
  version: 'X-Deployment-Version',
  override: 'X-Canary-Override',
  token: 'X-Canary-Token',
} as const;

/** Paths under the admin base path (default `/canary`). */
export const RouterPaths = {
  metrics: '/metrics',
  state: '/state',
  release: '/release',
  weight: '/weight',
  promote: '/promote',
  rollback: '/rollback',
  reset: '/metrics/reset',
} as const;
