import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { cacheDirectory } from '../../src/devserver/cache-directory';
import { withCacheLock } from '../../src/devserver/cache-lock';
import { runCommand } from '../../src/devserver/run-command';

/** What is measured beside, at exact versions; 205 MB, so none of the project's own packages. */
const PACKAGES = {
  '@growthbook/growthbook': '1.8.0',
  '@openfeature/core': '1.12.0',
  '@openfeature/flagd-core': '4.0.1',
  'unleash-client': '6.12.1',
  'unleash-server': '8.2.0',
} as const;
export type PeerPackage = keyof typeof PACKAGES;

export interface Peers {
  readonly folder: string;
  /** `name version`, for people. */
  readonly titleOf: (name: PeerPackage) => string;
}

/** Fetches the peers into the cache, once; their install scripts do not run. */
export async function ensurePeers(onProgress: (line: string) => void): Promise<Peers> {
  const folder = join(cacheDirectory(), 'flag-peers');
  const wanted = `${JSON.stringify({ private: true, dependencies: PACKAGES }, null, 2)}\n`;
  const wait = (holder: number): void => onProgress(`waiting for process ${holder}, which fetches the peers`);
  return withCacheLock(`${folder}.lock`, wait, async () => {
    const there = await readFile(join(folder, 'package.json'), 'utf8').catch(() => null);
    if (there !== wanted) await install(folder, wanted, onProgress);
    return { folder, titleOf: (name) => `${name} ${PACKAGES[name]}` };
  });
}

async function install(folder: string, manifest: string, onProgress: (line: string) => void): Promise<void> {
  onProgress(`fetching ${Object.keys(PACKAGES).join(', ')} (once, some minutes)`);
  const work = `${folder}.new`;
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  await writeFile(join(work, 'package.json'), manifest);
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock'];
  const { code, problem, output } = await runCommand('npm', args, { cwd: work });
  if (code !== 0) throw new Error(`the peers cannot be fetched: ${problem ?? output.trim().split('\n').at(-1) ?? ''}`);
  await rm(folder, { recursive: true, force: true });
  await rename(work, folder);
}

/** One of the peers, from where it was fetched to. */
export function loadPeer(folder: string, name: PeerPackage): unknown {
  return createRequire(join(folder, 'package.json'))(name);
}
