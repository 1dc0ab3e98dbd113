import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HttpAnswer, HttpClient, HttpRequest } from '../../../src/metrics/http';
import { resolveImage } from '../../../src/targets/kubernetes/resolve-image';
import type { TargetFailure } from '../../../src/targets/target';
import { json, refusedUrl, startFakeServer } from '../../metrics/fake-server';
import type { FakeServer, Handler, RecordedRequest } from '../../metrics/fake-server';
import { describeWithRegistry, digestOf, LOGIN, startRegistry } from './registry';
import type { Registry } from './registry';
import { failureOf } from '../failure-of';

const signal = AbortSignal.timeout(5 * 60_000);
const DIGEST = `sha256:${'1b'.repeat(32)}`;
const MANIFEST = JSON.stringify({
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  manifests: [],
});

const folder = mkdtempSync(join(tmpdir(), 'sluice-logins-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A docker config.json; answers its path. */
function configFile(name: string, content: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

function basicAuth(user: string, password: string): string {
  return Buffer.from(`${user}:${password}`).toString('base64');
}

describeWithRegistry('resolving against a real registry', () => {
  let open: Registry;
  let guarded: Registry;

  beforeAll(async () => {
    open = await startRegistry({ login: false });
    guarded = await startRegistry({ login: true });
  });

  afterAll(async () => {
    await open?.close();
    await guarded?.close();
  });

  it('gives the digest that the tag stands for now, beside the name and the tag that were given', async () => {
    const first = await open.push('acme/checkout', 'v1', 'one');
    const before = await resolveImage(`${open.host}/acme/checkout:v1`, { env: {}, signal });
    const second = await open.push('acme/checkout', 'v1', 'two');
    const after = await resolveImage(`${open.host}/acme/checkout:v1`, { env: {}, signal });

    expect(second).not.toBe(first);
    expect([before, after]).toEqual([
      `${open.host}/acme/checkout:v1@${first}`,
      `${open.host}/acme/checkout:v1@${second}`,
    ]);
  });

  it('says that there is no such tag or image', async () => {
    await open.push('acme/known', 'v1', 'one');

    const tag = await failureOf(resolveImage(`${open.host}/acme/known:v2`, { env: {}, signal }));
    const image = await failureOf(resolveImage(`${open.host}/acme/unknown:v1`, { env: {}, signal }));

    expect([tag.kind, tag.message]).toEqual(['unknownVersion', `Registry ${open.host} has no image acme/known:v2.`]);
    expect(image.kind).toBe('unknownVersion');
  });

  it('logs in where the registry asks for it, and says what is missing where it cannot', async () => {
    const digest = await guarded.push('acme/secret', 'v1', 'one');
    const image = `${guarded.host}/acme/secret:v1`;
    const right = configFile('right.json', {
      auths: { [guarded.host]: { auth: basicAuth(LOGIN.user, LOGIN.password) } },
    });
    const wrong = configFile('wrong.json', { auths: { [guarded.host]: { username: 'sluice', password: 'guessed' } } });

    const resolved = await resolveImage(image, { env: { SLUICE_REGISTRY_CONFIG: right }, signal });
    const anonymous = await failureOf(resolveImage(image, { env: {}, signal }));
    const refused = await failureOf(resolveImage(image, { env: { SLUICE_REGISTRY_CONFIG: wrong }, signal }));

    expect(resolved).toBe(`${guarded.host}/acme/secret:v1@${digest}`);
    for (const failure of [anonymous, refused]) {
      expect([failure.kind, failure.message]).toEqual([
        'invalidTarget',
        `Registry ${guarded.host} does not show acme/secret:v1 (401): it is private or not there. Name a docker config.json with a login for it in the worker's SLUICE_REGISTRY_CONFIG, or write \`resolveImage: never\` into the spec.`,
      ]);
      expect(JSON.stringify(failure)).not.toContain('guessed');
    }
  });
});

describe('resolving against registries of every kind', () => {
  let server: FakeServer | null = null;

  afterEach(async () => {
    await server?.close();
    server = null;
  });

  async function registry(handler: Handler): Promise<string> {
    server = await startFakeServer(handler);
    return server.url.replace('http://', '');
  }

  const found = (response: ServerResponse): unknown =>
    response.writeHead(200, { 'Docker-Content-Digest': DIGEST, 'Content-Type': 'application/json' }).end();

  it('asks nobody for an image that has a digest', async () => {
    const image = `${(await refusedUrl()).replace('http://', '')}/a:v1@${DIGEST}`;

    expect(await resolveImage(image, { env: {}, signal })).toBe(image);
  });

  it('asks for the index of all platforms first', async () => {
    const host = await registry((_, response) => found(response));

    expect(await resolveImage(`${host}/a/b:v1`, { env: {}, signal })).toBe(`${host}/a/b:v1@${DIGEST}`);
    expect(server?.requests.map(({ method, path }) => [method, path])).toEqual([['HEAD', '/v2/a/b/manifests/v1']]);
    expect(server?.requests[0]?.headers.accept).toMatch(
      /^application\/vnd\.oci\.image\.index\.v1\+json, .*manifest\.list\.v2\+json, .*image\.manifest\.v1\+json, .*manifest\.v2\+json$/,
    );
  });

  it.each<[string, (request: RecordedRequest, response: ServerResponse) => void]>([
    ['does not say the digest', (_, response) => response.writeHead(200).end(MANIFEST)],
    [
      'says something that is none',
      (request, response) =>
        response
          .writeHead(200, request.method === 'HEAD' ? { 'Docker-Content-Digest': 'sha256:zz' } : {})
          .end(MANIFEST),
    ],
    [
      'does not know HEAD',
      (request, response) =>
        response.writeHead(request.method === 'HEAD' ? 405 : 200).end(request.method === 'HEAD' ? '' : MANIFEST),
    ],
  ])('counts the digest where the registry %s', async (_, handler) => {
    const host = await registry(handler);

    expect(await resolveImage(`${host}/a:v1`, { env: {}, signal })).toBe(`${host}/a:v1@${digestOf(MANIFEST)}`);
  });

  it('gets a token where the registry wants one, with and without a login', async () => {
    const host = await registry((request, response) => {
      const { authorization = '' } = request.headers;
      if (request.path.startsWith('/token?')) {
        json(response, { token: authorization === '' ? 'of-anybody' : `of-${authorization.length}` });
      } else if (/^Bearer of-/.test(authorization)) {
        found(response);
      } else {
        const realm = `${server?.url}/token`;
        response
          .writeHead(401, { 'WWW-Authenticate': `Bearer realm="${realm}",service="reg",scope="repository:a/b:pull"` })
          .end();
      }
    });
    const login = configFile('token.json', {
      auths: {
        [`http://${host}/v2/`]: { username: 'all', password: 'x' },
        [`${host}/a`]: { auth: basicAuth('some', 'pass:word') },
      },
    });

    const anonymous = await resolveImage(`${host}/a/b:v1`, { env: {}, signal });
    const known = await resolveImage(`${host}/a/b:v1`, { env: { SLUICE_REGISTRY_CONFIG: login }, signal });

    expect([anonymous, known]).toEqual([`${host}/a/b:v1@${DIGEST}`, `${host}/a/b:v1@${DIGEST}`]);
    const tokens = (server?.requests ?? []).filter((one) => one.path.startsWith('/token'));
    expect(tokens.map((one) => one.path)).toEqual(Array(2).fill('/token?service=reg&scope=repository%3Aa%2Fb%3Apull'));
    // The longest entry that fits is the login.
    expect(tokens.map((one) => one.headers.authorization)).toEqual([
      undefined,
      `Basic ${basicAuth('some', 'pass:word')}`,
    ]);
  });

  it('uses a token for the second request, too', async () => {
    const host = await registry((request, response) => {
      if (request.path.startsWith('/token')) json(response, { access_token: 'x' });
      else if (request.headers.authorization === 'Bearer x') response.writeHead(200).end(MANIFEST);
      else response.writeHead(401, { 'WWW-Authenticate': `Bearer realm="${server?.url}/token"` }).end();
    });

    expect(await resolveImage(`${host}/a:v1`, { env: {}, signal })).toBe(`${host}/a:v1@${digestOf(MANIFEST)}`);
    expect(server?.requests.map((one) => `${one.method} ${one.path.slice(0, 6)}`)).toEqual([
      'HEAD /v2/a/',
      'GET /token',
      'HEAD /v2/a/',
      'GET /v2/a/',
    ]);
  });

  it.each<[string, Handler, TargetFailure['kind'], RegExp]>([
    ['500', (_, response) => response.writeHead(500).end(), 'unreachable', / answered 500 when asked for a:v1\.$/],
    ['429', (_, response) => response.writeHead(429).end(), 'unreachable', / answered 429 when asked for a:v1\.$/],
    ['400', (_, response) => response.writeHead(400).end(), 'invalidTarget', / answered 400 when asked for a:v1\.$/],
    ['403', (_, response) => response.writeHead(403).end(), 'invalidTarget', / does not show a:v1 \(403\)/],
    [
      'a page of HTML',
      (_, response) => response.writeHead(200, { 'Content-Type': 'text/html' }).end('<html>Welcome</html>'),
      'unreachable',
      / answered text\/html that is not an image's manifest\.$/,
    ],
    [
      'other JSON',
      (_, response) => json(response, { hello: 'world' }),
      'unreachable',
      / answered application\/json that is not an image's manifest\.$/,
    ],
    [
      'more than any manifest',
      (_, response) => response.writeHead(200).end(Buffer.alloc(4 * 1024 * 1024 + 1, 32)),
      'unreachable',
      / answered more than 4 MiB\.$/,
    ],
    [
      'a manifest of another digest',
      (request, response) =>
        request.method === 'HEAD'
          ? response.writeHead(200).end()
          : response.writeHead(200, { 'Docker-Content-Digest': DIGEST }).end(MANIFEST),
      'unreachable',
      / answered a manifest of another digest than it says\.$/,
    ],
    [
      'nothing, and hangs up',
      (_, response) => response.destroy(),
      'unreachable',
      / broke the connection before the answer was complete\.$/,
    ],
    [
      'a circle',
      (request, response) => response.writeHead(307, { Location: request.path }).end(),
      'unreachable',
      / redirects more than 3 times\.$/,
    ],
    [
      'a way out of TLS',
      (_, response) => response.writeHead(307, { Location: 'http://elsewhere.test/x?secret=1' }).end(),
      'invalidTarget',
      / redirects to http:\/\/elsewhere\.test\/x; only https is followed\.$/,
    ],
    [
      'a token service without TLS',
      (_, response) => response.writeHead(401, { 'WWW-Authenticate': 'Bearer realm="http://elsewhere.test/t"' }).end(),
      'invalidTarget',
      / gives its tokens at http:\/\/elsewhere\.test\/t; only https is asked\.$/,
    ],
    [
      'an unknown way in',
      (_, response) => response.writeHead(401, { 'WWW-Authenticate': 'Negotiate' }).end(),
      'invalidTarget',
      / does not show a:v1 \(401\)/,
    ],
  ])('a registry that answers %s', async (_, handler, kind, message) => {
    const host = await registry(handler);

    const failure = await failureOf(resolveImage(`${host}/a:v1`, { env: {}, signal }));

    expect(failure.kind).toBe(kind);
    expect(failure.message).toMatch(message);
    expect(failure.message.startsWith(`Registry ${host} `)).toBe(true);
  });

  it.each<[string, Handler, TargetFailure['kind'], RegExp]>([
    ['refuses', (_, response) => response.writeHead(401).end(), 'invalidTarget', /does not show a:v1 \(401\)/],
    [
      'fails',
      (_, response) => response.writeHead(503).end(),
      'unreachable',
      /^The token service of registry .* answered 503\.$/,
    ],
    [
      'answers HTML',
      (_, response) => response.writeHead(200).end('<html>'),
      'unreachable',
      /^The token service of registry .* answered no token\.$/,
    ],
    [
      'redirects',
      (_, response) => response.writeHead(302, { Location: '/' }).end(),
      'invalidTarget',
      /^The token service of registry .* redirect/,
    ],
  ])('a token service that %s', async (_, handler, kind, message) => {
    const host = await registry((request, response) => {
      if (request.path.startsWith('/token')) handler(request, response);
      else response.writeHead(401, { 'WWW-Authenticate': `Bearer realm="${server?.url}/token"` }).end();
    });

    const failure = await failureOf(resolveImage(`${host}/a:v1`, { env: {}, signal }));

    expect(failure.kind).toBe(kind);
    expect(failure.message).toMatch(message);
  });

  it('does not wait for a registry that hangs, nor for one that is not there', async () => {
    const host = await registry(() => undefined);
    const absent = (await refusedUrl()).replace('http://', '');

    const hanging = await failureOf(resolveImage(`${host}/a:v1`, { env: {}, signal, timeoutMs: 300 }));
    const refused = await failureOf(resolveImage(`${absent}/a:v1`, { env: {}, signal }));

    expect([hanging.kind, hanging.message]).toEqual(['unreachable', `Registry ${host} did not answer within 0.3 s.`]);
    expect([refused.kind, refused.message]).toEqual(['unreachable', `Registry ${absent} refused the connection.`]);
  });

  it('ends with the one who asks', async () => {
    const cancel = new AbortController();
    const host = await registry(() => cancel.abort());

    const failure = await failureOf(resolveImage(`${host}/a:v1`, { env: {}, signal: cancel.signal }));

    expect([failure.kind, failure.message]).toEqual(['unreachable', `Registry ${host} was cancelled.`]);
  });

  it.each([['169.254.169.254/latest:v1'], ['[fe80::1]/a:v1']])(
    'never asks where only metadata services live: %s',
    async (image) => {
      expect(await failureOf(resolveImage(image, { env: {}, signal }))).toMatchObject({ kind: 'invalidTarget' });
    },
  );

  it('refuses what is no image reference', async () => {
    const failure = await failureOf(resolveImage('Not An Image', { env: {}, signal }));

    expect([failure.kind, failure.message]).toEqual([
      'invalidTarget',
      'The image Not An Image is not an image reference.',
    ]);
  });
});

describe('resolving over TLS', () => {
  /** In place of the network: answers by URL, and notes what was asked with which credentials. */
  class Network implements HttpClient {
    readonly asked: { url: string; authorization: string | undefined }[] = [];
    readonly #answers: (request: HttpRequest) => Partial<HttpAnswer>;

    constructor(answers: (request: HttpRequest) => Partial<HttpAnswer>) {
      this.#answers = answers;
    }

    request(request: HttpRequest): Promise<HttpAnswer> {
      this.asked.push({ url: request.url, authorization: request.headers?.['Authorization'] });
      const empty = { status: 200, contentType: '', headers: {}, bytes: new Uint8Array(), text: '', json: undefined };
      return Promise.resolve({ ...empty, ...this.#answers(request) });
    }

    close(): void {
      throw new Error("It is not the resolver's to close.");
    }
  }

  const digest = { headers: { 'docker-content-digest': DIGEST } };

  it.each([
    ['nginx:1.25', 'https://registry-1.docker.io/v2/library/nginx/manifests/1.25'],
    ['acme/shop:v1', 'https://registry-1.docker.io/v2/acme/shop/manifests/v1'],
    ['docker.io/nginx:1', 'https://registry-1.docker.io/v2/library/nginx/manifests/1'],
    ['ghcr.io/acme/shop:v1', 'https://ghcr.io/v2/acme/shop/manifests/v1'],
    ['reg.test:5000/shop:v1', 'https://reg.test:5000/v2/shop/manifests/v1'],
    ['localhost:5000/shop:v1', 'http://localhost:5000/v2/shop/manifests/v1'],
    ['[::1]:5000/shop:v1', 'http://[::1]:5000/v2/shop/manifests/v1'],
    ['127.0.0.1.evil.test/shop:v1', 'https://127.0.0.1.evil.test/v2/shop/manifests/v1'],
  ])('%s is asked for at %s and keeps its name', async (image, url) => {
    const http = new Network(() => digest);

    expect(await resolveImage(image, { env: {}, signal, http })).toBe(`${image}@${DIGEST}`);
    expect(http.asked.map((one) => one.url)).toEqual([url]);
  });

  it('follows a redirect without the way in when it leads elsewhere', async () => {
    const http = new Network(({ url, headers }) => {
      if (url.startsWith('https://content.test/')) return digest;
      if (url.includes('/other')) return { status: 307, headers: { location: 'https://content.test/x' } };
      if (headers?.['Authorization'] === undefined) {
        return { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } };
      }
      return { status: 307, headers: { location: '/other' } };
    });
    const env = {
      SLUICE_REGISTRY_CONFIG: configFile('redirect.json', { auths: { 'reg.test': { auth: basicAuth('u', 'p') } } }),
    };

    expect(await resolveImage('reg.test/a:v1', { env, signal, http })).toBe(`reg.test/a:v1@${DIGEST}`);
    const login = `Basic ${basicAuth('u', 'p')}`;
    expect(http.asked).toEqual([
      { url: 'https://reg.test/v2/a/manifests/v1', authorization: undefined },
      { url: 'https://reg.test/v2/a/manifests/v1', authorization: login },
      { url: 'https://reg.test/other', authorization: login },
      { url: 'https://content.test/x', authorization: undefined },
    ]);
  });

  it.each([
    ['a redirect', { status: 307, headers: { location: 'http://127.0.0.1:8080/x' } }],
    ['a token service', { status: 401, headers: { 'www-authenticate': 'Bearer realm="http://localhost:8080/t"' } }],
  ])('does not let a registry elsewhere name %s on this machine', async (_, answer) => {
    const http = new Network(() => answer);

    expect((await failureOf(resolveImage('reg.test/a:v1', { env: {}, signal, http }))).kind).toBe('invalidTarget');
    expect(http.asked).toHaveLength(1);
  });

  it("knows the login for Docker's own registry under the name that Docker writes", async () => {
    const http = new Network(({ headers }) =>
      headers?.['Authorization'] === undefined
        ? { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } }
        : digest,
    );
    const path = configFile('config.json', { auths: { 'https://index.docker.io/v1/': { auth: basicAuth('u', 'p') } } });
    const env = { DOCKER_CONFIG: path.replace(/\/config\.json$/, '') };

    expect(await resolveImage('nginx:1', { env, signal, http })).toBe(`nginx:1@${DIGEST}`);
    expect(http.asked.at(-1)?.authorization).toBe(`Basic ${basicAuth('u', 'p')}`);
  });

  it.each([
    [
      'a file that is not there',
      () => join(folder, 'absent.json'),
      /^The worker cannot read the file that SLUICE_REGISTRY_CONFIG names \(/,
    ],
    [
      'a file that is no JSON',
      () => configFile('broken.json', '{"auths": secret'),
      /^The file that SLUICE_REGISTRY_CONFIG names \(.*\) is not a docker config\.json\.$/,
    ],
    [
      'an entry without a password',
      () => configFile('empty.json', { auths: { 'reg.test': {} } }),
      /^The entry reg\.test in the file that SLUICE_REGISTRY_CONFIG names holds no user and password; /,
    ],
    [
      'an entry that is no login',
      () => configFile('odd.json', { auths: { 'reg.test': { auth: '!!' } } }),
      /^The entry reg\.test /,
    ],
  ])("refuses %s as the worker's setting", async (_, path, message) => {
    const http = new Network(() => ({ status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } }));

    const failure = await failureOf(
      resolveImage('reg.test/a:v1', { env: { SLUICE_REGISTRY_CONFIG: path() }, signal, http }),
    );

    expect(failure.kind).toBe('invalidTarget');
    expect(failure.message).toMatch(message);
    expect(failure.message).not.toContain('secret');
  });

  it("asks without a login where Docker's folder holds none, and for registries that no entry is for", async () => {
    const http = new Network(() => ({ status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } }));
    const other = configFile('other.json', { auths: { 'reg.test/acm': { auth: basicAuth('u', 'p') } } });

    for (const env of [{ DOCKER_CONFIG: join(folder, 'absent') }, { SLUICE_REGISTRY_CONFIG: other }]) {
      const failure = await failureOf(resolveImage('reg.test/acme/a:v1', { env, signal, http }));

      expect(failure.message).toContain('it is private or not there');
    }
    expect(http.asked.every((one) => one.authorization === undefined)).toBe(true);
  });
});
