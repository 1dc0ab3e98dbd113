import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createCohortRouter } from '../../src/router';
import type { Cohort, CohortRouter, CohortRouterOptions } from '../../src/router';

export const BENCH_TOKEN = 'bench-admin-token';

/** One app instance that has nothing but the router; steered by real HTTP on loopback. */
export interface Instance {
  readonly url: string;
  readonly router: CohortRouter;
  /** Resolves with `performance.now()` at the moment the weight became 0. */
  weightZero(): Promise<number>;
  stop(): Promise<void>;
}

export async function startInstance(options: Partial<CohortRouterOptions> = {}): Promise<Instance> {
  let waiting: ((at: number) => void)[] = [];
  const router = createCohortRouter({
    service: 'bench',
    stableVersion: 'v1',
    adminToken: BENCH_TOKEN,
    environment: {},
    logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
    ...options,
    onEvent: (event) => {
      if (event.type !== 'weight-changed' || event.data['weight'] !== 0) return;
      const at = performance.now();
      for (const tell of waiting) tell(at);
      waiting = [];
    },
  });
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'http://bench');
      if (!router.isAdminPath(url.pathname)) {
        const exchange = router.begin({ override: header(request.headers['x-canary-override']) });
        for (const [name, value] of Object.entries(exchange.headers)) response.setHeader(name, value);
        response.end('ok');
        exchange.finish({ status: 200 });
        return;
      }
      const body = Buffer.concat(chunks).toString('utf8');
      const answer = router.handleAdmin({
        method: request.method ?? 'GET',
        path: url.pathname,
        headers: request.headers,
        query: url.searchParams,
        body,
      });
      response.writeHead(answer.status, { ...answer.headers }).end(answer.body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    router,
    weightZero: () => new Promise((resolve) => waiting.push(resolve)),
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

let users = 0;

/**
 * Requests of both cohorts, so that the analysis has something to count: straight into the router's books, each by
 * another user, because the same few would all be stable at a small weight.
 */
export function serve(instance: Instance, requests: number, statusOf: (cohort: Cohort) => number = () => 200): void {
  for (let i = 0; i < requests; i += 1) {
    users += 1;
    const exchange = instance.router.begin({ userId: `user-${users}` });
    exchange.finish({ status: statusOf(exchange.assignment.cohort) });
  }
}

function header(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
