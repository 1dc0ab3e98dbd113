import type {
  Actor,
  ApproveMessage,
  MessageAck,
  MessageBase,
  QueueStatus,
  ReleaseStatus,
  RollbackMessage,
  SetWeightMessage,
  Outcome,
  Phase,
} from '../workflows/api';
import type { Plan } from '../spec/plan-types';

/** The one way in: what CLI, server and CI do with releases. Every method throws `ReleaseError` and nothing else. */
export interface SluiceClient {
  /** Where it is connected to, for messages: `127.0.0.1:7233, namespace default`. */
  readonly where: string;
  /** Starts a release, or hands it to the service's queue when another one runs and the plan says so. */
  deploy(plan: Plan, options: DeployOptions): Promise<DeployResult>;
  /** The service's current or last release. `code: 'not-found'` when there was never one. */
  status(service: ServiceRef): Promise<ReleaseStatus>;
  /** The plan of the service's current or last release; null when there was never one, or Temporal has forgotten it. */
  lastPlan(service: ServiceRef): Promise<Plan | null>;
  /**
   * Yields the status whenever it changed, beginning with the present one, until the release ended (its last status
   * is yielded) or `signal` aborts. Rides out short absences of Temporal and of the worker, telling `onTrouble`.
   */
  watch(service: ServiceRef, options?: WatchOptions): AsyncIterable<ReleaseStatus>;
  /** Newest first. */
  list(options?: ListOptions): Promise<ReleaseSummary[]>;
  queue(service: ServiceRef): Promise<QueueStatus | null>;
  approve(service: ServiceRef, message: ApproveMessage, options?: MessageOptions): Promise<MessageAck>;
  reject(service: ServiceRef, message: ApproveMessage, options?: MessageOptions): Promise<MessageAck>;
  pause(service: ServiceRef, message: MessageBase, options?: MessageOptions): Promise<MessageAck>;
  resume(service: ServiceRef, message: MessageBase, options?: MessageOptions): Promise<MessageAck>;
  promote(service: ServiceRef, message: MessageBase, options?: MessageOptions): Promise<MessageAck>;
  /** One that only waits in the queue, named by `release`, is withdrawn. */
  rollback(service: ServiceRef, message: RollbackMessage, options?: MessageOptions): Promise<MessageAck>;
  setWeight(service: ServiceRef, message: SetWeightMessage, options?: MessageOptions): Promise<MessageAck>;
  skipSoak(service: ServiceRef, message: MessageBase, options?: MessageOptions): Promise<MessageAck>;
  /** Who polls the task queue; empty when nobody does. */
  workers(): Promise<WorkerInfo[]>;
  /** Names of Sluice's search attributes that the namespace does not know; null where the caller may not look. */
  missingSearchAttributes(): Promise<readonly string[] | null>;
  /**
   * Whether this is most likely another program's Temporal: nobody has chosen the address, no worker of Sluice polls
   * there, and not one of its search attributes is registered. Nothing should be written to such a one.
   */
  isStranger(): Promise<boolean>;
  close(): Promise<void>;
}

export interface ServiceRef {
  readonly service: string;
  readonly namespace: string;
  /** A certain release of the service, by id; the newest when left out. */
  readonly release?: string;
}

export interface MessageOptions {
  /** The same id for the same release is the same message: it is carried out once, and answered as before. */
  readonly updateId?: string;
}

export interface DeployOptions {
  readonly actor: Actor;
  readonly reason?: string;
  /** Overrides the plan's. */
  readonly onConflict?: Plan['onConflict'];
  /** Of this request: while the release that it began waits, or is the service's newest, a repeat is answered with that. */
  readonly startKey?: string;
}

export interface DeployResult {
  readonly release: string;
  readonly workflowId: string;
  readonly state: 'started' | 'queued';
  /** The release it waits for, when queued. */
  readonly behind: string | null;
  /** That one is promoted and only keeps the old version, which it gives up now: a matter of seconds. */
  readonly endsKeeping?: true;
  /** It was begun before, by a request with the same key. */
  readonly repeated?: true;
}

export interface WatchOptions {
  readonly signal?: AbortSignal;
  /** Milliseconds between looks; 500 by default. */
  readonly everyMs?: number;
  readonly onTrouble?: (sentence: string) => void;
}

export interface ListOptions {
  readonly service?: string;
  readonly namespace?: string;
  readonly open?: boolean;
  readonly limit?: number;
}

export interface ReleaseSummary {
  readonly release: string;
  readonly service: string;
  readonly namespace: string;
  readonly version: string;
  /** `queued`: it waits for another release of the service to end, and `startedAt` is since when. */
  readonly phase: Phase | 'queued';
  readonly outcome: Outcome | null;
  readonly weight: number;
  readonly startedAt: number;
  readonly endedAt: number | null;
  readonly workflowId: string;
  /** Null while it waits in the queue. */
  readonly runId: string | null;
  /** Its metrics are a script's; absent from any other, and while it waits in the queue. */
  readonly simulated?: true;
  /** It failed before it changed anything; absent from any other. */
  readonly refused?: true;
}

export interface WorkerInfo {
  readonly identity: string;
  readonly lastSeen: number | null;
}
