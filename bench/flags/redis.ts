import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../src/devserver/free-port';
import { findRedis } from './scripts';

const PATIENCE_MS = 30_000;

/** A Redis on loopback that keeps its data over a restart. */
export interface Redis {
  readonly url: string;
  /** SIGKILL: what a crash is. */
  kill(): Promise<void>;
  /** On the same port, with the same data; resolves at its first answer. */
  start(): Promise<void>;
}

/**
 * A Redis with data of its own below the system's temporary folder, while it is used.
 *
 * @throws Error with why there is none
 */
export async function withRedis<T>(onProgress: (line: string) => void, use: (redis: Redis) => Promise<T>): Promise<T> {
  const program = await findRedis(onProgress);
  const folder = await mkdtemp(join(tmpdir(), 'sluice-redis-'));
  const port = await freePort();
  const args = ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder, '--save', '', '--appendonly', 'yes'];
  let child: ChildProcess | null = null;
  const kill = async (): Promise<void> => {
    const dying = child;
    child = null;
    if (dying === null || dying.exitCode !== null || dying.signalCode !== null) return;
    const ended = new Promise((resolve) => dying.once('exit', resolve));
    dying.kill('SIGKILL');
    await ended;
  };
  const start = async (): Promise<void> => {
    child = spawn(program, args, { stdio: 'ignore' });
    const deadline = performance.now() + PATIENCE_MS;
    while (!(await answersPing(port))) {
      if (performance.now() > deadline) throw new Error('Redis did not come up');
      await delay(1);
    }
  };
  try {
    await start();
    return await use({ url: `redis://127.0.0.1:${port}`, kill, start });
  } finally {
    await kill();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Not while it reads its data: it says LOADING then. */
function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.once('data', (data) => {
      resolve(data.toString().startsWith('+PONG'));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}
