import type { ReleaseSummary } from '../../src/client/client-types';
import { requiredPermissions } from '../../src/targets/kubernetes/permissions';
import { roleObjects } from '../../src/targets/kubernetes/role';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import type { Permission } from '../../src/targets/kubernetes/cluster';
import { describeWithLab } from '../lab/describe-with-lab';
import { shopManifests } from '../lab/shop-manifests';
import { execute } from '../lab/tell';
import { eventually } from './eventually';
import type { LabShop } from './lab-shop';
import { limitedKubeconfig } from './limited-kubeconfig';
import type { LimitedKubeconfig } from './limited-kubeconfig';
import { ADA, labPlan, startReleaseStack } from './release-stack';
import type { ReleaseStack } from './release-stack';
import { Scenario, together } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

describeWithLab('a release that is not alone in its namespace', (lab) => {
  let stack: ReleaseStack;
  beforeAll(async () => {
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack?.stop());

  const scenario =
    (play: (scenario: Scenario) => Promise<void>, more: Parameters<typeof Scenario.run>[4] = {}) =>
    (name: string): Promise<void> =>
      Scenario.run(lab, stack, name, play, more);

  together({
    'has pods by what an autoscaler makes of stable during a soak, and promotes to that size': scenario(
      async (one) => {
        await one.release('v2', { weights: [50, 100], soak: '14s' });
        await one.until((status) => status.phase === 'soaking' && status.weight === 50);
        expect(await one.shop.replicas('shop-canary')).toBe(1);
        await setLeast(one.shop, 4);
        await eventually(async () => (await one.shop.replicas()) === 4, 'the autoscaler has sized stable');
        await eventually(async () => (await one.shop.replicas('shop-canary')) === 2, 'the canary has its share of it');
        const status = await one.ended();

        await one.expectAllNew(status);
        expect(await one.shop.replicas()).toBe(4);
        // The autoscaler's doing is not a foreign edit.
        expect(status.events.filter((event) => event.type === 'foreignEdit')).toEqual([]);
      },
      { prepare: autoscaled },
    ),

    'refuses a second one, and gives way to one that supersedes it: each version is whole': scenario(async (one) => {
      // Three of ten requests of v3 fail, and are allowed to.
      await one.release('v3', { weights: [25, 100], soak: '5m', errors: '90%' });
      await one.until((status) => status.phase === 'soaking');
      await expect(one.release('v2')).rejects.toMatchObject({ code: 'conflict' });
      const first = await one.until(() => true);
      const plan = labPlan(lab, one.namespace, one.shop.image('v2'), { weights: [50, 100] });
      const second = await stack.client.deploy(plan, { actor: ADA, onConflict: 'supersede' });
      expect(second).toMatchObject({ state: 'queued', behind: first.release });
      // By Temporal's list, which needs no worker's answer: this one is busy handing over.
      const known = async (release: string): Promise<ReleaseSummary | undefined> =>
        (await stack.client.list(one.ref)).find((summary) => summary.release === release);
      await eventually(
        async () => (await known(first.release))?.outcome === 'superseded',
        'the first one has given way',
        60_000,
      );
      await eventually(async () => (await known(second.release))?.phase !== 'queued', 'the second one has begun');

      await one.expectAllNew(await one.ended(), 'v2', { failing: 'v3' });
    }),

    'holds its weight against a GitOps tool that applies its own route again, and then leaves it to that': scenario(
      async (one) => {
        await one.release('v2', { weights: [50, 100], soak: '12s' });
        await one.until((status) => status.phase === 'soaking' && status.weight === 50);
        await applyRoute(one.namespace, ['--force-conflicts']);
        const edited = await one.until((status) => status.events.some((event) => event.type === 'foreignEdit'));
        expect(await one.shop.backends()).toEqual({ shop: 50, 'shop-canary': 50 });
        expect(edited.events.find((event) => event.type === 'foreignEdit')?.message).toMatch(/HTTPRoute .*shop/);
        const status = await one.ended();

        await one.expectAllNew(status);
        // Nobody else owns a field: the tool meets no conflict, and has nothing to change.
        await applyRoute(one.namespace, []);
        expect(await one.shop.backends()).toEqual({ shop: 1 });
      },
    ),

    'ends at a foreign edit where the spec says so': scenario(async (one) => {
      await one.release('v2', { weights: [50, 100], soak: '5m', kubernetes: '      onForeignEdit: rollback' });
      await one.until((status) => status.phase === 'soaking' && status.weight === 50);
      await applyRoute(one.namespace, ['--force-conflicts']);
      const status = await one.ended();

      expect(status.message).toMatch(/Somebody else changed what the release holds/);
      await one.expectAllOld(status);
    }),
  });

  /** As a tool does that has the route of the first day in its repository. */
  async function applyRoute(namespace: string, more: readonly string[]): Promise<void> {
    const manifests = shopManifests({ namespace, image: '', replicas: 1, listenerPort: lab.listenerPort });
    const route = manifests.find(({ kind }) => kind === 'HTTPRoute');
    const args = ['--kubeconfig', lab.kubeconfig, 'apply', '--server-side', '--field-manager=gitops', '-f', '-'];
    await execute(lab.kubectl, [...args, ...more], { input: JSON.stringify(route) });
  }
});

describeWithLab('a worker with the rights of one namespace', (lab) => {
  let stack: ReleaseStack;
  let limited: LimitedKubeconfig;
  beforeAll(async () => {
    limited = await limitedKubeconfig(lab, `e2e-${process.pid}-worker`);
    stack = await startReleaseStack(lab, { kubeconfig: limited.path });
  });
  afterAll(async () => {
    await stack?.stop();
    await limited?.remove();
  });

  const scenario =
    (play: (scenario: Scenario) => Promise<void>, without: (permission: Permission) => boolean = () => false) =>
    (name: string): Promise<void> =>
      Scenario.run(lab, stack, name, play, { prepare: (shop) => allow(shop, without) });

  together({
    'needs no other right than those that `sluice rbac` prints': scenario(async (one) => {
      await one.release('v2', { weights: [100] });

      await one.expectAllNew(await one.ended());
    }),

    'is refused by name of what is missing, before anything is changed': scenario(
      async (one) => {
        await one.release('v2');
        const status = await one.ended();

        expect(status.message).toContain(
          `The worker lacks permissions: patch httproutes.gateway.networking.k8s.io shop in namespace ${one.namespace}.`,
        );
        expect(status.events.map((event) => event.type)).not.toContain('deployed');
        await one.expectAllOld(status);
      },
      ({ verb, resource }) => verb === 'patch' && resource === 'httproutes',
    ),

    'whose rights are taken away in a soak cannot go back, says so, and does when they are back': scenario(
      async (one) => {
        await one.release('v2', { weights: [50, 100], soak: '5m' });
        await one.until((status) => status.phase === 'soaking' && status.weight === 50);
        const binding = await forbid(one.namespace);
        await one.rollback();
        const stuck = await one.until((status) => status.stuck !== null);
        expect(stuck.stuck?.message).toMatch(/permission|httproutes/i);
        expect(stuck.endedAt).toBeNull();
        await stack.cluster.create(binding, { signal: AbortSignal.timeout(20_000) });
        await stack.client.resume(one.ref, { actor: ADA });

        await one.expectAllOld(await one.ended());
      },
    ),
  });

  /** What `sluice rbac` prints for the shop, given to the worker's account. */
  async function allow(shop: LabShop, without: (permission: Permission) => boolean): Promise<void> {
    const { target } = labPlan(lab, shop.namespace, shop.image('v2'));
    if (target.kind !== 'kubernetes') throw new Error('The lab’s plan is one of Kubernetes.');
    const permissions = requiredPermissions(target).filter((permission) => !without(permission));
    const role = { name: 'sluice', namespace: shop.namespace, account: limited.account };
    for (const object of roleObjects(permissions, role)) await shop.create(object);
  }

  async function forbid(namespace: string): Promise<KubernetesObject> {
    const ref = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', namespace, name: 'sluice' };
    const signal = AbortSignal.timeout(20_000);
    const { metadata, ...binding } = await stack.cluster.get(ref, { signal });
    await stack.cluster.delete(ref, { signal });
    return { ...binding, metadata: { name: metadata.name, namespace } };
  }
});

/** An autoscaler of stable. Without metrics it keeps to its bounds, which is all the size that a test needs. */
async function autoscaled(shop: LabShop): Promise<void> {
  await shop.create({
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: 'shop' },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'shop' },
      minReplicas: 2,
      maxReplicas: 6,
      metrics: [
        { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } } },
      ],
    },
  });
}

async function setLeast(shop: LabShop, minReplicas: number): Promise<void> {
  await shop.patch('HorizontalPodAutoscaler', [{ op: 'replace', path: '/spec/minReplicas', value: minReplicas }]);
}
