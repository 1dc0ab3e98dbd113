import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createCohortRouter } from '../../src/router';
import type { CohortRouter, CohortRouterOptions, RouterEvent } from '../../src/router';

/** What a write carries that a router does not look at. */
export const PLAIN = { artifact: null, match: [], smokeTest: null, release: 'r1', timeoutMs: 10_000 } as const;

export const TOKEN = 'the-admin-token-of-the-tests';

/** What a test's proxy does with one request to an instance. */
export type Fate =
  | 'pass'
  | 'refuse' // the connection breaks, and the app never saw it
  | 'lost' // the app did it, and the connection breaks before the answer
  | 'hang' // nothing, ever
  | number; // the proxy answers this status by itself, in HTML

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
}

/**
 * One instance of an app with the in-app cohort router, over real HTTP, behind a proxy that tests give faults to. Can
 * die and be started again at its address, where it has forgotten everything that was not configured.
 */
export class Instance {
  url = '';
  router: CohortRouter;
  /** Every request that arrived, also those the proxy kept from the app. */
  readonly seen: SeenRequest[] = [];
  /** Decides on each request; may wait, for a write that arrives late. */
  proxy: (request: SeenRequest) => Fate | Promise<Fate> = () => 'pass';
  /** What the app itself answers with, by version. */
  app: (version: string, path: string) => { status: number; body: string } = (version) => ({
    status: 200,
    body: `served by ${version}`,
  });
  #server: Server | null = null;
  #port = 0;
  /** Resolved at the end, so that no request outlives its test. */
  readonly #pending = new Set<Promise<void>>();

  constructor(private readonly options: CohortRouterOptions = {}) {
    this.router = this.#newRouter();
  }

  get alive(): boolean {
    return this.#server !== null;
  }

  /** Starts at its address, with a router that knows nothing but its configuration. */
  async start(): Promise<this> {
    this.router = this.#newRouter();
    const server = createServer((request, response) => {
      const answered = this.#answer(request, response).catch(() => {
        response.destroy(); // the client is gone, and nobody waits for the answer
      });
      this.#pending.add(answered);
      void answered.finally(() => this.#pending.delete(answered));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
    this.url = `http://127.0.0.1:${this.#port}`;
    return this;
  }

  /** Ends at once, with everything it was doing. */
  async die(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  /** Events of the router, oldest first; `started` left out. */
  events(): readonly RouterEvent[] {
    return this.router.state().events.filter((event) => event.type !== 'started');
  }

  writes(): readonly SeenRequest[] {
    return this.seen.filter((request) => request.method !== 'GET');
  }

  #newRouter(): CohortRouter {
    return createCohortRouter({
      service: 'shop',
      versions: ['v1', 'v2', 'v3'],
      stableVersion: 'v1',
      adminToken: TOKEN,
      environment: {},
      guard: { maxErrorRate: false, maxErrorRatio: false, maxLatencyMs: false },
      logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
      ...this.options,
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { router } = this;
    const text = await bodyOf(request);
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://instance');
    const seen = { method: request.method ?? 'GET', path: pathname, body: text === '' ? null : JSON.parse(text) };
    this.seen.push(seen);
    const fate = await this.proxy(seen);
    if (fate === 'refuse') return void response.destroy();
    if (fate === 'hang') return;
    if (typeof fate === 'number') {
      response.writeHead(fate, { 'content-type': 'text/html' });
      return void response.end('<html><body>a proxy speaking</body></html>');
    }
    if (router.isAdminPath(pathname)) {
      const answer = router.handleAdmin({
        method: seen.method,
        path: pathname,
        headers: request.headers,
        query: searchParams,
        body: text,
      });
      if (fate === 'lost') return void response.destroy();
      response.writeHead(answer.status, answer.headers);
      return void response.end(answer.body);
    }
    const override = request.headers['x-canary-override'];
    const exchange = router.begin({
      userId: searchParams.get('user'),
      ...(typeof override === 'string' ? { override } : {}),
    });
    const { status, body } = this.app(exchange.assignment.version, pathname);
    exchange.finish({ status });
    response.writeHead(status, { ...exchange.headers, 'content-type': 'text/plain' });
    response.end(body);
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

/** Resolves once the condition holds; fails after `limitMs`, ten seconds by default. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string,
  limitMs = 10_000,
): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
