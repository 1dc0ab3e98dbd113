import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { serviceFiles } from '../../src/cli/init/service-files';
import { settingsFrom, TRAFFIC_KINDS } from '../../src/cli/init/settings';
import type { TrafficKind } from '../../src/cli/init/settings';
import type { Cluster } from '../../src/targets/kubernetes/cluster';
import { refOf } from '../../src/targets/kubernetes/objects';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import { createTrafficRouter } from '../../src/traffic/create-traffic-router';
import type { TrafficSettings } from '../../src/traffic/create-traffic-router';
import { TRAFFIC_ANNOTATION } from '../../src/traffic/held-object';
import type { TrafficDocument } from '../../src/traffic/traffic-router';
import { Runbook } from '../e2e/runbook';
import { findKubectl } from '../lab/parts';
import { describeWithApiServer, installDefinitions, until } from '../targets/kubernetes/api-server';
import { DeploymentController } from '../targets/kubernetes/deployment-controller';

const run = promisify(execFile);
const signal = AbortSignal.timeout(10 * 60_000);
const IMAGE = 'registry.example/checkout:v1';
const PAGE = new Runbook(path.join(__dirname, '..', '..'), 'roll-back-by-hand.md');
const LABELS = { 'app.kubernetes.io/name': 'checkout' };

interface Way {
  readonly title: string;
  readonly settings: TrafficSettings;
  /** What the release has asked for when it is taken back. */
  readonly document: TrafficDocument;
}

const HALF: TrafficDocument = { weight: 50, match: [] };

/** Each way to split traffic, and the section that takes it back. */
const WAYS: Readonly<Record<TrafficKind, Way>> = {
  gatewayAPI: {
    title: 'With kubectl alone',
    settings: { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'checkout' }] },
    document: HALF,
  },
  nginx: {
    title: 'NGINX',
    settings: { kind: 'nginx', ingresses: ['checkout'] },
    document: {
      weight: 50,
      match: [
        { kind: 'header', name: 'x-canary', value: 'yes' },
        { kind: 'cookie', name: 'canary' },
      ],
    },
  },
  traefik: { title: 'Traefik', settings: { kind: 'traefik', traefikService: 'checkout' }, document: HALF },
  istio: { title: 'Istio', settings: { kind: 'istio', virtualService: 'checkout' }, document: HALF },
  serviceSelector: {
    title: "A Service's selector",
    settings: {
      kind: 'serviceSelector',
      stable: { ...LABELS, 'sluice.dev/track': 'stable' },
      canary: { ...LABELS, 'sluice.dev/track': 'canary' },
    },
    document: { weight: 100, match: [] },
  },
  replicas: {
    title: 'The number of pods',
    settings: { kind: 'replicas', stableDeployment: 'checkout', canaryDeployment: 'checkout-canary', total: 4 },
    document: HALF,
  },
};

const KINDS = ['Deployment', 'Service', 'HTTPRoute', 'Ingress', 'TraefikService', 'VirtualService'];

/** Of what `sluice init` writes, the objects that a release writes to. */
function initialised(namespace: string, traffic: TrafficKind): readonly KubernetesObject[] {
  const settings = settingsFrom({ image: IMAGE, name: 'checkout', namespace, traffic, replicas: '4' }, '.');
  return serviceFiles(settings).objects.filter(({ kind }) => KINDS.includes(kind));
}

const kubectl = findKubectl();
if (kubectl === undefined) process.stderr.write('skipped the blocks of roll-back-by-hand.md: there is no kubectl\n');
const describeBlocks = kubectl === undefined ? describe.skip : describe;

/** The release, the commands by hand a minute later, and the release after them. */
const EPOCHS = { release: Date.now() - 60_000, next: Date.now() + 24 * 3_600_000 } as const;

describeBlocks('docs/runbooks/roll-back-by-hand.md', () => {
  describeWithApiServer('with kubectl alone, against a real API server', (server) => {
    let cluster: Cluster;
    let home: string;

    beforeAll(async () => {
      cluster = server().connect();
      home = mkdtempSync(path.join(tmpdir(), 'sluice-by-hand-'));
      await installDefinitions(cluster, ['httproutes', 'traefikservices', 'istio.io']);
    }, 300_000);

    afterAll(() => {
      cluster.close();
      rmSync(home, { recursive: true, force: true });
    });

    /** Gives commands as somebody on duty does, but for the waiting: there are no requests here. */
    const give = async (namespace: string, commands: string): Promise<void> => {
      await run('bash', ['-euo', 'pipefail', '-c', `sleep() { :; }\n${commands}`], {
        env: {
          PATH: [path.dirname(kubectl ?? ''), process.env['PATH'] ?? ''].join(path.delimiter),
          HOME: home,
          KUBECONFIG: server().kubeconfig,
          NAMESPACE: namespace,
          SERVICE: 'checkout',
        },
      });
    };

    it.each(TRAFFIC_KINDS)('takes a release by %s back for good, and leaves the next one its way', async (traffic) => {
      const { title, settings, document } = WAYS[traffic];
      const namespace = `by-hand-${traffic}`.toLowerCase();
      const inGit = initialised(namespace, traffic);
      const makeAll = async (): Promise<void> => {
        for (const object of inGit) {
          if ((await cluster.find(refOf(object), { signal })) === null) await cluster.create(object, { signal });
        }
      };
      await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, { signal });
      await makeAll();
      const controller = new DeploymentController(
        server().connect({ fieldManager: 'deployment-controller' }),
        namespace,
      );
      const services = { namespace, stable: 'checkout', canary: 'checkout-canary' };
      const router = createTrafficRouter(cluster, services, settings);
      const apply = (release: keyof typeof EPOCHS, step: number): Promise<unknown> =>
        router.apply({ document, fence: { release, epoch: EPOCHS[release], step, attempt: 1 }, signal });
      const weight = async (): Promise<number | null> => (await router.observe({ signal, fresh: true })).weight;
      // Where pods are the share, one write goes as far as pods are there.
      const reach = (release: keyof typeof EPOCHS): Promise<void> =>
        until(async () => {
          await apply(release, 1);
          return (await weight()) === document.weight;
        });
      const [takeBack = '', ...cleanUp] = PAGE.section(title);

      try {
        await reach('release');
        await give(namespace, takeBack);
        const taken = await router.observe({ signal, fresh: true });
        const late = await apply('release', 2).catch((error: unknown) => error);
        await give(namespace, cleanUp.join('\n'));
        const later = await apply('release', 3).catch((error: unknown) => error);
        const left = await weight();
        const held = await Promise.all(inGit.map((object) => cluster.find(refOf(object), { signal })));
        await makeAll();
        const { foreignEdits } = await router.observe({ signal, fresh: true });
        await reach('next');

        expect(taken).toMatchObject({ weight: 0, match: [], fence: { release: 'by-hand' } });
        expect(late).toMatchObject({ kind: 'fenceLost' });
        expect(later).toBeInstanceOf(Error);
        expect(left).toBe(0);
        expect(held.flatMap((object) => Object.keys(object?.metadata.annotations ?? {}))).not.toContain(
          TRAFFIC_ANNOTATION,
        );
        expect(foreignEdits).toEqual([]);
      } finally {
        await controller.stop();
      }
    });
  });
});
