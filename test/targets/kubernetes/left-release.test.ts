import type { KubernetesTargetPlan, TrafficPlan } from '../../../src/spec/plan-types';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { rollBackDirectly } from '../../../src/targets/kubernetes/direct-roll-back';
import { createKubernetesTarget } from '../../../src/targets/kubernetes/kubernetes-target';
import type { KubernetesObject, ObjectRef } from '../../../src/targets/kubernetes/objects';
import type { Target, TargetWrite } from '../../../src/targets/target';
import { connectAs, describeWithApiServer, installDefinitions } from './api-server';
import { DeploymentController } from './deployment-controller';
import { GatewayController } from './gateway-controller';
import { nginxIngress } from './shop-objects';
import { targetPlan } from './target-plans';
import { failureOf } from '../failure-of';

const V1 = 'registry.example/shop:v1';
const V2 = 'registry.example/shop:v2';
const RELEASE = 'checkout-20261126-093000-1f2e';
const signal = AbortSignal.timeout(10 * 60_000);

function write(step: number, release = RELEASE): TargetWrite & { timeoutMs: number } {
  const fence = { release, epoch: 1, step, attempt: 2 };
  return { version: V2, artifact: V2, fence, signal, timeoutMs: 20_000 };
}

function shift(step: number, weight: number, release = RELEASE): Parameters<Target['setWeight']>[0] {
  return { ...write(step, release), weight, previousWeight: 0, match: [] };
}

const promotion = { release: RELEASE, smokeTest: null, timeoutMs: 20_000 };

/** Who splits the traffic: by which objects of the user's, and the weight that they can say. */
interface Splitter {
  readonly traffic: TrafficPlan;
  readonly objects: readonly KubernetesObject[];
  readonly weight: number;
}

function route(kind: 'HTTPRoute' | 'GRPCRoute'): KubernetesObject {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind,
    metadata: { name: 'shop' },
    spec: { parentRefs: [{ name: 'public' }], rules: [{ backendRefs: [{ name: 'checkout', port: 80 }] }] },
  };
}

const TRAEFIK: KubernetesObject = {
  apiVersion: 'traefik.io/v1alpha1',
  kind: 'TraefikService',
  metadata: { name: 'split' },
  spec: { weighted: { services: [{ name: 'checkout', port: 80, weight: 1 }] } },
};

const ISTIO: KubernetesObject = {
  apiVersion: 'networking.istio.io/v1',
  kind: 'VirtualService',
  metadata: { name: 'mesh' },
  spec: { hosts: ['checkout'], http: [{ route: [{ destination: { host: 'checkout' }, weight: 100 }] }] },
};

const SPLITTERS: Readonly<Record<string, Splitter>> = {
  'HTTPRoutes and GRPCRoutes': {
    traffic: {
      kind: 'gatewayAPI',
      routes: [
        { kind: 'HTTPRoute', name: 'shop' },
        { kind: 'GRPCRoute', name: 'shop' },
      ],
    },
    objects: [route('HTTPRoute'), route('GRPCRoute')],
    weight: 50,
  },
  Ingresses: {
    traffic: { kind: 'nginx', ingresses: ['shop', 'admin'] },
    objects: [nginxIngress('shop'), nginxIngress('admin')],
    weight: 50,
  },
  'a TraefikService': { traffic: { kind: 'traefik', traefikService: 'split' }, objects: [TRAEFIK], weight: 50 },
  'a VirtualService': { traffic: { kind: 'istio', virtualService: 'mesh' }, objects: [ISTIO], weight: 50 },
  'the Service’s selector': { traffic: { kind: 'serviceSelector' }, objects: [], weight: 100 },
  'the number of pods': { traffic: { kind: 'replicas' }, objects: [], weight: 50 },
};

describeWithApiServer('a release whose new Deployment was deleted by hand, taken back on the cluster', (server) => {
  let cluster: Cluster;
  let namespace: string;
  let controllers: readonly { stop(): Promise<void> }[];
  let count = 0;

  beforeAll(async () => {
    cluster = server().connect();
    await installDefinitions(cluster, ['httproutes', 'grpcroutes', 'traefikservices', 'istio.io']);
  }, 300_000);

  beforeEach(async () => {
    namespace = `left-${(count += 1)}`;
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, { signal });
    controllers = [
      new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace),
      new GatewayController(server().connect({ fieldManager: 'gateway-controller' }), namespace),
    ];
  });

  afterEach(() => Promise.all(controllers.map((controller) => controller.stop())));
  afterAll(() => cluster.close());

  const make = async (objects: readonly KubernetesObject[]): Promise<void> => {
    for (const object of objects) {
      await cluster.create({ ...object, metadata: { ...object.metadata, namespace } }, { signal });
    }
  };
  const refOf = ({ apiVersion, kind }: Pick<KubernetesObject, 'apiVersion' | 'kind'>, name: string): ObjectRef => ({
    apiVersion,
    kind,
    namespace,
    name,
  });
  const DEPLOYMENT = { apiVersion: 'apps/v1', kind: 'Deployment' };
  const SERVICE = { apiVersion: 'v1', kind: 'Service' };
  const find = (of: Pick<KubernetesObject, 'apiVersion' | 'kind'>, name: string): Promise<KubernetesObject | null> =>
    cluster.find(refOf(of, name), { signal });
  const specOf = async (of: Pick<KubernetesObject, 'apiVersion' | 'kind'>, name: string): Promise<unknown> =>
    (await find(of, name))?.['spec'];
  const remove = (name: string): Promise<boolean> => cluster.delete(refOf(DEPLOYMENT, name), { signal });
  const targetOf = (changes: Partial<KubernetesTargetPlan>): Target =>
    createKubernetesTarget(targetPlan({ namespace, container: 'web', ...changes }), {
      cluster,
      resolve: async (image) => image,
    });
  const directly = (through = cluster): ReturnType<typeof rollBackDirectly> =>
    rollBackDirectly(through, { namespace, name: 'checkout' }, { signal });
  /** Everything that says who gets what, and how many pods there are. */
  const routing = async (): Promise<unknown> => {
    const kinds = [DEPLOYMENT, SERVICE, route('HTTPRoute'), route('GRPCRoute'), nginxIngress(''), TRAEFIK, ISTIO];
    const found = await Promise.all(
      kinds.map(({ apiVersion, kind }) => cluster.list({ apiVersion, kind, namespace }, { signal })),
    );
    return found.flat().map(({ kind, metadata, spec }) => ({
      kind,
      name: metadata.name,
      spec,
      held: metadata.annotations?.['sluice.dev/traffic'],
    }));
  };

  describe('a canary', () => {
    beforeEach(() => make([deployment('checkout', { app: 'checkout' }), service({ app: 'checkout' })]));

    it.each(Object.entries(SPLITTERS))('finds what %s still sends to it', async (_, { traffic, objects, weight }) => {
      await make(objects);
      const target = targetOf({ traffic });
      const before = await routing();
      await target.deploy(write(1));
      await target.setWeight(shift(2, weight));
      await remove('checkout-canary');
      const { steps, release, version } = await directly();

      expect(steps[0]?.sentence).toMatch(/ set to 0 %, and is read back before the canary's pods are taken away\.$/);
      expect({ release, version }).toEqual({ release: RELEASE, version: null });
      // Nothing of the release is left, and what it still sends is refused.
      expect(await routing()).toEqual(before);
      expect((await failureOf(target.setWeight(shift(9, weight)))).kind).toBe('fenceLost');
      expect(await find(DEPLOYMENT, 'checkout-canary')).toBeNull();
      expect((await failureOf(directly())).message).toMatch(/so there is nothing to take back/);
    });

    it.each(Object.entries(SPLITTERS))(
      'finds %s where stable and its Service are called otherwise than the release',
      async (_, { traffic, objects, weight }) => {
        await make([
          { ...deployment('till', { app: 'till' }), metadata: { name: 'till-stable' } },
          { ...service({ app: 'till' }), metadata: { name: 'till' } },
          ...objects.map(
            (object) => JSON.parse(JSON.stringify(object).replaceAll('"checkout"', '"till"')) as KubernetesObject,
          ),
        ]);
        const target = targetOf({ traffic, deployment: 'till', service: 'till' });
        const before = await routing();
        await target.deploy(write(1));
        await target.setWeight(shift(2, weight));
        await remove('till-canary');
        await directly();

        expect(await routing()).toEqual(before);
      },
    );

    it('takes stable back, too, where its promotion was half done', async () => {
      await make([TRAEFIK]);
      const target = targetOf({ traffic: { kind: 'traefik', traefikService: 'split' } });
      const before = await routing();
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100));
      await target.promote({ ...write(3), ...promotion });
      await remove('checkout-canary');
      const { steps } = await directly();

      // Nobody serves where the traffic is, so that it waits for no pods.
      expect(steps.map(({ sentence }) => sentence)).toEqual([
        expect.stringMatching(/ set to 0 %, and is read back before the canary's pods are taken away\.$/),
        expect.stringMatching(/runs its version of before again/),
        expect.stringMatching(/checkout-canary is gone/),
      ]);
      expect(await routing()).toEqual(before);
    });

    it('points the Service back to stable from a canary of the user’s own that is gone', async () => {
      const own = { app: 'shop-canary' };
      await make([deployment('checkout-canary', own), { ...service(own), metadata: { name: 'checkout-canary' } }]);
      const target = targetOf({ traffic: { kind: 'serviceSelector' } });
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100));
      const during = await specOf(SERVICE, 'checkout');
      await remove('checkout-canary');
      await directly();

      expect(during).toMatchObject({ selector: own });
      expect(await specOf(SERVICE, 'checkout')).toMatchObject({ selector: { app: 'checkout' } });
      // Its Service is the user's, too.
      expect(await specOf(SERVICE, 'checkout-canary')).toMatchObject({ selector: own });
    });

    it('collects the copies of ConfigMaps that the canary alone had', async () => {
      const settings = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'settings' }, data: { colour: 'red' } };
      const envFrom = [{ configMapRef: { name: 'settings' } }];
      const containers = [{ name: 'web', image: V1, envFrom }];
      const patch = { spec: { template: { spec: { containers } } } };
      await make([settings, TRAEFIK]);
      await cluster.patch(refOf(DEPLOYMENT, 'checkout'), { type: 'merge', patch }, { signal });
      const target = targetOf({ config: 'snapshot', traffic: { kind: 'traefik', traefikService: 'split' } });
      await target.deploy(write(1));
      const configMaps = async (): Promise<string[]> => {
        const found = await cluster.list({ apiVersion: 'v1', kind: 'ConfigMap', namespace }, { signal });
        return found.map(({ metadata }) => metadata.name.replace(/-[0-9a-f]{10}$/, '-copy'));
      };
      const during = await configMaps();
      await remove('checkout-canary');
      await directly();

      expect(during).toEqual(['settings', 'settings-copy']);
      expect(await configMaps()).toEqual(['settings']);
    });

    it('finds a share that no release holds, and takes it for nobody’s where the canary is there', async () => {
      const shared = [
        { name: 'checkout', port: 80, weight: 70 },
        { name: 'checkout-canary', port: 80, weight: 30 },
      ];
      await make([
        { ...TRAEFIK, spec: { weighted: { services: shared } } },
        deployment('checkout-canary', { app: 'other' }),
      ]);
      // A release that was promoted has left its fence on stable.
      const annotations = { 'sluice.dev/fence': JSON.stringify({ release: RELEASE, epoch: 7, step: 9, attempt: 2 }) };
      await cluster.patch(
        refOf(DEPLOYMENT, 'checkout'),
        { type: 'merge', patch: { metadata: { annotations } } },
        { signal },
      );
      const refused = await failureOf(directly());
      await remove('checkout-canary');
      await directly();

      expect(refused.message).toMatch(/nothing to take back/);
      expect(await specOf(TRAEFIK, 'split')).toEqual({
        weighted: { services: [shared[0], { ...shared[1], weight: 0 }] },
      });
    });

    it('leaves a route alone that a release of another service holds', async () => {
      const rules = ['checkout', 'cart'].map((name) => ({ backendRefs: [{ name, port: 80, weight: 1 }] }));
      const routes = route('HTTPRoute');
      await make([
        { ...routes, spec: { ...(routes['spec'] as object), rules } },
        { ...deployment('cart', { app: 'cart' }), metadata: { name: 'cart' } },
        { ...service({ app: 'cart' }), metadata: { name: 'cart' } },
      ]);
      const cart = targetOf({
        serviceName: 'cart',
        deployment: 'cart',
        service: 'cart',
        traffic: {
          kind: 'gatewayAPI',
          routes: [{ kind: 'HTTPRoute', name: 'shop' }],
        },
      });
      await cart.deploy(write(1, 'cart-20261126-093000-1f2e'));
      await cart.setWeight(shift(2, 50, 'cart-20261126-093000-1f2e'));
      const before = await routing();

      expect((await failureOf(directly())).message).toMatch(/nothing to take back/);
      expect(await routing()).toEqual(before);
    });

    it('says what it may not look at, where it finds nothing', async () => {
      const rules = [{ apiGroups: ['apps', '', 'traefik.io'], resources: ['*'], verbs: ['list'] }];
      const role = { apiVersion: 'rbac.authorization.k8s.io/v1', metadata: { name: 'looks' } };
      const subjects = [{ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: 'ada' }];
      const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'looks' };
      await make([
        { ...role, kind: 'Role', rules },
        { ...role, kind: 'RoleBinding', subjects, roleRef },
      ]);
      const ada = connectAs(server(), 'ada');

      try {
        expect((await failureOf(directly(ada))).message).toMatch(
          /\(but your rights do not let you list HTTPRoute, GRPCRoute, Ingress, VirtualService\), so there is nothing/,
        );
      } finally {
        ada.close();
      }
    });
  });

  describe('blue and green', () => {
    const blue = { app: 'checkout', color: 'blue' };

    beforeEach(() => make([deployment('checkout-blue', blue), service(blue)]));

    it.each([
      ['before its promotion', false],
      ['while the old version is kept', true],
    ])('points the Service back to the old colour, %s', async (_, promoted) => {
      const target = targetOf({ strategy: 'blueGreen', traffic: { kind: 'serviceSelector' } });
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100));
      if (promoted) await target.promote({ ...write(3), ...promotion });
      await remove('checkout-green');
      const { steps } = await directly();

      expect(steps.map(({ sentence }) => sentence)).toEqual([
        expect.stringMatching(/is pointed to Deployment checkout-blue/),
        expect.stringMatching(/checkout-green is gone; checkout-blue has all of the traffic\.$/),
      ]);
      expect(await specOf(SERVICE, 'checkout')).toMatchObject({ selector: blue });
      expect((await failureOf(directly())).message).toMatch(/nothing to take back/);
      expect((await failureOf(target.setWeight(shift(9, 100)))).kind).toBe('fenceLost');
    });

    it('takes the share back that a splitter sends to the new colour', async () => {
      await make([TRAEFIK]);
      const target = targetOf({ strategy: 'blueGreen', traffic: { kind: 'traefik', traefikService: 'split' } });
      await target.deploy(write(1));
      await target.setWeight(shift(2, 50));
      await remove('checkout-green');
      await directly();

      expect(await specOf(TRAEFIK, 'split')).toEqual(TRAEFIK['spec']);
      expect(await specOf(SERVICE, 'checkout')).toMatchObject({ selector: blue });
    });

    it('gives the old colour its pods first, where somebody has taken those, too', async () => {
      const target = targetOf({ strategy: 'blueGreen', traffic: { kind: 'serviceSelector' } });
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100));
      await cluster.scale(refOf(DEPLOYMENT, 'checkout-blue'), 0, { signal });
      await remove('checkout-green');
      await directly();

      expect(await specOf(DEPLOYMENT, 'checkout-blue')).toMatchObject({ replicas: 1 });
      expect(await specOf(SERVICE, 'checkout')).toMatchObject({ selector: blue });
    });

    it('leaves the Service where it is while the old colour is what is gone', async () => {
      const target = targetOf({ strategy: 'blueGreen', traffic: { kind: 'serviceSelector' } });
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100));
      await remove('checkout-blue');
      const before = await specOf(SERVICE, 'checkout');
      const patience = AbortSignal.timeout(1_500);

      await expect(rollBackDirectly(cluster, { namespace, name: 'checkout' }, { signal: patience })).rejects.toThrow();
      expect(await specOf(SERVICE, 'checkout')).toEqual(before);
    });
  });
});

function deployment(name: string, labels: Readonly<Record<string, string>>): KubernetesObject {
  const containers = [
    { name: 'web', image: V1 },
    { name: 'proxy', image: 'registry.example/proxy:1' },
  ];
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: { replicas: 4, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } },
  };
}

function service(selector: Readonly<Record<string, string>>): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'checkout' },
    spec: { selector, ports: [{ port: 80, targetPort: 8080 }] },
  };
}
