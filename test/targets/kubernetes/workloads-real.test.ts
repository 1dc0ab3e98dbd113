import { newReleaseId } from '../../../src/client/release-id';
import { createBlueGreenTarget } from '../../../src/targets/kubernetes/blue-green/blue-green-target';
import { createCanaryTarget } from '../../../src/targets/kubernetes/canary/canary-target';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import type { KubernetesObject, ObjectRef } from '../../../src/targets/kubernetes/objects';
import type { Target, TargetWrite } from '../../../src/targets/target';
import { describeWithApiServer, installDefinitions } from './api-server';
import { DeploymentController } from './deployment-controller';
import { targetPlan } from './target-plans';
import { namespaceObject, shopDeployment, shopService } from './shop-objects';

const V1 = 'registry.example/shop:v1';
const V2 = 'registry.example/shop:v2';
const V3 = 'registry.example/shop:v3';
const signal = AbortSignal.timeout(10 * 60_000);

function write(step: number, { release = 'r1', epoch = 1, version = V2 } = {}): TargetWrite & { timeoutMs: number } {
  return { version, artifact: version, fence: { release, epoch, step, attempt: 1 }, signal, timeoutMs: 20_000 };
}

describeWithApiServer('what a release makes, against a real API server', (server) => {
  let cluster: Cluster;
  let namespace: string;
  let controller: DeploymentController;
  let count = 0;

  beforeAll(async () => {
    cluster = server().connect();
    await installDefinitions(cluster, ['traefikservices']);
  }, 300_000);

  beforeEach(async () => {
    namespace = `made-${(count += 1)}`;
    await cluster.create(namespaceObject(namespace), { signal });
    controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
  });

  afterEach(() => controller.stop());
  afterAll(() => cluster.close());

  async function shop(name: string): Promise<Target> {
    const objects: KubernetesObject[] = [
      shopDeployment({ namespace, name }, { image: V1, replicas: 2 }),
      shopService({ namespace, name }),
      {
        apiVersion: 'traefik.io/v1alpha1',
        kind: 'TraefikService',
        metadata: { name: 'split', namespace },
        spec: { weighted: { services: [{ name, port: 80, weight: 1 }] } },
      },
    ];
    for (const object of objects) await cluster.create(object, { signal });
    return createCanaryTarget(planOf(name), { cluster, resolve: (image) => Promise.resolve(image) });
  }

  const planOf = (name: string): ReturnType<typeof targetPlan> =>
    targetPlan({
      namespace,
      serviceName: name,
      deployment: name,
      service: name,
      traffic: { kind: 'traefik', traefikService: 'split' },
    });
  const deployment = (name: string): ObjectRef => ({ apiVersion: 'apps/v1', kind: 'Deployment', namespace, name });

  it('of a service with a long name carries the release’s id, shortened in the label and whole in the fence', async () => {
    const name = `recommendations-${'x'.repeat(40)}`;
    const target = await shop(name);
    const release = newReleaseId(name);

    await target.observe({ version: V2, signal });
    await target.deploy(write(1, { release }));
    const { metadata } = (await cluster.find(deployment(`${name}-canary`), { signal })) ?? {};
    await target.removeCanary(write(2, { release }));

    expect(name).toHaveLength(56);
    expect(metadata?.labels?.['sluice.dev/made-for']).toBe(`${name.slice(0, 42)}${release.slice(name.length)}`);
    expect(metadata?.annotations?.['sluice.dev/fence']).toContain(`"${release}"`);
    expect(await cluster.find(deployment(`${name}-canary`), { signal })).toBeNull();
  });

  it.each([
    ['canary', 57, createCanaryTarget],
    ['blueGreen', 58, createBlueGreenTarget],
  ] as const)('a Service whose name leaves no room for the suffix is refused at the start: %s', async (...row) => {
    const [strategy, length, create] = row;
    const plan = { ...planOf('x'.repeat(length)), strategy };
    const target = create(plan, { cluster, resolve: (image) => Promise.resolve(image) });

    await expect(target.observe({ version: V2, signal })).rejects.toMatchObject({
      kind: 'invalidTarget',
      message: expect.stringMatching(
        new RegExp(`has ${length} characters; allowed are ${length - 1}, .*shorter name`),
      ) as string,
    });
  });

  it('is not made of a Deployment that is being deleted, but anew once that is gone', async () => {
    const target = await shop('checkout');
    const canary = deployment('checkout-canary');
    const finalizers = (value: readonly string[] | null): Promise<unknown> =>
      cluster.patch(canary, { type: 'merge', patch: { metadata: { finalizers: value } } }, { signal });
    await target.deploy(write(1));
    await finalizers(['example.com/audit']);
    const removal = await target.removeCanary(write(2));
    const again = await target.removeCanary(write(3));
    const next = { release: 'r2', epoch: 2, version: V3 };

    await expect(target.deploy(write(1, next))).rejects.toMatchObject({
      kind: 'unreachable',
      message: expect.stringMatching(/checkout-canary is being deleted .*\(example\.com\/audit\)/) as string,
    });
    const dying = await cluster.find(canary, { signal });
    await finalizers(null);
    const said = await target.deploy({ ...write(2, next), timeoutMs: 20_000 });

    for (const sentence of [removal, again]) {
      expect(sentence).toMatch(
        /checkout-canary is being deleted and stands until its finalizer example\.com\/audit is taken off it, which whoever set it has to do\.$/,
      );
    }
    expect(JSON.stringify(dying?.['spec'])).toContain(V2);
    expect(said).toMatch(/shop:v3 runs as Deployment .*checkout-canary with 1 ready pod/);
  });
});
