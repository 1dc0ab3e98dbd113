import type { TrafficObject } from '../../src/traffic/cluster-access';
import { gatewayRouteShape } from '../../src/traffic/gateway-route';
import { gatewayStatus } from '../../src/traffic/gateway-status';
import { virtualServiceShape } from '../../src/traffic/istio-virtual-service';
import { withHeld } from '../../src/traffic/held-object';
import { diff } from '../../src/traffic/json-patch';
import { describeMissed, describeReach, splitReplicas } from '../../src/traffic/replica-ratio';
import { traefikServiceShape } from '../../src/traffic/traefik-service';

const services = { namespace: 'shop', stable: 'checkout', canary: 'checkout-canary' };

function route(rules: readonly unknown[], more: Readonly<Record<string, unknown>> = {}): TrafficObject {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'checkout', namespace: 'shop', generation: 3 },
    spec: { parentRefs: [{ name: 'public' }], rules },
    ...more,
  };
}

describe('an HTTPRoute', () => {
  const shape = gatewayRouteShape(services);

  it('keeps everything that is not a weight, and other rules', () => {
    const filters = [{ type: 'RequestHeaderModifier' }];
    const live = route([
      { name: 'main', filters, backendRefs: [{ name: 'checkout', port: 80, filters }] },
      { backendRefs: [{ name: 'assets', port: 80 }] },
    ]);

    const after = shape.write(live, { weight: 5, match: [] }, []);

    expect(after['spec']).toEqual({
      parentRefs: [{ name: 'public' }],
      rules: [
        {
          name: 'main',
          filters,
          backendRefs: [
            { name: 'checkout', port: 80, filters, weight: 95 },
            { name: 'checkout-canary', port: 80, filters, weight: 5 },
          ],
        },
        { backendRefs: [{ name: 'assets', port: 80 }] },
      ],
    });
  });

  it('puts a header beside those that a rule asks for already, in each of its matches', () => {
    const live = route([
      {
        matches: [{ path: { value: '/a' } }, { headers: [{ name: 'X-Beta', value: '1' }] }],
        backendRefs: [{ name: 'checkout' }],
      },
    ]);
    const match = [{ kind: 'header' as const, name: 'x-canary', value: 'true' }];

    const after = shape.write(live, { weight: 0, match }, []);

    expect((after['spec'] as { rules: unknown[] }).rules[0]).toEqual({
      matches: [
        { path: { value: '/a' }, headers: [{ type: 'Exact', name: 'x-canary', value: 'true' }] },
        {
          headers: [
            { name: 'X-Beta', value: '1' },
            { type: 'Exact', name: 'x-canary', value: 'true' },
          ],
        },
      ],
      backendRefs: [{ name: 'checkout-canary', weight: 1 }],
    });
  });

  it('leaves a rule for the canary alone that is the user’s own', () => {
    const preview = {
      matches: [{ headers: [{ name: 'x-preview', value: '1' }] }],
      backendRefs: [{ name: 'checkout-canary' }],
    };
    const live = route([preview, { backendRefs: [{ name: 'checkout' }] }]);
    const match = [{ kind: 'header' as const, name: 'x-canary', value: 'true' }];

    const after = shape.write(shape.write(live, { weight: 5, match }, []), { weight: 0, match: [] }, match);
    const restored = shape.restore(after, shape.origin(live, []), match);

    expect((restored['spec'] as { rules: unknown[] }).rules).toEqual([
      preview,
      { backendRefs: [{ name: 'checkout' }] },
    ]);
  });

  it.each<[string, readonly unknown[], RegExp]>([
    ['no rule for stable', [{ backendRefs: [{ name: 'assets' }] }], /has no rule that sends to Service checkout/],
    [
      'a third backend',
      [{ backendRefs: [{ name: 'checkout' }, { name: 'legacy', weight: 5 }] }],
      /also sends traffic to Service legacy/,
    ],
    [
      'stable twice',
      [{ backendRefs: [{ name: 'checkout' }, { name: 'checkout', port: 2 }] }],
      /names the stable Service more than once/,
    ],
    ['another namespace', [{ backendRefs: [{ name: 'checkout', namespace: 'other' }] }], /has no rule/],
    ['nonsense', [{ backendRefs: 'x' }], /is not made as the Gateway API says/],
  ])('cannot be split: %s', (_name, rules, message) => {
    expect(() => shape.write(route(rules), { weight: 5, match: [] }, [])).toThrow(message);
  });

  it.each<[string, readonly unknown[], number | null]>([
    ['no canary', [{ backendRefs: [{ name: 'checkout' }] }], 0],
    [
      'weights that are not percent',
      [
        {
          backendRefs: [
            { name: 'checkout', weight: 3 },
            { name: 'checkout-canary', weight: 1 },
          ],
        },
      ],
      25,
    ],
    ['neither track', [{ backendRefs: [{ name: 'checkout', weight: 0 }] }], null],
    [
      'rules that differ: the highest',
      [
        {
          backendRefs: [
            { name: 'checkout', weight: 90 },
            { name: 'checkout-canary', weight: 10 },
          ],
        },
        {
          backendRefs: [
            { name: 'checkout', weight: 50 },
            { name: 'checkout-canary', weight: 50 },
          ],
        },
      ],
      50,
    ],
  ])('is read: %s', (_name, rules, weight) => {
    expect(shape.read(route(rules), []).weight).toBe(weight);
  });
});

describe('the status of a route', () => {
  const ok = (observedGeneration: number) => [
    { type: 'Accepted', status: 'True', observedGeneration },
    { type: 'ResolvedRefs', status: 'True', observedGeneration },
  ];
  const parent = (name: string, conditions: readonly unknown[], more = {}) => ({
    parentRef: { group: 'gateway.networking.k8s.io', kind: 'Gateway', name, ...more },
    controllerName: 'c',
    conditions,
  });
  const two = { parentRefs: [{ name: 'public' }, { name: 'private', sectionName: 'https' }], rules: [] };

  it.each<[string, readonly unknown[], string]>([
    ['all parents', [parent('public', ok(3)), parent('private', ok(4), { sectionName: 'https' })], 'confirmed'],
    ['one parent silent', [parent('public', ok(3))], 'pending'],
    ['one parent behind', [parent('public', ok(3)), parent('private', ok(2), { sectionName: 'https' })], 'pending'],
    ['another listener', [parent('public', ok(3)), parent('private', ok(3), { sectionName: 'http' })], 'pending'],
    [
      'a condition missing',
      [parent('public', ok(3)), parent('private', ok(3).slice(0, 1), { sectionName: 'https' })],
      'pending',
    ],
    [
      'a second controller that refuses',
      [
        parent('public', ok(3)),
        parent('private', ok(3), { sectionName: 'https' }),
        parent('public', [
          { type: 'Accepted', status: 'False', reason: 'NotAllowed', observedGeneration: 3 },
          ...ok(3).slice(1),
        ]),
      ],
      'refused',
    ],
    [
      'a part that is dropped',
      [
        parent('public', [...ok(3), { type: 'PartiallyInvalid', status: 'True', observedGeneration: 3 }]),
        parent('private', ok(3), { sectionName: 'https' }),
      ],
      'refused',
    ],
    [
      'a parent that is no longer asked',
      [parent('public', ok(3)), parent('private', ok(3), { sectionName: 'https' }), parent('old', [])],
      'confirmed',
    ],
  ])('%s', (_name, parents, kind) => {
    const asked = { back: false, silentSince: null };
    expect(gatewayStatus(route([], { spec: two, status: { parents } }), asked).kind).toBe(kind);
  });

  const refused = (type: string, observedGeneration: number) => [
    ...ok(observedGeneration).filter((one) => one.type !== type),
    { type, status: 'False', observedGeneration },
  ];
  const one = { parentRefs: [{ name: 'public' }], rules: [] };

  it.each<[string, object, readonly unknown[], number | null, string]>([
    ['another rule that is not resolved', one, [parent('public', refused('ResolvedRefs', 3))], null, 'confirmed'],
    ['what was not taken yet', one, [parent('public', refused('ResolvedRefs', 2))], null, 'pending'],
    ['no Gateway any more', { rules: [] }, [], null, 'confirmed'],
    ['a controller that is waited for', one, [parent('public', ok(3)), parent('public', ok(1))], null, 'pending'],
    ['a controller that was silent all along', one, [parent('public', ok(3)), parent('public', ok(1))], 1, 'confirmed'],
    ['a controller that has taken another change', one, [parent('public', ok(2))], 1, 'pending'],
    ['nobody’s word', one, [], null, 'pending'],
    ['nobody’s word, waited for long enough', one, [], 1, 'confirmed'],
  ])('on the way back: %s', (_name, spec, parents, silentSince, kind) => {
    const status = gatewayStatus(route([], { spec, status: { parents } }), { back: true, silentSince });

    expect(status.kind).toBe(kind);
  });
});

describe('a VirtualService', () => {
  const shape = virtualServiceShape(services);
  const live: TrafficObject = {
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata: { name: 'checkout', namespace: 'shop' },
    spec: {
      http: [
        {
          name: 'all',
          timeout: '5s',
          route: [{ destination: { host: 'checkout.shop.svc.cluster.local', subset: 'v1', port: { number: 80 } } }],
        },
      ],
    },
  };

  it('gets the canary host beside stable, and the match before it', () => {
    const match = [{ kind: 'cookie' as const, name: 'can.ary' }];

    const after = shape.write(live, { weight: 10, match }, []);

    const canary = { host: 'checkout-canary.shop.svc.cluster.local', port: { number: 80 } };
    expect((after['spec'] as { http: unknown }).http).toEqual([
      {
        timeout: '5s',
        match: [{ headers: { cookie: { regex: '^(.*;\\s*)?can\\.ary=always(;.*)?$' } } }],
        route: [{ destination: canary, weight: 100 }],
      },
      {
        name: 'all',
        timeout: '5s',
        route: [
          { destination: { host: 'checkout.shop.svc.cluster.local', subset: 'v1', port: { number: 80 } }, weight: 90 },
          { destination: canary, weight: 10 },
        ],
      },
    ]);
    expect(shape.read(after, match)).toEqual({ weight: 10, match });
  });
});

describe('a TraefikService', () => {
  const weighted = (backends: readonly object[]): TrafficObject => ({
    apiVersion: 'traefik.io/v1alpha1',
    kind: 'TraefikService',
    metadata: { name: 'x' },
    spec: { weighted: { services: backends } },
  });
  const backendsOf = (object: TrafficObject): unknown =>
    (object['spec'] as { weighted: { services: unknown } }).weighted.services;

  it('names a canary of the release only while it has a share: Traefik drops all of it for a Service without pods', () => {
    const shape = traefikServiceShape(services);
    const live = weighted([{ name: 'checkout', port: 80 }]);
    const none = shape.write(live, { weight: 0, match: [] }, []);
    const some = shape.write(none, { weight: 30, match: [] }, []);
    const held = withHeld(
      some,
      { release: 'r', epoch: 1, step: 1, attempt: 1 },
      { document: { weight: 30, match: [] }, origin: shape.origin(live, []) },
    );
    const back = shape.write(held, { weight: 0, match: [] }, []);

    expect(backendsOf(none)).toEqual([{ name: 'checkout', port: 80, weight: 100 }]);
    expect(backendsOf(some)).toEqual([
      { name: 'checkout', port: 80, weight: 70 },
      { name: 'checkout-canary', port: 80, weight: 30 },
    ]);
    expect([shape.read(none, []).weight, shape.read(some, []).weight, shape.read(back, []).weight]).toEqual([0, 30, 0]);
    expect(backendsOf(back)).toEqual([{ name: 'checkout', port: 80, weight: 100 }]);
    expect(backendsOf(shape.restore(held, shape.origin(live, []), []))).toEqual([{ name: 'checkout', port: 80 }]);
  });

  it('keeps a canary that it named before the release', () => {
    const shape = traefikServiceShape(services);
    const own = weighted([
      { name: 'checkout', port: 80, weight: 3 },
      { name: 'checkout-canary', port: 80, weight: 0 },
    ]);

    expect(backendsOf(shape.write(own, { weight: 0, match: [] }, []))).toEqual([
      { name: 'checkout', port: 80, weight: 100 },
      { name: 'checkout-canary', port: 80, weight: 0 },
    ]);
  });

  it('that is not weighted cannot be split', () => {
    const live = {
      apiVersion: 'traefik.io/v1alpha1',
      kind: 'TraefikService',
      metadata: { name: 'x' },
      spec: { mirroring: { name: 'checkout' } },
    };

    expect(() => traefikServiceShape(services).write(live, { weight: 5, match: [] }, [])).toThrow(
      'TraefikService x is of the kind mirroring, and only one of the kind weighted splits traffic; give it spec.weighted with Service checkout.',
    );
  });
});

describe('replicas', () => {
  it.each([
    [0, 4, 0, 4],
    [5, 4, 1, 3],
    [50, 4, 2, 2],
    [99, 4, 3, 1],
    [100, 4, 4, 0],
    [5, 20, 1, 19],
    [33, 10, 3, 7],
  ])('%i %% of %i pods are %i', (weight, total, canary, stable) => {
    expect(splitReplicas(weight, total)).toMatchObject({ canary, stable });
  });

  it('say what they cannot reach', () => {
    expect(splitReplicas(5, 20).note).toBeNull();
    expect(splitReplicas(5, 4).note).toBe(
      '5 % cannot be reached with 4 pods; the canary has 1 of them, 25 % of the connections.',
    );
    expect(describeReach(4)).toContain('with 4 pods only 0, 25, 50, 75, 100 % can be reached');
    expect(describeReach(1)).toContain('with 1 pod only 0, 100 % can be reached');
  });

  it.each([
    ['none', [25, 50, 100], 4, null],
    ['none but for a rounding', [33, 67, 100], 3, null],
    ['one', [5, 25, 100], 4, '5 % comes to 25 %; 20 pods would reach all.'],
    ['several', [5, 10, 60, 100], 4, '5, 10 % come to 25 %; 60 % comes to 50 %; 20 pods would reach all.'],
    ['what is not next to a multiple', [7.5, 100], 7, '7.5 % comes to 14.3 %; 40 pods would reach all.'],
    ['what no thousand pods reach', [0.05, 100], 4, '0.05 % comes to 25 %.'],
  ])('say which weights of a release they cannot reach: %s', (_, weights, total, clauses) => {
    expect(describeMissed(weights, total)).toBe(
      clauses === null ? null : `With ${total} pods not every weight can be reached: ${clauses}`,
    );
  });

  it('say that one pod is all or nothing', () => {
    expect(describeMissed([50, 100], 1)).toBe(
      'With 1 pod not every weight can be reached: 50 % comes to 0 %; 2 pods would reach all.',
    );
  });
});

describe('a patch', () => {
  it('is one operation for one weight', () => {
    const from = { spec: { rules: [{ backends: [{ weight: 95 }, { weight: 5 }] }] } };
    const to = { spec: { rules: [{ backends: [{ weight: 75 }, { weight: 5 }] }] } };

    expect(diff(from, to)).toEqual([{ op: 'replace', path: '/spec/rules/0/backends/0/weight', value: 75 }]);
  });

  it('escapes names, adds, removes, and replaces lists that grow', () => {
    expect(diff({ 'a/b~c': 1, gone: 1, list: [1] }, { 'a/b~c': 2, new: 1, list: [1, 2] })).toEqual([
      { op: 'replace', path: '/a~1b~0c', value: 2 },
      { op: 'remove', path: '/gone' },
      { op: 'replace', path: '/list', value: [1, 2] },
      { op: 'add', path: '/new', value: 1 },
    ]);
  });
});
