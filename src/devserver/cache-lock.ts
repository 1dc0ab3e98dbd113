import { mkdir, readlink, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { hasCode } from './error-code';

/** How often a waiting process looks again, in milliseconds: the work that is waited for takes seconds to minutes. */
const LOOK_AGAIN_MS = 200;

/**
 * Runs `work` while no other process on this machine runs one under the same `lock`, so that two starts at once do not
 * fetch or build the same thing twice.
 *
 * The lock is a dangling symbolic link that names its holder's process id: making one is atomic and there is no moment
 * without a holder, so the lock of a process that died is told from a living one's and taken over.
 * `scripts/lib/setup.sh` uses the same kind.
 *
 * @param onWait called once, with the holder's process id, when the lock is not free
 */
export async function withCacheLock<T>(
  lock: string,
  onWait: (holder: number) => void,
  work: () => Promise<T>,
): Promise<T> {
  await mkdir(path.dirname(lock), { recursive: true });
  let told = false;
  while (!(await take(lock))) {
    const holder = await holderOf(lock);
    if (holder === undefined) continue; // released between the two looks
    if (!isAlive(holder)) {
      await removeStale(lock, holder);
      continue;
    }
    if (!told) onWait(holder);
    told = true;
    await delay(LOOK_AGAIN_MS);
  }
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}

async function take(lock: string): Promise<boolean> {
  try {
    await symlink(`pid:${process.pid}`, lock);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

async function holderOf(lock: string): Promise<number | undefined> {
  try {
    return Number((await readlink(lock)).replace('pid:', ''));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/**
 * Two waiters may see the same dead holder. Only the one that gets a second lock removes the first, and it looks again
 * before it does: so the lock of someone who came in between is never removed.
 */
async function removeStale(lock: string, deadHolder: number): Promise<void> {
  const guard = `${lock}.breaking`;
  if (!(await take(guard))) {
    const breaker = await holderOf(guard);
    if (breaker !== undefined && !isAlive(breaker)) await rm(guard, { force: true });
    await delay(LOOK_AGAIN_MS);
    return;
  }
  try {
    if ((await holderOf(lock)) === deadHolder) await rm(lock, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

/** Whether a process exists; one of another user counts, although it may not be signalled. */
function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return hasCode(error, 'EPERM');
  }
}
