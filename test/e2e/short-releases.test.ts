import { shortPlan } from '../../src/spec/short-plans';
import type { ShortWish } from '../../src/spec/short-plans';
import type { Plan } from '../../src/spec/plan-types';
import { imageToRelease, lookAtService } from '../../src/targets/kubernetes/service-look';
import type { ServiceLook } from '../../src/targets/kubernetes/service-look';
import { describeWithLab } from '../lab/describe-with-lab';
import type { ShopVersion } from '../lab/shop-images';
import type { LabShop } from './lab-shop';
import { ADA, labPlan, startReleaseStack } from './release-stack';
import type { ReleaseStack } from './release-stack';
import { Scenario, together } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

describeWithLab('short releases on a real cluster, with real traffic through a real gateway', (lab) => {
  let stack: ReleaseStack;
  beforeAll(async () => {
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack?.stop());

  /** Of a shop with a canary Deployment of the user's own, which stays, without pods. */
  const scenario =
    (version: ShopVersion, play: (scenario: Scenario) => Promise<void>) =>
    (name: string): Promise<void> =>
      Scenario.run(
        lab,
        stack,
        name,
        async (one) => {
          await play(one);
          expect((await look(one)).tracks[1]?.runs?.replicas).toEqual({ desired: 0, ready: 0 });
          expect((await look(one)).leftovers).toEqual([]);
        },
        { prepare: (shop) => runCanary(shop, version), changing: ['Deployment/shop-canary'] },
      );

  const planOf = ({ namespace }: Scenario, image: string): Plan => labPlan(lab, namespace, image);

  function look(one: Scenario): Promise<ServiceLook> {
    const { target } = planOf(one, one.shop.image('v1'));
    if (target.kind !== 'kubernetes') throw new Error('the lab has Kubernetes');
    return lookAtService(stack.cluster, target, AbortSignal.timeout(20_000));
  }

  async function start(one: Scenario, wish: ShortWish): Promise<void> {
    const canary = (await look(one)).tracks.find((track) => track.name === 'canary')?.runs;
    if (canary === null || canary === undefined) throw new Error('there is no canary');
    await stack.client.deploy(shortPlan(planOf(one, imageToRelease(canary)), wish), { actor: ADA });
  }

  together({
    'promotes what the canary runs, and not one request fails': scenario('v2', async (one) => {
      await start(one, { kind: 'promote' });

      await one.expectAllNew(await one.ended());
    }),

    'gives what the canary runs some traffic, holds, and takes it back by hand': scenario('v2', async (one) => {
      await start(one, { kind: 'traffic', weight: 30, holdMs: 300_000 });
      await one.until((status) => status.phase === 'awaitingApproval');
      const held = await look(one);
      await one.rollback('a hand');
      const status = await one.ended();

      expect(held.traffic.weight).toBe(30);
      expect(held.fence?.release).toBe(status.release);
      expect(status).toMatchObject({ outcome: 'aborted' });
      await one.expectAllOld(status);
    }),

    'a failing version is taken back by its error rate': scenario('v3', async (one) => {
      await start(one, { kind: 'promote' });
      const status = await one.ended();

      expect(status.outcome).toBe('rolledBack');
      await one.expectAllOld(status, 'v3');
    }),

    'cleans up what runs beside stable, and no request fails': scenario('v2', async (one) => {
      await start(one, { kind: 'cleanup', track: 'canary' });
      const status = await one.ended();

      expect(status).toMatchObject({ outcome: 'cleanedUp', compensations: [] });
      expect(one.load.served.filter(({ version }) => version !== 'v1')).toEqual([]);
      await one.expectAllOld(status);
    }),
  });
});

/** A canary Deployment of the user's own, beside stable, that no release has made. */
async function runCanary(shop: LabShop, version: ShopVersion): Promise<void> {
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
  await shop.create({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'shop-canary' },
    spec: { replicas: 1, selector: { matchLabels: labels }, template },
  });
  await shop.settled('shop-canary');
}
