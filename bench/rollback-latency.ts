import { BENCH_ACTOR, benchPlan, eventually, startBenchStack } from './lib/stack';
import { startInstance } from './lib/instance';
import { below, told } from './lib/result';
import type { BenchResult } from './lib/result';
import { max, percentile } from './lib/statistics';

const RELEASES = 50;
const INSTANCES_EACH = 2;
const ROUNDS = 4;

/**
 * From the call of `rollback` in a client to weight 0 on the last instance, with 50 releases in progress, each
 * measured every five seconds. Each is rolled back alone; then all are started again, until there are 200 samples.
 */
export async function rollbackLatency(): Promise<BenchResult> {
  const stack = await startBenchStack();
  const samples: number[] = [];
  const services = await Promise.all(
    Array.from({ length: RELEASES }, async (_, i) => ({
      name: `svc-${i}`,
      instances: await Promise.all(Array.from({ length: INSTANCES_EACH }, startInstance)),
    })),
  );
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const service of services) {
        const instances = service.instances.map((instance) => instance.url);
        await stack.client.deploy(
          benchPlan({ service: service.name, instances, soak: '1h', interval: '5s', weights: [25, 100] }),
          { actor: BENCH_ACTOR },
        );
      }
      await eventually('all releases to soak at 25 %', () =>
        Promise.resolve(services.every((s) => s.instances.every((i) => i.router.snapshot().weight === 25))),
      );
      for (const service of services) {
        const zero = Promise.all(service.instances.map((instance) => instance.weightZero()));
        const start = performance.now();
        const ack = stack.client.rollback({ service: service.name, namespace: 'bench' }, { actor: BENCH_ACTOR });
        samples.push(max(await zero) - start);
        await ack;
      }
      await eventually('all releases to end', async () => (await stack.client.list({ open: true })).length === 0);
    }
  } finally {
    await stack.stop();
    for (const service of services) for (const instance of service.instances) await instance.stop();
  }
  return {
    bench: 'rollback-latency',
    how: `${samples.length} roll backs with up to ${RELEASES} releases in progress on ${INSTANCES_EACH} instances each, Temporal dev server in memory, one worker process, all on this machine.`,
    figures: [
      below('roll back to weight 0, p99', percentile(samples, 99), 100, 'ms'),
      told('roll back to weight 0, p50', percentile(samples, 50), 'ms'),
      told('roll back to weight 0, max', max(samples), 'ms'),
    ],
  };
}
