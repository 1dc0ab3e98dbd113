import type { TrafficObject } from '../../src/traffic/cluster-access';
import { createTrafficRouter } from '../../src/traffic/create-traffic-router';
import type { TrafficSettings } from '../../src/traffic/create-traffic-router';
import type { Fence } from '../../src/traffic/fence';
import type { TrafficDocument } from '../../src/traffic/traffic-router';
import { FakeCluster } from './fake-cluster';

const services = { namespace: 'shop', stable: 'checkout', canary: 'checkout-canary' };
const signal = new AbortController().signal;
const fence = (step: number): Fence => ({ release: 'r1', epoch: 1, step, attempt: 1 });
const at = (weight: number): TrafficDocument => ({ weight, match: [] });

type Shares = Readonly<Record<string, number>>;

/** A kind of object, with what it says as names and weights. */
interface Kind {
  readonly settings: TrafficSettings;
  readonly apiVersion: string;
  readonly kind: string;
  /** `null` for one that leads to none of them any more. */
  spec(shares: Shares | null): object;
  sharesIn(spec: object): readonly (readonly [string, number | undefined])[];
}

interface Named {
  readonly name: string;
  readonly weight?: number;
}
const namedOf = (shares: Shares): Named[] => Object.entries(shares).map(([name, weight]) => ({ name, weight }));

const KINDS: Readonly<Record<string, Kind>> = {
  HTTPRoute: {
    settings: { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'web' }] },
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    spec: (shares) => ({
      parentRefs: [{ name: 'public' }],
      rules: [shares === null ? { filters: [{ type: 'RequestRedirect' }] } : { backendRefs: namedOf(shares) }],
    }),
    sharesIn: (spec) =>
      (spec as { rules: { backendRefs?: Named[] }[] }).rules.flatMap(({ backendRefs = [] }) =>
        backendRefs.map(({ name, weight }) => [name, weight] as const),
      ),
  },
  VirtualService: {
    settings: { kind: 'istio', virtualService: 'web' },
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    spec: (shares) => ({
      http: [
        shares === null
          ? { redirect: { uri: '/sorry' } }
          : { route: Object.entries(shares).map(([host, weight]) => ({ destination: { host }, weight })) },
      ],
    }),
    sharesIn: (spec) =>
      (spec as { http: { route?: { destination: { host: string }; weight?: number }[] }[] }).http.flatMap(
        ({ route = [] }) => route.map(({ destination, weight }) => [destination.host, weight] as const),
      ),
  },
  TraefikService: {
    settings: { kind: 'traefik', traefikService: 'web' },
    apiVersion: 'traefik.io/v1alpha1',
    kind: 'TraefikService',
    spec: (shares) => ({ weighted: { services: namedOf(shares ?? { maintenance: 1 }) } }),
    sharesIn: (spec) =>
      (spec as { weighted: { services: Named[] } }).weighted.services.map(({ name, weight }) => [name, weight]),
  },
};

describe.each(Object.entries(KINDS))('the way back by %s', (_name, kind) => {
  let cluster: FakeCluster;

  const router = () => createTrafficRouter(cluster, services, kind.settings);
  const live = (): TrafficObject => cluster.objects.get(`${kind.kind}/web`) as TrafficObject;
  const shares = () => kind.sharesIn(live()['spec'] as object);

  /** What somebody else makes of the object, its annotations left as they are. */
  const become = (to: Shares | null): void => {
    cluster.put({ ...live(), spec: kind.spec(to) });
  };

  const back = async () => {
    await router().apply({ document: at(0), fence: fence(3), signal });
    const said = shares();
    expect(await router().verify({ document: at(0), signal })).not.toMatchObject({ kind: 'changed' });
    await router().release({ fence: fence(4), signal });
    return said;
  };

  beforeEach(async () => {
    cluster = new FakeCluster();
    const metadata = { name: 'web', namespace: 'shop' };
    cluster.put({ apiVersion: kind.apiVersion, kind: kind.kind, metadata, spec: kind.spec({ checkout: 100 }) });
    await router().apply({ document: at(0), fence: fence(1), signal });
    await router().apply({ document: at(50), fence: fence(2), signal });
  });

  it('gives stable what the canary has beside a third backend, whose share stays', async () => {
    become({ checkout: 50, 'checkout-canary': 45, cart: 5 });

    const said = await back();

    expect(said.filter(([, weight]) => weight !== 0)).toEqual([
      ['checkout', 95],
      ['cart', 5],
    ]);
    expect(shares()).toEqual([
      ['checkout', 95],
      ['cart', 5],
    ]);
  });

  it('is open where nothing leads to stable any more', async () => {
    become(null);
    const before = shares();

    await back();

    expect(shares()).toEqual(before);
  });

  it('leads those to stable who are sent to nobody but the canary', async () => {
    become({ 'checkout-canary': 50, cart: 5 });

    const said = await back();

    expect(said).toEqual([
      ['checkout', 50],
      ['cart', 5],
    ]);
  });

  it('is the only way that is open then', async () => {
    become({ checkout: 50, 'checkout-canary': 45, cart: 5 });

    await expect(router().apply({ document: at(60), fence: fence(3), signal })).rejects.toMatchObject({
      kind: 'invalidRoute',
    });
  });
});

it('the way back by NGINX is open where nothing of the Ingress leads to stable any more', async () => {
  const cluster = new FakeCluster();
  const ingress = (service: string): TrafficObject => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { rules: [{ http: { paths: [{ path: '/', backend: { service: { name: service } } }] } }] },
  });
  cluster.put(ingress('checkout'));
  const router = createTrafficRouter(cluster, services, { kind: 'nginx', ingresses: ['web'] });
  await router.apply({ document: at(50), fence: fence(1), signal });
  cluster.put(ingress('maintenance'));

  await router.apply({ document: at(0), fence: fence(2), signal });
  const verified = await router.verify({ document: at(0), signal });
  await router.release({ fence: fence(3), signal });

  expect(verified.kind).toBe('confirmed');
  expect([...cluster.objects.keys()]).toEqual(['Ingress/web']);
});

describe('the way back by NGINX, beside an Ingress of somebody else by the name of the twin', () => {
  const ingress = (name: string, service: string): TrafficObject => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name, namespace: 'shop' },
    spec: { rules: [{ http: { paths: [{ path: '/', backend: { service: { name: service } } }] } }] },
  });
  const none = { document: at(0), signal };

  it('is open, and leaves that alone', async () => {
    const cluster = new FakeCluster();
    cluster.put(ingress('web', 'checkout'));
    const router = createTrafficRouter(cluster, services, { kind: 'nginx', ingresses: ['web'] });
    await router.apply({ document: at(50), fence: fence(1), signal });
    const stranger = cluster.put(ingress('web-canary', 'cart'));

    await expect(router.apply({ document: at(60), fence: fence(2), signal })).rejects.toMatchObject({
      kind: 'invalidRoute',
    });
    await router.apply({ ...none, fence: fence(3) });
    const verified = await router.verify(none);
    await router.release({ fence: fence(4), signal });

    expect(verified.kind).toBe('confirmed');
    expect(cluster.objects.get('Ingress/web-canary')).toBe(stranger);
  });

  it('takes back its own notes, and no more, from one that was a canary', async () => {
    const cluster = new FakeCluster();
    cluster.put(ingress('web', 'checkout'));
    const own = ingress('web-canary', 'checkout-canary');
    const annotations = { 'nginx.ingress.kubernetes.io/canary': 'true' };
    cluster.put({ ...own, metadata: { ...own.metadata, annotations } });
    const router = createTrafficRouter(cluster, services, { kind: 'nginx', ingresses: ['web'] });
    await router.apply({ document: at(50), fence: fence(1), signal });
    const live = cluster.objects.get('Ingress/web-canary') as TrafficObject;
    const { 'nginx.ingress.kubernetes.io/canary': _canary, ...rest } = live.metadata.annotations ?? {};
    cluster.put({ ...live, metadata: { ...live.metadata, annotations: rest } });

    await router.apply({ ...none, fence: fence(2) });
    await router.release({ fence: fence(3), signal });

    expect(Object.keys(cluster.objects.get('Ingress/web-canary')?.metadata.annotations ?? {}).sort()).toEqual([
      'nginx.ingress.kubernetes.io/canary-weight',
      'sluice.dev/fence',
    ]);
  });
});

it('the way back waits a while for a controller that has said nothing since before the release, and not for good', async () => {
  const cluster = new FakeCluster();
  const says = (controllerName: string, observedGeneration: number) => ({
    parentRef: { name: 'public' },
    controllerName,
    conditions: ['Accepted', 'ResolvedRefs'].map((type) => ({ type, status: 'True', observedGeneration })),
  });
  cluster.put({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'web', namespace: 'shop', generation: 5 },
    spec: { parentRefs: [{ name: 'public' }], rules: [{ backendRefs: [{ name: 'checkout' }] }] },
  });
  const router = createTrafficRouter(cluster, services, {
    kind: 'gatewayAPI',
    routes: [{ kind: 'HTTPRoute', name: 'web' }],
  });
  await router.apply({ document: at(50), fence: fence(1), signal });
  await router.apply({ document: at(0), fence: fence(2), signal });
  const live = cluster.objects.get('HTTPRoute/web') as TrafficObject;
  cluster.put({
    ...live,
    metadata: { ...live.metadata, generation: 7 },
    status: { parents: [says('old/gone', 5), says('x/new', 7)] },
  });

  const { first, last } = await fiveSecondsApart(() => router.verify({ document: at(0), signal }));

  expect([first.kind, last.kind]).toEqual(['pending', 'confirmed']);
});

describe('the way back by a TraefikService that is no weighted one any more', () => {
  const stable = { name: 'checkout', port: 80 };
  const canary = { name: 'checkout-canary', port: 80 };
  const cart = { name: 'cart', percent: 10 };

  it.each<[string, object, object, RegExp]>([
    [
      'mirrors stable to the canary',
      { mirroring: { ...stable, mirrors: [{ ...canary, percent: 20 }, cart] } },
      { mirroring: { ...stable, mirrors: [cart] } },
      /^TraefikService shop\/web is of the kind mirroring, .* give it spec\.weighted with Service checkout\.$/,
    ],
    [
      'mirrors the canary',
      { mirroring: { ...canary, mirrors: [cart] } },
      { mirroring: { ...stable, mirrors: [cart] } },
      /^TraefikService shop\/web is of the kind mirroring/,
    ],
    [
      'leads each client to one of both',
      {
        highestRandomWeight: {
          services: [
            { ...stable, weight: 1 },
            { ...canary, weight: 1 },
          ],
        },
      },
      { highestRandomWeight: { services: [{ ...stable, weight: 100 }] } },
      /^TraefikService shop\/web is of the kind highestRandomWeight/,
    ],
    ['is of no kind', {}, {}, /^TraefikService shop\/web is of no kind/],
  ])('that %s gives stable all', async (_name, spec, after, note) => {
    const cluster = new FakeCluster();
    const live = (): TrafficObject => cluster.objects.get('TraefikService/web') as TrafficObject;
    cluster.put({
      apiVersion: 'traefik.io/v1alpha1',
      kind: 'TraefikService',
      metadata: { name: 'web', namespace: 'shop' },
      spec: { weighted: { services: [stable] } },
    });
    const router = createTrafficRouter(cluster, services, { kind: 'traefik', traefikService: 'web' });
    await router.apply({ document: at(50), fence: fence(1), signal });
    cluster.put({ ...live(), spec });

    const { notes } = await router.apply({ document: at(0), fence: fence(2), signal });
    const verified = await router.verify({ document: at(0), signal });
    const view = await router.observe({ signal });
    await router.release({ fence: fence(3), signal });

    expect(notes).toEqual([expect.stringMatching(note)]);
    expect(verified.kind).toBe('confirmed');
    expect(view.refusal).toMatch(note);
    expect(live()['spec']).toEqual(after);
  });
});

it('the way back by a VirtualService is open where somebody has taken its spec away', async () => {
  const cluster = new FakeCluster();
  const metadata = { name: 'web', namespace: 'shop' };
  const made = { apiVersion: 'networking.istio.io/v1', kind: 'VirtualService', metadata };
  cluster.put({ ...made, spec: { http: [{ route: [{ destination: { host: 'checkout' } }] }] } });
  const router = createTrafficRouter(cluster, services, { kind: 'istio', virtualService: 'web' });
  await router.apply({ document: at(50), fence: fence(1), signal });
  const { spec: _spec, ...bare } = cluster.objects.get('VirtualService/web') as TrafficObject;
  cluster.put(bare);

  await router.apply({ document: at(0), fence: fence(2), signal });

  expect((await router.verify({ document: at(0), signal })).kind).toBe('confirmed');
  await router.release({ fence: fence(3), signal });
});

it.each([
  ['without a status', {}],
  ['with a status of nobody', { status: { parents: [] } }],
])('the way back by an HTTPRoute %s waits a while for a controller, and not for good', async (_name, status) => {
  const cluster = new FakeCluster();
  cluster.put({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { parentRefs: [{ name: 'public' }], rules: [{ backendRefs: [{ name: 'checkout' }] }] },
    ...status,
  });
  const settings = { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'web' }] } as const;
  const router = createTrafficRouter(cluster, services, settings);
  await router.apply({ document: at(50), fence: fence(1), signal });
  await router.apply({ document: at(0), fence: fence(2), signal });

  const { first, last } = await fiveSecondsApart(() => router.verify({ document: at(0), signal }));

  expect(first.kind).toBe('pending');
  expect(last).toEqual({
    kind: 'confirmed',
    evidence: ['no controller says anything about HTTPRoute shop/web on Gateway shop/public'],
  });
});

/** What is answered twice, with a clock that has gone on by 5 s in between. */
async function fiveSecondsApart<Answer>(ask: () => Promise<Answer>): Promise<{ first: Answer; last: Answer }> {
  const clock = jest.spyOn(performance, 'now');
  try {
    clock.mockReturnValue(1_000);
    const first = await ask();
    clock.mockReturnValue(1_000 + 5_000);
    return { first, last: await ask() };
  } finally {
    clock.mockRestore();
  }
}
