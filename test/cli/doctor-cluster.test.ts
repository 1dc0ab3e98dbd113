import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { FakeApi, answer, status } from '../targets/kubernetes/fake-api';
import { FakeSluice } from './fake-client';
import { run } from './harness';
import type { Ran } from './harness';
import { aStatus } from './statuses';

const SPEC = `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout, namespace: shop }
spec:
  target:
    kubernetes: { deployment: checkout, service: checkout, traffic: { gatewayAPI: { httpRoute: checkout } } }
  analysis: { source: { prometheus: { url: "http://127.0.0.1:9" } }, preset: http }
`;

let api: FakeApi;
let directory: string;
let spec: string;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  api = await new FakeApi().start();
  directory = await mkdtemp(path.join(tmpdir(), 'sluice-doctor-'));
  spec = path.join(directory, 'release.yaml');
  await writeFile(spec, SPEC);
  const kubeconfig = path.join(directory, 'kubeconfig');
  await writeFile(
    kubeconfig,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster: { server: api.url, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'me', user: { token: 'the-secret-token' } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'me' } }],
      'current-context': 'test',
    }),
  );
  env = { KUBECONFIG: kubeconfig };
});

afterAll(async () => {
  await api.stop();
  await rm(directory, { recursive: true, force: true });
});

interface Asked {
  readonly kind: string;
  readonly spec: {
    readonly resourceAttributes: { readonly verb: string; readonly resource: string; readonly name?: string };
  };
}

type Right = Asked['spec']['resourceAttributes'];

/** What a release begins with, by the paths of its objects. */
const SERVICE = {
  '/api/v1/namespaces/shop': { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
  '/apis/apps/v1/namespaces/shop/deployments/checkout': {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'checkout', namespace: 'shop', uid: 'u1', resourceVersion: '1', generation: 1 },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'checkout' } },
      template: {
        metadata: { labels: { app: 'checkout' } },
        spec: { containers: [{ name: 'web', image: 'registry.example/shop:v1' }] },
      },
    },
    status: { observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2 },
  },
  '/api/v1/namespaces/shop/services/checkout': {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'checkout', namespace: 'shop', uid: 'u2', resourceVersion: '1' },
    spec: { selector: { app: 'checkout' }, ports: [{ port: 80 }] },
  },
  '/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/checkout': {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'checkout', namespace: 'shop', uid: 'u1', resourceVersion: '1', generation: 1 },
    spec: { parentRefs: [{ name: 'public' }], rules: [{ backendRefs: [{ name: 'checkout', port: 80 }] }] },
    status: {
      parents: [
        {
          parentRef: { name: 'public' },
          controllerName: 'example.test/gateway',
          conditions: [
            { type: 'Accepted', status: 'True', observedGeneration: 1 },
            { type: 'ResolvedRefs', status: 'True', observedGeneration: 1 },
          ],
        },
      ],
    },
  },
} as const;

const DEPLOYMENT = '/apis/apps/v1/namespaces/shop/deployments/checkout';
const FOUR_PODS = { ...SERVICE[DEPLOYMENT].spec, replicas: 4 };

function allow(
  isAllowed: (asked: Asked['spec']['resourceAttributes']) => boolean,
  objects: Readonly<Record<string, object>> = SERVICE,
): void {
  api.handlers = [
    (request, response, body) => {
      if (request.method === 'GET') {
        const found = objects[request.url ?? ''];
        const handler =
          found === undefined
            ? status(404, 'NotFound', `${request.url} not found`)
            : 'answers' in found && typeof found.answers === 'number'
              ? answer(found.answers, 'of the app')
              : 'forbidden' in found
                ? status(403, 'Forbidden', `${request.url} is forbidden`)
                : answer(200, found);
        handler(request, response, body);
        return;
      }
      const { kind, spec: asked } = JSON.parse(body) as Asked;
      // A cluster that cannot list all rules, so that each is asked about by itself.
      const said =
        kind === 'SelfSubjectRulesReview'
          ? { incomplete: true, resourceRules: [], nonResourceRules: [] }
          : { allowed: isAllowed(asked.resourceAttributes) };
      answer(201, { kind, status: said })(request, response, body);
    },
  ];
}

describe('sluice doctor, of a release to Kubernetes', () => {
  it('says that all permissions are there', async () => {
    allow(() => true);

    const ran = await run(['doctor', spec], { client: new FakeSluice(), env });

    expect(ran.out).toContain('✔ permissions: all that a release needs in namespace shop are there.');
    expect(ran.out).toContain(
      '✔ target: shop/checkout can be released; stable runs registry.example/shop:v1, weight 0 %.',
    );
  });

  it.each([
    ['reject', /^ +Until then another one is refused \(onConflict: reject\)/mu],
    ['queue', /^ +Until then another one waits for it \(onConflict: queue\)/mu],
    ['supersede', /^ +One that is started now takes its place once it is taken back/mu],
  ])('says of a release in progress that it comes first, and what %s makes of another', async (onConflict, hint) => {
    const own = path.join(directory, 'conflict.yaml');
    await writeFile(own, SPEC.replace('  analysis:', `  onConflict: ${onConflict}\n  analysis:`));
    allow(() => true);
    const client = new FakeSluice(aStatus({ outcome: null, phase: 'soaking' }));

    const ran = await run(['doctor', own], { client, env });

    expect(ran.out).toContain(
      'target: shop/checkout can be released when release checkout-20261121-140000-0001 of 1.42.0 has ended, which is in progress; stable runs registry.example/shop:v1, weight 0 %.',
    );
    expect(ran.out).not.toContain('✔ target');
    expect(ran.out).toMatch(hint);
  });

  it.each([
    ['one that has ended', { outcome: 'promoted', phase: 'promoted' }],
    ['one that only keeps the old version', { outcome: null, phase: 'promoted' }],
    ['one of another service', { outcome: null, phase: 'soaking', service: 'other' }],
  ] as const)('is not kept from saying that there can be a release by %s', async (_, status) => {
    allow(() => true);

    const ran = await run(['doctor', spec], { client: new FakeSluice(aStatus(status)), env });

    expect(ran.out).toContain('✔ target: shop/checkout can be released; stable runs');
  });

  it.each([
    ['an absent Deployment', 'deployments', /✖ target: There is no Deployment shop\/checkout \(nor checkout-stable\)/u],
    ['an absent Service', 'services', /✖ target: There is no Service shop\/checkout; users reach the pods by it/u],
    ['an absent route', 'httproutes', /✖ target: HTTPRoute shop\/checkout does not exist/u],
  ])('says what a release would be refused for: %s', async (_, plural, sentence) => {
    const objects = Object.entries(SERVICE).filter(([url]) => !url.includes(`/${plural}/`));
    allow(() => true, Object.fromEntries(objects));

    const ran = await run(['doctor', spec], { client: new FakeSluice(), env });

    expect(ran.code).toBe(1);
    expect(ran.out).toMatch(sentence);
  });

  it.each([
    ['canary', SPEC],
    ['blueGreen', SPEC.replace('traffic:', 'strategy: blueGreen, traffic:')],
  ])(
    'says of a namespace that is not there that it is not, and nothing of rights in it: %s',
    async (strategy, text) => {
      const own = path.join(directory, `${strategy}-elsewhere.yaml`);
      await writeFile(own, text);
      allow(() => true, {});

      const ran = await run(['doctor', own], { client: new FakeSluice(), env });

      expect(ran.code).toBe(1);
      expect(ran.out).toMatch(/✖ namespace: There is no namespace shop in this cluster; name /u);
      expect(ran.out).not.toMatch(/ (permissions|target): /u);
    },
  );

  it('leaves open whether a namespace is there that it may not look at', async () => {
    allow(() => true, { '/api/v1/namespaces/shop': { forbidden: true } });

    const ran = await run(['doctor', spec], { client: new FakeSluice(), env });

    expect(ran.out).toContain('✔ permissions: all that a release needs in namespace shop are there.');
    expect(ran.out).toContain('✖ target: There is no Deployment shop/checkout (nor checkout-stable).');
  });

  it.each([
    ['25, 50', null],
    ['5, 25, 60', '5 % comes to 25 %; 60 % comes to 50 %; 20 pods would reach all.'],
  ])('says what the number of pods allows, and what it makes of the weights %s', async (weights, missed) => {
    const own = path.join(directory, 'replicas.yaml');
    const steps = [...weights.split(', '), '100'].map((weight) => `{ weight: ${weight} }`).join(', ');
    const spec = SPEC.replace('gatewayAPI: { httpRoute: checkout }', 'replicas: {}');
    await writeFile(own, spec.replace('  analysis:', `  steps: [${steps}]\n  analysis:`));
    allow(() => true, { ...SERVICE, [DEPLOYMENT]: { ...SERVICE[DEPLOYMENT], spec: FOUR_PODS } });

    const ran = await run(['doctor', own], { client: new FakeSluice(), env });

    const line = ran.out.split('\n').find((one) => one.includes('target: '));
    const reach = 'weight 0 %; the Service spreads connections over the pods of both tracks, so with 4 pods only';
    expect(line).toContain(`shop/checkout can be released; stable runs registry.example/shop:v1, ${reach}`);
    expect(line?.startsWith(missed === null ? '✔' : '⚠')).toBe(true);
    if (missed === null) expect(line).not.toContain('not every weight');
    else expect(line?.endsWith(`With 4 pods not every weight can be reached: ${missed}`)).toBe(true);
  });

  it('says of a Service selector that it is all or nothing', async () => {
    const own = path.join(directory, 'selector.yaml');
    const spec = SPEC.replace('gatewayAPI: { httpRoute: checkout }', 'serviceSelector: {}');
    await writeFile(own, spec);
    allow(() => true);

    const ran = await run(['doctor', own], { client: new FakeSluice(), env });

    expect(ran.out).toContain('weight 0 %; a Service selector sends everything to the one track or the other');
  });

  describe('asks what is stable now for the path of the smoke test, through the API server', () => {
    const ASKED = '/api/v1/namespaces/shop/services/checkout/proxy/healthz';
    const tested = async (objects: Readonly<Record<string, object>>, text = SPEC): Promise<Ran> => {
      const own = path.join(directory, 'smoke-test.yaml');
      await writeFile(own, text.replace('  analysis:', '  smokeTest: { path: /healthz }\n  analysis:'));
      allow(() => true, objects);
      return run(['doctor', own], { client: new FakeSluice(), env });
    };
    const lineOf = ({ out }: Ran): string => out.split('\n').find((line) => line.includes('smoke test ')) ?? '';

    it.each<[string, object, string]>([
      [
        'the expected status',
        { answers: 200 },
        '✔ smoke test /healthz: registry.example/shop:v1 answered /healthz with 200, asked through Service shop/checkout/healthz.',
      ],
      [
        'another one',
        { answers: 404 },
        '⚠ smoke test /healthz: The smoke test of registry.example/shop:v1 failed: Service shop/checkout/healthz answered 404 instead of 200. The new version has to do better.',
      ],
      [
        'a refusal of the API server',
        { forbidden: true },
        '⚠ smoke test /healthz: what is stable now could not be asked: ',
      ],
    ])('and says what it answers: %s', async (_, answers, line) => {
      const ran = await tested({ ...SERVICE, [ASKED]: answers });

      expect(lineOf(ran).slice(0, line.length)).toBe(line);
      expect(ran.out.trimEnd().split('\n').slice(-2).join('\n')).toContain(lineOf(ran));
    });

    it('and calls a Service whose port is not clear what it is: of that a release fails', async () => {
      const url = '/api/v1/namespaces/shop/services/checkout';
      const ports = [
        { name: 'web', port: 80 },
        { name: 'admin', port: 81 },
      ];
      const ran = await tested({ ...SERVICE, [url]: { ...SERVICE[url], spec: { ...SERVICE[url].spec, ports } } });

      expect(lineOf(ran)).toContain('✖ smoke test /healthz: Service shop/checkout has the ports 80 (web), 81 (admin)');
    });

    it.each([
      ['by its preview, which a release has the right to', 'checkout-blue'],
      ['by the Service before the first release has made that', 'checkout'],
    ])('of a pair %s', async (_, service) => {
      const blue = `${DEPLOYMENT}-blue`;
      const found = `/api/v1/namespaces/shop/services/${service}`;
      const ran = await tested(
        {
          ...SERVICE,
          [blue]: { ...SERVICE[DEPLOYMENT], metadata: { ...SERVICE[DEPLOYMENT].metadata, name: 'checkout-blue' } },
          [found]: {
            ...SERVICE['/api/v1/namespaces/shop/services/checkout'],
            metadata: { name: service, namespace: 'shop', uid: 'u3', resourceVersion: '1' },
          },
          [`${found}/proxy/healthz`]: { answers: 200 },
        },
        SPEC.replace('gatewayAPI: { httpRoute: checkout }', 'serviceSelector: {}').replace(
          'traffic:',
          'strategy: blueGreen, traffic:',
        ),
      );

      expect(lineOf(ran)).toMatch(new RegExp(`^✔ .* asked through Service shop/${service}/healthz\\.$`, 'u'));
    });

    it('and nobody while stable has no pods', async () => {
      const spec = { ...SERVICE[DEPLOYMENT].spec, replicas: 0 };
      const status = { observedGeneration: 1 };
      const ran = await tested({ ...SERVICE, [DEPLOYMENT]: { ...SERVICE[DEPLOYMENT], spec, status } });

      expect(ran.out).toContain('stable runs no version yet');
      expect(lineOf(ran)).toBe('');
    });
  });

  it.each([
    [
      'one',
      ({ verb, resource }: Right) => verb === 'patch' && resource === 'httproutes',
      'patch httproutes.gateway.networking.k8s.io checkout in namespace shop is missing.',
    ],
    [
      'several, by their kinds',
      ({ verb, resource, name }: Right) =>
        /^(get|patch) deployments$/u.test(`${verb} ${resource}`) || (verb === 'list' && name === undefined),
      '9 are missing in namespace shop: get, patch deployments.apps checkout, checkout-stable, checkout-canary; list replicasets.apps; list pods; list events.',
    ],
  ])('names in one line what is missing, and how to get it: %s', async (_, isMissing, sentence) => {
    allow((asked) => !isMissing(asked));

    const ran = await run(['doctor', spec], { client: new FakeSluice(), env });

    expect(ran.code).toBe(1);
    expect(ran.out.split('\n').filter((line) => line.startsWith('✖ permissions'))).toEqual([
      `✖ permissions: ${sentence}`,
    ]);
    expect(ran.out.match(/sluice rbac/gu)).toHaveLength(1);
  });

  it('says what a Role of before the watches costs, and that a release goes on without', async () => {
    allow(({ verb, name }) => !(name !== undefined && (verb === 'list' || verb === 'watch')));

    const ran = await run(['doctor', spec], { client: new FakeSluice(), env });

    expect(ran.out).toContain('✔ permissions: all that a release needs in namespace shop are there.');
    const lines = ran.out.split('\n').filter((line) => line.includes('again and again'));
    expect(lines).toEqual([
      expect.stringMatching(
        /^\S+ permissions: list deployments\.apps checkout in namespace shop, and \d+ more to list and to watch, are not there: /u,
      ),
    ]);
    expect(ran.out).toContain(`\`sluice rbac ${spec}\` prints a Role that has them.`);
  });

  it('says that there is no cluster', async () => {
    const ran = await run(['doctor', spec], { client: new FakeSluice(), env: { KUBECONFIG: '/nonexistent/config' } });

    expect(ran.code).toBe(1);
    expect(ran.out).toContain('✖ cluster: The kubeconfig /nonexistent/config does not exist.');
  });
});
