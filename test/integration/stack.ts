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
  stop(): Promise<void>;
}

export async function startStack(): Promise<Stack> {
  const { path } = await findTemporalCli({ onProgress: () => undefined });
  const temporal = await startTemporal({ binary: path, headless: true });
  const client = await connect({ address: temporal.address, namespace: 'default' });
  const workers: RunningWorker[] = [];
  return {
    temporal,
    client,
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

/** A release of the shop with short soaks. */
export function shopSpec(
  instances: readonly string[],
  more: { soak?: string; service?: string; extra?: string } = {},
): string {
  const soak = more.soak ?? '2s';
  return `
apiVersion: sluice.dev/v1
kind: Release
metadata: { name: ${more.service ?? 'shop'}, namespace: test }
spec:
  target: { router: { instances: [${instances.join(', ')}] } }
  smokeTest: { path: /healthz }
  steps:
    - { weight: 5, soak: ${soak} }
    - { weight: 25, soak: ${soak} }
    - { weight: 50, soak: ${soak} }
    - { weight: 100, soak: ${soak} }
  analysis:
    interval: 1s
    minRequests: 1
    metrics:
      - { name: error-rate, max: 20% }
${more.extra ?? ''}
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
  return until(client, service, (status) => status.outcome !== null);
}
