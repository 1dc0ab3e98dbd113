import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { connectCluster } from '../../../src/targets/kubernetes/cluster';
import { loadApiServer } from '../../../src/targets/kubernetes/kube-config';
import { answer, FakeApi, status } from './fake-api';

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

it('takes the token of a tokenFile beside the kubeconfig before its token, and reads it again after a minute', async () => {
  jest.useFakeTimers({ now: 0, doNotFake: ['nextTick', 'setImmediate'] });
  try {
    write('token', 'first\n');
    const server = loadApiServer({ kubeconfig: write('a', config('a', { token: 'of-old', tokenFile: 'token' })) });
    const token = async () => (await server.access()).headers['Authorization'];
    expect(await token()).toBe('Bearer first');
    write('token', 'second');
    jest.setSystemTime(59_000);
    expect(await token()).toBe('Bearer first');
    jest.setSystemTime(61_000);

    expect(await token()).toBe('Bearer second');
  } finally {
    jest.useRealTimers();
  }
});

describe('credentials that the API server does not accept', () => {
  const ref = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'shop', name: 'x' };
  const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x', namespace: 'shop' } };
  const signal = AbortSignal.timeout(10 * 60_000);
  let api: FakeApi;
  let accepted: string;

  beforeEach(async () => {
    api = await new FakeApi().start();
    api.handlers = [
      (request, response, body) => {
        const known = request.headers.authorization === `Bearer ${accepted}`;
        (known ? answer(200, object) : status(401, 'Unauthorized', 'Unauthorized'))(request, response, body);
      },
    ];
  });

  afterEach(() => api.stop());

  function configOf(user: unknown, server: string = api.url): string {
    return config('a', user, { server, 'insecure-skip-tls-verify': true });
  }

  /** A plugin that gives another token each time, without saying for how long. */
  function plugin(): unknown {
    const script = `
      const fs = require('node:fs');
      fs.appendFileSync(${JSON.stringify(join(directory, 'ran'))}, '+');
      const token = 'token-' + fs.readFileSync(${JSON.stringify(join(directory, 'ran'))}, 'utf8').length;
      console.log(JSON.stringify({ kind: 'ExecCredential', status: { token } }));`;
    const apiVersion = 'client.authentication.k8s.io/v1';
    return { exec: { apiVersion, command: process.execPath, args: ['-e', script] } };
  }

  it('are asked of the plugin again, once', async () => {
    const cluster = connectCluster({ kubeconfig: write('a', configOf(plugin())) });
    accepted = 'token-1';
    await cluster.get(ref, { signal });
    accepted = 'token-2';
    await cluster.create(object, { signal });
    await cluster.get(ref, { signal });
    accepted = 'none';
    await expect(cluster.get(ref, { signal })).rejects.toMatchObject({ kind: 'unauthorized' });
    cluster.close();

    expect(api.requests.map(({ headers }) => headers.authorization)).toEqual(
      [1, 1, 2, 2, 2, 3].map((count) => `Bearer token-${count}`),
    );
  });

  it('are read anew, by the first of many that were refused', async () => {
    const kubeconfig = write('a', configOf({ token: 'old' }));
    const cluster = connectCluster({ kubeconfig });
    accepted = 'new';
    write('a', configOf({ token: 'new' }));

    const found = await Promise.all(Array.from({ length: 5 }, () => cluster.get(ref, { signal })));
    cluster.close();

    expect(found).toHaveLength(5);
  });

  it.each<[string, () => string]>([
    ['are the same as before', () => configOf({ token: 'old' })],
    ['are for another API server', () => configOf({ token: 'new' }, 'http://other.test')],
    ['are being written', () => '{"users": ['],
  ])('are refused where those in the kubeconfig %s', async (_, text) => {
    const cluster = connectCluster({ kubeconfig: write('a', configOf({ token: 'old' })) });
    accepted = 'new';
    write('a', text());

    await expect(cluster.get(ref, { signal })).rejects.toMatchObject({ kind: 'unauthorized' });
    cluster.close();
    expect(api.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer old']);
  });
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
    'names a context that it does not have',
    () => write('x', config('x', {}).replace('"current-context":"x"', '"current-context":"y"')),
    'The kubeconfig has no context y, which is its current one (current-context); it has: x.',
  ],
  [
    'names no context',
    () => write('x', config('x', {}).replace(',"current-context":"x"', '')),
    'The kubeconfig names no current context (current-context); it has: x.',
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
