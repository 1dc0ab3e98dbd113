import { setTimeout as delay } from 'node:timers/promises';
import { takeProcessLock } from './process-lock';

/** How often a waiting process looks again, in milliseconds: the work that is waited for takes seconds to minutes. */
const LOOK_AGAIN_MS = 200;

/**
 * Runs `work` while no other process on this machine runs one under the same `lock`, so that two starts at once do not
 * fetch or build the same thing twice.
 *
 * @param onWait called once, with the holder's process id, when the lock is not free
 */
export async function withCacheLock<T>(
  lock: string,
  onWait: (holder: number) => void,
  work: () => Promise<T>,
): Promise<T> {
  let told = false;
  for (;;) {
    const attempt = await takeProcessLock(lock);
    if (!attempt.taken) {
      if (!told) onWait(attempt.holder);
      told = true;
      await delay(LOOK_AGAIN_MS);
      continue;
    }
    try {
      return await work();
    } finally {
      await attempt.release();
    }
  }
}
