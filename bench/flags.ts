import { messageOf } from '../src/errors';
import { FlagServiceClient } from '../src/flags/client/flag-service-client';
import { createFlagClient } from '../src/flags/client/flag-client';
import { openRedisFlagStore } from '../src/flags/redis-store';
import { quiet } from './flags/flags';
import { loadHttp } from './flags/http-load';
import type { Load, LoadResult } from './flags/http-load';
import { inProcess, memory } from './flags/in-process';
import { withRedis } from './flags/redis';
import { restarts } from './flags/restarts';
import { withResponder, withServer } from './flags/served';
import { atLeast, below, told } from './lib/result';
import type { BenchResult, Figure } from './lib/result';
import { percentile } from './lib/statistics';

const CONNECTIONS = 32;
const ROUNDS = 5;
const ROUND_SECONDS = 3;
const SECONDS = 8;
const CHANGES = 100;
const GOAL_PER_SECOND = 12_000;

/** Feature flags: in the process, over HTTP, in memory, from one process to another by Redis, and after its restarts. */
export async function flags(): Promise<BenchResult> {
  const say = (line: string): void => void process.stderr.write(`bench: ${line}\n`);
  const figures = [...(await inProcess()), ...memory(), ...(await overHttp())];
  const failed: string[] = [];
  try {
    figures.push(
      ...(await withRedis(say, async (redis) => [...(await propagation(redis.url)), ...(await restarts(redis))])),
    );
  } catch (error) {
    say(`what needs a Redis is not measured: ${messageOf(error)}`);
    failed.push('flags: with Redis');
  }
  return {
    bench: 'flags',
    how: `A million checks in a loop over 4096 users, by the processor's time, ${ROUNDS} times, the median; HTTP by ${CONNECTIONS} kept connections from this process to a server in another, which keeps its flags in memory, for ${ROUND_SECONDS} s and ${ROUNDS} times in turns with two that answer without looking (the most that the machine and the load generator leave), the median; a change by the service's endpoint until a client in this process, over the same Redis, answers by it; and the same after Redis was killed and started again under a load.`,
    figures,
    failed,
  };
}

async function overHttp(): Promise<Figure[]> {
  return withServer({}, (url) =>
    withResponder('net', (bareUrl) => withResponder('http', (nodeUrl) => compareOverHttp(url, { bareUrl, nodeUrl }))),
  );
}

async function compareOverHttp(
  url: string,
  { bareUrl, nodeUrl }: { readonly bareUrl: string; readonly nodeUrl: string },
): Promise<Figure[]> {
  await new FlagServiceClient({ url }).create({ name: 'new-checkout', enabled: true, rollout_percentage: 25 });
  const check = {
    port: portOf(url),
    path: '/api/feature-flags/new-checkout/check',
    bodyOf: (i: number) => `{"user_id":"user-${i}"}`,
    connections: CONNECTIONS,
  };
  const ofrep = {
    ...check,
    path: '/ofrep/v1/evaluate/flags/new-checkout',
    bodyOf: (i: number) => `{"context":{"targetingKey":"user-${i}"}}`,
  };
  const most = async (load: typeof check, seconds = ROUND_SECONDS): Promise<number> =>
    (await answered({ ...load, seconds })).perSecond;
  const loads = [check, ofrep, { ...check, port: portOf(nodeUrl) }, { ...check, port: portOf(bareUrl) }];
  const rates = loads.map((): number[] => []);
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const [at, load] of loads.entries()) {
      const perSecond = await most(load);
      // The first warms up.
      if (round > 0) rates[at]?.push(perSecond);
    }
  }
  const [checks = NaN, evaluations = NaN, node = NaN, bare = NaN] = rates.map((of) => percentile(of, 50));
  const half = { seconds: SECONDS, rate: GOAL_PER_SECOND / 2 };
  const [halfChecks, halfEvaluations] = [await answered({ ...check, ...half }), await answered({ ...ofrep, ...half })];
  return [
    atLeast('check over HTTP', checks, GOAL_PER_SECOND, 'a second'),
    below(`the same at ${half.rate} a second, p99`, percentile(halfChecks.latenciesMs, 99), 10, 'ms'),
    told('the same, p50', percentile(halfChecks.latenciesMs, 50), 'ms'),
    atLeast('OFREP single evaluation over HTTP', evaluations, GOAL_PER_SECOND, 'a second'),
    below(`OFREP at ${half.rate} a second, p99`, percentile(halfEvaluations.latenciesMs, 99), 10, 'ms'),
    told('the same, p50', percentile(halfEvaluations.latenciesMs, 50), 'ms'),
    told("Node's HTTP server, the same answer without looking", node, 'a second'),
    told('a plain socket, the same', bare, 'a second'),
  ];
}

async function answered(load: Load): Promise<LoadResult> {
  const result = await loadHttp(load);
  if (result.failed === 0) return result;
  throw new Error(`${result.failed} requests were not answered with 200: ${result.firstFailure ?? ''}`);
}

function portOf(url: string): number {
  return Number(new URL(url).port);
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
