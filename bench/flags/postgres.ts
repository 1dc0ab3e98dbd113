import { spawn } from 'node:child_process';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { runCommand } from '../../src/devserver/run-command';
import { findPostgres } from './scripts';

const PATIENCE_MS = 120_000;

export interface Postgres {
  /** What `--version` says. */
  readonly version: string;
  readonly port: number;
  stop(): Promise<void>;
}

/**
 * A PostgreSQL with data of its own below the system's temporary folder, and the user `unleash`.
 *
 * @throws Error with why there is none
 */
export async function startPostgres(port: number, onProgress: (line: string) => void): Promise<Postgres> {
  // The one on a PATH may be a link, and initdb is only beside what it leads to.
  const postgres = await realpath(await findPostgres(onProgress));
  const folder = await mkdtemp(join(tmpdir(), 'sluice-postgres-'));
  const data = join(folder, 'data');
  const [program, ...before] = asSomebodyElse();
  const init = [...before, join(dirname(postgres), 'initdb'), '--pgdata', data, '--username', 'unleash'];
  const made = await runCommand(program, [
    ...init,
    '--auth',
    'trust',
    '--encoding',
    'UTF8',
    '--locale',
    'C',
    '--no-sync',
  ]);
  if (made.code !== 0) throw new Error(`initdb failed: ${made.problem ?? made.output.trim()}`);
  const settings = { listen_addresses: '127.0.0.1', port: String(port), unix_socket_directories: '' };
  const server = spawn(
    program,
    [
      ...before,
      postgres,
      '-D',
      data,
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    { stdio: 'ignore' },
  );
  const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    // SIGINT: disconnects everybody and ends in order.
    server.kill('SIGINT');
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await listens(port, () => server.exitCode !== null);
    return { version: (await runCommand(postgres, ['--version'])).output.trim(), port, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** PostgreSQL refuses root; in a user namespace root is somebody else, and reaches what root does. */
function asSomebodyElse(): readonly [string, ...string[]] {
  return process.getuid?.() === 0 ? ['unshare', '--user', '--map-user=1000'] : ['env'];
}

async function listens(port: number, isOver: () => boolean): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
    if (open) return;
    if (isOver() || performance.now() > deadline) throw new Error('PostgreSQL does not listen');
    await delay(50);
  }
}
