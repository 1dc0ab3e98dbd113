import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { serviceFiles } from '../../src/cli/init/service-files';
import { settingsFrom } from '../../src/cli/init/settings';
import type { Strategy, TrafficKind } from '../../src/cli/init/settings';
import { createBlueGreenTarget } from '../../src/targets/kubernetes/blue-green/blue-green-target';
import { createCanaryTarget } from '../../src/targets/kubernetes/canary/canary-target';
import type { Cluster } from '../../src/targets/kubernetes/cluster';
import type { KubernetesObject, ObjectRef } from '../../src/targets/kubernetes/objects';
import type { Target, TargetWrite } from '../../src/targets/target';
import { createTrafficRouter } from '../../src/traffic/create-traffic-router';
import type { TrafficSettings } from '../../src/traffic/create-traffic-router';
import { FENCE_ANNOTATION } from '../../src/traffic/fence';
import { fencedBlocks } from '../examples/markdown';
import { describeWithApiServer, installDefinitions } from '../targets/kubernetes/api-server';
import { DeploymentController } from '../targets/kubernetes/deployment-controller';
import { targetPlan } from '../targets/kubernetes/target-plans';
import { copyField, copyFieldsOf } from './ignored-fields';

const V1 = 'registry.example/checkout:v1';
const V2 = 'registry.example/checkout:v2';
const V3 = 'registry.example/checkout:v3';
const signal = AbortSignal.timeout(10 * 60_000);

interface DifferenceRule {
  readonly group: string;
  readonly kind: string;
  readonly name?: string;
  readonly jsonPointers?: readonly string[];
  readonly managedFieldsManagers?: readonly string[];
}

interface IgnoreRule {
  readonly paths: readonly string[];
  readonly target: { readonly kind: string; readonly name: string };
}

interface Application {
  readonly kind: 'Application';
  readonly spec: {
    readonly ignoreDifferences: readonly DifferenceRule[];
    readonly syncPolicy: { readonly syncOptions: readonly string[] };
  };
}

interface Kustomization {
  readonly kind: 'Kustomization';
  readonly spec: { readonly ignore: readonly IgnoreRule[] };
}

/** The part of either that is another one for a pair. */
interface PairRules {
  readonly ignoreDifferences?: readonly DifferenceRule[];
  readonly ignore?: readonly IgnoreRule[];
}

const blocks = fencedBlocks(readFileSync(path.join(__dirname, '../../docs/gitops.md'), 'utf8'), 'yaml').map(
  (block) => parse(block) as object,
);

function documented<T>(is: (block: object) => boolean): T {
  const [block, ...more] = blocks.filter(is);
  if (block === undefined || more.length > 0) throw new Error('The page does not have this block once.');
  return block as T;
}

const ofKind = (kind: string) => (block: object) => 'kind' in block && block.kind === kind;
const application = documented<Application>(ofKind('Application'));
const kustomization = documented<Kustomization>(ofKind('Kustomization'));
const pairOfArgo = documented<PairRules>((block) => 'ignoreDifferences' in block);
const pairOfFlux = documented<PairRules>((block) => 'ignore' in block);

/** Who applies what is in Git, and what of it the page's rules let it take from the live object instead. */
interface Tool {
  readonly fieldManager: string;
  /** By the rules for a canary. */
  kept(live: KubernetesObject, git: KubernetesObject): KubernetesObject;
  /** By the rules for a pair. */
  keptOfPair(live: KubernetesObject, git: KubernetesObject): KubernetesObject;
}

function argoKeeps(rules: readonly DifferenceRule[] = []): Tool['kept'] {
  return (live, git) => {
    const group = git.apiVersion.includes('/') ? (git.apiVersion.split('/')[0] ?? '') : '';
    const matches = (pattern: string | undefined, value: string): boolean =>
      pattern === undefined || pattern === '*' || pattern === value;
    return rules
      .filter(
        (rule) => matches(rule.group, group) && matches(rule.kind, git.kind) && matches(rule.name, git.metadata.name),
      )
      .reduce((applied, { jsonPointers = [], managedFieldsManagers = [] }) => {
        const byPath = jsonPointers.reduce((object, pointer) => copyField(live, object, pointer), applied);
        return managedFieldsManagers.reduce((object, manager) => copyFieldsOf(manager, live, object), byPath);
      }, git);
  };
}

function fluxKeeps(rules: readonly IgnoreRule[] = []): Tool['kept'] {
  return (live, git) =>
    rules
      .filter(
        ({ target }) =>
          new RegExp(`^(${target.kind})$`).test(git.kind) && new RegExp(`^(${target.name})$`).test(git.metadata.name),
      )
      .flatMap(({ paths }) => paths)
      .reduce((object, pointer) => copyField(live, object, pointer), git);
}

const TOOLS: Readonly<Record<string, Tool>> = {
  'Argo CD': {
    fieldManager: 'argocd-controller',
    kept: argoKeeps(application.spec.ignoreDifferences),
    keptOfPair: argoKeeps(pairOfArgo.ignoreDifferences),
  },
  Flux: {
    fieldManager: 'kustomize-controller',
    kept: fluxKeeps(kustomization.spec.ignore),
    keptOfPair: fluxKeeps(pairOfFlux.ignore),
  },
};

it("Argo CD's rules are for its syncs, too, and not only for what it shows", () => {
  expect(application.spec.syncPolicy.syncOptions).toEqual(
    expect.arrayContaining(['ServerSideApply=true', 'RespectIgnoreDifferences=true']),
  );
});

/** What splits the traffic, as it lies in Git. */
const ROUTES: Readonly<Record<string, { settings: TrafficSettings; weight: number; object: KubernetesObject }>> = {
  HTTPRoute: {
    settings: { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'checkout' }] },
    weight: 25,
    object: git('gateway.networking.k8s.io/v1', 'HTTPRoute', {
      parentRefs: [{ name: 'public' }],
      rules: [{ backendRefs: [{ name: 'checkout', port: 80 }] }],
    }),
  },
  GRPCRoute: {
    settings: { kind: 'gatewayAPI', routes: [{ kind: 'GRPCRoute', name: 'checkout' }] },
    weight: 25,
    object: git('gateway.networking.k8s.io/v1', 'GRPCRoute', {
      parentRefs: [{ name: 'public' }],
      rules: [{ backendRefs: [{ name: 'checkout', port: 80 }] }],
    }),
  },
  TraefikService: {
    settings: { kind: 'traefik', traefikService: 'checkout' },
    weight: 25,
    object: git('traefik.io/v1alpha1', 'TraefikService', {
      weighted: { services: [{ name: 'checkout', port: 80, weight: 1 }] },
    }),
  },
  VirtualService: {
    settings: { kind: 'istio', virtualService: 'checkout' },
    weight: 25,
    object: git('networking.istio.io/v1', 'VirtualService', {
      hosts: ['checkout'],
      http: [{ route: [{ destination: { host: 'checkout' }, weight: 100 }] }],
    }),
  },
  Service: {
    settings: { kind: 'serviceSelector', stable: { app: 'checkout' }, canary: { app: 'checkout-canary' } },
    weight: 100,
    object: git('v1', 'Service', { selector: { app: 'checkout' }, ports: [{ port: 80 }] }),
  },
  Ingress: {
    settings: { kind: 'nginx', ingresses: ['checkout'] },
    weight: 25,
    object: git('networking.k8s.io/v1', 'Ingress', {
      ingressClassName: 'nginx',
      rules: [
        {
          http: {
            paths: [
              { path: '/', pathType: 'Prefix', backend: { service: { name: 'checkout', port: { number: 80 } } } },
            ],
          },
        },
      ],
    }),
  },
};

function git(apiVersion: string, kind: string, spec: object): KubernetesObject {
  return { apiVersion, kind, metadata: { name: 'checkout' }, spec };
}

/** Of what `sluice init` writes, the objects that a release writes to. */
function initialised(namespace: string, strategy: Strategy, traffic: TrafficKind): readonly KubernetesObject[] {
  const settings = settingsFrom({ image: V1, name: 'checkout', namespace, traffic, strategy }, '.');
  const { objects } = serviceFiles(settings);
  return objects.filter(({ kind }) => ['Deployment', 'Service', 'TraefikService'].includes(kind));
}

function write(step: number, version = V2, epoch = 1): TargetWrite & { timeoutMs: number } {
  const fence = { release: `r${epoch}`, epoch, step, attempt: 2 };
  return { version, artifact: version, fence, signal, timeoutMs: 20_000 };
}

describeWithApiServer('releases beside GitOps, by the rules of docs/gitops.md, against a real API server', (server) => {
  let cluster: Cluster;
  let namespace: string;
  let count = 0;

  beforeAll(async () => {
    cluster = server().connect();
    await installDefinitions(cluster, ['httproutes', 'grpcroutes', 'traefikservices', 'istio.io']);
  }, 300_000);

  beforeEach(async () => {
    namespace = `gitops-${(count += 1)}`;
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, { signal });
  });

  afterAll(() => cluster.close());

  const inNamespace = (object: KubernetesObject): KubernetesObject => ({
    ...object,
    metadata: { ...object.metadata, namespace },
  });
  const startController = (): DeploymentController =>
    new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
  const canaryTarget = (): Target =>
    createCanaryTarget(targetPlan({ namespace, traffic: { kind: 'traefik', traefikService: 'checkout' } }), {
      cluster,
      resolve: (image) => Promise.resolve(image),
    });
  const refOf = ({ apiVersion, kind, metadata }: KubernetesObject): ObjectRef => ({
    apiVersion,
    kind,
    namespace,
    name: metadata.name,
  });
  const live = (object: KubernetesObject): Promise<KubernetesObject> => cluster.get(refOf(object), { signal });
  const deployed = async (name: string): Promise<{ image: string | undefined; replicas: number }> => {
    const ref = { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name };
    const { spec } = (await cluster.get(ref, { signal })) as unknown as {
      spec: { replicas: number; template: { spec: { containers: { image: string }[] } } };
    };
    return { image: spec.template.spec.containers[0]?.image, replicas: spec.replicas };
  };
  const managers = async (object: KubernetesObject): Promise<string[]> =>
    ((await live(object)).metadata['managedFields'] as { manager: string }[] | undefined)?.map(
      (entry) => entry.manager,
    ) ?? [];

  describe.each(Object.entries(TOOLS))('%s', (_tool, tool) => {
    let writer: Cluster;

    beforeAll(() => {
      writer = server().connect({ fieldManager: tool.fieldManager });
    });

    afterAll(() => writer.close());

    /** As the tools do it: with force, and with what the rules name as it is in the cluster. */
    const sync = async (object: KubernetesObject, kept: Tool['kept'] = tool.kept): Promise<void> => {
      const found = await cluster.find(refOf(object), { signal });
      const applied = found === null ? object : kept(found, object);
      await writer.apply(applied, { signal, force: true });
    };
    const syncAll = async (objects: readonly KubernetesObject[], kept?: Tool['kept']): Promise<void> => {
      for (const object of objects) await sync(object, kept);
    };
    /** The whole of Git over what is there. */
    const applyAll = async (objects: readonly KubernetesObject[]): Promise<void> => {
      for (const object of objects) await writer.apply(object, { signal, force: true });
    };

    describe.each(Object.entries(ROUTES))('%s', (_kind, { settings, weight, object }) => {
      it('keeps the weight during a release, and meets no owner after it', async () => {
        const route = inNamespace(object);
        const services = { namespace, stable: 'checkout', canary: 'checkout-canary' };
        const router = createTrafficRouter(cluster, services, settings);
        const write = (step: number) => ({ fence: { release: 'r1', epoch: 1, step, attempt: 1 }, signal });
        const document = { weight, match: [] };
        await sync(route);
        await sync(route);
        const before = (await live(route))['spec'];

        await router.apply({ document, ...write(1) });
        await sync(route);
        const during = await router.observe({ signal });
        await router.apply({ document: { weight: 0, match: [] }, ...write(2) });
        await sync(route);
        await router.release(write(3));

        expect(during).toMatchObject({ weight, foreignEdits: [] });
        expect((await live(route))['spec']).toEqual(before);
        expect(await managers(route)).not.toContain('sluice');
        // The whole of Git, and without force: a conflict would be refused.
        await writer.apply(route, { signal });
        await sync(route);
        expect((await live(route))['spec']).toEqual(before);
      });
    });

    describe('a whole release', () => {
      let controller: DeploymentController;
      let target: Target;

      beforeEach(() => {
        controller = startController();
        target = canaryTarget();
      });

      afterEach(() => controller.stop());

      const shift = (step: number, weight: number, previousWeight: number) =>
        target.setWeight({ ...write(step), weight, previousWeight, match: [] });
      const shop = (image: string): KubernetesObject[] =>
        [
          git('apps/v1', 'Deployment', {
            replicas: 2,
            selector: { matchLabels: { app: 'checkout' } },
            template: {
              metadata: { labels: { app: 'checkout' } },
              spec: { containers: [{ name: 'web', image }] },
            },
          }),
          git('v1', 'Service', { selector: { app: 'checkout' }, ports: [{ port: 80 }] }),
          git('traefik.io/v1alpha1', 'TraefikService', {
            weighted: { services: [{ name: 'checkout', port: 80, weight: 1 }] },
          }),
        ].map(inNamespace);

      it('goes to its promotion with a sync after each step, and Git is applied without a conflict afterwards', async () => {
        await syncAll(shop(V1));
        await target.deploy(write(1));
        await syncAll(shop(V1));
        await shift(2, 25, 0);
        await syncAll(shop(V1));
        const canary = (await deployed('checkout-canary')).image;
        const looked = await target.reassert({ ...write(3), weight: 25, match: [] });
        await shift(4, 100, 25);
        await syncAll(shop(V1));
        await target.promote({ ...write(5), release: 'r1', smokeTest: null });
        await syncAll(shop(V1));
        const promoted = (await deployed('checkout')).image;
        await shift(6, 0, 100);
        await syncAll(shop(V1));
        await target.removeCanary(write(7));
        await syncAll(shop(V1));

        expect(canary).toBe(V2);
        expect(looked.foreignEdits).toEqual([]);
        expect(promoted).toBe(V2);
        expect((await deployed('checkout')).image).toBe(V2);
        for (const object of shop(V2)) {
          expect(await managers(object)).not.toContain('sluice');
          await writer.apply(object, { signal });
        }
        expect((await live(git('apps/v1', 'Deployment', {}))).metadata.annotations).toHaveProperty([FENCE_ANNOTATION]);
      });

      it('a sync without the rules is put right, and told', async () => {
        await syncAll(shop(V1));
        await target.deploy(write(1));
        await shift(2, 25, 0);
        await applyAll(shop(V1));
        const { foreignEdits } = await target.reassert({ ...write(3), weight: 25, match: [] });

        expect(foreignEdits).toEqual([expect.stringContaining(tool.fieldManager)]);
      });
    });

    describe('a canary in Git, as `sluice init` writes it', () => {
      let controller: DeploymentController;
      let target: Target;
      let inGit: readonly KubernetesObject[];

      beforeEach(() => {
        inGit = initialised(namespace, 'canary', 'traefik');
        controller = startController();
        target = canaryTarget();
      });

      afterEach(() => controller.stop());

      const shift = (step: number, weight: number, previousWeight: number) =>
        target.setWeight({ ...write(step), weight, previousWeight, match: [] });

      it('keeps its pods and its image while it has traffic, and has none afterwards', async () => {
        await syncAll(inGit);
        const first = await deployed('checkout-canary');
        await target.deploy(write(1));
        await syncAll(inGit);
        await shift(2, 100, 0);
        await syncAll(inGit);
        const { foreignEdits } = await target.reassert({ ...write(3), weight: 100, match: [] });
        const carrying = await deployed('checkout-canary');
        await target.promote({ ...write(4), release: 'r1', smokeTest: null });
        await syncAll(inGit);
        await shift(5, 0, 100);
        await target.removeCanary(write(6));
        await syncAll(inGit);

        expect(first).toEqual({ image: V1, replicas: 0 });
        expect(carrying).toEqual({ image: V2, replicas: 1 });
        expect(foreignEdits).toEqual([]);
        expect((await deployed('checkout')).image).toBe(V2);
        expect((await deployed('checkout-canary')).replicas).toBe(0);
        for (const object of inGit.filter(({ kind }) => kind !== 'Service')) {
          expect(await managers(object)).not.toContain('sluice');
        }
      });

      it('loses its pods to a sync without the rules, while it carries everything', async () => {
        await syncAll(inGit);
        await target.deploy(write(1));
        await shift(2, 100, 0);
        await applyAll(inGit);

        expect(await deployed('checkout-canary')).toEqual({ image: V1, replicas: 0 });
      });
    });

    describe('a pair of colours in Git, as `sluice init` writes it', () => {
      let controller: DeploymentController;
      let target: Target;
      let inGit: readonly KubernetesObject[];

      beforeEach(() => {
        inGit = initialised(namespace, 'blueGreen', 'serviceSelector');
        controller = startController();
        target = createBlueGreenTarget(
          targetPlan({ namespace, strategy: 'blueGreen', traffic: { kind: 'serviceSelector' } }),
          { cluster, resolve: (image) => Promise.resolve(image) },
        );
      });

      afterEach(() => controller.stop());

      const selected = async (): Promise<string | undefined> => {
        const { spec } = (await live(git('v1', 'Service', {}))) as unknown as {
          spec: { selector: Record<string, string> };
        };
        return spec.selector['sluice.dev/track'];
      };
      /** A whole release, with something after each of its steps. */
      const release = async (version: string, epoch: number, between: () => Promise<void>): Promise<void> => {
        const at = (step: number) => write(step, version, epoch);
        await target.deploy(at(1));
        await between();
        await target.setWeight({ ...at(2), weight: 100, previousWeight: 0, match: [] });
        await between();
        const { foreignEdits } = await target.reassert({ ...at(3), weight: 100, match: [] });
        expect(foreignEdits).toEqual([]);
        await target.promote({ ...at(4), release: `r${epoch}`, smokeTest: null });
        await between();
        await target.removeCanary(at(5));
        await between();
      };

      it('stays with the colour that was promoted, release after release', async () => {
        const syncPair = (): Promise<void> => syncAll(inGit, tool.keptOfPair);
        await syncPair();
        const first = [await selected(), await deployed('checkout-blue'), await deployed('checkout-green')];
        await release(V2, 1, syncPair);
        const second = [await selected(), await deployed('checkout-blue'), await deployed('checkout-green')];
        await release(V3, 2, syncPair);
        const third = [await selected(), await deployed('checkout-blue'), await deployed('checkout-green')];

        expect(first).toEqual(['blue', { image: V1, replicas: 1 }, { image: V1, replicas: 0 }]);
        expect(second).toEqual(['green', { image: V1, replicas: 0 }, { image: V2, replicas: 1 }]);
        expect(third).toEqual(['blue', { image: V3, replicas: 1 }, { image: V2, replicas: 0 }]);
        for (const object of inGit) {
          expect(await managers(object)).not.toContain('sluice');
          // Without force: a conflict would be refused.
          await writer.apply(tool.keptOfPair(await live(object), object), { signal });
        }
      });

      it.each([
        ['none', (): Promise<void> => applyAll(inGit)],
        ['those for a canary', (): Promise<void> => syncAll(inGit)],
      ])(
        'loses the pods that serve to the first sync after a promotion with no other rules than %s',
        async (_, sync) => {
          await syncAll(inGit);
          await release(V2, 1, () => Promise.resolve());
          const promoted = await selected();
          await sync();

          expect(promoted).toBe('green');
          expect(await deployed('checkout-blue')).toMatchObject({ replicas: 0 });
          expect(await deployed('checkout-green')).toMatchObject({ image: V1, replicas: 0 });
        },
      );
    });
  });

  it('the canary carries nothing by which Argo CD tracks what is in Git', async () => {
    const controller = startController();
    const stable = inNamespace(
      git('apps/v1', 'Deployment', {
        replicas: 1,
        selector: { matchLabels: { app: 'checkout' } },
        template: {
          metadata: { labels: { app: 'checkout' } },
          spec: { containers: [{ name: 'web', image: V1 }] },
        },
      }),
    );
    const tracking = { 'argocd.argoproj.io/tracking-id': 'checkout:apps/Deployment:shop/checkout' };
    await cluster.create({ ...stable, metadata: { ...stable.metadata, annotations: tracking } }, { signal });
    await cluster.create(inNamespace(git('v1', 'Service', { selector: { app: 'checkout' }, ports: [{ port: 80 }] })), {
      signal,
    });
    await cluster.create(inNamespace(ROUTES['TraefikService']?.object ?? stable), { signal });
    const target = canaryTarget();
    const fence = { release: 'r1', epoch: 1, step: 1, attempt: 2 };
    await target.deploy({ version: V2, artifact: V2, fence, signal, timeoutMs: 20_000 });
    await controller.stop();

    for (const [apiVersion, kind] of [
      ['apps/v1', 'Deployment'],
      ['v1', 'Service'],
    ] as const) {
      const ref = { apiVersion, kind, namespace, name: 'checkout-canary' };
      expect(JSON.stringify(await cluster.get(ref, { signal }))).not.toContain('argocd.argoproj.io');
    }
  });
});
