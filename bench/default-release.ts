import { Client, Connection } from '@temporalio/client';
import { BENCH_ACTOR, benchPlan, eventually, startBenchStack } from './lib/stack';
import { serve, startInstance } from './lib/instance';
import { atMost, below, told } from './lib/result';
import type { BenchResult } from './lib/result';
import { max, percentile } from './lib/statistics';
import { releaseWorkflowId } from '../src/workflows/api';

/** The default's 48 measurements (four steps of 60 s, one every 5 s) in a fifth of its time. */
const SOAK_MS = 12_000;
const INTERVAL = '1s';
const MEASUREMENTS = 48;

/** What one default release costs: events and bytes of history, and time beyond its soaks. */
export async function defaultRelease(): Promise<BenchResult> {
  const stack = await startBenchStack();
  const instance = await startInstance();
  const service = 'default-release';
  const traffic = setInterval(() => serve(instance, 100), 200);
  const connection = await Connection.connect({ address: stack.address });
  try {
    await stack.client.deploy(
      benchPlan({ service, instances: [instance.url], soak: `${SOAK_MS / 1000}s`, interval: INTERVAL }),
      { actor: BENCH_ACTOR },
    );
    const ref = { service, namespace: 'bench' };
    await eventually('the release to end', async () => (await stack.client.status(ref)).outcome !== null);
    const status = await stack.client.status(ref);
    if (status.outcome !== 'promoted')
      throw new Error(`The release ended as ${status.outcome ?? '?'}: ${status.message}`);
    const taken = status.steps.reduce((sum, step) => sum + step.measurements, 0);
    if (taken !== MEASUREMENTS) throw new Error(`${taken} measurements were made instead of ${MEASUREMENTS}.`);

    const client = new Client({ connection });
    const handle = client.workflow.getHandle(releaseWorkflowId('bench', service));
    const { events = [] } = await handle.fetchHistory();
    const described = await handle.describe();
    const perMeasurement = eventsBetweenMeasurements(events?.map((event) => event.eventType ?? 0) ?? []);
    const overheads = status.steps
      .filter((step) => step.kind === 'weight' && step.startedAt !== null && step.endedAt !== null)
      .map((step) => (step.endedAt ?? 0) - (step.startedAt ?? 0) - SOAK_MS);
    return {
      bench: 'default-release',
      how: `One release 5/25/50/100 with ${MEASUREMENTS} measurements (soaks of ${SOAK_MS / 1000} s, one measurement a second) on one instance; overhead is a step's time from its start to its end less its soak.`,
      figures: [
        atMost('history events per measurement', perMeasurement, 11, 'events'),
        told('history events of the release', events?.length ?? Number.NaN, 'events'),
        told('history bytes of the release', described.historySize ?? Number.NaN, 'bytes'),
        below('overhead per step, p50', percentile(overheads, 50), 50, 'ms'),
        below('overhead per step, max', max(overheads), 50, 'ms'),
      ],
    };
  } finally {
    clearInterval(traffic);
    await connection.close();
    await instance.stop();
    await stack.stop();
  }
}

const TIMER_STARTED = 17;

/** The most common distance between two soak timers. */
function eventsBetweenMeasurements(types: readonly number[]): number {
  const timers = types.flatMap((type, index) => (type === TIMER_STARTED ? [index] : []));
  const distances = timers.slice(1).map((at, i) => at - (timers[i] ?? 0));
  return percentile(distances, 50);
}
