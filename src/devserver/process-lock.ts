import { mkdir, readlink, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { hasCode } from './error-code';
import { isAlive, startOf } from './process-identity';

/** How long a process waits that found another one removing the same dead holder's lock, in milliseconds. */
const LOOK_AGAIN_MS = 200;

/** Whether this process has the lock now, and who has it otherwise. */
export type LockAttempt =
  | { readonly taken: true; readonly release: () => Promise<void> }
  | { readonly taken: false; /** Its process id. */ readonly holder: number };

/**
 * Takes a lock that at most one living process on this machine holds, or says at once who holds it. The lock's folder
 * is made when it is missing.
 *
 * The lock is a dangling symbolic link that names its holder's process id and start: making one is atomic and there is
 * no moment without a holder, so the lock of a process that died is told from a living one's and taken over, also when
 * its process id was given to another one since. `scripts/lib/setup.sh` uses the same kind, without the start.
 */
export async function takeProcessLock(lock: string): Promise<LockAttempt> {
  await mkdir(path.dirname(lock), { recursive: true });
  while (!(await make(lock))) {
    const held = await readLock(lock);
    if (held === undefined) continue; // released between the two looks
    if (await isHeld(held)) return { taken: false, holder: held.pid };
    await removeStale(lock, held);
  }
  return { taken: true, release: () => rm(lock, { force: true }) };
}

interface Held {
  /** What the link says, whole. */
  readonly text: string;
  readonly pid: number;
  readonly start: string | undefined;
}

async function make(lock: string): Promise<boolean> {
  const start = await startOf(process.pid);
  try {
    await symlink(`pid:${process.pid}${start === undefined ? '' : `:${start}`}`, lock);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

async function readLock(lock: string): Promise<Held | undefined> {
  try {
    const text = await readlink(lock);
    const [, pid, start] = /^pid:(\d+)(?::(.+))?$/u.exec(text) ?? [];
    return { text, pid: Number(pid), start };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function isHeld({ pid, start }: Held): Promise<boolean> {
  if (!isAlive(pid)) return false;
  const now = start === undefined ? undefined : await startOf(pid);
  return now === undefined || now === start;
}

/**
 * Two processes may see the same dead holder. Only the one that gets a second lock removes the first, and it looks
 * again before it does: so the lock of someone who came in between is never removed.
 */
async function removeStale(lock: string, dead: Held): Promise<void> {
  const guard = `${lock}.breaking`;
  if (!(await make(guard))) {
    const breaker = await readLock(guard);
    if (breaker !== undefined && !(await isHeld(breaker))) await rm(guard, { force: true });
    await delay(LOOK_AGAIN_MS);
    return;
  }
  try {
    if ((await readLock(lock))?.text === dead.text) await rm(lock, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}
