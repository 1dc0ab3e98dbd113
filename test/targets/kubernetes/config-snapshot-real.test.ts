import { createCanaryTarget } from '../../../src/targets/kubernetes/canary/canary-target';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { ClusterFailure } from '../../../src/targets/kubernetes/cluster-failure';
import { rollBackDirectly } from '../../../src/targets/kubernetes/direct-roll-back';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import { configNamedBy } from '../../../src/targets/kubernetes/pod-config';
import { TargetFailure } from '../../../src/targets/target';
import type { Target, TargetWrite } from '../../../src/targets/target';
import { describeWithApiServer } from './api-server';
import { DeploymentController } from './deployment-controller';
import { targetPlan } from './target-plans';

const V1 = 'registry.example/shop:v1';
const V2 = 'registry.example/shop:v2';
const signal = AbortSignal.timeout(10 * 60_000);

/** The originals. */
const SETTINGS = 'settings';
const KEYS = 'keys';

describeWithApiServer('copies of ConfigMaps and Secrets, on a real API server', (server) => {
  let cluster: Cluster;
  let namespace: string;
  let controller: DeploymentController;
  let target: Target;
  let count = 0;

  beforeAll(() => {
    cluster = server().connect();
  });

  beforeEach(async () => {
    namespace = `config-${(count += 1)}`;
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, { signal });
    for (const object of shop()) await cluster.create(object, { signal });
    controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
    target = targetOf();
  });

  afterEach(() => controller.stop());
  afterAll(() => cluster.close());

  const targetOf = (): Target =>
    createCanaryTarget(targetPlan({ namespace, config: 'snapshot', traffic: { kind: 'serviceSelector' } }), {
      cluster,
      resolve: async (image) => image,
    });

  function shop(): KubernetesObject[] {
    const labels = { app: 'checkout' };
    const container = {
      name: 'web',
      image: V1,
      envFrom: [{ configMapRef: { name: SETTINGS } }, { configMapRef: { name: 'perhaps', optional: true } }],
    };
    const volumes = [{ name: 'keys', secret: { secretName: KEYS } }];
    return [
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: SETTINGS, namespace }, data: { b: '1', a: '2' } },
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: KEYS, namespace },
        type: 'example.com/key',
        data: { key: 'c2VjcmV0' },
      },
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'checkout', namespace, labels },
        spec: {
          replicas: 2,
          selector: { matchLabels: labels },
          template: { metadata: { labels }, spec: { containers: [container], volumes } },
        },
      },
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'checkout', namespace },
        spec: { selector: labels, ports: [{ port: 80, targetPort: 8080 }] },
      },
    ];
  }

  function writeOf(release: string, step: number, epoch: number, version = V2): TargetWrite & { timeoutMs: number } {
    return { version, artifact: version, fence: { release, epoch, step, attempt: 2 }, signal, timeoutMs: 20_000 };
  }

  /** One release's writes, each later than the one before. */
  function release(name: string, epoch: number, version = V2): () => TargetWrite & { timeoutMs: number } {
    let step = 0;
    return () => writeOf(name, (step += 1), epoch, version);
  }

  type Next = ReturnType<typeof release>;

  const shift = (next: Next, weight: number, previousWeight: number): Promise<string> =>
    target.setWeight({ ...next(), weight, previousWeight, match: [] });

  async function promote(next: Next): Promise<void> {
    await target.deploy(next());
    await shift(next, 100, 0);
    await target.promote({ ...next(), release: next().fence.release, smokeTest: null });
    await shift(next, 0, 100);
    await target.removeCanary(next());
  }

  const configMap = (name: string): { apiVersion: string; kind: string; namespace: string; name: string } => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    namespace,
    name,
  });

  async function edit(data: Readonly<Record<string, string>>): Promise<void> {
    await cluster.patch(configMap(SETTINGS), { type: 'merge', patch: { data } }, { signal });
  }

  async function template(name: string): Promise<Readonly<Record<string, unknown>>> {
    const found = await cluster.get({ apiVersion: 'apps/v1', kind: 'Deployment', namespace, name }, { signal });
    return (found['spec'] as { template: Readonly<Record<string, unknown>> }).template;
  }

  const named = async (name: string): Promise<string[]> => configNamedBy([await template(name)]).map((ref) => ref.name);

  /** Every ConfigMap and Secret that is no original. */
  async function copies(): Promise<KubernetesObject[]> {
    const lists = await Promise.all(
      ['ConfigMap', 'Secret'].map((kind) => cluster.list({ apiVersion: 'v1', kind, namespace }, { signal })),
    );
    return lists
      .flat()
      .filter(({ metadata }) => ![SETTINGS, KEYS, 'kube-root-ca.crt', 'perhaps'].includes(metadata.name));
  }

  async function settingsOf(deployment: string): Promise<unknown> {
    const name = (await named(deployment)).find((one) => one.startsWith(SETTINGS)) ?? '';
    return (await cluster.get(configMap(name), { signal }))['data'];
  }

  const failureOf = async (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => null,
      (caught: unknown) => caught,
    );

  it('the canary gets immutable copies, and an edit of the originals or of the copies reaches nobody', async () => {
    const next = release('r1', 1);
    await target.deploy(next());
    await edit({ a: 'edited' });
    await target.deploy(next());

    expect(await named('checkout')).toEqual([SETTINGS, 'perhaps', KEYS]);
    expect(await named('checkout-canary')).toEqual([
      expect.stringMatching(/^settings-[0-9a-f]{10}$/),
      'perhaps',
      expect.stringMatching(/^keys-[0-9a-f]{10}$/),
    ]);
    expect(await settingsOf('checkout-canary')).toEqual({ a: '2', b: '1' });
    const made = await copies();
    expect(made).toHaveLength(2);
    expect(made.map((copy) => copy['immutable'])).toEqual([true, true]);
    expect(made.map(({ metadata }) => metadata['ownerReferences'])).toEqual([undefined, undefined]);
    expect(made[0]?.metadata.labels).toEqual({
      'app.kubernetes.io/managed-by': 'sluice',
      'sluice.dev/service': 'checkout',
      'sluice.dev/made-for': 'r1',
    });
    expect(made[1]).toMatchObject({ kind: 'Secret', type: 'example.com/key', data: { key: 'c2VjcmV0' } });

    const name = made[0]?.metadata.name ?? '';
    const refused = await failureOf(
      cluster.patch(configMap(name), { type: 'merge', patch: { data: { a: 'edited' } } }, { signal }),
    );
    expect(refused).toBeInstanceOf(ClusterFailure);
    expect((refused as ClusterFailure).message).toMatch(/immutable/);
  });

  it('a roll back removes the new copies, and stable never named one', async () => {
    const before = await template('checkout');
    const next = release('r1', 1);
    await target.deploy(next());
    await shift(next, 100, 0);
    await shift(next, 0, 100);
    for (const _ of [1, 2]) await target.removeCanary(next());

    expect(await copies()).toEqual([]);
    expect(await template('checkout')).toEqual(before);
  });

  it('a promotion keeps what was proven; the next release takes what the originals hold by then, and collects', async () => {
    await promote(release('r1', 1));
    const first = await named('checkout');
    await edit({ a: 'second' });

    expect(first).toEqual([expect.stringMatching(/^settings-/), 'perhaps', expect.stringMatching(/^keys-/)]);
    expect(await settingsOf('checkout')).toEqual({ a: '2', b: '1' });
    expect((await copies()).map(({ metadata }) => metadata.name).sort()).toEqual([first[2], first[0]].sort());

    await promote(release('r2', 2, 'registry.example/shop:v3'));
    const second = await named('checkout');

    expect(await settingsOf('checkout')).toEqual({ a: 'second', b: '1' });
    // Equal content is the same copy.
    expect(second[2]).toBe(first[2]);
    expect(second[0]).not.toBe(first[0]);
    expect((await copies()).map(({ metadata }) => metadata.name).sort()).toEqual([second[2], second[0]].sort());
  });

  it('half a promotion is taken back with the copies that stable named before', async () => {
    await promote(release('r1', 1));
    const before = await template('checkout');
    await edit({ a: 'second' });
    const next = release('r2', 2, 'registry.example/shop:v3');
    await target.deploy(next());
    await shift(next, 100, 0);
    controller.hold.add('checkout');
    const half = await failureOf(target.promote({ ...next(), release: 'r2', smokeTest: null, timeoutMs: 1_500 }));
    const between = await settingsOf('checkout');
    controller.hold.delete('checkout');
    await target.restoreStable({ ...next(), stableVersion: V2 });
    await shift(next, 0, 100);
    await target.removeCanary(next());

    expect(half).toMatchObject({ kind: 'deployFailed' });
    expect(between).toEqual({ a: 'second', b: '1' });
    expect(await template('checkout')).toEqual(before);
    expect(await copies()).toHaveLength(2);
  });

  it('a promotion whose copies somebody else takes from stable hands nobody to the originals', async () => {
    const next = release('r1', 1);
    await target.deploy(next());
    await shift(next, 100, 0);
    const before = await template('checkout');
    await target.promote({ ...next(), release: 'r1', smokeTest: null });
    const at = { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name: 'checkout' };
    const spec = before['spec'] as { containers: readonly object[] };
    const containers = spec.containers.map((one) => ({ ...one, image: V2 }));
    await cluster.patch(
      at,
      { type: 'merge', patch: { spec: { template: { spec: { ...spec, containers } } } } },
      { signal },
    );
    const refused = await failureOf(shift(next, 50, 100));

    expect(refused).toMatchObject({
      kind: 'invalidTarget',
      message: expect.stringMatching(
        /checkout names other configuration than the copies of the release: somebody else has undone the promotion/,
      ) as string,
    });
  });

  it('a roll back on the cluster alone removes them, too', async () => {
    const next = release('r1', 1);
    await target.deploy(next());
    await rollBackDirectly(cluster, { namespace, name: 'checkout' }, { signal });

    expect(await copies()).toEqual([]);
  });

  it('a late attempt of an older release cannot take the copies of a later one', async () => {
    const late = release('r1', 1);
    await target.deploy(late());
    const next = release('r2', 2);
    await target.deploy(next());

    expect(await failureOf(target.removeCanary(late()))).toMatchObject({ kind: 'fenceLost' });
    expect(await failureOf(target.deploy(late()))).toMatchObject({ kind: 'fenceLost' });
    expect(await copies()).toHaveLength(2);
  });

  it('a canary of the user’s own names its originals again at the end', async () => {
    const labels = { app: 'checkout-canary' };
    const container = { name: 'web', image: V1, envFrom: [{ configMapRef: { name: SETTINGS } }] };
    await cluster.create(
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'checkout-canary', namespace },
        spec: {
          replicas: 0,
          selector: { matchLabels: labels },
          template: { metadata: { labels }, spec: { containers: [container] } },
        },
      },
      { signal },
    );
    const next = release('r1', 1);
    await target.deploy(next());
    const during = await named('checkout-canary');
    await target.removeCanary(next());

    expect(during).toEqual([expect.stringMatching(/^settings-/)]);
    expect(await named('checkout-canary')).toEqual([SETTINGS]);
    expect(await copies()).toEqual([]);
  });

  describe('is refused before anything is changed', () => {
    it('when an original is missing, each by its name', async () => {
      await cluster.delete(configMap(SETTINGS), { signal });
      await cluster.delete({ ...configMap(KEYS), kind: 'Secret' }, { signal });
      const failure = await failureOf(target.observe({ version: V2, signal }));

      expect(failure).toBeInstanceOf(TargetFailure);
      expect(failure).toMatchObject({
        kind: 'invalidTarget',
        message: `ConfigMap ${namespace}/${SETTINGS}, Secret ${namespace}/${KEYS} do not exist, and the pods' template names them; with config: snapshot a release copies what is named, so make them first, or say optional: true there.`,
      });
      expect(await copies()).toEqual([]);
    });
  });

  it('what has a copy’s name and is none is not used', async () => {
    const next = release('r1', 1);
    await target.deploy(next());
    const [copy] = await copies();
    const name = copy?.metadata.name ?? '';
    await target.removeCanary(next());
    await cluster.create(
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { a: 'other' } },
      { signal },
    );
    const failure = await failureOf(target.deploy(release('r2', 2)()));

    expect(failure).toMatchObject({
      kind: 'invalidTarget',
      message: `ConfigMap ${namespace}/${name} is there already and is not the copy of ${SETTINGS} that this name is for; delete it, and release again.`,
    });
  });
});
