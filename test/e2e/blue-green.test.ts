import { describeWithLab } from '../lab/describe-with-lab';
import { ask } from '../lab/shop';
import type { ShopVersion } from '../lab/shop-images';
import { shopHost } from '../lab/shop-manifests';
import type { Plan } from '../../src/spec/plan-types';
import { shortPlan } from '../../src/spec/short-plans';
import { lookAtService } from '../../src/targets/kubernetes/service-look';
import type { DeployResult } from '../../src/client/client-types';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import type { ReleaseStatus } from '../../src/workflows/api';
import { Load } from './load';
import { LabShop } from './lab-shop';
import { ADA, ended, labPlan, startReleaseStack, until } from './release-stack';
import type { ReleaseStack, SpecChoices } from './release-stack';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(300_000);

const isKept = (status: ReleaseStatus): boolean => (status.keepOld ?? null) !== null;

describeWithLab('blue and green on a real cluster, with real traffic through a real gateway', (lab) => {
  let stack: ReleaseStack;
  let shop: LabShop;
  let load: Load;
  let count = 0;

  beforeAll(async () => {
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack.stop());

  beforeEach(async () => {
    shop = await LabShop.make(lab, stack.cluster, `blue-green-${process.pid}-${(count += 1)}`);
    await becomeBlue();
    load = new Load(lab.gatewayUrl, shopHost(shop.namespace));
  });
  afterEach(async () => {
    await load.stop();
    await shop.remove();
  });

  const options = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(60_000) });
  const ref = (): { service: string; namespace: string } => ({ service: 'shop', namespace: shop.namespace });
  const deploymentRef = (name: string) => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    namespace: shop.namespace,
    name,
  });
  const serviceRef = () => ({ apiVersion: 'v1', kind: 'Service', namespace: shop.namespace, name: 'shop' });

  /** What a user has before the first blue-green release: the running Deployment under a colour's name. */
  async function becomeBlue(): Promise<void> {
    const { spec } = (await shop.deployment()) as unknown as {
      spec: { template: { metadata: object; spec: object } } & Record<string, unknown>;
    };
    const labels = { app: 'shop', color: 'blue' };
    const blue: KubernetesObject = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'shop-blue', namespace: shop.namespace, labels },
      spec: {
        ...spec,
        selector: { matchLabels: labels },
        template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
      },
    };
    await stack.cluster.create(blue, options());
    await eventually(async () => (await availableOf('shop-blue')) === spec['replicas']);
    await stack.cluster.patch(serviceRef(), { type: 'merge', patch: { spec: { selector: labels } } }, options());
    await stack.cluster.delete(deploymentRef('shop'), options());
    await eventually(async () => (await ask(lab, shopHost(shop.namespace))).version === 'v1');
  }

  async function availableOf(name: string): Promise<number> {
    const status = (await shop.deployment(name))?.['status'] as { availableReplicas?: number } | undefined;
    return status?.availableReplicas ?? 0;
  }

  const selected = async (): Promise<string | undefined> => {
    const service = await stack.cluster.get(serviceRef(), options());
    return (service['spec'] as { selector: Record<string, string> }).selector['color'];
  };
  const replicasOf = async (colour: string): Promise<number> => {
    const object = await shop.deployment(`shop-${colour}`);
    return (object?.['spec'] as { replicas: number } | undefined)?.replicas ?? -1;
  };
  const podsOf = async (): Promise<string[]> => {
    const selection = { ...options(), labelSelector: 'color=green' };
    const pods = await stack.cluster.list({ apiVersion: 'v1', kind: 'Pod', namespace: shop.namespace }, selection);
    return pods.map((pod) => pod.metadata.uid ?? '').sort();
  };

  type Choices = SpecChoices & { keepOld?: string };

  function planOf(image: string, { keepOld = '5m', kubernetes = '', ...rest }: Choices = {}): Plan {
    return labPlan(lab, shop.namespace, image, {
      weights: [100],
      traffic: '{ serviceSelector: {} }',
      kubernetes: `      strategy: blueGreen\n      keepOld: ${keepOld}\n${kubernetes}`,
      ...rest,
    });
  }

  async function release(version: ShopVersion, more: Choices = {}): Promise<DeployResult> {
    return stack.client.deploy(planOf(shop.image(version), more), { actor: ADA });
  }

  /** The status of a certain release once it is promoted; one that only waits yet is waited for. */
  async function keptBy(release: string): Promise<ReleaseStatus> {
    for await (const status of stack.client.watch({ ...ref(), release }, { everyMs: 200 })) {
      if (isKept(status)) return status;
    }
    throw new Error(`release ${release} ended without keeping anything`);
  }

  /** Users are where they were, and the idle colour is without pods. */
  async function expectAllOld(status: ReleaseStatus): Promise<void> {
    expect(await selected()).toBe('blue');
    expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([2, 0]);
    expect(await shop.backends()).toEqual({ shop: 1 });
    expect(status.compensations ?? []).toEqual([]);
  }

  it('promotes by the switch: the pods that were tested serve, and not one request fails', async () => {
    await release('v2', { keepOld: '4s' });
    await until(stack.client, shop.namespace, (status) => status.phase === 'soaking');
    const tested = await podsOf();
    const status = await ended(stack.client, shop.namespace);
    const served = await load.stop();

    expect(`${status.outcome}: ${status.message}`).toMatch(/^promoted/);
    expect(served.filter((one) => one.status !== 200)).toEqual([]);
    expect(served.at(-1)?.version).toBe('v2');
    expect(await podsOf()).toEqual(tested);
    expect(await selected()).toBe('green');
    expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([0, 2]);
    expect((await shop.objects()).sort()).toEqual([
      ...['Deployment/shop-blue', 'Deployment/shop-green', 'HTTPRoute/shop'],
      ...['Service/shop', 'Service/shop-blue', 'Service/shop-green'],
    ]);
  });

  it('goes back at once while the old version is kept, and not one request fails', async () => {
    await release('v2');
    const kept = await until(stack.client, shop.namespace, isKept);
    const pods = await replicasOf('blue');
    await stack.client.rollback(ref(), { actor: ADA, reason: 'a hand' });
    const status = await ended(stack.client, shop.namespace);
    const served = await load.stop();

    expect(kept).toMatchObject({ outcome: 'promoted', phase: 'promoted' });
    expect(pods).toBe(2);
    expect(status).toMatchObject({ outcome: 'aborted' });
    expect(served.filter((one) => one.status !== 200)).toEqual([]);
    expect(served.at(-1)?.version).toBe('v1');
    await expectAllOld(status);
  });

  it('a version that fails its smoke test never meets a user', async () => {
    await release('v2', { smokeTest: '{ path: /, attempts: 2, interval: 1s, expectBody: no such answer }' });
    const status = await ended(stack.client, shop.namespace);
    const served = await load.stop();

    expect(status.outcome).toBe('rolledBack');
    expect(status.message).toMatch(/smoke test of .* failed 2 times: Service .*\/shop-green/);
    expect(served.filter((one) => one.version !== 'v1' || one.status !== 200)).toEqual([]);
    await expectAllOld(status);
  });

  it('with a gateway some of the traffic comes first, and the route is as it was after the switch', async () => {
    await release('v2', { traffic: '{ gatewayAPI: { httpRoute: shop } }', weights: [50, 100], keepOld: '2s' });
    await until(stack.client, shop.namespace, (status) => status.phase === 'soaking' && status.weight === 50);
    const split = await shop.backends();
    const status = await ended(stack.client, shop.namespace);
    const served = await load.stop();

    expect(split).toEqual({ shop: 50, 'shop-green': 50 });
    expect(`${status.outcome}: ${status.message}`).toMatch(/^promoted/);
    expect(served.filter((one) => one.status !== 200)).toEqual([]);
    expect(await shop.backends()).toEqual({ shop: 1 });
    expect(await selected()).toBe('green');
  });

  it('switches back to what the idle colour runs, without naming an image, and not one request fails', async () => {
    await release('v2', { keepOld: '2s' });
    await ended(stack.client, shop.namespace);
    const { target } = planOf(shop.image('v1'));
    if (target.kind !== 'kubernetes') throw new Error('the lab has Kubernetes');
    const { tracks } = await lookAtService(stack.cluster, target, options().signal);
    const idle = tracks.find((track) => !track.active);
    const image = idle?.runs?.image ?? '';
    const base = planOf(image, { keepOld: '2s' });
    const wish = { kind: 'switch', colour: 'blue', weight: 100, holdMs: 60_000 } as const;
    const { release: id } = await stack.client.deploy(shortPlan(base, wish), { actor: ADA });
    await keptBy(id);
    const status = await ended(stack.client, shop.namespace);
    const served = await load.stop();

    expect(idle).toMatchObject({ name: 'blue', runs: { replicas: { desired: 0 } } });
    expect(`${status.outcome}: ${status.message}`).toMatch(/^promoted/);
    expect(served.filter((one) => one.status !== 200)).toEqual([]);
    expect(served.at(-1)?.version).toBe('v1');
    expect(await selected()).toBe('blue');
    expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([2, 0]);
  });

  it('the next release ends the time in which the old version is kept, and begins', async () => {
    await release('v2');
    const first = await until(stack.client, shop.namespace, isKept);
    const next = await release('v1');
    const second = await keptBy(next.release);
    const served = await load.stop();

    expect(next).toMatchObject({ behind: first.release, endsKeeping: true });
    expect(second.version.from).toBe(first.version.artifact);
    expect(await selected()).toBe('blue');
    expect(served.filter((one) => one.status !== 200)).toEqual([]);
    expect([await replicasOf('blue'), await replicasOf('green')]).toEqual([2, 2]);
    await stack.client.rollback(ref(), { actor: ADA });
    await ended(stack.client, shop.namespace);
  });
});

/** Asks until it is so; fails after a minute. */
async function eventually(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error('it did not become so within a minute');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
