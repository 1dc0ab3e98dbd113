import { mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { ReleaseError } from '../errors';
import { cacheDirectory } from './cache-directory';
import type { Environment } from './cache-directory';
import { findExecutables, isExecutable } from './find-executable';
import { findGo, OLDEST_GO } from './find-go';
import { obtainServer } from './obtain-server';
import { tellEvery } from './progress';
import { runCommand } from './run-command';
import { downloadWithSdk } from './sdk-download';

/** The newest Temporal CLI that can be built from its Go module alone: later ones refer to a module that no proxy serves. */
const CLI_MODULE = 'github.com/temporalio/cli/cmd/temporal';
const CLI_VERSION = '1.5.1';
/** How many packages its build compiles, for the progress line only. */
const CLI_PACKAGES = 1_300;
/** What the module's go.mod asks for. */
const GO_NEEDED = [1, 25] as const;

/** Temporal's CLI, whose `server start-dev` is the dev server. */
export interface TemporalBinary {
  /** Absolute path. */
  readonly path: string;
  /** Its own words, for example `temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)`. */
  readonly version: string;
  readonly origin: 'env' | 'path' | 'cache' | 'download' | 'build';
}

export interface FindServerOptions {
  /** Gets a line for people whenever something that takes time goes on; nothing is told when there is nothing to do. */
  readonly onProgress: (line: string) => void;
  /** Whether the SDK may download it. Default: true. */
  readonly allowDownload?: boolean;
  /** Whether it may be built (Temporal's CLI, with Go) or fetched (the test server, with Maven) from packages. Default: true. */
  readonly allowBuild?: boolean;
  /** Default: {@link cacheDirectory}. */
  readonly cacheDir?: string;
  /** Default: `process.env`. */
  readonly env?: Environment;
}

/**
 * Finds Temporal's CLI: `SLUICE_TEMPORAL_CLI`, the PATH, the cache, the SDK's own download, and last a build from the
 * Go module proxy. What was fetched or built is kept in the cache.
 *
 * @throws ReleaseError `unsupported`, in one sentence that lists what was tried, with the way out as its hint
 */
export async function findTemporalCli(options: FindServerOptions): Promise<TemporalBinary> {
  const { onProgress } = options;
  const env = options.env ?? process.env;
  const cache = path.join(options.cacheDir ?? cacheDirectory(env), 'temporal');
  const tried: string[] = [];

  const named = env['SLUICE_TEMPORAL_CLI'];
  if (named) {
    const version = await versionOf(named, env);
    if (version !== undefined) return { path: path.resolve(named), version, origin: 'env' };
    // Somebody meant this one: taking another in silence would hide the mistake.
    throw new ReleaseError('usage', `SLUICE_TEMPORAL_CLI names ${named}, which is not a Temporal CLI that runs.`, {
      hint: 'Let it name the `temporal` executable, or unset it to have one found.',
    });
  }

  for (const file of await findExecutables('temporal', env)) {
    const version = await versionOf(file, env);
    if (version !== undefined) return { path: file, version, origin: 'path' };
    tried.push(`${file} on the PATH is not a Temporal CLI that runs`);
  }
  if (tried.length === 0) tried.push('none is on the PATH');

  const downloaded = path.join(cache, 'sdk', 'temporal');
  const built = path.join(cache, CLI_VERSION, 'temporal');
  return obtainServer<TemporalBinary>({
    what: "Temporal's dev server",
    cache,
    env,
    onProgress,
    tried,
    fromCache: async () => {
      for (const file of [downloaded, built]) {
        const version = (await isExecutable(file)) ? await versionOf(file, env) : undefined;
        if (version !== undefined) return { path: file, version, origin: 'cache' };
      }
      return undefined;
    },
    sources: [
      {
        origin: 'download',
        name: 'the download',
        allowed: options.allowDownload ?? true,
        target: downloaded,
        get: download,
      },
      { origin: 'build', name: 'the build', allowed: options.allowBuild ?? true, target: built, get: build },
    ],
    made: async ({ target, origin }) => {
      const version = await versionOf(target, env);
      return version === undefined ? undefined : { path: target, version, origin };
    },
    hint:
      'Install the Temporal CLI and put it on the PATH (or let SLUICE_TEMPORAL_CLI name it), allow the download, ' +
      `or install Go >= ${OLDEST_GO}, with which it is built from the Go module proxy.`,
  });
}

/** The first line of `--version` when the file is a Temporal CLI that runs here. */
async function versionOf(file: string, env: Environment): Promise<string | undefined> {
  const result = await runCommand(file, ['--version'], { env, timeoutMs: 15_000 });
  const line = result.output.split('\n').find((text) => text.startsWith('temporal version'));
  return result.code === 0 ? line : undefined;
}

async function download(target: string, env: Environment, onProgress: (line: string) => void): Promise<void> {
  const folder = path.dirname(target);
  const temporary = `${folder}.new`;
  onProgress('downloading the Temporal dev server (once)');
  try {
    const file = await downloadWithSdk({ server: 'dev-server', into: temporary, env, onProgress });
    await mkdir(folder, { recursive: true });
    await rename(file, target);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function build(target: string, env: Environment, onProgress: (line: string) => void): Promise<void> {
  const go = await findGo(env, GO_NEEDED);
  const folder = path.dirname(target);
  const temporary = `${folder}.new`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  let packages = 0;
  let doing = 'fetching modules';
  const ticker = tellEvery(5_000, (seconds) =>
    onProgress(`building the Temporal dev server ${CLI_VERSION} from the Go module proxy: ${seconds} s, ${doing}`),
  );
  onProgress(`building the Temporal dev server ${CLI_VERSION} from the Go module proxy (once, about 3 minutes)`);
  try {
    const result = await runCommand(
      go.path,
      ['install', '-v', '-trimpath', '-ldflags=-s -w', `${CLI_MODULE}@v${CLI_VERSION}`],
      {
        // In a folder without a go.mod, and without a C compiler: neither the checkout nor the machine may matter.
        cwd: temporary,
        env: { ...env, GOBIN: temporary, CGO_ENABLED: '0', ...(go.needsNewer ? { GOTOOLCHAIN: 'auto' } : {}) },
        onLine: (line) => {
          if (line.startsWith('go: downloading ')) doing = `fetching ${line.split(' ')[2] ?? 'modules'}`;
          else if (/^[\w.-]+(\/[^\s:]+)*$/.test(line)) {
            packages += 1;
            doing = `${packages} of about ${CLI_PACKAGES} packages compiled`;
          }
        },
      },
    );
    if (result.code !== 0) throw new Error(`go install failed (${result.problem ?? lastLine(result.output)})`);
    await mkdir(folder, { recursive: true });
    await rename(path.join(temporary, 'temporal'), target);
  } finally {
    ticker.stop();
    await rm(temporary, { recursive: true, force: true });
  }
}

function lastLine(output: string): string {
  return output.trim().split('\n').at(-1) ?? '';
}
