import { startLoad, startShop } from './shop';
import type { Shop } from './shop';
import { ended, planOf, shopSpec, startStack, until } from './stack';
import type { Stack } from './stack';

// Real servers on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(150_000);

const ada = { name: 'ada', via: 'cli' } as const;

describe('a release of a real app on a real Temporal', () => {
  let stack: Stack;
  let shops: Shop[] = [];
  beforeAll(async () => {
    stack = await startStack();
    await stack.startWorker();
  });
  beforeEach(async () => {
    shops = await Promise.all([startShop(), startShop()]);
  });
  afterEach(async () => {
    for (const shop of shops) await shop.stop();
  });
  afterAll(() => stack.stop());

  it('promotes a healthy version on all instances', async () => {
    const load = startLoad(shops.map((shop) => shop.url));
    const service = 'healthy';

    await stack.client.deploy(
      planOf(
        shopSpec(
          shops.map((s) => s.url),
          { service },
        ),
        'v2',
      ),
      { actor: ada },
    );
    const status = await ended(stack.client, service);
    await load.stop();

    expect(status.outcome).toBe('promoted');
    expect(shops.map((shop) => shop.router.snapshot().stableVersion)).toEqual(['v2', 'v2']);
    expect(load.counts.stable.errors + load.counts.canary.errors + load.counts.lost).toBe(0);
    expect(load.counts.canary.requests).toBeGreaterThan(0);
  });

  it('takes a failing version back by itself', async () => {
    for (const shop of shops) shop.statuses.set('v3', () => (shop.router.snapshot().weight >= 25 ? 500 : 200));
    const load = startLoad(shops.map((shop) => shop.url));
    const service = 'failing';

    await stack.client.deploy(
      planOf(
        shopSpec(
          shops.map((s) => s.url),
          { service },
        ),
        'v3',
      ),
      { actor: ada },
    );
    const status = await ended(stack.client, service);
    await load.stop();

    expect(status.outcome).toBe('rolledBack');
    expect(status.steps.find((step) => step.state === 'failed')?.name).toContain('25');
    expect(shops.map((shop) => shop.router.snapshot())).toEqual([
      expect.objectContaining({ stableVersion: 'v1', canaryVersion: null, weight: 0 }),
      expect.objectContaining({ stableVersion: 'v1', canaryVersion: null, weight: 0 }),
    ]);
    expect(load.counts.stable.errors).toBe(0);
  });

  it('goes back at once when a person asks for it', async () => {
    const load = startLoad(shops.map((shop) => shop.url));
    const service = 'asked';

    await stack.client.deploy(
      planOf(
        shopSpec(
          shops.map((s) => s.url),
          { service, soak: '60s' },
        ),
        'v2',
      ),
      { actor: ada },
    );
    await until(stack.client, service, (status) => status.phase === 'soaking');
    await stack.client.rollback({ service, namespace: 'test' }, { actor: ada, reason: 'a hunch' });
    const status = await ended(stack.client, service);
    await load.stop();

    expect(status.outcome).toBe('aborted');
    expect(shops.map((shop) => shop.router.snapshot().weight)).toEqual([0, 0]);
  });
});
