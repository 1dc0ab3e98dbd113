import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { hasCode } from '../../src/devserver/error-code';
import { isAlive, startOf } from '../../src/devserver/process-identity';
import { COMPONENTS, Paths } from './layout';
import type { ComponentName } from './layout';

const port = z.number().int().min(1).max(65_535);

/** Where the programs are. */
const LabParts = z.object({
  /** Folder of kube-apiserver, kube-controller-manager, kube-scheduler, kubelet and kubectl. */
  kubernetes: z.string(),
  /** The executable. */
  traefik: z.string(),
  /** The executable. */
  prometheus: z.string(),
  /** The shop's static binary. */
  shop: z.string(),
  /** CustomResourceDefinitions in the folders `gateway-api`, `traefik`, `istio.io` and `monitoring`. */
  definitions: z.string(),
  /** Stands for `/`: etcd, containerd, runc, the CNI plugins, docker-registry. */
  debian: z.string(),
});
export type LabParts = z.infer<typeof LabParts>;

/** What was decided when the lab was made, and what has to be known to take it down. */
const LabState = z.object({
  /** The checkout that brought it up. */
  owner: z.string(),
  startedAt: z.iso.datetime(),
  parts: LabParts,
  ports: z.object({
    registry: port,
    etcd: port,
    etcdPeers: port,
    apiServer: port,
    kubelet: port,
    gateway: port,
    traefik: port,
    prometheus: port,
  }),
  network: z.object({ subnet: z.string(), gateway: z.string(), firstPod: z.string() }),
  tokens: z.object({ admin: z.string(), limited: z.string() }),
  /** Kernel settings that the kubelet changes, as they were. */
  sysctls: z.record(z.string(), z.string()),
  /** Folders of the system that were not there before. */
  absent: z.array(z.string()),
  /** A process is named by its id and its start, so that another one that got the id later is never taken for it. */
  processes: z.partialRecord(z.enum(COMPONENTS), z.object({ pid: z.number().int(), start: z.string() })),
});
export type LabState = z.infer<typeof LabState>;

/** The state of the lab on this machine; undefined when there is none. */
export function readState(): LabState | undefined {
  try {
    return LabState.parse(JSON.parse(readFileSync(Paths.state, 'utf8')));
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'EACCES')) return undefined;
    throw new Error(`${Paths.state} cannot be read; scripts/lab down takes away what is there of the lab.`, {
      cause: error,
    });
  }
}

export function writeState(state: LabState): void {
  mkdirSync(dirname(Paths.state), { recursive: true, mode: 0o700 });
  // Under another name first: whoever reads at this moment gets the old state or the new one, never half.
  writeFileSync(`${Paths.state}.new`, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${Paths.state}.new`, Paths.state);
}

/** The process id of a component that runs; undefined when it does not. */
export async function runningPid(state: LabState, name: ComponentName): Promise<number | undefined> {
  const known = state.processes[name];
  if (known === undefined || !isAlive(known.pid)) return undefined;
  return (await startOf(known.pid)) === known.start ? known.pid : undefined;
}
