import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Environment } from './cache-directory';
import { hasCode } from './error-code';
import { isExecutable } from './find-executable';
import { runCommand } from './run-command';

/**
 * Milliseconds until a download has to have begun: a name that does not resolve or a refused connection is told at
 * once, but a firewall that drops packets never answers.
 */
const BEGIN_WITHIN_MS = 15_000;
/** Milliseconds a download that has begun may stand still. */
const STALL_MS = 30_000;

/** Which of the two servers the Temporal SDK knows how to fetch. */
export type SdkServer = 'dev-server' | 'test-server';

/**
 * What the child process runs. The SDK only fetches a server in order to start it, so the child does both and stops it
 * again; it is a child so that a download that hangs can be ended.
 */
const CHILD = `
  const [testing, kind, downloadDir] = process.argv.slice(1);
  const { TestWorkflowEnvironment } = require(testing);
  const server = { executable: { type: 'cached-download', downloadDir, ttl: '3650 days' } };
  const start = kind === 'dev-server' ? 'createLocal' : 'createTimeSkipping';
  TestWorkflowEnvironment[start]({ server }).then((env) => env.teardown()).catch((error) => {
    for (let e = error; e; e = e.cause) console.error('reason: ' + e.message);
    process.exitCode = 1;
  });
`;

/**
 * Lets the Temporal SDK fetch one of its servers.
 *
 * @param options.into an empty or missing folder for the file
 * @returns the executable
 * @throws Error whose message is a clause that says why it could not be fetched
 */
export async function downloadWithSdk(options: {
  readonly server: SdkServer;
  readonly into: string;
  readonly env: Environment;
  readonly onProgress: (line: string) => void;
}): Promise<string> {
  const { server, into, env, onProgress } = options;
  await rm(into, { recursive: true, force: true });
  await mkdir(into, { recursive: true });
  const stop = new AbortController();
  const watch = watchDownload(into, stop, onProgress);
  const result = await runCommand(
    process.execPath,
    ['-e', CHILD, '--', require.resolve('@temporalio/testing'), server, into],
    { env, signal: stop.signal },
  );
  stop.abort();
  await watch;

  // The file counts, not the exit code: a first start can be too slow for the SDK although the file is complete
  // (macOS checks a new program first). An incomplete one has another name.
  const files = (await readdir(into)).filter((name) => !name.endsWith('.downloading'));
  for (const name of files) {
    const file = path.join(into, name);
    if (await isExecutable(file)) return file;
  }
  throw new Error(result.problem ?? reasonIn(result.output) ?? `the SDK's download ended with code ${result.code}`);
}

/** The deepest cause the child printed, without the addresses in front of it: its words are the most exact ones. */
function reasonIn(output: string): string | undefined {
  const reasons = output.split('\n').filter((line) => line.startsWith('reason: '));
  return reasons.at(-1)?.replace(/^.*(error sending request for url \([^)]*\)|reason|executable): /, '');
}

/** Aborts `stop` when nothing arrives, and tells how much has. Ends when `stop` is aborted, by whomever. */
async function watchDownload(folder: string, stop: AbortController, onProgress: (line: string) => void): Promise<void> {
  let size = 0;
  let changedAt = Date.now();
  let toldAt = Date.now();
  for (;;) {
    try {
      await delay(500, undefined, { signal: stop.signal });
    } catch {
      return; // aborted: the only way this timer can fail
    }
    const now = Date.now();
    const sizeNow = await folderSize(folder);
    if (sizeNow !== size) {
      size = sizeNow;
      changedAt = now;
    }
    if (now - changedAt > (size === 0 ? BEGIN_WITHIN_MS : STALL_MS)) {
      stop.abort(size === 0 ? `nothing arrived within ${BEGIN_WITHIN_MS / 1000} s` : 'the download stood still');
    } else if (now - toldAt >= 5_000) {
      toldAt = now;
      onProgress(`downloading: ${(size / 1e6).toFixed(0)} MB so far`);
    }
  }
}

async function folderSize(folder: string): Promise<number> {
  let size = 0;
  for (const name of await readdir(folder)) {
    try {
      size += (await stat(path.join(folder, name))).size;
    } catch (error) {
      // The SDK renames its file when it is complete; anything but that is told.
      if (!hasCode(error, 'ENOENT')) throw error;
    }
  }
  return size;
}
