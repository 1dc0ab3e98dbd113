import { createServer, request as forward } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Plan } from '../../src/spec/plan-types';
import { startLoad, startShop } from './shop';
import type { Shop } from './shop';
import { ended, planOf, shopSpec, startStack, until } from './stack';
import type { Stack } from './stack';

// Real servers on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(150_000);

const ada = { name: 'ada', via: 'cli' } as const;

/** Stands before an instance, and answers promotions with 500 as long as it is told to. */
interface Gate {
  readonly url: string;
  refuses: boolean;
  refused: number;
  stop(): Promise<void>;
}

async function openGate(to: string): Promise<Gate> {
  const server = createServer((incoming, outgoing) => {
    if (gate.refuses && incoming.method === 'POST' && incoming.url?.endsWith('/promote')) {
      gate.refused += 1;
      incoming.resume();
      outgoing.writeHead(500).end('out of order');
      return;
    }
    const onward = forward(
      `${to}${incoming.url}`,
      { method: incoming.method, headers: incoming.headers },
      (answer) => void answer.pipe(outgoing.writeHead(answer.statusCode ?? 500, answer.headers)),
    );
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const gate: Gate = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    refuses: true,
    refused: 0,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return gate;
}

describe('a promotion that one of two instances does not make', () => {
  let stack: Stack;
  let shops: Shop[] = [];
  let gate: Gate;
  beforeAll(async () => {
    stack = await startStack();
    await stack.startWorker();
  });
  beforeEach(async () => {
    shops = await Promise.all([startShop(), startShop()]);
    gate = await openGate(shops[1]?.url ?? '');
  });
  afterEach(async () => {
    await gate.stop();
    for (const shop of shops) await shop.stop();
  });
  afterAll(() => stack.stop());

  const stable = (): string[] => shops.map((shop) => shop.router.snapshot().stableVersion);

  /** A release under `onFailure: pause` that is held with one instance promoted and one not. */
  async function halfPromoted(service: string): Promise<void> {
    const spec = shopSpec([shops[0]?.url ?? '', gate.url], {
      service,
      weights: [100],
      soak: '1s',
      extra: '  onFailure: pause',
    });
    const plan = planOf(spec, 'v2');
    const steps: Plan['steps'] = plan.steps.map((step) =>
      step.kind === 'promote' ? { ...step, timeoutMs: 2_000 } : step,
    );
    await stack.client.deploy({ ...plan, steps }, { actor: ada });
    const held = await until(stack.client, service, (status) => status.phase === 'paused');
    expect(held.paused?.cause).toBe('failure');
    expect(gate.refused).toBeGreaterThan(0);
    expect(stable()).toEqual(['v2', 'v1']);
    // The canary is still looked at while the release is held; that must not undo the one, nor stop the release.
    await until(stack.client, service, (status) => status.measurements.length > held.measurements.length);
    expect(stable()).toEqual(['v2', 'v1']);
    expect((await stack.client.status({ service, namespace: 'test' })).phase).toBe('paused');
  }

  it('is made on both after a resume', async () => {
    const load = startLoad([shops[0]?.url ?? '', gate.url], { perSecond: 20 });
    await halfPromoted('resumed');

    gate.refuses = false;
    await stack.client.resume({ service: 'resumed', namespace: 'test' }, { actor: ada });
    const status = await ended(stack.client, 'resumed');
    await load.stop();

    expect(status.outcome).toBe('promoted');
    expect(stable()).toEqual(['v2', 'v2']);
    expect(shops.map((shop) => shop.router.snapshot().weight)).toEqual([0, 0]);
    expect(load.counts.stable.errors + load.counts.canary.errors).toBe(0);
  });

  it('is taken back on both by a roll back', async () => {
    const load = startLoad([shops[0]?.url ?? '', gate.url], { perSecond: 20 });
    await halfPromoted('taken-back');

    // To make v1 the stable version again is a promotion, too, on the instance that had made it.
    await stack.client.rollback({ service: 'taken-back', namespace: 'test' }, { actor: ada });
    const status = await ended(stack.client, 'taken-back');
    await load.stop();

    expect(status.outcome).toBe('aborted');
    expect(shops.map((shop) => shop.router.snapshot())).toEqual([
      expect.objectContaining({ stableVersion: 'v1', canaryVersion: null, weight: 0 }),
      expect.objectContaining({ stableVersion: 'v1', canaryVersion: null, weight: 0 }),
    ]);
    expect(load.counts.stable.errors + load.counts.canary.errors).toBe(0);
  });
});
