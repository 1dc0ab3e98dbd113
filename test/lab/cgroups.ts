import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { hasCode } from '../../src/devserver/error-code';
import { startOf } from '../../src/devserver/process-identity';
import { containerIds } from './containers';
import { CGROUP } from './layout';

const CONTAINERS = 'k8s.io';
const LOOK_AGAIN_MS = 20;
/** A loaded machine takes a second or two. */
const GONE_WITHIN_MS = 30_000;

interface Hierarchy {
  readonly folder: string;
  readonly unified: boolean;
}

/** Where the cgroup hierarchies are mounted: one for cgroup 2, one per controller for cgroup 1, or both. */
function hierarchies(): readonly Hierarchy[] {
  return readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, , type]) => type === 'cgroup' || type === 'cgroup2')
    .map(([, folder = '', type]) => ({ folder, unified: type === 'cgroup2' }));
}

/**
 * The cgroup that the lab's programs, and all that they start, are in: what is in it is the lab's, whatever became of
 * the process that started it. Made when it is missing.
 */
export function programsCgroup(): string {
  const all = hierarchies();
  const chosen = all.find((one) => one.unified) ?? all.find((one) => one.folder.endsWith('/pids')) ?? all[0];
  if (chosen === undefined) throw new Error('No cgroup hierarchy is mounted on this machine.');
  const folder = join(chosen.folder, CGROUP.programs);
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** The ids of all processes in the lab's cgroups. */
export function labProcesses(): readonly number[] {
  const found = new Set<number>();
  for (const folder of labCgroups()) {
    for (const line of processesIn(folder)) found.add(line);
  }
  return [...found];
}

/**
 * The lab's cgroups, the innermost first. Those of the containers are not below the lab's own: without cgroups per class
 * of service the kubelet names no parent, and containerd takes its namespace's name.
 */
export function labCgroups(): readonly string[] {
  const own = [CGROUP.root, ...containerIds().map((id) => join(CONTAINERS, id))];
  return hierarchies().flatMap(({ folder }) => own.flatMap((name) => below(join(folder, name))));
}

/** Where containerd puts the containers' cgroups, in each hierarchy. */
export function containerParents(): readonly string[] {
  return hierarchies().map(({ folder }) => join(folder, CONTAINERS));
}

/** Ends every process in the lab's cgroups at once, and returns when they are gone from the table of processes too. */
export async function killLabProcesses(): Promise<void> {
  const ended = new Map<number, string | undefined>();
  for (let left = labProcesses(); left.length > 0; left = labProcesses()) {
    for (const pid of left) {
      ended.set(pid, ended.get(pid) ?? (await startOf(pid)));
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if (!hasCode(error, 'ESRCH')) throw error;
      }
    }
    await delay(LOOK_AGAIN_MS);
  }
  // Their parent is gone, so the system's first process collects them, when it gets to it.
  const deadline = performance.now() + GONE_WITHIN_MS;
  for (const [pid, start] of ended) {
    while (start !== undefined && (await startOf(pid)) === start && performance.now() < deadline) {
      await delay(LOOK_AGAIN_MS);
    }
  }
}

/** Removes the lab's cgroups. A process that was killed keeps its cgroup busy until the kernel is done with it. */
export async function removeLabCgroups(): Promise<void> {
  const deadline = performance.now() + GONE_WITHIN_MS;
  for (const folder of labCgroups()) {
    while (!removed(folder)) {
      if (performance.now() > deadline) throw new Error(`${folder} is busy, although no process is in it.`);
      await delay(LOOK_AGAIN_MS);
    }
  }
}

function removed(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return true;
    if (hasCode(error, 'EBUSY')) return false;
    throw error;
  }
}

function below(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const inner = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...inner.flatMap((entry) => below(join(folder, entry.name))), folder];
}

function processesIn(folder: string): readonly number[] {
  try {
    return readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENODEV')) return []; // removed between the two looks
    throw error;
  }
}
