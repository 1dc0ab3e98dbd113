import type { TrafficObject } from './cluster-access';
import type { Reading } from './route-shape';
import type { TrafficDocument, TrafficMatch, TrafficWrite, Verification, VerifyRequest } from './traffic-router';

/** One object (or an object and its twin) that is written as a whole; a router has one or several. */
export interface TrafficUnit {
  /** As people read it. */
  readonly name: string;
  look(options: {
    readonly signal: AbortSignal;
    readonly fresh: boolean;
    /** As of `observe` of a router. */
    readonly planned: readonly TrafficMatch[];
  }): Promise<UnitView>;
  /** Never throws for what the cluster refuses: a raise that may have landed must be taken back. */
  put(write: TrafficWrite & { readonly document: TrafficDocument }): Promise<UnitPut>;
  verify(asked: VerifyRequest): Promise<Verification>;
  release(write: TrafficWrite): Promise<void>;
}

export interface UnitView extends Reading {
  /** All that carry a fence. */
  readonly objects: readonly TrafficObject[];
  readonly foreignEdits: readonly string[];
  /** These as in a `TrafficView`. */
  readonly needsPods?: boolean;
  readonly refusal?: string;
}

export interface UnitPut {
  /** What it said before; null when it could not even be read, so that nothing was sent. */
  readonly before: Reading | null;
  readonly written: boolean;
  readonly foreignEdits: readonly string[];
  readonly notes: readonly string[];
  /** Why the document is not there, or may not be. */
  readonly error: unknown;
}
