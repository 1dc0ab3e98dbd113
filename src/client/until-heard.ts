import { setTimeout as delay } from 'node:timers/promises';
import { isDropped, isToBeAskedAgain } from './client-error';

/** Before a message is sent again that Temporal dropped, and a question that nobody could answer just then. */
const RETRY_MS = 50;

/** Sends a message again until a release has seen it; the deadline is that of the connection's calls. */
export function untilHeard<Answer>(send: () => Promise<Answer>): Promise<Answer> {
  return repeated(send, isDropped);
}

/** Asks again while a worker is just taking over what is asked; the deadline is that of the connection's calls. */
export function untilAnswered<Answer>(question: () => Promise<Answer>): Promise<Answer> {
  return repeated(question, isToBeAskedAgain);
}

async function repeated<Answer>(call: () => Promise<Answer>, isPassing: (error: unknown) => boolean): Promise<Answer> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!isPassing(error)) throw error;
      await delay(RETRY_MS);
    }
  }
}
