import { findNamed } from './absent-object';
import {
  canaryNameOf,
  canarySpec,
  isCanary,
  isMadeByUs,
  newCanary,
  readRouting,
  strayFrom,
  whyUnshared,
  withRouting,
} from './canary-ingress';
import { describeObject } from './cluster-access';
import type { Newness, TrafficCluster, TrafficObject, TrafficObjectRef } from './cluster-access';
import { fenceOn, refuseStale } from './fence';
import type { Fence } from './fence';
import {
  disown,
  findObject,
  heldByAnother,
  heldOn,
  insist,
  lastForeignWriter,
  patchObject,
  refuseOthers,
  rewrite,
  withHeld,
} from './held-object';
import { diff } from './json-patch';
import type { Reading, Services } from './route-shape';
import { isNothing, sameMatches } from './route-shape';
import { isMissing, isOccupied, TrafficFailure } from './traffic-router';
import type { TrafficDocument, TrafficWrite, Verification } from './traffic-router';
import type { TrafficUnit, UnitPut, UnitView } from './traffic-unit';

/** The spec's key that names the Ingresses. */
const NAMED = 'spec.target.kubernetes.traffic.nginx.ingress';

interface Pair {
  readonly primary: TrafficObject;
  readonly canary: TrafficObject | null;
}

/** What has the twin's name, but is no canary: somebody else's, and left alone. */
function isStranger(twin: TrafficObject): boolean {
  return !isMadeByUs(twin) && !isCanary(twin);
}

/**
 * Canary annotations of NGINX, on a second Ingress beside the user's. The release makes it, keeps it in step with the
 * user's, and takes it away at the end; one that the user keeps himself stays, at weight 0. The fence is on the canary;
 * on the user's Ingress, too, as soon as there is no canary to keep it: when it is made, and when it goes.
 */
export function ingressUnit(cluster: TrafficCluster, ingress: string, services: Services): TrafficUnit {
  const refs = refsOf(ingress, services.namespace);
  const service = services.stable;

  async function pair(
    signal: AbortSignal,
    newness: {
      readonly primary?: Newness;
      readonly canary?: Newness;
      readonly named?: string;
      /** On the way back a stranger is no canary, and nothing goes to it. */
      readonly back?: boolean;
    } = {},
  ): Promise<Pair> {
    const { named, back = false } = newness;
    const [primary, canary] = await Promise.all([
      named === undefined
        ? findObject(cluster, refs.primary, signal, newness.primary)
        : findNamed(cluster, refs.primary, { named, signal, ...newness.primary }),
      cluster.find(refs.canary, { signal, ...newness.canary }),
    ]);
    if (canary !== null && isStranger(canary)) {
      if (back) return { primary, canary: null };
      throw new TrafficFailure(
        'invalidRoute',
        `${describeObject(refs.canary)} is there already and is no canary Ingress; rename it, the name is needed.`,
      );
    }
    return { primary, canary };
  }

  return {
    name: describeObject(refs.primary),

    async look({ signal, fresh }): Promise<UnitView> {
      const { primary, canary } = await pair(signal, { primary: { fresh }, canary: { fresh }, named: NAMED });
      const another = anothers({ primary, canary });
      // The twin is that one's, and so is its fence.
      if (another !== null) return { weight: 0, match: [], objects: [], foreignEdits: [], refusal: another };
      // Without a canary Ingress everything goes to stable.
      if (canary === null) {
        const gone = heldOn(primary) === null ? [] : missing(heldOn(primary)?.document ?? null, refs.canary);
        const why = whyUnshared(primary, services);
        const refused = why === null ? {} : { refusal: why };
        return { weight: 0, match: [], objects: [primary], foreignEdits: gone, ...refused };
      }
      const held = heldOn(canary);
      const refusal = whyUnshared(primary, services) ?? strayFrom(primary, canary, services);
      return {
        ...readRouting(canary),
        objects: [primary, canary],
        foreignEdits: held === null ? [] : differences(primary, canary, held.document, services, cluster),
        ...(refusal === null ? {} : { refusal }),
      };
    },

    async put({ document, ...write }): Promise<UnitPut> {
      let before: Reading | null = null;
      let foreignEdits: readonly string[] = [];
      const attempt = async ({ primary, canary }: Pair): Promise<boolean> => {
        refuseOthers(primary, { ...write, service });
        if (canary === null) {
          before = { weight: 0, match: [] };
          foreignEdits = missing(heldOn(primary)?.document ?? null, refs.canary);
          return makeCanary(primary, document, write);
        }
        refuseOthers(canary, { ...write, service });
        before = readRouting(canary);
        const held = heldOn(canary);
        foreignEdits = held === null ? [] : differences(primary, canary, held.document, services, cluster);
        // The way back is open whatever it leads to.
        const stray = isNothing(document)
          ? null
          : (whyUnshared(primary, services) ?? strayFrom(primary, canary, services));
        if (stray !== null) throw new TrafficFailure('invalidRoute', stray);
        const operations = diff(canary, wanted(primary, canary, document, write.fence));
        if (operations.length === 0) return false;
        await patchObject(cluster, canary, operations, write.signal);
        return true;
      };
      try {
        const written = await insist(refs.canary, async () => {
          const back = isNothing(document);
          const told = await pair(write.signal, { back });
          // A write to the canary finds out by itself whether it still is what was read. Where nothing is to be written to
          // it, that must be asked.
          const blind = told.canary === null && back;
          if (!blind && (await attempt(told))) return true;
          return await attempt(await pair(write.signal, { primary: { asked: true }, canary: { asked: true }, back }));
        });
        return { before, written, foreignEdits, notes: [], error: null };
      } catch (error) {
        if (isOccupied(error) && write.mayBeGone === true) {
          return { before, written: false, foreignEdits: [], notes: [], error: null };
        }
        const why = isMissing(error) && isNothing(document) ? await silenced(error, write) : error;
        return { before, written: false, foreignEdits: [], notes: [], error: why ?? new Error('unknown') };
      }
    },

    async verify({ document, signal, fresh = false }): Promise<Verification> {
      // Who gets what stands on the canary; the user's own only says what that should be like.
      const { primary, canary } = await pair(signal, {
        canary: fresh ? { fresh } : { anew: true },
        back: isNothing(document),
      });
      const another = anothers({ primary, canary });
      if (another !== null) {
        return isNothing(document)
          ? { kind: 'confirmed', evidence: [another] }
          : { kind: 'changed', reasons: [another] };
      }
      if (canary === null) {
        return isNothing(document)
          ? { kind: 'confirmed', evidence: [`there is no ${describeObject(refs.canary)}`] }
          : { kind: 'changed', reasons: missing(document, refs.canary) };
      }
      const reasons = differences(primary, canary, document, services, cluster);
      return reasons.length > 0
        ? { kind: 'changed', reasons }
        : { kind: 'confirmed', evidence: [`${describeObject(refs.canary)} says so; NGINX reports nothing about it`] };
    },

    async release(write): Promise<void> {
      const twin = await cluster.find(refs.canary, { signal: write.signal });
      if (twin !== null && heldByAnother(twin, service) !== null) return;
      // The user's Ingress first: from here on a late write finds a newer fence there, whether the canary is left or not.
      let gone: TrafficFailure | null = null;
      try {
        await rewrite(cluster, refs.primary, { ...write, service }, (live) => withHeld(live, write.fence, null));
      } catch (error) {
        if (isOccupied(error)) return;
        if (!isMissing(error)) throw error;
        // The canary is taken away all the same.
        gone = error;
      }
      await insist(refs.canary, async () => {
        const known = await cluster.find(refs.canary, { signal: write.signal });
        const canary = known ?? (await cluster.find(refs.canary, { signal: write.signal, asked: true }));
        if (canary === null || heldByAnother(canary, service) !== null) return;
        // As every write: a stranger's is left alone, but for what a release has noted on it before it became one.
        if (isStranger(canary) && heldOn(canary) === null) return;
        refuseStale(canary, write.fence);
        const none = isStranger(canary) ? canary : withRouting(canary, { weight: 0, match: [] });
        const empty = withHeld(none, write.fence, null);
        const { weight, match } = readRouting(canary);
        // First to 0, and only then away: a controller that sees but the one of two writes still sends all to stable.
        const operations = isMadeByUs(canary) && weight === 0 && match.length === 0 ? [] : diff(canary, empty);
        const last = operations.length === 0 ? canary : await patchObject(cluster, canary, operations, write.signal);
        if (isMadeByUs(last)) await deleteExactly(last, write.signal);
        else await disown(cluster, refs.canary, write);
      });
      if (gone !== null) throw gone;
      await disown(cluster, refs.primary, write);
    },
  };

  /**
   * Leaves no share on a canary whose Ingress somebody has deleted: who makes that anew is not to find one. Answers why the
   * document still is not there: what was missing, or what failed now.
   */
  async function silenced(why: TrafficFailure, write: TrafficWrite): Promise<unknown> {
    const none: TrafficDocument = { weight: 0, match: [] };
    try {
      const canary = await cluster.find(refs.canary, { signal: write.signal, asked: true });
      if (canary === null || isStranger(canary)) return why;
      await rewrite(cluster, refs.canary, { ...write, service }, (live) =>
        withHeld(withRouting(live, none), write.fence, {
          service,
          document: none,
          origin: heldOn(live)?.origin ?? null,
        }),
      );
      return why;
    } catch (error) {
      return isOccupied(error) ? why : error;
    }
  }

  /**
   * The first write of a release. Unlike a patch, a creation lands whatever happened in between, so the canary is made
   * without any traffic, and gets its routing only after another look at the user's Ingress: a release that was over by
   * then has left its fence there, and one that ends from now on meets the canary and changes it under our hands.
   */
  async function makeCanary(primary: TrafficObject, document: TrafficDocument, write: TrafficWrite): Promise<boolean> {
    const none = isNothing(document);
    const fenced = diff(primary, withHeld(primary, write.fence, { service, document, origin: null }));
    if (none && heldOn(primary) === null && fenceOn(primary) === null) return false;
    if (fenced.length > 0) await patchObject(cluster, primary, fenced, write.signal);
    if (none) return fenced.length > 0;
    const empty: TrafficDocument = { weight: 0, match: [] };
    const made = await cluster.create(
      withHeld(withRouting(newCanary(primary, services), empty), write.fence, {
        service,
        document: empty,
        origin: null,
      }),
      { signal: write.signal },
    );
    const now = await findObject(cluster, refs.primary, write.signal, { fresh: true });
    try {
      refuseStale(now, write.fence);
    } catch (error) {
      await deleteExactly(made, write.signal);
      throw error;
    }
    await patchObject(cluster, made, diff(made, wanted(now, made, document, write.fence)), write.signal);
    return true;
  }

  function anothers({ primary, canary }: Pair): string | null {
    return heldByAnother(primary, service) ?? (canary === null ? null : heldByAnother(canary, service));
  }

  function wanted(
    primary: TrafficObject,
    canary: TrafficObject,
    document: TrafficDocument,
    fence: Fence,
  ): TrafficObject {
    const held = heldOn(canary);
    const routed = withRouting(followed(primary, canary, services), document);
    return withHeld(routed, fence, { service, document, origin: held?.origin ?? null });
  }

  async function deleteExactly(canary: TrafficObject, signal: AbortSignal): Promise<void> {
    await cluster.delete(refs.canary, { resourceVersion: canary.metadata.resourceVersion ?? '', signal });
  }
}

/**
 * Our own canary keeps step with the user's Ingress, and is left as it is where that has nothing to keep step with any more;
 * the user's own canary is his.
 */
function followed(primary: TrafficObject, canary: TrafficObject, services: Services): TrafficObject {
  if (!isMadeByUs(canary) || whyUnshared(primary, services) !== null) return canary;
  return { ...canary, spec: canarySpec(primary, services) };
}

function differences(
  primary: TrafficObject,
  canary: TrafficObject,
  document: TrafficDocument,
  services: Services,
  cluster: TrafficCluster,
): string[] {
  const found = readRouting(canary);
  const name = `${canary.kind} ${services.namespace}/${canary.metadata.name}`;
  const writer = lastForeignWriter(canary, cluster.fieldManager);
  const by = writer === null ? '' : ` (last written by ${writer})`;
  if (found.weight === null) return [`${name} is no canary any more${by}.`];
  if (found.weight !== document.weight)
    return [`${name} was at ${found.weight} % instead of ${document.weight} %${by}.`];
  if (!sameMatches(found.match, document.match)) {
    return [`${name} routes by other headers or cookies than it was asked to${by}.`];
  }
  const routed = withRouting(followed(primary, canary, services), document);
  const paths = diff(canary, routed).map((operation) => operation.path);
  if (paths.length > 0) return [`${name} was changed at ${paths.slice(0, 3).join(', ')}${by}.`];
  const stray = isNothing(document) ? null : (whyUnshared(primary, services) ?? strayFrom(primary, canary, services));
  return stray === null ? [] : [stray];
}

/** What it means that there is no canary Ingress where a document asked for one. */
function missing(document: TrafficDocument | null, canary: TrafficObjectRef): string[] {
  if (document === null || isNothing(document)) return [];
  return [`${describeObject(canary)} does not exist any more, so that nothing goes to the canary.`];
}

function refsOf(ingress: string, namespace: string): { primary: TrafficObjectRef; canary: TrafficObjectRef } {
  const kind = { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', namespace };
  return { primary: { ...kind, name: ingress }, canary: { ...kind, name: canaryNameOf(ingress) } };
}
