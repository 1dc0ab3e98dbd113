import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../src/devserver/free-port';
import { killed } from './support';

const START_MS = 30_000;
/** A benchmark measures from the first answer. */
const LOOK_AGAIN_MS = 1;

/** A real Redis on loopback, which keeps its data over a restart. */
export interface RedisProcess {
  readonly url: string;
  /** SIGKILL: what a crash is. */
  kill(): Promise<void>;
  /** SIGSTOP: it keeps its connections and answers nothing, as during a slow write to its disk. */
  hang(): void;
  /** SIGCONT: it goes on with all it was sent meanwhile. */
  goOn(): void;
  /** On the same port, with the same data; resolves at its first answer. */
  start(): Promise<void>;
  /** Its data as it is on disk; to be asked for, and put back, while it does not run. */
  copyData(): { putBack(): void };
  close(): Promise<void>;
}

/** With data of its own below the system's temporary folder, until it is closed. */
export async function startRedis(program: string): Promise<RedisProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-redis-'));
  const copies = mkdtempSync(join(tmpdir(), 'sluice-redis-copies-'));
  const port = await freePort();
  let child: ChildProcess | null = null;
  const kill = async (): Promise<void> => {
    const dying = child;
    child = null;
    await killed(dying);
  };
  const start = async (): Promise<void> => {
    child = spawn(
      program,
      ['--bind', '127.0.0.1', '--port', String(port), '--dir', directory, '--save', '', '--appendonly', 'yes'],
      { stdio: 'ignore' },
    );
    const deadline = performance.now() + START_MS;
    while (!(await answersPing(port))) {
      if (performance.now() > deadline) throw new Error('Redis did not come up.');
      await delay(LOOK_AGAIN_MS);
    }
  };
  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    kill,
    hang: () => void child?.kill('SIGSTOP'),
    goOn: () => void child?.kill('SIGCONT'),
    start,
    copyData: () => {
      const copy = join(copies, String(readdirSync(copies).length));
      cpSync(directory, copy, { recursive: true });
      return {
        putBack: () => {
          rmSync(directory, { recursive: true });
          cpSync(copy, directory, { recursive: true });
        },
      };
    },
    close: async () => {
      await kill();
      for (const made of [directory, copies]) rmSync(made, { recursive: true, force: true });
    },
  };
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
