import type { RouterConfig } from './config';
import type { DecisionSnapshot } from './decide';
import { RouterDefaults } from './defaults';
import type { NewEvent } from './event-log';
import { compareFence, formatFence } from './fence';
import type { Fence, GuardEvidence, Origin, ProblemCode, Trip, TripRule } from './protocol';

/** Everything the router knows at one moment. Replaced as a whole by every write, so a request reads one state. */
export interface Snapshot extends DecisionSnapshot {
  /** When the weight last took another value, milliseconds since 1970. */
  readonly weightChangedAtMs: number;
  readonly fence: Fence | null;
  /** The release that declared the canary; null for a canary of a person or of the configuration. */
  readonly holder: string | null;
  readonly tripped: Trip | null;
  readonly origins: {
    readonly stableVersion: Origin;
    readonly canaryVersion: Origin;
    readonly weight: Origin;
    readonly salt: Origin;
  };
}

/** Why a write was refused. */
export interface Refusal {
  readonly status: 409 | 422;
  readonly code: ProblemCode;
  readonly detail: string;
  readonly held?: Fence | null;
  readonly tripped?: Trip;
  readonly versions?: readonly string[];
}

/** What a write did: the states before and after, or why nothing changed. */
export type WriteResult =
  | { readonly ok: true; readonly before: Snapshot; readonly after: Snapshot }
  | { readonly ok: false; readonly refusal: Refusal };

/** What a write means for the counts: those of cohorts that now serve another version start anew. */
export type CountsAffected = 'none' | 'canary' | 'both';

/** Told of every change, after it took effect. */
export type StateListener = (event: NewEvent, counts: CountsAffected) => void;

type WriteName = 'declare' | 'remove' | 'weight' | 'promote';

/**
 * The canary's state and the rules of writing it.
 *
 * 1. A write below the fence held, or of another release with the same epoch, changes nothing.
 * 2. A write with the fence held is a repeat: it must say the same as the first of its kind, except that traffic may
 *    always be taken away (so that an attempt that fails half way can put the weight back).
 * 3. Without a fence only a person writes, or the source of the weight, and only while no release holds the router;
 *    after such a write the fence held is spent, so that a late repeat cannot undo it.
 * 4. What was tripped stays at 0 for its release, also after the canary was removed and declared again, until the
 *    release rearms.
 */
export class ReleaseState {
  readonly #config: RouterConfig;
  readonly #now: () => number;
  readonly #listener: StateListener;
  /** What was written under the fence held, by kind of write. */
  readonly #spent = new Map<WriteName, string>();
  /** A person, or the source of the weight, wrote after the fence held: not even a repeat may follow. */
  #sealed = false;
  readonly #trips = new Map<string, Trip>();
  #snapshot: Snapshot;

  constructor(config: RouterConfig, now: () => number, listener: StateListener) {
    this.#config = config;
    this.#now = now;
    this.#listener = listener;
    this.#snapshot = this.#complete({
      enabled: config.enabled.value,
      stableVersion: config.stableVersion.value,
      canaryVersion: config.canaryVersion.value,
      weight: config.weight.value,
      salt: config.salt.value,
      weightChangedAtMs: now(),
      fence: null,
      holder: null,
      tripped: null,
      origins: {
        stableVersion: config.stableVersion.origin,
        canaryVersion: config.canaryVersion.origin,
        weight: config.weight.origin,
        salt: config.salt.origin,
      },
    });
  }

  /** The state now. */
  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  /** Declares the canary at weight 0; a repeat by the release that holds it changes nothing. */
  declare(request: { version: string; salt: string; fence: Fence | undefined; rearm: boolean }): WriteResult {
    const { version, salt, fence, rearm } = request;
    const content = JSON.stringify([version, salt, rearm]);
    const refusal =
      this.#refuseFence('declare', content, fence) ?? this.#refuseDisabled() ?? this.#refuseVersion(version);
    if (refusal !== null) return { ok: false, refusal };
    const before = this.#snapshot;
    const release = fence?.release ?? null;
    if (rearm && release !== null) this.#trips.delete(release);
    const repeated =
      release !== null && before.holder === release && before.canaryVersion === version && before.salt === salt;
    if (repeated) {
      const lifted = rearm && before.tripped !== null;
      this.#write('declare', content, fence, lifted ? { tripped: null } : {});
      if (lifted) {
        this.#tell('release-declared', fence, `release ${release} lifted the trip of ${version}`, { version, rearm });
      }
      return { ok: true, before, after: this.#snapshot };
    }
    const origin = originOf(fence);
    this.#write('declare', content, fence, {
      canaryVersion: version,
      salt,
      holder: release,
      tripped: release === null ? null : (this.#trips.get(release) ?? null),
      origins: { ...before.origins, canaryVersion: origin, salt: origin, weight: origin },
      ...this.#weightTo(0),
    });
    this.#tell(
      'release-declared',
      fence,
      `${who(fence)} declared ${version} the canary`,
      { version, salt, replaced: before.canaryVersion, previousWeight: before.weight },
      'canary',
    );
    return { ok: true, before, after: this.#snapshot };
  }

  /** Sets the canary's weight. Without a fence a person does, or the source of this name. */
  setWeight(request: { weight: number; fence: Fence | undefined; source?: string }): WriteResult {
    const { weight, fence, source } = request;
    const content = String(weight);
    const refusal =
      this.#refuseFence('weight', content, fence, weight < this.#snapshot.weight) ??
      (weight > 0 ? (this.#refuseDisabled() ?? this.#refuseTraffic(fence)) : null);
    if (refusal !== null) return { ok: false, refusal };
    const before = this.#snapshot;
    this.#write('weight', content, fence, {
      ...this.#weightTo(weight),
      origins: { ...before.origins, weight: originOf(fence, source) },
    });
    if (before.weight !== weight) {
      this.#listener(
        {
          type: 'weight-changed',
          message: `${who(fence, source)} set the weight from ${before.weight} to ${weight}`,
          origin: originOf(fence, source),
          fence: fence ?? null,
          data: {
            version: before.canaryVersion,
            weight,
            previousWeight: before.weight,
            ...(source === undefined ? {} : { source }),
          },
        },
        'none',
      );
    }
    return { ok: true, before, after: this.#snapshot };
  }

  /** Makes the canary's version the stable one; a repeat changes nothing. */
  promote(request: { version: string; fence: Fence | undefined }): WriteResult {
    const { version, fence } = request;
    const refusal = this.#refuseFence('promote', version, fence);
    if (refusal !== null) return { ok: false, refusal };
    const before = this.#snapshot;
    if (before.canaryVersion === null && before.stableVersion === version) {
      this.#write('promote', version, fence, {});
      return { ok: true, before, after: this.#snapshot };
    }
    const unfit = this.#refuseTraffic(fence) ?? this.#refuseMismatch(version);
    if (unfit !== null) return { ok: false, refusal: unfit };
    const origin = originOf(fence);
    this.#write('promote', version, fence, {
      stableVersion: version,
      canaryVersion: null,
      salt: null,
      holder: null,
      origins: { stableVersion: origin, canaryVersion: origin, weight: origin, salt: origin },
      ...this.#weightTo(0),
    });
    this.#tell(
      'promoted',
      fence,
      `${who(fence)} promoted ${version}`,
      { version, replaced: before.stableVersion, previousWeight: before.weight },
      'both',
    );
    return { ok: true, before, after: this.#snapshot };
  }

  /** Takes the canary away; a repeat changes nothing. */
  remove(request: { fence: Fence | undefined }): WriteResult {
    const { fence } = request;
    const refusal = this.#refuseFence('remove', '', fence);
    if (refusal !== null) return { ok: false, refusal };
    const before = this.#snapshot;
    if (before.canaryVersion === null) {
      this.#write('remove', '', fence, {});
      return { ok: true, before, after: this.#snapshot };
    }
    const origin = originOf(fence);
    this.#write('remove', '', fence, {
      canaryVersion: null,
      salt: null,
      holder: null,
      tripped: null,
      origins: { ...before.origins, canaryVersion: origin, weight: origin, salt: origin },
      ...this.#weightTo(0),
    });
    this.#tell('release-removed', fence, `${who(fence)} removed the canary ${before.canaryVersion}`, {
      version: before.canaryVersion,
      previousWeight: before.weight,
    });
    return { ok: true, before, after: this.#snapshot };
  }

  /**
   * Takes the canary to 0 at once and holds it there, fence or not: the guard's way, and a person's in an emergency.
   * The first trip of a canary stands; without a canary there is nothing to trip.
   */
  trip(
    rule: TripRule,
    reason: string,
    evidence: GuardEvidence | null,
    data: Record<string, unknown> = {},
  ): Trip | null {
    const before = this.#snapshot;
    if (before.canaryVersion === null) return null;
    if (before.tripped !== null) return before.tripped;
    const trip: Trip = Object.freeze({
      rule,
      reason,
      at: new Date(this.#now()).toISOString(),
      version: before.canaryVersion,
      release: before.holder,
      previousWeight: before.weight,
      evidence,
    });
    const origin: Origin = rule === 'manual' ? 'admin' : 'guard';
    this.#snapshot = this.#complete({
      ...before,
      ...this.#weightTo(0),
      tripped: trip,
      origins: { ...before.origins, weight: origin },
    });
    if (trip.release !== null) this.#rememberTrip(trip.release, trip);
    this.#listener(
      {
        type: rule === 'manual' ? 'rolled-back' : 'guard-tripped',
        message: `canary ${trip.version} taken from ${trip.previousWeight} to 0: ${reason}`,
        origin,
        fence: before.fence,
        data: {
          rule,
          version: trip.version,
          release: trip.release,
          previousWeight: trip.previousWeight,
          evidence,
          ...data,
        },
      },
      'none',
    );
    return trip;
  }

  #refuseFence(name: WriteName, content: string, fence: Fence | undefined, lowers = false): Refusal | null {
    const { fence: held, holder, tripped } = this.#snapshot;
    if (fence === undefined) {
      // After a trip nobody is served by the canary, so a person may clear it away without its release.
      if (holder === null || (name === 'remove' && tripped !== null)) return null;
      return {
        status: 409,
        code: 'RELEASE_HOLDS',
        detail: `Release ${holder} holds this router, so a write needs its fence; to take the canary to 0 at once, POST the rollback endpoint with a reason.`,
        held,
      };
    }
    const order = compareFence(held, fence);
    switch (order) {
      case 'newer':
        return null;
      case 'equal': {
        const first = this.#spent.get(name);
        if (!this.#sealed && (first === undefined || first === content || lowers)) return null;
        return staleFence(held, `The fence (${formatFence(fence)}) was already spent on a different write.`);
      }
      case 'stale':
        return staleFence(held, `The write (${formatFence(fence)}) is older than the one held (${shownFence(held)}).`);
      case 'foreign':
        return staleFence(
          held,
          `The write (${formatFence(fence)}) is of another release with the same epoch as the one held (${shownFence(held)}).`,
        );
    }
  }

  #refuseDisabled(): Refusal | null {
    const { enabled } = this.#config;
    if (enabled.value) return null;
    return {
      status: 409,
      code: 'ROUTER_DISABLED',
      detail: `Routing is switched off by ${enabled.origin === 'environment' ? 'CANARY_ENABLED=false' : 'the option enabled: false'}; everyone gets the stable version.`,
    };
  }

  #refuseVersion(version: string): Refusal | null {
    const versions = this.#config.versions.value;
    if (versions === null || versions.includes(version)) return null;
    return {
      status: 422,
      code: 'UNKNOWN_VERSION',
      detail: `This app cannot serve version "${version}"; it has ${versions.join(', ')}.`,
      versions,
    };
  }

  /** What forbids giving the canary traffic, or all of it. */
  #refuseTraffic(fence: Fence | undefined): Refusal | null {
    const { canaryVersion, holder } = this.#snapshot;
    const tripped = fence === undefined ? this.#snapshot.tripped : this.#tripOf(fence.release);
    if (tripped !== null) {
      return {
        status: 409,
        code: 'GUARD_TRIPPED',
        detail: `The canary ${tripped.version} was taken to 0 in this process: ${tripped.reason}. It stays there until it is declared again${tripped.release === null ? '' : ' with rearm'}.`,
        tripped,
      };
    }
    if (canaryVersion === null) {
      return {
        status: 409,
        code: 'NO_CANARY',
        detail: 'No canary is declared in this process; declare it first (a restarted process has forgotten it).',
      };
    }
    if (fence !== undefined && holder !== fence.release) {
      return {
        status: 409,
        code: 'NO_CANARY',
        detail: `The canary here was declared by ${holder === null ? 'configuration or a person' : `release ${holder}`}, not by release ${fence.release}; declare it first.`,
      };
    }
    return null;
  }

  #refuseMismatch(version: string): Refusal | null {
    const { canaryVersion } = this.#snapshot;
    if (canaryVersion === version) return null;
    return {
      status: 409,
      code: 'VERSION_MISMATCH',
      detail: `The canary is ${canaryVersion}, so ${version} cannot be promoted.`,
    };
  }

  #tripOf(release: string): Trip | null {
    const { holder, tripped } = this.#snapshot;
    return holder === release ? tripped : (this.#trips.get(release) ?? null);
  }

  #rememberTrip(release: string, trip: Trip): void {
    this.#trips.delete(release);
    this.#trips.set(release, trip);
    if (this.#trips.size <= RouterDefaults.tripsKept) return;
    const [oldest] = this.#trips.keys();
    if (oldest !== undefined) this.#trips.delete(oldest);
  }

  /** Applies an admitted write and notes what its fence was spent on. */
  #write(name: WriteName, content: string, fence: Fence | undefined, change: Partial<Snapshot>): void {
    if (fence === undefined) {
      this.#sealed = true;
    } else {
      if (compareFence(this.#snapshot.fence, fence) === 'newer') this.#spent.clear();
      this.#sealed = false;
      this.#spent.set(name, content);
    }
    this.#snapshot = this.#complete({
      ...this.#snapshot,
      ...change,
      fence: fence === undefined ? this.#snapshot.fence : Object.freeze({ ...fence }),
    });
  }

  #weightTo(weight: number): Pick<Snapshot, 'weight' | 'weightChangedAtMs'> {
    const { weight: current, weightChangedAtMs } = this.#snapshot;
    return { weight, weightChangedAtMs: weight === current ? weightChangedAtMs : this.#now() };
  }

  #complete(state: Omit<Snapshot, 'active'>): Snapshot {
    return Object.freeze({
      ...state,
      active: state.enabled && state.canaryVersion !== null && state.tripped === null,
    });
  }

  #tell(
    type: NewEvent['type'],
    fence: Fence | undefined,
    message: string,
    data: Record<string, unknown>,
    counts: CountsAffected = 'none',
  ): void {
    this.#listener({ type, message, origin: originOf(fence), fence: fence ?? null, data }, counts);
  }
}

function originOf(fence: Fence | undefined, source?: string): Origin {
  if (fence !== undefined) return 'release';
  return source === undefined ? 'admin' : 'source';
}

function who(fence: Fence | undefined, source?: string): string {
  if (fence !== undefined) return `release ${fence.release}`;
  return source === undefined ? 'an administrator' : `weightFrom ${source}`;
}

function shownFence(fence: Fence | null): string {
  return fence === null ? 'none' : formatFence(fence);
}

function staleFence(held: Fence | null, detail: string): Refusal {
  return { status: 409, code: 'STALE_FENCE', detail, held };
}
