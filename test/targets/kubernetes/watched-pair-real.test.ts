import type { KubernetesTargetPlan, TrafficPlan } from '../../../src/spec/plan-types';
import { createBlueGreenTarget } from '../../../src/targets/kubernetes/blue-green/blue-green-target';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import type { RequestCounter } from '../../../src/targets/kubernetes/request-counter';
import type { Target, TargetWrite } from '../../../src/targets/target';
import { describeWithApiServer } from './api-server';
import { DeploymentController } from './deployment-controller';
import { targetPlan } from './target-plans';
import { overtakenIn, requestsOfEach, sumOf, watchingWorker } from './watching-worker';
import { namespaceObject, shopDeployment, shopIngress, shopService } from './shop-objects';

const V1 = 'registry.example/shop:v1';
const V2 = 'registry.example/shop:v2';
const V3 = 'registry.example/shop:v3';
const signal = AbortSignal.timeout(10 * 60_000);

/** One release of a version, by the steps of its plan. */
interface Release {
  readonly version: string;
  readonly epoch: number;
}

function write({ version, epoch }: Release, step: number): TargetWrite & { timeoutMs: number } {
  const fence = { release: `r${epoch}`, epoch, step, attempt: 1 };
  return { version, artifact: version, fence, signal, timeoutMs: 60_000 };
}

const BLUE = { app: 'checkout', color: 'blue' };

/** What a user has before the first release: one colour, the Service that finds it, and an Ingress. */
function pair(namespace: string): KubernetesObject[] {
  const named = { namespace, name: 'checkout' };
  const blue = { namespace, name: 'checkout-blue' };
  return [
    namespaceObject(namespace),
    shopDeployment(blue, { image: V1, replicas: 2, labels: BLUE }),
    shopService(named, BLUE),
    shopIngress(named),
  ];
}

const SWITCHED = { 'patch services': 1 };
// Nobody is sent to pods by what a watch has told alone.
const SWITCH = { ...SWITCHED, 'get deployments.apps': 1 };

describeWithApiServer('a blue-green release whose worker watches, against a real API server', (server) => {
  let hand: Cluster;
  let namespace: string;
  let controller: DeploymentController;
  let count = 0;
  const workers: Cluster[] = [];

  beforeAll(() => {
    hand = server().connect({ fieldManager: 'hand' });
  });

  beforeEach(async () => {
    namespace = `watched-pair-${(count += 1)}`;
    for (const object of pair(namespace)) await hand.create(object, { signal });
    controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
  });

  afterEach(async () => {
    for (const worker of workers.splice(0)) worker.close();
    await controller.stop();
  });

  afterAll(() => hand.close());

  async function worker(traffic: TrafficPlan = { kind: 'serviceSelector' }): Promise<Worker> {
    const plan: KubernetesTargetPlan = targetPlan({ namespace, strategy: 'blueGreen', traffic });
    const { cluster, counter } = await watchingWorker(server(), hand, { plan, name: `sluice-${workers.length}` });
    workers.push(cluster);
    const target = createBlueGreenTarget(plan, { cluster, resolve: (image) => Promise.resolve(image) });
    return { cluster, counter, target };
  }

  const selected = async (): Promise<string | undefined> => {
    const ref = { apiVersion: 'v1', kind: 'Service', namespace, name: 'checkout' };
    const { spec } = (await hand.get(ref, { signal })) as unknown as { spec: { selector: Record<string, string> } };
    return spec.selector['color'];
  };
  const replicasOf = async (colour: string): Promise<number> => {
    const ref = { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name: `checkout-${colour}` };
    const { spec } = (await hand.get(ref, { signal })) as unknown as { spec: { replicas: number } };
    return spec.replicas;
  };
  const managersOf = async (apiVersion: string, kind: string, name: string): Promise<string[]> => {
    const { metadata } = await hand.get({ apiVersion, kind, namespace, name }, { signal });
    return ((metadata['managedFields'] ?? []) as { manager: string }[]).map(({ manager }) => manager);
  };

  /** Up on the idle colour, switched to, looked at, promoted, and the old colour laid down. */
  function promotion({ counter, target }: Worker, release: Release): ReturnType<typeof requestsOfEach> {
    const shift = { previousWeight: 0, weight: 100, match: [] };
    const promote = { release: `r${release.epoch}`, smokeTest: null };
    return requestsOfEach(counter, [
      ['observe', () => target.observe({ version: release.version, signal })],
      ['deploy', () => target.deploy(write(release, 1))],
      ['switch', () => target.setWeight({ ...write(release, 2), ...shift })],
      ['look', () => target.reassert({ ...write(release, 3), weight: 100, match: [] })],
      ['promote', () => target.promote({ ...write(release, 4), ...promote })],
      ['lay down', () => target.removeCanary(write(release, 5))],
    ]);
  }

  it('takes fewer than 40 requests from the look to the idle colour without pods, and fewer the next time', async () => {
    const one = await worker();
    const first = await promotion(one, { version: V2, epoch: 1 });
    const overtakenFirst = overtakenIn(one.counter);
    const afterFirst = [await selected(), await replicasOf('blue'), await replicasOf('green')];
    const second = await promotion(one, { version: V3, epoch: 2 });
    const overtakenSecond = overtakenIn(one.counter) - overtakenFirst;

    for (const [took, overtaken] of [[first, overtakenFirst] as const, [second, overtakenSecond] as const]) {
      expect(took['switch']).toEqual(SWITCH);
      expect(took['look']).toEqual({});
      expect(sumOf(took) - 2 * overtaken).toBeLessThan(40);
    }
    // Two Deployments, the Service and its two previews are watched once, by the first release.
    expect(sumOf(first, 'watch')).toBe(5);
    expect([sumOf(second, 'list services'), sumOf(second, 'watch')]).toEqual([0, 0]);
    // A write that one of the Deployment controller has overtaken reads anew before it is repeated. One of them notes the
    // template that the server has answered.
    const overtaken = sumOf(second, 'patch deployments.apps') - 6;
    expect(sumOf(second, 'list deployments.apps')).toBeLessThanOrEqual(overtaken);
    expect(afterFirst).toEqual(['green', 0, 2]);
    expect([await selected(), await replicasOf('blue'), await replicasOf('green')]).toEqual(['blue', 2, 0]);
    for (const name of ['checkout', 'checkout-blue', 'checkout-green']) {
      expect(await managersOf('v1', 'Service', name)).not.toContain('sluice');
    }
    for (const name of ['checkout-blue', 'checkout-green']) {
      expect(await managersOf('apps/v1', 'Deployment', name)).not.toContain('sluice');
    }
  });

  it('goes back by the first of two requests after the switch', async () => {
    const { counter, target } = await worker();
    const release = { version: V2, epoch: 1 };
    const took = await requestsOfEach(counter, [
      ['observe', () => target.observe({ version: V2, signal })],
      ['deploy', () => target.deploy(write(release, 1))],
      ['switch', () => target.setWeight({ ...write(release, 2), weight: 100, previousWeight: 0, match: [] })],
      ['look', () => target.reassert({ ...write(release, 3), weight: 100, match: [] })],
      ['abort', () => target.setWeight({ ...write(release, 4), weight: 0, previousWeight: 100, match: [] })],
      ['lay down', () => target.removeCanary(write(release, 5))],
    ]);

    expect(took['switch']).toEqual(SWITCH);
    expect(took['look']).toEqual({});
    // The first of the two; the second is the fence of the pods that it goes back to.
    expect(took['abort']).toEqual({ ...SWITCHED, 'patch deployments.apps': 1 });
    expect(sumOf(took) - 2 * overtakenIn(counter)).toBeLessThan(40);
    expect([await selected(), await replicasOf('blue'), await replicasOf('green')]).toEqual(['blue', 2, 0]);
  });

  it('with a splitter before the switch: three weights with a look each, and an abort of two requests', async () => {
    const { counter, target } = await worker({ kind: 'nginx', ingresses: ['checkout'] });
    const release = { version: V2, epoch: 1 };
    const shift = (step: number, weight: number, previousWeight: number) => () =>
      target.setWeight({ ...write(release, step), weight, previousWeight, match: [] });
    const look = (step: number, weight: number) => () =>
      target.reassert({ ...write(release, step), weight, match: [] });
    const took = await requestsOfEach(counter, [
      ['observe', () => target.observe({ version: V2, signal })],
      ['deploy', () => target.deploy(write(release, 1))],
      ['first weight', shift(2, 5, 0)],
      ['first look', look(3, 5)],
      ['second weight', shift(4, 25, 5)],
      ['second look', look(5, 25)],
      ['third weight', shift(6, 50, 25)],
      ['third look', look(7, 50)],
      ['abort', shift(8, 0, 50)],
      ['lay down', () => target.removeCanary(write(release, 9))],
    ]);

    const written = { 'patch services': 1, 'patch ingresses.networking.k8s.io': 1 };
    for (const step of ['first look', 'second look', 'third look']) expect(took[step]).toEqual({});
    for (const step of ['second weight', 'third weight']) {
      expect(took[step]).toEqual({ ...written, 'get deployments.apps': 1 });
    }
    expect(took['abort']).toEqual(written);
    expect([await selected(), await replicasOf('blue'), await replicasOf('green')]).toEqual(['blue', 2, 0]);
  });
});

interface Worker {
  readonly cluster: Cluster;
  readonly counter: RequestCounter;
  readonly target: Target;
}
