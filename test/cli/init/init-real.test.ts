import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { checkObjects, applyObjects } from '../../../src/cli/init/apply';
import { serviceFiles } from '../../../src/cli/init/service-files';
import { settingsFrom, STRATEGIES, TRAFFIC_KINDS } from '../../../src/cli/init/settings';
import type { Strategy, TrafficKind } from '../../../src/cli/init/settings';
import { plan } from '../../../src/spec/plan';
import { loadSpec } from '../../../src/spec/load';
import { createBlueGreenTarget } from '../../../src/targets/kubernetes/blue-green/blue-green-target';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { refOf } from '../../../src/targets/kubernetes/objects';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import { createTrafficRouter } from '../../../src/traffic/create-traffic-router';
import type { TrafficSettings } from '../../../src/traffic/create-traffic-router';
import { findKubectl } from '../../lab/parts';
import { describeWithApiServer, installDefinitions, until } from '../../targets/kubernetes/api-server';
import { run } from '../harness';

const signal = AbortSignal.timeout(10 * 60_000);
const options = { signal };
const execute = promisify(execFile);
const IMAGE = 'ghcr.io/acme/checkout:1.0.0';

function objectsFor(
  traffic: TrafficKind,
  namespace: string,
  strategy: Strategy = 'canary',
): readonly KubernetesObject[] {
  return serviceFiles(settingsFrom({ image: IMAGE, name: 'checkout', namespace, traffic, strategy }, '.')).objects;
}

/** Every way in which a service can be made. */
const KINDS = STRATEGIES.flatMap((strategy) =>
  TRAFFIC_KINDS.filter((traffic) => strategy === 'canary' || traffic !== 'replicas').map(
    (traffic) => [strategy, traffic] as const,
  ),
);

const kubectl = findKubectl();
if (kubectl === undefined)
  process.stderr.write('skipped `kubectl apply` of what sluice init writes: there is no kubectl\n');
const itWithKubectl = kubectl === undefined ? it.skip : it;

describeWithApiServer('sluice init, against a real API server', (server) => {
  let admin: Cluster;
  let directory: string;
  let env: NodeJS.ProcessEnv;

  beforeAll(async () => {
    admin = server().connect();
    directory = await mkdtemp(path.join(tmpdir(), 'sluice-init-'));
    const kubeconfig = JSON.parse(await readFile(server().kubeconfig, 'utf8')) as object;
    const named = path.join(directory, 'kubeconfig');
    await writeFile(named, JSON.stringify({ ...kubeconfig, 'current-context': 'admin' }));
    env = { KUBECONFIG: named };
    // All but the operator's, which comes later: a cluster without it is tested, too.
    await installDefinitions(admin, ['httproutes', 'traefik.io', 'istio.io']);
  }, 300_000);

  afterAll(async () => {
    admin.close();
    await rm(directory, { recursive: true, force: true });
  });

  async function makeNamespace(name: string): Promise<string> {
    await admin.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, options);
    return name;
  }

  it('says what is missing in the cluster, and writes nothing', async () => {
    const folder = path.join(directory, 'missing');
    const init = ['init', folder, '--image', IMAGE, '--apply'];

    const nowhere = await run([...init, '--namespace', 'nowhere', '--service-account', 'away/sluice'], { env });
    await makeNamespace('somewhere');
    const withoutOperator = await run([...init, '--namespace', 'somewhere'], { env });

    const noOperator =
      'The cluster knows no kind ServiceMonitor of monitoring.coreos.com/v1; install the Prometheus operator, or add --no-service-monitor.';
    expect([nowhere.code, withoutOperator.code]).toEqual([1, 1]);
    expect(nowhere.err.trimEnd().split('\n')).toEqual([
      'Error: Namespace away does not exist; make it first: kubectl create namespace away',
      'Namespace nowhere does not exist; make it first: kubectl create namespace nowhere',
      noOperator,
    ]);
    expect(withoutOperator.err).toBe(`Error: ${noOperator}\n`);
    await expect(readdir(folder)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  describe('with the Prometheus operator', () => {
    beforeAll(() => installDefinitions(admin, ['servicemonitors']), 300_000);

    it.each(KINDS)('writes for %s by %s what the server accepts, down to the last field', async (strategy, traffic) => {
      const namespace = await makeNamespace(`checked-${strategy}-${traffic}`.toLowerCase());
      const folder = path.join(directory, `${strategy}-${traffic}`);

      const ran = await run(
        [
          ...['init', folder, '--name', 'checkout', '--namespace', namespace, '--strategy', strategy],
          ...['--traffic', traffic, '--dry-run', '--json'],
        ],
        { env },
      );

      expect(ran.code).toBe(0);
      const { checked, unknown, files, applied } = JSON.parse(ran.out) as Readonly<Record<string, string[]>>;
      expect(checked).toHaveLength(objectsFor(traffic, namespace, strategy).length);
      expect([unknown, files, applied]).toEqual([[], [], []]);
      await expect(readdir(folder)).rejects.toMatchObject({ code: 'ENOENT' });
      const left = await admin.list({ apiVersion: 'apps/v1', kind: 'Deployment', namespace }, options);
      expect(left).toEqual([]);
    });

    itWithKubectl.each(KINDS)('writes files for %s by %s that kubectl can apply', async (strategy, traffic) => {
      const namespace = await makeNamespace(`written-${strategy}-${traffic}`.toLowerCase());
      const folder = path.join(directory, `written-${strategy}-${traffic}`);
      const kind = ['--strategy', strategy, '--traffic', traffic];
      const objects = objectsFor(traffic, namespace, strategy);

      const ran = await run([
        'init',
        folder,
        '--name',
        'checkout',
        '--namespace',
        namespace,
        ...kind,
        '--image',
        IMAGE,
      ]);
      const args = ['apply', '--dry-run=server', '-f', path.join(folder, 'kubernetes'), '-o', 'name'];
      const { stdout, stderr } = await execute(kubectl ?? '', args, { env: { ...env, HOME: directory } });

      expect(ran.code).toBe(0);
      expect(stderr).toBe('');
      const names = objects.map((object) => `${object.kind.toLowerCase()}/${object.metadata.name}`);
      expect(
        stdout
          .trimEnd()
          .split('\n')
          .map((name) => name.replace(/\.[^/]*/, ''))
          .sort(),
      ).toEqual(names.sort());
    });

    it.each(KINDS)('makes what a %s release by %s can split, and gets back as it was', async (strategy, traffic) => {
      const namespace = await makeNamespace(`applied-${strategy}-${traffic}`.toLowerCase());
      const folder = path.join(directory, `applied-${strategy}-${traffic}`);
      const objects = objectsFor(traffic, namespace, strategy);

      const ran = await run(
        [
          ...['init', folder, '--name', 'checkout', '--namespace', namespace, '--strategy', strategy],
          ...['--traffic', traffic, '--image', IMAGE, '--apply', '--json'],
        ],
        { env },
      );

      expect(ran).toMatchObject({ code: 0 });
      const { applied } = JSON.parse(ran.out) as { applied: { how: string }[] };
      expect(applied.map(({ how }) => how)).toEqual(objects.map(() => 'created'));
      const before = await specs(objects);
      const { target } = plan(await loadSpec(path.join(folder, 'release.yaml')), IMAGE);
      if (target.kind !== 'kubernetes') throw new Error('not of a Kubernetes target');
      const [first, idle] = strategy === 'blueGreen' ? (['blue', 'green'] as const) : (['stable', 'canary'] as const);
      const services = { namespace, stable: target.service, canary: `${target.service}-${idle}` };
      const router = createTrafficRouter(admin, services, settingsOf(target.traffic, { first, idle }));
      const fence = { release: 'r', epoch: 1, attempt: 1 };
      await router.apply({ document: { weight: 100, match: [] }, fence: { ...fence, step: 1 }, signal });
      await router.apply({ document: { weight: 0, match: [] }, fence: { ...fence, step: 2 }, signal });
      await router.release({ fence: { ...fence, step: 3 }, signal });
      // Without controllers pods never come, and so this share stays under way.
      if (traffic !== 'replicas') expect(await specs(objects)).toEqual(before);
    });

    it('applies nothing over a service that is there, unless told to', async () => {
      const namespace = await makeNamespace('twice');
      const folder = path.join(directory, 'twice');
      const init = ['init', folder, '--name', 'checkout', '--namespace', namespace, '--apply', '--json'];
      await run([...init, '--image', IMAGE], { env });
      await rm(folder, { recursive: true });

      const refused = await run([...init, '--image', 'ghcr.io/acme/checkout:2.0.0'], { env });
      const forced = await run([...init, '--image', IMAGE, '--force'], { env });

      expect(refused.code).toBe(1);
      expect(refused.err).toContain('Deployment twice/checkout is there already; nothing was written or applied.');
      expect(forced.code).toBe(0);
      const { applied } = JSON.parse(forced.out) as { applied: { how: string }[] };
      expect(new Set(applied.map(({ how }) => how))).toEqual(new Set(['unchanged']));
    });

    it('applies nothing over a pair of which one has been released to', async () => {
      const namespace = await makeNamespace('pair');
      const folder = path.join(directory, 'pair');
      const init = ['init', folder, '--name', 'checkout', '--namespace', namespace, '--strategy', 'blueGreen'];
      const green = objectsFor('serviceSelector', namespace, 'blueGreen').find(
        ({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'checkout-green',
      );
      await admin.apply(green as KubernetesObject, options);

      const refused = await run([...init, '--image', IMAGE, '--apply'], { env });

      expect(refused.code).toBe(1);
      expect(refused.err).toContain('Deployment pair/checkout-green is there already; nothing was written or applied.');
    });

    it('makes a pair that a blue-green release finds its parts in', async () => {
      const namespace = await makeNamespace('released');
      const folder = path.join(directory, 'released');
      const init = ['init', folder, '--name', 'checkout', '--namespace', namespace, '--strategy', 'blueGreen'];
      await run([...init, '--image', IMAGE, '--apply'], { env });
      const { target } = plan(await loadSpec(path.join(folder, 'release.yaml')), IMAGE);
      if (target.kind !== 'kubernetes') throw new Error('not of a Kubernetes target');
      const unresolved = { ...target, resolveImage: 'never' as const };
      const release = createBlueGreenTarget(unresolved, { cluster: admin, resolve: (image) => Promise.resolve(image) });

      const seen = await release.observe({ version: 'ghcr.io/acme/checkout:2.0.0', signal });

      expect(seen).toMatchObject({ stableVersion: IMAGE, canaryVersion: null, idle: 'green' });
    });

    it('takes nothing from a release in progress, even when told to apply over it', async () => {
      const namespace = await makeNamespace('releasing');
      const folder = path.join(directory, 'releasing');
      const init = ['init', folder, '--name', 'checkout', '--namespace', namespace, '--image', IMAGE, '--apply'];
      await run(init, { env });
      const services = { namespace, stable: 'checkout', canary: 'checkout-canary' };
      const settings: TrafficSettings = { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'checkout' }] };
      const fence = { release: 'r', epoch: 1, attempt: 1, step: 1 };
      const router = createTrafficRouter(admin, services, settings);
      await router.apply({ document: { weight: 25, match: [] }, fence, signal });

      const ran = await run([...init, '--force'], { env });

      expect(ran.code).toBe(1);
      expect(ran.err).toContain('Fields of HTTPRoute releasing/checkout are owned by somebody else');
      expect((await router.observe(options)).weight).toBe(25);
    });

    it('refuses a field that the server does not know', async () => {
      const namespace = await makeNamespace('strict');
      const [first, ...rest] = objectsFor('gatewayAPI', namespace);
      const route = rest.at(-1) as KubernetesObject;
      const misspelt = { ...route, spec: { ...(route['spec'] as object), hostname: ['a.test'] } };

      const checked = checkObjects(admin, [first as KubernetesObject, misspelt], signal);

      await expect(checked).rejects.toMatchObject({
        name: 'ReleaseError',
        message: expect.stringContaining('hostname'),
      });
    });

    it('is open to those who may do all that the worker is to do, and not more', async () => {
      const namespace = await makeNamespace('owned');
      const rbac = 'rbac.authorization.k8s.io';
      const metadata = { name: 'owner', namespace };
      const rule = (apiGroup: string, ...resources: string[]) => ({ apiGroups: [apiGroup], resources, verbs: ['*'] });
      await admin.apply(
        {
          apiVersion: `${rbac}/v1`,
          kind: 'Role',
          metadata,
          rules: [
            rule('', 'serviceaccounts', 'services', 'services/proxy', 'pods', 'events'),
            rule('apps', 'deployments', 'replicasets'),
            rule('policy', 'poddisruptionbudgets'),
            rule('autoscaling', 'horizontalpodautoscalers'),
            rule('monitoring.coreos.com', 'servicemonitors'),
            rule('networking.k8s.io', 'ingresses'),
            { apiGroups: [rbac], resources: ['roles', 'rolebindings'], verbs: ['get', 'create', 'patch'] },
          ],
        },
        options,
      );
      await admin.apply(
        {
          apiVersion: `${rbac}/v1`,
          kind: 'RoleBinding',
          metadata,
          roleRef: { apiGroup: rbac, kind: 'Role', name: 'owner' },
          subjects: [{ apiGroup: rbac, kind: 'User', name: 'limited' }],
        },
        options,
      );
      const owner = server().connect({ context: 'limited' });
      const objects = objectsFor('nginx', namespace);
      await until(async () => {
        const services = { verb: 'get', group: '', resource: 'services', namespace };
        return (await owner.mayI(services, options)).allowed;
      });

      const unknown = await checkObjects(owner, objects, signal);
      const applied = await applyObjects(owner, objects, signal);
      owner.close();

      expect(unknown.map(({ kind }) => kind)).toEqual(['RoleBinding']);
      expect(applied).toHaveLength(objects.length);
      expect(await checkObjects(owner, objects, signal)).toEqual([]);
    });

    it('deletes what it made when one of the objects fails after all', async () => {
      const namespace = await makeNamespace('undone');
      const objects = objectsFor('nginx', namespace);
      const present = objects.find(({ kind }) => kind === 'Role') as KubernetesObject;
      await admin.apply({ ...present, rules: [] }, options);
      const failing = new Proxy(admin, {
        get(target, property: keyof Cluster) {
          if (property === 'apply') {
            return (object: KubernetesObject, given: Parameters<Cluster['apply']>[1]) =>
              object.kind === 'Ingress'
                ? Promise.reject(new Error('The webhook is away.'))
                : target.apply(object, given);
          }
          const value: unknown = target[property];
          return typeof value === 'function' ? (value.bind(target) as unknown) : value;
        },
      });

      const applied = applyObjects(failing, objects, signal);

      await expect(applied).rejects.toMatchObject({
        message: expect.stringMatching(
          /^The webhook is away\. Deleted again: .*Deployment undone\/checkout, .*Left as applied: Role undone\/sluice-checkout\.$/u,
        ),
      });
      for (const object of objects.filter((each) => each !== present)) {
        const found = await admin.find(refOf(object), options);
        // Some of them have a finalizer, and are gone a moment later.
        expect(found?.metadata.deletionTimestamp ?? null).toBe(found === null ? null : expect.any(String));
      }
      expect(await admin.find(refOf(present), options)).not.toBeNull();
    });
  });

  async function specs(objects: readonly KubernetesObject[]): Promise<unknown[]> {
    return Promise.all(objects.map(async (object) => (await admin.get(refOf(object), options))['spec']));
  }
});

function settingsOf(
  traffic: Extract<ReturnType<typeof plan>['target'], { kind: 'kubernetes' }>['traffic'],
  { first, idle }: { readonly first: string; readonly idle: string },
): TrafficSettings {
  const selects = (track: string) => ({ 'app.kubernetes.io/name': 'checkout', 'sluice.dev/track': track });
  switch (traffic.kind) {
    case 'serviceSelector':
      return { ...traffic, stable: selects(first), canary: selects(idle) };
    case 'replicas':
      return { ...traffic, stableDeployment: 'checkout', canaryDeployment: 'checkout-canary', total: 4 };
    default:
      return traffic;
  }
}
