import { z } from 'zod';
import { describeObject } from './cluster-access';
import type { TrafficObject } from './cluster-access';
import { TrafficFailure } from './traffic-router';

/**
 * The place of a write in the order of all writes: compared by epoch, then step, then attempt. Kept on the object; what
 * comes later but is older is refused.
 */
export interface Fence {
  readonly release: string;
  readonly epoch: number;
  readonly step: number;
  readonly attempt: number;
}

/** Holds the fence as JSON, on every object that a release writes to, and after it. */
export const FENCE_ANNOTATION = 'sluice.dev/fence';

const Fence = z.object({ release: z.string(), epoch: z.number(), step: z.number(), attempt: z.number() });

/** The fence on an object; null when there is none, or something that is none: then nothing can be told from it. */
export function fenceOn(object: TrafficObject): Fence | null {
  return parseJson(Fence, object.metadata.annotations?.[FENCE_ANNOTATION]);
}

/** MAINTENANCE: as `client/release-id.ts` makes them. */
const RELEASE_ID = /^(.+)-\d{8}-\d{6}-[0-9a-f]{4}$/;

/** metadata.name of the spec whose release wrote the fence; null where that cannot be told. */
export function serviceOf(fence: Fence | null): string | null {
  return RELEASE_ID.exec(fence?.release ?? '')?.[1] ?? null;
}

/** A document in an annotation; null when there is none of this shape. */
export function parseJson<T>(schema: z.ZodType<T>, text: string | undefined): T | null {
  if (text === undefined) return null;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null; // somebody wrote something else there; their edit is overwritten and reported by what it says
  }
  const parsed = schema.safeParse(json);
  return parsed.success ? parsed.data : null;
}

/** Negative when `a` is older than `b`. Of two releases in one epoch none may overrule the other: NaN. */
export function compareFences(a: Fence, b: Fence): number {
  if (a.epoch !== b.epoch) return a.epoch - b.epoch;
  if (a.release !== b.release) return Number.NaN;
  return a.step === b.step ? a.attempt - b.attempt : a.step - b.step;
}

/** @throws TrafficFailure `fenceLost` unless the given fence is at least as new as the one on the object. */
export function refuseStale(object: TrafficObject, given: Fence): void {
  const held = fenceOn(object);
  if (held === null || compareFences(given, held) >= 0) return;
  throw new TrafficFailure(
    'fenceLost',
    `${describeObject({ ...object, ...object.metadata })} is held by ${format(held)}; a write of ${format(given)} came too late.`,
  );
}

/** The object with the fence on it. */
export function withFence(object: TrafficObject, { release, epoch, step, attempt }: Fence): TrafficObject {
  return annotate(object, { [FENCE_ANNOTATION]: JSON.stringify({ release, epoch, step, attempt }) });
}

/** The object with annotations set, or (null) removed. */
export function annotate(object: TrafficObject, values: Readonly<Record<string, string | null>>): TrafficObject {
  const annotations: Record<string, string> = { ...object.metadata.annotations };
  for (const [name, value] of Object.entries(values)) {
    if (value === null) delete annotations[name];
    else annotations[name] = value;
  }
  const { annotations: before, ...metadata } = object.metadata;
  const none = before === undefined && Object.keys(annotations).length === 0;
  return { ...object, metadata: none ? metadata : { ...metadata, annotations } };
}

function format(fence: Fence): string {
  return `release ${fence.release} (epoch ${fence.epoch}, step ${fence.step}, attempt ${fence.attempt})`;
}
