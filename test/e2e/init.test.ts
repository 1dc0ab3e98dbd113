import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import { refOf } from '../../src/targets/kubernetes/objects';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import type { ReleaseStatus } from '../../src/workflows/api';
import { builtSluice, BUILD_WITHIN_MS } from '../examples/built-sluice';
import { describeWithLab } from '../lab/describe-with-lab';
import { GATEWAY_CLASS } from '../lab/layout';
import { removeShop, shopImage } from '../lab/shop';
import { shopHost } from '../lab/shop-manifests';
import { eventually } from './eventually';
import { limitedKubeconfig } from './limited-kubeconfig';
import type { LimitedKubeconfig } from './limited-kubeconfig';
import { Load } from './load';
import { ended, startReleaseStack } from './release-stack';
import type { ReleaseStack } from './release-stack';
import { OnDuty } from './runbook';
import { together } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

const ROOT = path.join(__dirname, '..', '..');

/** Pods are started, and the autoscaler and the gateway have heard of them. */
const WITHIN_MS = 120_000;

/** Everything of a namespace that a release could leave behind, as kubectl names it. */
const KINDS = 'deployments,services,configmaps,secrets,httproutes,horizontalpodautoscalers,poddisruptionbudgets';

/** Without a release: the autoscaler's least, and none. */
const SIZES: Readonly<Record<string, number>> = { 'Deployment/shop': 2, 'Deployment/shop-canary': 0 };

/** A service that `sluice init` has written: the shop, started as somebody starts it who reads what `init` prints. */
interface Begun {
  readonly onDuty: OnDuty;
  readonly namespace: string;
  readonly load: Load;
  /** What `init` says under a heading, as commands. */
  readonly steps: (heading: RegExp) => readonly string[];
}

describeWithLab('what sluice init writes, on a real cluster', (lab) => {
  let worker: LimitedKubeconfig;
  let stack: ReleaseStack;
  const signal = (): AbortSignal => AbortSignal.timeout(20_000);

  beforeAll(() => builtSluice(), BUILD_WITHIN_MS);
  beforeAll(async () => {
    // It has no right but those of access.yaml. The Gateway is the platform team's, in a namespace of its own.
    worker = await limitedKubeconfig(lab, `e2e-${process.pid}-init`);
    stack = await startReleaseStack(lab, { kubeconfig: worker.path });
    const listener = {
      name: 'web',
      protocol: 'HTTP',
      port: lab.listenerPort,
      allowedRoutes: { namespaces: { from: 'All' } },
    };
    await stack.cluster.create(
      {
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind: 'Gateway',
        metadata: { name: 'public', namespace: worker.account.namespace },
        spec: { gatewayClassName: GATEWAY_CLASS, listeners: [listener] },
      },
      { signal: signal() },
    );
  });
  afterAll(async () => {
    await stack?.stop();
    await worker?.remove();
  });

  const service = (suffix: string, play: (begun: Begun) => Promise<void>) => async (): Promise<void> => {
    const namespace = `e2e-${process.pid}-init-${suffix}`;
    const onDuty = await OnDuty.begin(lab, { root: ROOT, namespace, address: stack.address });
    const load = new Load(lab.gatewayUrl, shopHost(namespace), { perSecond: 40 });
    try {
      const { namespace: account, name } = worker.account;
      const said = await onDuty.succeed(
        `sluice init shop --namespace ${namespace} --image ${shopImage(lab, 'v1')} --host ${shopHost(namespace)} ` +
          `--gateway ${account}/public --service-account ${account}/${name} --prometheus ${lab.prometheusUrl}`,
      );
      await scrapeAsTheLab(path.join(onDuty.folder, 'shop'));
      const steps = (heading: RegExp): readonly string[] => {
        const lines = said.split('\n');
        const begin = lines.findIndex((line) => heading.test(line)) + 1;
        if (begin === 0) throw new Error(`init does not say ${String(heading)}: ${said}`);
        const length = lines.slice(begin).findIndex((line) => !line.startsWith('  '));
        return lines.slice(begin, begin + length);
      };
      await play({ onDuty, namespace, load, steps });
    } finally {
      await load.stop();
      onDuty.end();
      await removeShop(lab, namespace);
    }
  };

  const ends = (namespace: string): Promise<ReleaseStatus> => ended(stack.client, namespace);

  const answers = (load: Load, version: string): Promise<void> =>
    eventually(
      () => load.served.length >= 20 && load.served.slice(-20).every((one) => one.version === version),
      `${version} answers`,
      WITHIN_MS,
    );

  /** The objects of the files, as they stand in the cluster, but for what the API server and controllers keep in them. */
  async function written({ onDuty }: Begun): Promise<ReadonlyMap<string, object>> {
    const found = new Map<string, object>();
    for (const object of await objectsIn(path.join(onDuty.folder, 'shop', 'kubernetes'))) {
      const live = await stack.cluster.get(refOf(object), { signal: signal() });
      const { labels = {}, annotations = {} } = live.metadata;
      const kept = Object.entries(annotations).filter(([key]) => !/^sluice\.dev\/fence$|kubernetes\.io\//.test(key));
      const { metadata: _, status: __, ...rest } = live;
      found.set(`${live.kind}/${live.metadata.name}`, { ...rest, labels, annotations: Object.fromEntries(kept) });
    }
    return found;
  }

  /** Promoted: every object is as it was before, but for the image, and two pods of stable by the autoscaler. */
  async function expectPromoted(
    begun: Begun,
    status: ReleaseStatus,
    before: ReadonlyMap<string, object>,
  ): Promise<void> {
    expect(`${status.outcome}: ${status.message}`).toMatch(/^promoted/);
    expect(status.compensations ?? []).toEqual([]);
    await settled(begun);
    const image = status.version.artifact ?? '';
    const expected = [...before].map(([name, object]) => [
      name,
      name in SIZES ? released(name, object, image) : object,
    ]);
    expect([...(await written(begun))]).toEqual(expected);
  }

  /** Stable's pods are as many as the autoscaler asks for, and the canary has none. */
  async function settled({ namespace }: Begun): Promise<void> {
    const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', namespace };
    await eventually(
      async () => {
        const found = await stack.cluster.list(deployment, { signal: signal() });
        const counts = found.map((one) => {
          const { metadata, spec, status } = one as unknown as DeploymentNumbers;
          const { replicas = 0, availableReplicas = 0 } = status;
          return [`Deployment/${metadata.name}`, spec.replicas, replicas, availableReplicas].join(' ');
        });
        const wanted = Object.entries(SIZES).map(([name, size]) => `${name} ${size} ${size} ${size}`);
        return counts.sort().join() === wanted.join();
      },
      'stable has two pods, and the canary none',
      WITHIN_MS,
    );
  }

  const names = async ({ onDuty, namespace }: Begun): Promise<readonly string[]> =>
    (await onDuty.succeed(`kubectl get ${KINDS} -n ${namespace} -o name`)).trimEnd().split('\n');

  together({
    'runs as it is applied, and its next version is promoted without a failed request': service(
      'plain',
      async (begun) => {
        const { onDuty, load, namespace, steps } = begun;
        await onDuty.succeed(...steps(/^Next:$/).filter((line) => !line.includes('sluice deploy')));
        await answers(load, 'v1');
        await settled(begun);
        const [before, objects, since] = [await written(begun), await names(begun), Date.now()];

        const next = steps(/^Next:$/).find((line) => line.includes('sluice deploy')) ?? '';
        await onDuty.succeed(next.replace('IMAGE:TAG', shopImage(lab, 'v2')));
        const status = await ends(namespace);

        await expectPromoted(begun, status, before);
        await answers(load, 'v2');
        expect(await names(begun)).toEqual(objects);
        const served = (await load.stop()).filter(({ at }) => at >= since);
        const lost = served.filter(({ status: code }) => code !== 200);
        process.stderr.write(`e2e: init, the next version: ${served.length} requests, ${lost.length} lost\n`);
        expect(lost).toEqual([]);
        expect(new Set(served.map(({ version }) => version))).toEqual(new Set(['v1', 'v2']));
      },
    ),

    'has its first version released, too: nobody is served before its smoke test': service('first', async (begun) => {
      const { onDuty, load, namespace, steps } = begun;
      const [makeNamespace = ''] = steps(/^Next:$/);
      const guarded = steps(/^Or, to have the first version released, too/);
      await onDuty.succeed(makeNamespace, ...guarded.filter((line) => !line.includes('sluice deploy')));
      const pods = { apiVersion: 'v1', kind: 'Pod', namespace };
      await eventually(
        async () => (await stack.cluster.list(pods, { signal: signal() })).length === 0,
        'those that were on their way have gone',
        WITHIN_MS,
      );
      // The autoscaler, whose least is two, looks every two seconds, and rests.
      const autoscaler = { apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler', namespace, name: 'shop' };
      await eventually(async () => {
        const { status } = await stack.cluster.get(autoscaler, { signal: signal() });
        return JSON.stringify(status ?? {}).includes('ScalingDisabled');
      }, 'the autoscaler rests');
      const [before, objects] = [await written(begun), await names(begun)];

      await onDuty.succeed(...guarded.filter((line) => line.includes('sluice deploy')));
      const status = await ends(namespace);
      await answers(load, 'v1');

      await expectPromoted(begun, status, before);
      expect(status.version.from).toBeNull();
      const tested = status.events.find(({ type }) => type === 'smokeTestPassed')?.at ?? Infinity;
      const served = (await load.stop()).filter(({ version }) => version !== null);
      expect(served.filter(({ at }) => at < tested)).toEqual([]);
      const first = served[0]?.at ?? Infinity;
      const since = load.served.filter(({ at }) => at >= first);
      const lost = since.filter(({ status: code }) => code !== 200);
      process.stderr.write(
        `e2e: init, the first version: ${since.length} requests since its first answer, ${lost.length} lost\n`,
      );
      expect(lost).toEqual([]);
      expect(await names(begun)).toEqual(objects);
    }),
  });
});

/** A Deployment after a promotion: the canary without pods keeps what was released last, too. */
function released(name: string, deployment: object, image: string): object {
  const { spec, ...rest } = deployment as {
    spec: { template: { spec: { containers: readonly object[] } & object } & object };
  };
  const pods = spec.template.spec;
  const containers = pods.containers.map((container) => ({ ...container, image }));
  const template = { ...spec.template, spec: { ...pods, containers } };
  return { ...rest, spec: { ...spec, replicas: SIZES[name], template } };
}

interface DeploymentNumbers {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly replicas: number };
  readonly status: { readonly replicas?: number; readonly availableReplicas?: number };
}

async function objectsIn(folder: string): Promise<readonly KubernetesObject[]> {
  const texts = await Promise.all(
    (await readdir(folder)).sort().map((file) => readFile(path.join(folder, file), 'utf8')),
  );
  return texts.flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as KubernetesObject));
}

/**
 * What somebody edits in the lab: it has the definition of ServiceMonitors, and no operator that reads them, so that its
 * pods are to be found as its Prometheus finds them; and the soaks of a test are shorter than those of a service.
 */
async function scrapeAsTheLab(folder: string): Promise<void> {
  const deployments = path.join(folder, 'kubernetes', 'deployments.yaml');
  const documents = parseAllDocuments(await readFile(deployments, 'utf8')).map((document) => {
    const pods = ['spec', 'template', 'metadata'];
    document.setIn([...pods, 'labels', 'sluice.dev/service'], 'shop');
    document.setIn([...pods, 'annotations'], { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '8080' });
    return stringify(document);
  });
  await writeFile(deployments, documents.join(''));
  const release = path.join(folder, 'release.yaml');
  const spec = await readFile(release, 'utf8');
  const window = 'interval: 2s\n    window: 8s\n    minMeasurements: 2\n    minRequests: 5';
  const shorter = spec
    .replace(/- \{ weight: 5, soak: 2m \}\n */, '')
    .replaceAll('soak: 2m', 'soak: 10s')
    .replace(/# drain: 30s/, 'drain: 2s')
    .replace(/interval: 15s.*/, window);
  await writeFile(release, shorter);
}
