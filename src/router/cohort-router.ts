import { randomUUID } from 'node:crypto';
import { createAdmin, type AdminRequest, type AdminResponse } from './admin';
import { anonymousId } from './anonymous-id';
import { clientAddress } from './client-address';
import { systemClock, type RouterClock } from './clock';
import {
  isWeight,
  resolveConfig,
  RouterConfigError,
  type ConfigurableOptions,
  type Environment,
  type RouterConfig,
} from './config';
import { decide, type Decision, type Subject } from './decide';
import { RouterDefaults } from './defaults';
import { EventLog } from './event-log';
import { judgeGuard, type GuardThresholds } from './guard';
import { consoleLogger, safeLogger, type RouterLogger } from './logger';
import { verifyOverride } from './override-token';
import { RouterPrometheus, type PrometheusRegistry } from './prometheus';
import {
  RouterHeaders,
  type Cohort,
  type CohortMetrics,
  type CountsAtWeight,
  type EffectiveConfig,
  type GuardEvidence,
  type MetricsDocument,
  type RouterEvent,
  type StateDocument,
  type Trip,
} from './protocol';
import { CohortRecorder } from './recorder';
import { ReleaseState, type CountsAffected, type Snapshot } from './release-state';
import { SubjectSample } from './subject-sample';
import { WeightCounts } from './weight-counts';

/** What a cohort router is made from. */
export interface CohortRouterOptions extends ConfigurableOptions {
  /** The service's name, as releases know it: shown in documents, and what overrides may be bound to. */
  readonly service?: string;
  /** Base path of the admin endpoints, default `/canary`. */
  readonly adminPath?: string;
  /** Path that answers the Prometheus metrics; default none. */
  readonly prometheusPath?: string;
  /** A prom-client registry to add the metrics to. */
  readonly registry?: PrometheusRegistry;
  /** Where log lines go; default the console, one JSON object a line. */
  readonly logger?: RouterLogger;
  /** Called for each event; may throw, must not block. */
  readonly onEvent?: (event: RouterEvent) => void;
  /** Environment variables; default the process's. Pass `{}` to ignore them. */
  readonly environment?: Environment;
  /** Time source; default the process's clocks. */
  readonly clock?: RouterClock;
  /**
   * Takes the weight from elsewhere, such as a feature flag (`flagWeight` of `sluice/flags`), asked with each request.
   * It rules while no release holds the router and nothing has tripped.
   */
  readonly weightFrom?: WeightSource;
}

/** Where a weight comes from that neither a release nor a person sets. */
export interface WeightSource {
  /** For the log, the events and the state. */
  readonly name: string;
  /** Percent for the canary, 0 to 100, now; null: not known, the weight stays. In memory: no I/O, no waiting. */
  weight(): number | null;
}

/** What the router needs to know of a request. All of it is optional; what is missing narrows who can be a canary. */
export interface RoutedRequest {
  /** The id of the authenticated user, from the app's own session: never from a header the client wrote. */
  readonly userId?: string | number | null | undefined;
  /** The client's address, if the app knows better than `trustProxy`. */
  readonly clientAddress?: string | null | undefined;
  /** The address of the socket's other end. */
  readonly remoteAddress?: string | undefined;
  /** The header `X-Forwarded-For`. */
  readonly forwardedFor?: string | undefined;
  /** The header `Cookie`. */
  readonly cookie?: string | undefined;
  /** The header `X-Canary-Override`. */
  readonly override?: string | undefined;
}

/** Where a request goes, and what it was decided by. */
export interface Assignment extends Decision {
  /** What kind of subject was hashed; `none` when none was needed or found. */
  readonly subject: Subject['kind'];
}

/** How a request ended: with a status, by an exception, or with the connection closed before the answer was complete. */
export type RequestEnd = { readonly status: number } | 'threw' | 'aborted';

/** One request on its way through the app. */
export interface Exchange {
  /** Decided once: it stays, whatever happens to the weight meanwhile. */
  readonly assignment: Assignment;
  /** Headers for the answer. */
  readonly headers: Readonly<Record<string, string>>;
  /** A cookie for the answer. */
  readonly setCookie: string | null;
  /** Whether the decision looked at the cookie, so that the answer varies by it. */
  readonly variesByCookie: boolean;
  /** Counts the request; only the first call does. */
  finish(end: RequestEnd): void;
}

/** The in-app cohort router: decides, counts, guards, and answers its admin endpoints. Holds no resources to close. */
export interface CohortRouter {
  /** Random per start. */
  readonly instance: string;
  /** Decides where a request goes and starts its clock. Never throws, does no I/O. */
  begin(request: RoutedRequest): Exchange;
  /** Whether a path belongs to the admin endpoints. */
  isAdminPath(path: string): boolean;
  /** Answers an admin request; never throws. */
  handleAdmin(request: AdminRequest): AdminResponse;
  /** The state that decisions are made from now. */
  snapshot(): Snapshot;
  /** The metrics document; `windowSeconds` from 1 to 300, default 300. */
  metrics(windowSeconds?: number): MetricsDocument;
  /** The state document. */
  state(): StateDocument;
  /** The metrics in Prometheus' text format 0.0.4. */
  prometheus(): string;
  /** Takes the canary to 0 at once and holds it there; null when there is none. */
  rollback(reason: string, actor?: string): Trip | null;
  /** For adapters: a function the app gave them threw. Told in the log at the 1st, 2nd, 4th, 8th … time. */
  noteAppFault(name: string, error: unknown): void;
}

/**
 * Creates a cohort router. Throws {@link RouterConfigError} when options or environment are wrong; after that nothing
 * about it throws into the app.
 */
export function createCohortRouter(options: CohortRouterOptions = {}): CohortRouter {
  return new Router(options);
}

/** What is remembered of a request until it ends. */
interface Begun {
  /** What it was decided by. */
  readonly snapshot: Snapshot;
  readonly generation: number;
  readonly startedMs: number;
}

/** Adapters may be called thousands of times a second: no closures per request but one, nothing kept. */
class Router implements CohortRouter {
  readonly instance = randomUUID();
  readonly #service: string | null;
  readonly #config: RouterConfig;
  readonly #clock: RouterClock;
  readonly #logger: RouterLogger;
  readonly #appFaults = new Map<string, number>();
  readonly #events: EventLog;
  readonly #state: ReleaseState;
  readonly #thresholds: GuardThresholds;
  readonly #recorders: Readonly<Record<Cohort, CohortRecorder>>;
  readonly #prometheus: RouterPrometheus;
  readonly #admin: ReturnType<typeof createAdmin>;
  readonly #addressOf: ReturnType<typeof clientAddress>;
  readonly #anonymous: ReturnType<typeof anonymousId> | null;
  readonly #startedAtMs: number;
  readonly #originMs: number;
  /** Start of counting, by cohort. */
  readonly #since: Record<Cohort, number>;
  /** Grows when a cohort's counts start anew, so that requests begun before do not count into them. */
  readonly #generation: Record<Cohort, number> = { stable: 0, canary: 0 };
  readonly #subjects = new SubjectSample();
  readonly #atWeight = new WeightCounts();
  readonly #overrides = { accepted: 0, rejected: 0 };
  readonly #weightFrom: WeightSource | null;
  #resetAtMs: number;
  #refusedWrites = 0;
  #warnedAboutProxy = false;

  constructor(options: CohortRouterOptions) {
    const config = resolveConfig(options, options.environment ?? process.env);
    const paths = checkPaths(options);
    this.#config = config;
    this.#service = options.service ?? null;
    this.#weightFrom = options.weightFrom ?? null;
    this.#clock = options.clock ?? systemClock;
    this.#logger = safeLogger(options.logger ?? consoleLogger);
    this.#events = new EventLog(this.#clock, this.#logger, options.onEvent);
    this.#startedAtMs = this.#clock.now();
    this.#originMs = this.#clock.monotonic();
    this.#resetAtMs = this.#startedAtMs;
    this.#since = { stable: this.#startedAtMs, canary: this.#startedAtMs };
    this.#thresholds = thresholdsOf(config);
    const window = { windowSeconds: this.#thresholds.windowSeconds, slowMs: this.#thresholds.maxLatencyMs };
    this.#recorders = { stable: new CohortRecorder(window), canary: new CohortRecorder(window) };
    this.#addressOf = clientAddress(config.trustProxy.value);
    this.#anonymous = config.anonymousId === null ? null : anonymousId(config.anonymousId);
    this.#state = new ReleaseState(
      config,
      () => this.#clock.now(),
      (event, counts) => {
        this.#startCountsAnew(counts);
        this.#events.add(event);
      },
    );
    this.#prometheus = new RouterPrometheus(() => this.#state.snapshot);
    if (options.registry !== undefined) this.#prometheus.register(options.registry);
    this.#admin = createAdmin({
      instance: this.instance,
      ...paths,
      adminToken: config.adminToken.value,
      state: this.#state,
      metrics: (windowSeconds) => this.metrics(windowSeconds),
      describe: () => this.state(),
      prometheus: () => this.prometheus(),
      rollback: (reason, actor) => this.rollback(reason, actor),
      resetMetrics: () => this.#resetMetrics(),
      refused: (code, detail, endpoint) => this.#noteRefusal(code, detail, endpoint),
    });
    this.#announce();
  }

  begin(request: RoutedRequest): Exchange {
    const snapshot = this.snapshot();
    const identity = this.#identify(snapshot, request);
    const decision = decide(snapshot, identity.subject);
    this.#subjects.note(snapshot, decision);
    const assignment: Assignment = Object.freeze({ ...decision, subject: identity.subject.kind });
    const generation = this.#generation[assignment.cohort];
    const startedMs = this.#clock.monotonic();
    let open = assignment.reason !== 'override';
    return {
      assignment,
      headers: { [RouterHeaders.cohort]: assignment.cohort, [RouterHeaders.version]: assignment.version },
      setCookie: identity.setCookie,
      variesByCookie: identity.variesByCookie,
      finish: (end) => {
        if (!open) return;
        open = false;
        this.#count(assignment, { snapshot, generation, startedMs }, end);
      },
    };
  }

  isAdminPath(path: string): boolean {
    return this.#admin.owns(path);
  }

  handleAdmin(request: AdminRequest): AdminResponse {
    return this.#admin.handle(request);
  }

  snapshot(): Snapshot {
    if (this.#weightFrom !== null) this.#takeWeight(this.#weightFrom);
    return this.#state.snapshot;
  }

  metrics(windowSeconds: number = RouterDefaults.windowSeconds): MetricsDocument {
    const snapshot = this.snapshot();
    return {
      service: this.#service,
      instance: this.instance,
      startedAt: isoTime(this.#startedAtMs),
      resetAt: isoTime(this.#resetAtMs),
      now: isoTime(this.#clock.now()),
      active: snapshot.active,
      weight: snapshot.weight,
      weightChangedAt: isoTime(snapshot.weightChangedAtMs),
      salt: snapshot.salt,
      versions: { stable: snapshot.stableVersion, canary: snapshot.canaryVersion },
      fence: snapshot.fence,
      tripped: snapshot.tripped,
      windowSeconds,
      cohorts: {
        stable: this.#cohortMetrics('stable', snapshot.stableVersion, windowSeconds),
        canary: this.#cohortMetrics('canary', snapshot.canaryVersion, windowSeconds),
      },
      routed: this.#subjects.counts(snapshot),
      atWeight: this.#countsAtWeight(snapshot),
      overrides: { ...this.#overrides },
    };
  }

  state(): StateDocument {
    const snapshot = this.snapshot();
    return {
      service: this.#service,
      instance: this.instance,
      startedAt: isoTime(this.#startedAtMs),
      now: isoTime(this.#clock.now()),
      active: snapshot.active,
      config: this.#effectiveConfig(snapshot),
      fence: snapshot.fence,
      holder: snapshot.holder,
      guard: { tripped: snapshot.tripped, window: this.#guardEvidence() },
      refusedWrites: this.#refusedWrites,
      events: this.#events.list(),
    };
  }

  prometheus(): string {
    return this.#prometheus.text();
  }

  rollback(reason: string, actor?: string): Trip | null {
    const before = this.#state.snapshot;
    const trip = this.#state.trip('manual', reason, null, actor === undefined ? {} : { actor });
    if (trip !== null && before.tripped === null) this.#prometheus.tripped('manual');
    return trip;
  }

  /** A release that holds the router, and a trip, are stronger than where the weight comes from. */
  #takeWeight(source: WeightSource): void {
    const { canaryVersion, holder, tripped, enabled, weight } = this.#state.snapshot;
    if (!enabled || canaryVersion === null || holder !== null || tripped !== null) return;
    let wanted: number | null;
    try {
      wanted = source.weight();
    } catch (error) {
      this.noteAppFault(`weightFrom ${source.name}`, error);
      return;
    }
    if (wanted !== null && wanted !== weight && isWeight(wanted)) {
      this.#state.setWeight({ weight: wanted, fence: undefined, source: source.name });
    }
  }

  /** Who the client is, as far as this decision needs it. */
  #identify(snapshot: Snapshot, request: RoutedRequest): Identity {
    if (request.override !== undefined) {
      const cohort = this.#overrideOf(snapshot, request.override);
      if (cohort !== null) return identified({ kind: 'override', cohort });
    }
    // Nothing to decide: no address is parsed and no cookie set.
    if (!snapshot.active || snapshot.weight <= 0) return nobody;
    const { userId } = request;
    if (userId !== undefined && userId !== null && userId !== '') {
      return identified({ kind: 'user', key: String(userId) });
    }
    const address = request.clientAddress ?? this.#addressFrom(request);
    if (address !== null && address !== '') return identified({ kind: 'address', key: address });
    if (this.#anonymous === null) return nobody;
    const known = this.#anonymous.read(request.cookie);
    if (known !== null) {
      return { subject: { kind: 'anonymous', key: known }, setCookie: null, variesByCookie: true };
    }
    const { id, setCookie } = this.#anonymous.issue();
    return { subject: { kind: 'anonymous', key: id }, setCookie, variesByCookie: true };
  }

  noteAppFault(name: string, error: unknown): void {
    const times = (this.#appFaults.get(name) ?? 0) + 1;
    this.#appFaults.set(name, times);
    // Ever more rarely: it may be every request.
    if (!Number.isInteger(Math.log2(times))) return;
    this.#logger.error('a function of the app that the router asks threw; the request goes on without its answer', {
      function: name,
      times,
      error: error instanceof Error ? error.message : String(error),
    });
  }

  #addressFrom({ remoteAddress, forwardedFor }: RoutedRequest): string | null {
    if (forwardedFor !== undefined && this.#config.trustProxy.value === false && !this.#warnedAboutProxy) {
      this.#warnedAboutProxy = true;
      this.#logger.warn(
        'a request carries X-Forwarded-For but no proxy is trusted: such clients are told apart by cookie; set trustProxy or CANARY_TRUST_PROXY',
        { remoteAddress },
      );
    }
    return this.#addressOf({ remoteAddress, forwardedFor });
  }

  #overrideOf(snapshot: Snapshot, token: string): Cohort | null {
    const secret = this.#config.overrideSecret.value;
    const context = { nowMs: this.#clock.now(), salt: snapshot.salt, service: this.#service };
    const cohort = secret === null ? null : verifyOverride(secret, token, context);
    if (cohort === null) {
      this.#overrides.rejected += 1;
      this.#prometheus.overrideRejected();
    } else {
      this.#overrides.accepted += 1;
    }
    return cohort;
  }

  #count(assignment: Assignment, { snapshot, generation, startedMs }: Begun, end: RequestEnd): void {
    const { cohort, version } = assignment;
    const nowMs = this.#clock.monotonic();
    const latencyMs = Math.max(0, nowMs - startedMs);
    const error = typeof end === 'string' || end.status >= 500;
    this.#prometheus.observe(cohort, version, latencyMs, error);
    // Begun before a promotion or a new canary: it belongs to a version these counts are no longer about.
    if (generation !== this.#generation[cohort]) return;
    this.#recorders[cohort].record(this.#secondAt(nowMs), { latencyMs, error, aborted: end === 'aborted' });
    this.#atWeight.record(cohort, { latencyMs, error }, snapshot, this.#state.snapshot);
    if (cohort === 'canary') this.#runGuard();
  }

  #runGuard(): void {
    const snapshot = this.#state.snapshot;
    if (!snapshot.active || snapshot.weight <= 0) return;
    const evidence = this.#guardEvidence();
    const breach = judgeGuard(this.#thresholds, evidence);
    if (breach === null) return;
    // Counted first, so that whoever hears of the event finds it in the metrics.
    this.#prometheus.tripped(breach.rule);
    this.#state.trip(breach.rule, breach.reason, evidence);
  }

  #guardEvidence(): GuardEvidence {
    const second = this.#secondAt(this.#clock.monotonic());
    return {
      windowSeconds: this.#thresholds.windowSeconds,
      canary: this.#recorders.canary.guardCounts(second),
      stable: this.#recorders.stable.guardCounts(second),
    };
  }

  #secondAt(monotonicMs: number): number {
    return Math.max(0, Math.floor((monotonicMs - this.#originMs) / 1000));
  }

  #cohortMetrics(cohort: Cohort, version: string | null, windowSeconds: number): CohortMetrics {
    const recorder = this.#recorders[cohort];
    return {
      version,
      since: isoTime(this.#since[cohort]),
      window: recorder.window(this.#secondAt(this.#clock.monotonic()), windowSeconds),
      total: recorder.total(),
    };
  }

  #countsAtWeight(snapshot: Snapshot): CountsAtWeight {
    const { sinceMs, weight, stable, canary } = this.#atWeight.counts(snapshot);
    return { weight, since: isoTime(sinceMs), stable, canary };
  }

  #startCountsAnew(counts: CountsAffected): void {
    if (counts !== 'none') this.#atWeight.reset(this.#clock.now());
    const cohorts: Cohort[] = counts === 'none' ? [] : counts === 'canary' ? ['canary'] : ['stable', 'canary'];
    for (const cohort of cohorts) {
      this.#recorders[cohort].reset();
      this.#generation[cohort] += 1;
      this.#since[cohort] = this.#clock.now();
    }
  }

  #resetMetrics(): string {
    this.#startCountsAnew('both');
    this.#overrides.accepted = 0;
    this.#overrides.rejected = 0;
    this.#resetAtMs = this.#clock.now();
    this.#events.add({
      type: 'metrics-reset',
      message: 'an administrator reset the metrics',
      origin: 'admin',
      fence: null,
      data: {},
    });
    return isoTime(this.#resetAtMs);
  }

  #noteRefusal(code: string, detail: string, endpoint: string): void {
    this.#refusedWrites += 1;
    this.#logger.warn('admin request refused', { code, detail, endpoint });
  }

  #effectiveWeight({ weight: value, origins }: Snapshot): EffectiveConfig['weight'] {
    const origin = origins.weight;
    const source = origin === 'source' ? this.#weightFrom?.name : undefined;
    return { value, origin, ...(source === undefined ? {} : { source }) };
  }

  #effectiveConfig(snapshot: Snapshot): EffectiveConfig {
    const { adminToken, overrideSecret, guard } = this.#config;
    const secretState =
      overrideSecret.value === null ? 'not set' : overrideSecret.origin === 'default' ? 'the admin token' : 'set';
    return {
      enabled: this.#config.enabled,
      stableVersion: { value: snapshot.stableVersion, origin: snapshot.origins.stableVersion },
      canaryVersion: { value: snapshot.canaryVersion, origin: snapshot.origins.canaryVersion },
      weight: this.#effectiveWeight(snapshot),
      salt: { value: snapshot.salt, origin: snapshot.origins.salt },
      versions: this.#config.versions,
      trustProxy: this.#config.trustProxy,
      adminToken: { value: adminToken.value === null ? 'not set' : 'set', origin: adminToken.origin },
      overrideSecret: { value: secretState, origin: overrideSecret.origin },
      guardMinRequests: guard.minRequests,
      guardMaxErrorRate: guard.maxErrorRate,
      guardMaxLatencyMs: guard.maxLatencyMs,
      guardMaxErrorRatio: guard.maxErrorRatio,
      guardMinErrors: guard.minErrors,
      guardWindowSeconds: guard.windowSeconds,
    };
  }

  #announce(): void {
    const snapshot = this.#state.snapshot;
    this.#events.add({
      type: 'started',
      message: 'cohort router started',
      origin: 'default',
      fence: null,
      data: { service: this.#service, instance: this.instance, config: this.#effectiveConfig(snapshot) },
    });
    for (const variable of this.#config.unknownVariables) {
      this.#logger.warn('an environment variable looks like one of the router and is none', { variable });
    }
  }
}

interface Identity {
  readonly subject: Subject;
  readonly setCookie: string | null;
  readonly variesByCookie: boolean;
}

const nobody: Identity = { subject: { kind: 'none' }, setCookie: null, variesByCookie: false };

function identified(subject: Subject): Identity {
  return { subject, setCookie: null, variesByCookie: false };
}

function thresholdsOf({ guard }: RouterConfig): GuardThresholds {
  return {
    minRequests: guard.minRequests.value,
    maxErrorRate: guard.maxErrorRate.value,
    maxLatencyMs: guard.maxLatencyMs.value,
    maxErrorRatio: guard.maxErrorRatio.value,
    minErrors: guard.minErrors.value,
    windowSeconds: guard.windowSeconds.value,
  };
}

/** Paths are compared with the request's, so they have its form. */
function checkPaths(options: CohortRouterOptions): { adminPath: string; prometheusPath: string | null } {
  const adminPath = options.adminPath ?? RouterDefaults.adminPath;
  const prometheusPath = options.prometheusPath ?? null;
  const problems = Object.entries({ adminPath, prometheusPath })
    .filter(([, path]) => path !== null && !/^(\/[\w.~-]+)+$/.test(path))
    .map(
      ([name, path]) => `option ${name} is ${JSON.stringify(path)}; allowed: a path such as /canary, without a final /`,
    );
  if (problems.length > 0) throw new RouterConfigError(problems);
  return { adminPath, prometheusPath };
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
