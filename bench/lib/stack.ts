import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from '../../src/client/connect';
import type { SluiceClient } from '../../src/client/client-types';
import { findTemporalCli } from '../../src/devserver/find-temporal';
import { startTemporal } from '../../src/devserver/start-temporal';
import { parseSpec } from '../../src/spec/load';
import { plan } from '../../src/spec/plan';
import type { Plan } from '../../src/spec/plan-types';
import { BENCH_TOKEN } from './instance';

/** Resident memory of the worker's process in MB. */
export interface WorkerMemory {
  readonly now: number;
  /** Since its start; null where the system does not tell. */
  readonly peak: number | null;
}

/** A Temporal dev server in memory, and one worker in a process of its own, as `sluice worker` starts it. */
export interface BenchStack {
  readonly client: SluiceClient;
  readonly address: string;
  workerMemory(): WorkerMemory;
  stop(): Promise<void>;
}

const ROOT = join(__dirname, '..', '..', '..', '..');

export async function startBenchStack(): Promise<BenchStack> {
  const { path } = await findTemporalCli({ onProgress: (line) => process.stderr.write(`${line}\n`) });
  const temporal = await startTemporal({ binary: path, headless: true });
  const client = await connect({ address: temporal.address, namespace: 'default', timeoutMs: 60_000 });
  const worker = spawn(process.execPath, [join(ROOT, 'dist', 'cli', 'main.js'), 'worker'], {
    env: {
      ...process.env,
      // As the image has it.
      MALLOC_ARENA_MAX: '2',
      TEMPORAL_ADDRESS: temporal.address,
      SLUICE_ROUTER_TOKEN: BENCH_TOKEN,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  // A log line for every event of every release: only wanted when the worker ends.
  let log = '';
  worker.stderr.setEncoding('utf8').on('data', (text: string) => (log = `${log}${text}`.slice(-4_000)));
  await workerPolls(client, worker, () => log);
  return {
    client,
    address: temporal.address,
    workerMemory: () => memoryOf(worker),
    stop: async () => {
      worker.kill('SIGTERM');
      if (worker.exitCode === null) await new Promise((resolve) => worker.once('exit', resolve));
      await client.close();
      await temporal.stop();
    },
  };
}

async function workerPolls(client: SluiceClient, worker: ChildProcess, log: () => string): Promise<void> {
  const deadline = Date.now() + 60_000;
  while ((await client.workers()).length === 0) {
    if (worker.exitCode !== null) {
      throw new Error(`The worker ended with exit code ${worker.exitCode}:\n${log()}`);
    }
    if (Date.now() > deadline) throw new Error('The worker did not begin to poll within a minute.');
    await delay(100);
  }
}

/** From Linux's /proc; elsewhere from `ps`, which knows no peak. */
export function memoryOf({ pid = 0 }: ChildProcess): WorkerMemory {
  if (process.platform !== 'linux') {
    const resident = execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' });
    return { now: Number(resident.trim()) / 1024, peak: null };
  }
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]);
  return { now: kilobytes('VmRSS') / 1024, peak: kilobytes('VmHWM') / 1024 };
}

export function benchPlan(options: {
  service: string;
  instances: readonly string[];
  soak: string;
  interval: string;
  weights?: readonly number[];
}): Plan {
  const steps = (options.weights ?? [5, 25, 50, 100]).map(
    (weight) => `    - { weight: ${weight}, soak: ${options.soak} }`,
  );
  const parsed = parseSpec(
    `
apiVersion: sluice.dev/v1
kind: Release
metadata: { name: ${options.service}, namespace: bench }
spec:
  target: { router: { instances: [${options.instances.join(', ')}] } }
  steps:
${steps.join('\n')}
  analysis:
    interval: ${options.interval}
    minRequests: 1
`,
    'bench.yaml',
  );
  if (!parsed.ok) throw new Error(`The benchmark's own spec is wrong: ${JSON.stringify(parsed.problems)}`);
  return plan(parsed.spec, 'v2');
}

/** Waits, asking again and again, until the condition holds. */
export async function eventually(
  what: string,
  holds: () => Promise<boolean>,
  { everyMs = 250, limitMs = 300_000 }: { everyMs?: number; limitMs?: number } = {},
): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`Waited too long for: ${what}.`);
    await delay(everyMs);
  }
}

export const BENCH_ACTOR = { name: 'bench', via: 'cli' } as const;
