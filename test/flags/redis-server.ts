import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { openRedisFlagStore } from '../../src/flags/redis-store';
import type { FlagStore } from '../../src/flags/store';
import { startRedis } from './redis-process';
import type { RedisProcess } from './redis-process';
import { silentLogger, until } from './support';
import { cacheDirectory } from '../../src/devserver/cache-directory';

const START_MS = 30_000;

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
