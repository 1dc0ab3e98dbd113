import type { TrafficObject } from './cluster-access';
import type { TrafficDocument, TrafficMatch, Verification } from './traffic-router';

/** The two Services of a release, and where they are. */
export interface Services {
  readonly namespace: string;
  readonly stable: string;
  readonly canary: string;
}

/** What an object says about who gets the canary. */
export interface Reading {
  /** Percent; the highest where its parts differ, null where it says neither track. */
  readonly weight: number | null;
  readonly match: readonly TrafficMatch[];
}

/** How one kind of object says who gets what. Pure: objects in, objects out. */
export interface RouteShape {
  /** `known` are the matches we may have put there: others are the user's own. */
  read(object: TrafficObject, known: readonly TrafficMatch[]): Reading;
  /**
   * The object as it says the document. One without any traffic for the canary can always be said: whatever others have
   * made of the object, what goes to the canary goes to stable.
   *
   * @throws TrafficFailure `invalidRoute` when it is not made so that traffic can be split.
   */
  write(object: TrafficObject, document: TrafficDocument, known: readonly TrafficMatch[]): TrafficObject;
  /** What it takes to put the object back; JSON. */
  origin(object: TrafficObject, known: readonly TrafficMatch[]): unknown;
  /** The object as it was; null for an origin of another make: then as it is, with nothing for the canary. */
  restore(object: TrafficObject, origin: unknown, known: readonly TrafficMatch[]): TrafficObject;
  /** As `needsPods` of a `TrafficView`; left out where that is never so. */
  needsPods?(object: TrafficObject): boolean;
  /** What whoever serves the object says about its last change. */
  status(object: TrafficObject, asked: StatusAsked): Exclude<Verification, { kind: 'changed' }>;
  /** Why whoever serves the object would not confirm any change of it, a sentence; null where nothing says so. */
  refusal?(object: TrafficObject): string | null;
}

export interface StatusAsked {
  /** For the document of the way back: that it was taken counts then, and not whether all of the object is in order. */
  readonly back: boolean;
  /**
   * Who has said nothing since this generation, from before the release, has not taken any change of it: whatever he serves,
   * the canary has no part in it. Null as long as his word is waited for.
   */
  readonly silentSince: number | null;
}

/** True for the document of the way back: all traffic on stable. */
export function isNothing({ weight, match }: TrafficDocument): boolean {
  return weight === 0 && match.length === 0;
}

/** The matches of either list, each once. */
export function union(a: readonly TrafficMatch[], b: readonly TrafficMatch[]): TrafficMatch[] {
  return [...a, ...b.filter((match) => !a.some((other) => sameMatch(match, other)))];
}

export function sameMatch(a: TrafficMatch, b: TrafficMatch): boolean {
  if (a.kind !== b.kind || a.name.toLowerCase() !== b.name.toLowerCase()) return false;
  return a.kind === 'cookie' || b.kind === 'cookie' || a.value === b.value;
}

export function sameMatches(a: readonly TrafficMatch[], b: readonly TrafficMatch[]): boolean {
  return a.length === b.length && a.every((match) => b.some((other) => sameMatch(match, other)));
}
