import type { z } from 'zod';
import type { MessageOptions, ServiceRef, SluiceClient } from '../../src/client/client-types';
import { ReleaseError } from '../../src/errors';
import type { ReleaseErrorCode } from '../../src/errors';
import { asProblem, RELEASE_PROBLEMS } from '../../src/server/release-problems';
import type { StatusAnswer } from '../../src/server/schemas';
import type { MessageAck, MessageBase, ReleaseStatus } from '../../src/workflows/api';
import { FakeSluice } from '../cli/fake-client';
import { aRolledBackStatus, aStatus, START } from '../cli/statuses';
import { until } from '../flags/support';
import { ADMIN, keysOf, serveReleases, stopReleaseServers } from './serve';

afterEach(stopReleaseServers);

const CHECKOUT = '/api/releases/shop/checkout';

/** The document says all that a status can be: it compiles only as long as it does. */
type Writable<T> = T extends readonly (infer U)[]
  ? Writable<U>[]
  : T extends object
    ? { -readonly [K in keyof T]: Writable<T[K]> }
    : T;
const described = (status: Writable<ReleaseStatus>): z.input<typeof StatusAnswer> => status;

const SPEC = `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: till, namespace: shop }
spec:
  target: { router: { instances: [http://127.0.0.1:1] } }
  steps:
    - { weight: 100, soak: 5s }
`;
const FLAG_SPEC = `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: new-till, namespace: shop }
spec:
  target: { flag: { name: new-till, environment: production } }
`;

describe('a web page of another machine', () => {
  it('decides nothing on a server without keys, though its browser need not ask before it posts', async () => {
    const client = new FakeSluice(aStatus());
    const { ask } = await serveReleases(client);
    const page = { headers: { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' } };

    for (const what of ['rollback', 'promote', 'approve']) {
      expect(await ask('POST', `${CHECKOUT}/${what}`, page)).toMatchObject({
        status: 403,
        body: { code: 'forbidden' },
      });
    }

    expect(client.sent).toEqual([]);
    expect((await ask('POST', `${CHECKOUT}/promote`)).status).toBe(200);
  });
});

describe('looking at releases', () => {
  it('answers the status, as the client has it', async () => {
    const { ask } = await serveReleases(new FakeSluice(aStatus()));

    const reply = await ask('GET', CHECKOUT);

    expect(reply.status).toBe(200);
    expect(reply.body).toEqual(JSON.parse(JSON.stringify(described(aStatus() as Writable<ReleaseStatus>))));
  });

  it('answers a certain release by its id, and its history', async () => {
    const old = { ...aRolledBackStatus(), release: 'checkout-1' };
    const { ask } = await serveReleases(new FakeSluice(old, aStatus()));

    expect((await ask('GET', `${CHECKOUT}?release=checkout-1`)).body).toMatchObject({ outcome: 'rolledBack' });
    expect((await ask('GET', `${CHECKOUT}/history?release=checkout-1`)).body).toMatchObject({
      kind: 'ReleaseHistory',
      release: 'checkout-1',
      items: old.events.map(({ seq, message }) => ({ seq, message })),
    });
  });

  it('lists the newest, and says whether there are more', async () => {
    const { ask } = await serveReleases(
      new FakeSluice(
        aStatus({ release: 'a', service: 'cart', startedAt: START - 1000, outcome: 'promoted', endedAt: START }),
        aStatus({ release: 'b' }),
      ),
    );

    expect((await ask('GET', '/api/releases')).body).toMatchObject({
      kind: 'ReleaseList',
      items: [{ release: 'b' }, { release: 'a' }],
      more: false,
    });
    expect((await ask('GET', '/api/releases?limit=1')).body).toMatchObject({ items: [{ release: 'b' }], more: true });
    expect((await ask('GET', '/api/releases?service=cart')).body).toMatchObject({ items: [{ release: 'a' }] });
    expect((await ask('GET', '/api/releases?open=true')).body).toMatchObject({ items: [{ release: 'b' }] });
  });

  it.each([
    ['/api/releases?limit=0', 400, 'invalid-request', /limit/],
    ['/api/releases?limit=501', 400, 'invalid-request', /limit/],
    ['/api/releases?page=2', 400, 'invalid-request', /page/],
    ['/api/releases?namespace=A', 400, 'invalid-request', /a namespace has 1 to 63/],
    ['/api/releases/Shop/checkout', 400, 'invalid-request', /a namespace has 1 to 63/],
    ['/api/releases/shop/-x', 400, 'invalid-request', /a service's name has 1 to 63/],
    [`${CHECKOUT}?release=a%20b`, 400, 'invalid-request', /a release is named/],
    [`${CHECKOUT}?release=none`, 404, 'not-found', /There is no release/],
    ['/api/releases/shop/none/history', 404, 'not-found', /There is no release/],
  ])('refuses %s', async (path, status, code, detail) => {
    const { ask } = await serveReleases(new FakeSluice(aStatus()));

    const reply = await ask('GET', path);

    expect(reply).toMatchObject({ status, body: { status, code, detail: expect.stringMatching(detail) } });
    expect(reply.headers.get('content-type')).toContain('application/problem+json');
  });

  it('has one status for each code of the client', () => {
    const codes = Object.entries(RELEASE_PROBLEMS).map(([code, { status }]) => [code, status]);

    expect(Object.fromEntries(codes)).toEqual({
      ...{ usage: 400, forbidden: 403, 'not-found': 404, conflict: 409, queued: 409, superseded: 410, withdrawn: 410 },
      ...{ 'invalid-spec': 422, unsupported: 422, internal: 500, unreachable: 503, 'no-worker': 503, timeout: 504 },
    });
    for (const code of Object.keys(RELEASE_PROBLEMS) as ReleaseErrorCode[]) {
      const problem = asProblem(new ReleaseError(code, 'So it is.', { hint: 'Do this.' }));
      expect(problem).toMatchObject({ code, message: 'So it is.', extra: { hint: 'Do this.' } });
    }
  });
});

describe('starting a release', () => {
  const start = { spec: SPEC, version: 'v2' };

  it('takes a spec as a text, as an object, and as YAML', async () => {
    const client = new FakeSluice();
    const { ask } = await serveReleases(client);
    const object = {
      apiVersion: 'sluice.dev/v1',
      kind: 'Release',
      metadata: { name: 'other', namespace: 'shop' },
      spec: { target: { router: { instances: ['http://127.0.0.1:1'] } } },
    };

    const started = await ask('POST', '/api/releases', { body: { ...start, reason: 'the new till' } });
    const asObject = await ask('POST', '/api/releases', { body: { spec: object, version: 'v2' } });
    const asYaml = await ask('POST', '/api/releases?image=v3&onConflict=queue&reason=again', {
      body: SPEC,
      headers: { 'content-type': 'application/yaml; charset=utf-8' },
    });

    expect(started).toMatchObject({
      status: 201,
      body: { kind: 'Deployment', namespace: 'shop', service: 'till', version: 'v2', state: 'started' },
    });
    expect(started.headers.get('location')).toBe('/api/releases/shop/till?release=till-0001');
    expect((await ask('GET', '/api/releases/shop/till')).body).toMatchObject({
      reason: 'the new till',
      startedBy: { name: 'anonymous', via: 'server' },
    });
    expect(asObject).toMatchObject({ status: 201, body: { service: 'other' } });
    expect(asYaml).toMatchObject({ status: 202, body: { version: 'v3', state: 'queued', behind: 'till-0001' } });
    expect(client.plans.map(({ service, version }) => [service, version])).toEqual([
      ['till', 'v2'],
      ['other', 'v2'],
      ['till', 'v3'],
    ]);
  });

  it('needs no version for a flag', async () => {
    const client = new FakeSluice();
    const { ask } = await serveReleases(client);

    expect((await ask('POST', '/api/releases', { body: { spec: FLAG_SPEC } })).status).toBe(201);
    expect(client.newest.version.to).toBe('on');
  });

  it('is refused while another one runs, unless the caller says otherwise', async () => {
    const { ask } = await serveReleases(new FakeSluice(aStatus({ service: 'till', release: 'till-7' })));

    expect(await ask('POST', '/api/releases', { body: start })).toMatchObject({
      status: 409,
      body: { code: 'conflict', detail: 'Release till-7 of shop/till is in progress.' },
    });
    expect(await ask('POST', '/api/releases', { body: { ...start, onConflict: 'supersede' } })).toMatchObject({
      status: 202,
      body: { behind: 'till-7' },
    });
  });

  it('is known again by its Idempotency-Key', async () => {
    const client = new FakeSluice();
    const { ask } = await serveReleases(client);
    const post = (body: unknown, key: string) =>
      ask('POST', '/api/releases', { body, headers: { 'idempotency-key': key } });

    const first = await post(start, 'k1');
    const again = await post(start, 'k1');
    const other = await post(start, 'k2');

    expect(first.headers.get('idempotent-replayed')).toBeNull();
    expect(again).toMatchObject({ status: 201, body: first.body });
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(other.status).toBe(409);
    expect(client.plans).toHaveLength(2);
  });

  it.each([
    ['without a version', { spec: SPEC }, '', 400, 'usage', /not said which version/],
    ['with two versions', { ...start, image: 'v3' }, '', 400, 'usage', /version and image are both given/],
    ['with two times one', start, '?version=v2', 400, 'usage', /version is in the body and in the query/],
    ['without a spec', { version: 'v2' }, '', 400, 'invalid-request', /\/spec/],
    ['with a key nobody knows', { ...start, simulate: 'healthy' }, '', 400, 'invalid-request', /simulate/],
    ['with a policy nobody knows', { ...start, onConflict: 'wait' }, '', 400, 'invalid-request', /onConflict/],
    ['with a version that cannot be one', { ...start, version: 'v 2' }, '', 400, 'usage', /v 2/],
    ['with an empty text', '', '', 400, 'invalid-request', /body/],
    ['with what is no JSON', '{"spec"', '', 400, 'not-json', /not JSON/],
    [
      'with a spec that is none',
      { ...start, spec: 'a: b' },
      '',
      422,
      'invalid-spec',
      /^The spec is not valid: line 1: /,
    ],
    [
      'with a wrong spec in JSON',
      { ...start, spec: { apiVersion: 'sluice.dev/v1', kind: 'Release', metadata: { name: 'till' }, spce: {} } },
      ...['', 422, 'invalid-spec', /spce/],
    ],
    ['with a spec as long as a book', { ...start, spec: '#'.repeat(110 * 1024) }, '', 413, 'body-too-large', /100 KiB/],
    ['with a body beyond the limit', { ...start, spec: '#'.repeat(300 * 1024) }, '', 413, 'body-too-large', /larger/],
  ] as const)('is refused %s', async (_name, body, query, status, code, detail) => {
    const client = new FakeSluice();
    const { ask } = await serveReleases(client);

    const reply = await ask('POST', `/api/releases${query}`, { body });

    expect(reply).toMatchObject({ status, body: { code, detail: expect.stringMatching(detail) } });
    expect(client.plans).toEqual([]);
  });

  it('names every problem of a spec with its place', async () => {
    const { ask } = await serveReleases(new FakeSluice());
    const spec = SPEC.replace('weight: 100', 'weight: 500').replace('soak', 'saok');

    const { body } = await ask('POST', '/api/releases', { body: { spec, version: 'v2' } });

    expect(body).toMatchObject({
      detail: expect.stringMatching(/^The spec is not valid: line 7: .*\. There is 1 more problem\.$/),
      errors: [
        { line: 7, where: expect.stringContaining('steps'), message: expect.any(String) },
        { line: 7, where: expect.stringContaining('steps'), message: expect.any(String) },
      ],
    });
  });

  it('takes no form and no XML', async () => {
    const { ask } = await serveReleases(new FakeSluice());

    const reply = await ask('POST', '/api/releases', { body: 'spec=x', headers: { 'content-type': 'text/plain' } });
    const elsewhere = await ask('POST', `${CHECKOUT}/pause`, {
      body: 'reason: x',
      headers: { 'content-type': 'application/yaml' },
    });

    const sentence = (types: string): object => ({
      status: 415,
      body: { code: 'not-json-type', detail: `Send the body as Content-Type: ${types}.` },
    });
    expect(reply).toMatchObject(sentence('application/json or application/yaml'));
    expect(elsewhere).toMatchObject(sentence('application/json'));
  });
});

describe('a message to a release', () => {
  it.each([
    ['POST', 'reject', { reason: 'no' }, 'reject', { reason: 'no' }],
    ['POST', 'approve', { step: 4 }, 'approve', { step: 4 }],
    ['POST', 'pause', {}, 'pause', {}],
    ['POST', 'promote', { release: 'checkout-20261121-140000-0001' }, 'promote', {}],
    ['POST', 'rollback', { reason: 'checkout 500s' }, 'rollback', { reason: 'checkout 500s' }],
    ['POST', 'skip-soak', undefined, 'skipSoak', {}],
    ['PUT', 'weight', { weight: 12.5 }, 'setWeight', { weight: 12.5 }],
  ])('%s …/%s is handed over in the name of who asks', async (method, path, body, name, content) => {
    const approval = { step: 4, by: [], since: START, expiresAt: START + 60_000, onExpiry: 'rollback' } as const;
    const client = new FakeSluice(aStatus({ approval }));
    const { ask } = await serveReleases(client, keysOf({ alice: ['releases:write:shop'] }));

    const reply = await ask(method, `${CHECKOUT}/${path}`, { key: 'alice', body });

    expect(reply).toMatchObject({
      status: 200,
      body: { kind: 'MessageAck', namespace: 'shop', service: 'checkout', message: 'The wish of alice is recorded.' },
    });
    expect(client.sent).toMatchObject([
      { name, ref: { namespace: 'shop', service: 'checkout' }, message: { actor: { name: 'alice', via: 'server' } } },
    ]);
    expect(client.sent[0]?.message).toMatchObject(content);
  });

  it('resumes what is paused', async () => {
    const paused = { since: START, by: { name: 'bob', via: 'cli' }, reason: 'look', cause: 'person' } as const;
    const { ask } = await serveReleases(new FakeSluice(aStatus({ paused })));

    expect((await ask('POST', `${CHECKOUT}/resume`)).status).toBe(200);
  });

  it.each([
    ['POST', 'resume', undefined, 409, 'conflict', /is not paused/],
    ['POST', 'approve', undefined, 409, 'conflict', /waits for no approval/],
    ['POST', 'pause', { release: 'another' }, 404, 'not-found', /There is no release/],
    ['POST', 'pause', { because: 'x' }, 400, 'invalid-request', /because/],
    ['POST', 'pause', { reason: '' }, 400, 'invalid-request', /\/reason/],
    ['POST', 'approve', { step: -1 }, 400, 'invalid-request', /\/step/],
    ['PUT', 'weight', undefined, 400, 'invalid-request', /^The body is not valid/],
    ['PUT', 'weight', {}, 400, 'invalid-request', /\/weight/],
    ['PUT', 'weight', { weight: 101 }, 400, 'invalid-request', /\/weight/],
    ['PUT', 'weight', { weight: '5' }, 400, 'invalid-request', /\/weight/],
    ['POST', 'weight', { weight: 5 }, 405, 'method-not-allowed', /answers PUT, not POST/],
    ['POST', 'explode', undefined, 404, 'no-such-endpoint', /There is no endpoint/],
  ])('%s …/%s with %j is refused', async (method, path, body, status, code, detail) => {
    const client = new FakeSluice(aStatus());
    const { ask } = await serveReleases(client);

    const reply = await ask(method, `${CHECKOUT}/${path}`, { body });

    expect(reply).toMatchObject({ status, body: { code, detail: expect.stringMatching(detail) } });
    expect(client.sent).toEqual([]);
  });

  it('has a reason of at most a thousand characters, and a body of 16 KiB', async () => {
    const { ask } = await serveReleases(new FakeSluice(aStatus()));
    const pause = (length: number) => ask('POST', `${CHECKOUT}/pause`, { body: { reason: 'x'.repeat(length) } });

    expect((await pause(1000)).status).toBe(200);
    expect(await pause(1001)).toMatchObject({ status: 400, body: { detail: expect.stringMatching(/\/reason/) } });
    expect(await pause(20_000)).toMatchObject({ status: 413, body: { code: 'body-too-large' } });
  });

  it('may be an approval of a group that the key is in, and of no other', async () => {
    const approval = { step: 4, by: ['oncall'], since: START, expiresAt: START + 60_000, onExpiry: 'pause' } as const;
    const client = new FakeSluice(aStatus({ approval }));
    const grants = { alice: ['releases:write:shop'] };
    const without = await serveReleases(client, keysOf(grants));
    const within = await serveReleases(client, keysOf(grants, ['oncall']));

    expect(await without.ask('POST', `${CHECKOUT}/approve`, { key: 'alice' })).toMatchObject({
      status: 403,
      body: { code: 'forbidden', detail: 'alice may not approve; oncall may.' },
    });
    expect((await within.ask('POST', `${CHECKOUT}/approve`, { key: 'alice' })).status).toBe(200);
    expect(client.sent[0]?.message.actor).toEqual({ name: 'alice', via: 'server', groups: ['oncall'] });
  });

  it('has the same id when it is repeated with its Idempotency-Key, and another one otherwise', async () => {
    const ids: (string | undefined)[] = [];
    class Noting extends FakeSluice {
      override pause(ref: ServiceRef, message: MessageBase, options?: MessageOptions): Promise<MessageAck> {
        ids.push(options?.updateId);
        return super.pause(ref, message);
      }
    }
    const grants = { alice: ['releases:write:*'], bob: ['releases:write:*'] };
    const { ask } = await serveReleases(new Noting(aStatus()), keysOf(grants));
    const pause = (key: string, idempotencyKey: string, reason: string) =>
      ask('POST', `${CHECKOUT}/pause`, { key, body: { reason }, headers: { 'idempotency-key': idempotencyKey } });

    await pause('alice', 'k1', 'x');
    await pause('alice', 'k1', 'x');
    await pause('alice', 'k1', 'y');
    await pause('alice', 'k2', 'x');
    await pause('bob', 'k1', 'x');
    await ask('POST', `${CHECKOUT}/pause`, { key: 'alice', body: { reason: 'x' } });

    const [first, again, ...others] = ids;
    expect(first).toMatch(/^server:[0-9a-f]{64}$/);
    expect(again).toBe(first);
    expect(new Set([first, ...others]).size).toBe(5);
    expect(others.at(-1)).toBeUndefined();
    expect((await pause('alice', 'k'.repeat(256), 'x')).status).toBe(400);
  });

  it('withdraws a release that waits', async () => {
    const { ask } = await serveReleases(new FakeSluice(aStatus({ service: 'till' })));
    const queued = await ask('POST', '/api/releases', { body: { spec: SPEC, version: 'v2', onConflict: 'queue' } });
    const { release } = queued.body as { release: string };

    expect((await ask('GET', `/api/releases/shop/till?release=${release}`)).body).toMatchObject({ code: 'queued' });
    expect(await ask('POST', '/api/releases/shop/till/rollback', { body: { release } })).toMatchObject({
      status: 200,
      body: { message: `Release ${release} is withdrawn from the queue.` },
    });
  });
});

describe('keys', () => {
  const grants = {
    viewer: ['releases:read:shop'],
    deployer: ['releases:write:shop'],
    owner: ['releases:admin:shop'],
    stranger: ['releases:admin:bank'],
    'flags-everywhere': ['admin:*'],
    'viewer-of-all': ['releases:read:*'],
    'releaser-of-flags': ['releases:write:shop', 'write:production'],
  };
  const start = { spec: SPEC, version: 'v2' };

  it('open releases to nobody without one, or with one for flags alone', async () => {
    const { ask } = await serveReleases(new FakeSluice(aStatus()), keysOf(grants));

    for (const [method, path, body] of [
      ['GET', '/api/releases'],
      ['POST', '/api/releases', start],
      ['GET', CHECKOUT],
      ['GET', `${CHECKOUT}/history`],
      ['GET', `${CHECKOUT}/events`],
      ['POST', `${CHECKOUT}/approve`],
      ['PUT', `${CHECKOUT}/weight`, { weight: 5 }],
    ] as const) {
      expect((await ask(method, path, { body })).status).toBe(401);
      expect((await ask(method, path, { body, key: 'wrong' })).status).toBe(401);
      expect((await ask(method, path, { body, key: 'flags-everywhere' })).status).toBe(403);
    }
    expect((await ask('GET', '/healthz')).status).toBe(200);
    expect((await ask('GET', '/readyz')).status).toBe(200);
  });

  it('do what they were granted, in their namespace', async () => {
    const { ask } = await serveReleases(new FakeSluice(aStatus(), aStatus({ namespace: 'bank' })), keysOf(grants));
    const status = async (key: string, method: string, path: string, body?: unknown) =>
      (await ask(method, path, { key, body })).status;

    expect(await status('viewer', 'GET', CHECKOUT)).toBe(200);
    expect(await status('viewer', 'POST', `${CHECKOUT}/pause`)).toBe(403);
    expect(await status('viewer', 'POST', '/api/releases', start)).toBe(403);
    expect(await status('deployer', 'POST', '/api/releases', start)).toBe(201);
    expect(await status('deployer', 'POST', `${CHECKOUT}/rollback`)).toBe(200);
    expect(await status('deployer', 'POST', `${CHECKOUT}/rollback`, { abandon: true })).toBe(403);
    expect(await status('owner', 'POST', `${CHECKOUT}/rollback`, { abandon: true })).toBe(200);
    expect(await status('stranger', 'GET', CHECKOUT)).toBe(403);
    expect(await status('stranger', 'GET', `${CHECKOUT}/events`)).toBe(403);
    expect(await status('stranger', 'POST', `${CHECKOUT}/rollback`)).toBe(403);
    expect(await ask('POST', '/api/releases', { key: 'stranger', body: start })).toMatchObject({
      status: 403,
      body: { detail: 'stranger may not write releases in shop.' },
    });
    expect(await status(ADMIN, 'GET', CHECKOUT)).toBe(200);
  });

  it('see the releases of their namespaces alone', async () => {
    const { ask } = await serveReleases(new FakeSluice(aStatus(), aStatus({ namespace: 'bank' })), keysOf(grants));
    const namespaces = async (key: string, query = '') => {
      const { body } = await ask('GET', `/api/releases${query}`, { key });
      return (body as { items: { namespace: string }[] }).items.map(({ namespace }) => namespace).sort();
    };

    expect(await namespaces('viewer')).toEqual(['shop']);
    expect(await namespaces('viewer', '?namespace=shop')).toEqual(['shop']);
    expect(await namespaces('stranger')).toEqual(['bank']);
    expect(await namespaces('viewer-of-all')).toEqual(['bank', 'shop']);
    expect((await ask('GET', '/api/releases?namespace=bank', { key: 'viewer' })).status).toBe(403);
  });

  it('raise a flag by a release only where they may change it, and may always take it back', async () => {
    const { ask } = await serveReleases(new FakeSluice(), keysOf(grants));
    const body = { spec: FLAG_SPEC };
    const till = '/api/releases/shop/new-till';

    expect(await ask('POST', '/api/releases', { key: 'deployer', body })).toMatchObject({
      status: 403,
      body: { detail: 'deployer may not write flags in production, which this release raises there.' },
    });
    expect((await ask('POST', '/api/releases', { key: 'releaser-of-flags', body })).status).toBe(201);
    expect((await ask('POST', `${till}/promote`, { key: 'deployer' })).status).toBe(403);
    expect((await ask('PUT', `${till}/weight`, { key: 'deployer', body: { weight: 50 } })).status).toBe(403);
    expect((await ask('POST', `${till}/promote`, { key: 'releaser-of-flags' })).status).toBe(200);
    expect((await ask('POST', `${till}/pause`, { key: 'deployer' })).status).toBe(200);
    expect((await ask('POST', `${till}/rollback`, { key: 'deployer' })).status).toBe(200);
  });

  it('tell what they may do', async () => {
    const { ask } = await serveReleases(new FakeSluice(), keysOf(grants));

    expect((await ask('GET', '/api/key', { key: 'releaser-of-flags' })).body).toEqual({
      id: 'releaser-of-flags',
      grants: [{ role: 'write', environment: 'production' }],
      releases: [{ role: 'write', namespace: 'shop' }],
      groups: [],
    });
  });
});

describe('while Temporal is away', () => {
  const away = () => Promise.reject(new ReleaseError('unreachable', 'Temporal does not answer at 127.0.0.1:1.'));

  it('says so, and answers flags all the same', async () => {
    const { ask, service, url } = await serveReleases(away);
    service.begin();

    expect(await ask('GET', CHECKOUT)).toMatchObject({
      status: 503,
      body: { code: 'unreachable', detail: 'Temporal does not answer at 127.0.0.1:1.' },
    });
    expect((await ask('POST', '/api/releases', { body: { spec: SPEC, version: 'v2' } })).status).toBe(503);
    expect((await ask('GET', `${CHECKOUT}/events`)).status).toBe(503);
    expect((await ask('POST', '/api/feature-flags', { body: { name: 'f', enabled: true } })).status).toBe(201);
    expect((await ask('POST', '/api/feature-flags/f/check', { body: { user_id: 'u' } })).body).toMatchObject({
      enabled: true,
    });
    await until(async () => /"state":"away"/.test(JSON.stringify((await ask('GET', '/readyz')).body)));
    expect(await ask('GET', '/readyz')).toMatchObject({
      status: 200,
      body: { status: 'fresh', temporal: { state: 'away' } },
    });
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('sluice_server_temporal_reachable 0');
  });

  it('tries again with the next request, and connects once for all that ask meanwhile', async () => {
    let tries = 0;
    const connect = (): Promise<SluiceClient> => {
      tries += 1;
      return tries === 1 ? away() : Promise.resolve(new FakeSluice(aStatus()));
    };
    const { ask } = await serveReleases(connect);

    expect((await ask('GET', CHECKOUT)).status).toBe(503);
    const replies = await Promise.all([ask('GET', CHECKOUT), ask('GET', CHECKOUT), ask('GET', '/api/releases')]);

    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(tries).toBe(2);
  });

  it('is known to be over without anybody asking for a release', async () => {
    const { ask, service } = await serveReleases(new FakeSluice());
    service.begin();

    await until(async () => /"state":"reachable"/.test(JSON.stringify((await ask('GET', '/readyz')).body)));
    expect((await ask('GET', '/readyz')).body).toMatchObject({ temporal: { state: 'reachable', workers: 1 } });
  });
});

describe('the audit', () => {
  it('has a line for every change that was asked for, of releases and of flags, also for those refused', async () => {
    const { ask, logger } = await serveReleases(
      new FakeSluice(aStatus()),
      keysOf({ alice: ['releases:write:shop', 'write:*'], viewer: ['releases:read:shop'] }),
    );

    const headers = { 'x-request-id': 'r-1' };
    await ask('POST', `${CHECKOUT}/pause`, { key: 'alice', body: { reason: 'look' }, headers });
    await ask('POST', `${CHECKOUT}/rollback`, { key: 'viewer', body: { reason: 'mine' } });
    await ask('POST', `${CHECKOUT}/promote`, { key: 'nobody' });
    await ask('POST', `${CHECKOUT}/resume`, { key: 'alice' });
    await ask('POST', '/api/releases', { key: 'alice', body: { spec: SPEC, version: 'v2' } });
    await ask('POST', '/api/feature-flags', { key: 'alice', body: { name: 'f', enabled: true } });
    await ask('GET', CHECKOUT, { key: 'alice' });
    await ask('POST', '/api/feature-flags/f/check', { key: 'alice', body: { user_id: 'u' } });

    const lines = () =>
      logger.lines.filter(({ data }) => (data as { audit?: boolean }).audit === true).map(({ data }) => data);
    await until(() => lines().length >= 6);
    const shop = { namespace: 'shop', service: 'checkout' };
    expect(lines()).toEqual([
      expect.objectContaining({
        ...{ actor: 'alice', action: 'pauseRelease', result: 'done', status: 200, request_id: 'r-1', reason: 'look' },
        ...{ ...shop, release: 'checkout-20261121-140000-0001', seq: 2 },
      }),
      expect.objectContaining({ actor: 'viewer', action: 'rollBackRelease', result: 'refused', code: 'forbidden' }),
      expect.objectContaining({ actor: null, action: 'promoteRelease', result: 'refused', code: 'unauthenticated' }),
      expect.objectContaining({
        ...shop,
        actor: 'alice',
        action: 'resumeRelease',
        result: 'refused',
        code: 'conflict',
      }),
      expect.objectContaining({ service: 'till', version: 'v2', action: 'startRelease', result: 'done', status: 201 }),
      expect.objectContaining({ actor: 'alice', action: 'createFlag', result: 'done' }),
    ]);
    expect(JSON.stringify(logger.lines)).not.toContain(ADMIN);
  });
});

describe('the document', () => {
  it('has the endpoints of both', async () => {
    const { document } = await serveReleases(new FakeSluice());

    expect(document.info.title).toBe('Sluice');
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining(['/api/feature-flags', '/api/releases', '/api/releases/{namespace}/{service}/events']),
    );
    const text = JSON.stringify(document);
    const named = [...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map((match) => match[1] ?? '');
    expect([...new Set(named)].filter((name) => document.components.schemas[name] === undefined)).toEqual([]);
  });
});
