import { shortPlan } from '../../src/spec/short-plans';
import type { ShortWish } from '../../src/spec/short-plans';
import type { Plan } from '../../src/spec/plan-types';
import { imageToRelease, lookAtService } from '../../src/targets/kubernetes/service-look';
import type { ServiceLook } from '../../src/targets/kubernetes/service-look';
import { waitUntilReady } from '../../src/targets/kubernetes/wait-ready';
import { describeWithLab } from '../lab/describe-with-lab';
import { shopHost } from '../lab/shop-manifests';
import type { ShopVersion } from '../lab/shop-images';
import { Load } from './load';
import { LabShop } from './lab-shop';
import { ADA, ended, labPlan, startReleaseStack, until } from './release-stack';
import type { ReleaseStack } from './release-stack';

jest.setTimeout(300_000);

describeWithLab('short releases on a real cluster, with real traffic through a real gateway', (lab) => {
  let stack: ReleaseStack;
  let shop: LabShop;
  let load: Load;
  let count = 0;

  beforeAll(async () => {
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack.stop());

  beforeEach(async () => {
    shop = await LabShop.make(lab, stack.cluster, `short-${process.pid}-${(count += 1)}`);
    load = new Load(lab.gatewayUrl, shopHost(shop.namespace));
  });
  afterEach(async () => {
    await load.stop();
    await shop.remove();
  });

  const ref = (): { service: string; namespace: string } => ({ service: 'shop', namespace: shop.namespace });
  const planOf = (image: string): Plan => labPlan(lab, shop.namespace, image);

  function look(): Promise<ServiceLook> {
    const { target } = planOf(shop.image('v1'));
    if (target.kind !== 'kubernetes') throw new Error('the lab has Kubernetes');
    return lookAtService(stack.cluster, target, AbortSignal.timeout(20_000));
  }

  /** A canary Deployment of the user's own, beside stable, that no release has made. */
  async function runCanary(version: ShopVersion): Promise<void> {
    const stable = await shop.deployment();
    if (stable === null) throw new Error('there is no shop');
    const spec = stable['spec'] as { template: { metadata: object; spec: { containers: object[] } } };
    const labels = { app: 'shop-canary', 'sluice.dev/service': 'shop', 'sluice.dev/track': 'canary' };
    const [container] = spec.template.spec.containers;
    const template = {
      ...spec.template,
      // With stable's annotations: by them its pods are scraped.
      metadata: { ...spec.template.metadata, labels },
      spec: { ...spec.template.spec, containers: [{ ...container, image: shop.image(version) }] },
    };
    const signal = AbortSignal.timeout(120_000);
    await stack.cluster.create(
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'shop-canary', namespace: shop.namespace },
        spec: { replicas: 1, selector: { matchLabels: labels }, template },
      },
      { signal },
    );
    const at = { namespace: shop.namespace, name: 'shop-canary' };
    await waitUntilReady(stack.cluster, at, { needed: 1, complete: true, timeoutMs: 90_000, signal });
  }

  async function start(wish: ShortWish): Promise<string> {
    const canary = (await look()).tracks.find((track) => track.name === 'canary')?.runs;
    if (canary === null || canary === undefined) throw new Error('there is no canary');
    const image = imageToRelease(canary);
    await stack.client.deploy(shortPlan(planOf(image), wish), { actor: ADA });
    return image;
  }

  it('promotes what the canary runs, and not one request fails', async () => {
    await runCanary('v2');
    const image = await start({ kind: 'promote' });
    const status = await ended(stack.client, shop.namespace);
    const served = await load.stop();

    expect(`${status.outcome}: ${status.message}`).toMatch(/^promoted/);
    expect(served.filter((one) => one.status !== 200)).toEqual([]);
    expect(served.at(-1)?.version).toBe('v2');
    expect(await shop.stableImage()).toBe(status.version.artifact ?? image);
    // The user's own Deployment stays, without pods.
    expect((await look()).tracks[1]?.runs?.replicas).toEqual({ desired: 0, ready: 0 });
    expect((await look()).leftovers).toEqual([]);
  });

  it('gives what the canary runs some traffic, holds, and takes it back by hand', async () => {
    await runCanary('v2');
    await start({ kind: 'traffic', weight: 30, holdMs: 300_000 });
    await until(stack.client, shop.namespace, (status) => status.phase === 'awaitingApproval');
    const held = await look();
    await stack.client.rollback(ref(), { actor: ADA, reason: 'a hand' });
    const status = await ended(stack.client, shop.namespace);
    const served = await load.stop();

    expect(held.traffic.weight).toBe(30);
    expect(held.fence?.release).toBe(status.release);
    expect(status).toMatchObject({ outcome: 'aborted' });
    expect(served.filter((one) => one.status !== 200)).toEqual([]);
    expect(await shop.stableImage()).toBe(shop.image('v1'));
    expect(await shop.backends()).toEqual({ shop: 1 });
  });

  it('a failing version is taken back by its error rate', async () => {
    await runCanary('v3');
    await start({ kind: 'promote' });
    const status = await ended(stack.client, shop.namespace);

    expect(status.outcome).toBe('rolledBack');
    expect(await shop.stableImage()).toBe(shop.image('v1'));
    expect(await shop.backends()).toEqual({ shop: 1 });
  });

  it('cleans up what runs beside stable, and no request fails', async () => {
    await runCanary('v2');
    await start({ kind: 'cleanup', track: 'canary' });
    const status = await ended(stack.client, shop.namespace);
    const served = await load.stop();

    expect(status).toMatchObject({ outcome: 'cleanedUp', compensations: [] });
    expect(served.filter((one) => one.status !== 200 || one.version !== 'v1')).toEqual([]);
    expect((await look()).tracks[1]?.runs?.replicas.desired).toBe(0);
    expect(await shop.backends()).toEqual({ shop: 1 });
  });
});
