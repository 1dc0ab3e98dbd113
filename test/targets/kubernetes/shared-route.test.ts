import { createCanaryTarget } from '../../../src/targets/kubernetes/canary/canary-target';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { rollBackDirectly } from '../../../src/targets/kubernetes/direct-roll-back';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import type { TrafficPlan } from '../../../src/spec/plan-types';
import type { Target, TargetWrite } from '../../../src/targets/target';
import { describeWithApiServer, installDefinitions } from './api-server';
import { DeploymentController } from './deployment-controller';
import { GatewayController } from './gateway-controller';
import { targetPlan } from './target-plans';
import { failureOf } from '../failure-of';
import { namespaceObject, shopDeployment, shopService } from './shop-objects';

const V1 = 'registry.example/shop:v1';
const V2 = 'registry.example/shop:v2';
const signal = AbortSignal.timeout(10 * 60_000);

/** Of two releases; the one of cart began earlier unless it is said otherwise. */
const RELEASES = {
  cart: { release: 'cart-20261127-100000-00aa', epoch: 1 },
  checkout: { release: 'checkout-20261127-100001-00bb', epoch: 2 },
} as const;
type Name = keyof typeof RELEASES;

function write(name: Name, step: number, epoch: number = RELEASES[name].epoch): TargetWrite & { timeoutMs: number } {
  const fence = { release: RELEASES[name].release, epoch, step, attempt: 1 };
  return { version: V2, artifact: V2, fence, signal, timeoutMs: 20_000 };
}

function shift(name: Name, step: number, weight: number, epoch?: number): Parameters<Target['setWeight']>[0] {
  return { ...write(name, step, epoch), weight, previousWeight: weight === 0 ? 50 : 0, match: [] };
}

const ROUTE: KubernetesObject = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name: 'web' },
  spec: {
    parentRefs: [{ name: 'public' }],
    rules: ['cart', 'checkout'].map((name) => ({
      matches: [{ path: { type: 'PathPrefix', value: `/${name}` } }],
      backendRefs: [{ group: '', kind: 'Service', name, port: 80, weight: 1 }],
    })),
  },
};

const BY_ROUTE: TrafficPlan = { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'web' }] };

const MESH: KubernetesObject = {
  apiVersion: 'networking.istio.io/v1',
  kind: 'VirtualService',
  metadata: { name: 'web' },
  spec: {
    hosts: ['shop'],
    http: ['cart', 'checkout'].map((name) => ({
      match: [{ uri: { prefix: `/${name}` } }],
      route: [{ destination: { host: name } }],
    })),
  },
};

const INGRESS: KubernetesObject = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'Ingress',
  metadata: { name: 'web' },
  spec: {
    ingressClassName: 'nginx',
    rules: [
      {
        host: 'shop.example',
        http: {
          paths: ['cart', 'checkout'].map((name) => ({
            path: `/${name}`,
            pathType: 'Prefix',
            backend: { service: { name, port: { number: 80 } } },
          })),
        },
      },
    ],
  },
};

interface Shared {
  readonly traffic: TrafficPlan;
  readonly object: KubernetesObject;
  /** Who carries the hold while cart is at 50 %. */
  readonly holder: string;
}

const SHARED: Readonly<Record<string, Shared>> = {
  HTTPRoute: { traffic: BY_ROUTE, object: ROUTE, holder: 'web' },
  VirtualService: { traffic: { kind: 'istio', virtualService: 'web' }, object: MESH, holder: 'web' },
  Ingress: { traffic: { kind: 'nginx', ingresses: ['web'] }, object: INGRESS, holder: 'web-canary' },
};

describeWithApiServer('two services by one object that splits traffic', (server) => {
  let cluster: Cluster;
  let namespace: string;
  let controllers: readonly { stop(): Promise<void> }[];
  let count = 0;

  beforeAll(async () => {
    cluster = server().connect();
    await installDefinitions(cluster, ['httproutes', 'istio.io']);
  }, 300_000);

  beforeEach(async () => {
    namespace = `shared-${(count += 1)}`;
    await cluster.create(namespaceObject(namespace), { signal });
    controllers = [
      new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace),
      new GatewayController(server().connect({ fieldManager: 'gateway-controller' }), namespace),
    ];
    for (const name of ['cart', 'checkout']) for (const object of shop(name)) await make(object);
  });

  afterEach(() => Promise.all(controllers.map((controller) => controller.stop())));
  afterAll(() => cluster.close());

  const make = (object: KubernetesObject): Promise<KubernetesObject> =>
    cluster.create({ ...object, metadata: { ...object.metadata, namespace } }, { signal });

  function shop(name: string): KubernetesObject[] {
    return [shopDeployment({ namespace, name }, { image: V1, replicas: 2 }), shopService({ namespace, name })];
  }

  const targetOf = (name: Name, traffic: TrafficPlan): Target =>
    createCanaryTarget(targetPlan({ namespace, serviceName: name, deployment: name, service: name, traffic }), {
      cluster,
      resolve: (image) => Promise.resolve(image),
    });
  const find = (apiVersion: string, kind: string, name: string): Promise<KubernetesObject | null> =>
    cluster.find({ apiVersion, kind, namespace, name }, { signal });
  const leftOf = async (name: Name): Promise<(KubernetesObject | null)[]> => [
    await find('apps/v1', 'Deployment', `${name}-canary`),
    await find('v1', 'Service', `${name}-canary`),
  ];

  describe.each(Object.entries(SHARED))('%s', (_kind, { traffic, object, holder }) => {
    const now = async (name = holder): Promise<unknown> => {
      const live = await find(object.apiVersion, object.kind, name);
      return live === null ? null : { spec: live['spec'], annotations: live.metadata.annotations };
    };

    it('the second service is refused before it changes anything, and told what to do', async () => {
      await make(object);
      const [cart, checkout] = [targetOf('cart', traffic), targetOf('checkout', traffic)];
      await cart.deploy(write('cart', 1));
      await cart.setWeight(shift('cart', 2, 50));

      const failure = await failureOf(checkout.observe({ version: V2, signal }));

      expect(failure.kind).toBe('invalidTarget');
      expect(failure.message).toMatch(
        /is held by release cart-20261127-100000-00aa of Service cart, .* wait until .* `sluice rollback shared-\d+\/cart --direct`, or `sluice cleanup`/,
      );
    });

    it.each([
      ['later', 2],
      ['earlier', 0],
    ])(
      'one that began %s and came in between is refused at its first write, and is taken back beside the other',
      async (_when, epoch) => {
        const made = await make(object);
        const [cart, checkout] = [targetOf('cart', traffic), targetOf('checkout', traffic)];
        await checkout.observe({ version: V2, signal });
        await cart.deploy(write('cart', 1));
        await cart.setWeight(shift('cart', 2, 50));
        const before = await now();

        const refused = await failureOf(
          checkout.deploy(write('checkout', 1, epoch)).then(() => checkout.setWeight(shift('checkout', 2, 50, epoch))),
        );
        await checkout.setWeight(shift('checkout', 3, 0, epoch));
        await checkout.removeCanary(write('checkout', 4, epoch));

        expect(refused.message).toMatch(/is held by release cart-\S+ of Service cart/);
        expect(refused.kind).toBe('invalidTarget');
        expect(await now()).toEqual(before);
        expect(await leftOf('checkout')).toEqual([null, null]);
        expect((await cart.reassert(shift('cart', 3, 50))).foreignEdits).toEqual([]);
        await cart.setWeight(shift('cart', 4, 0));
        await cart.removeCanary(write('cart', 5));
        expect(await leftOf('cart')).toEqual([null, null]);
        expect((await find(object.apiVersion, object.kind, 'web'))?.['spec']).toEqual(made['spec']);
      },
    );

    it('what an ended release has left is no hindrance to its own service, and is none to another one once it is taken back', async () => {
      await make(object);
      const [cart, checkout] = [targetOf('cart', traffic), targetOf('checkout', traffic)];
      await cart.deploy(write('cart', 1));
      await cart.setWeight(shift('cart', 2, 50));

      await expect(cart.observe({ version: V2, signal })).resolves.toMatchObject({ weight: 50 });
      await rollBackDirectly(cluster, { namespace, name: 'cart' }, { signal });
      await expect(checkout.observe({ version: V2, signal })).resolves.toMatchObject({ weight: 0 });
    });
  });

  it('a share that was left on an object of another service by then is taken away, and nothing else', async () => {
    await make(ROUTE);
    const [cart, checkout] = [targetOf('cart', BY_ROUTE), targetOf('checkout', BY_ROUTE)];
    await checkout.deploy(write('checkout', 1));
    await checkout.setWeight(shift('checkout', 2, 50));
    const route = { apiVersion: ROUTE.apiVersion, kind: 'HTTPRoute', namespace, name: 'web' };
    // As `kubectl replace` does, by a file that was read before the release.
    const none = { 'sluice.dev/traffic': null, 'sluice.dev/fence': null };
    await cluster.patch(route, { type: 'merge', patch: { metadata: { annotations: none } } }, { signal });
    await cart.deploy(write('cart', 1));
    await cart.setWeight(shift('cart', 2, 50));

    await checkout.setWeight(shift('checkout', 3, 0));
    await checkout.removeCanary(write('checkout', 4));

    expect(await leftOf('checkout')).toEqual([null, null]);
    const { rules } = (await cluster.find(route, { signal }))?.['spec'] as {
      rules: { backendRefs: { name: string; weight: number }[] }[];
    };
    expect(rules.map((rule) => rule.backendRefs.map(({ name, weight }) => `${name} ${weight}`))).toEqual([
      ['cart 50', 'cart-canary 50'],
      ['checkout 1'],
    ]);
    expect((await cart.reassert(shift('cart', 3, 50))).foreignEdits).toEqual([]);
  });
});
