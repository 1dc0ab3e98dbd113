import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { ReleaseError } from '../../src/errors';

const WAY_OUT =
  'With Docker, kind and kubectl it runs anywhere; the end-to-end tests also take any cluster that is named by KUBECONFIG together with SLUICE_LAB_GATEWAY_URL, SLUICE_LAB_PROMETHEUS_URL and SLUICE_LAB_REGISTRY (docs/lab.md).';

/** What the lab uses of the machine, and which package brings it. */
const PROGRAMS = { ip: 'iproute2', umount: 'mount', tar: 'tar', 'apt-get': 'Debian, whose packages the lab unpacks' };

/** Why a lab cannot run on this machine, as one sentence; undefined when it can. */
export function whyNoLab(): string | undefined {
  if (process.platform !== 'linux') {
    return `The lab runs containers by Linux's own means, and this machine's system is ${process.platform}.`;
  }
  if (process.getuid?.() !== 0) return 'The lab makes containers, cgroups and a bridge, which only root may do.';
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  for (const [program, from] of Object.entries(PROGRAMS)) {
    if (folders.some((folder) => existsSync(join(folder, program)))) continue;
    return `The lab needs the program ${program}, which this machine lacks (it comes with ${from}).`;
  }
  return undefined;
}

/** @throws ReleaseError when a lab cannot run on this machine */
export function checkMachine(): void {
  const why = whyNoLab();
  if (why !== undefined) throw new ReleaseError('unsupported', why, { hint: WAY_OUT });
}
