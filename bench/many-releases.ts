import { BENCH_ACTOR, benchPlan, eventually, startBenchStack } from './lib/stack';
import { serve, startInstance } from './lib/instance';
import { below, told } from './lib/result';
import type { BenchResult } from './lib/result';
import { max, percentile } from './lib/statistics';

const RELEASES = 200;
const SOAK_MS = 30_000;

/** 200 releases at once in one worker: its memory, and whether each step ends when it should. */
export async function manyReleases(): Promise<BenchResult> {
  const stack = await startBenchStack();
  const instances = await Promise.all(Array.from({ length: RELEASES }, () => startInstance()));
  const traffic = setInterval(() => instances.forEach((instance) => serve(instance, 20)), 1_000);
  const service = (i: number): string => `many-${i}`;
  try {
    for (const [i, instance] of instances.entries()) {
      await stack.client.deploy(
        benchPlan({ service: service(i), instances: [instance.url], soak: `${SOAK_MS / 1000}s`, interval: '5s' }),
        { actor: BENCH_ACTOR },
      );
    }
    // Asked rarely: a list of all of them is work for the server that is being measured.
    await eventually('all releases to end', async () => (await stack.client.list({ open: true })).length === 0, {
      everyMs: 5_000,
      limitMs: 600_000,
    });
    const late: number[] = [];
    for (let i = 0; i < RELEASES; i += 1) {
      const status = await stack.client.status({ service: service(i), namespace: 'bench' });
      if (status.outcome !== 'promoted')
        throw new Error(`${service(i)} ended as ${status.outcome ?? '?'}: ${status.message}`);
      for (const step of status.steps) {
        if (step.kind !== 'weight' || step.startedAt === null || step.endedAt === null) continue;
        late.push(step.endedAt - step.startedAt - SOAK_MS);
      }
    }
    const memory = stack.workerMemory();
    return {
      bench: 'many-releases',
      how: `${RELEASES} releases 5/25/50/100 started one after the other, ${SOAK_MS / 1000} s soaks, a measurement every 5 s, one worker process; a step is late by its time less its soak; memory is the worker's peak, or where the system does not tell it (macOS) what it has at the end.`,
      figures: [
        below('worker resident memory, highest', memory.peak ?? memory.now, 640, 'MB'),
        below('steps late by, max', max(late), 1_000, 'ms'),
        told('steps late by, p99', percentile(late, 99), 'ms'),
        told('steps late by, p50', percentile(late, 50), 'ms'),
      ],
    };
  } finally {
    clearInterval(traffic);
    for (const instance of instances) await instance.stop();
    await stack.stop();
  }
}
