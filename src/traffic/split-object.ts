import { describeObject } from './cluster-access';
import type { TrafficCluster, TrafficObject, TrafficObjectRef } from './cluster-access';
import {
  disown,
  findObject,
  heldByAnother,
  heldOn,
  insist,
  lastForeignWriter,
  patchObject,
  rewrite,
  withHeld,
} from './held-object';
import { diff } from './json-patch';
import type { Reading, RouteShape } from './route-shape';
import { sameMatches, union } from './route-shape';
import { isOccupied, TrafficFailure } from './traffic-router';
import type { TrafficDocument, TrafficWrite, Verification } from './traffic-router';
import type { TrafficUnit, UnitPut, UnitView } from './traffic-unit';

/** One object that says who gets what, such as an HTTPRoute; `service` is the stable one. */
export function splitObject(
  cluster: TrafficCluster,
  ref: TrafficObjectRef,
  { shape, service }: { readonly shape: RouteShape; readonly service: string },
): TrafficUnit {
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

    async look({ signal, fresh }): Promise<UnitView> {
      const live = await findObject(cluster, ref, signal, { fresh });
      const refusal = heldByAnother(live, service);
      // Its fence orders another service's writes, and its document is about other backends.
      if (refusal !== null) return { ...shape.read(live, []), objects: [], foreignEdits: [], refusal };
      return {
        ...readingOf(live, shape),
        objects: [live],
        foreignEdits: foreignEdits(live, shape, cluster),
        ...(shape.needsPods?.(live) ? { needsPods: true } : {}),
      };
    },

    async put({ document, ...write }): Promise<UnitPut> {
      let before: Reading | null = null;
      let edits: readonly string[] = [];
      try {
        const { written } = await rewrite(cluster, ref, { ...write, service }, (live) => {
          const held = heldOn(live);
          const known = held?.document.match ?? [];
          before = readingOf(live, shape);
          edits = foreignEdits(live, shape, cluster);
          const origin = held === null ? shape.origin(live, known) : held.origin;
          return withHeld(shape.write(live, document, known), write.fence, { service, document, origin });
        });
        return { before, written, foreignEdits: edits, notes: [], error: null };
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
        const isNothing = document.weight === 0 && (shape.read(live, []).weight ?? 0) === 0;
        return isNothing ? { kind: 'confirmed', evidence: [another] } : { kind: 'changed', reasons: [another] };
      }
      const differs = differences(live, shape, document, cluster);
      return differs.length > 0 ? { kind: 'changed', reasons: differs } : shape.status(live);
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
