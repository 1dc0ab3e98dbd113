import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { hasCode } from '../../src/devserver/error-code';
import { ReleaseError } from '../../src/errors';
import { containerParents } from './cgroups';
import { BRIDGE, LAB_HOME, SUBNETS } from './layout';
import type { LabState } from './state';
import { execute } from './tell';

/** What the lab changes of the machine itself, and how it is put back. */

/** Kernel settings that the kubelet sets as it likes them. */
const SYSCTLS = [
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
  'net/ipv4/ip_forward',
];

/** Folders outside of the lab's own that its programs make, whatever they are told; the inner ones first. */
const SYSTEM_FOLDERS = [
  '/run/containerd/s',
  '/run/containerd',
  '/var/lib/cni/results',
  '/var/lib/cni',
  '/var/log/containers',
  '/var/lib/kubelet/device-plugins',
  '/var/lib/kubelet',
  '/run/mount',
];

export function readSysctls(): Record<string, string> {
  const known = SYSCTLS.filter((name) => existsSync(join('/proc/sys', name)));
  return Object.fromEntries(known.map((name) => [name, readFileSync(join('/proc/sys', name), 'utf8').trim()]));
}

export function restoreSysctls(saved: Readonly<Record<string, string>>): void {
  const now = readSysctls();
  for (const [name, value] of Object.entries(saved)) {
    if (now[name] !== value) writeFileSync(join('/proc/sys', name), value);
  }
}

/** A range of addresses that nothing on this machine has a part in. */
export function freeSubnet(): LabState['network'] {
  const used = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const free = SUBNETS.find(({ gateway }) => {
    const start = gateway.slice(0, gateway.lastIndexOf('.') + 1);
    return !used.some(({ address }) => address.startsWith(start));
  });
  if (free === undefined) {
    throw new ReleaseError(
      'conflict',
      `All ranges of addresses that the lab may use are in use on this machine: ${SUBNETS.map(({ subnet }) => subnet).join(', ')}.`,
    );
  }
  return free;
}

export async function ensureBridge({ gateway, subnet }: LabState['network']): Promise<void> {
  if (hasLink(BRIDGE)) return;
  await execute('ip', ['link', 'add', BRIDGE, 'type', 'bridge']);
  await execute('ip', ['address', 'add', `${gateway}/${subnet.split('/')[1]}`, 'dev', BRIDGE]);
  await execute('ip', ['link', 'set', BRIDGE, 'up']);
}

/** Removes the bridge and the pods' ends of it. */
export async function removeBridge(): Promise<void> {
  for (const link of labLinks()) {
    if (!hasLink(link)) continue;
    try {
      await execute('ip', ['link', 'delete', link]);
    } catch (error) {
      // The kernel takes a pod's interface away by itself, a moment after its namespace: it may just have done so.
      if (hasLink(link)) throw error;
    }
  }
}

/** The lab's network interfaces: what is plugged into the bridge, and last the bridge. */
export function labLinks(): readonly string[] {
  if (!hasLink(BRIDGE)) return [];
  return [...readdirSync(join('/sys/class/net', BRIDGE, 'brif')), BRIDGE];
}

function hasLink(name: string): boolean {
  return existsSync(join('/sys/class/net', name));
}

/** Everything mounted in the lab's folder, the last mount first. */
export function labMounts(): readonly string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[1] ?? '').replaceAll('\\040', ' '))
    .filter((folder) => folder.startsWith(`${LAB_HOME}/`))
    .reverse();
}

export async function unmountAll(): Promise<void> {
  for (const folder of labMounts()) await execute('umount', [folder]);
}

/** What was there before the lab, for `tidySystem`: what its programs made is told from what others need. */
export function absentFolders(): string[] {
  return [...SYSTEM_FOLDERS, ...containerParents()].filter((folder) => !existsSync(folder));
}

/**
 * Removes what the lab's programs put into the system's folders, and those of the folders that were not there before.
 *
 * @param containers their ids, and `sockets` those of their shims, as they were before everything was ended
 */
export function tidySystem(
  { containers, sockets }: { readonly containers: readonly string[]; readonly sockets: readonly string[] },
  absent: readonly string[],
): void {
  for (const socket of sockets) rmSync(socket, { force: true });
  removeFrom('/var/lib/cni/results', (name) => containers.some((id) => name.includes(id)));
  removeFrom('/var/log/containers', (name) => isLabLink(join('/var/log/containers', name)));
  // Where it was there before, there is another kubelet, whose socket it may be.
  if (absent.includes('/var/lib/kubelet')) removeFrom('/var/lib/kubelet/device-plugins', () => true);
  for (const folder of absent) {
    try {
      rmdirSync(folder);
    } catch (error) {
      // Somebody else put something there meanwhile, or it was never made.
      if (!hasCode(error, 'ENOTEMPTY') && !hasCode(error, 'EBUSY') && !hasCode(error, 'ENOENT')) throw error;
    }
  }
}

function isLabLink(file: string): boolean {
  return lstatSync(file).isSymbolicLink() && readlinkSync(file).startsWith(`${LAB_HOME}/`);
}

function removeFrom(folder: string, matches: (name: string) => boolean): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    if (matches(name)) rmSync(join(folder, name), { force: true });
  }
}
