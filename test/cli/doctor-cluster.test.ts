import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { FakeApi, answer } from '../targets/kubernetes/fake-api';
import { FakeSluice } from './fake-client';
import { run } from './harness';

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

function allow(isAllowed: (asked: Asked['spec']['resourceAttributes']) => boolean): void {
  api.handlers = [
    (request, response, body) => {
      const { kind, spec: asked } = JSON.parse(body) as Asked;
      // A cluster that cannot list all rules, so that each is asked about by itself.
      const status =
        kind === 'SelfSubjectRulesReview'
          ? { incomplete: true, resourceRules: [], nonResourceRules: [] }
          : { allowed: isAllowed(asked.resourceAttributes) };
      answer(201, { kind, status })(request, response, body);
    },
  ];
}

describe('sluice doctor, of a release to Kubernetes', () => {
  it('says that all permissions are there', async () => {
    allow(() => true);

    const ran = await run(['doctor', spec], { client: new FakeSluice(), env });

    expect(ran.out).toContain('✔ permissions: all that a release needs in namespace shop are there.');
  });

  it('names each that is missing, and how to get it', async () => {
    allow(({ verb, resource }) => !(verb === 'patch' && /^(deployments|httproutes)$/u.test(resource)));

    const ran = await run(['doctor', spec], { client: new FakeSluice(), env });

    expect(ran.code).toBe(1);
    expect(ran.out.split('\n').filter((line) => line.includes('is missing'))).toEqual([
      '✖ permissions: patch deployments.apps checkout in namespace shop is missing.',
      '✖ permissions: patch deployments.apps checkout-stable in namespace shop is missing.',
      '✖ permissions: patch deployments.apps checkout-canary in namespace shop is missing.',
      '✖ permissions: patch httproutes.gateway.networking.k8s.io checkout in namespace shop is missing.',
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
