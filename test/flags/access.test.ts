import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { FlagServiceClient } from '../../src/flags';
import { Access } from '../../src/flags/access';
import { FlagPage } from '../../src/flags/answers';
import { MemoryFlagStore } from '../../src/flags/memory-store';
import { serveFlags, stopServers } from './serve';
import { send } from './support';

const ADMIN = 'the-admin-key-of-this-test';
const keyFile = {
  keys: [
    { id: 'reader', key: 'reads-in-production', grants: ['read:production'] },
    { id: 'till', key: 'reports-in-production', grants: ['report:production'] },
    { id: 'writer', key: 'writes-in-staging', grants: ['write:staging'] },
    { id: 'reader-of-all', key: 'reads-everywhere', grants: ['read:*'] },
    { id: 'releaser', key: 'reads-releases-of-shop', grants: ['releases:read:shop'] },
  ].map(({ id, key, grants }) => ({ id, grants, sha256: createHash('sha256').update(key).digest('hex') })),
};
const FLAGS = [
  { name: 'everywhere', enabled: true },
  { name: 'staging', enabled: true, environments: ['staging'] },
  { name: 'both', enabled: true, environments: ['staging', 'production'] },
];
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

afterEach(stopServers);

async function serve() {
  const access = { adminKey: ADMIN, keys: keyFile };
  const { url } = await serveFlags(FLAGS, { access }, bearer(ADMIN));
  const ask = (key: string | null, method: string, path: string, body?: unknown) =>
    send(`${url}${path}`, method, { body, headers: key === null ? {} : bearer(key) });
  return { url, ask };
}

/** To the event stream, as an answer with all flags gives it. */
function linkOf(body: unknown): string {
  const { eventStreams = [] } = body as { eventStreams?: { endpoint: { requestUri: string } }[] };
  return eventStreams[0]?.endpoint.requestUri ?? '';
}

describe('a service with keys', () => {
  it('shows nothing but its health to nobody', async () => {
    const { url, ask } = await serve();

    expect((await ask(null, 'GET', '/healthz')).status).toBe(200);
    expect((await ask(null, 'GET', '/readyz')).body).toMatchObject({ status: 'fresh', flags: 3 });
    for (const [method, path, body] of [
      ['GET', '/api/feature-flags'],
      ['POST', '/api/feature-flags', { name: 'f' }],
      ['POST', '/api/feature-flags/everywhere/check', { user_id: 'u' }],
      ['GET', '/api/openapi.json'],
      ['GET', '/metrics'],
      ['POST', '/ofrep/v1/evaluate/flags/everywhere', {}],
      ['POST', '/ofrep/v1/evaluate/flags', {}],
      ['GET', '/ofrep/v1/sse'],
    ] as const) {
      for (const key of [null, 'wrong', `${ADMIN}x`, 'x'.repeat(10_000)]) {
        const reply = await ask(key, method, path, body);
        expect(reply.status).toBe(401);
        expect(JSON.stringify(reply.body)).not.toContain(ADMIN);
      }
    }
    expect((await send(`${url}/api/feature-flags`, 'GET', { headers: { 'x-api-key': ADMIN } })).status).toBe(200);
  });

  it('lets a key do what it was granted, in its environment', async () => {
    const { ask } = await serve();
    const rollout = { percentage: 5 };

    expect((await ask('reads-in-production', 'POST', '/api/feature-flags', { name: 'f' })).status).toBe(403);
    expect((await ask('reads-in-production', 'PATCH', '/api/feature-flags/both/rollout', rollout)).status).toBe(403);
    expect((await ask('reads-in-production', 'GET', '/api/feature-flags/staging')).status).toBe(403);
    const { flags } = (await ask('reads-in-production', 'GET', '/api/feature-flags')).body as {
      flags: { name: string }[];
    };
    expect(flags.map(({ name }) => name)).toEqual(['both', 'everywhere']);

    expect((await ask('writes-in-staging', 'PATCH', '/api/feature-flags/staging/rollout', rollout)).status).toBe(200);
    // These count in production, too.
    expect((await ask('writes-in-staging', 'PATCH', '/api/feature-flags/both/rollout', rollout)).status).toBe(403);
    expect((await ask('writes-in-staging', 'PATCH', '/api/feature-flags/everywhere/rollout', rollout)).status).toBe(
      403,
    );
    const out = { environments: ['production'] };
    expect((await ask('writes-in-staging', 'PUT', '/api/feature-flags/staging', out)).status).toBe(403);
    expect((await ask('writes-in-staging', 'DELETE', '/api/feature-flags/staging')).status).toBe(403);
    expect((await ask('reads-everywhere', 'GET', '/api/feature-flag-audit')).status).toBe(403);
    expect((await ask(ADMIN, 'GET', '/api/feature-flag-audit')).status).toBe(200);
  });

  it('lets nobody who may only read report outcomes, and nobody who reports change a flag', async () => {
    const { ask } = await serve();
    const path = '/api/feature-flags/both/outcomes';
    const outcomes = [{ user_id: 'u', ok: true }];

    expect(await ask('reads-in-production', 'POST', path, { outcomes })).toMatchObject({
      status: 403,
      body: { code: 'forbidden', detail: 'reader may not report outcomes of flags anywhere.' },
    });
    expect(await ask('reports-in-production', 'POST', path, { outcomes })).toMatchObject({
      status: 202,
      body: { environment: 'production', accepted: 1 },
    });
    const elsewhere = await ask('reports-in-production', 'POST', path, { environment: 'staging', outcomes });
    expect(elsewhere).toMatchObject({ status: 403, body: { detail: 'till may not read flags in staging.' } });
    const rollout = { percentage: 5 };
    expect((await ask('reports-in-production', 'PATCH', '/api/feature-flags/both/rollout', rollout)).status).toBe(403);
    expect((await ask('reports-in-production', 'POST', '/api/feature-flags/both/check', { user_id: 'u' })).status).toBe(
      200,
    );
    expect((await ask('writes-in-staging', 'POST', path, { outcomes })).status).toBe(202);
    expect((await ask('reads-in-production', 'GET', path)).body).toMatchObject({
      disabled: { total: 0 },
      enabled: { total: 1 },
    });
    expect((await ask('writes-in-staging', 'GET', `${path}?environment=production`)).status).toBe(403);
  });

  it("asks flags in the key's own environment, and in no other", async () => {
    const { ask } = await serve();
    const check = async (key: string, body: object) =>
      ask(key, 'POST', '/api/feature-flags/staging/check', { user_id: 'u', ...body });

    expect((await check('writes-in-staging', {})).body).toMatchObject({ enabled: true, environment: 'staging' });
    const both = await ask('reads-in-production', 'POST', '/api/feature-flags/both/check', { user_id: 'u' });
    expect(both.body).toMatchObject({ enabled: true, environment: 'production' });
    expect((await check('reads-in-production', { environment: 'staging' })).status).toBe(403);
    const context = { targetingKey: 'u', environment: 'staging' };
    const ofrep = await ask('reads-in-production', 'POST', '/ofrep/v1/evaluate/flags/staging', { context });
    expect(ofrep).toMatchObject({ status: 403, body: { key: 'staging', errorCode: 'GENERAL' } });
  });

  it.each([
    ['GET', '/api/feature-flags/staging', undefined],
    ['GET', '/api/feature-flags/staging/stats', undefined],
    ['GET', '/api/feature-flags/staging/outcomes', undefined],
    ['POST', '/api/feature-flags/staging/check', { user_id: 'u' }],
    ['POST', '/api/feature-flags/staging/explain', { user_id: 'u' }],
  ])('refuses a flag that counts in none of the environments of a key: %s %s', async (method, path, body) => {
    const { ask } = await serve();

    expect(await ask('reads-in-production', method, path, body)).toMatchObject({
      status: 403,
      body: { code: 'forbidden', detail: 'reader may not read staging in any of its environments.' },
    });
    expect((await ask('reads-everywhere', method, path, body)).status).toBe(200);
  });

  it('takes no outcomes of such a flag', async () => {
    const { ask } = await serve();
    const outcomes = [{ variant: 'on', ok: true }];

    const refused = await ask('reports-in-production', 'POST', '/api/feature-flags/staging/outcomes', { outcomes });

    expect(refused).toMatchObject({ status: 403, body: { code: 'forbidden' } });
  });

  it('answers by OFREP as if there were no such flag, and counts no question about it', async () => {
    const { url, ask } = await serve();
    const single = (key: string, flag: string) =>
      ask(key, 'POST', `/ofrep/v1/evaluate/flags/${flag}`, {
        context: { targetingKey: 'u', environment: 'production' },
      });
    const bulk = async (key: string, etag = '') => {
      const body = { context: { targetingKey: 'u', environment: 'production' } };
      const headers = { ...bearer(key), 'if-none-match': etag };
      const reply = await send(`${url}/ofrep/v1/evaluate/flags`, 'POST', { body, headers });
      const { flags = [] } = reply.body as { flags?: { key: string }[] };
      return { ...reply, keys: flags.map((flag) => flag.key) };
    };

    const hidden = await single('reads-in-production', 'staging');
    const absent = await single('reads-in-production', 'absent');
    const ours = await bulk('reads-in-production');

    expect(hidden).toMatchObject({ status: 404, body: { key: 'staging', errorCode: 'FLAG_NOT_FOUND' } });
    expect(JSON.stringify(hidden.body).replaceAll('staging', 'absent')).toBe(JSON.stringify(absent.body));
    expect((await single('reads-in-production', 'both')).body).toMatchObject({ value: true });
    expect(ours.keys).toEqual(['both', 'everywhere']);
    const all = await bulk('reads-everywhere', ours.headers.get('etag') ?? '');
    expect(all.keys).toEqual(['both', 'everywhere', 'staging']);
    expect((await ask(ADMIN, 'GET', '/api/feature-flags/staging/stats')).body).toMatchObject({ total: 0 });
  });

  it('names no flag that the key may not see to who lists all or follows them', async () => {
    const { url, ask } = await serve();
    for (let i = 0; i < 6; i += 1) {
      const body = { name: `hidden-${i}`, environments: i < 3 ? ['staging'] : ['test'] };
      expect((await ask(ADMIN, 'POST', '/api/feature-flags', body)).status).toBe(201);
    }
    const change = async (method: string, path: string, body?: unknown) => {
      const { status } = await ask(ADMIN, method, `/api/feature-flags/${path}`, body);
      expect([200, 204]).toContain(status);
    };
    const service = new FlagServiceClient({ url, apiKey: 'reads-in-production' });
    const pages = async () => {
      const found: { names: string[]; cursor: string | null }[] = [];
      for (let cursor: string | null = ''; cursor !== null; cursor = found.at(-1)?.cursor ?? null) {
        const path = `/api/feature-flags?limit=1${cursor === '' ? '' : `&cursor=${cursor}`}`;
        const { flags, next_cursor } = FlagPage.parse((await ask('reads-in-production', 'GET', path)).body);
        found.push({ names: flags.map(({ name }) => name), cursor: next_cursor });
      }
      return found;
    };
    const since = async () => {
      const { incarnation = '', revision = 0 } = (await service.ruleset()) ?? {};
      return { incarnation, revision };
    };
    const all = { complete: true, deleted: [], flags: [{ name: 'both' }, { name: 'everywhere' }], next_cursor: null };

    expect(await pages()).toEqual([
      { names: ['both'], cursor: Buffer.from('both').toString('base64url') },
      { names: ['everywhere'], cursor: null },
    ]);
    let known = await since();
    await change('PUT', 'hidden-1', { description: 'another' });
    expect(await service.ruleset({ since: known })).toMatchObject(all);
    known = await since();
    await change('DELETE', 'hidden-2');
    expect(await service.ruleset({ since: known })).toMatchObject(all);
    known = await since();
    await change('PUT', 'everywhere', { description: 'another' });
    expect(await service.ruleset({ since: known })).toMatchObject({ complete: false, flags: [{ name: 'everywhere' }] });

    const whole = new FlagServiceClient({ url, apiKey: ADMIN });
    const { incarnation = '' } = (await whole.ruleset()) ?? {};
    await change('DELETE', 'hidden-3');
    expect(await whole.ruleset({ since: { incarnation, revision: known.revision } })).toMatchObject({
      complete: false,
      flags: [{ name: 'everywhere' }],
      deleted: ['hidden-3'],
    });
  });

  it('names in its metrics the flags that the key may see', async () => {
    const { ask } = await serve();
    for (const flag of ['staging', 'both']) {
      await ask(ADMIN, 'POST', `/api/feature-flags/${flag}/check`, { user_id: 'u', environment: 'staging' });
    }
    const named = async (key: string) =>
      [...String((await ask(key, 'GET', '/metrics')).body).matchAll(/_total\{flag="(\w+)"/g)].map(([, flag]) => flag);

    expect(await named('reads-in-production')).toEqual(['both']);
    expect(await named('reads-everywhere')).toEqual(['staging', 'both']);
  });

  it.each(['/metrics', '/ofrep/v1/sse'])('keeps %s from a key that is for releases alone', async (path) => {
    const { ask } = await serve();

    const refused = await ask('reads-releases-of-shop', 'GET', path);

    expect(refused.status).toBe(403);
    expect(JSON.stringify(refused.body)).toContain('releaser may not read flags anywhere.');
  });

  it('writes into the audit who it was', async () => {
    const { ask } = await serve();
    await ask('writes-in-staging', 'PATCH', '/api/feature-flags/staging/rollout', { percentage: 5 });

    const { body } = await ask(ADMIN, 'GET', '/api/feature-flags/staging/audit');

    expect(body).toMatchObject({ entries: [{ actor: 'writer' }, { actor: 'SLUICE_API_KEY' }] });
  });

  it('gives browsers a link to the event stream that works without a header, for a time', () => {
    const access = new Access({ adminKey: ADMIN });
    const token = access.streamToken('production', 0);

    expect(access.acceptsStreamToken(token, 1_000)).toBe(true);
    expect(access.acceptsStreamToken(token, 25 * 3_600_000)).toBe(false);
    expect(access.acceptsStreamToken(`${token}x`, 1_000)).toBe(false);
    expect(access.acceptsStreamToken('', 1_000)).toBe(false);
    expect(new Access({ adminKey: ADMIN }).acceptsStreamToken(token, 1_000)).toBe(true);
    expect(new Access({ adminKey: `${ADMIN}2` }).acceptsStreamToken(token, 1_000)).toBe(false);
  });

  it('sends all flags with another link when the one a browser has is of other keys, or half way through its life', async () => {
    let now = Date.parse('2026-11-26T00:00:00Z');
    const store = new MemoryFlagStore();
    const serveWith = (keys?: typeof keyFile) =>
      serveFlags([], { store, now: () => now, access: { adminKey: ADMIN, ...(keys === undefined ? {} : { keys }) } });
    const bulk = async (url: string, etag = '') => {
      const headers = { ...bearer(ADMIN), 'if-none-match': etag };
      const reply = await send(`${url}/ofrep/v1/evaluate/flags`, 'POST', { body: {}, headers });
      return { status: reply.status, etag: reply.headers.get('etag') ?? '', link: linkOf(reply.body) };
    };
    const opens = async (url: string, link: string) => {
      const { status, body } = await fetch(`${url}${link}`);
      await body?.cancel();
      return status === 200;
    };
    const before = await serveWith();
    const given = await bulk(before.url);
    const [same, other] = [await serveWith(), await serveWith(keyFile)];

    expect(await bulk(same.url, given.etag)).toMatchObject({ status: 304 });
    expect(await opens(same.url, given.link)).toBe(true);
    const anew = await bulk(other.url, given.etag);
    expect(anew.status).toBe(200);
    expect(await opens(other.url, given.link)).toBe(false);
    expect(await opens(other.url, anew.link)).toBe(true);

    now += 12 * 3_600_000 - 1;
    expect(await bulk(before.url, given.etag)).toMatchObject({ status: 304 });
    now += 1;
    const later = await bulk(before.url, given.etag);
    expect(later.status).toBe(200);
    now += 12 * 3_600_000;
    expect(await opens(before.url, given.link)).toBe(false);
    expect(await opens(before.url, later.link)).toBe(true);
  });

  it('takes no key that can be guessed', () => {
    expect(() => new Access({ adminKey: 'secret' })).toThrow(/SLUICE_API_KEY has 6 characters/);
  });
});

describe('tokens', () => {
  let issuer: Server;
  let jwksUrl: string;
  let sign: (
    claims: Record<string, unknown>,
    overrides?: { issuer?: string; audience?: string; expires?: string },
  ) => Promise<string>;
  beforeAll(async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    const jwk = { ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' };
    issuer = createServer((_request, response) => {
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [jwk] }));
    });
    await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
    jwksUrl = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/jwks`;
    sign = (claims, overrides = {}) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: 'ES256', kid: 'k' })
        .setSubject('alice')
        .setIssuer(overrides.issuer ?? 'https://id.example')
        .setAudience(overrides.audience ?? 'flags')
        .setExpirationTime(overrides.expires ?? '5m')
        .sign(privateKey);
  });
  afterAll(() => {
    issuer.close();
  });
  const serveTokens = () =>
    serveFlags([], { access: { adminKey: ADMIN, jwt: { jwksUrl, issuer: 'https://id.example', audience: 'flags' } } });

  it('are accepted with the scopes they carry', async () => {
    const { url } = await serveTokens();
    const token = await sign({ scope: 'openid flags:write:* flags:nonsense' });
    const ask = (method: string, path: string, body?: unknown) =>
      send(`${url}${path}`, method, { body, headers: bearer(token) });

    expect((await ask('POST', '/api/feature-flags', { name: 'f' })).status).toBe(201);
    expect((await ask('DELETE', '/api/feature-flags/f')).status).toBe(403);
    expect((await ask('GET', '/api/feature-flags/f/audit')).body).toMatchObject({ entries: [{ actor: 'alice' }] });
  });

  it('carry grants for releases and groups, of which nothing follows for flags', async () => {
    const { url } = await serveTokens();
    const key = async (claims: Record<string, unknown>) =>
      (await send(`${url}/api/key`, 'GET', { headers: bearer(await sign(claims)) })).body;

    expect(
      await key({ scope: 'flags:read:production releases:write:shop releases:report:x', groups: ['oncall'] }),
    ).toEqual({
      id: 'alice',
      grants: [{ role: 'read', environment: 'production' }],
      releases: [{ role: 'write', namespace: 'shop' }],
      groups: ['oncall'],
    });
    // Not a list, as some issuers write it: the token is good for what it says otherwise.
    expect(await key({ scope: 'flags:read:*', groups: 'oncall' })).toMatchObject({ groups: [] });
    // A grant for releases is none for flags, also where it is written as one.
    const [one, other] = [await sign({ scope: 'releases:admin:*' }), await sign({ scope: 'flags:releases:admin:*' })];
    for (const token of [one, other]) {
      expect((await send(`${url}/api/feature-flags`, 'GET', { headers: bearer(token) })).status).toBe(403);
    }
    // Which it can ask for: what a key may do every key may know.
    expect(await key({ scope: 'releases:admin:*' })).toMatchObject({
      grants: [],
      releases: [{ role: 'admin', namespace: '*' }],
    });
  });

  it('are checked while the body of a question comes, which is not lost meanwhile', async () => {
    const { url } = await serveTokens();
    const ask = async (body: unknown) =>
      send(`${url}/ofrep/v1/evaluate/flags/none`, 'POST', {
        body,
        headers: bearer(await sign({ scope: 'flags:read:*', jti: Math.random().toString() })),
      });

    // Each token is a new one, so each answer waits for its check.
    expect((await ask({ context: { targetingKey: 'u' } })).body).toMatchObject({ errorCode: 'FLAG_NOT_FOUND' });
    expect((await ask({ context: 'u' })).body).toMatchObject({ errorCode: 'INVALID_CONTEXT' });
    expect((await ask({ context: { filling: 'x'.repeat(60_000) } })).body).toMatchObject({
      errorCode: 'FLAG_NOT_FOUND',
    });
    expect((await ask({ context: { filling: 'x'.repeat(300_000) } })).status).toBe(400);
  });

  it.each([
    ['of another issuer', { issuer: 'https://other.example' }],
    ['for somebody else', { audience: 'mail' }],
    ['that expired', { expires: '-1m' }],
  ])('%s are refused', async (_what, overrides) => {
    const { url } = await serveTokens();
    const token = await sign({ scope: 'flags:admin:*' }, overrides);

    expect((await send(`${url}/api/feature-flags`, 'GET', { headers: bearer(token) })).status).toBe(401);
  });

  it('without a signature are refused', async () => {
    const { url } = await serveTokens();
    const [, claims] = (await sign({ scope: 'flags:admin:*' })).split('.');
    const header = Buffer.from('{"alg":"none"}').toString('base64url');

    const reply = await send(`${url}/api/feature-flags`, 'GET', { headers: bearer(`${header}.${claims}.`) });

    expect(reply.status).toBe(401);
  });
});
