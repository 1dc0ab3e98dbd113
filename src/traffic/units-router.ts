import { newestFence } from './held-object';
import type { Reading } from './route-shape';
import { isMissing, refuseBeyond, TrafficFailure } from './traffic-router';
import type {
  Applied,
  TrafficAbilities,
  TrafficDocument,
  TrafficRouter,
  TrafficView,
  TrafficWrite,
  Verification,
  VerifyRequest,
} from './traffic-router';
import type { TrafficUnit, UnitPut } from './traffic-unit';

/** A router of one or several units; all of them say the same document. */
export function unitsRouter(abilities: TrafficAbilities, units: readonly TrafficUnit[]): TrafficRouter {
  return {
    abilities,

    async observe({ signal, fresh = false, planned = [] }): Promise<TrafficView> {
      const views = await Promise.all(units.map((unit) => unit.look({ signal, fresh, planned })));
      const weights = views.flatMap((view) => view.weight ?? []);
      const [refusal] = views.flatMap((view) => view.refusal ?? []);
      return {
        weight: weights.length === 0 ? null : Math.max(...weights),
        match: views[0]?.match ?? [],
        fence: newestFence(views.flatMap((view) => view.objects)),
        foreignEdits: views.flatMap((view) => view.foreignEdits),
        ...(views.some((view) => view.needsPods === true) ? { needsPods: true } : {}),
        ...(refusal === undefined ? {} : { refusal }),
      };
    },

    async apply(write): Promise<Applied> {
      refuseBeyond(abilities, write.document);
      const puts = await Promise.all(units.map((unit) => unit.put(write)));
      const isGone = (error: unknown): error is TrafficFailure => write.mayBeGone === true && isMissing(error);
      const failed = puts.find((put) => put.error !== null && !isGone(put.error));
      if (failed !== undefined) await giveUp(units, puts, write, failed.error);
      return {
        written: puts.some((put) => put.written),
        foreignEdits: puts.flatMap((put) => put.foreignEdits),
        notes: puts.flatMap((put) => put.notes),
        gone: puts.flatMap(({ error }) => (isGone(error) ? [error.message] : [])),
      };
    },

    async verify(asked): Promise<Verification> {
      return worst(await Promise.all(units.map((unit) => verified(unit, asked))));
    },

    async release(write: TrafficWrite): Promise<void> {
      // Each is tried, whatever another says; repeating it changes nothing where it succeeded.
      const results = await Promise.allSettled(units.map((unit) => unit.release(write)));
      for (const result of results) {
        if (result.status === 'rejected' && !(write.mayBeGone && isMissing(result.reason))) throw result.reason;
      }
    },
  };
}

/** A unit that is gone, and may be, sends nothing to anybody. */
async function verified(unit: TrafficUnit, asked: VerifyRequest): Promise<Verification> {
  try {
    return await unit.verify(asked);
  } catch (error) {
    if (asked.mayBeGone && isMissing(error)) return { kind: 'confirmed', evidence: [error.message] };
    throw error;
  }
}

/** Takes a raise back where it arrived, or may have; then throws what went wrong. */
async function giveUp(
  units: readonly TrafficUnit[],
  puts: readonly UnitPut[],
  write: TrafficWrite & { readonly document: TrafficDocument },
  error: unknown,
): Promise<never> {
  // One unit is all or none by itself. Who cancelled this says what comes next, and with a higher fence.
  if (units.length === 1 || write.signal.aborted) throw error;
  const left: string[] = [];
  await Promise.all(
    units.map(async (unit, index) => {
      const before = puts[index]?.before ?? null;
      if (before === null || !raises(before, write.document)) return;
      // The next attempt's number, so that a write changes the object in any case: then a packet of the raise that is
      // still under way finds another resourceVersion, and cannot land behind this.
      const back = await unit.put({
        document: { weight: Math.round(before.weight ?? 0), match: before.match },
        fence: { ...write.fence, attempt: write.fence.attempt + 1 },
        signal: write.signal,
      });
      // A later write holds it by now: what it says is no longer ours to answer for.
      const lost = back.error instanceof TrafficFailure && back.error.kind === 'fenceLost';
      if (back.error !== null && !lost) left.push(unit.name);
    }),
  );
  if (left.length === 0) throw error;
  throw new TrafficFailure(
    'partial',
    `Not everything reached ${write.document.weight} %, and ${left.join(', ')} could not be taken back yet: ${error instanceof Error ? error.message : String(error)}`,
    { cause: error },
  );
}

function raises(before: Reading, document: TrafficDocument): boolean {
  return document.weight > (before.weight ?? 0) || document.match.length > before.match.length;
}

/** The one that says least for the document: changed, refused, pending, confirmed. */
function worst(verifications: readonly Verification[]): Verification {
  for (const kind of ['changed', 'refused', 'pending'] as const) {
    const reasons = verifications.flatMap((one) => (one.kind === kind ? one.reasons : []));
    if (reasons.length > 0) return { kind, reasons };
  }
  return {
    kind: 'confirmed',
    evidence: verifications.flatMap((one) => (one.kind === 'confirmed' ? one.evidence : [])),
  };
}
