import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startOf } from '../../src/devserver/process-identity';
import { ReleaseError } from '../../src/errors';
import { programsCgroup } from './cgroups';
import { baseEnvironment } from './components';
import type { Component } from './components';
import { LAB_HOME, Paths } from './layout';
import type { ComponentName } from './layout';
import { runningPid, writeState } from './state';
import type { LabState } from './state';

const LOOK_AGAIN_MS = 50;
/** How long a component may take until it is ready; a busy machine needs patience, a broken one is told at once. */
const READY_WITHIN_MS = 120_000;
/** How long a component may take to end by itself. */
const STOP_WITHIN_MS = 10_000;

/** Looks until it is so. */
export async function until(what: string, look: () => Promise<boolean>, withinMs = READY_WITHIN_MS): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await look())) {
    if (performance.now() > deadline) {
      throw new ReleaseError('timeout', `Waited ${Math.round(withinMs / 1000)} s in vain: ${what}.`, {
        hint: `The components' words are in ${Paths.logs}.`,
      });
    }
    await delay(LOOK_AGAIN_MS);
  }
}

/**
 * Starts a component unless it runs. It gets a session and a cgroup of its own, so that it outlives this process and is
 * found, with all that it started, by `down`.
 */
export async function startComponent(state: LabState, name: ComponentName, component: Component): Promise<void> {
  if ((await runningPid(state, name)) !== undefined) return;
  const log = openSync(join(Paths.logs, `${name}.log`), 'a', 0o600);
  const enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"';
  const child = spawn('/bin/sh', ['-c', enter, programsCgroup(), component.program, ...component.args], {
    cwd: LAB_HOME,
    detached: true,
    env: { ...baseEnvironment(), ...component.env },
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  await once(child, 'spawn');
  child.unref();
  const start = child.pid === undefined ? undefined : await startOf(child.pid);
  if (child.pid === undefined || start === undefined) throw endedAtOnce(name);
  state.processes[name] = { pid: child.pid, start };
  writeState(state);
}

/** Waits until a component is ready, and not longer than it lives. */
export async function waitUntilReady(
  state: LabState,
  name: ComponentName,
  isReady: () => Promise<boolean>,
): Promise<void> {
  await until(`${name} is ready`, async () => {
    if (await isReady()) return true;
    if ((await runningPid(state, name)) === undefined) throw endedAtOnce(name);
    return false;
  });
}

/** Whether an address answers with a status below 400. */
export async function answers(url: string, headers: Readonly<Record<string, string>> = {}): Promise<boolean> {
  try {
    return (await fetch(url, { headers, signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    return false; // refused, reset or too late: not up yet
  }
}

/** Ends a component: SIGTERM, after ten seconds SIGKILL. One that does not run is left alone. */
export async function stopComponent(state: LabState, name: ComponentName): Promise<void> {
  const pid = await runningPid(state, name);
  if (pid === undefined) return;
  process.kill(pid, 'SIGTERM');
  const deadline = performance.now() + STOP_WITHIN_MS;
  let forced = false;
  while ((await runningPid(state, name)) !== undefined) {
    if (!forced && performance.now() > deadline) {
      forced = true;
      process.kill(pid, 'SIGKILL');
    }
    await delay(LOOK_AGAIN_MS);
  }
}

function endedAtOnce(name: ComponentName): ReleaseError {
  return new ReleaseError('internal', `${name} ended by itself.`, {
    hint: `Its words are in ${join(Paths.logs, `${name}.log`)}.`,
  });
}
