import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import type { Actor, MessageAck } from '../../src/workflows/api';
import { releaseWorkflowId } from '../../src/workflows/api';
import { builtSluice, BUILD_WITHIN_MS } from '../examples/built-sluice';
import { planOf, startStack, until } from './stack';
import type { Stack } from './stack';
import { startWorkerProcess } from './worker-process';
import type { WorkerProcess } from './worker-process';

// Real servers and processes on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(180_000);

const ada: Actor = { name: 'ada', via: 'cli' };

/** Of one, question and message meet at the new worker in the wrong order now and then; of so many, in some always. */
const SERVICES = Array.from({ length: 20 }, (_, index) => `shop-${index}`);
/** Over which people ask for a roll back, from when the new worker is started: it is up somewhere in between. */
const WITHIN_MS = 3_000;
/** Nobody is there for so long: looks at the canary, every 2 s, become due, and wait 2 s for the worker that has gone. */
const AWAY_MS = 3_500;

const specOf = (service: string): string => `
apiVersion: sluice.dev/v1
kind: Release
metadata: { name: ${service}, namespace: test }
spec:
  target:
    kubernetes: { deployment: ${service}, service: ${service}, traffic: { gatewayAPI: { httpRoute: ${service} } } }
  steps:
    - { weight: 100, soak: 2s }
  analysis:
    source: { prometheus: { url: 'http://127.0.0.1:1' } }
    interval: 2s
    minMeasurements: 1
    minRequests: 1
    metrics:
      - { name: error-rate, max: 10% }
    compare: false
`;

const PROGRAM = [
  '--require',
  path.join(__dirname, '../../scripts/lib/ts-register.cjs'),
  path.join(__dirname, 'endless-promotion.ts'),
];

describe('releases that are looked at while their worker is replaced', () => {
  let stack: Stack;
  let raw: Client;
  let worker: WorkerProcess | null = null;
  beforeAll(() => builtSluice(), BUILD_WITHIN_MS);
  beforeAll(async () => {
    stack = await startStack();
    raw = new Client({ connection: await Connection.connect({ address: stack.temporal.address }) });
  });
  afterAll(async () => {
    await worker?.end('SIGKILL');
    await raw?.connection.close();
    await stack?.stop();
  });

  const killed = async (): Promise<void> => {
    await worker?.end('SIGKILL');
    worker = null;
  };
  const started = async (): Promise<void> => {
    worker = await startWorkerProcess(stack.client, { TEMPORAL_ADDRESS: stack.temporal.address }, PROGRAM);
  };
  const rolledBack = async (service: string): Promise<MessageAck> => {
    await delay(Math.random() * WITHIN_MS);
    return stack.client.rollback({ service, namespace: 'test' }, { actor: ada, reason: 'by hand' });
  };

  it('are taken back at that moment, and are what a replay finds', async () => {
    await started();
    const plans = SERVICES.map((service) => planOf(specOf(service), 'ghcr.io/acme/shop:v2'));
    for (const plan of plans) await stack.client.deploy(plan, { actor: ada });
    for (const service of SERVICES) await until(stack.client, service, ({ phase }) => phase === 'promoting');

    const over = new AbortController();
    const asked = SERVICES.map(async (service) => {
      const handle = raw.workflow.getHandle(releaseWorkflowId('test', service));
      // Whatever the answer is: this is only somebody who asks.
      const ask = (): Promise<unknown> => handle.query('status').catch(() => delay(50));
      while (!over.signal.aborted) await raw.connection.withDeadline(Date.now() + 30_000, ask);
    });
    await killed();
    await delay(AWAY_MS);
    const [, acks] = await Promise.all([started(), Promise.all(SERVICES.map(rolledBack))]);
    over.abort();
    await Promise.all(asked);
    await killed();
    await started();

    expect(acks.map(({ release }) => release.replace(/-\d{8}-.*/, ''))).toEqual(SERVICES);
    for (const service of SERVICES) {
      expect((await until(stack.client, service, ({ endedAt }) => endedAt !== null)).outcome).toBe('aborted');
    }
  });
});
