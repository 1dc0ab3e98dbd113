import { TrafficFailure } from './traffic-router';

/** How a kind of object writes the backends of a rule. */
export interface BackendAccess<T> {
  /** Which track a backend is; null for anything else. */
  trackOf(backend: T): 'stable' | 'canary' | null;
  /** Its share beside the others, with the kind's default where it names none. */
  weightOf(backend: T, siblings: number): number;
  weighted(backend: T, weight: number): T;
  /** Whether it names one itself. */
  isWeighted(backend: T): boolean;
  unweighted(backend: T): T;
  /** The same as the stable backend, for the canary Service. */
  toCanary(stable: T): T;
  /** The way round. */
  toStable(canary: T): T;
  describe(backend: T): string;
}

/** What a rule's backends were like before the release. */
export interface PairOrigin {
  /** The stable backend's weight; null for one that named none. */
  readonly stable: number | null;
  /** False when the canary backend is the release's own addition. */
  readonly hadCanary: boolean;
}

/** True for a rule whose traffic is split. */
export function hasStable<T>(backends: readonly T[], access: BackendAccess<T>): boolean {
  return backends.some((backend) => access.trackOf(backend) === 'stable');
}

export function hasCanary<T>(backends: readonly T[], access: BackendAccess<T>): boolean {
  return backends.some((backend) => access.trackOf(backend) === 'canary');
}

/** True for backends of which the canary is the only one. */
export function isCanaryAlone<T>(backends: readonly T[], access: BackendAccess<T>): boolean {
  const [backend, ...more] = backends;
  return backend !== undefined && more.length === 0 && access.trackOf(backend) === 'canary';
}

/** The canary's share in percent; null when neither track gets anything. */
export function shareOf<T>(backends: readonly T[], access: BackendAccess<T>): number | null {
  const { stable, canary } = weightsOf(backends, access);
  return stable + canary === 0 ? null : (100 * canary) / (stable + canary);
}

/**
 * The backends with the canary at a percentage, added behind stable where it is missing.
 *
 * @throws TrafficFailure `invalidRoute` when a third backend takes a part, or a track is there twice: then no weight
 * means what it says.
 */
export function split<T>(backends: readonly T[], access: BackendAccess<T>, weight: number, where: string): T[] {
  const why = whyNotSplit(backends, access, where);
  if (why !== null) throw new TrafficFailure('invalidRoute', why);
  const complete = hasCanary(backends, access)
    ? backends
    : backends.flatMap((backend) =>
        access.trackOf(backend) === 'stable' ? [backend, access.toCanary(backend)] : [backend],
      );
  return complete.map((backend) => {
    const track = access.trackOf(backend);
    return track === null ? backend : access.weighted(backend, track === 'canary' ? weight : 100 - weight);
  });
}

/**
 * The backends with everything on stable, for the way back, which is open whatever others have made of them meanwhile:
 * where they cannot be split any more, stable gets what the canary has, and the rest is left as it is.
 */
export function takenBack<T>(backends: readonly T[], access: BackendAccess<T>, where: string): T[] {
  return hasStable(backends, access) && whyNotSplit(backends, access, where) === null
    ? split(backends, access, 0, where)
    : withoutCanary(backends, access);
}

/** Why a weight would not mean what it says, a sentence; null where it does. */
function whyNotSplit<T>(backends: readonly T[], access: BackendAccess<T>, where: string): string | null {
  for (const track of ['stable', 'canary'] as const) {
    if (backends.filter((backend) => access.trackOf(backend) === track).length > 1) {
      return `${where} names the ${track} Service more than once; name it once.`;
    }
  }
  const third = thirdOf(backends, access);
  return third === undefined
    ? null
    : `${where} also sends traffic to ${access.describe(third)}, so that a weight would not be the canary's share; take it out, or give it the weight 0.`;
}

function thirdOf<T>(backends: readonly T[], access: BackendAccess<T>): T | undefined {
  return backends.find((backend) => access.trackOf(backend) === null && access.weightOf(backend, backends.length) > 0);
}

/** What the canary has goes to stable, be it by taking its place where stable is not named. */
function withoutCanary<T>(backends: readonly T[], access: BackendAccess<T>): T[] {
  const { canary } = weightsOf(backends, access);
  const heir = backends.find((backend) => access.trackOf(backend) === 'stable');
  if (canary === 0) return [...backends];
  return backends.map((backend) => {
    const track = access.trackOf(backend);
    if (backend === heir) return access.weighted(backend, access.weightOf(backend, backends.length) + canary);
    if (track !== 'canary') return backend;
    return heir === undefined ? access.toStable(backend) : access.weighted(backend, 0);
  });
}

export function pairOrigin<T>(backends: readonly T[], access: BackendAccess<T>): PairOrigin {
  const { stable } = weightsOf(backends, access);
  const named = backends.some((backend) => access.trackOf(backend) === 'stable' && access.isWeighted(backend));
  return {
    // A stable backend without any share would leave everybody without an answer.
    stable: stable === 0 ? 100 : named ? stable : null,
    hadCanary: hasCanary(backends, access),
  };
}

/** The backends as they were, with nothing for the canary. */
export function unsplit<T>(backends: readonly T[], access: BackendAccess<T>, origin: PairOrigin): T[] {
  // Beside a backend that came meanwhile, the weight from before would be another share.
  const crowded = thirdOf(backends, access) !== undefined;
  return (crowded ? withoutCanary(backends, access) : backends).flatMap((backend) => {
    const track = access.trackOf(backend);
    if (track === 'canary') return origin.hadCanary ? [access.weighted(backend, 0)] : [];
    if (track === null || crowded) return [backend];
    return [origin.stable === null ? access.unweighted(backend) : access.weighted(backend, origin.stable)];
  });
}

function weightsOf<T>(backends: readonly T[], access: BackendAccess<T>): { stable: number; canary: number } {
  const sum = (track: 'stable' | 'canary'): number =>
    backends
      .filter((backend) => access.trackOf(backend) === track)
      .reduce((total, backend) => total + access.weightOf(backend, backends.length), 0);
  return { stable: sum('stable'), canary: sum('canary') };
}
