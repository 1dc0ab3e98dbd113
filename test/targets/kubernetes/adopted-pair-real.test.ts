import { createCanaryTarget } from '../../../src/targets/kubernetes/canary/canary-target';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { rollBackDirectly } from '../../../src/targets/kubernetes/direct-roll-back';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import { lookAtService } from '../../../src/targets/kubernetes/service-look';
import type { Target, TargetWrite, WeightWrite } from '../../../src/targets/target';
import { fenceOn } from '../../../src/traffic/fence';
import { describeWithApiServer } from './api-server';
import { DeploymentController } from './deployment-controller';
import { targetPlan } from './target-plans';
import { namespaceObject, shopDeployment, shopIngress, shopService } from './shop-objects';

const V1 = 'registry.example/shop:v1';
const V2 = 'registry.example/shop:v2';
const WEIGHT = 'nginx.ingress.kubernetes.io/canary-weight';
const STABLE = { app: 'checkout', track: 'stable' } as const;
const CANARY = { app: 'checkout', track: 'canary' } as const;
const signal = AbortSignal.timeout(10 * 60_000);

function write(step: number): TargetWrite & { timeoutMs: number } {
  const fence = { release: 'r1', epoch: 1, step, attempt: 1 };
  return { version: V2, artifact: V2, fence, signal, timeoutMs: 20_000 };
}

function shift(step: number, weight: number, previousWeight: number): WeightWrite & { previousWeight: number } {
  return { ...write(step), weight, previousWeight, match: [] };
}

/** What is kept where, by `kind/name`. */
type Objects = ReadonlyMap<string, KubernetesObject>;

const ALL = [
  'Deployment/checkout-canary',
  'Deployment/checkout-stable',
  'Ingress/checkout',
  'Service/checkout',
  'Service/checkout-canary',
] as const;

describeWithApiServer('a pair of Deployments that is there already, against a real API server', (server) => {
  let cluster: Cluster;
  let hand: Cluster;
  let namespace: string;
  let controller: DeploymentController;
  let plan: ReturnType<typeof targetPlan>;
  let target: Target;
  let before: Objects;
  let count = 0;

  beforeAll(() => {
    cluster = server().connect();
    hand = server().connect({ fieldManager: 'hand' });
  });

  beforeEach(async () => {
    namespace = `adopted-pair-${(count += 1)}`;
    for (const object of pair()) await hand.create(object, { signal });
    controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
    plan = targetPlan({ namespace, traffic: { kind: 'nginx', ingresses: ['checkout'] } });
    target = createCanaryTarget(plan, { cluster, resolve: (image) => Promise.resolve(image) });
    before = await found();
  });

  afterEach(() => controller.stop());
  afterAll(() => {
    cluster.close();
    hand.close();
  });

  /** Both tracks with a Service each, of which the canary has no pods; no Deployment has the service's own name. */
  function pair(): KubernetesObject[] {
    const named = { namespace, name: 'checkout' };
    const canary = { namespace, name: 'checkout-canary' };
    return [
      namespaceObject(namespace),
      shopDeployment({ namespace, name: 'checkout-stable' }, { image: V1, replicas: 4, labels: STABLE }),
      shopDeployment(canary, { image: V1, replicas: 0, labels: CANARY }),
      shopService(named, STABLE),
      shopService(canary, CANARY),
      shopIngress(named),
    ];
  }

  async function found(): Promise<Objects> {
    const kinds = { Deployment: 'apps/v1', Service: 'v1', Ingress: 'networking.k8s.io/v1' };
    const lists = await Promise.all(
      Object.entries(kinds).map(([kind, apiVersion]) => cluster.list({ apiVersion, kind, namespace }, { signal })),
    );
    const named = lists.flat().map((object) => [`${object.kind}/${object.metadata.name}`, object] as const);
    return new Map(named.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  interface Found {
    readonly replicas: number;
    readonly template: { readonly spec: { readonly containers: readonly { readonly image: string }[] } };
  }
  /** Replicas and image of stable and the canary. */
  const tracks = async (): Promise<unknown[]> => {
    const objects = await found();
    return ['checkout-stable', 'checkout-canary'].map((name) => {
      const spec = objects.get(`Deployment/${name}`)?.['spec'] as Found | undefined;
      return [spec?.replicas, spec?.template.spec.containers[0]?.image];
    });
  };
  const weight = async (): Promise<string | undefined> =>
    (await found()).get('Ingress/checkout-canary')?.metadata.annotations?.[WEIGHT];

  /**
   * The same objects as before the release, each with its own labels and its own spec but for these images, and nothing of
   * Sluice's but the fence.
   */
  async function expectLetGo(images: Readonly<Record<'stable' | 'canary', string>>): Promise<void> {
    const after = await found();
    expect([...after.keys()]).toEqual(ALL);
    for (const [name, object] of after) {
      const was = before.get(name);
      const track = name === 'Deployment/checkout-stable' ? 'stable' : 'canary';
      const spec = name.startsWith('Deployment/') ? withImage(was?.['spec'], images[track]) : was?.['spec'];
      expect({ name, spec: object['spec'] }).toEqual({ name, spec });
      expect({ name, labels: object.metadata.labels }).toEqual({ name, labels: was?.metadata.labels });
      const managers = (object.metadata.managedFields ?? []) as readonly { readonly manager?: string }[];
      expect({
        name,
        uid: object.metadata.uid,
        ours: managers.filter(({ manager }) => manager === 'sluice').length,
        annotations: Object.keys(object.metadata.annotations ?? {}),
      }).toEqual({
        name,
        uid: was?.metadata.uid,
        ours: 0,
        annotations: fenceOn(object) === null ? [] : ['sluice.dev/fence'],
      });
    }
    expect(fenceOn(after.get('Deployment/checkout-canary') ?? namespaceObject(''))).not.toBeNull();
  }

  it('goes from deploy to promotion as it is, and both Deployments are the user’s own again', async () => {
    const shown = await lookAtService(cluster, plan, signal);
    const looked = await target.observe({ version: V2, signal });
    const seen: unknown[] = [];
    const note = async (): Promise<void> => {
      seen.push([await weight(), ...(await tracks())]);
    };
    await target.deploy(write(1));
    await note();
    await target.setWeight(shift(2, 50, 0));
    await note();
    const { foreignEdits } = await target.reassert({ ...write(3), weight: 50, match: [] });
    await target.setWeight(shift(4, 100, 50));
    await note();
    await target.promote({ ...write(5), release: 'r1', smokeTest: null });
    await note();
    await target.setWeight(shift(6, 0, 100));
    const said = await target.removeCanary(write(7));

    expect(shown.tracks.map(({ name, deployment }) => [name, deployment])).toEqual([
      ['stable', 'checkout-stable'],
      ['canary', 'checkout-canary'],
    ]);
    expect(looked).toMatchObject({ stableVersion: V1, canaryVersion: null, weight: 0 });
    expect(foreignEdits).toEqual([]);
    expect(seen).toEqual([
      [undefined, [4, V1], [1, V2]],
      ['50', [4, V1], [2, V2]],
      ['100', [4, V1], [4, V2]],
      ['100', [4, V2], [4, V2]],
    ]);
    expect(said).toMatch(/Deployment .*\/checkout-canary is without pods\.$/);
    await expectLetGo({ stable: V2, canary: V2 });
  });

  it('is as before after the way back from half of the traffic, but for the canary’s image', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 50, 0));
    await target.setWeight(shift(3, 0, 50));
    const zero = await weight();
    const said = await target.removeCanary(write(4));

    expect(zero).toBe('0');
    expect(said).toMatch(/Deployment .*\/checkout-canary is without pods\.$/);
    await expectLetGo({ stable: V1, canary: V2 });
  });

  it('is as before after a roll back on the cluster alone in the middle of a promotion', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await target.promote({ ...write(3), release: 'r1', smokeTest: null });
    const promoted = await tracks();
    await rollBackDirectly(cluster, { namespace, name: 'checkout' }, { signal });

    expect(promoted).toEqual([
      [4, V2],
      [4, V2],
    ]);
    await expectLetGo({ stable: V1, canary: V2 });
  });
});

function withImage(spec: unknown, image: string): unknown {
  const { template, ...others } = spec as { readonly template: { readonly spec: { readonly containers: object[] } } };
  const containers = template.spec.containers.map((container) => ({ ...container, image }));
  return { ...others, template: { ...template, spec: { ...template.spec, containers } } };
}
