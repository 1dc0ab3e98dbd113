import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import { run } from './harness';

const SPEC = `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout, namespace: shop }
spec:
  target:
    kubernetes: { deployment: checkout, service: checkout, traffic: { nginx: { ingress: checkout } } }
  analysis: { source: { prometheus: { url: "http://127.0.0.1:9" } }, preset: http }
`;

let directory: string;
let spec: string;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'sluice-rbac-'));
  spec = path.join(directory, 'release.yaml');
  await writeFile(spec, SPEC);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

interface Printed {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly rules?: readonly { readonly resources: readonly string[] }[];
  readonly subjects?: readonly unknown[];
}

function documents(text: string): Printed[] {
  return parseAllDocuments(text).map((document) => document.toJS() as Printed);
}

describe('sluice rbac', () => {
  it('prints a Role and its binding, in the namespace of the service', async () => {
    const ran = await run(['rbac', spec]);

    expect(ran).toMatchObject({ code: 0, err: '' });
    const [role, binding, ...more] = documents(ran.out);
    expect(more).toEqual([]);
    expect(role).toMatchObject({ kind: 'Role', metadata: { name: 'sluice-checkout', namespace: 'shop' } });
    expect(role?.rules?.flatMap(({ resources }) => resources)).toContain('ingresses');
    expect(ran.out).not.toContain('secrets');
    expect(binding).toMatchObject({
      kind: 'RoleBinding',
      subjects: [{ kind: 'ServiceAccount', name: 'sluice', namespace: 'shop' }],
    });
  });

  it('names Secrets only for snapshots', async () => {
    const snapshots = path.join(directory, 'snapshots.yaml');
    await writeFile(snapshots, SPEC.replace('service: checkout,', 'service: checkout, config: snapshot,'));

    expect((await run(['rbac', snapshots])).out).toContain('secrets');
  });

  it.each([
    ['worker', { name: 'worker', namespace: 'shop' }],
    ['sluice-system/worker', { name: 'worker', namespace: 'sluice-system' }],
  ])('prints the account %s as well, when it is named', async (account, metadata) => {
    const ran = await run(['rbac', spec, '--service-account', account]);

    const [first, , binding] = documents(ran.out);
    expect(first).toMatchObject({ kind: 'ServiceAccount', metadata });
    expect(binding?.subjects).toEqual([{ kind: 'ServiceAccount', ...metadata }]);
  });

  it('prints one list for machines', async () => {
    const ran = await run(['rbac', spec, '-o', 'json']);

    expect(JSON.parse(ran.out)).toMatchObject({ kind: 'List', items: [{ kind: 'Role' }, { kind: 'RoleBinding' }] });
  });

  it.each(['a/b/c', 'Worker', ''])('refuses the account %j', async (account) => {
    const ran = await run(['rbac', spec, '--service-account', account]);

    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err).toContain('is no ServiceAccount.');
  });

  it('says that another target needs no rights', async () => {
    const ran = await run(['rbac', path.join(__dirname, '../../examples/shop/release.yaml')]);

    expect(ran.code).toBe(2);
    expect(ran.err).toContain('releases to a router, which needs no rights in a cluster.');
  });
});
