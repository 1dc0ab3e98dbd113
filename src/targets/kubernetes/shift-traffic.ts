import { setTimeout as delay } from 'node:timers/promises';
import type {
  Applied,
  TrafficDocument,
  TrafficRouter,
  TrafficWrite,
  Verification,
  VerifyRequest,
} from '../../traffic/traffic-router';
import { TargetFailure } from '../target';
import { waiting } from './wait-ready';
import { asTargetFailure } from './failures';

/** A controller that refuses a change may come round, when it sees the Service that was made with it. */
const REFUSED_GRACE_MS = 15_000;
/** Of a look, which has more to ask: a controller says in a second or two what it has taken. */
const LOOK_MS = 2_000;
const FIRST_POLL_MS = 50;
const POLL_MS = 500;
const GROWTH = 1.6;

/**
 * Writes the document and waits until whoever serves it says so. A raise that is never confirmed is taken back to
 * `previous`, under the next attempt's number, so that a late packet of it cannot land behind. A lowering stays written:
 * of the two the lower weight is the safer one, and who serves it may only be slow to say so.
 *
 * @throws TargetFailure `unreachable` when it is not confirmed in `timeoutMs`, TrafficFailure.
 */
export async function shiftTraffic(
  traffic: TrafficRouter,
  write: TrafficWrite & {
    readonly document: TrafficDocument;
    readonly previous: TrafficDocument;
    readonly timeoutMs: number;
  },
): Promise<readonly string[]> {
  const { document, previous, signal, fence, timeoutMs } = write;
  let { notes } = await traffic.apply({ document, fence, signal });
  const again = async (): Promise<void> => {
    ({ notes } = await traffic.apply({ document, fence, signal }));
  };
  const why = await confirm(traffic, { document, signal, timeoutMs, ...(goesOn(traffic) ? { again } : {}) });
  if (why === null) return notes;
  const written = `The weight ${document.weight} % was written, but it is not in force: ${why}`;
  if (document.weight < previous.weight) {
    throw new TargetFailure(
      'unreachable',
      `${written} It stays written, because it is less than ${previous.weight} %.`,
    );
  }
  await traffic.apply({ document: previous, fence: { ...fence, attempt: fence.attempt + 1 }, signal });
  throw new TargetFailure('unreachable', `${written} It was put back to ${previous.weight} %.`);
}

/**
 * Waits until what was written is in force. Where that is not confirmed it is left as it is: for a write that takes nobody
 * anywhere worse, and that may yet arrive.
 *
 * @throws TargetFailure `unreachable` when it is not confirmed in `timeoutMs`, TrafficFailure.
 */
export async function ensureInForce(traffic: TrafficRouter, asked: Parameters<typeof confirm>[1]): Promise<void> {
  const why = await confirm(traffic, asked);
  if (why === null) return;
  throw new TargetFailure(
    'unreachable',
    `The weight ${asked.document.weight} % was written, and is not known to be in force: ${why} It is left as it was written.`,
  );
}

/**
 * Why what a look has just put right is not known to be in force, a sentence; null where it is. That it cannot be read back
 * is told like other reasons: what the look has found is not to be lost by it.
 */
export async function describeDoubt(traffic: TrafficRouter, asked: VerifyRequest): Promise<string | null> {
  // Pods are the next look's.
  const wait = goesOn(traffic) ? { fresh: true, timeoutMs: 0 } : { timeoutMs: LOOK_MS };
  let why: string | null;
  try {
    why = await asTargetFailure(() => confirm(traffic, { ...asked, ...wait }));
  } catch (error) {
    if (!(error instanceof TargetFailure)) throw error;
    why = error.message;
  }
  if (why === null) return null;
  return `The weight ${asked.document.weight} % was written again, and is not known to be in force: ${why}`;
}

/** What a way back says where somebody has deleted what splits the traffic; nothing otherwise. */
export function describeGone({ gone }: Pick<Applied, 'gone'>): string {
  return gone.map((one) => ` ${one} There is nothing to route by, so it goes on without it.`).join('');
}

/** As `describeGone`, and what else the way back met. */
export function describeMet(applied: Pick<Applied, 'gone' | 'notes'>): string {
  return `${describeGone(applied)}${applied.notes.map((note) => ` ${note}`).join('')}`;
}

/** Where pods are the share: each write does what is allowed by then, and the one after it goes on from there. */
export function goesOn({ abilities }: TrafficRouter): boolean {
  return abilities.weights === 'replicas';
}

/**
 * Null when the document is in force; why not, when the time is up. `again` is done between two looks; `onWait` is told
 * once, where the first look does not find it.
 */
export async function confirm(
  traffic: TrafficRouter,
  asked: VerifyRequest & {
    readonly timeoutMs: number;
    readonly again?: () => Promise<void>;
    readonly onWait?: ((sentence: string) => void) | undefined;
    /** Told when such a wait is over. */
    readonly onWaited?: (() => void) | undefined;
  },
): Promise<string | null> {
  const started = performance.now();
  let wait = FIRST_POLL_MS;
  let isTold = false;
  try {
    for (let look = 1; ; look += 1) {
      if (look > 1) await asked.again?.();
      const said = await traffic.verify(asked);
      if (said.kind === 'confirmed') return null;
      const passed = performance.now() - started;
      const limit = said.kind === 'refused' ? Math.min(REFUSED_GRACE_MS, asked.timeoutMs) : asked.timeoutMs;
      if (passed + wait > limit) {
        const last = asked.fresh === true ? said : await traffic.verify({ ...asked, fresh: true });
        return last.kind === 'confirmed' ? null : describe(last);
      }
      if (!isTold) {
        const { weight } = asked.document;
        asked.onWait?.(`${waiting(asked.timeoutMs)} until the weight ${weight} % is in force: ${describe(said)}`);
      }
      isTold = true;
      await delay(wait, undefined, { signal: asked.signal });
      wait = Math.min(POLL_MS, wait * GROWTH);
    }
  } finally {
    if (isTold) asked.onWaited?.();
  }
}

function describe(said: Exclude<Verification, { kind: 'confirmed' }>): string {
  return said.reasons.join(' ');
}
