import type { Cluster } from '../../src/targets/kubernetes/cluster';
import type { KubernetesObject, ObjectRef } from '../../src/targets/kubernetes/objects';
import { createTrafficRouter } from '../../src/traffic/create-traffic-router';
import type { TrafficSettings } from '../../src/traffic/create-traffic-router';
import { FENCE_ANNOTATION } from '../../src/traffic/fence';
import type { Fence } from '../../src/traffic/fence';
import type { TrafficDocument, TrafficMatch, TrafficRouter } from '../../src/traffic/traffic-router';
import { describeWithApiServer, installDefinitions } from '../targets/kubernetes/api-server';

const namespace = 'shop';
const signal = AbortSignal.timeout(10 * 60_000);
const options = { signal };
const services = { namespace, stable: 'checkout', canary: 'checkout-canary' };
const header: TrafficMatch = { kind: 'header', name: 'x-canary', value: 'true' };

function fence(step: number, more: Partial<Fence> = {}): Fence {
  return { release: 'r1', epoch: 1, step, attempt: 1, ...more };
}

function weight(percent: number, match: readonly TrafficMatch[] = []): TrafficDocument {
  return { weight: percent, match };
}

/** What is tested of every kind of object: how it is made, and how somebody else would turn its weight. */
interface Kind {
  readonly settings: TrafficSettings;
  readonly object: KubernetesObject;
  readonly match: readonly TrafficMatch[];
  /** The document's part that counts, as the server has it. */
  routing(object: KubernetesObject): unknown;
  /** A document of the highest weight below 100 that it can say. */
  readonly part: number;
}

function json(object: KubernetesObject): Readonly<Record<string, never>> {
  return object as unknown as Readonly<Record<string, never>>;
}

function route(kind: 'HTTPRoute' | 'GRPCRoute', name: string): KubernetesObject {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind,
    metadata: { name, namespace },
    spec: {
      parentRefs: [{ name: 'public' }],
      rules: [
        { backendRefs: [{ name: 'checkout', port: 80 }] },
        {
          matches: [
            kind === 'HTTPRoute' ? { path: { type: 'PathPrefix', value: '/static' } } : { method: { service: 'x' } },
          ],
          backendRefs: [{ name: 'assets', port: 80 }],
        },
      ],
    },
  };
}

function backendsOfRules(object: KubernetesObject): unknown {
  const { rules } = json(object)['spec'] as unknown as {
    rules: { backendRefs: { name: string; weight: number }[]; matches?: { headers?: { name: string }[] }[] }[];
  };
  return rules.map((rule) => [
    ...(rule.matches?.flatMap((match) => match.headers ?? []).map((one) => one.name) ?? []),
    ...rule.backendRefs.map((ref) => `${ref.name}=${ref.weight}`),
  ]);
}

const KINDS: Readonly<Record<string, Kind>> = {
  HTTPRoute: {
    settings: { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'http' }] },
    object: route('HTTPRoute', 'http'),
    match: [header],
    routing: backendsOfRules,
    part: 25,
  },
  GRPCRoute: {
    settings: { kind: 'gatewayAPI', routes: [{ kind: 'GRPCRoute', name: 'grpc' }] },
    object: route('GRPCRoute', 'grpc'),
    match: [header],
    routing: backendsOfRules,
    part: 25,
  },
  TraefikService: {
    settings: { kind: 'traefik', traefikService: 'checkout-split' },
    object: {
      apiVersion: 'traefik.io/v1alpha1',
      kind: 'TraefikService',
      metadata: { name: 'checkout-split', namespace },
      spec: { weighted: { services: [{ name: 'checkout', port: 80, weight: 1 }] } },
    },
    match: [],
    routing: (object) => json(object)['spec'],
    part: 25,
  },
  VirtualService: {
    settings: { kind: 'istio', virtualService: 'checkout' },
    object: {
      apiVersion: 'networking.istio.io/v1',
      kind: 'VirtualService',
      metadata: { name: 'checkout', namespace },
      spec: {
        hosts: ['checkout'],
        http: [
          { match: [{ uri: { prefix: '/static' } }], route: [{ destination: { host: 'assets' } }] },
          { route: [{ destination: { host: 'checkout.shop.svc.cluster.local' }, weight: 100 }] },
        ],
      },
    },
    match: [header, { kind: 'cookie', name: 'canary' }],
    routing: (object) => json(object)['spec'],
    part: 25,
  },
  'Service selector': {
    settings: {
      kind: 'serviceSelector',
      stable: { app: 'checkout', color: 'blue' },
      canary: { app: 'checkout', color: 'green' },
    },
    object: {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'checkout', namespace },
      spec: { selector: { app: 'checkout', color: 'blue' }, ports: [{ port: 80 }] },
    },
    match: [],
    routing: (object) => (json(object)['spec'] as unknown as { selector: unknown }).selector,
    part: 100,
  },
};

describeWithApiServer('traffic routers, against a real API server', (server) => {
  let cluster: Cluster;
  let other: Cluster;

  beforeAll(async () => {
    cluster = server().connect();
    other = server().connect({ fieldManager: 'argocd-controller' });
    await installDefinitions(cluster, ['httproutes', 'grpcroutes', 'traefikservices', 'istio.io']);
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, options);
  }, 300_000);

  afterAll(() => {
    cluster.close();
    other.close();
  });

  const refOf = (object: KubernetesObject): ObjectRef => ({ ...object, namespace, name: object.metadata.name });
  const router = (kind: Kind): TrafficRouter => createTrafficRouter(cluster, services, kind.settings);

  describe.each(Object.entries(KINDS))('%s', (_name, kind) => {
    let before: KubernetesObject;
    const ref = refOf(kind.object);

    beforeEach(async () => {
      await cluster.delete(ref, options);
      // As a GitOps tool does it: server-side apply, so that it owns what it applied.
      before = await other.apply(kind.object, options);
    });

    it('reaches the weight, keeps the fence, and says so', async () => {
      const document = weight(kind.part, kind.match);

      const applied = await router(kind).apply({ document, fence: fence(1), signal });
      const view = await router(kind).observe(options);

      expect(applied).toEqual({ written: true, foreignEdits: [], notes: [], gone: [] });
      expect(view).toEqual({ weight: kind.part, match: kind.match, fence: fence(1), foreignEdits: [] });
      expect((await router(kind).verify({ document, signal })).kind).not.toBe('changed');
    });

    it('changes nothing when it is repeated', async () => {
      const write = { document: weight(kind.part, kind.match), fence: fence(1), signal };
      await router(kind).apply(write);
      const first = await cluster.get(ref, options);

      const again = await router(kind).apply(write);

      expect(again.written).toBe(false);
      expect((await cluster.get(ref, options)).metadata.resourceVersion).toBe(first.metadata.resourceVersion);
    });

    it('refuses a stale write, also after the release', async () => {
      const document = weight(kind.part);
      await router(kind).apply({ document, fence: fence(5), signal });
      await router(kind).apply({ document: weight(0), fence: fence(6), signal });

      const late = router(kind).apply({ document, fence: fence(5, { attempt: 2 }), signal });
      const stranger = router(kind).apply({ document, fence: fence(9, { release: 'r2' }), signal });
      await expect(late).rejects.toMatchObject({ kind: 'fenceLost' });
      await expect(stranger).rejects.toMatchObject({ kind: 'fenceLost' });
      await router(kind).release({ fence: fence(7), signal });
      const afterwards = router(kind).apply({ document, fence: fence(6), signal });

      await expect(afterwards).rejects.toMatchObject({ kind: 'fenceLost' });
      expect((await router(kind).observe(options)).weight).toBe(0);
      await router(kind).apply({ document, fence: fence(1, { release: 'r2', epoch: 2 }), signal });
      expect((await router(kind).observe(options)).weight).toBe(kind.part);
    });

    it('sees a foreign edit, says who, and puts it right', async () => {
      const document = weight(kind.part, kind.match);
      await router(kind).apply({ document, fence: fence(1), signal });
      await other.apply(kind.object, { signal, force: true });

      const seen = await router(kind).observe(options);
      const verified = await router(kind).verify({ document, signal });
      const applied = await router(kind).apply({ document, fence: fence(2), signal });

      expect(seen.foreignEdits).toHaveLength(1);
      expect(seen.foreignEdits[0]).toContain('argocd-controller');
      expect(verified.kind).toBe('changed');
      expect(applied.foreignEdits).toEqual(seen.foreignEdits);
      expect(await router(kind).observe(options)).toMatchObject({
        weight: kind.part,
        match: kind.match,
        foreignEdits: [],
      });
    });

    it('gives everything back: the object is as before, and nobody meets an owner', async () => {
      await router(kind).apply({ document: weight(kind.part, kind.match), fence: fence(1), signal });
      await router(kind).apply({ document: weight(0), fence: fence(2), signal });

      await router(kind).release({ fence: fence(3), signal });
      await router(kind).release({ fence: fence(3), signal });

      const after = await cluster.get(ref, options);
      expect(kind.routing(after)).toEqual(kind.routing(before));
      const { managedFields = [] } = after.metadata as { managedFields?: readonly { manager: string }[] };
      expect(managedFields.map((entry) => entry.manager)).not.toContain('sluice');
      expect(after.metadata.annotations).toEqual({ [FENCE_ANNOTATION]: JSON.stringify(fence(3)) });
      // Without force: this is what a GitOps tool would trip over.
      await expect(other.apply(kind.object, options)).resolves.toBeDefined();
    });

    it('says that the object is missing', async () => {
      await cluster.delete(ref, options);

      await expect(router(kind).observe(options)).rejects.toMatchObject({
        kind: 'missing',
        message: expect.stringMatching(
          new RegExp(
            `^${ref.kind} shop/${ref.name} does not exist: spec\\.target\\.kubernetes\\.[.\\w]+ names it, and namespace shop has .*; create it, or correct the name`,
          ),
        ) as string,
      });
    });
  });

  describe('the status of a route', () => {
    const kind = KINDS['HTTPRoute'] as Kind;
    const ref = refOf(kind.object);

    async function report(generation: number, resolved: 'True' | 'False'): Promise<void> {
      const at = { lastTransitionTime: '2026-01-01T00:00:00Z', observedGeneration: generation };
      const conditions = [
        { type: 'Accepted', status: 'True', reason: 'Accepted', message: '', ...at },
        { type: 'ResolvedRefs', status: resolved, reason: 'BackendNotFound', message: 'Service "x" not found', ...at },
      ];
      const parents = [{ parentRef: { name: 'public' }, controllerName: 'sluice.test/gateway', conditions }];
      await other.patch(ref, { type: 'merge', patch: { status: { parents } } }, { signal, subresource: 'status' });
    }

    it('confirms a weight only for the generation that carries it', async () => {
      await cluster.delete(ref, options);
      await other.apply(kind.object, options);
      const document = weight(25);
      const verify = async () => router(kind).verify({ document, signal });
      await router(kind).apply({ document, fence: fence(1), signal });
      const generation = (await cluster.get(ref, options)).metadata.generation ?? 0;

      const silent = await verify();
      await report(generation - 1, 'True');
      const old = await verify();
      await report(generation, 'False');
      const unresolved = await verify();
      await report(generation, 'True');
      const confirmed = await verify();

      expect([silent.kind, old.kind, unresolved.kind, confirmed.kind]).toEqual([
        'pending',
        'pending',
        'refused',
        'confirmed',
      ]);
      expect(unresolved).toMatchObject({
        reasons: [
          'sluice.test/gateway says ResolvedRefs is False for HTTPRoute shop/http on Gateway shop/public: BackendNotFound: Service "x" not found.',
        ],
      });
    });

    it('goes on while somebody else writes the status all the time', async () => {
      await cluster.delete(ref, options);
      await other.apply(kind.object, options);
      let busy = true;
      const noise = (async () => {
        for (let round = 1; busy && round < 500; round += 1) await report(round, 'True');
      })();

      for (let step = 1; step <= 10; step += 1) {
        await router(kind).apply({ document: weight(step * 10), fence: fence(step), signal });
      }
      busy = false;
      await noise;

      expect((await router(kind).observe(options)).weight).toBe(100);
    });
  });
});
