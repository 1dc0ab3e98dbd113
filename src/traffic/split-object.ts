import { findNamed } from './absent-object';
import { describeObject } from './cluster-access';
import type { TrafficCluster, TrafficObject, TrafficObjectRef } from './cluster-access';
import {
  disown,
  findObject,
  heldByAnother,
  heldOn,
  insist,
  isOwned,
  lastForeignWriter,
  patchObject,
  rewrite,
  withHeld,
} from './held-object';
import { diff } from './json-patch';
import type { Reading, RouteShape } from './route-shape';
import { isNothing, sameMatches, union } from './route-shape';
import { isOccupied, TrafficFailure } from './traffic-router';
import type { TrafficDocument, TrafficMatch, TrafficWrite, Verification } from './traffic-router';
import type { TrafficUnit, UnitPut, UnitView } from './traffic-unit';

/** A controller says in a second or two what it has taken; that is all that silence means after this. */
const SILENT_MS = 5_000;

/** Any that sends to both tracks. */
const TRIAL_WEIGHT = 50;

/** One object that says who gets what, such as an HTTPRoute; `service` is the stable one. */
export function splitObject(
  cluster: TrafficCluster,
  ref: TrafficObjectRef,
  how: {
    readonly shape: RouteShape;
    readonly service: string;
    /** The spec's key that names it. */ readonly named: string;
  },
): TrafficUnit {
  const { shape, service, named } = how;
  /** When the word on the way back was asked for the first time; null after each write. */
  let askedAt: number | null = null;

  /**
   * On an object that a release of another service holds: its fence and its note stay, and only what our canary has is
   * taken away. No fence of ours could order that, and nothing but that could still be under way.
   */
  async function withdraw({ signal }: TrafficWrite): Promise<{ before: Reading; written: boolean }> {
    return insist(ref, async () => {
      const live = await findObject(cluster, ref, signal, { asked: true });
      if (heldByAnother(live, service) === null) {
        throw new TrafficFailure('contended', `${describeObject(ref)} was let go of by another release just now.`);
      }
      const before = shape.read(live, []);
      if ((before.weight ?? 0) === 0) return { before, written: false };
      await patchObject(cluster, live, diff(live, shape.restore(live, null, [])), signal);
      return { before, written: true };
    });
  }

  return {
    name: describeObject(ref),

    async look({ signal, fresh, planned }): Promise<UnitView> {
      const live = await findNamed(cluster, ref, { named, signal, fresh });
      const another = heldByAnother(live, service);
      // Its fence orders another service's writes, and its document is about other backends.
      if (another !== null) return { ...shape.read(live, []), objects: [], foreignEdits: [], refusal: another };
      const refusal = whyUnsplit(live, shape, planned);
      return {
        ...readingOf(live, shape),
        objects: [live],
        foreignEdits: foreignEdits(live, shape, cluster),
        ...(refusal === null ? {} : { refusal }),
        ...(shape.needsPods?.(live) ? { needsPods: true } : {}),
      };
    },

    async put({ document, ...write }): Promise<UnitPut> {
      let before: Reading | null = null;
      let edits: readonly string[] = [];
      let notes: readonly string[] = [];
      askedAt = null;
      try {
        const { written } = await rewrite(cluster, ref, { ...write, service }, (live) => {
          const held = heldOn(live);
          // Of a release whose notes somebody has taken away the server still knows that it has written here.
          const known = held?.document.match ?? (isOwned(live, cluster.fieldManager) ? document.match : []);
          before = readingOf(live, shape);
          edits = foreignEdits(live, shape, cluster);
          // What somebody has made of it is told, and does not stand in the way back.
          const strange = held !== null && isNothing(document) ? whyUnsplit(live, shape, []) : null;
          notes = strange === null ? [] : [strange];
          const { origin, generation } = held ?? {
            origin: shape.origin(live, known),
            generation: live.metadata.generation,
          };
          return withHeld(shape.write(live, document, known), write.fence, { service, document, origin, generation });
        });
        return { before, written, foreignEdits: edits, notes, error: null };
      } catch (error) {
        if (isOccupied(error) && write.mayBeGone === true) {
          return { ...(await withdraw(write)), foreignEdits: [], notes: [], error: null };
        }
        return { before, written: false, foreignEdits: [], notes: [], error: error ?? new Error('unknown') };
      }
    },

    async verify({ document, signal, fresh = false }): Promise<Verification> {
      const live = await findObject(cluster, ref, signal, fresh ? { fresh } : { anew: true });
      const another = heldByAnother(live, service);
      if (another !== null) {
        const isBack = document.weight === 0 && (shape.read(live, []).weight ?? 0) === 0;
        return isBack ? { kind: 'confirmed', evidence: [another] } : { kind: 'changed', reasons: [another] };
      }
      const differs = differences(live, shape, document, cluster);
      if (differs.length > 0) return { kind: 'changed', reasons: differs };
      const back = isNothing(document);
      askedAt ??= performance.now();
      const isWaitedFor = !back || performance.now() - askedAt < SILENT_MS;
      return shape.status(live, { back, silentSince: isWaitedFor ? null : (heldOn(live)?.generation ?? 0) });
    },

    async release(write: TrafficWrite): Promise<void> {
      try {
        await rewrite(cluster, ref, { ...write, service }, (live) => {
          const held = heldOn(live);
          const restored = held === null ? live : shape.restore(live, held.origin, held.document.match);
          return withHeld(restored, write.fence, null);
        });
      } catch (error) {
        if (!isOccupied(error)) throw error;
        await withdraw(write);
        return;
      }
      await disown(cluster, ref, write);
    },
  };
}

function readingOf(live: TrafficObject, shape: RouteShape): Reading {
  return shape.read(live, heldOn(live)?.document.match ?? []);
}

/** Why no release may begin with the object, a sentence; what only the first weight would find is found before any write. */
function whyUnsplit(live: TrafficObject, shape: RouteShape, match: readonly TrafficMatch[]): string | null {
  try {
    const held = heldOn(live);
    shape.write(live, { weight: TRIAL_WEIGHT, match }, held?.document.match ?? []);
    // While a release holds it, what is said may be about what the release itself has written.
    return held === null ? (shape.refusal?.(live) ?? null) : null;
  } catch (error) {
    if (error instanceof TrafficFailure && error.kind === 'invalidRoute') return error.message;
    throw error;
  }
}

/**
 * What differs from the document that was applied last; nothing when nobody holds the object. That it could not be
 * written as it is now is an edit like others to who only looks.
 */
function foreignEdits(live: TrafficObject, shape: RouteShape, cluster: TrafficCluster): string[] {
  const held = heldOn(live);
  if (held === null) return [];
  try {
    return differences(live, shape, held.document, cluster);
  } catch (error) {
    if (error instanceof TrafficFailure && error.kind === 'invalidRoute') return [error.message];
    throw error;
  }
}

/** What somebody else changed, as one sentence; also a rule that came or went beside the weights. */
function differences(
  live: TrafficObject,
  shape: RouteShape,
  document: TrafficDocument,
  cluster: TrafficCluster,
): string[] {
  const known = union(heldOn(live)?.document.match ?? [], document.match);
  const operations = diff(live, shape.write(live, document, known));
  if (operations.length === 0) return [];
  const writer = lastForeignWriter(live, cluster.fieldManager);
  const by = writer === null ? '' : ` (last written by ${writer})`;
  const found = shape.read(live, known);
  const name = describeObject({ ...live, ...live.metadata });
  if (found.weight === null)
    return [`${name} sends to neither track as it was asked${by}; asked for ${document.weight} %.`];
  if (found.weight !== document.weight) {
    return [`${name} was at ${Math.round(found.weight * 100) / 100} % instead of ${document.weight} %${by}.`];
  }
  if (!sameMatches(found.match, document.match)) {
    return [`${name} routes by other headers or cookies than it was asked to${by}.`];
  }
  return [
    `${name} was changed at ${operations
      .map((operation) => operation.path)
      .slice(0, 3)
      .join(', ')}${by}.`,
  ];
}
