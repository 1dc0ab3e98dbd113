import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createCohortRouter, expressCohortRouter } from '../../router';
import type { Assignment, RouterLogger } from '../../router';

/**
 * The demo's shop: a small real HTTP service that carries the in-app cohort router, as a user's own would. All its
 * versions are in one process; which one serves a request is the router's decision.
 */

export interface ShopOptions {
  /** 0: a free one. */
  readonly port: number;
  readonly adminToken: string;
  readonly logger?: RouterLogger;
}

export interface Shop {
  readonly url: string;
  close(): Promise<void>;
}

/** What a version makes of a checkout: how long it takes, and how it ends. */
type ShopVersion = () => { readonly delayMs: number; readonly status: number; readonly body: string };

export async function startShop(options: ShopOptions): Promise<Shop> {
  const versions = createVersions();
  const router = createCohortRouter({
    service: 'shop',
    stableVersion: 'v1',
    versions: Object.keys(versions),
    adminToken: options.adminToken,
    // The guard in the process is the last resort; with its usual 100 requests it would be about as fast as the
    // release here, and the demo is about the release.
    guard: { minRequests: 400 },
    environment: {},
    ...(options.logger === undefined ? {} : { logger: options.logger }),
  });
  const route = expressCohortRouter(router, {
    // A real shop takes the id from its session: a header that clients write proves nothing.
    user: (request: IncomingMessage) => request.headers['x-user-id']?.toString(),
    skip: (request) => request.url === '/healthz',
  });
  const server = createServer((request, response) => {
    route(request, response, () => answer(request, response, versions));
  });
  // Longer than any pause of the load generator, so that no connection is closed under a request.
  server.keepAliveTimeout = 120_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer(
  request: IncomingMessage & { readonly canary?: Assignment },
  response: ServerResponse,
  versions: Readonly<Record<string, ShopVersion>>,
): void {
  if (request.url === '/healthz') {
    response.end('ok\n');
    return;
  }
  const version = request.canary?.version ?? 'v1';
  const { delayMs, status, body } = versions[version]?.() ?? { delayMs: 0, status: 500, body: `no version ${version}` };
  setTimeout(() => {
    response.writeHead(status, { 'content-type': 'text/plain' });
    response.end(`${body}\n`);
  }, delayMs);
}

/** How many checkouts a second an instance of v3 can serve: enough for 5 % of the demo's load, far too few for 25 %. */
const V3_PER_SECOND = 8;

function createVersions(): Readonly<Record<string, ShopVersion>> {
  const pool = createPool(V3_PER_SECOND);
  return {
    v1: () => ({ delayMs: between(5, 20), status: 200, body: 'sold, by v1' }),
    v2: () => ({ delayMs: between(3, 12), status: 200, body: 'sold, by v2' }),
    // The mistake of v3: each checkout opens a connection of its own, and the database hands out only so many.
    v3: () =>
      pool()
        ? { delayMs: between(5, 20), status: 200, body: 'sold, by v3' }
        : { delayMs: between(20, 60), status: 503, body: 'v3: no connection to the database is free' },
  };
}

/** A token bucket: at most so many a second, with one second's worth in reserve. */
function createPool(perSecond: number): () => boolean {
  let tokens = perSecond;
  let at = performance.now();
  return () => {
    const now = performance.now();
    tokens = Math.min(perSecond, tokens + ((now - at) / 1000) * perSecond);
    at = now;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  };
}

function between(min: number, max: number): number {
  return min + Math.random() * (max - min);
}
