import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { serve, type HttpBindings } from '@hono/node-server';
import express5 from 'express';
import express4 from 'express4';
import fastify from 'fastify';
import { Hono } from 'hono';
import {
  expressCohortRouter,
  fastifyCohortRouter,
  honoCohortRouter,
  signOverride,
  type CanaryEnv,
  type CohortRouter,
  type MetricsDocument,
} from '../../src/router';
import { fence, startRelease, testRouter, TOKEN } from './support';

/** What the app under test does, whatever it is written with. */
interface Shop {
  /** Resolves the answer of `GET /slow`. */
  release: () => void;
  /** Resolves once a request has arrived at `GET /slow`. */
  arrived: Promise<void>;
}

interface RunningApp {
  readonly url: string;
  close(): Promise<void>;
}

type StartApp = (
  router: CohortRouter,
  shop: { wait: () => Promise<void> },
  parseJsonFirst: boolean,
) => Promise<RunningApp>;

const user = (header: string | string[] | undefined): string | undefined =>
  // Stands for an authenticated session: a real app must not take the id from a header.
  typeof header === 'string' ? header : undefined;

function startNode(server: Server): Promise<RunningApp> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      resolve({
        url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        close: () =>
          new Promise((closed) => {
            server.close(() => closed());
            server.closeAllConnections();
          }),
      });
    });
  });
}

function expressApp(create: typeof express5): StartApp {
  return (router, shop, parseJsonFirst) => {
    const app = create();
    app.disable('x-powered-by');
    if (parseJsonFirst) app.use(create.json({ type: () => true }));
    app.use(
      expressCohortRouter(router, {
        user: (request) => user(request.headers['x-test-user']),
        skip: (request) => request.url === '/healthz',
      }),
    );
    app.get('/', (request, response) => {
      response.json({ canary: request.canary });
    });
    app.get('/healthz', (request, response) => {
      response.json({ canary: request.canary ?? null });
    });
    app.get('/slow', (_request, response, next) => {
      shop.wait().then(() => response.json({ slow: true }), next);
    });
    app.get('/cookie', (_request, response) => {
      response.cookie('session', '1').json({});
    });
    app.get('/missing', (_request, response) => {
      response.status(404).json({});
    });
    app.get('/throws', () => {
      throw new Error('a fault of the handler');
    });
    app.get('/hangup', (_request, response) => {
      response.destroy();
    });
    // Keeps the default handler from printing the stack; Express knows it by its four parameters.
    app.use(((_error: unknown, _request: unknown, response: express5.Response, _next: unknown) => {
      response.status(500).json({});
    }) as express5.ErrorRequestHandler);
    return startNode(createServer(app));
  };
}

const fastifyApp: StartApp = async (router, shop) => {
  const app = fastify();
  await app.register(
    fastifyCohortRouter(router, {
      user: (request) => user(request.headers['x-test-user']),
      skip: (request) => request.url === '/healthz',
    }),
  );
  app.get('/', (request) => ({ canary: request.canary }));
  app.get('/healthz', (request) => ({ canary: request.canary }));
  app.get('/slow', async () => {
    await shop.wait();
    return { slow: true };
  });
  app.get('/cookie', (_request, reply) => reply.header('Set-Cookie', 'session=1').send({}));
  app.get('/missing', (_request, reply) => reply.code(404).send({}));
  app.get('/throws', () => {
    throw new Error('a fault of the handler');
  });
  app.get('/hangup', (_request, reply) => {
    reply.hijack();
    reply.raw.destroy();
  });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  return {
    url,
    close: async () => {
      app.server.closeAllConnections();
      await app.close();
    },
  };
};

const honoApp: StartApp = async (router, shop) => {
  const app = new Hono<CanaryEnv & { Bindings: HttpBindings }>();
  app.use(
    honoCohortRouter(router, {
      user: (context) => user(context.req.header('x-test-user')),
      skip: (context) => context.req.path === '/healthz',
    }),
  );
  app.get('/', (context) => context.json({ canary: context.get('canary') }));
  app.get('/healthz', (context) => context.json({ canary: context.get('canary') ?? null }));
  app.get('/slow', async (context) => {
    await shop.wait();
    return context.json({ slow: true });
  });
  app.get('/cookie', () => new Response('{}', { headers: { 'Set-Cookie': 'session=1' } }));
  app.get('/missing', (context) => context.json({}, 404));
  app.get('/throws', () => {
    throw new Error('a fault of the handler');
  });
  app.get('/hangup', (context) => {
    context.env.outgoing.destroy();
    return context.json({});
  });
  app.onError((_error, context) => context.json({}, 500));
  const server = await new Promise<Server>((resolve) => {
    const started = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, () => resolve(started as Server));
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
};

describe.each<[string, StartApp]>([
  ['Express 5', expressApp(express5)],
  ['Express 4', expressApp(express4 as unknown as typeof express5)],
  ['Fastify', fastifyApp],
  ['Hono', honoApp],
])('%s', (name, start) => {
  let app: RunningApp;
  let router: CohortRouter;
  let shop: Shop;
  let ended = false;

  async function launch(options: Parameters<typeof testRouter>[0] = {}, parseJsonFirst = false): Promise<void> {
    ended = false;
    ({ router } = testRouter({ trustProxy: ['loopback'], ...options }));
    let released = (): void => undefined;
    let arrive = (): void => undefined;
    const gate = new Promise<void>((resolve) => (released = resolve));
    shop = { release: () => released(), arrived: new Promise((resolve) => (arrive = resolve)) };
    const wait = (): Promise<void> => {
      arrive();
      return gate;
    };
    app = await start(router, { wait }, parseJsonFirst);
  }

  function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(app.url + path, { headers });
  }

  function write(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const text = typeof body === 'string' ? body : body === undefined ? null : JSON.stringify(body);
    return fetch(app.url + path, {
      method,
      headers: { 'x-canary-token': TOKEN, 'content-type': 'application/json', ...headers },
      body: text,
    });
  }

  /** Counts are taken when the answer is complete, which the client may see a moment earlier than the server. */
  async function counted(requests: number): Promise<MetricsDocument> {
    while (!ended) {
      const document = router.metrics();
      const { stable, canary } = document.cohorts;
      if (stable.total.requests + canary.total.requests >= requests) return document;
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error(`fewer than ${requests} requests were counted`);
  }

  afterEach(async () => {
    ended = true;
    shop.release();
    await app.close();
  });

  it('tells handler and client where the request went', async () => {
    await launch();
    startRelease(router, 100);

    const response = await get('/', { 'x-test-user': 'alice' });

    expect(response.headers.get('x-deployment-cohort')).toBe('canary');
    expect(response.headers.get('x-deployment-version')).toBe('2.0.0');
    expect(response.headers.get('set-cookie')).toBeNull();
    expect(await response.json()).toMatchObject({
      canary: { cohort: 'canary', version: '2.0.0', reason: 'bucket', subject: 'user' },
    });
  });

  it('splits users by the weight, each always to the same side', async () => {
    await launch();
    startRelease(router, 40);
    const users = Array.from({ length: 60 }, (_unused, i) => `user-${i}`);
    const cohortsOf = () =>
      Promise.all(
        users.map(async (id) => {
          const response = await get('/', { 'x-test-user': id });
          await response.arrayBuffer();
          return response.headers.get('x-deployment-cohort');
        }),
      );

    const first = await cohortsOf();
    const second = await cohortsOf();

    expect(second).toEqual(first);
    const expected = users.map((id) => router.begin({ userId: id }).assignment.cohort);
    expect(first).toEqual(expected);
    const { cohorts } = await counted(2 * users.length);
    expect(cohorts.canary.total.requests).toBe(2 * expected.filter((cohort) => cohort === 'canary').length);
  });

  it('takes nobody’s word for who they are or where they belong', async () => {
    await launch({ trustProxy: false });
    startRelease(router, 0);

    const response = await get('/', {
      'x-user-id': 'someone',
      'x-deployment-cohort': 'canary',
      'x-deployment-version': '2.0.0',
      'x-canary-override': 'canary',
    });

    expect(response.headers.get('x-deployment-cohort')).toBe('stable');
    expect(router.metrics().overrides.rejected).toBe(1);
  });

  it('finds the client behind a trusted proxy', async () => {
    await launch();
    startRelease(router, 50);

    const response = await get('/', { 'x-forwarded-for': '6.6.6.6, 198.51.100.1' });

    const { canary } = (await response.json()) as { canary: { subject: string; bucket: number } };
    const expected = router.begin({ clientAddress: '198.51.100.1' }).assignment;
    expect(canary).toEqual(expected);
  });

  it('gives the unknown an anonymous id, once, beside the app’s own cookies', async () => {
    await launch({ trustProxy: false, anonymousId: { secure: false } });
    startRelease(router, 50);

    const first = await get('/cookie', { 'x-forwarded-for': '198.51.100.1' });

    const cookies = first.headers.getSetCookie();
    expect(cookies).toContainEqual(expect.stringMatching(/^session=1/));
    const [id] = cookies.find((cookie) => cookie.startsWith('sluice_id='))?.split(';') ?? [];
    expect(first.headers.get('vary')).toContain('Cookie');

    const again = await get('/', { 'x-forwarded-for': '198.51.100.1', cookie: id ?? '' });

    expect(again.headers.getSetCookie()).toEqual([]);
    expect(again.headers.get('vary')).toContain('Cookie');
    expect(again.headers.get('x-deployment-cohort')).toBe(first.headers.get('x-deployment-cohort'));
  });

  it('lets a tester with a signed override reach the canary at weight 0', async () => {
    await launch();
    startRelease(router, 0);

    const override = signOverride(TOKEN, { cohort: 'canary', expires: Date.UTC(2026, 1, 1), salt: 'r1' });
    const response = await get('/', { 'x-canary-override': override });

    expect(response.headers.get('x-deployment-version')).toBe('2.0.0');
  });

  it('counts what failed: statuses from 500, exceptions, connections closed', async () => {
    await launch();
    startRelease(router, 100);
    const as = { 'x-test-user': 'alice' };

    for (const path of ['/', '/missing', '/throws', '/nowhere']) await (await get(path, as)).arrayBuffer();
    await expect(get('/hangup', as)).rejects.toThrow();

    const { cohorts } = await counted(5);
    expect(cohorts.canary.total).toMatchObject({ requests: 5, errors: 2, aborted: 1 });
    expect(cohorts.stable.total.requests).toBe(0);
  });

  it('neither routes nor counts what is skipped, and does not count the admin endpoints', async () => {
    await launch();

    const response = await get('/healthz');
    await get('/canary/metrics');
    await (await get('/')).arrayBuffer();

    expect(await response.json()).toEqual({ canary: null });
    expect(response.headers.get('x-deployment-cohort')).toBeNull();
    expect((await counted(1)).cohorts.stable.total.requests).toBe(1);
  });

  it('lets requests in flight finish where they began, when the canary is rolled back', async () => {
    await launch();
    startRelease(router, 100);
    const inFlight = get('/slow', { 'x-test-user': 'alice' });
    await shop.arrived;

    const rollback = await write('POST', '/canary/rollback', { reason: 'checkout is broken' });
    const next = await get('/', { 'x-test-user': 'alice' });
    shop.release();
    const answer = await inFlight;

    expect(await rollback.json()).toMatchObject({ weight: 0, previousWeight: 100 });
    expect(next.headers.get('x-deployment-cohort')).toBe('stable');
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-deployment-cohort')).toBe('canary');
    expect(await answer.json()).toEqual({ slow: true });
    const { cohorts } = await counted(2);
    expect(cohorts.canary.total).toMatchObject({ requests: 1, errors: 0 });
  });

  it('counts a request whose client left before the answer', async () => {
    await launch();
    startRelease(router, 100);
    const leaving = new AbortController();
    const request = fetch(`${app.url}/slow`, { headers: { 'x-test-user': 'alice' }, signal: leaving.signal });
    await shop.arrived;

    leaving.abort();
    await expect(request).rejects.toThrow();

    const { cohorts } = await counted(1);
    expect(cohorts.canary.total).toMatchObject({ requests: 1, errors: 1, aborted: 1 });
  });

  it('is guarded: a failing canary is taken to 0 and users get the stable version', async () => {
    await launch({ guard: { minRequests: 10 } });
    startRelease(router, 100);

    for (let i = 0; i < 10; i++) await (await get('/throws', { 'x-test-user': `user-${i}` })).arrayBuffer();
    await counted(10);
    const response = await get('/', { 'x-test-user': 'alice' });

    expect(response.headers.get('x-deployment-cohort')).toBe('stable');
    expect(router.snapshot().tripped?.rule).toBe('error-rate');
  });

  it('is steered by its admin endpoints', async () => {
    await launch({ prometheusPath: '/prometheus' });

    const declared = await write('PUT', '/canary/release', { version: '2.0.0', salt: 'r1', fence: fence(0) });
    const weighted = await write('PUT', '/canary/weight', { weight: 25, fence: fence(1) });
    const stale = await write('PUT', '/canary/weight', { weight: 50, fence: fence(0) });
    const metrics = await get('/canary/metrics?window=30');
    const state = await get('/canary/state', { authorization: `Bearer ${TOKEN}` });
    const prometheus = await get('/prometheus');
    const removed = await write('DELETE', '/canary/release', { fence: fence(2) });

    expect([declared.status, weighted.status, stale.status]).toEqual([200, 200, 409]);
    expect(stale.headers.get('content-type')).toContain('application/problem+json');
    expect(await stale.json()).toMatchObject({ code: 'STALE_FENCE', held: fence(1) });
    expect(await metrics.json()).toMatchObject({ weight: 25, windowSeconds: 30 });
    expect(metrics.headers.get('cache-control')).toBe('no-store');
    expect(await state.json()).toMatchObject({ holder: 'r1' });
    expect(await prometheus.text()).toContain('canary_weight 25');
    expect(await removed.json()).toMatchObject({ canaryVersion: null, weight: 0 });
  });

  it('answers bad admin requests with problems', async () => {
    await launch();

    const noToken = await fetch(`${app.url}/canary/rollback`, { method: 'POST', body: '{"reason":"x"}' });
    const notJson = await write('PUT', '/canary/weight', '{"weight":');
    const noBody = await write('PUT', '/canary/weight');
    const tooLarge = await write('PUT', '/canary/weight', JSON.stringify({ weight: 5, padding: 'x'.repeat(100_000) }));
    const wrongMethod = await get('/canary/weight');
    const elsewhere = await get('/canary/other');

    expect(noToken.status).toBe(401);
    expect(await notJson.json()).toMatchObject({ code: 'INVALID_JSON' });
    expect(await noBody.json()).toMatchObject({ code: 'INVALID_INPUT' });
    expect(tooLarge.status).toBe(413);
    expect(await tooLarge.json()).toMatchObject({ code: 'BODY_TOO_LARGE' });
    expect(wrongMethod.status).toBe(405);
    expect(wrongMethod.headers.get('allow')).toBe('PUT');
    // Not an endpoint: the app's own business.
    expect(elsewhere.status).toBe(404);
    expect(elsewhere.headers.get('content-type')).not.toContain('problem');
  });

  it('answers HEAD without a body', async () => {
    await launch();

    const response = await fetch(`${app.url}/canary/metrics`, { method: 'HEAD' });

    expect(response.status).toBe(200);
    expect(await response.text()).toBe('');
  });

  it('survives an admin client that leaves in the middle of its body', async () => {
    await launch();
    const socketClosed = await new Promise<boolean>((resolve) => {
      const request = httpRequest(`${app.url}/canary/weight`, {
        method: 'PUT',
        headers: { 'x-canary-token': TOKEN, 'content-length': '1000' },
      });
      request.on('error', () => undefined);
      request.on('socket', (socket: Socket) => socket.on('close', () => resolve(true)));
      request.write('{"weight":', () => request.destroy());
    });

    expect(socketClosed).toBe(true);
    expect((await get('/canary/metrics')).status).toBe(200);
  });

  if (name.startsWith('Express')) {
    it('reads admin bodies that a parser before it has read', async () => {
      await launch({}, true);

      const declared = await write('PUT', '/canary/release', { version: '2.0.0', salt: 'r1', fence: fence(0) });

      expect(declared.status).toBe(200);
      expect(router.snapshot().canaryVersion).toBe('2.0.0');
    });
  }
});

describe('the middleware', () => {
  it('fits the types of Express 4 and 5, with and without their request', () => {
    const { router } = testRouter();
    const handlers: [express4.RequestHandler, express5.RequestHandler, express5.RequestHandler] = [
      expressCohortRouter(router),
      expressCohortRouter(router),
      expressCohortRouter(router, { user: (request: express5.Request) => request.ip }),
    ];

    expect(handlers).toHaveLength(3);
  });
});

describe('an adapter whose callbacks throw', () => {
  it('treats the client as a guest', async () => {
    const { router, logger } = testRouter();
    startRelease(router, 100);
    const broken = () => {
      throw new Error('no session store');
    };
    const app = express5();
    app.use(expressCohortRouter(router, { user: broken, address: broken, skip: broken }));
    app.get('/', (request, response) => {
      response.json(request.canary);
    });
    const running = await startNode(createServer(app));

    const response = await fetch(running.url);

    expect(await response.json()).toMatchObject({ cohort: 'canary', subject: 'address' });
    expect(JSON.stringify(logger.lines)).toContain('no session store');
    await running.close();
  });
});

describe('the Hono middleware away from Node', () => {
  function bareApp(router: CohortRouter) {
    const app = new Hono<CanaryEnv>();
    app.use(honoCohortRouter(router, { address: (context) => context.req.header('cf-connecting-ip') }));
    app.get('/', (context) => context.json(context.get('canary')));
    app.get('/throws', () => {
      throw new Error('a fault of the handler');
    });
    app.get('/odd', () => {
      throw 'not an Error'; // Which Hono does not catch.
    });
    app.onError((_error, context) => context.json({}, 500));
    return app;
  }

  it('decides by the address the app gives, and counts when the handlers are done', async () => {
    const { router } = testRouter();
    startRelease(router, 100);

    const response = await bareApp(router).request('/', { headers: { 'cf-connecting-ip': '198.51.100.1' } });

    expect(await response.json()).toMatchObject({ cohort: 'canary', subject: 'address' });
    expect(router.metrics().cohorts.canary.total).toMatchObject({ requests: 1, errors: 0 });
  });

  it('counts exceptions, handled and not', async () => {
    const { router } = testRouter();
    startRelease(router, 100);
    const app = bareApp(router);
    const headers = { 'cf-connecting-ip': '198.51.100.1' };

    await app.request('/throws', { headers });
    await expect(Promise.resolve(app.request('/odd', { headers }))).rejects.toBe('not an Error');

    expect(router.metrics().cohorts.canary.total).toMatchObject({ requests: 2, errors: 2 });
  });
});
