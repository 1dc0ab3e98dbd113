import { FlagServiceClient, MemoryFlagStore, OutcomeReporter } from '../../src/flags';
import { startFlagsServer } from '../../src/flags/server/flags-server';
import type { FlagsServer } from '../../src/flags/server/flags-server';
import { silentLogger } from '../flags/support';
import { ended, planOf, startStack, until } from './stack';
import type { Stack } from './stack';

jest.setTimeout(150_000);

const ada = { name: 'ada', via: 'cli' } as const;

/** An application that knows its flag by the service alone, and tells it how it went for ever other users. */
class Till {
  readonly #reporter: OutcomeReporter;
  #user = 0;
  #timer: NodeJS.Timeout | null = null;
  #asking: Promise<void> = Promise.resolve();

  constructor(
    private readonly service: FlagServiceClient,
    private readonly flag: string,
    private readonly isBroken: boolean,
  ) {
    this.#reporter = new OutcomeReporter({ service, logger: silentLogger });
  }

  get lost(): number {
    return this.#reporter.lost;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#asking = this.#asking.then(() => this.#serve());
    }, 100);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer ?? undefined);
    await this.#asking;
    await this.#reporter.close();
  }

  /** Ten uses: some say which variant they had, of the others the service knows it. */
  async #serve(): Promise<void> {
    const users = Array.from({ length: 10 }, () => `user-${(this.#user += 1)}`);
    const answers = await Promise.all(users.map((userId) => this.service.check(this.flag, { userId })));
    for (const [index, { user_id: userId, enabled, variant }] of answers.entries()) {
      const ok = !(enabled && this.isBroken && index % 2 === 0);
      this.#reporter.report(this.flag, { userId, ok, latencyMs: 20, ...(index < 5 ? { variant } : {}) });
    }
  }
}

describe('the release of a flag that is judged by outcomes alone', () => {
  let stack: Stack;
  let server: FlagsServer;
  let service: FlagServiceClient;
  const store = new MemoryFlagStore();
  const tills: Till[] = [];

  beforeAll(async () => {
    server = await startFlagsServer({ store, access: {}, logger: silentLogger });
    service = new FlagServiceClient({ url: server.url });
    for (const [name, isBroken] of [
      ['good-till', false],
      ['bad-till', true],
    ] as const) {
      await service.create({ name, enabled: true, rollout_percentage: 10 });
      const till = new Till(service, name, isBroken);
      till.start();
      tills.push(till);
    }
    stack = await startStack();
    await stack.startWorker({ env: { SLUICE_FLAGS_URL: server.url } });
  });
  afterAll(async () => {
    for (const till of tills) await till.stop();
    await stack?.stop();
    await server?.close();
  });

  const deploy = (name: string, metrics = ''): Promise<unknown> =>
    stack.client.deploy(
      planOf(
        `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: ${name}, namespace: test }
spec:
  target: { flag: { name: ${name}, environment: production } }
  steps:
    - { weight: 25, soak: 8s }
    - { weight: 100, soak: 4s }
  analysis:
    interval: 2s
    minRequests: 5
    minMeasurements: 2
    onNoData: { extend: 30s, then: pause }
${metrics}`,
        'on',
      ),
      { actor: ada },
    );

  it('raises it to everybody while those who have it fare no worse', async () => {
    await deploy('good-till');
    const soaking = await until(stack.client, 'good-till', ({ phase }) => phase === 'soaking');
    const status = await ended(stack.client, 'good-till');

    expect(soaking.weight).toBe(25);
    expect(status).toMatchObject({ outcome: 'promoted', version: { from: '10 %', to: 'on' } });
    expect(await service.get('good-till')).toMatchObject({ rollout_percentage: 100, fence: { hold: false } });
    const metrics = status.measurements.flatMap((measurement) => measurement.metrics);
    expect(new Set(metrics.map(({ name }) => name))).toEqual(new Set(['error-rate', 'p95-latency']));
    // Those without it had outcomes, too, and the evidence judge compared both.
    const compared = metrics.flatMap(({ evidence }) => evidence ?? []);
    expect(compared.some(({ canary, stable }) => canary.total > 0 && stable.total > 0)).toBe(true);
    expect(JSON.stringify(status.measurements)).toContain('/outcomes?environment=production');
  });

  it('takes it back to where it was when those who have it fail', async () => {
    // No fixed limit stands in the way: only the comparison with those who have it not can tell.
    await deploy('bad-till', '    metrics: [{ name: error-rate, max: 100% }]\n');
    const status = await ended(stack.client, 'bad-till');

    expect(status.outcome).toBe('rolledBack');
    expect(status.message).toMatch(/^Rolled back to 10 %: /);
    const [evidence] = status.measurements.flatMap(({ metrics }) => metrics[0]?.evidence ?? []).slice(-1);
    expect(evidence?.logEvidence).toBeGreaterThanOrEqual(evidence?.limit ?? Infinity);
    expect(await service.get('bad-till')).toMatchObject({ rollout_percentage: 10, fence: { hold: false } });
    expect(tills.map(({ lost }) => lost)).toEqual([0, 0]);
  });

  it('ends, with nothing to take back, when the flag is gone in the middle of it', async () => {
    const name = 'lost-till';
    await service.create({ name, enabled: true, rollout_percentage: 10 });
    await deploy(name);
    await until(stack.client, name, ({ phase }) => phase === 'soaking');
    // The service would not delete a flag that is held; a store that has lost it asks nobody.
    await lose(name);
    const status = await ended(stack.client, name);

    expect(status.outcome).toBe('rolledBack');
    expect(status.message).toMatch(/^Rolled back to 10 %: Flag lost-till does not exist any more, /);
    const taken = status.events.filter(({ type }) => type === 'compensated' || type === 'compensationFailed');
    const nothing = 'Nothing to take back: Flag lost-till does not exist any more.';
    expect(taken.map(({ message }) => message)).toEqual([nothing, nothing]);
  });

  async function lose(name: string): Promise<void> {
    const at = new Date().toISOString();
    const audit = { at, actor: 'ada', action: 'deleted', flag: name, changes: {}, request_id: null } as const;
    for (;;) {
      const { revision = null } = (await store.get(name)) ?? {};
      if (revision === null) return;
      await store.write({ name, expected: revision, next: null, audit, idempotency: null });
    }
  }
});
