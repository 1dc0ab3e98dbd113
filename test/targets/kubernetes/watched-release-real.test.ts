import { createCanaryTarget } from '../../../src/targets/kubernetes/canary/canary-target';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { readDeployment } from '../../../src/targets/kubernetes/deployment-view';
import { describeRef, refOf } from '../../../src/targets/kubernetes/objects';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import type { RequestCounter } from '../../../src/targets/kubernetes/request-counter';
import { waitUntilReady } from '../../../src/targets/kubernetes/wait-ready';
import type { Target, TargetWrite } from '../../../src/targets/target';
import { describeWithApiServer, until } from './api-server';
import { requestsOf } from './counted-requests';
import { DeploymentController } from './deployment-controller';
import { targetPlan } from './target-plans';
import { overtakenIn, requestsOfEach, sumOf, watchingWorker } from './watching-worker';
import { namespaceObject, shopDeployment, shopIngress, shopService } from './shop-objects';

const V1 = 'registry.example/shop:v1';
const V2 = 'registry.example/shop:v2';
const WEIGHT = 'nginx.ingress.kubernetes.io/canary-weight';
const DEPLOYMENT = { apiVersion: 'apps/v1', kind: 'Deployment' } as const;
const signal = AbortSignal.timeout(10 * 60_000);

function write(step: number): TargetWrite & { timeoutMs: number } {
  const fence = { release: 'r1', epoch: 1, step, attempt: 1 };
  return { version: V2, artifact: V2, fence, signal, timeoutMs: 60_000 };
}

function shift(step: number, weight: number, previousWeight: number): Parameters<Target['setWeight']>[0] {
  return { ...write(step), weight, previousWeight, match: [] };
}

function held(step: number, weight: number): Parameters<Target['reassert']>[0] {
  return { ...write(step), weight, match: [] };
}

function shop(namespace: string, replicas: number): KubernetesObject[] {
  const named = { namespace, name: 'checkout' };
  return [
    namespaceObject(namespace),
    shopDeployment(named, { image: V1, replicas }),
    shopService(named),
    shopIngress(named),
  ];
}

describeWithApiServer('a release whose worker watches, against a real API server', (server) => {
  let hand: Cluster;
  let namespace: string;
  let controller: DeploymentController;
  let count = 0;
  const workers: Cluster[] = [];

  beforeAll(() => {
    hand = server().connect({ fieldManager: 'hand' });
  });

  beforeEach(async () => {
    namespace = `watched-${(count += 1)}`;
    for (const object of shop(namespace, 1)) await hand.create(object, { signal });
    controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
  });

  afterEach(async () => {
    for (const worker of workers.splice(0)) worker.close();
    await controller.stop();
  });

  afterAll(() => hand.close());

  const plan = (): ReturnType<typeof targetPlan> =>
    targetPlan({ namespace, traffic: { kind: 'nginx', ingresses: ['checkout'] } });

  /** A worker whose account has the Role that `sluice rbac` prints, as far as it is not left out. */
  async function worker(without: readonly string[] = []): Promise<Worker> {
    const name = `sluice-${workers.length}`;
    const { cluster, counter } = await watchingWorker(server(), hand, { plan: plan(), name, without });
    workers.push(cluster);
    const target = createCanaryTarget(plan(), { cluster, resolve: (image) => Promise.resolve(image) });
    return { cluster, counter, target };
  }

  /** Three weights with a look each, and an abort. */
  function course({ counter, target }: Worker): Promise<Record<string, Record<string, number>>> {
    return requestsOfEach(counter, [
      ['observe', () => target.observe({ version: V2, signal })],
      ['deploy', () => target.deploy(write(1))],
      ['first weight', () => target.setWeight(shift(2, 5, 0))],
      ['first look', () => target.reassert(held(3, 5))],
      ['second weight', () => target.setWeight(shift(4, 25, 5))],
      ['second look', () => target.reassert(held(5, 25))],
      ['third weight', () => target.setWeight(shift(6, 50, 25))],
      ['third look', () => target.reassert(held(7, 50))],
      ['abort', () => target.setWeight(shift(8, 0, 50))],
      ['remove', () => target.removeCanary(write(9))],
    ]);
  }

  const availableOf = async (name: string): Promise<number> =>
    readDeployment(await hand.get({ ...DEPLOYMENT, namespace, name }, { signal })).availableReplicas;
  const weightNow = async (): Promise<string | undefined> => (await canaryIngress())?.metadata.annotations?.[WEIGHT];
  const canaryIngress = (): Promise<KubernetesObject | null> =>
    hand.find({ apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', namespace, name: 'checkout-canary' }, { signal });

  it('takes fewer than 40 requests with its three weights and an abort, of which the abort is one', async () => {
    const one = await worker();
    const took = await course(one);

    const patched = { 'patch ingresses.networking.k8s.io': 1 };
    // Nobody is sent to pods by what a watch has told alone.
    const raised = { ...patched, 'get deployments.apps': 1 };
    expect(took).toMatchObject({
      'first look': {},
      'second weight': raised,
      'second look': {},
      'third weight': raised,
      'third look': {},
      abort: patched,
    });
    for (const look of ['first look', 'second look', 'third look']) expect(took[look]).toEqual({});
    for (const weight of ['second weight', 'third weight']) expect(took[weight]).toEqual(raised);
    expect(took['abort']).toEqual(patched);
    // Each of six objects is listed and watched once.
    const overtaken = overtakenIn(one.counter);
    expect(sumOf(took, 'watch')).toBe(6);
    expect(sumOf(took, 'list')).toBeLessThanOrEqual(6 + overtaken);
    expect(sumOf(took) - 2 * overtaken).toBeLessThan(40);
    expect(one.counter.openWatches()).toBe(6);
    one.cluster.close();
    expect(one.counter.openWatches()).toBe(0);
  });

  it.each([
    // A list is asked for twice, until a server that is ready says so.
    ['list and watch', ['list', 'watch'], 2],
    ['watch', ['watch'], 1],
  ])('goes on without the right to %s, as a Role of an earlier version leaves it', async (_, without, times) => {
    const one = await worker(without);
    await course(one);

    expect(await canaryIngress()).toBeNull();
    const refused = one.counter.snapshot().filter(({ status }) => status === '403');
    // For each object, and no more.
    expect(refused.reduce((all, each) => all + each.count, 0)).toBe(times * 6);
    expect(one.counter.openWatches()).toBe(0);
  });

  it('two workers take turns: what the one has written is what the other one goes by', async () => {
    const [one, other] = [await worker(), await worker()];
    await one.target.observe({ version: V2, signal });
    await other.target.observe({ version: V2, signal });
    await one.target.deploy(write(1));
    await other.target.setWeight(shift(2, 5, 0));
    await one.target.setWeight(shift(3, 25, 5));
    const looks = [
      await other.target.reassert(held(4, 25)),
      await one.target.reassert(held(4, 25)),
      await other.target.reassert(held(5, 25)),
    ];
    await other.target.setWeight(shift(6, 50, 25));
    await one.target.setWeight(shift(7, 0, 50));
    const taken = await weightNow();
    await other.target.removeCanary(write(8));

    expect(looks.flatMap(({ foreignEdits }) => foreignEdits)).toEqual([]);
    expect(taken).toBe('0');
    expect(await canaryIngress()).toBeNull();
    expect(await hand.find({ ...DEPLOYMENT, namespace, name: 'checkout-canary' }, { signal })).toBeNull();
  });

  it('tells of an edit by the server’s word, and puts it right', async () => {
    const { target } = await worker();
    await target.deploy(write(1));
    await target.setWeight(shift(2, 25, 0));
    await target.reassert(held(3, 25));
    const ref = { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', namespace, name: 'checkout-canary' };
    await hand.patch(ref, { type: 'merge', patch: { metadata: { annotations: { [WEIGHT]: '90' } } } }, { signal });
    let edits: readonly string[] = [];
    await until(async () => (edits = (await target.reassert(held(4, 25))).foreignEdits).length > 0);

    expect(edits).toEqual([expect.stringMatching(/was at 90 % instead of 25 % \(last written by hand\)/)]);
    expect(await weightNow()).toBe('25');
    expect((await target.reassert(held(5, 25))).foreignEdits).toEqual([]);
  });

  describe('whose watch is behind', () => {
    /** A worker that goes on seeing what it has seen before, but for what it asks for or writes. */
    function behind(): Target {
      const seen = new Map<string, KubernetesObject | null>();
      const inner = server().connect();
      workers.push(inner);
      const learn = async <T>(key: string, work: Promise<T>): Promise<T> => {
        try {
          return await work;
        } finally {
          seen.delete(key);
        }
      };
      const cluster: Cluster = {
        ...bound(inner),
        watching: { onChange: () => () => undefined },
        find: async (ref, options) => {
          const key = describeRef(ref);
          const known = seen.get(key);
          if (known !== undefined && options.fresh !== true && options.asked !== true) return known;
          const found = await inner.find(ref, options);
          if (known === undefined) seen.set(key, found);
          return found;
        },
        create: (object, options) => learn(describeRef(refOf(object)), inner.create(object, options)),
        patch: (ref, patch, options) => learn(describeRef(ref), inner.patch(ref, patch, options)),
        delete: (ref, options) => learn(describeRef(ref), inner.delete(ref, options)),
      };
      return createCanaryTarget(plan(), { cluster, resolve: (image) => Promise.resolve(image) });
    }

    it('takes back what it does not see, and leaves nothing of it', async () => {
      const { target } = await worker();
      const late = behind();
      await late.observe({ version: V2, signal });
      await target.deploy(write(1));
      await target.setWeight(shift(2, 25, 0));
      await late.setWeight(shift(3, 0, 25));
      const taken = await weightNow();
      // It has asked for what it wrote to; a second one has not.
      const other = behind();
      await other.observe({ version: V2, signal });
      await target.removeCanary(write(4));
      await target.deploy(write(5));
      await target.setWeight(shift(6, 50, 0));
      await other.removeCanary(write(7));

      expect(taken).toBe('0');
      expect(await canaryIngress()).toBeNull();
      for (const kind of [DEPLOYMENT, { apiVersion: 'v1', kind: 'Service' }]) {
        expect(await hand.find({ ...kind, namespace, name: 'checkout-canary' }, { signal })).toBeNull();
      }
    });

    it('tells of no edit that is none, and refuses nothing for pods that have come', async () => {
      const { target } = await worker();
      controller.hold.add('checkout');
      await until(async () => (await availableOf('checkout')) === 0);
      const late = behind();
      await late.observe({ version: V2, signal });
      controller.hold.delete('checkout');
      await until(async () => (await availableOf('checkout')) === 1);
      await target.deploy(write(1));
      await target.setWeight(shift(2, 5, 0));
      await late.reassert(held(3, 5));
      await target.setWeight(shift(4, 25, 5));
      const { foreignEdits } = await late.reassert(held(5, 25));
      const told = await late.setWeight(shift(6, 0, 25));

      expect(foreignEdits).toEqual([]);
      expect(told).toMatch(/ 0 %/);
      expect(await weightNow()).toBe('0');
    });

    it('refuses what the server refuses', async () => {
      const { target } = await worker();
      await target.deploy(write(1));
      await target.setWeight(shift(2, 25, 0));
      controller.hold.add('checkout');
      const scale = { spec: { replicas: 2 } };
      await hand.patch({ ...DEPLOYMENT, namespace, name: 'checkout' }, { type: 'merge', patch: scale }, { signal });
      await until(async () => (await availableOf('checkout')) === 0);
      const fresh = behind();
      await fresh.observe({ version: V2, signal });

      await expect(fresh.setWeight(shift(3, 0, 25))).rejects.toMatchObject({ kind: 'unreachable' });
      expect(await weightNow()).toBe('25');
    });
  });

  it('waits by what the watch tells, and calls nothing missing without asking', async () => {
    const { cluster, counter } = await worker();
    const at = { namespace, name: 'checkout' };
    const waiting = { needed: 1, complete: false, signal };
    controller.hold.add('checkout');
    await until(async () => (await availableOf('checkout')) === 0);
    const late = await requestsOf(
      counter,
      expect(waitUntilReady(cluster, at, { ...waiting, timeoutMs: 300 })).rejects.toMatchObject({
        kind: 'deployFailed',
      }),
    );
    const woken = await requestsOf(
      counter,
      (async () => {
        const ready = waitUntilReady(cluster, at, { ...waiting, timeoutMs: 60_000 });
        controller.hold.delete('checkout');
        expect((await ready).availableReplicas).toBe(1);
      })(),
    );

    expect(late).toMatchObject({ 'get deployments.apps': 1, 'list deployments.apps': 1, 'watch deployments.apps': 1 });
    expect(Object.keys(woken).filter((key) => key.includes('deployments'))).toEqual([]);
  });

  it('a crash of the API server under its watches costs a list each, and nothing is missed', async () => {
    const { target, counter } = await worker();
    await target.deploy(write(1));
    await target.setWeight(shift(2, 25, 0));
    await server().crash();
    await until(() => Promise.resolve(counter.openWatches() === 0));
    const ref = { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', namespace, name: 'checkout-canary' };
    await hand.patch(ref, { type: 'merge', patch: { metadata: { annotations: { [WEIGHT]: '90' } } } }, { signal });
    const { foreignEdits } = await target.reassert(held(3, 25));
    await until(() => Promise.resolve(counter.openWatches() === 6));
    const took = await requestsOf(counter, target.setWeight(shift(4, 0, 25)));

    expect(foreignEdits).toEqual([expect.stringMatching(/was at 90 % instead of 25 %/)]);
    expect(took).toEqual({ 'patch ingresses.networking.k8s.io': 1 });
    expect(await weightNow()).toBe('0');
  });
});

interface Worker {
  readonly cluster: Cluster;
  readonly counter: RequestCounter;
  readonly target: Target;
}

/** A cluster's methods, which know only the real one. */
function bound(cluster: Cluster): Cluster {
  return {
    fieldManager: cluster.fieldManager,
    defaultNamespace: cluster.defaultNamespace,
    get: cluster.get.bind(cluster),
    find: cluster.find.bind(cluster),
    list: cluster.list.bind(cluster),
    create: cluster.create.bind(cluster),
    apply: cluster.apply.bind(cluster),
    patch: cluster.patch.bind(cluster),
    delete: cluster.delete.bind(cluster),
    scale: cluster.scale.bind(cluster),
    mayI: cluster.mayI.bind(cluster),
    myRules: cluster.myRules.bind(cluster),
    proxyGet: cluster.proxyGet.bind(cluster),
    close: cluster.close.bind(cluster),
  };
}
