import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { Connection } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time';
import { pino } from 'pino';
import type { Logger } from 'pino';
import { startShop } from '../integration/shop';
import type { Shop } from '../integration/shop';
import { ended, planOf, shopSpec, startStack } from '../integration/stack';
import type { Stack } from '../integration/stack';
import { eventually } from '../targets/instance';
import { startWorker } from '../../src/worker/start-worker';
import type { RunningWorker } from '../../src/worker/start-worker';
import { SEARCH_ATTRIBUTES } from '../../src/workflows/api';

const ada = { name: 'ada', via: 'cli' } as const;

/** One process has one runtime and one logger: so the worker is started once, with everything on, and looked at. */
describe('a worker', () => {
  const lines: Record<string, unknown>[] = [];
  let stack: Stack;
  let shop: Shop;
  let worker: RunningWorker;
  let logger: Logger;
  let collector: Collector;

  beforeAll(async () => {
    collector = await startCollector();
    process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = collector.url;
    stack = await startStack();
    shop = await startShop();
    logger = pino(
      { level: 'info' },
      new Writable({
        write(chunk: Buffer, _encoding, done) {
          for (const line of chunk.toString('utf8').split('\n')) if (line !== '') lines.push(JSON.parse(line));
          done();
        },
      }),
    );
    worker = await stack.startWorker({
      logger,
      healthPort: 0,
      env: { SLUICE_ROUTER_TOKEN: 'test-admin-token', SLUICE_TRACING: 'otlp' },
    });
  });
  afterAll(async () => {
    delete process.env['OTEL_EXPORTER_OTLP_ENDPOINT'];
    await shop.stop();
    await stack.stop();
    await collector.stop();
  });

  it('says that it is well and ready', async () => {
    for (const path of ['/healthz', '/readyz']) {
      const response = await fetch(`${worker.healthUrl ?? ''}${path}`);
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({ state: 'RUNNING' });
    }
  });

  it('answers an unknown path with those there are', async () => {
    const response = await fetch(`${worker.healthUrl ?? ''}/nothing`);

    expect(response.status).toBe(404);
    expect(await response.json()).toEqual({ error: 'There is no /nothing; there are /healthz, /readyz and /metrics.' });
    expect((await fetch(`${worker.healthUrl ?? ''}//`)).status).toBe(404);
  });

  it('names the release in its log lines and exports metrics', async () => {
    const load = setInterval(() => void fetch(`${shop.url}/?user=${Math.random()}`).catch(() => undefined), 20);
    const { release } = await stack.client.deploy(
      planOf(shopSpec([shop.url], { service: 'logged', soak: '1s' }), 'v2'),
      {
        actor: ada,
      },
    );
    const status = await ended(stack.client, 'logged');
    clearInterval(load);
    const metrics = await (await fetch(`${worker.healthUrl ?? ''}/metrics`)).text();

    expect(status.outcome).toBe('promoted');
    const told = (): unknown[] => lines.filter((line) => line['release'] === release).map((line) => line['event']);
    // The worker writes what a task has told when the task is answered: a status may be faster.
    await eventually(() => told().includes('promoted'), 'the log tells the end');
    expect(told()).toEqual(expect.arrayContaining(['started', 'weightChanged', 'promoted']));
    expect(metrics).toMatch(/^temporal_worker_task_slots_available\{/m);
    expect(metrics).toMatch(/^temporal_activity_execution_latency/m);
    expect(metrics).toMatch(/^# TYPE sluice_kubernetes_requests_total counter$/m);
  });

  it.each([
    [true, 40, /^search attributes registered at the default address, because no address is set/],
    [false, 30, /^search attributes registered$/],
  ])('says which search attributes it registers, where the address is assumed (%s)', async (assumed, level, msg) => {
    const { address } = stack.temporal;
    const theirs = `assumed-${assumed}`;
    const connection = await Connection.connect({ address });
    const workflowExecutionRetentionPeriod = msToTs('1 day');
    await connection.workflowService.registerNamespace({ namespace: theirs, workflowExecutionRetentionPeriod });
    const isKnown = (): Promise<boolean> =>
      connection.workflowService.describeNamespace({ namespace: theirs }).then(
        () => true,
        () => false,
      );
    await eventually(isKnown, 'the namespace is there');
    await connection.close();

    const options = { address, namespace: theirs, assumed, logger, env: {} };
    await (await startWorker(options)).stop();
    await (await startWorker(options)).stop();

    const told = lines.filter(({ temporalNamespace }) => temporalNamespace === theirs);
    expect(told).toEqual([expect.objectContaining({ level, address, msg: expect.stringMatching(msg) })]);
    expect(told[0]?.['searchAttributes']).toEqual(Object.keys(SEARCH_ATTRIBUTES));
  });

  it('refuses a setting it does not know', async () => {
    await expect(startWorker({ address: stack.temporal.address, env: { SLUICE_TRACING: 'jaeger' } })).rejects.toThrow(
      'SLUICE_TRACING is "jaeger"; allowed are otlp and none.',
    );
  });

  it('sends spans when it stops, and is then not there any more', async () => {
    const url = worker.healthUrl ?? '';
    await worker.stop();
    await worker.stop();

    expect(collector.spans).toEqual(expect.arrayContaining(['RunWorkflow:release', 'RunActivity:measure']));
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  });

  it('says where Temporal should be when it is not', async () => {
    await expect(startWorker({ address: '127.0.0.1:9', env: {} })).rejects.toThrow(
      'Temporal does not answer at 127.0.0.1:9',
    );
  });
});

interface Collector {
  readonly url: string;
  /** The names of the spans that were sent. */
  readonly spans: string[];
  stop(): Promise<void>;
}

/** The receiving end of OTLP over HTTP, as far as a sender sees it. */
async function startCollector(): Promise<Collector> {
  const spans: string[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request
      .on('data', (part: Buffer) => parts.push(part))
      .on('end', () => {
        if (request.url === '/v1/traces') spans.push(...spanNames(Buffer.concat(parts).toString()));
        response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}');
      });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    spans,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Of OTLP's JSON, as far as it is read here. */
interface TracesBody {
  readonly resourceSpans: readonly {
    readonly scopeSpans: readonly { readonly spans: readonly { name: string }[] }[];
  }[];
}

function spanNames(body: string): string[] {
  const { resourceSpans } = JSON.parse(body) as TracesBody;
  return resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans.map(({ name }) => name)));
}
