import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createFlagClient, FlagServiceClient, MemoryFlagStore } from '../../src/flags';
import type { FlagClient } from '../../src/flags';
import { startFlagsServer } from '../../src/flags/server/flags-server';
import type { FlagsServer } from '../../src/flags/server/flags-server';
import { silentLogger } from '../flags/support';
import { describeWithPrometheus } from '../metrics/prometheus-executable';
import { startPrometheus } from '../metrics/real-prometheus';
import type { RunningPrometheus } from '../metrics/real-prometheus';
import { ended, planOf, startStack, until } from './stack';
import type { Stack } from './stack';

jest.setTimeout(150_000);

const ada = { name: 'ada', via: 'cli' } as const;

/** A till with its new way behind a flag, which asks in its own process, and is asked by ever other users. */
class Till {
  #requests = new Map<string, number>();
  #user = 0;
  #timer: NodeJS.Timeout | null = null;
  readonly #server = createServer((_, response) => {
    const lines = [...this.#requests].map(([labels, count]) => `http_requests_total{${labels}} ${count}`);
    response.end(`# TYPE http_requests_total counter\n${lines.join('\n')}\n`);
  });

  constructor(
    private readonly flags: FlagClient,
    private readonly flag: string,
    private readonly isBroken: boolean,
  ) {}

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.#timer = setInterval(() => {
      for (let count = 0; count < 20; count += 1) this.#serve();
    }, 100);
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    clearInterval(this.#timer ?? undefined);
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #serve(): void {
    const isOn = this.flags.isEnabled(this.flag, `user-${(this.#user += 1)}`);
    const status = isOn && this.isBroken && this.#user % 2 === 0 ? '500' : '200';
    const labels = `service="${this.flag}",namespace="test",variant="${isOn ? 'on' : 'off'}",status="${status}"`;
    this.#requests.set(labels, (this.#requests.get(labels) ?? 0) + 1);
  }
}

describeWithPrometheus('the release of a flag', (binary) => {
  let stack: Stack;
  let server: FlagsServer;
  let service: FlagServiceClient;
  let inProcess: FlagClient;
  let prometheus: RunningPrometheus;
  const tills: Till[] = [];

  beforeAll(async () => {
    const store = new MemoryFlagStore();
    server = await startFlagsServer({ store, access: {}, logger: silentLogger });
    service = new FlagServiceClient({ url: server.url });
    inProcess = await createFlagClient({ store, logger: silentLogger });
    const addresses: string[] = [];
    for (const [name, isBroken] of [
      ['good-till', false],
      ['bad-till', true],
    ] as const) {
      await service.create({ name, enabled: true, rollout_percentage: 10 });
      const till = new Till(inProcess, name, isBroken);
      tills.push(till);
      addresses.push(await till.start());
    }
    prometheus = await startPrometheus(
      binary,
      addresses.map((address) => ({ address, labels: {} })),
    );
    stack = await startStack();
    await stack.startWorker({ env: { SLUICE_FLAGS_URL: server.url } });
  });
  afterAll(async () => {
    for (const till of tills) till.stop();
    await prometheus?.stop();
    await stack?.stop();
    await inProcess?.close();
    await server?.close();
  });

  const deploy = (name: string): Promise<unknown> =>
    stack.client.deploy(
      planOf(
        `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: ${name}, namespace: test }
spec:
  target: { flag: { name: ${name}, environment: production } }
  steps:
    - { weight: 25, soak: 6s }
    - approve: { timeout: 5m }
    - { weight: 100, soak: 6s }
  analysis:
    source: { prometheus: { url: "${prometheus.url}" } }
    interval: 2s
    minRequests: 5
    minMeasurements: 2
    routingCheck: off
    onNoData: { extend: 30s, then: pause }
    metrics: [{ name: error-rate, max: 10% }]
`,
        'on',
      ),
      { actor: ada },
    );
  const percentage = async (name: string): Promise<number | null> => (await service.get(name)).rollout_percentage;

  it('raises it to everybody once a person approves, judged by the users who have it beside those who have not', async () => {
    await deploy('good-till');
    const soaking = await until(stack.client, 'good-till', ({ phase }) => phase === 'soaking');
    await expect(service.setRollout('good-till', { percentage: 50 })).rejects.toMatchObject({ code: 'release-holds' });
    await until(stack.client, 'good-till', ({ phase }) => phase === 'awaitingApproval');
    expect(await percentage('good-till')).toBe(25);
    await stack.client.approve({ service: 'good-till', namespace: 'test' }, { actor: ada });
    const status = await ended(stack.client, 'good-till');

    expect(soaking.weight).toBe(25);
    expect(status).toMatchObject({ outcome: 'promoted', version: { from: '10 %', to: 'on' } });
    expect(await service.get('good-till')).toMatchObject({ rollout_percentage: 100, fence: { hold: false } });
    const [first] = status.steps.filter((step) => step.kind === 'weight');
    expect(first?.verdict).toBe('pass');
    // Of those without it there were requests, too, and none failed.
    expect(status.measurements.some(({ metrics }) => metrics[0]?.stable === 0)).toBe(true);
  });

  it('takes it back to where it was when those who have it fail', async () => {
    await deploy('bad-till');
    const status = await ended(stack.client, 'bad-till');

    expect(status.outcome).toBe('rolledBack');
    expect(status.message).toMatch(/^Rolled back to 10 %: .*canary requests failed/);
    expect(await service.get('bad-till')).toMatchObject({ rollout_percentage: 10, fence: { hold: false } });
    expect(await percentage('bad-till')).toBe(10);
  });
});
