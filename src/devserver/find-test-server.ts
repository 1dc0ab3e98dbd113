import { chmod, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ReleaseError } from '../errors';
import { cacheDirectory } from './cache-directory';
import type { Environment } from './cache-directory';
import { findExecutables, isExecutable } from './find-executable';
import type { FindServerOptions } from './find-temporal';
import { obtainServer } from './obtain-server';
import { tellEvery } from './progress';
import { runCommand } from './run-command';
import { downloadWithSdk } from './sdk-download';

const GROUP = 'io.temporal';
const ARTIFACT = 'temporal-test-server';
const VERSION = '1.38.0';

/** Temporal's test server, which skips time. */
export interface TestServerBinary {
  /** Absolute path of an executable, usable as `{ type: 'existing-path', path }` with `@temporalio/testing`. */
  readonly path: string;
  readonly origin: 'env' | 'path' | 'cache' | 'download' | 'build';
}

/**
 * Finds Temporal's time-skipping test server, which the tests and rehearsals need: `SLUICE_TEMPORAL_TEST_SERVER`, the
 * PATH, the cache, the SDK's own download, and last the Java packages from the Maven repository, which need Java to run. What was
 * fetched is kept in the cache.
 *
 * @throws ReleaseError `unsupported`, in one sentence that lists what was tried, with the way out as its hint
 */
export async function findTestServer(options: FindServerOptions): Promise<TestServerBinary> {
  const { onProgress } = options;
  const env = options.env ?? process.env;
  const cache = path.join(options.cacheDir ?? cacheDirectory(env), 'test-server');

  const named = env['SLUICE_TEMPORAL_TEST_SERVER'];
  if (named) {
    if (await isExecutable(named)) return { path: path.resolve(named), origin: 'env' };
    throw new ReleaseError('usage', `SLUICE_TEMPORAL_TEST_SERVER names ${named}, which is not an executable file.`, {
      hint: 'Let it name the test server, or unset it to have one found.',
    });
  }

  const [onPath] = await findExecutables(ARTIFACT, env);
  if (onPath !== undefined) return { path: onPath, origin: 'path' };

  const downloaded = path.join(cache, 'sdk', ARTIFACT);
  const packages = path.join(cache, VERSION, ARTIFACT);
  return obtainServer<TestServerBinary>({
    what: "Temporal's test server",
    cache,
    env,
    onProgress,
    tried: ['none is on the PATH'],
    fromCache: async () => {
      if (await isExecutable(downloaded)) return { path: downloaded, origin: 'cache' };
      // Only a script around Java: without Java it would be no use, and the reason would be hard to see later.
      const usable = (await isExecutable(packages)) && (await javaProblem(env)) === undefined;
      return usable ? { path: packages, origin: 'cache' } : undefined;
    },
    sources: [
      {
        origin: 'download',
        name: 'the download',
        allowed: options.allowDownload ?? true,
        target: downloaded,
        get: download,
      },
      { origin: 'build', name: 'Maven', allowed: options.allowBuild ?? true, target: packages, get: fetchPackages },
    ],
    made: ({ target, origin }) => Promise.resolve({ path: target, origin }),
    hint:
      'Allow the download, install Java >= 11 and Maven (on Debian: apt-get install default-jre-headless maven), ' +
      'or let SLUICE_TEMPORAL_TEST_SERVER name the executable.',
  });
}

async function download(target: string, env: Environment, onProgress: (line: string) => void): Promise<void> {
  const folder = path.dirname(target);
  const temporary = `${folder}.new`;
  onProgress("downloading Temporal's time-skipping test server (once)");
  try {
    const file = await downloadWithSdk({ server: 'test-server', into: temporary, env, onProgress });
    await mkdir(folder, { recursive: true });
    await rename(file, target);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Why Java cannot be used, as a clause; undefined when it can. */
async function javaProblem(env: Environment): Promise<string | undefined> {
  const result = await runCommand('java', ['-version'], { env, timeoutMs: 30_000 });
  // macOS has a `java` that only says that there is none: hence the exit code.
  return result.code === 0 ? undefined : 'there is no Java on the PATH to run it with';
}

async function fetchPackages(target: string, env: Environment, onProgress: (line: string) => void): Promise<void> {
  const java = await javaProblem(env);
  if (java !== undefined) throw new Error(java);
  const [maven] = await findExecutables('mvn', env);
  if (maven === undefined) throw new Error('there is no Maven (mvn) on the PATH to fetch its packages with');

  const folder = path.dirname(target);
  const temporary = `${folder}.new`;
  const jars = path.join(temporary, 'lib');
  await rm(temporary, { recursive: true, force: true });
  await mkdir(jars, { recursive: true });
  await writeFile(path.join(temporary, 'pom.xml'), POM);
  onProgress(`fetching Temporal's test server ${VERSION} with Maven (once, some seconds)`);
  const ticker = tellEvery(5_000, (seconds) => onProgress(`fetching Temporal's test server with Maven: ${seconds} s`));
  try {
    const result = await runCommand(maven, ['-B', '-q', 'dependency:copy-dependencies', `-DoutputDirectory=${jars}`], {
      cwd: temporary,
      env,
      timeoutMs: 10 * 60_000,
    });
    if (result.code !== 0) throw new Error(`mvn failed (${result.problem ?? firstError(result.output)})`);
    if (!(await readdir(jars)).some((name) => name.startsWith(ARTIFACT))) throw new Error('mvn copied no packages');
    await writeFile(path.join(temporary, ARTIFACT), SCRIPT);
    await chmod(path.join(temporary, ARTIFACT), 0o755);
    await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder);
  } finally {
    ticker.stop();
    await rm(temporary, { recursive: true, force: true });
  }
}

function firstError(output: string): string {
  const line = output.split('\n').find((text) => text.includes('[ERROR]')) ?? output.trim().split('\n').at(-1) ?? '';
  return line.replace('[ERROR]', '').trim().slice(0, 300);
}

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.sluice</groupId>
  <artifactId>test-server</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>${GROUP}</groupId><artifactId>${ARTIFACT}</artifactId><version>${VERSION}</version></dependency>
  </dependencies>
</project>
`;

/** It must `exec`: the SDK ends the process that it started, and knows no other. */
const SCRIPT = `#!/bin/sh
dir=$(cd "$(dirname "$0")" && pwd) || exit 1
exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -cp "$dir/lib/*" io.temporal.testserver.TestServer "$@"
`;
