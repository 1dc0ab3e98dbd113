import { setTimeout as delay } from 'node:timers/promises';
import { isDropped } from './client-error';

/** Before a message is sent again that Temporal dropped. */
const RETRY_MS = 50;

/** Sends a message again until a release has seen it; the deadline is that of the connection's calls. */
export async function untilHeard<Answer>(send: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    try {
      return await send();
    } catch (error) {
      if (!isDropped(error)) throw error;
      await delay(RETRY_MS);
    }
  }
}
