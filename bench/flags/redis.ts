import { startRedis } from '../../test/flags/redis-process';
import type { RedisProcess } from '../../test/flags/redis-process';
import { findRedis } from './scripts';

/**
 * A Redis with data of its own while it is used.
 *
 * @throws Error with why there is none
 */
export async function withRedis<T>(
  onProgress: (line: string) => void,
  use: (redis: RedisProcess) => Promise<T>,
): Promise<T> {
  const redis = await startRedis(await findRedis(onProgress));
  try {
    return await use(redis);
  } finally {
    await redis.close();
  }
}
