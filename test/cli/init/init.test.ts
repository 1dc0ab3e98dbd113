import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import { TRAFFIC_KINDS } from '../../../src/cli/init/settings';
import { parseSpec } from '../../../src/spec/load';
import { run, start } from '../harness';

let directory: string;
let folder: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'sluice-init-'));
  folder = path.join(directory, 'checkout');
});

afterEach(() => rm(directory, { recursive: true, force: true }));

interface Found {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: Readonly<Record<string, never>>;
}

async function manifests(): Promise<Found[]> {
  const names = await readdir(path.join(folder, 'kubernetes'));
  const texts = await Promise.all(names.map((name) => readFile(path.join(folder, 'kubernetes', name), 'utf8')));
  return texts.flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as Found));
}

async function one(kind: string, name = 'checkout'): Promise<Found | undefined> {
  return (await manifests()).find((found) => found.kind === kind && found.metadata.name === name);
}

const GIVEN = ['--image', 'ghcr.io/acme/checkout:1.0.0', '--prometheus', 'http://prometheus:9090'];

describe.each(TRAFFIC_KINDS)('sluice init --traffic %s', (traffic) => {
  it('writes a release.yaml that validates without a warning and can be planned', async () => {
    const ran = await run(['init', folder, '--namespace', 'shop', '--traffic', traffic, ...GIVEN]);

    expect(ran.code).toBe(0);
    const spec = path.join(folder, 'release.yaml');
    expect(await run(['validate', spec])).toEqual({ code: 0, out: `✔ ${spec} is valid.\n`, err: '' });
    const planned = await run(['plan', spec, '--image', 'ghcr.io/acme/checkout:1.1.0', '-o', 'json']);
    expect(JSON.parse(planned.out)).toMatchObject({
      service: 'checkout',
      namespace: 'shop',
      target: { kind: 'kubernetes', deployment: 'checkout', service: 'checkout', traffic: { kind: traffic } },
    });
  });

  it('names every file it wrote, and wrote no other', async () => {
    const ran = await run(['init', folder, '--traffic', traffic, ...GIVEN, '--json']);

    const { files } = JSON.parse(ran.out) as { files: string[] };
    const written = [...(await readdir(folder, { recursive: true, withFileTypes: true }))]
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name));
    expect([...files].sort()).toEqual(written.sort());
  });

  it('has examples in its comments that are valid, too', async () => {
    await run(['init', folder, '--traffic', traffic, ...GIVEN]);
    const text = await readFile(path.join(folder, 'release.yaml'), 'utf8');

    const uncommented = text.replace(/^( *)# ((- )?(match|approve|notify|config|drain): )/gmu, '$1$2');

    expect(uncommented).toMatch(/^ +- approve:/mu);
    expect(uncommented).toMatch(/^ +config: snapshot/mu);
    const parsed = parseSpec(uncommented, 'release.yaml');
    expect(parsed).toMatchObject({ ok: true });
  });

  it('gives the worker exactly what `sluice rbac` prints', async () => {
    await run(['init', folder, '--traffic', traffic, ...GIVEN]);

    const printed = await run(['rbac', path.join(folder, 'release.yaml'), '--service-account', 'sluice', '-o', 'json']);

    const kinds = ['ServiceAccount', 'Role', 'RoleBinding'];
    const written = (await manifests()).filter(({ kind }) => kinds.includes(kind));
    expect(written).toEqual((JSON.parse(printed.out) as { items: unknown[] }).items);
  });

  it('keeps the tracks apart', async () => {
    await run(['init', folder, '--traffic', traffic, ...GIVEN]);

    const pods = async (name: string): Promise<Record<string, string>> => {
      const spec = (await one('Deployment', name))?.spec as unknown as {
        template: { metadata: { labels: Record<string, string> } };
      };
      return spec.template.metadata.labels;
    };
    const selects = async (name: string, labels: Record<string, string>): Promise<boolean> => {
      const { selector } = (await one('Service', name))?.spec as unknown as { selector: Record<string, string> };
      return Object.entries(selector).every(([key, value]) => labels[key] === value);
    };
    const [stable, canary] = [await pods('checkout'), await pods('checkout-canary')];
    expect(await selects('checkout', stable)).toBe(true);
    // The number of pods is the share where nobody splits.
    expect(await selects('checkout', canary)).toBe(traffic === 'replicas');
    expect(await selects('checkout-canary', canary)).toBe(true);
    expect(await selects('checkout-canary', stable)).toBe(false);
  });
});

describe.each(TRAFFIC_KINDS.filter((kind) => kind !== 'replicas'))(
  'sluice init --strategy blueGreen --traffic %s',
  (traffic) => {
    const PAIR = ['--strategy', 'blueGreen', '--traffic', traffic];

    it('writes a release.yaml that validates without a warning, also with what its comments propose', async () => {
      const ran = await run(['init', folder, '--namespace', 'shop', ...PAIR, ...GIVEN]);

      expect(ran.code).toBe(0);
      const spec = path.join(folder, 'release.yaml');
      expect(await run(['validate', spec])).toEqual({ code: 0, out: `✔ ${spec} is valid.\n`, err: '' });
      const planned = await run(['plan', spec, '--image', 'ghcr.io/acme/checkout:1.1.0', '-o', 'json']);
      expect(JSON.parse(planned.out)).toMatchObject({
        target: { strategy: 'blueGreen', keepOldMs: 1_800_000, traffic: { kind: traffic } },
      });
      const text = await readFile(spec, 'utf8');
      const uncommented = text
        .replace(/^( *)# ((- )?(match|approve|notify|drain): )/gmu, '$1$2')
        .replace(/^( *)# (- \{ weight: )/gmu, '$1$2');
      expect(uncommented).toMatch(/^ +- approve:/mu);
      expect(/^ +- \{ weight: 10,/mu.test(uncommented)).toBe(traffic !== 'serviceSelector');
      expect(parseSpec(uncommented, 'release.yaml')).toMatchObject({ ok: true });
    });

    it('writes two colours, of which the Service finds one, and each has its preview', async () => {
      await run(['init', folder, ...PAIR, ...GIVEN]);

      const colours = ['blue', 'green'];
      const specOf = async (kind: string, name: string): Promise<Record<string, unknown>> =>
        (await one(kind, name))?.spec as unknown as Record<string, unknown>;
      const labels = (colour: string) => ({ 'app.kubernetes.io/name': 'checkout', 'sluice.dev/track': colour });
      for (const colour of colours) {
        expect(await specOf('Deployment', `checkout-${colour}`)).toMatchObject({
          selector: { matchLabels: labels(colour) },
          template: { metadata: { labels: labels(colour) } },
        });
        expect(await specOf('Service', `checkout-${colour}`)).toMatchObject({ selector: labels(colour) });
        expect(await specOf('HorizontalPodAutoscaler', `checkout-${colour}`)).toMatchObject({
          scaleTargetRef: { name: `checkout-${colour}` },
        });
        expect(await specOf('PodDisruptionBudget', `checkout-${colour}`)).toMatchObject({ minAvailable: 1 });
      }
      expect(await specOf('Service', 'checkout')).toMatchObject({ selector: labels('blue') });
      // The autoscaler sizes the one, and rests at the other.
      expect(await specOf('Deployment', 'checkout-blue')).not.toHaveProperty('replicas');
      expect(await specOf('Deployment', 'checkout-green')).toMatchObject({ replicas: 0 });
      const deployments = (await manifests()).filter(({ kind }) => kind === 'Deployment');
      expect(deployments.map(({ metadata }) => metadata.name)).toEqual(colours.map((colour) => `checkout-${colour}`));
    });

    it('gives the worker exactly what `sluice rbac` prints', async () => {
      await run(['init', folder, ...PAIR, ...GIVEN]);

      const printed = await run([
        'rbac',
        path.join(folder, 'release.yaml'),
        '--service-account',
        'sluice',
        '-o',
        'json',
      ]);

      const kinds = ['ServiceAccount', 'Role', 'RoleBinding'];
      const written = (await manifests()).filter(({ kind }) => kinds.includes(kind));
      expect(written).toEqual((JSON.parse(printed.out) as { items: unknown[] }).items);
    });
  },
);

describe('sluice init', () => {
  it('lets nobody split the traffic of a blue-green service unless told to', async () => {
    await run(['init', folder, '--strategy', 'bluegreen', ...GIVEN]);

    expect(await readFile(path.join(folder, 'release.yaml'), 'utf8')).toContain('traffic: { serviceSelector: {} }');
  });

  it('writes what was asked for', async () => {
    const ran = await run([
      ...['init', folder, '--name', 'cart', '--namespace', 'shop', '--image', 'ghcr.io/acme/cart:2.0.0'],
      ...['--port', '9000', '--health-path', '/ready', '--replicas', '3', '--host', 'cart.test'],
      ...['--gateway', 'infra/public', '--prometheus', 'https://prom.test', '--service-account', 'sluice/worker'],
    ]);

    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toContain(`✔ ${path.join(folder, 'release.yaml')}\n`);
    expect(await one('Deployment', 'cart')).toMatchObject({
      metadata: { namespace: 'shop' },
      spec: {
        template: {
          spec: {
            containers: [
              {
                image: 'ghcr.io/acme/cart:2.0.0',
                ports: [{ containerPort: 9000 }],
                readinessProbe: { httpGet: { path: '/ready', port: 'http' } },
                resources: { limits: { memory: '256Mi' } },
                securityContext: { readOnlyRootFilesystem: true },
              },
            ],
          },
        },
      },
    });
    expect((await one('Deployment', 'cart'))?.spec).not.toHaveProperty('replicas');
    expect(await one('Deployment', 'cart-canary')).toMatchObject({ spec: { replicas: 0 } });
    expect(await one('HorizontalPodAutoscaler', 'cart')).toMatchObject({ spec: { minReplicas: 3, maxReplicas: 10 } });
    expect(await one('PodDisruptionBudget', 'cart')).toMatchObject({ spec: { minAvailable: 1 } });
    expect(await one('ServiceMonitor', 'cart')).toMatchObject({ spec: { endpoints: [{ interval: '15s' }] } });
    expect(await one('HTTPRoute', 'cart')).toMatchObject({
      spec: {
        parentRefs: [{ name: 'public', namespace: 'infra' }],
        hostnames: ['cart.test'],
        rules: [
          {
            backendRefs: [
              { name: 'cart', weight: 100 },
              { name: 'cart-canary', weight: 0 },
            ],
          },
        ],
      },
    });
    expect(await one('RoleBinding', 'sluice-cart')).toMatchObject({
      subjects: [{ name: 'worker', namespace: 'sluice' }],
    });
    expect(await readFile(path.join(folder, 'release.yaml'), 'utf8')).toContain('"https://prom.test"');
  });

  /** What it says to do, without why. */
  function commandsOf(out: string): string[] {
    const lines = out.split('\n').filter((line) => /^( {2}\S|Next:|Or, )/.test(line));
    return lines.map((line) => line.replace(/ +#.*/, '').trim().replaceAll(folder, 'FOLDER'));
  }

  const DEPLOY = 'sluice deploy FOLDER/release.yaml --image';

  it('says what to do next, and what must be there, in the order in which somebody meets it', async () => {
    const away = ['--namespace', 'shop', '--service-account', 'sluice/worker'];

    const ran = await run(['init', folder, ...away, '--gateway', 'infra/public', ...GIVEN]);

    const apply = 'kubectl apply -f FOLDER/kubernetes';
    expect(commandsOf(ran.out)).toEqual([
      'Next:',
      'kubectl create namespace shop',
      'kubectl get namespace sluice',
      'kubectl get crd httproutes.gateway.networking.k8s.io',
      'kubectl get crd servicemonitors.monitoring.coreos.com',
      'kubectl get gateways.gateway.networking.k8s.io public -n infra',
      apply,
      `${DEPLOY} IMAGE:TAG`,
      `Or, to have the first version released, too, with its smoke test and its soak, in the place of that ${apply}:`,
      // Before there are Services nobody reaches the pods that are on their way.
      `${apply}/deployments.yaml`,
      'kubectl scale deployment checkout -n shop --replicas=0',
      apply,
      `${DEPLOY} ghcr.io/acme/checkout:1.0.0`,
    ]);
  });

  it.each<[args: string[], looks: string[], first: string | null]>([
    [['--traffic', 'nginx'], ['kubectl get ingressclass nginx'], 'checkout'],
    [['--traffic', 'traefik'], ['kubectl get crd traefikservices.traefik.io ingressroutes.traefik.io'], 'checkout'],
    [
      ['--traffic', 'istio', '--gateway', 'public'],
      [
        'kubectl get crd virtualservices.networking.istio.io',
        'kubectl get gateways.networking.istio.io public -n default',
      ],
      'checkout',
    ],
    [['--strategy', 'blueGreen'], [], 'checkout-blue'],
    // Where pods are the share, the first version cannot be released.
    [['--traffic', 'replicas'], [], null],
  ])(
    'says for %j what must be there, and whose pods are taken away for a first release',
    async (args, looks, first) => {
      const ran = await run(['init', folder, '--no-service-monitor', ...args, ...GIVEN]);

      const commands = commandsOf(ran.out);
      expect(commands.filter((command) => / (get|create) /.test(command))).toEqual(looks);
      expect(commands.filter((command) => command.includes(' scale '))).toEqual(
        first === null ? [] : [`kubectl scale deployment ${first} -n default --replicas=0`],
      );
    },
  );

  it('does not say to take the pods of a service away that may be there', async () => {
    const ran = await run(['init', folder, ...GIVEN, '--force']);

    expect(ran.out).not.toContain('--replicas=0');
  });

  it('says commands that a shell takes as they are', async () => {
    folder = path.join(directory, "ada's shop");

    const ran = await run(['init', folder, '--name', 'checkout', ...GIVEN]);

    expect(ran.out).toContain(`kubectl apply -f '${directory}/ada'\\''s shop/kubernetes' `);
  });

  it.each([
    ['2', 10],
    ['5', 10],
    ['12', 24],
  ])('leaves the autoscaler of %s pods room for twice as many, and for ten at least', async (replicas, maxReplicas) => {
    await run(['init', folder, ...GIVEN, '--replicas', replicas]);

    expect(await one('HorizontalPodAutoscaler', 'checkout')).toMatchObject({
      spec: { minReplicas: Number(replicas), maxReplicas },
    });
  });

  it('asks nothing without a terminal, takes the name of the folder, and says what it assumed', async () => {
    folder = path.join(directory, '7 My_Service');

    const ran = await run(['init', folder]);

    expect(ran.code).toBe(0);
    expect(ran.err).toContain(
      'Assumed, and to be put right where it is not so: image registry.example.com/my-service:1.0.0',
    );
    expect(ran.err).toContain('host my-service.example.com (--host)');
    expect(await one('Deployment', 'my-service')).toBeDefined();
  });

  it('quotes names that YAML would take for something else', async () => {
    const ran = await run(['init', folder, ...GIVEN, '--name', 'null', '--namespace', '123']);

    expect(ran.code).toBe(0);
    expect((await run(['validate', path.join(folder, 'release.yaml')])).code).toBe(0);
    expect(await one('Deployment', 'null')).toMatchObject({ metadata: { namespace: '123' } });
  });

  it('writes everything out: no anchors to edit in two places', async () => {
    await run(['init', folder, ...GIVEN]);

    expect(await readFile(path.join(folder, 'kubernetes/deployments.yaml'), 'utf8')).not.toMatch(/[&*]a\d/u);
  });

  it('asks on a terminal for what was not given', async () => {
    const running = start(['init', folder, '--image', 'ghcr.io/acme/x:1'], {
      tty: 100,
      input: 'cart\nshop\n\nnginx\ncart.test\n',
    });

    const ran = await running.ended;

    expect(ran.code).toBe(0);
    expect(ran.err).toContain('Name of the service [checkout]: ');
    expect(ran.err).toContain('Host that users reach it by [cart.example.com]: ');
    expect(ran.err).not.toContain('Image of the first deployment');
    expect(await one('Ingress', 'cart')).toMatchObject({
      metadata: { namespace: 'shop' },
      spec: { rules: [{ host: 'cart.test' }] },
    });
  });

  it('asks nothing with --yes', async () => {
    const ran = await run(['init', folder, ...GIVEN, '--yes'], { tty: 100 });

    expect(ran.code).toBe(0);
    expect(ran.err).not.toContain('Name of the service');
  });

  it('overwrites nothing, names every file that is there, and does so with --force', async () => {
    await mkdir(path.join(folder, 'kubernetes'), { recursive: true });
    const mine = [path.join(folder, 'release.yaml'), path.join(folder, 'kubernetes/services.yaml')];
    for (const file of mine) await writeFile(file, 'mine');

    const refused = await run(['init', folder, ...GIVEN]);

    expect(refused).toMatchObject({ code: 1, out: '' });
    for (const file of mine) {
      expect(refused.err).toContain(file);
      expect(await readFile(file, 'utf8')).toBe('mine');
    }
    expect(await readdir(path.join(folder, 'kubernetes'))).toEqual(['services.yaml']);
    expect((await run(['init', folder, ...GIVEN, '--force'])).code).toBe(0);
    for (const file of mine) expect(await readFile(file, 'utf8')).not.toBe('mine');
  });

  it('says where it cannot write', async () => {
    await writeFile(folder, 'a file');

    const ran = await run(['init', folder, ...GIVEN]);

    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(/release\.yaml cannot be written .*Nothing was written\./u);
  });

  it('leaves out what does not fit', async () => {
    await run(['init', folder, ...GIVEN, '--traffic', 'replicas', '--no-service-monitor']);

    const kinds = (await manifests()).map(({ kind }) => kind);
    expect(kinds).not.toContain('ServiceMonitor');
    // It would move the traffic.
    expect(kinds).not.toContain('HorizontalPodAutoscaler');
    expect(await one('Deployment')).toMatchObject({ spec: { replicas: 4 } });
  });

  it('serves the mesh alone with Istio, and a host through a Gateway', async () => {
    await run(['init', folder, ...GIVEN, '--traffic', 'istio', '--namespace', 'shop']);
    const mesh = await one('VirtualService');
    await run([
      'init',
      folder,
      ...GIVEN,
      '--traffic',
      'istio',
      '--namespace',
      'shop',
      '--gateway',
      'public',
      '--force',
    ]);

    expect(mesh?.spec).toMatchObject({ hosts: ['checkout.shop.svc.cluster.local'] });
    expect(mesh?.spec).not.toHaveProperty('gateways');
    expect((await one('VirtualService'))?.spec).toMatchObject({
      hosts: ['checkout.example.com'],
      gateways: ['shop/public'],
    });
  });

  it.each([
    [['--name', 'Checkout'], '--name "Checkout" is not allowed.'],
    [['--name', 'x'.repeat(57)], 'is not allowed.'],
    [['--namespace', 'a.b'], '--namespace "a.b" is not allowed.'],
    [['--image', 'checkout'], 'names neither a tag nor a digest.'],
    [['--port', '0'], '--port "0" is not allowed.'],
    [['--port', 'http'], '--port "http" is not allowed.'],
    [['--health-path', 'healthz'], '--health-path "healthz" is not allowed.'],
    [['--replicas', '1'], '--replicas "1" is not allowed.'],
    [['--traffic', 'haproxy'], '--traffic "haproxy" is not known.'],
    [['--strategy', 'rolling'], '--strategy "rolling" is not known.'],
    [
      ['--strategy', 'blueGreen', '--traffic', 'replicas'],
      'mixes the pods of both versions, which blueGreen never does.',
    ],
    [['--strategy', 'blueGreen', '--host', 'a.test'], '--host is given, and serviceSelector knows none.'],
    [['--host', 'a b'], '--host "a b" is not allowed.'],
    [['--host', 'a`) || Host(`b'], 'is not allowed.'],
    [['--host', 'a.test', '--traffic', 'replicas'], '--host is given, and replicas knows none.'],
    [['--host', 'a.test', '--traffic', 'istio'], 'istio without --gateway serves the mesh alone.'],
    [['--gateway', 'g', '--traffic', 'nginx'], '--gateway is given, and nginx knows none.'],
    [['--gateway', 'a/b/c'], '--gateway "a/b/c" is not allowed.'],
    [['--prometheus', 'http://me:secret@prom'], '--prometheus is not an address that can be asked.'],
    [['--service-account', 'a/b/c'], 'is no ServiceAccount.'],
    [['--apply'], 'It is not said which image is to run first.'],
  ])('refuses %j with one sentence, and writes nothing', async (args, sentence) => {
    const ran = await run(['init', folder, ...args]);

    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err).toContain(sentence);
    expect(ran.err).not.toContain('secret');
    await expect(readdir(folder)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('says that there is no cluster, before it writes', async () => {
    const ran = await run(['init', folder, ...GIVEN, '--apply'], { env: { KUBECONFIG: '/nonexistent/config' } });

    expect(ran.code).toBe(2);
    expect(ran.err).toContain('The kubeconfig /nonexistent/config does not exist.');
    await expect(readdir(folder)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
