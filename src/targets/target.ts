import type { SmokeTestStep } from '../spec/plan-types';

/** What a release changes. One per plan; holds connections until it is closed. */
export interface Target {
  /** Looks, changes nothing. */
  observe(signal: AbortSignal): Promise<TargetView>;
  /** Brings the version up beside stable at weight 0. Repeating it changes nothing. Answers a sentence. */
  deploy(write: TargetWrite): Promise<string>;
  /** Asks the canary itself, whatever the weight. Throws `smokeTestFailed` with what was answered. */
  smokeTest(request: { test: SmokeTestStep; release: string; version: string; signal: AbortSignal }): Promise<string>;
  /**
   * All of the target reaches the weight, or none keeps it: where one part refuses a raise, the others go back to
   * `previousWeight` and the call throws. A lowering is kept wherever it arrived.
   */
  setWeight(write: TargetWrite & { weight: number; previousWeight: number }): Promise<string>;
  /** Puts right what somebody else changed, and says what it was. */
  reassert(write: TargetWrite & { weight: number }): Promise<Reassertion>;
  /** Makes the version the stable one. Repeating it changes nothing. */
  promote(write: TargetWrite): Promise<string>;
  /** The inverse of `promote`, and of half of one. */
  restoreStable(write: TargetWrite & { stableVersion: string }): Promise<string>;
  /** The inverse of `deploy`. */
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

export interface TargetWrite {
  readonly version: string;
  readonly fence: WriteFence;
  readonly signal: AbortSignal;
}

export interface TargetView {
  readonly stableVersion: string;
  readonly canaryVersion: string | null;
  readonly weight: number;
}

export interface Reassertion {
  readonly foreignEdits: readonly string[];
  /** The target's own guard took the canary back; its sentence. */
  readonly guardTripped: string | null;
  /** Parts that did not answer, each with why. */
  readonly unreachable: readonly string[];
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
  | 'unreachable';

export class TargetFailure extends Error {
  readonly kind: TargetFailureKind;

  constructor(kind: TargetFailureKind, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'TargetFailure';
    this.kind = kind;
  }
}
