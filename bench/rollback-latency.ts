import { BENCH_ACTOR, benchPlan, eventually, startBenchStack } from './lib/stack';
import { startInstance } from './lib/instance';
import { below, told } from './lib/result';
import type { BenchResult } from './lib/result';
import { max, percentile } from './lib/statistics';

const RELEASES = 50;
const INSTANCES_EACH = 2;
const SAMPLES = 200;

/**
 * From the call of `rollback` in a client to weight 0 on the last instance, while 50 releases are in progress, each
 * measured every five seconds. One after the other is rolled back; when it has ended it is started again, so that
 * there are always 50.
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
  const start = async (service: (typeof services)[number]): Promise<void> => {
    const instances = service.instances.map((instance) => instance.url);
    await stack.client.deploy(
      benchPlan({ service: service.name, instances, soak: '1h', interval: '5s', weights: [25, 100] }),
      { actor: BENCH_ACTOR },
    );
    await eventually(`${service.name} to soak at 25 %`, () =>
      Promise.resolve(service.instances.every((instance) => instance.router.snapshot().weight === 25)),
    );
  };
  try {
    for (const service of services) await start(service);
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      const service = services[sample % RELEASES];
      if (service === undefined) break;
      const ref = { service: service.name, namespace: 'bench' };
      const zero = Promise.all(service.instances.map((instance) => instance.weightZero()));
      const asked = performance.now();
      const ack = stack.client.rollback(ref, { actor: BENCH_ACTOR });
      samples.push(max(await zero) - asked);
      await ack;
      await eventually('the release to end', async () => (await stack.client.status(ref)).outcome !== null);
      await start(service);
    }
  } finally {
    await stack.stop();
    for (const service of services) for (const instance of service.instances) await instance.stop();
  }
  return {
    bench: 'rollback-latency',
    how: `${samples.length} roll backs, one after the other, with ${RELEASES} releases in progress (a measurement each every 5 s) on ${INSTANCES_EACH} instances each, Temporal dev server in memory, one worker process, all on this machine.`,
    figures: [
      below('roll back to weight 0, p99', percentile(samples, 99), 100, 'ms'),
      told('roll back to weight 0, p50', percentile(samples, 50), 'ms'),
      told('roll back to weight 0, max', max(samples), 'ms'),
    ],
  };
}
