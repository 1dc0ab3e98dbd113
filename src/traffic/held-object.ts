import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { describeObject, isUnknownKind, wasOvertaken } from './cluster-access';
import type { Newness, PatchOperation, TrafficCluster, TrafficObject, TrafficObjectRef } from './cluster-access';
import { annotate, fenceOn, parseJson, refuseStale, serviceOf, withFence } from './fence';
import type { Fence } from './fence';
import { diff } from './json-patch';
import { TrafficFailure } from './traffic-router';
import type { TrafficDocument, TrafficWrite } from './traffic-router';

/** Holds the document last applied and what the object was like before, while a release holds the object. */
export const TRAFFIC_ANNOTATION = 'sluice.dev/traffic';

/** What a release remembers on the object it writes to. */
export interface Held {
  /** The stable Service whose traffic it is about. Left out by workers of before, and where it goes without saying. */
  readonly service?: string | undefined;
  readonly document: TrafficDocument;
  /** Whatever it takes to put the object back; the router's own. */
  readonly origin: unknown;
  /** That of the object before the first write; left out where nobody asks for it. */
  readonly generation?: number | undefined;
}

const HeldSchema: z.ZodType<Held> = z.object({
  service: z.string().optional(),
  document: z.object({
    weight: z.number(),
    match: z.array(
      z.discriminatedUnion('kind', [
        z.object({ kind: z.literal('header'), name: z.string(), value: z.string().nullable() }),
        z.object({ kind: z.literal('cookie'), name: z.string() }),
      ]),
    ),
  }),
  origin: z.unknown(),
  generation: z.number().optional(),
});

/**
 * Others write statuses all the time, and each takes one try; more than this is somebody who fights us. However many
 * fit into the time: on a busy machine a controller may write faster than we read.
 */
const MIN_TRIES = 8;
const INSIST_MS = 5_000;
const INSIST_PAUSE_MS = 20;

/** Null when no release holds the object. */
export function heldOn(object: TrafficObject): Held | null {
  return parseJson(HeldSchema, object.metadata.annotations?.[TRAFFIC_ANNOTATION]);
}

/** The object with the fence and what the release remembers. */
export function withHeld(object: TrafficObject, fence: Fence, held: Held | null): TrafficObject {
  const { service, document, origin, generation } = held ?? {};
  const text = held === null ? null : JSON.stringify({ service, document, origin, generation });
  return annotate(withFence(object, fence), { [TRAFFIC_ANNOTATION]: text });
}

/**
 * Why no release of the Service may write to the object, a sentence; null unless a release of another one holds it. Who
 * is first keeps it: fences order the writes of one service, and mean nothing between two.
 */
export function heldByAnother(object: TrafficObject, service: string): string | null {
  const of = heldOn(object)?.service;
  if (of === undefined || of === service) return null;
  const fence = fenceOn(object);
  const release = fence === null ? 'a release' : `release ${fence.release}`;
  const { namespace } = object.metadata;
  const name = `${namespace === undefined ? '' : `${namespace}/`}${serviceOf(fence) ?? of}`;
  return `${describeObject(refOf(object))} is held by ${release} of Service ${of}, and what splits traffic is one service's own for the time of a release; wait until that one has ended, or give Service ${service} an object of its own (where that release was ended from outside, take it back: \`sluice rollback ${name} --direct\`, or \`sluice cleanup\` with the spec of that service).`;
}

/** @throws TrafficFailure `missing` when it is not there, be it because the cluster knows no such kind (any more). */
export async function findObject(
  cluster: TrafficCluster,
  ref: TrafficObjectRef,
  signal: AbortSignal,
  newness: Newness = {},
): Promise<TrafficObject> {
  const missing = (cause?: unknown): TrafficFailure =>
    new TrafficFailure('missing', `${describeObject(ref)} does not exist.`, { cause });
  try {
    const object =
      (await cluster.find(ref, { signal, ...newness })) ?? (await cluster.find(ref, { signal, asked: true }));
    if (object !== null) return object;
  } catch (error) {
    if (isUnknownKind(error)) throw missing(error);
    throw error;
  }
  throw missing();
}

/**
 * Reads, checks the fence, lets `change` say what the object should be, and writes what differs, on the resourceVersion
 * that was read; from the beginning when somebody else was faster. So a stale write can land neither before the look
 * (its fence is refused) nor after it (the resourceVersion is another).
 *
 * @throws TrafficFailure `fenceLost`; `occupied` when a `service` is given, and a release of another one holds the object.
 */
export async function rewrite(
  cluster: TrafficCluster,
  ref: TrafficObjectRef,
  write: TrafficWrite & { readonly service?: string },
  change: (live: TrafficObject) => TrafficObject,
): Promise<{ readonly before: TrafficObject; readonly after: TrafficObject; readonly written: boolean }> {
  return insist(ref, async () => {
    let before = await findObject(cluster, ref, write.signal);
    refuseOthers(before, write);
    let operations = diff(before, change(before));
    if (operations.length === 0) {
      // A write finds out by itself whether the object still is what was read; that nothing is to be done must be asked.
      before = await findObject(cluster, ref, write.signal, { asked: true });
      refuseOthers(before, write);
      operations = diff(before, change(before));
    }
    if (operations.length === 0) return { before, after: before, written: false };
    return { before, after: await patchObject(cluster, before, operations, write.signal), written: true };
  });
}

/** @throws TrafficFailure `occupied`, `fenceLost`. */
export function refuseOthers(
  object: TrafficObject,
  { fence, service }: Pick<TrafficWrite, 'fence'> & { readonly service?: string },
): void {
  const another = service === undefined ? null : heldByAnother(object, service);
  if (another !== null) throw new TrafficFailure('occupied', another);
  refuseStale(object, fence);
}

/** @throws the cluster's `conflict` when the object is another by now. */
export function patchObject(
  cluster: TrafficCluster,
  live: TrafficObject,
  operations: readonly PatchOperation[],
  signal: AbortSignal,
): Promise<TrafficObject> {
  const resourceVersion = live.metadata.resourceVersion ?? '';
  return cluster.patch(refOf(live), { type: 'json', operations, resourceVersion }, { signal });
}

/**
 * Repeats what was overtaken.
 *
 * @throws TrafficFailure `contended` when that happens again and again.
 */
export async function insist<T>(ref: TrafficObjectRef, attempt: () => Promise<T>): Promise<T> {
  const started = performance.now();
  let last: unknown;
  let tries = 0;
  for (; tries < MIN_TRIES || performance.now() - started < INSIST_MS; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!wasOvertaken(error)) throw error;
      last = error;
      if (tries >= MIN_TRIES) await delay(INSIST_PAUSE_MS);
    }
  }
  throw new TrafficFailure(
    'contended',
    `${describeObject(ref)} was changed by somebody else each of the ${tries} times it was to be written.`,
    { cause: last },
  );
}

/**
 * Gives all fields back: takes our name out of `metadata.managedFields`, so that who applies the object next (a GitOps
 * tool) meets no owner. A write of its own, since one that also changes fields would own those again.
 */
export async function disown(cluster: TrafficCluster, ref: TrafficObjectRef, write: TrafficWrite): Promise<void> {
  await rewrite(cluster, ref, write, (live) => {
    const { managedFields } = live.metadata;
    if (!Array.isArray(managedFields)) return live;
    const others = (managedFields as readonly unknown[]).filter((entry) => !isOurs(entry, cluster.fieldManager));
    if (others.length === managedFields.length) return live;
    // The server takes an empty list for "as before", and one empty entry for "nobody".
    return { ...live, metadata: { ...live.metadata, managedFields: others.length === 0 ? [{}] : others } };
  });
}

/** True while fields of the object are ours by the server's own books. */
export function isOwned(object: TrafficObject, fieldManager: string): boolean {
  const { managedFields } = object.metadata;
  return Array.isArray(managedFields) && managedFields.some((entry) => isOurs(entry, fieldManager));
}

/** Who else has written to the object last, by the server's own books; null when nobody is known. */
export function lastForeignWriter(object: TrafficObject, fieldManager: string): string | null {
  const { managedFields } = object.metadata;
  if (!Array.isArray(managedFields)) return null;
  const others = (managedFields as readonly unknown[])
    .filter((entry) => !isOurs(entry, fieldManager))
    .flatMap((entry) => ManagedEntry.safeParse(entry).data ?? [])
    .filter((entry) => entry.subresource !== 'status')
    .sort((a, b) => Date.parse(b.time ?? '') - Date.parse(a.time ?? ''));
  return others[0]?.manager ?? null;
}

const ManagedEntry = z.object({
  manager: z.string(),
  time: z.string().optional(),
  subresource: z.string().optional(),
});

/** The newest of several fences; null when there is none. */
export function newestFence(objects: readonly TrafficObject[]): Fence | null {
  let newest: Fence | null = null;
  for (const object of objects) {
    const fence = fenceOn(object);
    if (fence === null) continue;
    const later =
      newest === null ||
      fence.epoch > newest.epoch ||
      (fence.epoch === newest.epoch &&
        (fence.step > newest.step || (fence.step === newest.step && fence.attempt > newest.attempt)));
    if (later) newest = fence;
  }
  return newest;
}

export function refOf(object: TrafficObject): TrafficObjectRef {
  const { apiVersion, kind } = object;
  const { name, namespace } = object.metadata;
  return { apiVersion, kind, name, ...(namespace === undefined ? {} : { namespace }) };
}

function isOurs(entry: unknown, fieldManager: string): boolean {
  return typeof entry === 'object' && entry !== null && 'manager' in entry && entry.manager === fieldManager;
}
