import { z } from 'zod';
import { describeObject } from './cluster-access';
import type { TrafficCluster, TrafficObject, TrafficObjectRef } from './cluster-access';
import { refuseStale } from './fence';
import { disown, findObject, heldOn, lastForeignWriter, rewrite, withHeld } from './held-object';
import type { Reading } from './route-shape';
import { TrafficFailure } from './traffic-router';
import type { TrafficWrite, Verification } from './traffic-router';
import type { TrafficUnit, UnitPut, UnitView } from './traffic-unit';

export interface ReplicaRatioSettings {
  readonly namespace: string;
  readonly stableDeployment: string;
  readonly canaryDeployment: string;
  /** Pods of both tracks together, while the release lasts; what an object remembers of that counts more. */
  readonly total: number;
}

/** What a release remembers on both: stable's pods are made anew beside the canary's, and then the sum is another one. */
const Origin = z.object({ total: z.number().int().positive() });

/** What a weight comes to with whole pods. */
export interface ReplicaSplit {
  readonly stable: number;
  readonly canary: number;
  /** Percent of the pods that are the canary's. */
  readonly share: number;
  /** For people, where the share is not the weight; null where it is. */
  readonly note: string | null;
}

/**
 * The nearest split of `total` pods. Each track keeps at least one pod at any weight between 0 and 100, so that the
 * smallest share is one pod of all: 5 % needs 20 pods.
 */
export function splitReplicas(weight: number, total: number): ReplicaSplit {
  const nearest = Math.round((total * weight) / 100);
  const canary = weight === 0 ? 0 : weight === 100 ? total : Math.min(total - 1, Math.max(1, nearest));
  const share = (100 * canary) / total;
  const shown = Math.round(share * 10) / 10;
  const note = comesTo(share, weight)
    ? null
    : `${weight} % cannot be reached with ${pods(total)}; the canary has ${canary} of them, ${shown} % of the connections.`;
  return { stable: total - canary, canary, share, note };
}

/** What can be reached with so many pods. */
export function describeReach(total: number): string {
  const steps = Array.from({ length: total + 1 }, (_, canary) => Math.round((1000 * canary) / total) / 10);
  const shown = steps.length <= 12 ? steps.join(', ') : `multiples of ${Math.round(1000 / total) / 10}`;
  return (
    `the Service spreads connections over the pods of both tracks, so with ${pods(total)} only ${shown} % can be reached,` +
    ' as an average over many connections; long-lived ones stay where they are, and taking traffic back lasts until' +
    ' stable has its pods again. No header or cookie is looked at.'
  );
}

/** Those of the weights that so many pods cannot reach, what they come to, and what would reach all; null where all are. */
export function describeMissed(weights: readonly number[], total: number): string | null {
  const missed = new Map<number, number[]>();
  for (const weight of weights) {
    if (isReached(weight, total)) continue;
    const shown = Math.round(splitReplicas(weight, total).share * 10) / 10;
    missed.set(shown, [...(missed.get(shown) ?? []), weight]);
  }
  if (missed.size === 0) return null;
  const clauses = [...missed].map(
    ([share, those]) => `${those.join(', ')} % ${those.length === 1 ? 'comes' : 'come'} to ${share} %`,
  );
  const enough = podsFor(weights);
  const remedy = enough === null ? '' : `; ${pods(enough)} would reach all`;
  return `With ${pods(total)} not every weight can be reached: ${clauses.join('; ')}${remedy}.`;
}

/** The fewest pods of both tracks together that reach each of the weights; null where it takes more than a thousand. */
export function podsFor(weights: readonly number[]): number | null {
  for (let total = 1; total <= 1000; total += 1) {
    if (weights.every((weight) => isReached(weight, total))) return total;
  }
  return null;
}

function isReached(weight: number, total: number): boolean {
  return comesTo(splitReplicas(weight, total).share, weight);
}

/** A third of the pods is 33 % to who asks for that. */
function comesTo(share: number, weight: number): boolean {
  return share === weight || Math.round(share) === weight;
}

function pods(count: number): string {
  return `${count} ${count === 1 ? 'pod' : 'pods'}`;
}

const Deployment = z.looseObject({
  spec: z.looseObject({ replicas: z.number().optional() }),
  status: z
    .looseObject({ availableReplicas: z.number().optional(), observedGeneration: z.number().optional() })
    .optional(),
});

/**
 * Shares by the number of pods behind one Service that selects both tracks. Each `put` does what is allowed now: the
 * growing track grows, and the other shrinks only once that one's pods are available; `verify` says what is missing, and
 * the same `put` goes on from there. How many pods there are is left as it is at the end.
 */
export function replicaRatioUnit(cluster: TrafficCluster, settings: ReplicaRatioSettings): TrafficUnit {
  const { namespace } = settings;
  const of = (name: string): TrafficObjectRef => ({ apiVersion: 'apps/v1', kind: 'Deployment', namespace, name });
  const refs = { stable: of(settings.stableDeployment), canary: of(settings.canaryDeployment) };

  /** Before a release has made its canary there is none, and it has no pods. */
  async function both(signal: AbortSignal): Promise<{ stable: TrafficObject; canary: TrafficObject | null }> {
    const [stable, canary] = await Promise.all([
      findObject(cluster, refs.stable, signal, { fresh: true }),
      cluster.find(refs.canary, { signal, fresh: true }),
    ]);
    return { stable, canary };
  }

  return {
    name: `${describeObject(refs.stable)} and ${refs.canary.name}`,

    async look({ signal }): Promise<UnitView> {
      const { stable, canary } = await both(signal);
      const objects = canary === null ? [stable] : [stable, canary];
      return { ...readingOf(stable, canary), objects, foreignEdits: edits(stable, canary) };
    },

    async put({ document, ...write }): Promise<UnitPut> {
      let before: Reading | null = null;
      try {
        const live = await both(write.signal);
        const total = totalOf(live.stable);
        const wanted = splitReplicas(document.weight, total);
        const held = { document, origin: { total } };
        const resize = (
          track: 'stable' | 'canary',
          count: (one: TrafficObject) => number,
        ): Promise<{ before: TrafficObject; after: TrafficObject; written: boolean }> =>
          rewrite(cluster, refs[track], write, (one) => withHeld(withReplicas(one, count(one)), write.fence, held));
        before = readingOf(live.stable, live.canary);
        const foreignEdits = edits(live.stable, live.canary);
        if (live.canary === null) {
          // Who comes late is told so, and not that the canary is missing.
          refuseStale(live.stable, write.fence);
          if (wanted.canary > 0) throw new TrafficFailure('invalidRoute', absent());
          const { written } = await resize('stable', () => wanted.stable);
          return { before, written, foreignEdits, notes: [], error: null };
        }
        const growing = wanted.canary >= replicasOf(live.canary) ? 'canary' : 'stable';
        const shrinking = growing === 'canary' ? 'stable' : 'canary';
        const grown = await resize(growing, () => wanted[growing]);
        // A Deployment's generation grows with its annotations, too: a new fence alone does not make its pods unknown.
        const same = replicasOf(grown.before) === wanted[growing];
        const available = availableOf(same ? grown.before : grown.after);
        const ready = available >= wanted[growing];
        const shrunk = await resize(shrinking, (one) =>
          ready ? wanted[shrinking] : Math.max(replicasOf(one), wanted[shrinking]),
        );
        const waiting = ready ? [] : [waitingFor(grown.after, wanted[growing])];
        return {
          before,
          written: grown.written || shrunk.written,
          foreignEdits,
          notes: [...(wanted.note === null ? [] : [wanted.note]), ...waiting],
          error: null,
        };
      } catch (error) {
        return { before, written: false, foreignEdits: [], notes: [], error: error ?? new Error('unknown') };
      }
    },

    async verify({ document, signal }): Promise<Verification> {
      const live = await both(signal);
      const total = totalOf(live.stable);
      const wanted = splitReplicas(document.weight, total);
      const pending: string[] = [];
      for (const track of ['canary', 'stable'] as const) {
        const found = live[track];
        if (found === null) {
          if (wanted[track] > 0) return { kind: 'changed', reasons: [absent()] };
          continue;
        }
        const has = replicasOf(found);
        if (has < wanted[track]) return { kind: 'changed', reasons: [tooFew(found, wanted[track], cluster)] };
        if (has > wanted[track])
          pending.push(`${describeObject(refs[track])} still has ${has} pods instead of ${wanted[track]}.`);
        if (availableOf(found) < wanted[track]) pending.push(waitingFor(found, wanted[track]));
      }
      if (pending.length > 0) return { kind: 'pending', reasons: pending };
      return { kind: 'confirmed', evidence: [`${wanted.canary} of ${total} available pods are the canary's`] };
    },

    async release(write: TrafficWrite): Promise<void> {
      for (const ref of [refs.stable, refs.canary]) {
        if ((await cluster.find(ref, { signal: write.signal, asked: true })) === null) continue;
        await rewrite(cluster, ref, write, (live) => withHeld(live, write.fence, null));
        await disown(cluster, ref, write);
      }
    },
  };

  /** Fewer pods than the last document asked for; more are what is still to shrink. */
  function edits(stable: TrafficObject, canary: TrafficObject | null): string[] {
    const held = heldOn(stable) ?? (canary === null ? null : heldOn(canary));
    if (held === null) return [];
    const wanted = splitReplicas(held.document.weight, totalOf(stable));
    const found = replicasOf(stable) < wanted.stable ? [tooFew(stable, wanted.stable, cluster)] : [];
    if (canary === null) return wanted.canary > 0 ? [...found, absent()] : found;
    return replicasOf(canary) < wanted.canary ? [...found, tooFew(canary, wanted.canary, cluster)] : found;
  }

  function totalOf(stable: TrafficObject): number {
    return Origin.safeParse(heldOn(stable)?.origin).data?.total ?? settings.total;
  }

  function absent(): string {
    return `${describeObject(refs.canary)} does not exist.`;
  }
}

function readingOf(stable: TrafficObject, canary: TrafficObject | null): Reading {
  const canaries = canary === null ? 0 : replicasOf(canary);
  const all = canaries + replicasOf(stable);
  return { weight: all === 0 ? null : (100 * canaries) / all, match: [] };
}

function tooFew(deployment: TrafficObject, wanted: number, cluster: TrafficCluster): string {
  const writer = lastForeignWriter(deployment, cluster.fieldManager);
  const by = writer === null ? '' : ` (last written by ${writer})`;
  const name = describeObject({ ...deployment, ...deployment.metadata });
  return `${name} had ${replicasOf(deployment)} replicas instead of ${wanted}${by}.`;
}

function waitingFor(deployment: TrafficObject, wanted: number): string {
  const name = describeObject({ ...deployment, ...deployment.metadata });
  return `${name} has ${availableOf(deployment)} of ${wanted} pods available.`;
}

function replicasOf(deployment: TrafficObject): number {
  const parsed = Deployment.safeParse(deployment);
  if (!parsed.success) {
    throw new TrafficFailure(
      'invalidRoute',
      `${describeObject({ ...deployment, ...deployment.metadata })} has no spec.`,
    );
  }
  return parsed.data.spec.replicas ?? 1;
}

/** A status for an older spec says nothing about this one. */
function availableOf(deployment: TrafficObject): number {
  const { availableReplicas = 0, observedGeneration = 0 } = Deployment.safeParse(deployment).data?.status ?? {};
  return observedGeneration >= (deployment.metadata.generation ?? 0) ? availableReplicas : 0;
}

function withReplicas(deployment: TrafficObject, replicas: number): TrafficObject {
  return { ...deployment, spec: { ...(deployment['spec'] as object), replicas } };
}
