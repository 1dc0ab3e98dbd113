import type { Fence } from './fence';

/**
 * Who splits a service's traffic between its stable and its canary track. The routing is a document that is put as a
 * whole: repeating an `apply` changes nothing, and whatever differs from the document afterwards is a foreign edit.
 */
export interface TrafficRouter {
  readonly abilities: TrafficAbilities;
  /**
   * Looks, changes nothing; `fresh` where what the same operation has read before does not do. `planned` are the matches
   * that a release is going to ask for: objects without room for them are refused.
   */
  observe(options: {
    readonly signal: AbortSignal;
    readonly fresh?: boolean;
    readonly planned?: readonly TrafficMatch[];
  }): Promise<TrafficView>;
  /**
   * Makes the routing the document, under the write's fence, which stays on every object written. Of several objects all
   * reach a raise or none keeps it; a lowering is kept wherever it arrived. That it is written does not mean that it is
   * in force: see `verify`.
   *
   * @throws TrafficFailure, and whatever the cluster throws.
   */
  apply(write: TrafficWrite & { readonly document: TrafficDocument }): Promise<Applied>;
  /** Reads back: is the document what the objects say, and does the one who serves them confirm it? Changes nothing. */
  verify(asked: VerifyRequest): Promise<Verification>;
  /**
   * Hands the objects back with all traffic on stable (a Service selector and replicas are left as they are): what was
   * added is removed, what was changed is as before, and no field belongs to us any more. Only the fence stays on what
   * the release did not make itself, so that a late write of it is still refused. Repeating it changes nothing.
   */
  release(write: TrafficWrite): Promise<void>;
}

export interface TrafficWrite extends OnTheWayBack {
  readonly fence: Fence;
  readonly signal: AbortSignal;
}

export interface OnTheWayBack {
  /**
   * For who takes traffic back: where somebody has deleted the object there is nothing to route by, and nothing to take
   * back; where a release of another service holds it, that one's stays as it is. Left out, these fail as `missing` and
   * `occupied`.
   */
  readonly mayBeGone?: boolean;
}

export interface VerifyRequest extends OnTheWayBack {
  readonly document: TrafficDocument;
  readonly signal: AbortSignal;
  /**
   * By the server's own word. After a write of the same operation it need not be: what a watch has told is never older than
   * what the write was answered. A watch is enough while it is waited, too, but neither for giving up, nor where nothing was
   * written before.
   */
  readonly fresh?: boolean;
}

/** Who gets the canary. */
export interface TrafficDocument {
  /** Whole percent of the traffic, 0 to 100. */
  readonly weight: number;
  /** Requests that get the canary whatever the weight; one that fits suffices. */
  readonly match: readonly TrafficMatch[];
}

export type TrafficMatch =
  /** `value: null` stands for the router's own words; NGINX knows `always` and `never`. */
  | { readonly kind: 'header'; readonly name: string; readonly value: string | null }
  /** A cookie whose value is `always`. */
  | { readonly kind: 'cookie'; readonly name: string };

/** What a router can do at all; an `apply` beyond it throws `unsupported`. */
export interface TrafficAbilities {
  /** `percent`: each; `all`: 0 or 100; `replicas`: what the number of pods allows. */
  readonly weights: 'percent' | 'all' | 'replicas';
  readonly matches: readonly ('header' | 'header-value' | 'cookie')[];
  /** Who says that a document is in force: the controller in the object's status, or nobody, so that it is only read back. */
  readonly confirmedBy: 'controller' | 'read-back';
  /** For people: what it can and cannot reach. */
  readonly sentence: string;
}

export interface TrafficView {
  /** What the objects say, the highest of several; null where they say neither track, or nothing that is a share. */
  readonly weight: number | null;
  readonly match: readonly TrafficMatch[];
  /** The newest fence on the objects. */
  readonly fence: Fence | null;
  /** What differs from the last document that was applied, one sentence each; empty when nobody holds the objects. */
  readonly foreignEdits: readonly string[];
  /**
   * True where the canary's Service is named though it has no share, and is to have pods all the same: who serves the
   * objects drops them whole, stable's share included, for a Service without any.
   */
  readonly needsPods?: boolean;
  /** Why no release may begin with these objects, a sentence; left out where one may. */
  readonly refusal?: string;
}

export interface Applied {
  /** False when everything was so already, with this very fence. */
  readonly written: boolean;
  /** What was put right, one sentence each. */
  readonly foreignEdits: readonly string[];
  /** What the document comes to here, where that is not the document; what is still to come. */
  readonly notes: readonly string[];
  /** What of the objects does not exist, one sentence each; only where that was allowed. */
  readonly gone: readonly string[];
}

export type Verification =
  | { readonly kind: 'confirmed'; readonly evidence: readonly string[] }
  /** The controller has not said anything about the last change yet, or pods are still to come. */
  | { readonly kind: 'pending'; readonly reasons: readonly string[] }
  /** The controller refuses the last change; it may still come round, for example when a Service appears. */
  | { readonly kind: 'refused'; readonly reasons: readonly string[] }
  /** The objects say something else. */
  | { readonly kind: 'changed'; readonly reasons: readonly string[] };

export type TrafficFailureKind =
  | 'fenceLost' // a later write, or another release, holds the object
  | 'occupied' // a release of another service holds the object
  | 'invalidRoute' // an object is not made so that traffic can be split
  | 'missing' // an object does not exist
  | 'unsupported' // the document is beyond the router's abilities
  | 'contended' // others wrote faster each time; to be tried again
  | 'partial'; // a raise failed, and could not be taken back everywhere; to be tried again

/** Why routing is not as it was asked for; one sentence. */
export class TrafficFailure extends Error {
  readonly kind: TrafficFailureKind;

  constructor(kind: TrafficFailureKind, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'TrafficFailure';
    this.kind = kind;
  }
}

/** True for the failure that an object does not exist. */
export function isMissing(error: unknown): error is TrafficFailure {
  return error instanceof TrafficFailure && error.kind === 'missing';
}

/** True for the failure that a release of another service holds an object. */
export function isOccupied(error: unknown): error is TrafficFailure {
  return error instanceof TrafficFailure && error.kind === 'occupied';
}

/** @throws TrafficFailure `unsupported` for a document beyond the abilities. */
export function refuseBeyond(abilities: TrafficAbilities, document: TrafficDocument): void {
  const { weight, match } = document;
  if (!Number.isInteger(weight) || weight < 0 || weight > 100) {
    throw new TrafficFailure('unsupported', `A weight of ${weight} is not a whole percentage from 0 to 100.`);
  }
  if (abilities.weights === 'all' && weight !== 0 && weight !== 100) {
    throw new TrafficFailure('unsupported', `A weight of ${weight} % cannot be reached: ${abilities.sentence}`);
  }
  for (const one of match) {
    const needed = one.kind === 'cookie' ? 'cookie' : one.value === null ? 'header' : 'header-value';
    if (abilities.matches.includes(needed)) continue;
    throw new TrafficFailure('unsupported', `${describeMatch(one)} cannot be routed by: ${abilities.sentence}`);
  }
}

export function describeMatch(match: TrafficMatch): string {
  if (match.kind === 'cookie') return `The cookie ${match.name}`;
  return match.value === null ? `The header ${match.name} without a value` : `The header ${match.name}: ${match.value}`;
}
