import type { KayentaPolicy } from '../analysis/kayenta-policy';

/**
 * The plan: what a spec and a version come to, step by step. Pure data, JSON through and through: it is what the
 * workflow is started with, what `sluice plan` prints and what approvals are bound to (by `hash`).
 * All durations are milliseconds, all weights percent of traffic (0 to 100), all ratios fractions (0.05 is 5 %).
 */
export interface Plan {
  readonly apiVersion: 'sluice.dev/v1';
  readonly kind: 'Plan';
  readonly service: string;
  readonly namespace: string;
  /** The new version: for a router the version's name, for Kubernetes an image reference. */
  readonly version: string;
  readonly target: TargetPlan;
  /** Always begins with `deploy` and ends with `promote`; of a clean-up, that alone. */
  readonly steps: readonly PlanStep[];
  readonly analysis: AnalysisPlan;
  readonly onFailure: OnFailure;
  readonly onConflict: OnConflict;
  readonly notify: NotifyPlan;
  /** Which command asked for a release of what is there already; left out of one that brings a version. */
  readonly short?: ShortKind;
  /** SHA-256 (hex) of the plan's canonical JSON without this field. */
  readonly hash: string;
}

/** A release that brings no new version, by its command. */
export type ShortKind = 'traffic' | 'promote' | 'switch' | 'cleanup';

export type OnFailure = 'rollback' | 'pause';
export type OnConflict = 'reject' | 'queue' | 'supersede';

export type TargetPlan = RouterTargetPlan | KubernetesTargetPlan | FlagTargetPlan;

/** One or several instances of an app that carries the in-app cohort router, by their admin addresses. */
export interface RouterTargetPlan {
  readonly kind: 'router';
  /** Base URLs, for example `http://10.0.0.7:3000`. */
  readonly instances: readonly string[];
  /** Name of the worker's environment variable that holds the admin token. Never the token itself. */
  readonly tokenEnv: string;
  /** Name of the worker's environment variable with the secret that signs override tokens, for the smoke test. */
  readonly overrideSecretEnv: string;
}

export interface KubernetesTargetPlan {
  readonly kind: 'kubernetes';
  /** Of the service and everything about it. */
  readonly namespace: string;
  /** metadata.name: what metrics and labels call the service. */
  readonly serviceName: string;
  /** Of the service, as users know it: the stable Deployment, or for blue-green the name that -blue and -green follow. */
  readonly deployment: string;
  readonly service: string;
  readonly strategy: 'canary' | 'blueGreen';
  readonly traffic: TrafficPlan;
  /** Which container gets the image; null: the only one, or the one named like the Deployment. */
  readonly container: string | null;
  /** Of the Service, for the smoke test; null: the one named http, or the only one where that has no name. */
  readonly port: number | null;
  readonly resolveImage: 'registry' | 'never';
  readonly config: 'keep' | 'snapshot';
  /** From the last of the traffic to the removal of pods. */
  readonly drainMs: number;
  /** For blue-green: from the promotion to the old version's scaling down. */
  readonly keepOldMs: number;
  readonly onForeignEdit: 'reassert' | 'rollback';
}

/** Who splits the traffic in Kubernetes. */
export type TrafficPlan =
  | { readonly kind: 'gatewayAPI'; readonly routes: readonly GatewayRoutePlan[] }
  | { readonly kind: 'nginx'; readonly ingresses: readonly string[] }
  | { readonly kind: 'traefik'; readonly traefikService: string }
  | { readonly kind: 'istio'; readonly virtualService: string }
  | { readonly kind: 'serviceSelector' }
  | { readonly kind: 'replicas' };

export interface GatewayRoutePlan {
  readonly kind: 'HTTPRoute' | 'GRPCRoute';
  readonly name: string;
}

export interface FlagTargetPlan {
  readonly kind: 'flag';
  readonly name: string;
  readonly environment: string;
  /** Names of the worker's environment variables with the flag service's address, and with an API key of it. */
  readonly urlEnv: string;
  readonly tokenEnv: string;
}

export type PlanStep = DeployStep | SmokeTestStep | MatchStep | WeightStep | ApproveStep | PromoteStep | CleanUpStep;

interface StepBase {
  /** What people see: `weight 5 %`. */
  readonly name: string;
}

export interface DeployStep extends StepBase {
  readonly kind: 'deploy';
  /** The colour that is to be idle when the step begins; left out where any will do. */
  readonly onto?: Colour;
  /** How long the canary may take to be ready. */
  readonly timeoutMs: number;
}

export interface SmokeTestStep extends StepBase {
  readonly kind: 'smokeTest';
  readonly path: string;
  readonly expectStatus: number;
  /** Text the answer's body must contain; null when any body will do. */
  readonly expectBody: string | null;
  /** Tries before the test has failed, at least 1. */
  readonly attempts: number;
  readonly intervalMs: number;
  /** Of one request. */
  readonly timeoutMs: number;
}

export interface WeightStep extends StepBase {
  readonly kind: 'weight';
  readonly weight: number;
  readonly soakMs: number;
}

/** From here on requests that are marked get the new version, whatever the weight. */
export interface MatchStep extends StepBase {
  readonly kind: 'match';
  readonly match: TrafficMatchPlan;
}

export type TrafficMatchPlan =
  /** `value: null` stands for NGINX's own words, `always` and `never`. */
  | { readonly kind: 'header'; readonly name: string; readonly value: string | null }
  /** A cookie whose value is `always`. */
  | { readonly kind: 'cookie'; readonly name: string };

export interface ApproveStep extends StepBase {
  readonly kind: 'approve';
  /** Names or groups of those who may approve; empty means anyone who says who they are. */
  readonly by: readonly string[];
  readonly timeoutMs: number;
  readonly onExpiry: 'rollback' | 'pause' | 'continue';
}

export interface PromoteStep extends StepBase {
  readonly kind: 'promote';
  readonly timeoutMs: number;
  /**
   * Where the stable track is made anew (a canary in Kubernetes): how its traffic comes back to it. Null where the
   * promotion is one write.
   */
  readonly handBack: HandBackPlan | null;
}

export interface HandBackPlan {
  /** Of the new stable track's pods, before any traffic; null for none. */
  readonly smokeTest: SmokeTestStep | null;
  /** How long half of the traffic is on the new stable track, analysed, before all of it is. */
  readonly soakMs: number;
}

/** Takes away what is left of a track: its traffic first, its pods once they have drained. */
export interface CleanUpStep extends StepBase {
  readonly kind: 'cleanUp';
  readonly track: TrackName;
}

export type Colour = 'blue' | 'green';
/** A track that may be without users: the canary, or of a blue-green pair the idle colour. */
export type TrackName = 'canary' | Colour;

export interface AnalysisPlan {
  readonly source: MetricSourcePlan;
  /** Between two measurements. */
  readonly intervalMs: number;
  /** From a weight change to the first measurement that counts. */
  readonly initialDelayMs: number;
  /**
   * How late samples arrive: sources are asked about the moment that long before the look. Absent where they are asked
   * about the look itself, as in an older plan.
   */
  readonly lagMs?: number;
  /** A measurement looks back this far, but never past the last weight change. */
  readonly windowMs: number;
  /** A step passes only with at least this many valid measurements. */
  readonly minMeasurements: number;
  /** Requests the canary must have had in the window for a measurement to be valid. */
  readonly minRequests: number;
  /** Failed measurements a step tolerates; one more fails it. */
  readonly failureLimit: number;
  /** Measurements in a row that may end in `error` (the backend's fault); one more ends the step's wait. */
  readonly consecutiveErrorLimit: number;
  /** What to do at a soak's end without enough valid measurements: hold the weight for `extendMs` more, then this. */
  readonly onNoData: { readonly extendMs: number; readonly then: 'pause' | 'rollback' | 'promote' };
  readonly metrics: readonly MetricPlan[];
  /**
   * Comparison of event ratios with stable by a significance test at each look, for metrics without counters (of an
   * older plan: for all); null when switched off.
   */
  readonly compare: { readonly alpha: number; readonly tolerate: number } | null;
  /** What follows when the router does not deliver the weight; `off`, and absent in an older plan: it is not looked at. */
  readonly routingCheck?: RoutingCheck;
  /** The evidence judge; null when switched off, absent in an older plan. */
  readonly evidence?: EvidencePlan | null;
  /** Kayenta's judge, asked at the end of each soak; absent where it is not, as in an older plan. */
  readonly kayenta?: KayentaPolicy;
}

/** How metrics with counters are compared with stable, over the whole release. */
export interface EvidencePlan {
  /** Chance that a healthy version is ever failed, by all metrics of the whole release together. */
  readonly alpha: number;
  /**
   * The part of alpha that is for the new stable pods, which are judged by themselves while the traffic is handed back;
   * the rest is the canary's. Absent where nothing is handed back, and in an older plan, where either has all of it.
   */
  readonly stableShare?: number;
  /** The canary may be that many times as bad as stable. */
  readonly tolerate: number;
  /** Bad events of one cause. */
  readonly clusters: number;
  /** Batches that the plan has room for, over which a late turn to the bad is spread. */
  readonly plannedBatches: number;
  /** A soak ends as soon as there is this evidence that the canary is good enough; null: it lasts as long as it lasts. */
  readonly promotion: { readonly exclude: number; readonly beta: number } | null;
}

export type RoutingCheck = 'off' | 'warn' | 'pause' | 'rollback';

export type MetricSourcePlan =
  | { readonly kind: 'router' }
  /** The outcomes that were posted to the service of the flag that is the target. */
  | { readonly kind: 'flag' }
  | {
      readonly kind: 'prometheus';
      readonly url: string;
      /** Name of the worker's environment variable with a bearer token; null for none. */
      readonly tokenEnv: string | null;
      readonly timeoutMs: number;
    }
  | {
      /** Any server that answers JSON, at the addresses of the metrics. */
      readonly kind: 'http';
      /** As for Prometheus. */
      readonly tokenEnv: string | null;
      readonly timeoutMs: number;
    }
  | { readonly kind: 'simulated'; readonly phases: readonly SimulatedPhase[] };

/** What the scripted source of `--simulate` answers while the weight is at least `fromWeight`. */
export interface SimulatedPhase {
  readonly fromWeight: number;
  /** Fraction of the canary's requests that fail. */
  readonly errorRate: number;
  /** Seconds. */
  readonly p95: number;
  readonly noData?: boolean;
}

export type MetricUnit = 'ratio' | 'seconds' | 'count';

export interface MetricPlan {
  readonly name: string;
  readonly unit: MetricUnit;
  /** The canary's value fails above; in the metric's unit. null for no limit. */
  readonly max: number | null;
  /** The canary's value fails below. */
  readonly min: number | null;
  /** The canary's value fails above this many times stable's. */
  readonly maxRatio: number | null;
  readonly query: MetricQuery;
  /** What the evidence judge counts; null, and absent in an older plan: nothing. */
  readonly counters?: MetricCounters | null;
  /**
   * At most this share of the canary's events may be bad (of a latency: slower than `max`, which it then has), over the
   * whole release; null, and absent: no objective.
   */
  readonly objective?: number | null;
  /** Judged and shown, and never acted on. */
  readonly dryRun?: boolean;
  /** One failed measurement fails the step, whatever `failureLimit` tolerates. */
  readonly critical?: boolean;
  /** The spec's own words, shown with its verdicts; absent without any. */
  readonly note?: string;
}

/**
 * Counters that only grow, for exact counts of events. PromQL templates as in `MetricQuery`, of instant vectors: one
 * series for each target that counts, a histogram's also for each `le`.
 */
export type MetricCounters =
  /** `good`: what is counted beside the total are the events that are as they should be. */
  | { readonly kind: 'events'; readonly bad: string; readonly total: string; readonly good?: boolean }
  | { readonly kind: 'histogram'; readonly buckets: string }
  | { readonly kind: 'builtin'; readonly metric: 'errors' | 'latency' };

/**
 * What to ask. PromQL templates keep their placeholders (`QUERY_PLACEHOLDERS`: {{service}}, {{namespace}},
 * {{track}}, {{version}}, {{window}}) until the moment of asking; `resolveQuery` fills and escapes them.
 */
export type MetricQuery =
  | { readonly kind: 'ratio'; readonly numerator: string; readonly denominator: string }
  | { readonly kind: 'value'; readonly expression: string; readonly requests: string | null }
  /** An address with the placeholders, and JSONPaths into its answer. */
  | { readonly kind: 'http'; readonly url: string; readonly value: string; readonly requests: string | null }
  | { readonly kind: 'builtin'; readonly metric: 'error-rate' | 'requests' }
  | { readonly kind: 'builtin'; readonly metric: 'latency'; readonly quantile: number };

export interface NotifyPlan {
  readonly slack: { readonly channel: string } | null;
}
