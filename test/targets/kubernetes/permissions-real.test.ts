import type { TrafficPlan } from '../../../src/spec/plan-types';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import { checkPermissions, requiredPermissions, rolePermissions } from '../../../src/targets/kubernetes/permissions';
import { smokeTestThroughProxy } from '../../../src/targets/kubernetes/proxied-smoke-test';
import { roleObjects, serviceAccount } from '../../../src/targets/kubernetes/role';
import { createTrafficRouter } from '../../../src/traffic/create-traffic-router';
import type { TrafficSettings } from '../../../src/traffic/create-traffic-router';
import { connectAs, describeWithApiServer, installDefinitions, until } from './api-server';
import { TRAFFIC, targetPlan } from './target-plans';

const namespace = 'shop';
const signal = AbortSignal.timeout(10 * 60_000);
const options = { signal };
const account = { name: 'sluice', namespace };
const ROLE = 'sluice-checkout';

/** The objects that traffic is split by, as they are before a release. */
function objectsFor(traffic: TrafficPlan): KubernetesObject[] {
  const metadata = (name: string) => ({ name, namespace });
  switch (traffic.kind) {
    case 'gatewayAPI':
      return traffic.routes.map(({ kind, name }) => ({
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind,
        metadata: metadata(name),
        spec: { parentRefs: [{ name: 'public' }], rules: [{ backendRefs: [{ name: 'checkout', port: 80 }] }] },
      }));
    case 'nginx':
      return traffic.ingresses.map((name) => ({
        apiVersion: 'networking.k8s.io/v1',
        kind: 'Ingress',
        metadata: metadata(name),
        spec: {
          rules: [
            {
              host: `${name}.example`,
              http: {
                paths: [
                  { path: '/', pathType: 'Prefix', backend: { service: { name: 'checkout', port: { number: 80 } } } },
                ],
              },
            },
          ],
        },
      }));
    case 'traefik':
      return [
        {
          apiVersion: 'traefik.io/v1alpha1',
          kind: 'TraefikService',
          metadata: metadata(traffic.traefikService),
          spec: { weighted: { services: [{ name: 'checkout', port: 80, weight: 1 }] } },
        },
      ];
    case 'istio':
      return [
        {
          apiVersion: 'networking.istio.io/v1',
          kind: 'VirtualService',
          metadata: metadata(traffic.virtualService),
          spec: { hosts: ['checkout'], http: [{ route: [{ destination: { host: 'checkout' }, weight: 100 }] }] },
        },
      ];
    case 'serviceSelector':
      return [
        {
          apiVersion: 'v1',
          kind: 'Service',
          metadata: metadata('checkout'),
          spec: { selector: { track: 'stable' }, ports: [{ port: 80 }] },
        },
      ];
    case 'replicas':
      return ['checkout', 'checkout-canary'].map((name) => ({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: metadata(name),
        spec: {
          replicas: 2,
          selector: { matchLabels: { app: name } },
          template: {
            metadata: { labels: { app: name } },
            spec: { containers: [{ name: 'app', image: 'example.test/app:1' }] },
          },
        },
      }));
  }
}

function settingsOf(traffic: TrafficPlan): TrafficSettings {
  switch (traffic.kind) {
    case 'serviceSelector':
      return { ...traffic, stable: { track: 'stable' }, canary: { track: 'canary' } };
    case 'replicas':
      return { ...traffic, stableDeployment: 'checkout', canaryDeployment: 'checkout-canary', total: 4 };
    default:
      return traffic;
  }
}

describeWithApiServer('permissions, against a real API server', (server) => {
  let admin: Cluster;
  let worker: Cluster;

  beforeAll(async () => {
    admin = server().connect();
    worker = connectAs(server(), `system:serviceaccount:${account.namespace}:${account.name}`);
    await installDefinitions(admin, ['httproutes', 'grpcroutes', 'traefikservices', 'istio.io']);
    await admin.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, options);
    await admin.create(serviceAccount(account), options);
  }, 300_000);

  afterAll(() => {
    admin.close();
    worker.close();
  });

  function rolesFor(plan: ReturnType<typeof targetPlan>): readonly [KubernetesObject, KubernetesObject] {
    return roleObjects(rolePermissions(plan), { name: ROLE, namespace, account });
  }

  const check = (plan: ReturnType<typeof targetPlan>): Promise<readonly string[]> =>
    checkPermissions(worker, { plan, signal });

  /** The server's authorizer follows its own watch, a moment later. */
  async function comesToMiss(plan: ReturnType<typeof targetPlan>, missing: readonly string[]): Promise<void> {
    let last: readonly string[] = [];
    await until(async () => {
      last = await check(plan);
      return last.join() === missing.join();
    }, 15_000).catch(() => expect(last).toEqual(missing));
  }

  it('has nothing without a binding', async () => {
    const plan = targetPlan();

    expect(await check(plan)).toHaveLength(requiredPermissions(plan).length);
  });

  describe.each(
    TRAFFIC.flatMap((traffic) => [
      { title: `canary by ${traffic.kind}`, plan: targetPlan({ traffic, config: 'snapshot' }) },
      { title: `blueGreen by ${traffic.kind}`, plan: targetPlan({ traffic, strategy: 'blueGreen', port: 8080 }) },
    ]),
  )('$title', ({ plan }) => {
    const [role, binding] = rolesFor(plan);

    it('is allowed by what rbac prints, and without any one rule the missing permission is named', async () => {
      await admin.apply(binding, { ...options, force: true });
      await admin.apply(role, { ...options, force: true });
      await comesToMiss(plan, []);

      const rules = role['rules'] as readonly { resources: readonly string[]; verbs: readonly string[] }[];
      for (const left of rules) {
        await admin.apply({ ...role, rules: rules.filter((rule) => rule !== left) }, { ...options, force: true });
        const missing = requiredPermissions(plan)
          .filter((permission) => isGivenBy(left, permission))
          .map(
            ({ verb, group, resource, subresource, name }) =>
              `${verb} ${resource}${group === '' ? '' : `.${group}`}${subresource === undefined ? '' : `/${subresource}`}${name === undefined ? '' : ` ${name}`} in namespace shop`,
          );
        expect(missing).not.toEqual([]);
        await comesToMiss(plan, missing);
      }
    });
  });

  it.each([
    ['its only port, which has no name', null, [{ port: 80 }]],
    [
      'the one named http',
      null,
      [
        { name: 'admin', port: 81 },
        { name: 'http', port: 80 },
      ],
    ],
    [
      'the one of the spec',
      81,
      [
        { name: 'admin', port: 81 },
        { name: 'http', port: 80 },
      ],
    ],
  ])('suffices for the smoke test by %s', async (_which, port, ports) => {
    const plan = targetPlan({ port });
    const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'checkout-canary', namespace } };
    const [role, binding] = rolesFor(plan);
    const spec = { selector: { track: 'canary' }, ports };
    for (const object of [binding, role]) await admin.apply(object, { ...options, force: true });
    await admin.delete({ apiVersion: 'v1', kind: 'Service', namespace, name: 'checkout-canary' }, options);
    await admin.create({ ...service, spec }, options);
    await comesToMiss(plan, []);

    const test = {
      path: '/healthz',
      expectStatus: 200,
      expectBody: null,
      attempts: 1,
      intervalMs: 1,
      timeoutMs: 1_000,
    };
    const ask = (by: number | null): Promise<unknown> =>
      smokeTestThroughProxy(worker, {
        ...{ namespace, service: 'checkout-canary', deployment: 'checkout-canary', port: by, version: 'v2' },
        signal: AbortSignal.timeout(1_000),
        test: { kind: 'smokeTest', name: 'smoke test', ...test },
      }).then(
        () => null,
        (error: unknown) => error,
      );

    // There are no pods to answer, and it waits for them; without the right it is refused at once.
    expect(await ask(port)).not.toMatchObject({ kind: 'forbidden' });
    expect(await ask(82)).toMatchObject({ kind: 'forbidden' });
  });

  it.each(TRAFFIC.map((traffic) => [traffic.kind, traffic] as const))(
    'suffices to split traffic by %s',
    async (_kind, traffic) => {
      const plan = targetPlan({ traffic });
      const [role, binding] = rolesFor(plan);
      for (const object of [binding, role, ...objectsFor(traffic)])
        await admin.apply(object, { ...options, force: true });
      await comesToMiss(plan, []);
      const services = { namespace, stable: 'checkout', canary: 'checkout-canary' };
      const router = createTrafficRouter(worker, services, settingsOf(traffic));
      const fence = { release: `by-${traffic.kind}`, epoch: TRAFFIC.indexOf(traffic) + 1, attempt: 1 };

      await router.apply({ document: { weight: 100, match: [] }, fence: { ...fence, step: 1 }, signal });
      await router.verify({ document: { weight: 100, match: [] }, signal });
      await router.apply({ document: { weight: 0, match: [] }, fence: { ...fence, step: 2 }, signal });
      await router.release({ fence: { ...fence, step: 3 }, signal });

      expect((await router.observe(options)).fence).toMatchObject({ release: fence.release, step: 3 });
    },
  );
});

function isGivenBy(
  rule: Readonly<Record<string, unknown>>,
  permission: { verb: string; group: string; resource: string; subresource?: string; name?: string },
): boolean {
  const { apiGroups, resources, resourceNames, verbs } = rule as Readonly<
    Record<string, readonly string[] | undefined>
  >;
  const { verb, group, resource, subresource, name } = permission;
  const kind = subresource === undefined ? resource : `${resource}/${subresource}`;
  const named = resourceNames === undefined ? name === undefined : name !== undefined && resourceNames.includes(name);
  return named && apiGroups?.[0] === group && resources?.[0] === kind && verbs?.includes(verb) === true;
}
