import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { createCohortRouter, expressCohortRouter } from '../../src/router';
import type { CohortRouter } from '../../src/router';

export const SHOP_TOKEN = 'test-admin-token';

export interface Shop {
  readonly url: string;
  readonly router: CohortRouter;
  /** The status each version answers its requests with; 200 when nothing is said. */
  readonly statuses: Map<string, () => number>;
  stop(): Promise<void>;
}

/** One instance of a small shop that has v1, v2 and v3 in one process, steered by the in-app cohort router. */
export async function startShop(options: { port?: number; stableVersion?: string } = {}): Promise<Shop> {
  const statuses = new Map<string, () => number>();
  const router = createCohortRouter({
    service: 'shop',
    versions: ['v1', 'v2', 'v3'],
    stableVersion: options.stableVersion ?? 'v1',
    adminToken: SHOP_TOKEN,
    environment: {},
    guard: { maxErrorRate: false, maxErrorRatio: false, maxLatencyMs: false },
    logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
  });
  const app = express();
  // The test's load names its users in the query; an app takes them from its session.
  app.use(
    expressCohortRouter(router, {
      user: (request) => new URL(request.url ?? '/', 'http://shop').searchParams.get('user'),
    }),
  );
  app.get('/healthz', (request, response) => {
    response.status(statuses.get(`healthz:${request.canary?.version ?? ''}`)?.() ?? 200).send('ok');
  });
  app.get('/', (request, response) => {
    const version = request.canary?.version ?? '';
    response.status(statuses.get(version)?.() ?? 200).send(version);
  });
  const server = await new Promise<Server>((resolve, reject) => {
    const listening: Server = app.listen(options.port ?? 0, '127.0.0.1', (error) => {
      if (error === undefined) resolve(listening);
      else reject(error);
    });
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    router,
    statuses,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A bounded load of different users until it is stopped; counts what the cohorts were answered. */
export function startLoad(urls: readonly string[], options: { perSecond?: number } = {}): Load {
  const counts: LoadCounts = { stable: { requests: 0, errors: 0 }, canary: { requests: 0, errors: 0 }, lost: 0 };
  const perSecond = options.perSecond ?? 100;
  let user = 0;
  const under = new Set<Promise<void>>();
  const timer = setInterval(() => {
    // A bound of its own, should a test hang.
    if (user > 60_000) return clearInterval(timer);
    user += 1;
    const url = urls[user % urls.length] ?? '';
    const request = fetch(`${url}/?user=user-${user}`)
      .then(async (response) => {
        const cohort = response.headers.get('x-deployment-cohort') === 'canary' ? 'canary' : 'stable';
        counts[cohort].requests += 1;
        if (response.status >= 500) counts[cohort].errors += 1;
        await response.arrayBuffer();
      })
      .catch(() => {
        counts.lost += 1;
      })
      .finally(() => under.delete(request));
    under.add(request);
  }, 1000 / perSecond);
  return {
    counts,
    stop: async () => {
      clearInterval(timer);
      await Promise.all(under);
    },
  };
}

export interface LoadCounts {
  readonly stable: { requests: number; errors: number };
  readonly canary: { requests: number; errors: number };
  /** Requests that got no answer. */
  lost: number;
}

export interface Load {
  readonly counts: LoadCounts;
  stop(): Promise<void>;
}
