import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../src/devserver/free-port';
import { openRedisFlagStore } from '../../src/flags/redis-store';
import type { FlagStore } from '../../src/flags/store';
import { silentLogger, until } from './support';
import { cacheDirectory } from '../../src/devserver/cache-directory';

const START_MS = 30_000;

/** A real Redis on loopback, which keeps its data over a restart. */
export interface RedisProcess {
  readonly url: string;
  /** SIGKILL: what a crash is. */
  kill(): Promise<void>;
  /** On the same port, with the same data. */
  start(): Promise<void>;
  /** Its data as it is on disk; to be asked for, and put back, while it does not run. */
  copyData(): { putBack(): void };
  close(): Promise<void>;
}

/** A suite against a real Redis; skipped, and said so, where there is none. */
export function describeWithRedis(name: string, suite: (redis: () => RedisProcess) => void): void {
  const program = redisServer();
  if (program === undefined) {
    const reason = 'no Redis 7 in SLUICE_REDIS_SERVER, on the PATH or in the cache; ./scripts/test fetches it';
    process.stderr.write(`skipped "${name}": ${reason}\n`);
    describe.skip(name, () => {
      it(`needs a redis-server: ${reason}`, () => undefined);
    });
    return;
  }
  describe(name, () => {
    let running: RedisProcess | null = null;
    beforeAll(async () => {
      running = await startRedis(program);
    }, START_MS);
    afterAll(async () => {
      await running?.close();
    });
    suite(() => {
      if (running === null) throw new Error('Redis is not running.');
      return running;
    });
  });
}

/** A store of that Redis, once it has answered. */
export async function openStore(url: string): Promise<FlagStore> {
  const store = openRedisFlagStore({ url, logger: silentLogger });
  await until(() => isReachable(store));
  return store;
}

export function isReachable(store: FlagStore): Promise<boolean> {
  return store.head().then(
    () => true,
    () => false,
  );
}

/** The executable, where there is one that runs. */
export function redisServer(): string | undefined {
  const named = process.env['SLUICE_REDIS_SERVER'];
  const onPath = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'redis-server'));
  return [...(named === undefined ? [] : [named]), ...onPath, join(cacheDirectory(), 'redis', 'redis-server')].find(
    (file) => existsSync(file) && /v=([7-9]|\d\d)/.test(spawnSync(file, ['--version'], { encoding: 'utf8' }).stdout),
  );
}

export async function startRedis(program: string): Promise<RedisProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-redis-'));
  const copies = mkdtempSync(join(tmpdir(), 'sluice-redis-copies-'));
  const port = await freePort();
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
    child = spawn(
      program,
      ['--bind', '127.0.0.1', '--port', String(port), '--dir', directory, '--save', '', '--appendonly', 'yes'],
      { stdio: 'ignore' },
    );
    const deadline = performance.now() + START_MS;
    while (!(await answersPing(port))) {
      if (performance.now() > deadline) throw new Error('Redis did not come up.');
      await delay(20);
    }
  };
  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    kill,
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
