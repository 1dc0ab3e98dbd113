import { rmSync } from 'node:fs';
import { messageOf } from '../../src/errors';
import { killLabProcesses, labCgroups, labProcesses, removeLabCgroups } from './cgroups';
import { containerIds, shimSockets } from './containers';
import { LAB_HOME } from './layout';
import { readState } from './state';
import type { LabState } from './state';
import { labLinks, labMounts, removeBridge, restoreSysctls, tidySystem, unmountAll } from './system';
import { tell } from './tell';

/**
 * Ends and removes everything that belongs to a lab, also to one that is half there, and returns when nothing is left.
 * Its data goes with it, so nothing has to end in an orderly way.
 */
export async function takeDown(): Promise<void> {
  const state = readableState();
  const traces = { containers: containerIds(), sockets: shimSockets() };
  await killLabProcesses();
  await unmountAll();
  await removeBridge();
  await removeLabCgroups();
  tidySystem(traces, state?.absent ?? []);
  if (state !== undefined) restoreSysctls(state.sysctls);
  rmSync(LAB_HOME, { recursive: true, force: true });
}

/** What is there of a lab, each named for a person; nothing after `takeDown`. */
export function remains(): readonly string[] {
  return [
    ...labProcesses().map((pid) => `process ${pid}`),
    ...labMounts().map((folder) => `mount ${folder}`),
    ...labLinks().map((link) => `network interface ${link}`),
    ...labCgroups().map((folder) => `cgroup ${folder}`),
  ];
}

/** A state that cannot be read does not keep `down` from its work: what the lab is made of is found without it. */
export function readableState(): LabState | undefined {
  try {
    return readState();
  } catch (error) {
    tell(messageOf(error));
    return undefined;
  }
}
