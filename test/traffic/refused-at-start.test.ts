import type { TrafficObject } from '../../src/traffic/cluster-access';
import { createTrafficRouter } from '../../src/traffic/create-traffic-router';
import type { TrafficSettings } from '../../src/traffic/create-traffic-router';
import type { TrafficMatch } from '../../src/traffic/traffic-router';
import { FakeCluster, Refusal } from './fake-cluster';

const services = { namespace: 'shop', stable: 'checkout', canary: 'checkout-canary' };
const signal = new AbortController().signal;
const metadata = { name: 'web', namespace: 'shop' };

/** What is said of objects before anything is changed. */
function refusalOf(settings: TrafficSettings, ...objects: readonly TrafficObject[]): Promise<string | undefined> {
  return refusalOfPlanned([], settings, ...objects);
}

async function refusalOfPlanned(
  planned: readonly TrafficMatch[],
  settings: TrafficSettings,
  ...objects: readonly TrafficObject[]
): Promise<string | undefined> {
  const cluster = new FakeCluster();
  for (const object of objects) cluster.put(object);
  const { refusal } = await createTrafficRouter(cluster, services, settings).observe({ signal, planned });
  expect(cluster.calls.every((call) => call === 'find')).toBe(true);
  return refusal;
}

describe('an HTTPRoute', () => {
  const route = (name: string, ...rules: readonly object[]): TrafficObject => ({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name, namespace: 'shop' },
    spec: { parentRefs: [{ name: 'public' }], rules },
  });
  const by = (...names: readonly string[]): TrafficSettings => ({
    kind: 'gatewayAPI',
    routes: names.map((name) => ({ kind: 'HTTPRoute', name })),
  });
  const good = { backendRefs: [{ name: 'checkout' }] };

  it('that can be split is not refused', async () => {
    expect(await refusalOf(by('web'), route('web', good, { backendRefs: [{ name: 'cart' }] }))).toBeUndefined();
  });

  it.each<[string, object, RegExp]>([
    [
      'a third backend',
      {
        backendRefs: [
          { name: 'checkout', weight: 90 },
          { name: 'cart', weight: 10 },
        ],
      },
      /^HTTPRoute shop\/web also sends traffic to Service cart, /,
    ],
    [
      'stable twice',
      { backendRefs: [{ name: 'checkout' }, { name: 'checkout', port: 81 }] },
      /^HTTPRoute shop\/web names the stable Service more than once/,
    ],
  ])('is refused for %s, be it in a later rule', async (_name, rule, sentence) => {
    expect(await refusalOf(by('web'), route('web', good, rule))).toMatch(sentence);
  });

  it('is refused without a rule for stable, where another one has it', async () => {
    const others = route('other', { backendRefs: [{ name: 'cart' }] });

    expect(await refusalOf(by('web', 'other'), route('web', good), others)).toMatch(
      /^HTTPRoute shop\/other has no rule that sends to Service checkout/,
    );
  });
});

describe('an HTTPRoute, and a header that the release is going to route by', () => {
  const planned: readonly TrafficMatch[] = [{ kind: 'header', name: 'x-canary', value: 'true' }];
  const by: TrafficSettings = { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'web' }] };
  const prefix = (value: string, headers: number) => ({
    path: { type: 'PathPrefix', value },
    headers: Array.from({ length: headers }, (_, index) => ({ name: `x-${index}`, value: 'a' })),
  });
  const route = (rules: number, { matches = 1, headers = 0 } = {}): TrafficObject => ({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata,
    spec: {
      parentRefs: [{ name: 'public' }],
      rules: Array.from({ length: rules }, (_, rule) => ({
        matches: Array.from({ length: matches }, (_each, index) => prefix(`/${rule}/${index}`, headers)),
        backendRefs: [{ name: 'checkout' }],
      })),
    },
  });

  it.each([
    ['8 rules', route(8)],
    ['64 matches', route(1, { matches: 64 })],
    ['15 headers', route(1, { headers: 15 })],
  ])('has room for it beside %s', async (_name, object) => {
    expect(await refusalOfPlanned(planned, by, object)).toBeUndefined();
  });

  it.each<[string, TrafficObject, RegExp]>([
    [
      '9 rules',
      route(9),
      /^HTTPRoute shop\/web has no room for the match steps .* 18 rules, and the Gateway API allows 16; leave out a match step, or move /,
    ],
    ['65 matches', route(5, { matches: 13 }), /makes 130 matches in all, and the Gateway API allows 128; /],
    [
      '16 headers',
      route(1, { headers: 16 }),
      /makes 17 in one match, and the Gateway API allows 16; leave out the match/,
    ],
  ])('has no room for it beside %s', async (_name, object, sentence) => {
    expect(await refusalOfPlanned(planned, by, object)).toMatch(sentence);
    expect(await refusalOf(by, object)).toBeUndefined();
  });
});

describe('the status of an HTTPRoute', () => {
  const route = (parents: readonly object[], spec: object = {}): TrafficObject => ({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { ...metadata, generation: 3 },
    spec: { parentRefs: [{ name: 'public' }], rules: [{ backendRefs: [{ name: 'checkout' }] }], ...spec },
    status: { parents },
  });
  const says = (controllerName: string, observedGeneration: number, resolved = 'True') => ({
    parentRef: { name: 'public' },
    controllerName,
    conditions: [
      { type: 'Accepted', status: 'True', observedGeneration },
      { type: 'ResolvedRefs', status: resolved, reason: 'BackendNotFound', observedGeneration },
    ],
  });
  const by: TrafficSettings = { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'web' }] };
  const named = { rules: [{ backendRefs: [{ name: 'checkout' }, { name: 'checkout-canary', weight: 0 }] }] };

  it.each<[string, TrafficObject]>([
    ['is confirmed', route([says('a/b', 3)])],
    ['is not there yet', route([])],
    ['is of a change before', route([says('a/b', 2, 'False')])],
    ['lacks the canary’s Service, which the release makes', route([says('a/b', 3, 'False')], named)],
  ])('is no reason to refuse where it %s', async (_name, object) => {
    expect(await refusalOf(by, object)).toBeUndefined();
  });

  it.each<[string, TrafficObject, RegExp]>([
    [
      'a route of no Gateway',
      route([], { parentRefs: [] }),
      /^HTTPRoute shop\/web belongs to no Gateway, .* parentRefs/,
    ],
    [
      'a Service that is not there',
      route([says('a/b', 3, 'False')]),
      /^No weight would be confirmed: a\/b says ResolvedRefs is False for HTTPRoute shop\/web .*BackendNotFound/,
    ],
    [
      'a controller that is no more',
      route([says('old/gone', 1), says('a/b', 3)]),
      /^old\/gone has not followed HTTPRoute shop\/web on Gateway shop\/public since generation 1 of 3, .*--subresource=status/,
    ],
  ])('is a reason for %s', async (_name, object, sentence) => {
    expect(await refusalOf(by, object)).toMatch(sentence);
  });

  it('is none while a release holds the route, since that is what it may be about', async () => {
    const cluster = new FakeCluster();
    cluster.put(route([says('a/b', 3)]));
    const router = createTrafficRouter(cluster, services, by);
    const fence = { release: 'r1', epoch: 1, step: 1, attempt: 1 };
    await router.apply({ document: { weight: 0, match: [] }, fence, signal });
    const held = cluster.objects.get('HTTPRoute/web') as TrafficObject;
    cluster.put({ ...held, status: { parents: [says('a/b', 3, 'False')] } });

    expect((await router.observe({ signal })).refusal).toBeUndefined();
  });
});

describe('a VirtualService', () => {
  const virtualService = (spec: object): TrafficObject => ({
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata,
    spec,
  });
  const by: TrafficSettings = { kind: 'istio', virtualService: 'web' };
  const http = [{ route: [{ destination: { host: 'checkout' } }] }];

  it('that can be split is not refused', async () => {
    expect(await refusalOf(by, virtualService({ http }))).toBeUndefined();
  });

  it('is refused for two subsets of the stable host', async () => {
    const route = ['v1', 'v2'].map((subset) => ({ destination: { host: 'checkout', subset }, weight: 50 }));

    expect(await refusalOf(by, virtualService({ http: [{ route }] }))).toMatch(
      /^VirtualService shop\/web names the stable Service more than once/,
    );
  });
});

describe('a VirtualService with rules beside http', () => {
  const by: TrafficSettings = { kind: 'istio', virtualService: 'web' };
  const http = [{ route: [{ destination: { host: 'checkout' } }] }];
  const to = (host: string) => [{ match: [{ port: 443 }], route: [{ destination: { host } }] }];
  const virtualService = (spec: object): TrafficObject => ({
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata,
    spec,
  });

  it('is not refused where they lead elsewhere', async () => {
    expect(await refusalOf(by, virtualService({ http, tls: to('cart'), tcp: to('cart') }))).toBeUndefined();
  });

  it.each(['tls', 'tcp'])('is refused where one leads to stable: %s', async (kind) => {
    const refusal = await refusalOf(by, virtualService({ http, [kind]: to('checkout.shop.svc.cluster.local') }));

    expect(refusal).toMatch(
      new RegExp(`^VirtualService shop/web also leads to host checkout by a ${kind} rule, .*VirtualService of its own`),
    );
  });

  it('is no reason not to go back', async () => {
    const cluster = new FakeCluster();
    cluster.put(virtualService({ http }));
    const router = createTrafficRouter(cluster, services, by);
    const fence = { release: 'r1', epoch: 1, step: 1, attempt: 1 };
    await router.apply({ document: { weight: 50, match: [] }, fence, signal });
    const live = cluster.objects.get('VirtualService/web') as TrafficObject;
    cluster.put({ ...live, spec: { ...(live['spec'] as object), tls: to('checkout') } });

    await router.apply({ document: { weight: 0, match: [] }, fence: { ...fence, step: 2 }, signal });

    expect((await router.observe({ signal })).weight).toBe(0);
  });
});

describe('an Ingress', () => {
  const path = (name: string) => ({ path: '/', backend: { service: { name } } });
  const ingress = (spec: object): TrafficObject => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata,
    spec,
  });
  const to = (...names: readonly string[]) => ({ rules: [{ http: { paths: names.map(path) } }] });
  const by: TrafficSettings = { kind: 'nginx', ingresses: ['web'] };
  const own = (spec: object): TrafficObject => ({
    ...ingress(spec),
    metadata: {
      name: 'web-canary',
      namespace: 'shop',
      annotations: { 'nginx.ingress.kubernetes.io/canary': 'true' },
    },
  });

  it('that can be split is not refused', async () => {
    expect(await refusalOf(by, ingress(to('checkout', 'cart')))).toBeUndefined();
  });

  it('is refused where what fits no rule goes to stable, and not where it goes elsewhere', async () => {
    const withDefault = (name: string) => ingress({ ...to('checkout'), defaultBackend: { service: { name } } });

    expect(await refusalOf(by, withDefault('cart'))).toBeUndefined();
    expect(await refusalOf(by, withDefault('checkout'))).toMatch(
      /^Ingress shop\/web sends what fits none of its rules to Service checkout by its defaultBackend, .* path \/ /,
    );
  });

  it.each<[string, readonly TrafficObject[]]>([
    ['', []],
    [', with a canary Ingress of the user’s own', [own(to('checkout-canary'))]],
  ])('is refused without a path for stable%s', async (_name, more) => {
    expect(await refusalOf(by, ingress(to('cart')), ...more)).toMatch(
      /^Ingress shop\/web has no path that goes to Service checkout/,
    );
  });
});

describe('what the spec names and is not there', () => {
  const KINDS: readonly (readonly [string, TrafficSettings, string, string])[] = [
    [
      'HTTPRoute',
      { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'web' }] },
      'gatewayAPI.httpRoute',
      'the Gateway API',
    ],
    [
      'GRPCRoute',
      { kind: 'gatewayAPI', routes: [{ kind: 'GRPCRoute', name: 'web' }] },
      'gatewayAPI.grpcRoute',
      'the Gateway API',
    ],
    ['TraefikService', { kind: 'traefik', traefikService: 'web' }, 'traefik.traefikService', 'Traefik'],
    ['VirtualService', { kind: 'istio', virtualService: 'web' }, 'istio.virtualService', 'Istio'],
    ['Ingress', { kind: 'nginx', ingresses: ['web'] }, 'nginx.ingress', ''],
  ];

  it.each(KINDS)('is told with where it is named, and with those that are there: %s', async (kind, by, key) => {
    const cluster = new FakeCluster();
    const look = () => createTrafficRouter(cluster, services, by).observe({ signal });
    const named = `${kind} shop/web does not exist: spec.target.kubernetes.traffic.${key} names it, `;
    const advice = 'create it, or correct the name (or metadata.namespace) in the spec.';

    await expect(look()).rejects.toMatchObject({
      kind: 'missing',
      message: `${named}and namespace shop has no ${kind} at all; ${advice}`,
    });
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) {
      cluster.put({ apiVersion: 'x/v1', kind, metadata: { name, namespace: 'shop' } });
    }
    await expect(look()).rejects.toMatchObject({
      message: `${named}and namespace shop has ${kind} a, b, c, d, e and 2 more; ${advice}`,
    });
    cluster.before = (method) => {
      if (method === 'list') throw new Refusal('forbidden');
    };
    await expect(look()).rejects.toMatchObject({ message: `${named}${advice}` });
  });

  it.each(KINDS.slice(0, 4))('may be a kind that the cluster does not know: %s', async (kind, by, key, whose) => {
    const cluster = new FakeCluster();
    cluster.before = () => {
      throw new Refusal('notFound');
    };
    const router = createTrafficRouter(cluster, services, by);
    const back = {
      document: { weight: 0, match: [] },
      fence: { release: 'r1', epoch: 1, step: 1, attempt: 1 },
      signal,
    };

    await expect(router.observe({ signal })).rejects.toMatchObject({
      kind: 'missing',
      message: expect.stringMatching(
        new RegExp(
          `^${kind} shop/web cannot exist: spec\\.target\\.kubernetes\\.traffic\\.${key} names it, and the cluster knows no kind ${kind} of .*; install the definitions \\(CRDs\\) of ${whose} in that version`,
        ),
      ) as string,
    });
    // Whose definitions were taken away meanwhile is not in the way back.
    await expect(router.apply({ ...back, mayBeGone: true })).resolves.toMatchObject({
      gone: [`${kind} shop/web does not exist.`],
    });
  });
});
