import { get } from 'node:http';
import type { ReleaseStatus } from '../../src/workflows/api';
import { describeWithLab } from '../lab/describe-with-lab';
import { shopHost } from '../lab/shop-manifests';
import type { ShopVersion } from '../lab/shop-images';
import { Load } from './load';
import { ADA, ended, LabShop, labPlan, startReleaseStack, until } from './release-stack';
import type { ReleaseStack, SpecChoices } from './release-stack';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(300_000);

describeWithLab('a canary on a real cluster, with real traffic through a real gateway', (lab) => {
  let stack: ReleaseStack;
  let shop: LabShop;
  let load: Load;
  let count = 0;

  beforeAll(async () => {
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack.stop());

  beforeEach(async () => {
    shop = await LabShop.make(lab, stack.cluster, `canary-${process.pid}-${(count += 1)}`);
    load = new Load(lab.gatewayUrl, shopHost(shop.namespace));
  });
  afterEach(async () => {
    await load.stop();
    await shop.remove();
  });

  const ref = (): { service: string; namespace: string } => ({ service: 'shop', namespace: shop.namespace });

  async function release(version: ShopVersion, more: SpecChoices = {}): Promise<void> {
    await stack.client.deploy(labPlan(lab, shop.namespace, shop.image(version), more), { actor: ADA });
  }

  /** All-old: the stable version as it was, and nothing of the release left. */
  async function expectAllOld(status: ReleaseStatus): Promise<void> {
    expect(await shop.stableImage()).toBe(shop.image('v1'));
    expect((await shop.objects()).sort()).toEqual(['Deployment/shop', 'HTTPRoute/shop', 'Service/shop']);
    expect(await shop.backends()).toEqual({ shop: 1 });
    expect(status.compensations ?? []).toEqual([]);
  }

  it('promotes a healthy version, and not one request fails', async () => {
    await release('v2');
    const status = await ended(stack.client, shop.namespace);
    const served = await load.stop();

    expect(`${status.outcome}: ${status.message}`).toMatch(/^promoted/);
    expect(served.filter((one) => one.status !== 200)).toEqual([]);
    expect(served.at(-1)?.version).toBe('v2');
    // By the digest that was resolved at the start.
    expect(await shop.stableImage()).toMatch(/\/shop@sha256:[0-9a-f]{64}$/);
    expect(await shop.stableImage()).toBe(status.version.artifact);
    expect((await shop.objects()).sort()).toEqual(['Deployment/shop', 'HTTPRoute/shop', 'Service/shop']);
    expect(await shop.backends()).toEqual({ shop: 1 });
  });

  it('splits as it was asked to, by a chi-squared test of what the gateway served', async () => {
    await release('v2', { weights: [30, 100], soak: '20s' });
    await until(stack.client, shop.namespace, (status) => status.phase === 'soaking' && status.weight === 30);
    const since = Date.now();
    const enough = (): boolean => Object.values(load.countsSince(since)).reduce((a, b) => a + b, 0) >= 400;
    await until(stack.client, shop.namespace, (status) => enough() || status.weight !== 30);
    const { v1 = 0, v2 = 0, ...others } = load.countsSince(since);
    await stack.client.rollback(ref(), { actor: ADA });
    await ended(stack.client, shop.namespace);

    expect(others).toEqual({});
    expect(v1 + v2).toBeGreaterThanOrEqual(400);
    const expected = { v1: (v1 + v2) * 0.7, v2: (v1 + v2) * 0.3 };
    const chiSquared = (v1 - expected.v1) ** 2 / expected.v1 + (v2 - expected.v2) ** 2 / expected.v2;
    // One degree of freedom; a split that is right fails this once in a hundred thousand runs.
    expect(chiSquared).toBeLessThan(19.5);
  });

  it.each<[string, ShopVersion, RegExp]>([
    ['error rate', 'v3', /canary requests failed .* more than the allowed 10 %/],
    ['latency', 'slow', /p95-latency/],
  ])('takes a version back by its %s', async (_, version, why) => {
    await release(version);
    const status = await ended(stack.client, shop.namespace);
    const served = await load.stop();

    expect(status.outcome).toBe('rolledBack');
    expect(status.message).toMatch(why);
    // What failed was the canary's; stable never did.
    expect(served.filter((one) => one.version !== version && one.status !== 200)).toEqual([]);
    expect(served.at(-1)?.version).toBe('v1');
    await expectAllOld(status);
  });

  it.each<[string, ShopVersion, RegExp]>([
    ['crashes', 'crash', /exit code|CrashLoopBackOff|crash/i],
    ['is never ready', 'unready', /ready/],
    ['takes too much memory', 'oom', /memory|OOM/],
  ])('a version that %s is refused before it gets any traffic, in the words of its pods', async (_, version, why) => {
    await release(version, { deployTimeout: '25s' });
    const status = await ended(stack.client, shop.namespace);
    const served = await load.stop();

    expect(status.outcome).toBe('rolledBack');
    expect(status.message).toMatch(why);
    expect(served.filter((one) => one.version !== 'v1' || one.status !== 200)).toEqual([]);
    await expectAllOld(status);
  });

  it('an image that is not there is said at once, before anything is changed', async () => {
    const plan = labPlan(lab, shop.namespace, `${lab.registry}/shop:nothing`);
    await stack.client.deploy(plan, { actor: ADA });
    const status = await ended(stack.client, shop.namespace);

    expect(status.message).toMatch(/shop:nothing|no such image/i);
    await expectAllOld(status);
  });

  it('an image that cannot be pulled fails in the kubelet’s words', async () => {
    const plan = labPlan(lab, shop.namespace, `${lab.registry}/shop:nothing`, {
      kubernetes: '      resolveImage: never',
    });
    await stack.client.deploy(plan, { actor: ADA });
    const status = await ended(stack.client, shop.namespace);

    expect(status.outcome).toBe('rolledBack');
    expect(status.message).toMatch(/pull|not found/i);
    await expectAllOld(status);
  });

  it('waits for an approval, and a roll back by hand takes the traffic first', async () => {
    await release('v2', {
      before: '    - { weight: 10, soak: 4s }\n    - approve: { by: [oncall], timeout: 5m }',
      weights: [50, 100],
      soak: '60s',
    });
    await until(stack.client, shop.namespace, (status) => status.phase === 'awaitingApproval');
    await stack.client.approve(ref(), { actor: ADA });
    await until(stack.client, shop.namespace, (status) => status.weight === 50);
    await stack.client.rollback(ref(), { actor: ADA, reason: 'a hand' });
    const status = await ended(stack.client, shop.namespace);
    const served = await load.stop();

    expect(status).toMatchObject({ outcome: 'aborted' });
    expect(status.message).toMatch(/a hand/);
    expect(served.filter((one) => one.status !== 200)).toEqual([]);
    await expectAllOld(status);
  });

  it('marked requests get the new version before anybody else does', async () => {
    await release('v2', { before: '    - match: { header: { x-canary: "true" } }', weights: [100], soak: '60s' });
    await until(stack.client, shop.namespace, (status) => status.events.some((one) => one.type === 'matchChanged'));
    // The gateway takes a moment from the status that it gives to the requests that it serves.
    const marked = await eventually(async () => {
      const version = await fetchMarked(lab.gatewayUrl, shopHost(shop.namespace));
      return version === 'v2' ? version : null;
    });
    await stack.client.rollback(ref(), { actor: ADA });
    const status = await ended(stack.client, shop.namespace);

    expect(marked).toBe('v2');
    await expectAllOld(status);
  });

  it('somebody else’s edit of the weight is reported and put right', async () => {
    await release('v2', { weights: [50, 100], soak: '12s' });
    await until(stack.client, shop.namespace, (status) => status.phase === 'soaking' && status.weight === 50);
    const route = {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      namespace: shop.namespace,
      name: 'shop',
    };
    const operations = [{ op: 'replace', path: '/spec/rules/0/backendRefs/0/weight', value: 100 } as const];
    await stack.cluster.patch(route, { type: 'json', operations }, { signal: AbortSignal.timeout(10_000) });
    const edited = await until(stack.client, shop.namespace, (status) =>
      status.events.some((one) => one.type === 'foreignEdit'),
    );
    const backends = await shop.backends();
    await stack.client.rollback(ref(), { actor: ADA });
    await ended(stack.client, shop.namespace);

    expect(edited.events.find((one) => one.type === 'foreignEdit')?.message).toMatch(/HTTPRoute .*shop/);
    expect(backends).toEqual({ shop: 50, 'shop-canary': 50 });
  });
});

/** Asks until there is an answer, for half a minute. */
async function eventually<T>(ask: () => Promise<T | null>): Promise<T | null> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const answer = await ask();
    if (answer !== null || Date.now() > deadline) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The version that serves a marked request. */
function fetchMarked(url: string, host: string): Promise<string | null> {
  return new Promise((resolve, reject) => {
    // fetch does not let the Host header be set.
    get(url, { headers: { host, 'x-canary': 'true' } }, (response) => {
      response.resume();
      const version = response.headers['x-version'];
      response.once('end', () => resolve(typeof version === 'string' ? version : null));
    }).once('error', reject);
  });
}
