import type { EvidenceState } from '../analysis/gather-evidence';
import type { KayentaPoints } from '../analysis/kayenta-course';
import type { RoutingState } from '../analysis/routing-check';
import type { JudgeState, Judgement } from '../analysis/verdict';
import type { AnalysisPlan, Colour, SmokeTestStep, TargetPlan, TrafficMatchPlan } from '../spec/plan-types';
import type { Compensation, Fence, Measurement, ReleaseEvent, ReleaseStatus } from './api';

/** What an activity's heartbeats say, where there is something to say. */
export interface WaitDetails {
  /** The attempt that waits. */
  readonly attempt: number;
  /** What for, a sentence. */
  readonly waits: string;
}

/**
 * What the workflow wants done in the world. Implemented in `src/activities`; kept here so that the workflow's
 * half of the house depends on nothing but its own types.
 */
export interface ReleaseActivities {
  /** Looks at the target without changing it: versions and weight in force. */
  observe(input: ObserveInput): Promise<TargetObservation>;
  /** Brings the new version up beside stable, at weight 0. */
  deploy(input: DeployInput): Promise<{ sentence: string }>;
  smokeTest(input: SmokeTestInput): Promise<{ sentence: string }>;
  /** All of the target reaches the weight, or none keeps it. */
  setWeight(input: SetWeightInput): Promise<{ weight: number; sentence: string }>;
  /** Re-asserts the weight, unless told not to, samples every metric, judges. */
  measure(input: MeasureInput): Promise<MeasureResult>;
  promote(input: PromoteInput): Promise<{ sentence: string }>;
  compensate(input: CompensateInput): Promise<{ sentence: string }>;
  notifySlack(input: NotifySlackInput): Promise<{ channel: string; ts: string }>;
}

export interface TargetRef {
  readonly service: string;
  readonly namespace: string;
  readonly version: string;
  /** What the version was resolved to at the start, an image by its digest; null where its name is all there is. */
  readonly artifact: string | null;
  readonly target: TargetPlan;
  /** Of a clean-up of a colour: that one, which is to be without users all along. */
  readonly idle?: Colour;
}

export interface ObserveInput extends TargetRef {
  /** All that the steps will route by, so that what has no room for it is refused before anything is changed. */
  readonly match?: readonly TrafficMatchPlan[];
  /** All that the steps will ask for, so that what cannot be reached is said before anybody gets more than was asked for. */
  readonly weights?: readonly number[];
}

/** What the traffic is asked to be like, beside the weight. */
export interface Routing {
  /** Requests that get the canary whatever the weight. */
  readonly match: readonly TrafficMatchPlan[];
}

export interface TargetObservation {
  /** Null while the service has no version yet. */
  readonly stableVersion: string | null;
  readonly canaryVersion: string | null;
  readonly weight: number;
  readonly artifact: string | null;
  /** The colour without users, where the tracks are colours. */
  readonly idle?: Colour;
  /** Why only the canary can carry the traffic that it has, and what to do: a sentence. */
  readonly onlyCanary?: string;
  /** Which of the weights cannot be reached, and what they come to: a sentence. */
  readonly missed?: string;
}

export interface DeployInput extends TargetRef {
  readonly fence: Fence;
  /** The step's deadline, for who reads the activity in the Temporal UI; Temporal enforces it. */
  readonly timeoutMs: number;
}

export interface SmokeTestInput extends TargetRef {
  readonly release: string;
  readonly test: SmokeTestStep;
}

export interface SetWeightInput extends TargetRef, Routing {
  readonly fence: Fence;
  readonly weight: number;
  readonly previousWeight: number;
  /** Answered when it is written: of a clean-up, whose removal of the pods reads it back. Left out: once it is read back. */
  readonly back?: boolean;
}

export interface MeasureInput extends TargetRef, Routing {
  readonly fence: Fence;
  /** Which track is judged: the canary, or stable while it takes its traffic back. The other one is compared with. */
  readonly subject: 'canary' | 'stable';
  /** Null: there is no stable track to compare with. */
  readonly stableVersion: string | null;
  readonly weight: number;
  /** The workflow's time, epoch milliseconds. */
  readonly at: number;
  /** When the weight last changed. */
  readonly since: number;
  readonly step: number;
  readonly analysis: AnalysisPlan;
  readonly judge: JudgeState | null;
  /** What is remembered of the routing at this weight; null where there is nothing. */
  readonly routing?: RoutingState | null;
  /** What was counted so far; null, and absent from an older workflow: nothing. */
  readonly evidence?: EvidenceState | null;
  /** False: the weight is left alone, whatever it is; true unless told. */
  readonly reassert?: boolean;
  /** The weight is a lower one that was asked for and not answered: what was delivered since says nothing of the router. */
  readonly unsettled?: true;
  /** Of a soak with Kayenta's judge; absent anywhere else. */
  readonly kayenta?: KayentaQuestion;
}

export interface KayentaQuestion {
  /** When the last look was: a window never begins before it. Null for the first. */
  readonly lookedAt: number | null;
  /** Of the looks before, where the judge is to be asked now; null otherwise. */
  readonly points: readonly KayentaPoints[] | null;
}

export interface MeasureResult {
  readonly measurement: Measurement;
  readonly judgement: Omit<Judgement, 'metrics'>;
  /** What is counted now; absent where no evidence is gathered. */
  readonly evidence?: EvidenceState;
  /** What a clock of the metric source's own had come to, at least, while it was asked; absent where it told none. */
  readonly sourceClock?: number;
  /** Somebody else's change of the weight or version, found and put right. */
  readonly foreignEdits: readonly string[];
  /** Somebody else's changes that are left as they are; absent where there are none. */
  readonly standing?: readonly string[];
  /** The target's own guard took the canary back; its sentence. */
  readonly guardTripped: string | null;
}

export interface PromoteInput extends TargetRef {
  readonly fence: Fence;
  readonly stableVersion: string;
  /** Of what the promotion makes anew, before any traffic; null for none. */
  readonly smokeTest: SmokeTestStep | null;
  readonly release: string;
  readonly timeoutMs: number;
}

export interface CompensateInput extends TargetRef {
  readonly fence: Fence;
  readonly compensation: Compensation;
  /** For who reads the activity in the Temporal UI. */
  readonly reason: string;
}

export interface NotifySlackInput {
  readonly channel: string;
  /** The message to edit; null to post the first. */
  readonly message: { readonly channel: string; readonly ts: string } | null;
  readonly status: ReleaseStatus;
  /** Events not told yet that belong into the thread. */
  readonly news: readonly ReleaseEvent[];
}

/** `type` of the activities' failures; those named in `NON_RETRYABLE` are not tried again. */
export const ACTIVITY_FAILURES = {
  fenceLost: 'FenceLost', // a later write holds the object
  guardTripped: 'GuardTripped', // the target's own guard refuses this version
  unknownVersion: 'UnknownVersion', // the target cannot serve the version
  deployFailed: 'DeployFailed', // the version's pods do not come up
  smokeTestFailed: 'SmokeTestFailed',
  invalidTarget: 'InvalidTarget', // settings that no retry mends: no token, unknown environment variable
  unsupported: 'Unsupported',
  notIdle: 'NotIdle', // a colour that is to be cleaned up has the traffic by now
  unreachable: 'Unreachable', // retried
} as const;

export const NON_RETRYABLE: readonly string[] = [
  ACTIVITY_FAILURES.fenceLost,
  ACTIVITY_FAILURES.guardTripped,
  ACTIVITY_FAILURES.unknownVersion,
  ACTIVITY_FAILURES.deployFailed,
  ACTIVITY_FAILURES.smokeTestFailed,
  ACTIVITY_FAILURES.invalidTarget,
  ACTIVITY_FAILURES.unsupported,
  ACTIVITY_FAILURES.notIdle,
];
