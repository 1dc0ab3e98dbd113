import { findExecutables } from '../../src/devserver/find-executable';
import { ReleaseError } from '../../src/errors';

const WAY_OUT =
  'Elsewhere use kind, or any cluster: the end-to-end tests take the one that KUBECONFIG names (docs/lab.md).';

/** Why a lab cannot run on this machine, as one sentence; undefined when it can. */
export async function whyNoLab(): Promise<string | undefined> {
  if (process.platform !== 'linux') {
    return `The lab runs containers on Linux's own means, and this machine is ${process.platform}.`;
  }
  if (process.getuid?.() !== 0) return 'The lab makes containers, cgroups and a bridge, and only root may do that.';
  for (const [program, from] of [
    ['ip', 'iproute2'],
    ['umount', 'mount'],
    ['tar', 'tar'],
    ['apt-get', 'Debian, whose packages it uses'],
  ] as const) {
    const found = await findExecutables(program, process.env, ['/usr/sbin', '/sbin']);
    if (found.length === 0)
      return `The lab needs the program ${program}, which is not on this machine (it comes with ${from}).`;
  }
  return undefined;
}

/** @throws ReleaseError when a lab cannot run on this machine */
export async function checkMachine(): Promise<void> {
  const why = await whyNoLab();
  if (why !== undefined) throw new ReleaseError('unsupported', why, { hint: WAY_OUT });
}
