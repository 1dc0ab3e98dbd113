import { FlagServiceClient } from '../src/flags/client/flag-service-client';
import { createFlagClient } from '../src/flags/client/flag-client';
import { openRedisFlagStore } from '../src/flags/redis-store';
import { quiet } from './flags/flags';
import { loadHttp } from './flags/http-load';
import { inProcess, memory } from './flags/in-process';
import { withServer } from './flags/served';
import { atLeast, below, told } from './lib/result';
import type { BenchResult, Figure } from './lib/result';
import { percentile } from './lib/statistics';

const CONNECTIONS = 32;
const SECONDS = 8;
const CHANGES = 100;
const GOAL_PER_SECOND = 12_000;

/** Feature flags: in the process, over HTTP, in memory, and from one process to another by Redis at SLUICE_REDIS_URL. */
export async function flags(): Promise<BenchResult> {
  const redisUrl = process.env['SLUICE_REDIS_URL'];
  const figures = [...(await inProcess()), ...memory(), ...(await overHttp())];
  if (redisUrl !== undefined) figures.push(...(await propagation(redisUrl)));
  return {
    bench: 'flags',
    how: `A million checks in a loop over 4096 users; HTTP by ${CONNECTIONS} kept connections for ${SECONDS} s from this process to a server in another, which keeps its flags in memory; a change by the service's endpoint until a client in this process, over the same Redis, answers by it (only where SLUICE_REDIS_URL names one).`,
    figures,
  };
}

async function overHttp(): Promise<Figure[]> {
  return withServer({}, async (url) => {
    await new FlagServiceClient({ url }).create({ name: 'new-checkout', enabled: true, rollout_percentage: 25 });
    const port = Number(new URL(url).port);
    const checks = {
      port,
      path: '/api/feature-flags/new-checkout/check',
      bodyOf: (i: number) => `{"user_id":"user-${i % 4096}"}`,
      connections: CONNECTIONS,
    };
    const ofrep = {
      ...checks,
      path: '/ofrep/v1/evaluate/flags/new-checkout',
      bodyOf: (i: number) => `{"context":{"targetingKey":"user-${i % 4096}"}}`,
    };
    await loadHttp({ ...checks, seconds: 2 });
    const most = await loadHttp({ ...checks, seconds: SECONDS });
    const half = await loadHttp({ ...checks, seconds: SECONDS, rate: GOAL_PER_SECOND / 2 });
    const mostOfrep = await loadHttp({ ...ofrep, seconds: SECONDS });
    const halfOfrep = await loadHttp({ ...ofrep, seconds: SECONDS, rate: GOAL_PER_SECOND / 2 });
    const failed = most.failed + half.failed + mostOfrep.failed + halfOfrep.failed;
    if (failed > 0) throw new Error(`${failed} requests were not answered with 200`);
    return [
      atLeast('check over HTTP', most.perSecond, GOAL_PER_SECOND, 'a second'),
      below(`the same at ${GOAL_PER_SECOND / 2} a second, p99`, percentile(half.latenciesMs, 99), 10, 'ms'),
      told('the same, p50', percentile(half.latenciesMs, 50), 'ms'),
      atLeast('OFREP single evaluation over HTTP', mostOfrep.perSecond, GOAL_PER_SECOND, 'a second'),
      below(`OFREP at ${GOAL_PER_SECOND / 2} a second, p99`, percentile(halfOfrep.latenciesMs, 99), 10, 'ms'),
      told('the same, p50', percentile(halfOfrep.latenciesMs, 50), 'ms'),
    ];
  });
}

/** From the request that changes a flag to the first answer by it in another process. */
async function propagation(redisUrl: string): Promise<Figure[]> {
  return withServer({ SLUICE_REDIS_URL: redisUrl }, async (url) => {
    const service = new FlagServiceClient({ url });
    const name = `bench-${process.pid}`;
    await service.create({ name, enabled: true, rollout_percentage: 0 });
    const client = await createFlagClient({
      store: openRedisFlagStore({ url: redisUrl, logger: quiet }),
      logger: quiet,
    });
    const samples: number[] = [];
    try {
      for (let i = 0; i < CHANGES; i += 1) {
        const wanted = i % 2 === 0;
        const begun = performance.now();
        const seen = new Promise<void>((resolve) => {
          const stop = client.onChange(() => {
            if (client.isEnabled(name, 'user') !== wanted) return;
            stop();
            resolve();
          });
        });
        await service.setRollout(name, { percentage: wanted ? 100 : 0 });
        await seen;
        samples.push(performance.now() - begun);
      }
    } finally {
      await client.close();
      await service.delete(name);
    }
    return [
      below('change to seen in another process, p99', percentile(samples, 99), 100, 'ms'),
      told('the same, p50', percentile(samples, 50), 'ms'),
    ];
  });
}
