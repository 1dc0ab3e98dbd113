import { readFile } from 'node:fs/promises';
import { hasCode } from './error-code';
import { runCommand } from './run-command';

/** Whether a process exists; one of another user counts, although it may not be signalled. */
export function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return hasCode(error, 'EPERM');
  }
}

/**
 * When a process began, in a form that is only good for comparing: with the process id it names one process, also after
 * the id was given to another one, as a restart of the machine or of a container does. Undefined where that cannot be
 * told, or when there is no such process.
 */
export async function startOf(pid: number): Promise<string | undefined> {
  return process.platform === 'linux' ? startByProc(pid) : startByPs(pid);
}

/** Clock ticks since the boot, and which boot that was. */
async function startByProc(pid: number): Promise<string | undefined> {
  try {
    const [stat, boot] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    ]);
    // The name is in parentheses and may hold anything, spaces and parentheses too. What follows it begins with field 3.
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[22 - 3];
    return ticks === undefined ? undefined : `${boot.trim()}/${ticks}`;
  } catch {
    // No such process, or a system that hides it: either way there is nothing to compare.
    return undefined;
  }
}

async function startByPs(pid: number): Promise<string | undefined> {
  const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' };
  const { code, output } = await runCommand('ps', ['-o', 'lstart=', '-p', String(pid)], { env, timeoutMs: 5_000 });
  const started = output.trim().replace(/\s+/gu, '-');
  return code === 0 && started !== '' ? started : undefined;
}
