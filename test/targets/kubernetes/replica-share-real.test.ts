import { createCanaryTarget } from '../../../src/targets/kubernetes/canary/canary-target';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import { lookAtService } from '../../../src/targets/kubernetes/service-look';
import type { Target, TargetWrite } from '../../../src/targets/target';
import { describeWithApiServer, until } from './api-server';
import { DeploymentController } from './deployment-controller';
import { targetPlan } from './target-plans';
import { namespaceObject, shopDeployment, shopService } from './shop-objects';

const V1 = 'registry.example/shop:v1';
const V2 = 'registry.example/shop:v2';
const V3 = 'registry.example/shop:v3';
const signal = AbortSignal.timeout(10 * 60_000);

function write(step: number, attempt = 1): TargetWrite & { timeoutMs: number } {
  const fence = { release: 'r1', epoch: 1, step, attempt };
  return { version: V2, artifact: V2, fence, signal, timeoutMs: 60_000 };
}

function shift(step: number, weight: number, previousWeight: number): Parameters<Target['setWeight']>[0] {
  return { ...write(step), weight, previousWeight, match: [] };
}

const promotion = { release: 'r1', smokeTest: null };

describeWithApiServer('a release whose share is the number of pods, against a real API server', (server) => {
  let cluster: Cluster;
  let namespace: string;
  let controller: DeploymentController;
  let plan: ReturnType<typeof targetPlan>;
  let target: Target;
  let count = 0;

  beforeAll(() => {
    cluster = server().connect();
  });

  beforeEach(async () => {
    namespace = `replica-share-${(count += 1)}`;
    for (const object of shop()) await cluster.create(object, { signal });
    controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
    plan = targetPlan({ namespace, traffic: { kind: 'replicas' } });
    target = createCanaryTarget(plan, { cluster, resolve: (image) => Promise.resolve(image) });
  });

  afterEach(() => controller.stop());
  afterAll(() => cluster.close());

  /** An ordinary service, without anything of a canary. */
  function shop(): KubernetesObject[] {
    const named = { namespace, name: 'checkout' };
    return [namespaceObject(namespace), shopDeployment(named, { image: V1, replicas: 4 }), shopService(named)];
  }

  interface Found {
    readonly replicas: number;
    readonly template: { readonly spec: { readonly containers: readonly { readonly image: string }[] } };
  }
  const refOf = (name: string) => ({ apiVersion: 'apps/v1', kind: 'Deployment', namespace, name });
  const find = async (name: string): Promise<Found | undefined> =>
    (await cluster.find(refOf(name), { signal }))?.['spec'] as Found | undefined;
  /** Of stable and the canary; null for one that is not there. */
  const sizes = async (): Promise<(number | null)[]> =>
    Promise.all(['checkout', 'checkout-canary'].map(async (name) => (await find(name))?.replicas ?? null));
  const stableImage = async (): Promise<string | undefined> =>
    (await find('checkout'))?.template.spec.containers[0]?.image;

  it('begins without a canary, shares by pods, and stable has as many as before after the promotion', async () => {
    const shown = await lookAtService(cluster, plan, signal);
    const looked = await target.observe({ version: V2, signal });
    await target.deploy(write(1));
    const declared = await sizes();
    const said = await target.setWeight(shift(2, 25, 0));
    const shared = await sizes();
    const { foreignEdits } = await target.reassert({ ...write(3), weight: 25, match: [] });
    await target.setWeight(shift(4, 100, 25));
    const whole = await sizes();
    await target.promote({ ...write(5), ...promotion });
    // An attempt whose worker died before it could tell that it had done it.
    await target.promote({ ...write(5, 2), ...promotion });
    const beside = await sizes();
    await target.setWeight(shift(6, 50, 100));
    const half = await sizes();
    await target.setWeight(shift(7, 0, 50));
    await target.removeCanary(write(8));

    expect(shown).toMatchObject({ traffic: { weight: 0, by: 'replicas' }, leftovers: [] });
    expect(looked).toMatchObject({ stableVersion: V1, canaryVersion: null, weight: 0 });
    expect(said).toMatch(/share by replicas is 25 %, and it is in force\.$/);
    expect(foreignEdits).toEqual([]);
    expect([declared, shared, whole, beside, half]).toEqual([
      [4, 0],
      [3, 1],
      [0, 4],
      [4, 4],
      [2, 2],
    ]);
    expect([await sizes(), await stableImage()]).toEqual([[4, null], V2]);
  });

  it('says before anything is changed what these pods can reach, and which weights they cannot', async () => {
    const near = await target.observe({ version: V2, weights: [25, 100], signal });
    const far = await target.observe({ version: V2, weights: [5, 50, 100], signal });

    expect(near.reach).toMatch(/^the Service spreads connections .* with 4 pods only 0, 25, 50, 75, 100 % can be/u);
    expect(near).not.toHaveProperty('missed');
    expect(far.missed).toBe('With 4 pods not every weight can be reached: 5 % comes to 25 %; 20 pods would reach all.');
    expect(await sizes()).toEqual([4, null]);
  });

  it('says what a weight comes to with these pods', async () => {
    await target.deploy(write(1));

    expect(await target.setWeight(shift(2, 10, 0))).toMatch(
      /10 % cannot be reached with 4 pods; the canary has 1 of them, 25 % of the connections\.$/,
    );
    expect(await sizes()).toEqual([3, 1]);
    // That it is another one is nobody's edit.
    const { foreignEdits } = await target.reassert({ ...write(3), weight: 10, match: [] });
    expect(foreignEdits).toEqual([]);
  });

  it.each([
    ['a part', [25]],
    ['all', [25, 100]],
  ])('goes back from %s of the pods: stable first has its own, and then the canary loses its', async (_, weights) => {
    await target.deploy(write(1));
    let step = 1;
    for (const weight of weights) await target.setWeight(shift((step += 1), weight, 0));
    controller.hold.add('checkout');
    await target.setWeight({ ...shift((step += 1), 0, 100), back: true });
    const waiting = await sizes();
    controller.hold.delete('checkout');
    await target.removeCanary(write((step += 1)));

    expect(waiting).toEqual([4, weights.at(-1) === 100 ? 4 : 1]);
    expect([await sizes(), await stableImage()]).toEqual([[4, null], V1]);
  });

  it('goes back from the middle of a promotion', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await target.promote({ ...write(3), ...promotion });
    await target.restoreStable({ ...write(4), stableVersion: V1 });
    await target.setWeight(shift(5, 0, 100));
    await target.removeCanary(write(6));

    expect([await sizes(), await stableImage()]).toEqual([[4, null], V1]);
  });

  it('gives a canary that was left with its share a new version only once it has no pods', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 25, 0));
    const next = { ...write(1), version: V3, artifact: V3, fence: { release: 'r2', epoch: 2, step: 1, attempt: 1 } };
    const canaryImage = async (): Promise<string | undefined> =>
      (await find('checkout-canary'))?.template.spec.containers[0]?.image;
    controller.hold.add('checkout');
    const refused = target.deploy({ ...next, timeoutMs: 200 });

    await expect(refused).rejects.toThrow(
      /checkout-canary still has a share of the traffic, so it is not given registry\.example\/shop:v3 yet: .*checkout has \d of 4 pods available/,
    );
    expect([await sizes(), await canaryImage()]).toEqual([[4, 1], V2]);
    controller.hold.delete('checkout');
    await target.deploy(next);
    expect([await sizes(), await canaryImage()]).toEqual([[4, 0], V3]);
  });

  it('makes a canary anew that somebody has deleted, and gives it its share', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 25, 0));
    await cluster.delete(refOf('checkout-canary'), { signal });
    await until(async () => (await sizes())[1] === null);
    const { foreignEdits } = await target.reassert({ ...write(3), weight: 25, match: [] });

    expect(foreignEdits.join(' ')).toMatch(/checkout-canary (does not exist|was gone, and was made again)/);
    expect(await sizes()).toEqual([3, 1]);
    await target.setWeight(shift(4, 0, 25));
    await target.removeCanary(write(5));
    expect(await sizes()).toEqual([4, null]);
  });
});
