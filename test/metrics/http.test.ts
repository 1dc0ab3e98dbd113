import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import {
  createHttpClient,
  describeHttpFailure,
  displayUrl,
  expectJson,
  HttpFailure,
  shorten,
} from '../../src/metrics/http';
import { json, refusedUrl, startFakeServer, type FakeServer, type Handler } from './fake-server';

const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function serve(handler: Handler): Promise<FakeServer> {
  const server = await startFakeServer(handler);
  cleanups.push(() => server.close());
  return server;
}

function clientOf(options: Partial<Parameters<typeof createHttpClient>[0]> = {}) {
  const client = createHttpClient({ timeoutMs: 10_000, ...options });
  cleanups.push(() => client.close());
  return client;
}

/** The clause a person reads about a request that should have failed. */
async function clauseOf(url: string, options: Partial<Parameters<typeof createHttpClient>[0]> = {}): Promise<string> {
  try {
    const answer = expectJson(await clientOf(options).request({ method: 'GET', url }));
    return `no failure: ${JSON.stringify(answer)}`;
  } catch (error) {
    expect(error).toBeInstanceOf(HttpFailure);
    return describeHttpFailure(error);
  }
}

describe('http client', () => {
  it('sends JSON and reads JSON', async () => {
    const server = await serve((request, response) =>
      json(response, { got: JSON.parse(request.body) as unknown }, 409),
    );

    const answer = await clientOf({ headers: { 'X-Canary-Token': 't' } }).request({
      method: 'PUT',
      url: `${server.url}/canary/weight`,
      headers: { 'X-Extra': 'e' },
      body: { weight: 5 },
    });

    expect(answer).toMatchObject({ status: 409, contentType: 'application/json', json: { got: { weight: 5 } } });
    expect(server.requests[0]?.headers).toMatchObject({
      'x-canary-token': 't',
      'x-extra': 'e',
      'content-type': 'application/json',
    });
  });

  it('keeps its connection, and asks again when the server closed it meanwhile', async () => {
    let connections = 0;
    // Answers once per connection, and resets it when it is used again.
    const server = createServer((socket) => {
      connections += 1;
      let answered = false;
      socket.on('error', () => undefined);
      socket.on('data', () => {
        if (answered) socket.resetAndDestroy();
        else socket.write('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}');
        answered = true;
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => new Promise<void>((resolve) => void server.close(() => resolve())));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const client = clientOf();

    const first = await client.request({ method: 'GET', url });
    const second = await client.request({ method: 'GET', url });
    client.close();

    expect([first.status, second.status]).toEqual([200, 200]);
    expect(connections).toBe(2);
  });

  it('asks no proxy of the environment', async () => {
    const server = await serve((_request, response) => json(response, {}));
    const before = process.env['HTTP_PROXY'];
    process.env['HTTP_PROXY'] = await refusedUrl();

    try {
      expect(await clauseOf(server.url)).toBe('no failure: {}');
    } finally {
      if (before === undefined) delete process.env['HTTP_PROXY'];
      else process.env['HTTP_PROXY'] = before;
    }
  });

  it.each<[string, Handler, string]>([
    [
      '500 with HTML',
      (_q, r) => void r.writeHead(500, { 'Content-Type': 'text/html' }).end('<h1>secret</h1>'),
      'answered 500',
    ],
    [
      '503 with text',
      (_q, r) => void r.writeHead(503, { 'Content-Type': 'text/plain' }).end('try\nlater'),
      'answered 503: try later',
    ],
    [
      '422 with a problem document',
      (_q, r) => json(r, { detail: 'no such version' }, 422),
      'answered 422: no such version',
    ],
    ['404 with nothing', (_q, r) => void r.writeHead(404).end(), 'answered 404'],
    [
      'HTML',
      (_q, r) => void r.writeHead(200, { 'Content-Type': 'text/html' }).end('<html>'),
      'answered HTML instead of JSON',
    ],
    [
      'HTML that claims to be JSON',
      (_q, r) => void r.writeHead(200, { 'Content-Type': 'application/json' }).end('<!doctype html>'),
      'answered HTML instead of JSON',
    ],
    ['incomplete JSON', (_q, r) => void r.writeHead(200).end('{"a": ['), 'answered incomplete JSON instead of JSON'],
    ['nothing', (_q, r) => void r.writeHead(200).end(), 'answered nothing instead of JSON'],
    [
      'a redirect',
      (_q, r) => void r.writeHead(302, { Location: 'http://169.254.169.254/' }).end(),
      'answered with a redirect (302), which is not followed',
    ],
    ['a broken connection', (_q, r) => void r.destroy(), 'broke the connection before the answer was complete'],
    [
      'a broken body',
      (_q, r) => {
        r.writeHead(200, { 'Content-Length': '100' });
        r.write('{', () => r.destroy());
      },
      'broke the connection before the answer was complete',
    ],
  ])('says what is wrong with %s', async (_name, handler, expected) => {
    const server = await serve(handler);

    expect(await clauseOf(server.url)).toBe(expected);
  });

  it('bounds the answer, also when it is compressed', async () => {
    const plain = await serve((_request, response) => void response.end('x'.repeat(3000)));
    const packed = await serve(
      (_request, response) =>
        void response.writeHead(200, { 'Content-Encoding': 'gzip' }).end(gzipSync(Buffer.alloc(4 * 1024 * 1024))),
    );

    expect(await clauseOf(plain.url, { maxBytes: 2999 })).toBe('answered more than 2999 bytes');
    expect(await clauseOf(packed.url)).toBe('answered more than 1 MiB');
  });

  it('bounds the time of an answer that never comes, and of one that never ends', async () => {
    const silent = await serve(() => undefined);
    const endless = await serve((_request, response) => {
      const timer = setInterval(() => response.write(' '), 5);
      response.on('close', () => clearInterval(timer));
    });

    expect(await clauseOf(silent.url, { timeoutMs: 100 })).toBe('timed out after 100 ms');
    expect(await clauseOf(endless.url, { timeoutMs: 100 })).toBe('timed out after 100 ms');
  });

  it('ends when it is told to', async () => {
    const controller = new AbortController();
    const server = await serve(() => controller.abort());

    const request = clientOf().request({ method: 'GET', url: server.url, signal: controller.signal });

    await expect(request).rejects.toMatchObject({ kind: 'cancelled', message: 'was cancelled' });
  });

  it('names what keeps it from connecting', async () => {
    expect(await clauseOf(await refusedUrl())).toBe('refused the connection');
    expect(await clauseOf('http://does-not-exist.invalid')).toBe('has a name that does not resolve');
  });

  it('understands what is not HTTP', async () => {
    const server = createServer(
      (socket) =>
        void socket
          .on('error', () => undefined)
          .resume()
          .end('220 mail\r\n'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => new Promise<void>((resolve) => void server.close(() => resolve())));

    expect(await clauseOf(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)).toBe(
      'answered something that is not HTTP',
    );
  });

  it.each([
    'http://169.254.169.254/latest',
    'http://[fe80::1]/',
    'http://[::ffff:169.254.169.254]/',
    'http://2852039166/',
  ])('never asks the metadata service at %s', async (url) => {
    expect(await clauseOf(url)).toBe('has a link-local address, which is never asked');
  });

  it.each(['file:///etc/passwd', 'ftp://example.com', 'nonsense'])('asks by http only, not %s', async (url) => {
    expect(await clauseOf(url)).toBe('has an address that is neither http nor https');
  });
});

describe('text for people', () => {
  it('shows no password of a URL', () => {
    expect(displayUrl('https://user:pass@prometheus:9090/prefix/?token=1#x')).toBe('https://prometheus:9090/prefix');
    expect(displayUrl('::')).toBe('an invalid address');
  });

  it('shortens what another server said, to one line', () => {
    expect(shorten('a\r\n\tb\u001b[31m')).toBe('a b [31m');
    expect(shorten('x'.repeat(500))).toHaveLength(200);
  });
});

describe('what only some protocols need', () => {
  it('hands a redirect to those who decide about it themselves, and follows it no more than for others', async () => {
    const server = await serve((_, response) => response.writeHead(307, { Location: '/elsewhere' }).end());

    const answer = await clientOf().request({ method: 'HEAD', url: server.url, redirects: 'answer' });

    expect([answer.status, answer.headers['location']]).toEqual([307, '/elsewhere']);
    expect(server.requests.map((one) => [one.method, one.path])).toEqual([['HEAD', '/']]);
  });

  it('keeps the bytes of an answer as they were sent, beside its text', async () => {
    const sent = Buffer.from([0xef, 0xbb, 0xbf, 0x7b, 0x7d, 0x0a, 0xff]);
    const server = await serve((_, response) =>
      response.writeHead(200, { 'Content-Encoding': 'gzip' }).end(gzipSync(sent)),
    );

    const answer = await clientOf().request({ method: 'GET', url: server.url });

    expect(Buffer.from(answer.bytes).equals(sent)).toBe(true);
    expect(answer.text).toBe('{}\n\ufffd');
  });
});
