import { readFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { serve } from '@hono/node-server';
import { createShop as createExpressShop } from '../../examples/router/express';
import { createShop as createFastifyShop } from '../../examples/router/fastify';
import { createShop as createHonoShop } from '../../examples/router/hono';
import { routerVariables } from '../../src/router';
import { fence, TOKEN } from './support';

const root = join(__dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Starts a shop on a free port of the loopback; returns its URL and what stops it. */
type Start = () => Promise<[url: string, stop: () => Promise<void>]>;

function portOf(server: { address(): unknown }): number {
  return (server.address() as AddressInfo).port;
}

const onExpress: Start = async () => {
  const server = createServer(createExpressShop((request) => request.get('x-test-user')) as RequestListener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const stop = () => new Promise<void>((resolve) => server.close(() => resolve()).closeAllConnections());
  return [`http://127.0.0.1:${portOf(server)}`, stop];
};

const onFastify: Start = async () => {
  const shop = await createFastifyShop((request) => String(request.headers['x-test-user']));
  const url = await shop.listen({ host: '127.0.0.1', port: 0 });
  return [
    url,
    async () => {
      shop.server.closeAllConnections();
      await shop.close();
    },
  ];
};

const onHono: Start = async () => {
  const shop = createHonoShop((context) => context.req.header('x-test-user'));
  const server = serve({ fetch: shop.fetch, hostname: '127.0.0.1', port: 0 });
  if (!server.listening) await new Promise((resolve) => server.once('listening', resolve));
  const stop = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      if ('closeAllConnections' in server) server.closeAllConnections();
    });
  return [`http://127.0.0.1:${portOf(server)}`, stop];
};

describe('docs/router.md', () => {
  const page = read('docs/router.md');

  it.each(['express', 'fastify', 'hono'])('shows the example for %s as it is tested', (name) => {
    const example = read(`examples/router/${name}.ts`).replace("'../../src/router'", "'sluice/router'");

    expect(page).toContain(`\`\`\`ts\n${example}\`\`\``);
  });

  it('names every environment variable, endpoint, refusal and metric', () => {
    const codes = [...read('src/router/protocol.ts').matchAll(/^ {2}\| '([A-Z_]+)'/gm)].map(([, code]) => code ?? '');
    const metrics = [...read('src/router/prometheus.ts').matchAll(/'(canary_[a-z_]+)'/g)].map(([, name]) => name ?? '');

    expect(codes.length).toBeGreaterThan(10);
    for (const name of [...routerVariables, ...codes]) expect(page).toContain(`\`${name}\``);
    for (const name of metrics) expect(page).toContain(name.replace(/_(bucket|sum|count)$/, ''));
  });
});

describe.each<[string, Start]>([
  ['Express', onExpress],
  ['Fastify', onFastify],
  ['Hono', onHono],
])('the example for %s', (_name, start) => {
  const previous = { ...process.env };
  let url: string;
  let stop: () => Promise<void>;

  beforeEach(async () => {
    process.env.CANARY_ADMIN_TOKEN = TOKEN;
    jest.spyOn(console, 'log').mockImplementation(() => undefined);
    jest.spyOn(console, 'error').mockImplementation(() => undefined);
    [url, stop] = await start();
  });

  afterEach(async () => {
    await stop();
    process.env = { ...previous };
    jest.restoreAllMocks();
  });

  it('is released and promoted', async () => {
    const write = async (method: string, path: string, body: unknown): Promise<number> => {
      const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };
      return (await fetch(url + path, { method, headers, body: JSON.stringify(body) })).status;
    };
    const checkout = async (): Promise<unknown> =>
      (await fetch(`${url}/checkout`, { headers: { 'x-test-user': 'alice' } })).json();

    expect(await checkout()).toEqual({ checkout: 'three pages' });
    expect(await write('PUT', '/canary/release', { version: '1.4.2', salt: 's', fence: fence(0) })).toBe(200);
    expect(await write('PUT', '/canary/weight', { weight: 100, fence: fence(1) })).toBe(200);
    expect(await checkout()).toEqual({ checkout: 'one page' });
    expect(await write('POST', '/canary/promote', { version: '1.4.2', fence: fence(2) })).toBe(200);
    expect(await checkout()).toEqual({ checkout: 'one page' });
    expect(await write('PUT', '/canary/release', { version: '9.9.9', salt: 's', fence: fence(3) })).toBe(422);
  });
});
