import type { Colour, SmokeTestStep, TrafficMatchPlan } from '../spec/plan-types';

/** What a release changes. One per plan; holds connections until it is closed. */
export interface Target {
  /** Looks, changes nothing; resolves the version to what will run, where its name is not all there is. */
  observe(look: TargetLook): Promise<TargetView>;
  /** Brings the version up beside stable at weight 0. Repeating it changes nothing. Answers a sentence. */
  deploy(write: TargetWrite & { timeoutMs: number }): Promise<string>;
  /** Asks the canary itself, whatever the weight. Throws `smokeTestFailed` with what was answered. */
  smokeTest(request: { test: SmokeTestStep; release: string; version: string; signal: AbortSignal }): Promise<string>;
  /**
   * All of the target reaches the weight, or none keeps it: where one part refuses a raise, the others go back to
   * `previousWeight` and the call throws. A lowering is kept wherever it arrived. Answered once it is read back, but for
   * `back`: on the way back the write is what counts, and `removeCanary` reads it back before it takes any pods.
   */
  setWeight(write: WeightWrite & { previousWeight: number; back?: boolean }): Promise<string>;
  /** Puts right what somebody else changed, and says what it was. */
  reassert(write: WeightWrite): Promise<Reassertion>;
  /**
   * Makes the version the stable one. Repeating it changes nothing. Where that makes pods anew, they are tested, and
   * traffic stays on the canary: it comes back by `setWeight`.
   */
  promote(write: TargetWrite & PromoteRequest): Promise<string>;
  /**
   * The inverse of `promote`, and of half of one. Where that makes pods anew, the proven canary gets all of the traffic
   * first, as long as it has its pods.
   */
  restoreStable(write: TargetWrite & { stableVersion: string }): Promise<string>;
  /** The inverse of `deploy`; after a promotion, what it left: of two tracks that both stay, the one without traffic. */
  removeCanary(write: TargetWrite): Promise<string>;
  close(): void;
}

/**
 * The place of a write in the order of all writes to a target: compared by epoch, then step, then attempt. A target
 * keeps the highest it has seen and refuses what comes after it but is older.
 */
export interface WriteFence {
  readonly release: string;
  readonly epoch: number;
  readonly step: number;
  readonly attempt: number;
}

export interface TargetLook {
  readonly version: string;
  /** All that the release will route by beside the weight; a target without room for it refuses. */
  readonly match?: readonly TrafficMatchPlan[];
  /** All that it will ask for; where not every percentage can be reached, the view says what these come to. */
  readonly weights?: readonly number[];
  readonly signal: AbortSignal;
}

export interface TargetWrite {
  readonly version: string;
  /** What the version was resolved to by `observe`; null where its name is all there is. */
  readonly artifact: string | null;
  readonly fence: WriteFence;
  readonly signal: AbortSignal;
  /** Of a clean-up: the colour that is to be without users. One that has some by now is refused as `notIdle`. */
  readonly idle?: Colour;
}

export interface WeightWrite extends TargetWrite {
  readonly weight: number;
  /** Requests that get the canary whatever the weight; only a target that says so knows any. */
  readonly match: readonly TrafficMatchPlan[];
}

export interface PromoteRequest {
  readonly release: string;
  readonly smokeTest: SmokeTestStep | null;
  readonly timeoutMs: number;
}

export interface TargetView {
  /** Null while there is none: a service that has no pods yet. */
  readonly stableVersion: string | null;
  readonly canaryVersion: string | null;
  readonly weight: number;
  readonly artifact: string | null;
  /** The colour without users, where the tracks are colours. */
  readonly idle?: Colour;
  /** Why only the canary can carry the traffic that it has, and what to do: a sentence. Left out where stable can, too. */
  readonly onlyCanary?: string;
  /** What weights can be reached at all, a clause. Left out where each can. */
  readonly reach?: string;
  /** Which of the weights asked about cannot be reached, and what they come to: a sentence. Left out where all can. */
  readonly missed?: string;
}

export interface Reassertion {
  readonly foreignEdits: readonly string[];
  /** Somebody else's changes that stand as they are, because they are his to make: told once a step. */
  readonly standing?: readonly string[];
  /** The target's own guard took the canary back; its sentence. */
  readonly guardTripped: string | null;
  /** Parts that did not answer, each with why. */
  readonly unreachable: readonly string[];
  /** What metrics call the two tracks, where that is not `canary` and `stable`. */
  readonly tracks?: { readonly canary: string; readonly stable: string };
  /** Where traffic is not dealt out by the weight and request by request: how it is. */
  readonly dealing?: Dealing;
}

export interface Dealing {
  /** What can be reached of the weight, percent. */
  readonly share: number;
  /** Requests that may share one decision: those of a connection that is kept. */
  readonly perDecision: number;
}

/** Why a target did not do as it was told; only `unreachable` may mend itself. */
export type TargetFailureKind =
  | 'fenceLost'
  | 'guardTripped'
  | 'unknownVersion'
  | 'deployFailed' // the version does not come up: its pods crash, cannot be pulled or placed, or are not ready in time
  | 'smokeTestFailed'
  | 'invalidTarget'
  | 'unsupported'
  | 'notIdle' // the colour that is to be cleaned up has the traffic by now
  | 'unreachable';

export class TargetFailure extends Error {
  readonly kind: TargetFailureKind;
  /** Of an `unreachable`: for how long whoever was asked wishes to be left alone. */
  readonly retryAfterMs: number | undefined;

  constructor(kind: TargetFailureKind, message: string, options: { cause?: unknown; retryAfterMs?: number } = {}) {
    super(message, options);
    this.name = 'TargetFailure';
    this.kind = kind;
    this.retryAfterMs = options.retryAfterMs;
  }
}
