import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ANY_IMAGE, createSpecTools } from '../../src/cli/spec-source';
import type { Plan } from '../../src/spec/plan-types';
import { ReleaseError } from '../../src/errors';
import { FakeApi, answer, status as kubernetesStatus } from '../targets/kubernetes/fake-api';
import { deploymentObject } from '../targets/kubernetes/deployment-objects';
import { FakeSluice } from './fake-client';
import { run } from './harness';
import type { Ran } from './harness';
import { aStatus, START } from './statuses';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const V1 = 'example.test/checkout:1.41.0';
const V2 = `example.test/checkout@${DIGEST}`;

function specOf(kubernetes: string): string {
  return `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout, namespace: shop }
spec:
  target:
    kubernetes: { deployment: checkout, service: checkout, ${kubernetes} }
  steps:
    - { weight: 5, soak: 60s }
    - { weight: 50, soak: 2m }
    - { weight: 100, soak: 3m }
  analysis: { source: { prometheus: { url: "http://127.0.0.1:9" } }, preset: http }
`;
}

const SPECS = {
  canary: specOf('traffic: { traefik: { traefikService: checkout } }'),
  never: specOf('traffic: { traefik: { traefikService: checkout } }, resolveImage: never'),
  selector: specOf('traffic: { serviceSelector: {} }').replace(/^ +- \{ weight: (5|50),.*\n/gmu, ''),
  colours: specOf('traffic: { traefik: { traefikService: checkout } }, strategy: blueGreen'),
  router: `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout, namespace: shop }
spec: { target: { router: { instances: ["http://127.0.0.1:1"] } } }
`,
};

const PROMOTED = { phase: 'promoted', outcome: 'promoted', soak: null, endedAt: START + 1 } as const;

let api: FakeApi;
let directory: string;
let env: NodeJS.ProcessEnv;
/** By their path behind the namespace: `deployments/checkout`. */
let objects: Map<string, unknown>;

beforeAll(async () => {
  api = await new FakeApi().start();
  directory = await mkdtemp(path.join(tmpdir(), 'sluice-short-'));
  for (const [name, text] of Object.entries(SPECS)) await writeFile(fileOf(name as keyof typeof SPECS), text);
  const kubeconfig = path.join(directory, 'kubeconfig');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server: api.url, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'me', user: { token: 'the-secret-token' } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'me' } }],
    'current-context': 'test',
  };
  await writeFile(kubeconfig, JSON.stringify(config));
  env = { KUBECONFIG: kubeconfig };
});

afterAll(async () => {
  await api.stop();
  await rm(directory, { recursive: true, force: true });
});

beforeEach(() => {
  objects = new Map();
  api.requests.length = 0;
  api.handlers = [
    (request, response, body) => {
      const url = new URL(request.url ?? '', api.url);
      const at = /\/namespaces\/shop\/(.+)$/u.exec(url.pathname)?.[1];
      const found = at === undefined ? RESOURCES[url.pathname] : at.includes('/') ? objects.get(at) : listOf(at);
      const handler = found === undefined ? kubernetesStatus(404, 'NotFound', `${at} not found`) : answer(200, found);
      handler(request, response, body);
    },
  ];
});

const RESOURCES: Readonly<Record<string, unknown>> = {
  '/api/v1/namespaces/shop': { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
  '/apis/traefik.io/v1alpha1': {
    kind: 'APIResourceList',
    groupVersion: 'traefik.io/v1alpha1',
    resources: [{ name: 'traefikservices', kind: 'TraefikService', namespaced: true, verbs: ['get', 'patch'] }],
  },
};

/** Lists are of what a release made, and of pods; these shops have neither, unless a test puts them there. */
function listOf(resource: string): unknown {
  return { kind: 'List', apiVersion: 'v1', metadata: {}, items: objects.get(resource) ?? [] };
}

function fileOf(name: keyof typeof SPECS): string {
  return path.join(directory, `${name}.yaml`);
}

interface Made {
  readonly image: string;
  readonly replicas?: number;
  readonly ready?: number;
  readonly fence?: string;
}

function put(name: string, { image, replicas = 2, ready = replicas, fence }: Made): void {
  const labels = { app: name };
  const annotations = fence === undefined ? {} : { 'sluice.dev/fence': fence };
  const spec = {
    replicas,
    selector: { matchLabels: labels },
    template: { metadata: { labels }, spec: { containers: [{ name: 'web', image }] } },
  };
  objects.set(
    `deployments/${name}`,
    deploymentObject(spec, { readyReplicas: ready }, { name, uid: name, annotations }),
  );
}

function putService(app: string): void {
  const metadata = { name: 'checkout', namespace: 'shop', uid: 's', resourceVersion: '1' };
  const spec = { selector: { app }, ports: [{ port: 80 }] };
  objects.set('services/checkout', { apiVersion: 'v1', kind: 'Service', metadata, spec });
}

/** How the traffic is split; the second one is left out at 0 %. */
function putSplit(other: string, weight: number): void {
  const services = [
    { name: 'checkout', port: 80, weight: 100 - weight },
    ...(weight === 0 ? [] : [{ name: other, port: 80, weight }]),
  ];
  objects.set('traefikservices/checkout', {
    apiVersion: 'traefik.io/v1alpha1',
    kind: 'TraefikService',
    metadata: { name: 'checkout', namespace: 'shop', uid: 't', resourceVersion: '1' },
    spec: { weighted: { services } },
  });
}

function putCanaryShop(canary: Made | null = { image: V2 }, weight = 0): void {
  put('checkout', { image: V1, replicas: 4, ready: 3 });
  if (canary !== null) put('checkout-canary', canary);
  putService('checkout');
  putSplit('checkout-canary', weight);
}

function putColours(active: 'blue' | 'green', weight = 0): void {
  put('checkout-blue', { image: V1 });
  put('checkout-green', { image: V2, replicas: 0 });
  putService(`checkout-${active}`);
  putSplit(`checkout-${active === 'blue' ? 'green' : 'blue'}`, weight);
}

function sluice(args: readonly string[], client = new FakeSluice()): Promise<Ran> {
  return run(args, { client, env });
}

/** The plan that was started, by what it comes to. */
function gist({ version, short, steps }: Plan): unknown {
  const words = steps.map((step) => (step.kind === 'weight' ? `${step.name} for ${step.soakMs / 1000} s` : step.name));
  return { version, short, steps: words };
}

describe('sluice traffic and sluice promote without a release in progress', () => {
  it.each<[string, string[], unknown]>([
    [
      'traffic',
      ['traffic', 'shop/checkout', '25', '--hold', '4h'],
      {
        version: V2,
        short: 'traffic',
        steps: ['deploy', 'weight 25 % for 120 s', 'promote or back', 'weight 100 % for 180 s', 'promote'],
      },
    ],
    [
      'promote',
      ['promote', 'shop/checkout'],
      { version: V2, short: 'promote', steps: ['deploy', 'weight 100 % for 180 s', 'promote'] },
    ],
  ])('%s starts a short release of what the canary runs', async (_, args, expected) => {
    putCanaryShop();
    const client = new FakeSluice(aStatus(PROMOTED));

    const ran = await sluice([...args, '-f', fileOf('canary'), '--yes', '--reason', 'seen good'], client);

    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toContain('Release checkout-0001 of shop/checkout');
    expect(client.plans.map(gist)).toEqual([expected]);
    expect(client.newest).toMatchObject({ reason: 'seen good', startedBy: { name: 'tester' } });
    expect(client.sent).toEqual([]);
  });

  it.each<[string, (file: string) => string[]]>([
    ['traffic', (file) => ['traffic', '25', '-f', file]],
    ['traffic', (file) => ['traffic', file, '25%']],
    ['promote', (file) => ['promote', '-f', file]],
    ['promote', (file) => ['promote', file]],
  ])('%s takes the service from its spec', async (short, args) => {
    putCanaryShop();
    const idle = new FakeSluice(aStatus(PROMOTED));
    const busy = new FakeSluice(aStatus());

    const started = await sluice([...args(fileOf('canary')), '--yes'], idle);
    const told = await sluice([...args(fileOf('canary')), '--yes'], busy);

    expect([started, told]).toMatchObject([
      { code: 0, err: '' },
      { code: 0, err: '' },
    ]);
    expect(idle.plans).toMatchObject([{ service: 'checkout', namespace: 'shop', short }]);
    expect(busy.plans).toEqual([]);
    expect(busy.sent).toMatchObject([{ name: short === 'traffic' ? 'setWeight' : 'promote' }]);
  });

  it('say in their usage that the service may be left out, and the weight not', async () => {
    expect((await sluice(['traffic', '--help'])).out).toContain(
      'Usage: sluice traffic [options] [service] <percent>\n',
    );
    expect((await sluice(['promote', '--help'])).out).toContain('Usage: sluice promote [options] [service]\n');
  });

  it('waits behind another release by the same policies', async () => {
    putCanaryShop();
    const client = new FakeSluice(aStatus());
    const args = ['cleanup', 'canary', '-f', fileOf('canary'), '--yes'];

    const refused = await sluice(args, client);
    const queued = await sluice([...args, '--on-conflict', 'queue'], client);

    expect(refused).toMatchObject({ code: 1 });
    expect(refused.err).toContain('is in progress');
    expect(queued.out).toContain('is queued behind checkout-20261121-140000-0001');
  });

  it('stay messages while a release is in progress, also with a spec', async () => {
    const client = new FakeSluice(aStatus());

    await sluice(['promote', 'shop/checkout', '-f', fileOf('canary'), '--yes'], client);
    await sluice(['traffic', 'shop/checkout', '30', '-f', fileOf('canary'), '--yes'], client);

    expect(client.sent.map(({ name }) => name)).toEqual(['promote', 'setWeight']);
    expect(client.plans).toEqual([]);
    expect(api.requests).toEqual([]);
  });

  it('print the plan with --dry-run, and start nothing', async () => {
    putCanaryShop();
    const client = new FakeSluice();

    const ran = await sluice(['traffic', 'shop/checkout', '5', '-f', fileOf('canary'), '--dry-run'], client);

    expect(ran.code).toBe(0);
    expect(ran.out).toMatch(/deploy +up to 10m +take up example\.test\/checkout@sha256:a{64}/mu);
    expect(ran.out).toMatch(/promote or back +up to 1d +wait for anyone/u);
    expect(client.plans).toEqual([]);
  });

  it.each<[string, string[], string]>([
    ['without a spec', [], '--dry-run prints the plan of a short release, and no spec is given.'],
    ['of a certain release', ['-f', 'SPEC', '--release', 'x'], '--dry-run is about a release to be begun, and --rel'],
  ])('send nothing with --dry-run %s', async (_, more, sentence) => {
    const client = new FakeSluice(aStatus());
    const args = ['promote', 'shop/checkout', ...more.map((arg) => (arg === 'SPEC' ? fileOf('canary') : arg))];

    const ran = await sluice([...args, '--dry-run', '--yes'], client);

    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err).toContain(sentence);
    expect(client.sent).toEqual([]);
  });

  it('ask on a terminal, and do nothing after a no', async () => {
    putCanaryShop();
    const client = new FakeSluice();
    const args = ['promote', 'shop/checkout', '-f', fileOf('canary')];

    const ran = await run(args, { client, env, tty: 200, input: 'n\n' });

    expect(ran.err).toContain(
      `Start a short release of shop/checkout that promotes what its canary runs?\n  version ${V2.slice(0, V2.indexOf(':') + 13)}…\n`,
    );
    expect(ran).toMatchObject({ code: 1 });
    expect(client.plans).toEqual([]);
  });

  it('take the digest that the pods of a tag run', async () => {
    putCanaryShop({ image: 'localhost:5000/checkout:1.42.0' });
    const pod = (imageID: string): unknown => ({
      metadata: { name: 'p', namespace: 'shop' },
      status: { containerStatuses: [{ name: 'web', imageID }] },
    });
    objects.set('pods', [pod(`localhost:5000/checkout@${DIGEST}`), pod(`docker-pullable://checkout@${DIGEST}`)]);
    const client = new FakeSluice();

    await sluice(['promote', 'shop/checkout', '-f', fileOf('canary'), '--yes'], client);

    expect(client.plans[0]?.version).toBe(`localhost:5000/checkout:1.42.0@${DIGEST}`);
  });

  it.each([
    [100, 'localhost:5000/checkout:1.42.0'],
    [0, `localhost:5000/checkout:1.42.0@${DIGEST}`],
  ])('of a canary with %s %% of the traffic and no registry to ask take %s', async (weight, version) => {
    putCanaryShop({ image: 'localhost:5000/checkout:1.42.0' }, weight);
    const containerStatuses = [{ name: 'web', imageID: `localhost:5000/checkout@${DIGEST}` }];
    objects.set('pods', [{ metadata: { name: 'p', namespace: 'shop' }, status: { containerStatuses } }]);
    const client = new FakeSluice();

    await sluice(['promote', 'shop/checkout', '-f', fileOf('never'), '--yes'], client);

    expect(client.plans[0]?.version).toBe(version);
  });
});

describe('sluice switch', () => {
  it('starts a short release of what the idle colour runs, whole or in part', async () => {
    putColours('blue');
    const client = new FakeSluice();

    const whole = await sluice(['switch', 'green', '-f', fileOf('colours'), '--dry-run', '-o', 'json'], client);
    const part = await sluice(['switch', 'green', '10', '-f', fileOf('colours'), '--yes'], client);

    expect(gist(JSON.parse(whole.out) as Plan)).toEqual({
      version: V2,
      short: 'switch',
      steps: ['deploy', 'weight 100 % for 180 s', 'promote'],
    });
    expect(part.code).toBe(0);
    expect(client.plans.map(gist)).toEqual([
      {
        version: V2,
        short: 'switch',
        steps: ['deploy', 'weight 10 % for 120 s', 'promote or back', 'weight 100 % for 180 s', 'promote'],
      },
    ]);
    expect(client.plans[0]?.steps[0]).toMatchObject({ onto: 'green' });
  });

  it('refuses the active colour', async () => {
    putColours('green');

    const ran = await sluice(['switch', 'green', '-f', fileOf('colours'), '--yes']);

    expect(ran).toEqual({
      code: 1,
      out: '',
      err: 'Error: green is the active colour already; there is nothing to switch.\n       The idle one is blue.\n',
    });
  });
});

describe('sluice switch to a colour that has nothing new', () => {
  it('refuses one without pods that names the active image', async () => {
    put('checkout-blue', { image: 'example.test/checkout:1' });
    put('checkout-green', { image: 'example.test/checkout:1', replicas: 0 });
    putService('checkout-blue');

    const ran = await sluice(['switch', 'green', '-f', fileOf('colours'), '--yes']);

    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/checkout-green is without pods and names the image that is active already/u);
  });
});

describe('sluice cleanup', () => {
  it('starts a release that only takes the track away', async () => {
    putCanaryShop({ image: V2 }, 20);
    const client = new FakeSluice();

    const ran = await sluice(['cleanup', 'canary', '-f', fileOf('canary'), '--yes'], client);

    expect(ran.code).toBe(0);
    expect(client.plans.map(gist)).toEqual([{ version: V2, short: 'cleanup', steps: ['clean up canary'] }]);
    expect(client.plans[0]).toMatchObject({ target: { resolveImage: 'never' }, onFailure: 'rollback' });
  });

  it('shows its plan without a word about metrics', async () => {
    putColours('blue');

    const ran = await sluice(['cleanup', 'green', '-f', fileOf('colours'), '--dry-run']);

    expect(ran.out).toContain('weight 0, wait until the pods have drained, then take the pods of');
    expect(ran.out).not.toContain('Metrics');
  });
});

describe('a track that is not there', () => {
  it.each<[keyof typeof SPECS, RegExp]>([
    ['canary', /Write canary: the strategy of \S+ is canary\.$/mu],
    ['colours', /Write blue or green: the strategy of \S+ is blueGreen\.$/mu],
    ['router', /The router of \S+ has no tracks to clean up\.$/mu],
  ])('is answered with those of the spec: %s', async (spec, hint) => {
    const ran = await sluice(['cleanup', 'yellow', '-f', fileOf(spec), '--yes']);

    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(hint);
  });
});

describe('what is refused', () => {
  const canary = (): void => putCanaryShop();
  it.each<[string, string[], keyof typeof SPECS, () => void, number, string]>([
    ['an unknown track', ['cleanup', 'yellow'], 'canary', canary, 2, 'There is no track "yellow" to clean up.'],
    ['an unknown colour', ['switch', 'red'], 'colours', canary, 2, 'There is no colour "red" to switch to.'],
    ['101 %', ['traffic', 'shop/checkout', '101'], 'canary', canary, 2, 'The weight is "101", which is no whole'],
    ['0 %', ['traffic', 'shop/checkout', '0'], 'canary', canary, 2, 'a whole percentage from 1 to 100'],
    ['a share of a selector', ['traffic', 'shop/checkout', '30'], 'selector', canary, 2, 'knows only 0 and 100'],
    ['a timeout that is none', ['cleanup', 'canary', '--timeout', 'soon'], 'canary', canary, 2, '--timeout'],
    ['a hold of a year', ['traffic', 'shop/checkout', '30', '--hold', '365d'], 'canary', canary, 2, 'too short or too'],
    ['a switch of a canary', ['switch', 'green'], 'canary', canary, 2, 'no colours: its strategy is canary'],
    ['a canary of colours', ['cleanup', 'canary'], 'colours', canary, 2, 'and not a canary'],
    [
      'a promotion of colours',
      ['promote', 'shop/checkout'],
      'colours',
      canary,
      2,
      'and not a canary that `sluice prom',
    ],
    ['a router', ['promote', 'shop/checkout'], 'router', canary, 1, 'is released by its router'],
    ['another service', ['promote', 'shop/other'], 'canary', canary, 2, 'is the spec of shop/checkout, and not of'],
    [
      'a canary without pods',
      ['promote', 'shop/checkout'],
      'canary',
      () => putCanaryShop({ image: V2, replicas: 0 }),
      1,
      'Deployment shop/checkout-canary is without pods, so it runs nothing that could get traffic.',
    ],
    [
      'a canary that is not there',
      ['traffic', 'shop/checkout', '5'],
      'canary',
      () => putCanaryShop(null),
      1,
      'There is no Deployment shop/checkout-canary, so there is nothing to give traffic to.',
    ],
    [
      'no Deployment',
      ['promote', 'shop/checkout'],
      'canary',
      () => undefined,
      1,
      'There is no Deployment shop/checkout',
    ],
    [
      'nothing to clean up',
      ['cleanup', 'canary'],
      'canary',
      () => putCanaryShop(null),
      1,
      'There is no Deployment shop/checkout-canary, and nothing else is left of canary.',
    ],
    [
      'a clean-up of the canary with all users',
      ['cleanup', 'canary'],
      'canary',
      () => putCanaryShop({ image: V2 }, 100),
      1,
      'has all of the traffic, so it is not cleaned up',
    ],
    [
      'a clean-up of the active colour',
      ['cleanup', 'blue'],
      'colours',
      () => putColours('blue'),
      1,
      'has all of the tr',
    ],
  ])('%s', async (_, args, spec, prepare, code, sentence) => {
    prepare();
    const client = new FakeSluice();

    const ran = await sluice([...args, '-f', fileOf(spec), '--yes'], client);

    expect(ran.err).toContain(sentence);
    expect(ran).toMatchObject({ code, out: '' });
    expect(client.plans).toEqual([]);
  });

  it.each([
    [['switch', 'green', '--yes']],
    [['cleanup', 'canary', '--yes']],
    // Not first that it needs --yes, and then, with that, that it needs the spec, too.
    [['switch', 'green']],
    [['cleanup', 'canary']],
  ])('a command that names no service but by its spec, without one: %j', async (args) => {
    const ran = await sluice(args);

    expect(ran).toMatchObject({ code: 2 });
    expect(ran.err).toBe('Error: It is not said which service is meant.\n       Give its spec: -f release.yaml.\n');
  });

  it.each<[string[], string]>([
    [['switch', 'shop/checkout', 'green'], 'The service is named by its spec: sluice switch green -f release.yaml.'],
    [['cleanup', 'shop/checkout'], 'The service is named by its spec: sluice cleanup canary -f release.yaml.'],
    [['cleanup', 'shop/checkout', 'canary'], 'Usage: sluice cleanup [options] <track> -f <release.yaml>'],
    [['switch', 'green', 'half'], 'a whole number from 1 to 100, or nothing for all: sluice switch green 25 -f'],
  ])('an argument that belongs to another command, with the command that is meant: %j', async (args, hint) => {
    const ran = await sluice([...args, '--yes']);

    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err).toContain(hint);
  });

  it('a kubeconfig that cannot be used, with what to do', async () => {
    const args = ['switch', 'green', '-f', fileOf('colours'), '--yes'];

    const absent = await run(args, { client: new FakeSluice(), env: { KUBECONFIG: '/nonexistent/config' } });
    const none = await run(args, { client: new FakeSluice(), env: {} });

    expect(absent.err).toMatch(
      /^Error: The kubeconfig \/nonexistent\/config does not exist\.\n +Let KUBECONFIG name the file that kubectl uses;/u,
    );
    expect(none.err).toMatch(/^Error: No cluster is configured: .* let KUBECONFIG name the file .*\.\n$/u);
    expect([absent.code, none.code]).toEqual([2, 2]);
  });

  it.each([['promote'], ['traffic 10'], ['status']])(
    '%s without a service and without a spec, and both ways out are said',
    async (words) => {
      const client = new FakeSluice(aStatus());

      const ran = await sluice([...words.split(' '), ...(words === 'status' ? [] : ['--yes'])], client);

      expect(ran).toEqual({
        code: 2,
        out: '',
        err:
          'Error: It is not said which service is meant.\n' +
          '       Name it (shop/checkout), or give its spec: -f release.yaml.\n',
      });
      expect(client.sent).toEqual([]);
    },
  );

  it('a promotion without a release and without a spec, which says how one is started', async () => {
    const ran = await sluice(['promote', 'shop/checkout', '--yes']);

    expect(ran).toMatchObject({ code: 1 });
    expect(ran.err).toContain('To start a short release of what the canary runs: sluice promote shop/checkout -f rel');
  });
});

describe('sluice status without a release in progress', () => {
  it('shows both tracks, the weight, the fence and what is left', async () => {
    const fence = JSON.stringify({ release: 'checkout-7', epoch: 1_700_000_000_000, step: 9, attempt: 2 });
    putCanaryShop({ image: V2, replicas: 2, ready: 1, fence }, 20);

    const ran = await run(['status', 'shop/checkout', '-f', fileOf('canary')], {
      client: new FakeSluice(),
      env: { ...env, NO_COLOR: '1' },
      tty: 200,
    });

    expect(ran.code).toBe(0);
    expect(ran.out.split('\n').map((line) => line.trimEnd())).toEqual([
      'shop/checkout',
      'Release  not known to this Temporal, though one has left its fence (below): is this the right one (--address)?',
      'Traffic  20 % to canary, by traefik',
      'Fence    checkout-7, step 9, of 2023-11-14 22:13:20Z',
      expect.stringMatching(/^TRACK +READY +DEPLOYMENT +IMAGE$/u),
      expect.stringMatching(/^stable +3\/4 +checkout +example\.test\/checkout:1\.41\.0$/u),
      expect.stringMatching(/^canary +1\/2 +checkout-canary +example\.test\/checkout@sha256:a{12}…$/u),
      '⚠ left: The canary gets 20 % of the traffic.',
      '',
    ]);
  });

  it('calls nothing left over while a promoted release still keeps the old colour', async () => {
    putColours('green');
    const selectors = { old: { app: 'checkout-blue' }, next: { app: 'checkout-green' } };
    const roles = { release: 'checkout-7', old: 'blue', next: 'green', selectors, image: V1 };
    const service = objects.get('services/checkout') as { metadata: object };
    const annotations = { 'sluice.dev/blue-green': JSON.stringify(roles) };
    objects.set('services/checkout', { ...service, metadata: { ...service.metadata, annotations } });
    const args = ['status', 'shop/checkout', '-f', fileOf('colours'), '-o', 'json'];
    const keepOld = { since: 1, until: 2, version: V1 };

    const kept = await sluice(args, new FakeSluice(aStatus({ ...PROMOTED, endedAt: null, keepOld })));
    const over = await sluice(args, new FakeSluice(aStatus(PROMOTED)));

    expect(JSON.parse(kept.out)).toMatchObject({ now: { leftovers: [] } });
    expect(JSON.parse(over.out)).toMatchObject({
      now: { leftovers: ['Service shop/checkout is still marked as that of release checkout-7.', expect.anything()] },
    });
  });

  it('tells of a promoted pair that somebody has taken back without its release', async () => {
    put('checkout-blue', { image: `example.test/checkout@${DIGEST}` });
    put('checkout-green', { image: V2, replicas: 0 });
    putService('checkout-blue');
    putSplit('checkout-green', 0);
    const args = ['status', 'shop/checkout', '-f', fileOf('colours'), '-o', 'json'];
    const artifact = `example.test/checkout@sha256:${'b'.repeat(64)}`;
    const version = { from: 'v1', to: 'v2', artifact };
    const keepOld = { since: 1, until: 2, version: V1 };

    const ran = await sluice(args, new FakeSluice(aStatus({ ...PROMOTED, endedAt: null, keepOld, version })));

    expect(JSON.parse(ran.out)).toMatchObject({
      now: { traffic: { remarks: [expect.stringMatching(/finds blue, which does not run what was promoted/u)] } },
    });

    // By the last release's plan; what the release says of its way back is not true any more.
    const message = 'Promoted. v1 is kept until 2026-11-27 23:31:44Z: a roll back until then is one write.';
    const client = new FakeSluice(aStatus({ ...PROMOTED, endedAt: null, keepOld, version, message }));
    client.plans.push(await createSpecTools().plan(fileOf('colours'), ANY_IMAGE));
    const shown = await sluice(['status', 'shop/checkout'], client);

    expect(shown.out).toContain('Promoted, and gone back from since, without this release');
    expect(shown.out).toMatch(/finds blue, which does not run what was promoted/u);
    expect(shown.out).not.toMatch(/is kept until|Next:/u);
  });

  it('is one typed document for machines, with the last release', async () => {
    putColours('green');

    const ran = await sluice(
      ['status', 'shop/checkout', '-f', fileOf('colours'), '-o', 'json'],
      new FakeSluice(aStatus(PROMOTED)),
    );

    expect(JSON.parse(ran.out)).toMatchObject({
      apiVersion: 'sluice.dev/v1',
      kind: 'ServiceStatus',
      service: 'checkout',
      namespace: 'shop',
      temporal: 'asked',
      last: { kind: 'ReleaseStatus', outcome: 'promoted' },
      now: {
        target: 'kubernetes',
        strategy: 'blueGreen',
        traffic: { by: 'traefik', weight: 0, match: [], remarks: [] },
        tracks: [
          { name: 'green', active: true, runs: { digest: DIGEST, replicas: { desired: 0, ready: 0 } } },
          { name: 'blue', active: false, runs: { image: V1, digest: null } },
        ],
        leftovers: [],
      },
    });
  });

  it('shows the release while one is in progress, and does not ask the cluster', async () => {
    const ran = await sluice(['status', 'shop/checkout', '-f', fileOf('canary'), '--json'], new FakeSluice(aStatus()));

    expect(JSON.parse(ran.out)).toMatchObject({ kind: 'ReleaseStatus', outcome: null });
    expect(api.requests).toEqual([]);
  });

  it('works while Temporal is away, by the spec', async () => {
    putCanaryShop();
    const connect = (): Promise<never> =>
      Promise.reject(new ReleaseError('unreachable', 'Temporal does not answer at 127.0.0.1:1.'));

    const ran = await run(['status', 'shop/checkout', '-f', fileOf('canary')], { env, override: { connect } });

    expect(ran.code).toBe(0);
    expect(ran.err).toContain('The release is not known: Temporal does not answer at 127.0.0.1:1.');
    expect(ran.out).toContain('Release  not known, because Temporal does not answer');
    expect(ran.out).toContain('checkout-canary');
  });

  it.each<[string, (file: string) => string[]]>([
    ['by its path in the place of the service', (file) => [file]],
    ['without a name beside it', (file) => ['-f', file]],
  ])('takes a spec %s, as it does with both', async (_, args) => {
    putCanaryShop();
    const file = fileOf('canary');
    const connect = (): Promise<never> =>
      Promise.reject(new ReleaseError('unreachable', 'Temporal does not answer at 127.0.0.1:1.'));
    const status = (more: string[]): Promise<Ran>[] => [
      sluice(['status', ...more]),
      sluice(['status', ...more, '--json'], new FakeSluice(aStatus(PROMOTED))),
      run(['status', ...more], { env, override: { connect } }),
    ];

    const ran = await Promise.all(status(args(file)));

    expect(ran).toMatchObject([{ code: 0 }, { code: 0 }, { code: 0 }]);
    expect(ran).toEqual(await Promise.all(status(['shop/checkout', '-f', file])));
    for (const { out } of ran) expect(out).toContain('checkout-canary');
  });

  it.each([
    ['rolledBack', 'aborted', 'rolled back (aborted)'],
    ['cleanedUp', 'cleanedUp', 'cleaned up'],
  ] as const)('says in words how the last release ended (%s)', async (phase, outcome, words) => {
    putCanaryShop();
    const client = new FakeSluice(aStatus({ phase, outcome, soak: null, endedAt: START + 1 }));

    const ran = await sluice(['status', fileOf('canary')], client);

    expect(ran.out).toContain(`ended 2026-11-21 14:00:00Z: ${words}\n`);
  });

  it('by a spec and without a cluster still shows how the last release ended', async () => {
    const client = new FakeSluice(aStatus({ phase: 'rolledBack', outcome: 'rolledBack', endedAt: START + 1 }));
    const args = ['status', fileOf('canary'), '--exit-code'];

    const ran = await run(args, { client, env: { KUBECONFIG: '/nonexistent/config' } });

    expect(ran.code).toBe(3);
    expect(ran.out).toContain('Rolled back');
    expect(ran.err).toContain('What there is now could not be seen: The kubeconfig /nonexistent/config does not ex');
  });

  it('without a spec goes by the plan of the last release', async () => {
    putCanaryShop();
    const client = new FakeSluice();
    await sluice(['promote', 'shop/checkout', '-f', fileOf('canary'), '--yes'], client);
    client.update(client.newest.release, {
      phase: 'promoted',
      outcome: 'promoted',
      endedAt: client.newest.startedAt + 1,
    });

    const ran = await sluice(['status', 'shop/checkout', '--json'], client);

    expect(JSON.parse(ran.out)).toMatchObject({
      kind: 'ReleaseStatus',
      outcome: 'promoted',
      now: { target: 'kubernetes', traffic: { weight: 0 } },
    });
  });

  it('without a cluster still shows how the last release ended', async () => {
    const client = new FakeSluice();
    putCanaryShop();
    await sluice(['promote', 'shop/checkout', '-f', fileOf('canary'), '--yes'], client);
    client.update(client.newest.release, {
      phase: 'promoted',
      outcome: 'promoted',
      endedAt: client.newest.startedAt + 1,
    });

    const ran = await run(['status', 'shop/checkout'], { client, env: { KUBECONFIG: '/nonexistent/config' } });

    expect(ran.code).toBe(0);
    expect(ran.out).toContain('Promoted');
    expect(ran.err).toContain(
      'What there is now could not be seen: The kubeconfig /nonexistent/config does not exist.',
    );
  });

  it('without a spec and a former release says what to do', async () => {
    const ran = await sluice(['status', 'shop/checkout']);

    expect(ran).toMatchObject({ code: 1, out: '' });
    expect(ran.err).toContain('There is no release of shop/checkout.');
    expect(ran.err).toContain('What there is without a release is shown by its spec: -f release.yaml.');
  });

  it('says that there is no such Deployment', async () => {
    const ran = await sluice(['status', 'shop/checkout', '-f', fileOf('canary')]);

    expect(ran).toMatchObject({ code: 1, out: '' });
    expect(ran.err).toContain('There is no Deployment shop/checkout (nor checkout-stable).');
  });

  it.each(['canary', 'colours'] as const)('says that there is no such namespace: of %s', async (name) => {
    const own = path.join(directory, 'elsewhere.yaml');
    await writeFile(own, SPECS[name].replace('namespace: shop', 'namespace: try-nosuch'));

    const ran = await sluice(['status', 'try-nosuch/checkout', '-f', own]);

    expect(ran).toMatchObject({ code: 1, out: '' });
    expect(ran.err).toContain('There is no namespace try-nosuch in this cluster; name ');
  });

  it('of a router asks the instances', async () => {
    const ran = await run(['status', 'shop/checkout', '-f', fileOf('router')], {
      client: new FakeSluice(),
      env: { ...env, NO_COLOR: '1' },
      tty: 200,
    });

    expect(ran.out).toMatch(/^http:\/\/127\.0\.0\.1:1 +- +- +does not answer \(.+\)$/mu);
  });
});
