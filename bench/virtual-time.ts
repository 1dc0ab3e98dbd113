import { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker } from '@temporalio/worker';
import { createActivities } from '../src/activities/activities';
import { createDeps } from '../src/worker/create-deps';
import { installRuntime } from '../src/worker/runtime';
import { findTestServer } from '../src/devserver/find-test-server';
import { release } from '../src/workflows';
import { releaseStartOptions } from '../src/workflows/start-options';
import { SEARCH_ATTRIBUTES } from '../src/workflows/api';
import type { ReleaseInput } from '../src/workflows/api';
import { BENCH_TOKEN, serve, startInstance } from './lib/instance';
import { BENCH_ACTOR, benchPlan } from './lib/stack';
import { atLeast, told } from './lib/result';
import type { BenchResult } from './lib/result';

const RUNS = 5;

/** A default release over real activities and a real router, on Temporal's time-skipping test server. */
export async function virtualTime(): Promise<BenchResult> {
  await installRuntime();
  const { path } = await findTestServer({ onProgress: (line) => process.stderr.write(`${line}\n`) });
  const env = await TestWorkflowEnvironment.createTimeSkipping({
    server: { executable: { type: 'existing-path', path } },
  });
  const instance = await startInstance();
  const traffic = setInterval(() => serve(instance, 100), 50);
  const deps = createDeps({ SLUICE_ROUTER_TOKEN: BENCH_TOKEN });
  try {
    const types = { KEYWORD: 2, INT: 3 } as const;
    await env.connection.operatorService.addSearchAttributes({
      namespace: 'default',
      searchAttributes: Object.fromEntries(
        Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => [name, types[type]]),
      ),
    });
    const worker = await Worker.create({
      connection: env.nativeConnection,
      taskQueue: 'bench',
      workflowsPath: require.resolve('../src/workflows'),
      interceptors: { workflowModules: [require.resolve('../src/workflows/interceptors')] },
      activities: createActivities(deps),
    });
    const rates: number[] = [];
    await worker.runUntil(async () => {
      for (let run = 0; run < RUNS; run += 1) {
        const plan = {
          ...benchPlan({ service: `virtual-${run}`, instances: [instance.url], soak: '60s', interval: '5s' }),
          version: `v${run + 2}`,
        };
        const input: ReleaseInput = { release: `virtual-${run}`, plan, startedBy: BENCH_ACTOR };
        const startedAt = await env.currentTimeMs();
        const start = performance.now();
        const result = await env.client.workflow.execute(release, {
          ...releaseStartOptions(input, 'bench'),
          args: [input],
        });
        const real = performance.now() - start;
        if (result.outcome !== 'promoted') throw new Error(`The release ended as ${result.outcome}: ${result.reason}`);
        rates.push(((await env.currentTimeMs()) - startedAt) / real);
      }
    });
    const sorted = [...rates].sort((a, b) => a - b);
    return {
      bench: 'virtual-time',
      how: `${RUNS} default releases (four steps of 60 s, a measurement every 5 s) one after the other on the time-skipping test server, real activities against a real router on loopback; the first includes warming up.`,
      figures: [
        atLeast(
          'virtual seconds per real second, median',
          sorted[Math.floor(sorted.length / 2)] ?? Number.NaN,
          100,
          '',
        ),
        told('virtual seconds per real second, slowest', sorted[0] ?? Number.NaN, ''),
      ],
    };
  } finally {
    clearInterval(traffic);
    deps.close();
    await instance.stop();
    await env.teardown();
  }
}
