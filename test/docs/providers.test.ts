import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import { parseSpec } from '../../src/spec/load';
import { plan } from '../../src/spec/plan';
import type { Plan, TrafficPlan } from '../../src/spec/plan-types';
import type { Cluster } from '../../src/targets/kubernetes/cluster';
import { createKubernetesTarget } from '../../src/targets/kubernetes/kubernetes-target';
import type { KubernetesObject, ObjectRef } from '../../src/targets/kubernetes/objects';
import type { TargetWrite } from '../../src/targets/target';
import { fencedBlocks } from '../examples/markdown';
import { describeWithApiServer, installDefinitions } from '../targets/kubernetes/api-server';
import { DeploymentController } from '../targets/kubernetes/deployment-controller';
import { GatewayController } from '../targets/kubernetes/gateway-controller';

const VERSION = 'ghcr.io/acme/checkout:1.4.2';
const signal = AbortSignal.timeout(10 * 60_000);

const PAGE = readFileSync(path.join(__dirname, '../../docs/kubernetes.md'), 'utf8');
const SPLITTERS = /^## Who splits the traffic\n(.*?)^## /ms.exec(PAGE)?.[1] ?? '';

/** Names of hosts in a mesh have their namespace in them. */
function inNamespace<T>(namespace: string, object: T): T {
  return JSON.parse(JSON.stringify(object).replaceAll('.shop.svc.', `.${namespace}.svc.`)) as T;
}

/** The examples of the page, by the splitter that each is about. */
const EXAMPLES: Readonly<Record<string, TrafficPlan['kind']>> = {
  'Gateway API': 'gatewayAPI',
  NGINX: 'nginx',
  Traefik: 'traefik',
  Istio: 'istio',
  "The Service's selector": 'serviceSelector',
  'The number of pods': 'replicas',
};

function documentsOf(markdown: string): KubernetesObject[] {
  return fencedBlocks(markdown, 'yaml')
    .flatMap((block) => parseAllDocuments(block))
    .map((document) => document.toJS() as KubernetesObject)
    .filter((document) => typeof document.kind === 'string');
}

/** Of the service that all examples are about: what stands before the first of them. */
const SERVICE = documentsOf(SPLITTERS.split(/^### /m)[0] ?? '');

interface Example {
  readonly manifests: readonly KubernetesObject[];
  readonly plan: Plan;
}

function exampleOf(title: string): Example {
  const section = SPLITTERS.split(/^### /m).find((one) => one.startsWith(`${title}\n`)) ?? '';
  const documents = documentsOf(section);
  const [release, ...more] = documents.filter(({ kind }) => kind === 'Release');
  if (release === undefined || more.length > 0) throw new Error(`"${title}" has not exactly one release.yaml.`);
  const parsed = parseSpec(stringify(release), 'release.yaml');
  expect(parsed).toMatchObject({ ok: true, warnings: [] });
  if (!parsed.ok) throw new Error('unreachable: it was just expected to be ok');
  return { manifests: documents.filter(({ kind }) => kind !== 'Release'), plan: plan(parsed.spec, VERSION) };
}

it('every splitter has an example, and every example is of one', () => {
  const titles = [...SPLITTERS.matchAll(/^### (.+)$/gm)].map((match) => match[1] ?? '');

  expect(titles).toEqual(Object.keys(EXAMPLES));
  expect(SERVICE.map(({ kind }) => kind)).toEqual(['Deployment', 'Service']);
});

describeWithApiServer('the examples of who splits the traffic, against a real API server', (server) => {
  let cluster: Cluster;
  let namespace: string;
  let count = 0;
  const controllers: { stop(): Promise<void> }[] = [];

  beforeAll(async () => {
    cluster = server().connect();
    const words = ['httproutes', 'grpcroutes', 'traefikservices', 'io_ingressroutes.yaml', 'istio.io'];
    await installDefinitions(cluster, words);
  }, 300_000);

  beforeEach(async () => {
    namespace = `providers-${(count += 1)}`;
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, { signal });
    controllers.push(
      new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace),
      new GatewayController(server().connect({ fieldManager: 'gateway-controller' }), namespace),
    );
  });

  afterEach(async () => {
    for (const controller of controllers.splice(0)) await controller.stop();
  });

  afterAll(() => cluster.close());

  const refOf = ({ apiVersion, kind, metadata }: KubernetesObject): ObjectRef => ({
    apiVersion,
    kind,
    namespace,
    name: metadata.name,
  });
  const specOf = async (object: KubernetesObject): Promise<unknown> =>
    (await cluster.get(refOf(object), { signal }))['spec'];

  it.each(Object.entries(EXAMPLES))(
    '%s: reaches its first weight, and everything is as before at the end',
    async (title, kind) => {
      const { manifests, plan: planned } = exampleOf(title);
      const objects = inNamespace(namespace, [...SERVICE, ...manifests]);
      for (const object of objects) {
        await cluster.create({ ...object, metadata: { ...object.metadata, namespace } }, { signal });
      }
      const before = await Promise.all(objects.map(specOf));
      const { target: described, steps } = planned;
      if (described.kind !== 'kubernetes') throw new Error('The page is about Kubernetes.');
      const target = createKubernetesTarget(
        { ...described, namespace, resolveImage: 'never', drainMs: 0 },
        { cluster, resolve: (image) => Promise.resolve(image) },
      );
      const write = (step: number): TargetWrite & { timeoutMs: number } => ({
        version: VERSION,
        artifact: VERSION,
        fence: { release: 'r1', epoch: 1, step, attempt: 1 },
        signal,
        timeoutMs: 30_000,
      });
      const match = steps.flatMap((step) => (step.kind === 'match' ? [step.match] : []));
      const weight = steps.find((step) => step.kind === 'weight')?.weight ?? 0;

      const looked = await target.observe({ version: VERSION, signal });
      await target.deploy(write(1));
      if (match.length > 0) await target.setWeight({ ...write(2), weight: 0, previousWeight: 0, match });
      await target.setWeight({ ...write(3), weight, previousWeight: 0, match });
      const { foreignEdits } = await target.reassert({ ...write(4), weight, match });
      const during = await target.observe({ version: VERSION, signal });
      await target.setWeight({ ...write(5), weight: 0, previousWeight: weight, match: [] });
      await target.removeCanary(write(6));

      expect(described.traffic.kind).toBe(kind);
      expect(looked).toMatchObject({ stableVersion: 'ghcr.io/acme/checkout:1.4.1', weight: 0 });
      expect(weight).toBeGreaterThan(0);
      expect(during.weight).toBe(weight);
      expect(foreignEdits).toEqual([]);
      expect(await Promise.all(objects.map(specOf))).toEqual(before);
    },
  );
});
