import type { TrafficObject } from '../../src/traffic/cluster-access';
import { createTrafficRouter } from '../../src/traffic/create-traffic-router';
import type { TrafficSettings } from '../../src/traffic/create-traffic-router';
import type { Fence } from '../../src/traffic/fence';
import type { TrafficDocument, TrafficMatch } from '../../src/traffic/traffic-router';
import { FakeCluster } from './fake-cluster';

const services = { namespace: 'shop', stable: 'checkout', canary: 'checkout-canary' };
const signal = new AbortController().signal;
const fence = (step: number): Fence => ({ release: 'r1', epoch: 1, step, attempt: 1 });
const header: TrafficMatch = { kind: 'header', name: 'x-canary', value: 'true' };
const at = (weight: number, match: readonly TrafficMatch[] = []): TrafficDocument => ({ weight, match });

interface Kind {
  readonly settings: TrafficSettings;
  readonly apiVersion: string;
  readonly kind: string;
  spec(rules: readonly object[]): object;
  rulesOf(spec: object): readonly object[];
  /** For the canary alone, by the header that the release asks for, too. */
  readonly own: object;
  /** The same as the release writes it. */
  readonly alike: object;
  /** As `own`, by another header. */
  readonly preview: object;
  readonly split: object;
  /** What somebody leaves of a split rule who takes stable out. */
  readonly robbed: object;
  readonly healed: object;
}

const gatewayRule = (name: string, more: object = {}) => ({
  matches: [{ path: { value: '/beta' }, headers: [{ type: 'Exact', name, value: 'true' }] }],
  backendRefs: [{ name: 'checkout-canary', port: 80, ...more }],
});
const istioRule = (name: string, more: object = {}) => ({
  match: [{ uri: { prefix: '/beta' }, headers: { [name]: { exact: 'true' } } }],
  route: [{ destination: { host: 'checkout-canary' }, ...more }],
});

const KINDS: Readonly<Record<string, Kind>> = {
  HTTPRoute: {
    settings: { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'web' }] },
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    spec: (rules) => ({ parentRefs: [{ name: 'public' }], rules }),
    rulesOf: (spec) => (spec as { rules: object[] }).rules,
    own: gatewayRule('x-canary'),
    alike: gatewayRule('x-canary', { weight: 1 }),
    preview: gatewayRule('x-preview'),
    split: { matches: [{ path: { value: '/beta' } }], backendRefs: [{ name: 'checkout', port: 80 }] },
    robbed: {
      backendRefs: [
        { name: 'checkout-canary', weight: 50 },
        { name: 'cart', weight: 50 },
      ],
    },
    healed: {
      backendRefs: [
        { name: 'checkout', weight: 50 },
        { name: 'cart', weight: 50 },
      ],
    },
  },
  VirtualService: {
    settings: { kind: 'istio', virtualService: 'web' },
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    spec: (http) => ({ http }),
    rulesOf: (spec) => (spec as { http: object[] }).http,
    own: istioRule('x-canary'),
    alike: istioRule('x-canary', { weight: 100 }),
    preview: istioRule('x-preview'),
    split: { match: [{ uri: { prefix: '/beta' } }], route: [{ destination: { host: 'checkout' } }] },
    robbed: {
      route: [
        { destination: { host: 'checkout-canary' }, weight: 50 },
        { destination: { host: 'cart' }, weight: 50 },
      ],
    },
    healed: {
      route: [
        { destination: { host: 'checkout' }, weight: 50 },
        { destination: { host: 'cart' }, weight: 50 },
      ],
    },
  },
};

describe.each(Object.entries(KINDS))('rules for the canary in a %s', (_name, kind) => {
  let cluster: FakeCluster;

  beforeEach(() => {
    cluster = new FakeCluster();
  });

  const router = () => createTrafficRouter(cluster, services, kind.settings);
  const live = (): TrafficObject => cluster.objects.get(`${kind.kind}/web`) as TrafficObject;
  const rules = () => kind.rulesOf(live()['spec'] as object);
  const put = (given: readonly object[], metadata: object = {}): void => {
    cluster.put({
      apiVersion: kind.apiVersion,
      kind: kind.kind,
      metadata: { name: 'web', namespace: 'shop', ...metadata },
      spec: kind.spec(given),
    });
  };

  it.each<'own' | 'alike'>(['own', 'alike'])(
    'that the user has made before the release are as before: %s',
    async (name) => {
      put([kind[name], kind.preview, kind.split]);

      await router().apply({ document: at(0, [header]), fence: fence(1), signal });
      await router().apply({ document: at(50, [header]), fence: fence(2), signal });
      const seen = await router().observe({ signal });
      await router().apply({ document: at(0), fence: fence(3), signal });
      await router().release({ fence: fence(4), signal });

      expect(seen).toMatchObject({ weight: 50, match: [header], foreignEdits: [] });
      expect(rules()).toEqual([kind[name], kind.preview, kind.split]);
    },
  );

  it('that the release has made go with it, also where its notes were taken away meanwhile', async () => {
    put([kind.split]);
    await router().apply({ document: at(0, [header]), fence: fence(1), signal });
    put(rules(), { managedFields: [{ manager: 'sluice' }] });

    await router().apply({ document: at(0, [header]), fence: fence(2), signal });
    const made = rules().length;
    await router().apply({ document: at(0), fence: fence(3), signal });

    expect([made, rules().length]).toEqual([2, 1]);
  });

  it('that come during the release stay', async () => {
    put([kind.split]);
    await router().apply({ document: at(50), fence: fence(1), signal });
    cluster.put({ ...live(), spec: kind.spec([kind.preview, ...rules()]) });

    await router().apply({ document: at(0), fence: fence(2), signal });
    await router().release({ fence: fence(3), signal });

    expect(rules()).toEqual([kind.preview, kind.split]);
  });

  it('that have lost stable meanwhile, beside others, lead to it again', async () => {
    put([kind.split]);
    await router().apply({ document: at(50), fence: fence(1), signal });
    cluster.put({ ...live(), spec: kind.spec([...rules(), kind.robbed]) });

    await router().apply({ document: at(0), fence: fence(2), signal });

    expect(rules()[1]).toEqual(kind.healed);
  });
});
