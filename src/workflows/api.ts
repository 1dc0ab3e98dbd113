import type { Plan, PlanStep, TrafficMatchPlan } from '../spec/plan-types';
import type { EvidenceState } from '../analysis/gather-evidence';
import type { RoutingState } from '../analysis/routing-check';
import type { KayentaPoints, KayentaReport } from '../analysis/kayenta-course';
import type { JudgeState, MetricVerdict, Verdict } from '../analysis/verdict';

/**
 * The release workflow's public face: its names on the wire, what it takes, what it answers. Types and constants
 * only, so that a client can import it without the workflow's code.
 */

export const RELEASE_WORKFLOW = 'release';
export const RELEASE_QUEUE_WORKFLOW = 'releaseQueue';
export const TASK_QUEUE = 'sluice';

/** The workflow id is the lock: one release per service and namespace at a time. */
export function releaseWorkflowId(namespace: string, service: string): string {
  return `release:${namespace}/${service}`;
}

export function releaseQueueWorkflowId(namespace: string, service: string): string {
  return `release-queue:${namespace}/${service}`;
}

/** The search attributes a release sets. */
export const RELEASE_ATTRIBUTES = {
  service: { name: 'SluiceService', type: 'KEYWORD' },
  namespace: { name: 'SluiceNamespace', type: 'KEYWORD' },
  release: { name: 'SluiceRelease', type: 'KEYWORD' },
  version: { name: 'SluiceVersion', type: 'KEYWORD' },
  phase: { name: 'SluicePhase', type: 'KEYWORD' },
  outcome: { name: 'SluiceOutcome', type: 'KEYWORD' },
  weight: { name: 'SluiceWeight', type: 'INT' },
} as const;

/** Their types by their names; all are registered by `sluice dev` and the worker. */
export const SEARCH_ATTRIBUTES: Readonly<Record<string, 'KEYWORD' | 'INT'>> = Object.fromEntries(
  Object.values(RELEASE_ATTRIBUTES).map(({ name, type }) => [name, type]),
);

/**
 * In the memo of a release that is promoted and only keeps the old version: until when, epoch milliseconds. It does not
 * hold up the next release, which ends it.
 */
export const KEEPS_OLD_MEMO = 'keepsOldUntil';
/** In the memo of a release whose metrics are a script's, for lists; absent from any other. */
export const SIMULATED_MEMO = 'simulated';
/** In the memo of a release that failed before it changed anything, for lists; absent from any other. */
export const REFUSED_MEMO = 'refused';

/** Its metrics are a script's (`--simulate`). */
export function isSimulated({ analysis }: Plan): boolean {
  return analysis.source.kind === 'simulated';
}

/** In the memo of a release: the key of the request that started it, where that had one. */
export const START_KEY_MEMO = 'startKey';

/** Who did something, and by which door. */
export interface Actor {
  /** As the door knows them: a user name, a CI job. Never empty. */
  readonly name: string;
  readonly groups?: readonly string[];
  readonly via: 'cli' | 'ci' | 'server' | 'signal' | 'workflow';
}

export interface ReleaseInput {
  /** The release's id: unique, and sortable by start. */
  readonly release: string;
  readonly plan: Plan;
  readonly startedBy: Actor;
  readonly reason?: string;
  /** Of the request that started it: a repeat of that is known by it. */
  readonly startKey?: string;
  /** Only from one run of a release to its next (continue-as-new). */
  readonly carried?: ReleaseState;
  /** History length at which the release continues as new; for tests, 3,800 otherwise. */
  readonly historyLimit?: number;
}

export type Phase =
  | 'starting'
  | 'deploying'
  | 'smokeTesting'
  | 'shifting' // a weight is being set
  | 'soaking'
  | 'awaitingApproval'
  | 'paused'
  | 'promoting'
  | 'cleaningUp' // what is left of a track is being taken away
  | 'rollingBack'
  | 'promoted'
  | 'cleanedUp'
  | 'rolledBack'
  | 'failed'; // ended without being able to say all-old or all-new, or without having cleaned up; a person was paged

export type Outcome =
  | 'promoted'
  | 'cleanedUp' // of a clean-up: the track has neither traffic nor pods
  | 'rolledBack' // by the evidence or a failed step
  | 'aborted' // by a person: roll back, or cancelled
  | 'rejected' // an approval was refused
  | 'superseded' // a newer release took its place
  | 'failed'; // a person gave up the rest of a roll back; a clean-up was not carried out

export interface ReleaseResult {
  readonly release: string;
  readonly service: string;
  readonly version: string;
  readonly outcome: Outcome;
  readonly reason: string;
}

/** A write's place in the order of all writes to a target; compared by epoch, then step, then attempt. */
export interface Fence {
  readonly release: string;
  /** The release's start in epoch milliseconds, by Temporal's clock. */
  readonly epoch: number;
  /** Grows with every write the workflow asks for. */
  readonly step: number;
}

/** The inverse of a change, recorded before the change is made. Run in reverse order. */
export type Compensation =
  | { readonly op: 'removeCanary' }
  | { readonly op: 'restoreWeight'; readonly weight: number }
  | { readonly op: 'restoreStable'; readonly version: string };

/** One measurement as it is shown and carried: the verdicts, not the raw answer. */
export interface Measurement {
  readonly at: number;
  readonly step: number;
  readonly weight: number;
  readonly observedShare: number | null;
  readonly verdict: Verdict;
  readonly sentence: string;
  readonly metrics: readonly MetricVerdict[];
  /** Does the router deliver the weight asked for? Absent where that is not looked at. */
  readonly routing?: RoutingReport;
  /** What Kayenta's judge says about the weight; only of a look that ends a soak, where it is asked. */
  readonly kayenta?: KayentaReport;
  readonly simulated?: boolean;
}

/** What both tracks were sent since the weight changed, held against the share asked for. Its verdict is its own. */
export interface RoutingReport {
  /** `fail`: the weight asked for is not delivered; `pass`: nothing says so. */
  readonly verdict: Exclude<Verdict, 'inconclusive'>;
  /** Fraction of the traffic that was asked for, and that the canary got; null while that is not known. */
  readonly asked: number;
  readonly delivered: number | null;
  readonly canary: number | null;
  readonly stable: number | null;
  readonly sentence: string;
  readonly query: string;
  /** Natural logarithm of the evidence against the router, the highest at this weight. */
  readonly highest: number;
}

export type EventType =
  | 'started'
  | 'deployed'
  | 'smokeTestPassed'
  | 'matchChanged'
  | 'weightChanged'
  | 'weightUncertain' // held after a change that was not answered, and what holds it is not answered either
  | 'stepPassed'
  | 'stepFailed'
  | 'stepSkipped'
  | 'approvalRequested'
  | 'approved'
  | 'rejected'
  | 'approvalExpired'
  | 'paused'
  | 'resumed'
  | 'soakSkipped'
  | 'soakExtended'
  | 'weightRequested'
  | 'promotionRequested'
  | 'rollbackRequested'
  | 'foreignEdit'
  | 'misrouted' // the router does not deliver the weight asked for
  | 'guardTripped'
  | 'messageIgnored'
  | 'successorWaiting'
  | 'successorWithdrawn'
  | 'notificationFailed'
  | 'stableReplaced'
  | 'promoted'
  | 'keepOldEnded' // from here on there is no way back but another release
  | 'cleanedUp'
  | 'leftOver'
  | 'rollbackStarted'
  | 'compensated'
  | 'compensationFailed'
  | 'rolledBack'
  | 'failed';

/** One entry of a release's story: when, what, why (evidence), who. */
export interface ReleaseEvent {
  /** 1, 2, 3 …, without a gap, across continue-as-new. */
  readonly seq: number;
  /** Epoch milliseconds, the workflow's time. */
  readonly at: number;
  readonly type: EventType;
  /** A whole sentence. */
  readonly message: string;
  readonly actor: Actor;
  /** Index into the plan's steps, where the event belongs to one. */
  readonly step?: number;
  /** The weight after the event: in force, but for that of a roll back or a clean-up, which is written by then. */
  readonly weight: number;
  readonly evidence?: Measurement;
}

export type StepState = 'pending' | 'running' | 'passed' | 'failed' | 'skipped';

export interface StepStatus {
  readonly name: string;
  readonly kind: PlanStep['kind'];
  readonly state: StepState;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  /** Why it ended as it did. */
  readonly sentence: string | null;
  readonly verdict: Verdict | null;
  /** Measurements taken, and those valid and passed. */
  readonly measurements: number;
  /** The measurement that decided, or the last one. */
  readonly evidence: Measurement | null;
}

export interface PauseStatus {
  readonly since: number;
  readonly by: Actor;
  readonly reason: string;
  /** `failure`: a failing verdict or step under `onFailure: pause`; only `resume` lifts it, nothing raises the weight. */
  readonly cause: 'person' | 'failure' | 'noData' | 'approvalExpired' | 'manualWeight' | 'misrouted';
}

export interface ApprovalStatus {
  readonly step: number;
  readonly by: readonly string[];
  readonly since: number;
  readonly expiresAt: number;
  readonly onExpiry: 'rollback' | 'pause' | 'continue';
}

export interface SoakStatus {
  readonly startedAt: number;
  /** Grows while paused, so that a pause does not eat the soak. */
  readonly endsAt: number;
  readonly extended: boolean;
}

/** A promoted release whose old version is still there; a roll back then is one write. */
export interface KeepOldStatus {
  readonly since: number;
  readonly until: number;
  /** The old one. */
  readonly version: string;
}

/** The whole state as one typed document: what CLI, server and dashboard show. Answer of the query `status`. */
export interface ReleaseStatus {
  readonly apiVersion: 'sluice.dev/v1';
  readonly kind: 'ReleaseStatus';
  readonly release: string;
  readonly service: string;
  readonly namespace: string;
  readonly workflowId: string;
  readonly runId: string;
  readonly target: Plan['target']['kind'];
  /** `from` is null until the target was looked at. */
  readonly version: {
    readonly from: string | null;
    readonly to: string;
    /** What `to` was resolved to, an image by its digest; null where its name is all there is. */
    readonly artifact: string | null;
  };
  readonly phase: Phase;
  readonly outcome: Outcome | null;
  /** One sentence about now. */
  readonly message: string;
  /** Why what is under way is tried again and again, while it is; `message` says it with how often. */
  readonly trouble?: string;
  /** What the activity under way waits for, as it says itself, while it does; `message` ends with it. */
  readonly waits?: string;
  readonly weight: number;
  readonly observedShare: number | null;
  /** Index of the current step; equal to the number of steps once they are over. */
  readonly step: number;
  readonly steps: readonly StepStatus[];
  readonly soak: SoakStatus | null;
  readonly approval: ApprovalStatus | null;
  readonly paused: PauseStatus | null;
  /** Set from the promotion on while the old version is kept; `endedAt` is null as long. */
  readonly keepOld?: KeepOldStatus | null;
  /** Set while a roll back cannot finish: what fails, how often it was tried. */
  readonly stuck: { readonly since: number; readonly message: string; readonly attempts: number } | null;
  /** What a roll back would run, newest last; each entry was here before the change that it takes back was made. */
  readonly compensations?: readonly Compensation[];
  /** Releases that wait for this one's end. */
  readonly successors: readonly string[];
  /** The newest measurements, oldest first; at most 60. */
  readonly measurements: readonly Measurement[];
  readonly events: readonly ReleaseEvent[];
  readonly startedAt: number;
  readonly endedAt: number | null;
  readonly startedBy: Actor;
  readonly reason: string | null;
  readonly planHash: string;
  readonly simulated: boolean;
  /** It failed before it changed anything, so that its roll back had nothing to do; absent from any other. */
  readonly refused?: true;
}

/** Everything a release knows, JSON, handed from run to run by continue-as-new. */
export interface ReleaseState {
  epoch: number;
  startedAt: number;
  endedAt: number | null;
  fenceStep: number;
  phase: Phase;
  outcome: Outcome | null;
  message: string;
  stableVersion: string | null;
  /** What the version was resolved to at the start; see `TargetRef`. */
  artifact: string | null;
  /** Requests that get the canary whatever the weight, by the match steps so far. */
  match: TrafficMatchPlan[];
  weight: number;
  observedShare: number | null;
  /** When the weight last changed; measurements do not look further back. */
  weightSince: number;
  step: number;
  steps: StepStatus[];
  soak: SoakProgress | null;
  /** How late after its time the answers of the latest looks came, in milliseconds; older workers hand over none. */
  looksTook?: number[];
  approval: ApprovalStatus | null;
  paused: PauseStatus | null;
  /** The old version is kept, although the release is promoted. */
  keepOld: KeepOldStatus | null;
  /** A rollback in progress or asked for. */
  rollback: RollbackCause | null;
  /** Asked for by people, not carried out yet. */
  wishes: Wishes;
  /** The judge's memory outside of soaks, while a person is waited for with the canary under traffic. */
  guardJudge: JudgeState | null;
  compensations: Compensation[];
  /** What a promoted release still has to remove; nothing of it gets traffic. */
  leftovers: Compensation[];
  /** Pods without traffic are kept until then (epoch milliseconds); null where none had any. */
  drainUntil: number | null;
  stuck: { since: number; message: string; attempts: number } | null;
  successors: string[];
  measurements: Measurement[];
  events: ReleaseEvent[];
  /** Answers to updates that were carried out, by update id: the server forgets them at continue-as-new. */
  handledUpdates: Record<string, MessageAck>;
  notified: NotifyState;
  /** The workflow itself was cancelled; it ends as cancelled once it is compensated. */
  cancelled: boolean;
  /** A weight was asked for and its write not answered: it may be in force, or come into force late. */
  uncertainWeight: boolean;
  /** See `ReleaseStatus`; absent in a state of an older worker, too. */
  refused?: true;
  /** That weight, where a person has asked for less than there was. */
  loweringTo?: number;
  /** Foreign edits found since the weight last changed. */
  foreignEdits: number;
  /** Of the routing at this weight: the most evidence against it, and whether that was told. */
  routing: RoutingState & { told: boolean };
  /** What was counted of the release so far; absent until something was, and in a state of an older worker. */
  evidence?: EvidenceState;
}

/** What people asked for and the release has not acted on yet. */
export interface Wishes {
  promote: { readonly actor: Actor } | null;
  skipSoak: { readonly actor: Actor; readonly reason: string | null } | null;
  weight: { readonly weight: number; readonly actor: Actor } | null;
  decision: { readonly approved: boolean; readonly actor: Actor; readonly reason: string | null } | null;
  /** In a roll back that is stuck. */
  retryNow: boolean;
  abandon: { readonly actor: Actor } | null;
}

export interface SoakProgress extends SoakStatus {
  startedAt: number;
  endsAt: number;
  extended: boolean;
  /** When the next measurement is due. */
  nextAt: number;
  judge: JudgeState | null;
  /** Measurements in a row that could not be made at all. */
  lost: number;
  /** What Kayenta's judge is to be asked about; absent where it is not. */
  kayenta?: KayentaProgress;
}

export interface KayentaProgress {
  /** The last look's time, where the next one's window begins at the earliest; null before the first. */
  lookedAt: number | null;
  points: readonly KayentaPoints[];
  /** Its last answer about this weight; null until it was asked. */
  answer: KayentaReport | null;
}

export interface RollbackCause {
  readonly outcome: Exclude<Outcome, 'promoted' | 'failed'>;
  readonly reason: string;
  readonly actor: Actor;
  readonly evidence?: Measurement;
}

export interface NotifyState {
  /** Slack's handle of the release's message, once it was posted. */
  slack: { channel: string; ts: string } | null;
  /** Events up to this number were told. */
  upTo: number;
  failures: number;
}

// ---- messages ----------------------------------------------------------------------------------------------

/** What every message of a person carries. */
export interface MessageBase {
  readonly actor: Actor;
  readonly reason?: string;
  /** When given, the message is refused unless the service's current release is this one (stale-click safe). */
  readonly release?: string;
  /** Epoch milliseconds; arriving later by the workflow's time, the message is refused. Left out: it is always meant. */
  readonly deadline?: number;
}

export interface ApproveMessage extends MessageBase {
  /** Index of the approval step meant; the one that waits when left out. */
  readonly step?: number;
}

export interface SetWeightMessage extends MessageBase {
  readonly weight: number;
}

export interface RollbackMessage extends MessageBase {
  /** In a roll back that cannot finish: give up what is left, and end as `failed`. */
  readonly abandon?: boolean;
}

/** The answer to an update: what was recorded. */
export interface MessageAck {
  readonly release: string;
  readonly seq: number;
  readonly message: string;
  /** Of a release whose metrics are a script's; absent from any other. */
  readonly simulated?: true;
}

export const UPDATES = [
  'approve',
  'reject',
  'pause',
  'resume',
  'rollback',
  'promote',
  'setWeight',
  'skipSoak',
] as const;
export type UpdateName = (typeof UPDATES)[number];

/** Signals from people at the Temporal UI or CLI; everything in them is optional. */
export interface SignalPayload {
  readonly by?: string;
  readonly groups?: readonly string[];
  readonly reason?: string;
}

/** Input of the queue's signal `enqueue`. */
export interface QueuedRelease {
  readonly input: ReleaseInput;
  /** True: the running release is asked to roll back, and those waiting before this one give way. */
  readonly supersede: boolean;
  /** When the queue heard of it, epoch milliseconds; set by the queue. */
  readonly since?: number;
}

/** The queue's update and signal `withdraw`: a release that only waits is not to be started at all. */
export interface WithdrawMessage {
  readonly release: string;
  readonly actor: Actor;
  readonly reason?: string;
}

export interface WaitingRelease {
  readonly release: string;
  readonly version: string;
  readonly supersede: boolean;
  /** Epoch milliseconds. */
  readonly since: number;
  readonly by: Actor;
  /** Of the request that it came of, where that had one. */
  readonly startKey?: string;
}

/** A release that waited and never started, and why. */
export type DroppedRelease = { readonly release: string; readonly version: string } & (
  | { readonly supersededBy: string }
  | { readonly withdrawn: { readonly by: Actor; readonly reason: string | null; readonly at: number } }
);

export interface QueueStatus {
  readonly service: string;
  readonly namespace: string;
  readonly waiting: readonly WaitingRelease[];
  /** Releases that never started; the newest 20. */
  readonly dropped?: readonly DroppedRelease[];
  /** Why the next one cannot be started, where it is not just that another release runs. */
  readonly trouble?: { readonly message: string; readonly tries: number; readonly nextTryAt: number } | null;
}

/** What a queue's memo says, so that lists know who waits without asking a worker. */
export interface QueueMemo {
  readonly waiting: readonly WaitingRelease[];
}

/** What a question fails with that a worker cannot answer just now: what it knew was ahead (ahead-of-task.ts). */
export const ASK_AGAIN = 'A worker is just taking this over: ask again.';

/** `type` of the failures a release throws or refuses with. */
export const FAILURES = {
  refused: 'Refused', // a message that is not allowed now
  forbidden: 'Forbidden', // a message from someone who may not
  tooLate: 'TooLate', // a message that arrives after its deadline; the workflow's time is its detail
} as const;
