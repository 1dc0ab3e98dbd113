import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../../src/devserver/run-command';
import { ReleaseError } from '../../src/errors';

/**
 * Unpacks packages of the machine's own Debian archive into a folder of the cache. Nothing is installed: that would
 * start services that are not the lab's, change the system and outlive `down`. What the packages need besides and the
 * machine lacks is unpacked beside them; `LIBRARIES` are the folders for LD_LIBRARY_PATH.
 *
 * @returns the folder that stands for `/`
 */
export async function ensureDebianPackages(
  cache: string,
  packages: readonly string[],
  onProgress: (line: string) => void,
): Promise<string> {
  const folder = debianFolder(cache, packages);
  if (existsSync(folder)) return folder;
  const work = `${folder}.new`;
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  try {
    onProgress(`fetching ${packages.join(', ')} from the Debian archive (once)`);
    const wanted = [...new Set([...packages, ...(await lacking(packages))])];
    const fetched = await runCommand('apt-get', ['download', '-qq', ...wanted], { cwd: work });
    if (fetched.code !== 0) {
      throw new ReleaseError(
        'unsupported',
        `${packages.join(', ')} cannot be had from Debian: ${firstError(fetched)}.`,
        {
          hint: 'The lab needs Debian 12 or a system with the same packages, apt-get and its archive.',
        },
      );
    }
    for (const archive of await readdir(work)) {
      if (!archive.endsWith('.deb')) continue;
      const unpacked = await runCommand('dpkg', ['-x', archive, 'root'], { cwd: work });
      if (unpacked.code !== 0)
        throw new ReleaseError('internal', `${archive} cannot be unpacked: ${firstError(unpacked)}`);
    }
    await rename(join(work, 'root'), folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return folder;
}

/** Where `ensureDebianPackages` puts a list of packages. */
export function debianFolder(cache: string, packages: readonly string[]): string {
  return join(cache, createHash('sha256').update(packages.join(' ')).digest('hex').slice(0, 12));
}

/** Where the libraries of unpacked packages lie, for LD_LIBRARY_PATH. */
export function libraryPath(root: string): string {
  const machine = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  return [join(root, 'usr/lib', machine), join(root, 'lib', machine)].join(':');
}

/** What apt would install here: the packages themselves, and what they need and this machine lacks. */
async function lacking(packages: readonly string[]): Promise<readonly string[]> {
  const ask = () => runCommand('apt-get', ['install', '--print-uris', '-qq', '--no-install-recommends', ...packages]);
  let answer = await ask();
  if (answer.code !== 0 && process.getuid?.() === 0) {
    // A fresh container has no package lists yet; only root may fetch them.
    await runCommand('apt-get', ['update', '-qq']);
    answer = await ask();
  }
  return [...answer.output.matchAll(/^'[^']*' ([^_ ]+)_/gmu)].map(([, name]) => name ?? '');
}

function firstError({ output, problem }: { output: string; problem: string | undefined }): string {
  return problem ?? output.split('\n').find((line) => line.startsWith('E:')) ?? output.trim();
}
