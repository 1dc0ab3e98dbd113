import type { Environment } from './cache-directory';
import { findExecutables } from './find-executable';
import { runCommand } from './run-command';

/** The first Go that can fetch a newer Go by itself. */
const GO_WITH_TOOLCHAINS = [1, 21] as const;
/** Where installers put Go, whether or not they add it to the PATH. */
const GO_FOLDERS = ['/usr/local/go/bin', '/usr/lib/go/bin', '/opt/homebrew/bin', '/usr/local/bin', '/snap/bin'];

/** Go's major and minor version. */
export type GoVersion = readonly [number, number];

export interface Go {
  /** Absolute path of the command. */
  readonly path: string;
  /** Whether it is older than what was asked for and has to fetch a newer Go first (`GOTOOLCHAIN=auto` lets it). */
  readonly needsNewer: boolean;
}

/** The first version of Go that a person may install to have one that can build what is asked for. */
export const OLDEST_GO = GO_WITH_TOOLCHAINS.join('.');

/**
 * The first Go on the machine that can build a module that asks for `needed`.
 *
 * @throws Error when there is none, with why in a few words
 */
export async function findGo(env: Environment, needed: GoVersion): Promise<Go> {
  const found = await findExecutables('go', env, GO_FOLDERS);
  let tooOld: string | undefined;
  for (const file of found) {
    const result = await runCommand(file, ['version'], { env, timeoutMs: 15_000 });
    const [, major, minor] = /\bgo(\d+)\.(\d+)/.exec(result.output) ?? [];
    const version = [Number(major), Number(minor)] as const;
    if (result.code !== 0 || major === undefined) continue;
    if (atLeast(version, needed)) return { path: file, needsNewer: false };
    if (atLeast(version, GO_WITH_TOOLCHAINS)) return { path: file, needsNewer: true };
    tooOld = `Go ${version.join('.')} is too old to build it`;
  }
  throw new Error(tooOld ?? 'there is no Go to build it with');
}

function atLeast(version: GoVersion, minimum: GoVersion): boolean {
  return version[0] > minimum[0] || (version[0] === minimum[0] && version[1] >= minimum[1]);
}
