import type { Cluster } from '../../src/targets/kubernetes/cluster';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import type { TrafficCluster } from '../../src/traffic/cluster-access';
import { createTrafficRouter } from '../../src/traffic/create-traffic-router';
import { FENCE_ANNOTATION } from '../../src/traffic/fence';
import type { Fence } from '../../src/traffic/fence';
import type { TrafficDocument, TrafficMatch, TrafficRouter } from '../../src/traffic/traffic-router';
import { describeWithApiServer } from '../targets/kubernetes/api-server';

const namespace = 'shop';
const signal = AbortSignal.timeout(10 * 60_000);
const options = { signal };
const services = { namespace, stable: 'checkout', canary: 'checkout-canary' };
const NGINX = 'nginx.ingress.kubernetes.io';

function fence(step: number, more: Partial<Fence> = {}): Fence {
  return { release: 'r1', epoch: 1, step, attempt: 1, ...more };
}

function weight(percent: number, match: readonly TrafficMatch[] = []): TrafficDocument {
  return { weight: percent, match };
}

function ingress(name: string, host: string): KubernetesObject {
  const path = (at: string, service: string) => ({
    path: at,
    pathType: 'Prefix',
    backend: { service: { name: service, port: { number: 80 } } },
  });
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: {
      name,
      namespace,
      labels: { 'app.kubernetes.io/instance': 'argocd-app' },
      annotations: {
        [`${NGINX}/backend-protocol`]: 'HTTP',
        'cert-manager.io/cluster-issuer': 'letsencrypt',
      },
    },
    spec: {
      ingressClassName: 'nginx',
      tls: [{ hosts: [host], secretName: `${name}-tls` }],
      rules: [{ host, http: { paths: [path('/', 'checkout'), path('/static', 'assets')] } }],
    },
  };
}

/** A canary Ingress that the user keeps, at weight 0. */
function ownCanary(name: string, host: string, service = 'checkout-canary'): KubernetesObject {
  const { metadata, ...own } = ingress(`${name}-canary`, host);
  const backend = { service: { name: service, port: { number: 80 } } };
  return {
    ...own,
    metadata: { ...metadata, annotations: { [`${NGINX}/canary`]: 'true', [`${NGINX}/canary-weight`]: '0' } },
    spec: {
      ingressClassName: 'nginx',
      rules: [{ host, http: { paths: [{ path: '/', pathType: 'Prefix', backend }] } }],
    },
  };
}

function ref(name: string) {
  return { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', namespace, name };
}

function deployment(name: string, replicas: number): KubernetesObject {
  const labels = { app: 'checkout', track: name };
  const containers = [{ name: 'app', image: 'example.test/app@sha256:0' }];
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace },
    spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } },
  };
}

describeWithApiServer('canary Ingresses and replicas, against a real API server', (server) => {
  let cluster: Cluster;
  let other: Cluster;

  beforeAll(async () => {
    cluster = server().connect();
    other = server().connect({ fieldManager: 'kubectl' });
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, options);
  });

  afterAll(() => {
    cluster.close();
    other.close();
  });

  describe('several Ingresses', () => {
    const nginx = (through: TrafficCluster = cluster): TrafficRouter =>
      createTrafficRouter(through, services, { kind: 'nginx', ingresses: ['web', 'api'] });
    const match: readonly TrafficMatch[] = [
      { kind: 'header', name: 'X-Canary', value: 'true' },
      { kind: 'cookie', name: 'canary' },
    ];

    beforeEach(async () => {
      for (const name of ['web', 'api', 'web-canary', 'api-canary']) await cluster.delete(ref(name), options);
      await other.apply(ingress('web', 'shop.test'), options);
      await other.apply(ingress('api', 'api.shop.test'), options);
    });

    it('each get a canary twin with the routing', async () => {
      await nginx().apply({ document: weight(5, match), fence: fence(1), signal });

      const canary = await cluster.get(ref('api-canary'), options);
      const { [FENCE_ANNOTATION]: held, ...annotations } = canary.metadata.annotations ?? {};
      expect(JSON.parse(held ?? '')).toEqual(fence(1));
      expect(annotations).toMatchObject({
        [`${NGINX}/canary`]: 'true',
        [`${NGINX}/canary-weight`]: '5',
        [`${NGINX}/canary-by-header`]: 'X-Canary',
        [`${NGINX}/canary-by-header-value`]: 'true',
        [`${NGINX}/canary-by-cookie`]: 'canary',
        [`${NGINX}/backend-protocol`]: 'HTTP',
      });
      expect(annotations).not.toHaveProperty(['cert-manager.io/cluster-issuer']);
      expect(canary.metadata.labels).toEqual({ 'app.kubernetes.io/managed-by': 'sluice' });
      expect(canary['spec']).toEqual({
        ingressClassName: 'nginx',
        tls: [{ hosts: ['api.shop.test'], secretName: 'api-tls' }],
        rules: [
          {
            host: 'api.shop.test',
            http: {
              paths: [
                {
                  path: '/',
                  pathType: 'Prefix',
                  backend: { service: { name: 'checkout-canary', port: { number: 80 } } },
                },
              ],
            },
          },
        ],
      });
      expect(await nginx().observe(options)).toEqual({ weight: 5, match, fence: fence(1), foreignEdits: [] });
      expect((await nginx().verify({ document: weight(5, match), signal })).kind).toBe('confirmed');
    });

    it('with a session affinity let nobody stay on a canary for that', async () => {
      const affinity = { [`${NGINX}/affinity`]: 'cookie', [`${NGINX}/affinity-canary-behavior`]: 'sticky' };
      await other.patch(ref('web'), { type: 'merge', patch: { metadata: { annotations: affinity } } }, options);
      await nginx().apply({ document: weight(5), fence: fence(1), signal });

      const [web, api] = await Promise.all(['web', 'api'].map((name) => cluster.get(ref(`${name}-canary`), options)));
      expect(web?.metadata.annotations).toMatchObject({
        [`${NGINX}/affinity`]: 'cookie',
        [`${NGINX}/affinity-canary-behavior`]: 'legacy',
      });
      expect(api?.metadata.annotations).not.toHaveProperty([`${NGINX}/affinity-canary-behavior`]);
    });

    it('make no twin for nothing', async () => {
      const applied = await nginx().apply({ document: weight(0), fence: fence(1), signal });

      expect(applied.written).toBe(false);
      expect(await cluster.find(ref('web-canary'), options)).toBeNull();
      expect((await nginx().verify({ document: weight(0), signal })).kind).toBe('confirmed');
    });

    it('keep their twins in step with them, and foreign edits are seen', async () => {
      await nginx().apply({ document: weight(5), fence: fence(1), signal });
      await other.patch(
        ref('web-canary'),
        { type: 'merge', patch: { metadata: { annotations: { [`${NGINX}/canary-weight`]: '80' } } } },
        options,
      );
      await other.apply(ingress('api', 'new.shop.test'), options);

      const seen = await nginx().observe(options);
      const applied = await nginx().apply({ document: weight(5), fence: fence(2), signal });

      expect(seen.weight).toBe(80);
      expect(seen.foreignEdits).toEqual([
        'Ingress shop/web-canary was at 80 % instead of 5 % (last written by kubectl).',
        expect.stringContaining('Ingress shop/api-canary was changed at /spec/'),
      ]);
      expect(applied.foreignEdits).toEqual(seen.foreignEdits);
      expect((await cluster.get(ref('api-canary'), options))['spec']).toMatchObject({
        rules: [{ host: 'new.shop.test' }],
      });
    });

    it('lose what the release made, and keep the fence against late writes', async () => {
      await nginx().apply({ document: weight(5), fence: fence(1), signal });

      await nginx().release({ fence: fence(3), signal });
      await nginx().release({ fence: fence(3), signal });
      const late = nginx().apply({ document: weight(50), fence: fence(2), signal });

      await expect(late).rejects.toMatchObject({ kind: 'fenceLost' });
      expect(await cluster.find(ref('web-canary'), options)).toBeNull();
      const after = await cluster.get(ref('web'), options);
      expect(after.metadata.annotations).toHaveProperty([FENCE_ANNOTATION], JSON.stringify(fence(3)));
      expect(JSON.stringify(after.metadata['managedFields'])).not.toContain('"sluice"');
      await expect(other.apply(ingress('web', 'shop.test'), options)).resolves.toBeDefined();
    });

    it('keep a twin that the user made himself, at weight 0', async () => {
      await other.create(ownCanary('web', 'shop.test'), options);
      await nginx().apply({ document: weight(20), fence: fence(1), signal });

      await nginx().release({ fence: fence(2), signal });

      const { metadata } = await cluster.get(ref('web-canary'), options);
      expect(metadata.annotations).toMatchObject({ [`${NGINX}/canary`]: 'true', [`${NGINX}/canary-weight`]: '0' });
      expect(await cluster.find(ref('api-canary'), options)).toBeNull();
    });

    it('refuse a twin of the user’s own that leads elsewhere, and let it go back', async () => {
      const only = createTrafficRouter(cluster, services, { kind: 'nginx', ingresses: ['web'] });
      await other.create(ownCanary('web', 'shop.test'), options);
      const before = await only.observe({ signal });
      await only.apply({ document: weight(20), fence: fence(1), signal });
      const { spec } = ownCanary('web', 'shop.test', 'some-other-service');
      await other.patch(ref('web-canary'), { type: 'merge', patch: { spec } }, options);
      const strayed = await only.observe({ signal, fresh: true });
      const raise = only.apply({ document: weight(50), fence: fence(2), signal });
      await expect(raise).rejects.toMatchObject({ kind: 'invalidRoute' });
      await only.apply({ document: weight(0), fence: fence(3), signal });
      const back = await only.verify({ document: weight(0), signal, fresh: true });
      await only.release({ fence: fence(4), signal });

      const sentence =
        /Ingress shop\/web-canary .* leads to Service some-other-service.*lead to Service checkout-canary/;
      expect(before.refusal).toBeUndefined();
      expect(strayed.refusal).toMatch(sentence);
      expect(strayed.foreignEdits).toEqual([expect.stringMatching(sentence)]);
      expect(back.kind).toBe('confirmed');
    });

    it('refuse a twin of the user’s own that has but some of the paths', async () => {
      const only = createTrafficRouter(cluster, services, { kind: 'nginx', ingresses: ['web'] });
      await other.create(ownCanary('web', 'shop.test'), options);
      const whole = await only.observe({ signal });
      const { spec } = ingress('web', 'more.shop.test') as unknown as { spec: { rules: readonly unknown[] } };
      const { rules } = (await cluster.get(ref('web'), options))['spec'] as { rules: readonly unknown[] };
      const more = { spec: { rules: [...rules, ...spec.rules] } };
      await other.patch(ref('web'), { type: 'merge', patch: more }, options);
      const part = await only.observe({ signal, fresh: true });
      const raise = only.apply({ document: weight(20), fence: fence(1), signal });

      await expect(raise).rejects.toMatchObject({ kind: 'invalidRoute' });
      expect(whole.refusal).toBeUndefined();
      expect(part.refusal).toMatch(
        /Ingress shop\/web-canary .* lacks more\.shop\.test\/ of Ingress shop\/web, .* that lead to Service checkout,/,
      );
    });

    it('that somebody has deleted leave no share and no twin behind, where they may be gone', async () => {
      await other.create(ownCanary('web', 'shop.test'), options);
      await nginx().apply({ document: weight(20), fence: fence(1), signal });
      for (const name of ['web', 'api']) await other.delete(ref(name), options);
      const raise = nginx().apply({ document: weight(50), fence: fence(2), signal });
      await expect(raise).rejects.toMatchObject({ kind: 'missing' });
      const back = { document: weight(0), fence: fence(3), signal, mayBeGone: true };
      const { gone } = await nginx().apply(back);
      const zero = await Promise.all(['web', 'api'].map((name) => cluster.get(ref(`${name}-canary`), options)));
      const { kind } = await nginx().verify(back);
      await nginx().release({ ...back, fence: fence(4) });

      expect(gone).toEqual(['web', 'api'].map((name) => `Ingress shop/${name} does not exist.`));
      expect(zero.map(({ metadata }) => metadata.annotations?.[`${NGINX}/canary-weight`])).toEqual(['0', '0']);
      expect(kind).toBe('confirmed');
      expect(await cluster.find(ref('api-canary'), options)).toBeNull();
      expect(await cluster.find(ref('web-canary'), options)).not.toBeNull();
    });

    it('refuse another Ingress of that name, and a Service that no path goes to', async () => {
      await other.create(ingress('web-canary', 'other.test'), options);
      const taken = nginx().apply({ document: weight(5), fence: fence(1), signal });
      await expect(taken).rejects.toMatchObject({ kind: 'invalidRoute' });
      expect(
        await cluster.find(ref('api-canary'), options).then((canary) => canary?.metadata.annotations),
      ).toMatchObject({
        [`${NGINX}/canary-weight`]: '0',
      });

      const api = { kind: 'nginx', ingresses: ['api'] } as const;
      // Held by a release of the other Service it would be refused for that.
      await createTrafficRouter(cluster, services, api).release({ fence: fence(2), signal });
      const stray = createTrafficRouter(cluster, { ...services, stable: 'nobody' }, api);
      await expect(stray.apply({ document: weight(5), fence: fence(9), signal })).rejects.toMatchObject({
        kind: 'invalidRoute',
      });
    });

    it('a creation that was under way while the release ended gets no traffic, and is taken away', async () => {
      const only = { kind: 'nginx', ingresses: ['web'] } as const;
      const slow: TrafficCluster = {
        fieldManager: cluster.fieldManager,
        find: (at, how) => cluster.find(at, how),
        patch: (at, patch, how) => cluster.patch(at, patch, how),
        delete: (at, how) => cluster.delete(at, how),
        create: async (object, how) => {
          await createTrafficRouter(cluster, services, only).release({ fence: fence(7), signal });
          return cluster.create(object, how);
        },
      };

      const late = createTrafficRouter(slow, services, only).apply({ document: weight(50), fence: fence(2), signal });

      await expect(late).rejects.toMatchObject({ kind: 'fenceLost' });
      expect(await cluster.find(ref('web-canary'), options)).toBeNull();
    });
  });

  describe('replicas', () => {
    const replicas = createSettings();
    const router = (): TrafficRouter => createTrafficRouter(cluster, services, replicas);

    function createSettings() {
      return { kind: 'replicas', stableDeployment: 'checkout', canaryDeployment: 'checkout-canary', total: 4 } as const;
    }

    async function counts(): Promise<unknown[]> {
      const of = (name: string) => cluster.get({ apiVersion: 'apps/v1', kind: 'Deployment', namespace, name }, options);
      const both = [await of('checkout'), await of('checkout-canary')];
      return both.map((one) => (one['spec'] as { replicas: number }).replicas);
    }

    /** What the controllers and the kubelet would do. */
    async function available(name: string): Promise<void> {
      const at = { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name };
      const live = await cluster.get(at, options);
      const { replicas: pods } = live['spec'] as { replicas: number };
      const status = {
        observedGeneration: live.metadata.generation,
        replicas: pods,
        updatedReplicas: pods,
        readyReplicas: pods,
        availableReplicas: pods,
      };
      await other.patch(at, { type: 'merge', patch: { status } }, { signal, subresource: 'status' });
    }

    it('grow the canary, wait for its pods, and only then shrink stable; and the same way back', async () => {
      await other.apply(deployment('checkout', 4), options);
      await other.apply(deployment('checkout-canary', 0), options);
      await available('checkout');

      const first = await router().apply({ document: weight(40), fence: fence(1), signal });
      const waiting = await router().verify({ document: weight(40), signal });
      const grown = await counts();
      await available('checkout-canary');
      await router().apply({ document: weight(40), fence: fence(1), signal });
      await available('checkout');

      expect(first.notes).toEqual([
        '40 % cannot be reached with 4 pods; the canary has 2 of them, 50 % of the connections.',
        'Deployment shop/checkout-canary has 0 of 2 pods available.',
      ]);
      expect(waiting.kind).toBe('pending');
      expect([grown, await counts()]).toEqual([
        [4, 2],
        [2, 2],
      ]);
      expect((await router().verify({ document: weight(40), signal })).kind).toBe('confirmed');

      await router().apply({ document: weight(0), fence: fence(2), signal });
      expect(await counts()).toEqual([4, 2]);
      await available('checkout');
      await router().apply({ document: weight(0), fence: fence(3), signal });
      expect(await counts()).toEqual([4, 0]);
    });

    it('are guarded by the fence, seen when somebody scales, and given back', async () => {
      await other.apply(deployment('checkout', 2), { signal, force: true });
      const seen = await router().observe(options);
      const late = router().apply({ document: weight(100), fence: fence(1), signal });

      expect(seen.foreignEdits).toEqual([
        'Deployment shop/checkout had 2 replicas instead of 4 (last written by kubectl).',
      ]);
      await expect(late).rejects.toMatchObject({ kind: 'fenceLost' });
      await router().apply({ document: weight(0), fence: fence(4), signal });
      await router().release({ fence: fence(5), signal });
      const { metadata } = await cluster.get(
        { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name: 'checkout' },
        options,
      );
      expect(JSON.stringify(metadata['managedFields'])).not.toContain('"sluice"');
    });
  });
});
