import { setTimeout as delay } from 'node:timers/promises';
import { createFlagClient } from '../../src/flags/client/flag-client';
import type { FlagClient } from '../../src/flags/client/flag-client';
import { FlagServiceClient, FlagServiceError } from '../../src/flags/client/flag-service-client';
import { openRedisFlagStore } from '../../src/flags/redis-store';
import type { RedisProcess } from '../../test/flags/redis-process';
import { below, told } from '../lib/result';
import type { Figure } from '../lib/result';
import { max, percentile } from '../lib/statistics';
import { quiet } from './flags';
import { loadHttp } from './http-load';
import type { LoadResult } from './http-load';
import { withServer } from './served';

const RESTARTS = 20;
/** Longer than a connection of the store waits between two tries, and never the same. */
const AWAY_MS = { least: 500, most: 2_500 };
const RETRY_MS = 2;
const RATE = 1_000;
const CONNECTIONS = 8;
const LISTED = 'restarts-listed';
const CHANGED = 'restarts-changed';

/**
 * Redis is killed and started again while the service is asked: how long from its first answer until a change, tried
 * again and again by who makes it, is made and is seen in another process.
 */
export async function restarts(redis: Pick<RedisProcess, 'url' | 'kill' | 'start'>): Promise<Figure[]> {
  return withServer({ SLUICE_REDIS_URL: redis.url }, async (url) => {
    const service = new FlagServiceClient({ url });
    await service.create({ name: LISTED, enabled: true, rollout_percentage: 0, whitelist: ['in'] });
    await service.create({ name: CHANGED, enabled: true, rollout_percentage: 0 });
    const client = await createFlagClient({
      store: openRedisFlagStore({ url: redis.url, logger: quiet }),
      logger: quiet,
    });
    const enough = new AbortController();
    const load = askThroughout(Number(new URL(url).port), enough.signal);
    const madeMs: number[] = [];
    const seenMs: number[] = [];
    try {
      for (let i = 0; i < RESTARTS; i += 1) {
        const isOn = i % 2 === 0;
        const change = (): Promise<boolean> => isChanged(service, isOn);
        await redis.kill();
        await until(async () => !(await change()));
        await delay(AWAY_MS.least + (AWAY_MS.most - AWAY_MS.least) * Math.random());
        await redis.start();
        const back = performance.now();
        const seen = changeSeen(client, isOn).then(() => seenMs.push(performance.now() - back));
        await until(change);
        madeMs.push(performance.now() - back);
        await seen;
      }
    } finally {
      enough.abort();
      await client.close();
    }
    const { failed, firstFailure } = await load;
    if (failed > 0) throw new Error(`${failed} checks were not answered, or wrongly: ${firstFailure ?? ''}`);
    return [
      below('return of Redis to a change seen in another process, highest', max(seenMs), 1000, 'ms'),
      told('the same, p50', percentile(seenMs, 50), 'ms'),
      told('return of Redis to a change made, highest', max(madeMs), 'ms'),
    ];
  });
}

/** Checks throughout, each with the one right answer. */
function askThroughout(port: number, signal: AbortSignal): Promise<LoadResult> {
  return loadHttp({
    port,
    path: `/api/feature-flags/${LISTED}/check`,
    bodyOf: (i) => `{"user_id":"${i % 2 === 0 ? 'in' : 'out'}"}`,
    isRight: (i, answer) => answer.includes(`"enabled":${i % 2 === 0}`),
    connections: CONNECTIONS,
    seconds: Number.POSITIVE_INFINITY,
    rate: RATE,
    signal,
  });
}

/** False: the store is away. */
async function isChanged(service: FlagServiceClient, isOn: boolean): Promise<boolean> {
  try {
    await service.setRollout(CHANGED, { percentage: isOn ? 100 : 0 });
    return true;
  } catch (error) {
    if (error instanceof FlagServiceError && error.code === 'store-unavailable') return false;
    throw error;
  }
}

async function changeSeen(client: FlagClient, isOn: boolean): Promise<void> {
  if (client.isEnabled(CHANGED, 'user') === isOn) return;
  await new Promise<void>((resolve) => {
    const stop = client.onChange(() => {
      if (client.isEnabled(CHANGED, 'user') !== isOn) return;
      stop();
      resolve();
    });
  });
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await delay(RETRY_MS);
}
