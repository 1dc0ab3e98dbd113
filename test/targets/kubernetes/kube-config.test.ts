import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { loadApiServer } from '../../../src/targets/kubernetes/kube-config';

let directory: string;

beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'sluice-kubeconfig-'))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

function config(name: string, user: unknown, cluster: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server: `https://${name}.test:6443`, ...cluster } }],
    users: [{ name, user }],
    contexts: [{ name, context: { cluster: name, user: name, namespace: `ns-${name}` } }],
    'current-context': name,
  });
}

it('reads the file given, its context, its namespace and its token', async () => {
  const kubeconfig = write('a', config('a', { token: 'secret-a' }));

  const server = loadApiServer({ kubeconfig });

  expect([server.url, server.namespace]).toEqual(['https://a.test:6443', 'ns-a']);
  expect((await server.access()).headers).toEqual({ Authorization: 'Bearer secret-a' });
});

it('merges the files of KUBECONFIG as kubectl does: missing ones do not matter, the first context counts', () => {
  const KUBECONFIG = [write('a', config('a', {})), join(directory, 'absent'), write('b', config('b', {}))].join(
    delimiter,
  );

  expect(loadApiServer({ env: { KUBECONFIG } }).url).toBe('https://a.test:6443');
  expect(loadApiServer({ env: { KUBECONFIG }, context: 'b' }).url).toBe('https://b.test:6443');
});

it('takes a token from a file, also one that ends with a line break, and reads it anew', async () => {
  const tokenFile = write('token', 'from-a-file\n');
  const kubeconfig = write('a', config('a', { 'auth-provider': { name: 'tokenFile', config: { tokenFile } } }));

  const { headers } = await loadApiServer({ kubeconfig }).access();

  expect(headers['Authorization']).toBe('Bearer from-a-file');
});

it('does not repeat what a credential plugin says', async () => {
  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: 'false', args: ['the-secret'] };
  const server = loadApiServer({ kubeconfig: write('a', config('a', { exec })) });

  const error: unknown = await server.access().catch((caught: unknown) => caught);

  expect(error).toMatchObject({ kind: 'credentials' });
  expect(String(error)).not.toContain('the-secret');
});

it.each<[string, () => string, string]>([
  ['does not exist', () => join(directory, 'absent'), 'does not exist'],
  ['is broken', () => write('x', 'users: [{name: a, user: {token: the-secret}'), 'is not a valid kubeconfig'],
  [
    'names no server',
    () => write('x', config('x', {}, { server: 'nonsense' })),
    'names no API server by http or https',
  ],
  [
    'sends tokens in the clear',
    () => write('x', config('x', {}, { server: 'http://x.test' })),
    'insecure-skip-tls-verify',
  ],
])('says what is wrong with a kubeconfig that %s', (_name, path, words) => {
  const kubeconfig = path();
  const load = (): unknown => loadApiServer({ kubeconfig });

  expect(load).toThrow(expect.objectContaining({ kind: 'config', message: expect.stringContaining(words) as string }));
  expect(load).not.toThrow(/the-secret/);
});

it('names the contexts that there are', () => {
  const kubeconfig = write('a', config('a', {}));

  expect(() => loadApiServer({ kubeconfig, context: 'prod' })).toThrow(
    'The kubeconfig has no context prod; it has: a.',
  );
});

it('does not guess a server where none is configured', () => {
  expect(() => loadApiServer({ env: { HOME: directory } })).toThrow(/^No cluster is configured/);
});
