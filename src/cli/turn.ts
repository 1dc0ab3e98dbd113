import type { ServiceRef, SluiceClient } from '../client/client-types';
import { safeText } from './display-width';
import type { InterruptSignal } from './cli';
import type { FollowEnd } from './follow';
import type { Session } from './session';

/** Between two looks at the queue. A turn comes after minutes, so nobody notices a second. */
const LOOK_MS = 1000;

/**
 * Waits until a queued release has begun, saying when its place in the queue changes. Answers null then, and how the
 * waiting was cut short otherwise.
 */
export async function awaitTurn(
  session: Session,
  client: SluiceClient,
  ref: ServiceRef,
  timeoutMs: number | undefined,
): Promise<FollowEnd | null> {
  const abort = new AbortController();
  let cut: InterruptSignal | 'timeout' | null = null;
  const stop = (why: InterruptSignal | 'timeout'): void => {
    cut ??= why;
    abort.abort();
  };
  const unsubscribe = session.cli.onInterrupt(stop);
  const timer = timeoutMs === undefined ? null : setTimeout(() => stop('timeout'), timeoutMs);
  let told: string | null = null;
  try {
    for (;;) {
      const waiting = (await client.queue(ref))?.waiting ?? [];
      const place = waiting.findIndex((queued) => queued.release === ref.release);
      // No longer in the queue: it has begun, or a newer one took its place, which the first look at it says.
      if (place < 0) return null;
      const sentence =
        place === 0
          ? waiting[0]?.supersede === true
            ? 'It is next: it waits for the roll back of the one before it.'
            : 'It is next in the queue.'
          : `${place} more before it: ${safeText(waiting[place - 1]?.release ?? '')}.`;
      if (sentence !== told) session.note(sentence);
      told = sentence;
      await pause(LOOK_MS, abort.signal);
      if (cut === 'timeout') return { kind: 'timeout', status: null, queued: true };
      if (cut !== null) return { kind: 'interrupted', signal: cut, status: null, queued: true };
    }
  } finally {
    if (timer !== null) clearTimeout(timer);
    unsubscribe();
  }
}

/** Resolves after so long, or at once when the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}
