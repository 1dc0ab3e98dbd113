import { pino } from 'pino';
import { connect } from '../../src/client/connect';
import type { SluiceClient } from '../../src/client/client-types';
import { findTemporalCli } from '../../src/devserver/find-temporal';
import { startTemporal } from '../../src/devserver/start-temporal';
import type { RunningTemporal } from '../../src/devserver/start-temporal';
import type { Plan } from '../../src/spec/plan-types';
import { parseSpec } from '../../src/spec/load';
import { plan } from '../../src/spec/plan';
import { startWorker } from '../../src/worker/start-worker';
import type { RunningWorker, StartWorkerOptions } from '../../src/worker/start-worker';
import type { ReleaseStatus } from '../../src/workflows/api';
import { SHOP_TOKEN } from './shop';

/** A real Temporal dev server on free ports, in memory, and a client of it. */
export interface Stack {
  readonly temporal: RunningTemporal;
  readonly client: SluiceClient;
  startWorker(more?: Partial<StartWorkerOptions>): Promise<RunningWorker>;
  /** Ends Temporal and starts it again at its address; it remembers what is in its file. */
  restartTemporal(): Promise<void>;
  stop(): Promise<void>;
}

export async function startStack(options: { readonly dbFile?: string } = {}): Promise<Stack> {
  const { path } = await findTemporalCli({ onProgress: () => undefined });
  const start = (port?: number): Promise<RunningTemporal> =>
    startTemporal({ binary: path, headless: true, ...options, ...(port === undefined ? {} : { port }) });
  let temporal = await start();
  const client = await connect({ address: temporal.address, namespace: 'default' });
  const workers: RunningWorker[] = [];
  return {
    temporal,
    client,
    restartTemporal: async () => {
      await temporal.stop();
      temporal = await start(Number(temporal.address.split(':')[1]));
    },
    startWorker: async (more = {}) => {
      const worker = await startWorker({
        address: temporal.address,
        namespace: 'default',
        logger: pino({ level: 'silent' }),
        env: { SLUICE_ROUTER_TOKEN: SHOP_TOKEN },
        ...more,
      });
      workers.push(worker);
      return worker;
    },
    stop: async () => {
      for (const worker of workers) await worker.stop();
      await client.close();
      await temporal.stop();
    },
  };
}

/** The plan of a spec written as text; a problem in it is the test's own. */
export function planOf(text: string, version: string): Plan {
  const parsed = parseSpec(text, 'test.yaml');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return plan(parsed.spec, version);
}

export interface SpecChoices {
  readonly service?: string;
  readonly soak?: string;
  /** 5, 25, 50 and 100 by default. */
  readonly weights?: readonly number[];
  /** Lines under `analysis:` in place of the usual ones, indented by four. */
  readonly analysis?: string;
  /** Lines under `spec:`, indented by two. */
  readonly extra?: string;
}

/** A release of the shop with short soaks. */
export function shopSpec(instances: readonly string[], more: SpecChoices = {}): string {
  const { service = 'shop', soak = '2s', weights = [5, 25, 50, 100], extra = '' } = more;
  const analysis =
    more.analysis ??
    `    interval: 1s
    minRequests: 1
    metrics:
      - { name: error-rate, max: 20% }`;
  return `
apiVersion: sluice.dev/v1
kind: Release
metadata: { name: ${service}, namespace: test }
spec:
  target: { router: { instances: [${instances.join(', ')}] } }
  smokeTest: { path: /healthz }
  steps:
${weights.map((weight) => `    - { weight: ${weight}, soak: ${soak} }`).join('\n')}
  analysis:
${analysis}
${extra}
`;
}

/** Watches until the condition holds and answers that status; fails when the release ends before. */
export async function until(
  client: SluiceClient,
  service: string,
  holds: (status: ReleaseStatus) => boolean,
): Promise<ReleaseStatus> {
  let last: ReleaseStatus | null = null;
  for await (const status of client.watch({ service, namespace: 'test' }, { everyMs: 100 })) {
    if (holds(status)) return status;
    last = status;
  }
  throw new Error(`the release ended as ${last?.outcome ?? '?'} before: ${last?.message ?? ''}`);
}

export async function ended(client: SluiceClient, service: string): Promise<ReleaseStatus> {
  return until(client, service, (status) => status.endedAt !== null);
}
