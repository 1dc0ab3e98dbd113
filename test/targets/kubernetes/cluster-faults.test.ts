import { ApiOutages } from '../../../src/targets/kubernetes/api-outages';
import { connectCluster } from '../../../src/targets/kubernetes/cluster';
import type { Cluster, ClusterOptions, WatchableCluster } from '../../../src/targets/kubernetes/cluster';
import { ClusterFailure } from '../../../src/targets/kubernetes/cluster-failure';
import { asTargetFailure } from '../../../src/targets/kubernetes/failures';
import { RequestCounter } from '../../../src/targets/kubernetes/request-counter';
import { createTrafficRouter } from '../../../src/traffic/create-traffic-router';
import { answer, cutShort, FakeApi, hang, reset, status } from './fake-api';
import type { Handler } from './fake-api';

const ref = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'shop', name: 'checkout' };
const object = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'checkout', namespace: 'shop' } };
const found = answer(200, object);
const quick = { firstDelayMs: 1, maxDelayMs: 2 };

let api: FakeApi;
let clusters: Cluster[];

beforeEach(async () => {
  api = await new FakeApi().start();
  clusters = [];
});

afterEach(async () => {
  for (const cluster of clusters) cluster.close();
  await api.stop();
});

function connect(options: ClusterOptions = {}): Cluster {
  const cluster = connectCluster({ retry: quick, ...options, server: options.server ?? api.server });
  clusters.push(cluster);
  return cluster;
}

const signal = AbortSignal.timeout(10 * 60_000);

async function failureOf(work: Promise<unknown>): Promise<ClusterFailure> {
  const error: unknown = await work.then(
    () => null,
    (caught: unknown) => caught,
  );
  if (!(error instanceof ClusterFailure)) throw new Error(`Expected a ClusterFailure, got ${String(error)}`);
  const whole = JSON.stringify([error.message, error.stack, String(error.cause)]);
  expect(whole).not.toContain('the-secret-token');
  return error;
}

describe('what may pass', () => {
  it.each<[string, Handler]>([
    ['429 with Retry-After', status(429, 'TooManyRequests', 'too many requests')],
    ['429 that asks to be left alone', answer(429, {}, { 'Retry-After': '0' })],
    ['500', status(500, 'InternalError', 'etcdserver: leader changed')],
    ['503 in plain text', (_request, response) => void response.writeHead(503).end('no healthy upstream')],
    ['a connection that is reset', reset],
    ['an answer that is cut short', cutShort],
    ['a whole answer that is half a document', (_request, response) => void response.end('{"apiVersion":"v1",')],
    ['a page of a proxy', (_request, response) => void response.end('<html>sign in</html>')],
  ])('is tried again: %s', async (_name, fault) => {
    api.handlers = [fault, fault, found];

    const got = await connect().get(ref, { signal });

    expect(got.metadata.name).toBe('checkout');
    expect(api.requests).toHaveLength(3);
  });

  it('is told before it is tried again', async () => {
    api.handlers = [status(500, 'InternalError', 'etcdserver: leader changed'), found];
    const waits: string[] = [];

    await connect({ onWait: (sentence) => waits.push(sentence) }).get(ref, { signal });

    expect(waits).toEqual([
      expect.stringMatching(
        /^The API server answered 500 to get deployments\.apps in namespace shop: .*leader changed\. It is tried again in \d+ ms\.$/,
      ),
    ]);
  });

  it('is not tried for ever', async () => {
    api.handlers = [status(500, 'InternalError', 'etcdserver: request timed out')];

    const failure = await failureOf(connect({ retry: { ...quick, maxTries: 3 } }).get(ref, { signal }));

    expect(api.requests).toHaveLength(3);
    expect([failure.kind, failure.status]).toEqual(['unreachable', 500]);
    expect(failure.message).toBe(
      'The API server answered 500 to get deployments.apps in namespace shop: etcdserver: request timed out.',
    );
  });

  it('is not waited for longer than the budget allows', async () => {
    api.handlers = [answer(429, {}, { 'Retry-After': '3600' })];

    const failure = await failureOf(connect().get(ref, { signal }));

    expect(api.requests).toHaveLength(1);
    expect([failure.kind, failure.status]).toEqual(['unreachable', 429]);
  });

  it.each([
    ['21', 21_000],
    ['3600', 30_000],
    [undefined, undefined],
  ])('hands a Retry-After: %s that does not fit into it on, up to half a minute', async (wish, retryAfterMs) => {
    api.handlers = [answer(429, {}, wish === undefined ? {} : { 'Retry-After': wish })];
    const cluster = connect({ retry: { maxTries: 1 } });

    await expect(asTargetFailure(() => cluster.get(ref, { signal }))).rejects.toEqual(
      expect.objectContaining({ name: 'TargetFailure', kind: 'unreachable', retryAfterMs }),
    );
  });

  it.each<[string, (cluster: Cluster) => Promise<unknown>]>([
    ['a creation', (cluster) => cluster.create(object, { signal })],
    ['a patch on any version', (cluster) => cluster.patch(ref, { type: 'merge', patch: {} }, { signal })],
  ])('is tried again where it was turned away by an overloaded server: %s', async (_name, act) => {
    api.handlers = [answer(429, {}, { 'Retry-After': '0' }), answer(201, object)];

    await act(connect());

    expect(api.requests).toHaveLength(2);
  });

  it('is tried again for writes that may happen twice, with the same body', async () => {
    api.handlers = [reset, found];

    await connect().apply(object, { signal });

    expect(api.requests.map((one) => [one.method, one.url, one.headers['content-type']])).toEqual(
      Array(2).fill([
        'PATCH',
        '/apis/apps/v1/namespaces/shop/deployments/checkout?fieldManager=sluice&force=false',
        'application/apply-patch+yaml',
      ]),
    );
    expect(api.requests[1]?.body).toBe(api.requests[0]?.body);
  });

  it.each<[string, (cluster: Cluster) => Promise<unknown>]>([
    ['a creation', (cluster) => cluster.create(object, { signal })],
    ['a patch on any version', (cluster) => cluster.patch(ref, { type: 'merge', patch: {} }, { signal })],
    [
      'a request to a Service',
      (cluster) => cluster.proxyGet({ namespace: 'shop', service: 'x', path: '/' }, { signal }),
    ],
  ])('is not tried again for what must not happen twice: %s', async (_name, act) => {
    api.handlers = [reset, found];

    const failure = await failureOf(act(connect()));

    expect(failure.kind).toBe('unreachable');
    expect(api.requests).toHaveLength(1);
  });
});

describe('the time and size of an answer', () => {
  it('is bounded: a server that hangs', async () => {
    api.handlers = [hang];

    const failure = await failureOf(connect({ timeoutMs: 50, retry: { maxTries: 1 } }).get(ref, { signal }));

    expect([failure.kind, failure.message]).toEqual([
      'timeout',
      `The API server at ${api.url} did not answer within 50 ms (get deployments.apps, Deployment shop/checkout).`,
    ]);
  });

  it('is bounded: an answer that never ends', async () => {
    api.handlers = [
      (_request, response) => {
        const more = (): void => void response.write('x'.repeat(1000), () => setImmediate(more));
        response.on('error', () => undefined);
        more();
      },
    ];

    const failure = await failureOf(connect({ maxBytes: 10_000 }).get(ref, { signal }));

    expect([failure.kind, failure.message]).toEqual([
      'invalid',
      'The API server answered more than 10000 bytes (get deployments.apps, Deployment shop/checkout).',
    ]);
    expect(api.requests).toHaveLength(1);
  });

  it('is bounded: credentials that are never there', async () => {
    const server = { ...api.server, access: () => new Promise<never>(() => undefined) };

    const failure = await failureOf(connect({ server, timeoutMs: 50, retry: { maxTries: 1 } }).get(ref, { signal }));

    expect(failure.kind).toBe('timeout');
  });

  it('ends with a cancellation, during a request and between two', async () => {
    const during = new AbortController();
    api.handlers = [() => during.abort()];
    const first = await failureOf(connect().get(ref, { signal: during.signal }));
    const between = new AbortController();
    api.handlers = [
      (request, response, body) => {
        answer(503, {}, { 'Retry-After': '10' })(request, response, body);
        response.on('close', () => between.abort());
      },
    ];
    const second = await failureOf(connect({ retry: { budgetMs: 60_000 } }).get(ref, { signal: between.signal }));

    expect([first.kind, second.kind]).toEqual(['cancelled', 'cancelled']);
  });
});

describe('connections', () => {
  it('that were kept are not tried one after the other once one of them has gone silent', async () => {
    const cluster = connect({ timeoutMs: 1_000, retry: { maxTries: 1 } });
    const kept = new Set<unknown>();
    const waiting: (() => void)[] = [];
    // All under way at once, so that each has a connection of its own.
    api.handlers = [
      (request, response, body) => {
        kept.add(request.socket);
        waiting.push(() => found(request, response, body));
        if (waiting.length === 3) for (const answerIt of waiting) answerIt();
      },
    ];
    await Promise.all([1, 2, 3].map(() => cluster.get(ref, { signal })));
    api.handlers = [
      (request, response, body) => {
        if (!kept.has(request.socket)) found(request, response, body);
      },
    ];

    const silent = await failureOf(cluster.get(ref, { signal }));
    const next = await cluster.get(ref, { signal });

    expect([kept.size, silent.kind, next.metadata.name]).toEqual([3, 'timeout', 'checkout']);
  });

  it('are kept from one request to the next', async () => {
    api.handlers = [found];
    const cluster = connect();

    for (let index = 0; index < 5; index += 1) await cluster.get(ref, { signal });

    expect(api.connections).toBe(1);
  });

  it('are new ones for what must not happen twice', async () => {
    api.handlers = [found];
    const cluster = connect();
    await cluster.get(ref, { signal });

    await cluster.create(object, { signal });

    expect(api.connections).toBe(2);
  });

  it('that are refused, and redirects, are failures of the server', async () => {
    const once = { retry: { maxTries: 1 } };
    api.handlers = [(_request, response) => void response.writeHead(302, { Location: 'http://127.0.0.1:1/' }).end()];
    const redirected = await failureOf(connect(once).get(ref, { signal }));
    const server = api.server;
    await api.stop();
    const refused = await failureOf(connect({ ...once, server }).get(ref, { signal }));
    api = await new FakeApi().start();

    expect([redirected.kind, redirected.status]).toEqual(['unreachable', 302]);
    expect(refused.message).toBe(
      `The API server at ${server.url} refused the connection (get deployments.apps, Deployment shop/checkout).`,
    );
  });
});

describe('refusals', () => {
  const quota = 'pods "x" is forbidden: exceeded quota: compute';
  const owned = {
    causes: [
      { reason: 'FieldManagerConflict', message: 'conflict with "argocd" using apps/v1', field: '.spec.replicas' },
    ],
  };
  const fields = {
    causes: [
      { reason: 'FieldValueInvalid', message: 'Invalid value: -1', field: 'spec.replicas' },
      { reason: 'FieldValueRequired', message: 'Required value', field: 'spec.selector' },
    ],
  };

  it.each<[string, Handler, string, string]>([
    [
      'a quota',
      status(403, 'Forbidden', quota),
      'forbidden',
      `The API server refused to patch deployments.apps in namespace shop: ${quota}.`,
    ],
    [
      'a field of somebody else',
      status(409, 'Conflict', 'Apply failed with 1 conflict', owned),
      'conflict',
      'Fields of Deployment shop/checkout are owned by somebody else: .spec.replicas (argocd).',
    ],
    [
      'another resourceVersion',
      status(409, 'Conflict', 'the object has been modified'),
      'conflict',
      'Deployment shop/checkout was changed by somebody else in the meantime.',
    ],
    [
      'wrong fields',
      status(422, 'Invalid', 'Deployment.apps "checkout" is invalid', fields),
      'invalid',
      'The API server did not accept Deployment shop/checkout: spec.replicas: Invalid value: -1; spec.selector: Required value.',
    ],
    [
      'credentials',
      status(401, 'Unauthorized', 'Unauthorized'),
      'unauthorized',
      'The API server did not accept the credentials (patch deployments.apps in namespace shop).',
    ],
  ])('are told apart and not tried again: %s', async (_name, refusal, kind, message) => {
    api.handlers = [refusal];

    const failure = await failureOf(connect().apply(object, { signal }));

    expect([failure.kind, failure.message]).toEqual([kind, message]);
    expect(api.requests).toHaveLength(1);
  });
});

describe('a 404 without the API server’s own words', () => {
  const GROUP = 'gateway.networking.k8s.io';
  const page: Handler = (_request, response) => void response.writeHead(404).end('404 page not found');
  const groups = (...versions: readonly string[]): Handler =>
    answer(200, {
      kind: 'APIGroupList',
      groups: [
        { name: 'apps', versions: [{ groupVersion: 'apps/v1', version: 'v1' }] },
        ...(versions.length === 0
          ? []
          : [{ name: GROUP, versions: versions.map((version) => ({ groupVersion: `${GROUP}/${version}`, version })) }]),
      ],
    });
  const resources = (...kinds: readonly string[]): Handler =>
    answer(200, {
      kind: 'APIResourceList',
      resources: kinds.map((kind) => ({ name: `${kind.toLowerCase()}s`, kind, namespaced: true })),
    });
  const route = { apiVersion: `${GROUP}/v1`, kind: 'HTTPRoute', namespace: 'shop', name: 'web' };

  /** Answers by the path; with the page whatever is not among them. */
  function serve(paths: Readonly<Record<string, Handler>>): void {
    api.handlers = [(request, ...more) => (paths[request.url ?? ''] ?? page)(request, ...more)];
  }

  const served: Readonly<Record<string, Handler>> = {
    '/apis': groups('v1', 'v1beta1'),
    [`/apis/${GROUP}/v1`]: resources('HTTPRoute'),
    [`/apis/${GROUP}/v1beta1`]: resources('HTTPRoute'),
  };
  const LOST = `The answer to get httproutes.${GROUP} was a 404 without the API server's own words, although it serves HTTPRoute of ${GROUP}/v1 (HTTPRoute shop/web).`;

  it.each<[string, Readonly<Record<string, Handler>>, string, string]>([
    ['the kind is served', served, 'unreachable', LOST],
    [
      'another version serves it',
      { ...served, '/apis': groups('v1beta1') },
      'invalid',
      `The cluster serves HTTPRoute as ${GROUP}/v1beta1 and not as ${GROUP}/v1 (HTTPRoute shop/web); have its definition (CRD) serve ${GROUP}/v1, too.`,
    ],
    [
      'nothing else is answered',
      {},
      'unreachable',
      'The API server does not answer with the list of groups at /apis (404).',
    ],
    [
      'a version is not told',
      { '/apis': groups('v1') },
      'unreachable',
      `The API server does not answer with the list of resources at /apis/${GROUP}/v1 (404).`,
    ],
    [
      'the list is none',
      { ...served, [`/apis/${GROUP}/v1`]: answer(200, {}) },
      'unreachable',
      `The API server answered something else than the list of resources at /apis/${GROUP}/v1.`,
    ],
    [
      'the group is not there',
      { '/apis': groups() },
      'notFound',
      `The cluster has no httproutes.${GROUP} (HTTPRoute shop/web).`,
    ],
    [
      'no version of the group serves it',
      { ...served, [`/apis/${GROUP}/v1`]: resources('Gateway'), [`/apis/${GROUP}/v1beta1`]: resources('Gateway') },
      'notFound',
      `The cluster has no httproutes.${GROUP} (HTTPRoute shop/web).`,
    ],
  ])('is that of a kind that is not there only by the server’s list: %s', async (_name, paths, kind, message) => {
    serve(paths);
    const cluster = connect() as WatchableCluster;

    const found = await failureOf(cluster.find(route, { signal }));
    const listed = await failureOf(cluster.findListed(route, { signal }));
    const all = await failureOf(cluster.list(route, { signal }));

    expect([found.kind, found.message]).toEqual([kind, message]);
    expect([listed.kind, all.kind]).toEqual([kind, kind]);
  });

  const MONITORS = 'monitoring.coreos.com';
  const monitor = { apiVersion: `${MONITORS}/v1`, kind: 'ServiceMonitor', namespace: 'shop', name: 'web' };

  it.each<[string, Readonly<Record<string, Handler>>, string, string]>([
    [
      'the group is not there',
      { '/apis': groups() },
      'notFound',
      `The cluster knows no kind ServiceMonitor of ${MONITORS}/v1.`,
    ],
    [
      'its own list has others',
      { [`/apis/${MONITORS}/v1`]: resources('Prometheus') },
      'notFound',
      `The cluster knows no kind ServiceMonitor of ${MONITORS}/v1.`,
    ],
    [
      'the group is there',
      {
        '/apis': answer(200, { groups: [{ name: MONITORS, versions: [{ groupVersion: `${MONITORS}/v1` }] }] }),
      },
      'unreachable',
      `The API server does not answer with the list of resources at /apis/${MONITORS}/v1 (404).`,
    ],
    [
      'nothing else is answered',
      {},
      'unreachable',
      'The API server does not answer with the list of groups at /apis (404).',
    ],
    [
      'another page is answered',
      { [`/apis/${MONITORS}/v1`]: answer(200, { login: 'first' }) },
      'unreachable',
      `The API server answered something else than the list of resources at /apis/${MONITORS}/v1.`,
    ],
  ])('is no word about a kind that has not been heard of: %s', async (_name, paths, kind, message) => {
    serve(paths);

    const found = await failureOf(connect().find(monitor, { signal }));

    expect([found.kind, found.message]).toEqual([kind, message]);
  });

  it('is no end of a route on the way back, and what the server says itself is', async () => {
    const services = { namespace: 'shop', stable: 'web', canary: 'web-canary' };
    const fence = { release: 'r1', epoch: 1, step: 1, attempt: 1 };
    const document = { weight: 0, match: [] };
    const router = createTrafficRouter(connect(), services, {
      kind: 'gatewayAPI',
      routes: [{ kind: 'HTTPRoute', name: 'web' }],
    });
    const back = { document, fence, signal, mayBeGone: true };
    serve(served);

    for (const run of [() => router.apply(back), () => router.verify(back), () => router.release(back)]) {
      await expect(run()).rejects.toMatchObject({ kind: 'unreachable', message: LOST });
    }
    serve({
      [`/apis/${GROUP}/v1/namespaces/shop/httproutes/web`]: status(404, 'NotFound', 'httproutes "web" not found'),
    });
    await expect(router.apply(back)).resolves.toMatchObject({ gone: ['HTTPRoute shop/web does not exist.'] });
  });
});

describe('a right that the API server says is missing', () => {
  const denied = denial('deployments.apps "checkout"', 'get resource "deployments" in API group "apps"');
  const unready = denial('', 'get path "/readyz"');
  const ready: Handler = (_request, response) => void response.end('ok');
  const missing = 'The permission to get deployments.apps in namespace shop is missing (Deployment shop/checkout).';
  const mayPass = {
    kind: 'unreachable',
    message:
      'The API server says that the permission to get deployments.apps in namespace shop is missing (Deployment shop/checkout), but it has only just come back and may not have read its roles yet.',
  };

  function denial(what: string, act: string): Handler {
    const words = `${what} is forbidden: User "system:serviceaccount:shop:sluice" cannot ${act}`;
    return status(403, 'Forbidden', words);
  }

  function asked(): readonly string[] {
    return api.requests.map(({ method, url }) => `${method} ${url.split('/').at(-1) ?? ''}`);
  }

  it('is told at once by a server that is ready', async () => {
    api.handlers = [denied, ready, denied];

    const failure = await failureOf(connect().get(ref, { signal }));

    expect([failure.kind, failure.message]).toEqual(['forbidden', missing]);
    expect(asked()).toEqual(['GET checkout', 'GET readyz', 'GET checkout']);
  });

  it('is not believed of a server that has just begun, whose outage nobody has seen', async () => {
    api.handlers = [denied, unready, unready, ready, found];

    expect((await connect().get(ref, { signal })).metadata.name).toBe('checkout');
  });

  it('is not believed of a server that says it is not ready', async () => {
    api.handlers = [denied, answer(500, {})];

    await expect(connect({ retry: { maxTries: 1 } }).get(ref, { signal })).rejects.toMatchObject(mayPass);
  });

  it('is believed of a cluster that keeps from its users whether it is ready, and that is not asked for again', async () => {
    api.handlers = [denied, unready, unready, denied];
    const cluster = connect({ retry: { ...quick, maxTries: 2 } });

    expect((await failureOf(cluster.get(ref, { signal }))).kind).toBe('forbidden');
    api.requests.length = 0;
    expect((await failureOf(cluster.get(ref, { signal }))).kind).toBe('forbidden');
    expect(asked()).toEqual(['GET checkout', 'GET checkout']);
  });

  it('may be there for 30 s after an outage, and is tried again', async () => {
    let nowMs = 0;
    const cluster = connect({ outages: new ApiOutages(() => nowMs) });
    api.handlers = [reset, denied, denied, found];
    expect((await cluster.get(ref, { signal })).metadata.name).toBe('checkout');
    nowMs = 29_999;
    api.handlers = [denied];
    await expect(cluster.get(ref, { signal })).rejects.toMatchObject(mayPass);
    nowMs = 30_000;
    api.handlers = [denied, ready, denied];
    const failure = await failureOf(cluster.get(ref, { signal }));

    expect([failure.kind, failure.message]).toEqual(['forbidden', missing]);
  });

  it('was not carried out, and so a creation is sent again, too', async () => {
    api.handlers = [reset, found];
    const cluster = connect();
    await cluster.get(ref, { signal });
    api.handlers = [denied, answer(201, object)];

    expect((await cluster.create(object, { signal })).metadata.name).toBe('checkout');
  });

  it('is no answer to the question for it after an outage', async () => {
    const permission = { verb: 'get', group: 'apps', resource: 'deployments', namespace: 'shop', name: 'checkout' };
    const refusal = answer(201, { status: { allowed: false } });
    api.handlers = [reset, refusal];
    await expect(connect().mayI(permission, { signal })).rejects.toMatchObject({ kind: 'unreachable', status: 403 });

    api.handlers = [refusal, ready];
    expect(await connect().mayI(permission, { signal })).toEqual({ allowed: false, reason: '' });
  });
});

describe('a Service behind the API server', () => {
  it('is asked with the headers given, and any status of its own is an answer', async () => {
    api.handlers = [(_request, response) => void response.writeHead(503, { 'X-Version': '2' }).end('warming up')];

    const got = await connect().proxyGet(
      {
        namespace: 'shop',
        service: 'checkout-canary',
        port: 'http',
        path: '/healthz?deep=1',
        headers: { 'X-Smoke': '1' },
      },
      { signal },
    );

    expect(got).toMatchObject({ status: 503, text: 'warming up', headers: { 'x-version': '2' } });
    expect(api.requests[0]).toMatchObject({
      method: 'GET',
      url: '/api/v1/namespaces/shop/services/checkout-canary:http/proxy/healthz?deep=1',
      headers: { 'x-smoke': '1' },
    });
  });
});

describe('the counter', () => {
  it('counts each try by verb, resource and how it ended', async () => {
    const counter = new RequestCounter();
    api.handlers = [reset, status(500, 'InternalError', 'x'), found];

    await connect({ counter }).get(ref, { signal });

    expect(counter.snapshot()).toEqual([
      { verb: 'get', resource: 'deployments.apps', status: 'unreachable', count: 1 },
      { verb: 'get', resource: 'deployments.apps', status: '500', count: 1 },
      { verb: 'get', resource: 'deployments.apps', status: '200', count: 1 },
    ]);
    expect(counter.retries()).toEqual([{ verb: 'get', resource: 'deployments.apps', count: 2 }]);
    expect(counter.durations()).toEqual([
      expect.objectContaining({ verb: 'get', resource: 'deployments.apps', count: 3 }),
    ]);
  });
});

describe('the outages that were seen', () => {
  /** Each try takes a second of this clock. */
  async function follow(handlers: readonly Handler[], proxied = false): Promise<number> {
    let nowMs = 0;
    api.handlers = handlers.map((handler) => (request, response, body) => {
      nowMs += 1_000;
      handler(request, response, body);
    });
    const cluster = connect({ outages: new ApiOutages(() => nowMs) });
    if (proxied) {
      const asked = { namespace: 'shop', service: 'checkout', path: '/' };
      for (const _ of handlers) await cluster.proxyGet(asked, { signal });
      // As soon as there is an answer of the server's own.
      api.handlers = [found];
    }
    await cluster.get(ref, { signal });
    return cluster.outages?.followedInMs() ?? Number.NaN;
  }
  const four = (fault: Handler): readonly Handler[] => [fault, fault, fault, fault, found];

  it.each<[string, Handler]>([
    ['cut connections', reset],
    ['a server that has no storage', status(500, 'InternalError', 'etcdserver: request timed out')],
    ['a balancer without a server', (_request, response) => void response.writeHead(503).end('no healthy upstream')],
  ])('are those of %s', async (_name, fault) => {
    // From the first try to the answer five seconds have passed.
    expect(await follow(four(fault))).toBe(40_000);
  });

  it('are told with when they began', async () => {
    let nowMs = 0;
    const outages = new ApiOutages(() => nowMs);
    api.handlers = [
      (request, response, body) => {
        nowMs += 1_000;
        reset(request, response, body);
      },
    ];
    const cluster = connect({ outages, retry: { ...quick, maxTries: 2 } });

    const first = await failureOf(cluster.get(ref, { signal }));
    const later = await failureOf(cluster.get(ref, { signal }));

    expect(first.message).not.toContain('away');
    const since = new Date(outages.awaySince() ?? 0).toISOString();
    expect(later.message).toBe(`${first.message} It has been away since ${since}.`);
    expect(later.kind).toBe('unreachable');
  });

  it('are not a server that is overloaded, nor a single failure', async () => {
    expect(await follow(four(status(429, 'TooManyRequests', 'too many requests')))).toBe(0);
    expect(await follow([reset, found])).toBe(0);
  });

  it('are not what pods say behind the proxy', async () => {
    const warming: Handler = (_request, response) => void response.writeHead(503).end('warming up');

    expect(
      await follow(
        Array.from({ length: 5 }, () => warming),
        true,
      ),
    ).toBe(0);
  });
});
