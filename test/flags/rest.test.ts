import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqliteFlagStore } from '../../src/flags/sqlite-store';
import type { FlagsServerOptions } from '../../src/flags/server/flags-server';
import { checkAgainst } from './open-api';
import type { OpenApi } from './open-api';
import { startService, stopServers } from './serve';
import { send } from './support';
import type { Reply } from './support';

afterEach(stopServers);

async function serve(options: Partial<FlagsServerOptions> = {}) {
  const server = await startService(options);
  const document =
    options.access === undefined ? ((await send(`${server.url}/api/openapi.json`, 'GET')).body as OpenApi) : null;
  const ask = async (
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Reply> => {
    const reply = await send(`${server.url}${path}`, method, { body, headers });
    if (document !== null) checkAgainst(document, { method, path, reply });
    return reply;
  };
  return { server, ask, flags: (path = '') => `/api/feature-flags${path}` };
}

const NEW = { name: 'new_dashboard', enabled: true, description: 'New dashboard UI', rollout_percentage: 10 };

describe('the eleven endpoints', () => {
  it('create, list, get, change and delete a flag', async () => {
    const { ask, flags } = await serve();

    const created = await ask('POST', flags(), NEW);
    expect(created).toMatchObject({
      status: 201,
      body: { ...NEW, whitelist: [], blacklist: [], environments: [], metadata: {}, variants: null, fence: null },
    });
    expect(created.headers.get('location')).toBe('/api/feature-flags/new_dashboard');
    expect(created.headers.get('etag')).toBe(`"${(created.body as { revision: number }).revision}"`);

    expect((await ask('GET', flags())).body).toEqual({ flags: [created.body], next_cursor: null });
    expect((await ask('GET', flags('/new_dashboard'))).body).toEqual(created.body);

    const changed = await ask('PUT', flags('/new_dashboard'), { description: 'Other', metadata: { owner: 'web' } });
    expect(changed).toMatchObject({
      status: 200,
      body: { ...NEW, description: 'Other', metadata: { owner: 'web' } },
    });

    expect(await ask('DELETE', flags('/new_dashboard'))).toMatchObject({ status: 204, body: '' });
    expect(await ask('GET', flags('/new_dashboard'))).toMatchObject({
      status: 404,
      body: { code: 'flag-not-found', detail: 'There is no flag new_dashboard.' },
    });
  });

  it('set the percentage, and answer a check at once by it', async () => {
    const { ask, flags } = await serve();
    await ask('POST', flags(), { ...NEW, name: 'new-checkout' });
    const check = async (user: string) => (await ask('POST', flags('/new-checkout/check'), { user_id: user })).body;

    expect(await check('user-1')).toEqual({
      flag: 'new-checkout',
      user_id: 'user-1',
      enabled: false,
      reason: 'percentage',
      environment: 'production',
      variant: 'off',
      value: false,
    });
    expect(await ask('PATCH', flags('/new-checkout/rollout'), { percentage: 84 })).toMatchObject({
      status: 200,
      body: { rollout_percentage: 84 },
    });
    // Bucket 83.
    expect(await check('user-1')).toMatchObject({ enabled: true, reason: 'percentage' });
  });

  it('put users on the lists and take them off', async () => {
    const { ask, flags } = await serve();
    await ask('POST', flags(), { ...NEW, rollout_percentage: 0 });
    const check = async () => (await ask('POST', flags('/new_dashboard/check'), { user_id: 'a/b ü' })).body;

    expect(await ask('POST', flags('/new_dashboard/whitelist'), { user_id: 'a/b ü' })).toMatchObject({
      status: 200,
      body: { whitelist: ['a/b ü'] },
    });
    expect(await check()).toMatchObject({ enabled: true, reason: 'whitelist' });
    expect(await ask('POST', flags('/new_dashboard/blacklist'), { user_id: 'a/b ü' })).toMatchObject({ status: 200 });
    expect(await check()).toMatchObject({ enabled: false, reason: 'blacklist' });

    const one = encodeURIComponent('a/b ü');
    expect(await ask('DELETE', flags(`/new_dashboard/blacklist/${one}`))).toMatchObject({ body: { blacklist: [] } });
    expect(await ask('DELETE', flags(`/new_dashboard/whitelist/${one}`))).toMatchObject({ body: { whitelist: [] } });
    expect(await check()).toMatchObject({ enabled: false, reason: 'percentage' });
    expect(await ask('DELETE', flags(`/new_dashboard/whitelist/${one}`))).toMatchObject({
      status: 404,
      body: { code: 'user-not-listed' },
    });
  });

  it('count checks by day, with what was counted a moment ago', async () => {
    const { ask, flags } = await serve();
    await ask('POST', flags(), { ...NEW, rollout_percentage: 0, whitelist: ['in'] });
    for (const user_id of ['in', 'in', 'out']) await ask('POST', flags('/new_dashboard/check'), { user_id });
    await ask('POST', flags('/new_dashboard/explain'), { user_id: 'in' });

    const stats = await ask('GET', flags('/new_dashboard/stats?days=7'));

    expect(stats.body).toMatchObject({
      flag: 'new_dashboard',
      days: 7,
      total: 3,
      enabled: 2,
      disabled: 1,
      unique_users: 2,
    });
    const { by_day } = stats.body as { by_day: { date: string; total: number }[] };
    expect(by_day).toHaveLength(7);
    expect(by_day.at(-1)).toMatchObject({ date: new Date().toISOString().slice(0, 10), total: 3 });
    expect(await ask('GET', flags('/new_dashboard/stats?days=8'))).toMatchObject({ status: 400 });
  });

  it('explain an answer and list who changed what', async () => {
    const { ask, flags } = await serve();
    await ask('POST', flags(), NEW, { 'x-request-id': 'r-1' });
    await ask('POST', flags('/new_dashboard/whitelist'), { user_id: 'u' });

    const { body } = await ask('POST', flags('/new_dashboard/explain'), { user_id: 'u' });
    expect(body).toMatchObject({ enabled: true, reason: 'whitelist', bucket: null, percentage: 10 });

    const audit = (await ask('GET', flags('/new_dashboard/audit'))).body;
    expect(audit).toMatchObject({
      entries: [
        { action: 'listed', actor: 'anonymous', changes: { whitelist: { added: ['u'], removed: [], count: 1 } } },
        { action: 'created', request_id: 'r-1', changes: { rollout_percentage: { from: null, to: 10 } } },
      ],
      next_cursor: null,
    });
    expect((await ask('GET', '/api/feature-flag-audit?limit=1')).body).toMatchObject({
      entries: [{ action: 'listed' }],
      next_cursor: expect.any(String),
    });
  });
});

describe('a list', () => {
  it('comes in pages', async () => {
    const { ask, flags } = await serve();
    for (const name of ['a', 'b', 'c']) await ask('POST', flags(), { name });

    const first = (await ask('GET', flags('?limit=2'))).body as { flags: { name: string }[]; next_cursor: string };
    const second = (await ask('GET', flags(`?limit=2&cursor=${first.next_cursor}`))).body;

    expect(first.flags.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(second).toMatchObject({ flags: [{ name: 'c' }], next_cursor: null });
  });

  it.each(['limit=0', 'limit=501', 'limit=x', 'cursor=%21', 'page=2'])('with ?%s is refused', async (query) => {
    const { ask, flags } = await serve();

    expect(await ask('GET', flags(`?${query}`))).toMatchObject({ status: 400, body: { code: 'invalid-request' } });
  });
});

describe('the audit', () => {
  it.each(['/api/feature-flag-audit', '/api/feature-flags/f/audit'])(
    'of %s comes in pages, from no other cursor than those it gave',
    async (path) => {
      const { ask, flags } = await serve();
      await ask('POST', flags(), { name: 'f' });
      await ask('PUT', flags('/f'), { enabled: true });

      const first = (await ask('GET', `${path}?limit=1`)).body as { next_cursor: string };
      const second = (await ask('GET', `${path}?limit=1&cursor=${first.next_cursor}`)).body;

      expect(second).toMatchObject({ entries: [{ action: 'created' }], next_cursor: null });
      for (const cursor of ['99999999999999999999', '0-0', '9999999999999-3', '']) {
        expect(await ask('GET', `${path}?cursor=${cursor}`)).toMatchObject({
          status: 400,
          body: {
            code: 'invalid-request',
            detail: 'The query is not valid: ?cursor: a cursor is taken from next_cursor of the page before.',
          },
        });
      }
    },
  );
});

describe('the document', () => {
  it('says what numbers of a query, keys of a repeat and a percentage of null have to be', async () => {
    const { server } = await serve();

    const { body } = await send(`${server.url}/api/openapi.json`, 'GET');

    const list = { parameters: expect.arrayContaining([expect.objectContaining({ name: 'limit', schema: LIMIT })]) };
    const key = { name: 'Idempotency-Key', schema: { type: 'string', minLength: 1, maxLength: 255 } };
    expect(body).toMatchObject({
      paths: {
        '/api/feature-flags': {
          get: list,
          post: { parameters: [key] },
        },
      },
      components: { schemas: { SetRollout: { anyOf: [{ properties: {} }, { required: ['fence'] }] } } },
    });
  });
});

const LIMIT = { type: 'integer', minimum: 1, maximum: 500, default: 50 };

describe('two who write', () => {
  it('are told apart by If-Match', async () => {
    const { ask, flags } = await serve();
    const etag = (await ask('POST', flags(), NEW)).headers.get('etag') ?? '';
    const first = await ask('PUT', flags('/new_dashboard'), { description: 'first' }, { 'if-match': etag });

    const second = await ask('PUT', flags('/new_dashboard'), { description: 'second' }, { 'if-match': etag });

    expect(first.status).toBe(200);
    expect(second).toMatchObject({
      status: 412,
      body: { code: 'precondition-failed', etag: first.headers.get('etag') },
    });
    expect((await ask('GET', flags('/new_dashboard'))).body).toMatchObject({ description: 'first' });
    expect((await ask('DELETE', flags('/new_dashboard'), undefined, { 'if-match': etag })).status).toBe(412);
    expect((await ask('DELETE', flags('/new_dashboard'), undefined, { 'if-match': '*' })).status).toBe(204);
  });

  it('lose nothing when they do not care', async () => {
    const { ask, flags } = await serve();
    await ask('POST', flags(), NEW);
    const users = Array.from({ length: 20 }, (_, i) => `user-${i}`);

    const replies = await Promise.all(
      users.map((user_id) => ask('POST', flags('/new_dashboard/whitelist'), { user_id })),
    );

    expect(replies.map(({ status }) => status)).toEqual(users.map(() => 200));
    const { whitelist } = (await ask('GET', flags('/new_dashboard'))).body as { whitelist: string[] };
    expect(whitelist.sort()).toEqual(users.sort());
  });

  it('have to say what they read, where the server asks for it', async () => {
    const { ask, flags } = await serve({ requireIfMatch: true });
    const etag = (await ask('POST', flags(), NEW)).headers.get('etag') ?? '';

    expect(await ask('PATCH', flags('/new_dashboard/rollout'), { percentage: 20 })).toMatchObject({
      status: 428,
      body: { code: 'precondition-required' },
    });
    const said = { 'if-match': etag };
    expect((await ask('PATCH', flags('/new_dashboard/rollout'), { percentage: 20 }, said)).status).toBe(200);
  });

  it('cannot both create it', async () => {
    const { ask, flags } = await serve();

    const replies = await Promise.all([ask('POST', flags(), NEW), ask('POST', flags(), NEW)]);

    expect(replies.map(({ status }) => status).sort()).toEqual([201, 409]);
  });
});

describe('an Idempotency-Key', () => {
  it('carries the same request out once', async () => {
    const { ask, flags } = await serve();
    const key = { 'idempotency-key': 'k' };
    const first = await ask('POST', flags(), NEW, key);
    const again = await ask('POST', flags(), NEW, key);

    expect(again).toMatchObject({ status: 201, body: first.body });
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    const deleted = { 'idempotency-key': 'd' };
    expect((await ask('DELETE', flags('/new_dashboard'), undefined, deleted)).status).toBe(204);
    expect((await ask('DELETE', flags('/new_dashboard'), undefined, deleted)).status).toBe(204);
  });

  it('is remembered of a request that changed nothing, so that its repeat undoes no change of another', async () => {
    const { ask, flags } = await serve();
    const etag = (await ask('POST', flags(), NEW)).headers.get('etag');
    const set = (percentage: number, headers: Record<string, string> = {}) =>
      ask('PATCH', flags('/new_dashboard/rollout'), { percentage }, headers);
    const key = { 'idempotency-key': 'k' };

    const first = await set(10, key);
    await set(50);
    const again = await set(10, key);

    expect(first).toMatchObject({ status: 200, body: { rollout_percentage: 10 } });
    expect(first.headers.get('etag')).toBe(etag);
    expect(again).toMatchObject({ status: 200, body: { rollout_percentage: 50 } });
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(await set(11, key)).toMatchObject({ status: 422, body: { code: 'key-reused' } });
  });

  it('that stood for another request is refused', async () => {
    const { ask, flags } = await serve();
    await ask('POST', flags(), NEW, { 'idempotency-key': 'k' });

    const other = await ask('POST', flags(), { ...NEW, name: 'other' }, { 'idempotency-key': 'k' });

    expect(other).toMatchObject({ status: 422, body: { code: 'key-reused' } });
  });
});

describe('a fence', () => {
  const fence = (owner: string, epoch: number, hold?: boolean) => ({
    owner,
    epoch,
    ...(hold === undefined ? {} : { hold }),
  });

  it('lets no older write land', async () => {
    const { ask, flags } = await serve();
    await ask('POST', flags(), NEW);
    const set = (percentage: number, given?: object) =>
      ask('PATCH', flags('/new_dashboard/rollout'), { percentage, ...(given === undefined ? {} : { fence: given }) });

    expect(await set(20, fence('a', 5))).toMatchObject({ status: 200, body: { fence: { owner: 'a', epoch: 5 } } });
    expect(await set(30, fence('a', 4))).toMatchObject({
      status: 409,
      body: { code: 'stale-fence', held: { owner: 'a', epoch: 5 } },
    });
    expect((await set(30, fence('b', 4))).status).toBe(409);
    expect((await set(30, fence('b', 5))).status).toBe(409);
    expect((await set(20, fence('a', 5))).status).toBe(200);
    expect((await set(30, fence('b', 6))).status).toBe(200);
    expect(await set(40)).toMatchObject({ status: 200, body: { fence: { owner: 'b', epoch: 6 } } });
  });

  it('orders the writes of a release by step and attempt, and null is what it found', async () => {
    const { ask, flags } = await serve();
    await ask('POST', flags(), { ...NEW, rollout_percentage: 10 });
    const set = (percentage: number | null, owner: string, ...[epoch, step, attempt]: number[]) =>
      ask('PATCH', flags('/new_dashboard/rollout'), { percentage, fence: { owner, epoch, step, attempt, hold: true } });

    expect(await set(null, 'a', 1, 1, 2)).toMatchObject({ status: 200, body: { rollout_percentage: 10 } });
    expect(await set(50, 'a', 1, 2, 2)).toMatchObject({ body: { rollout_percentage: 50, fence: { former: 10 } } });
    expect((await set(25, 'a', 1, 1, 4)).status).toBe(409);
    expect((await set(25, 'a', 1, 2, 1)).status).toBe(409);
    // Whoever comes after a release that never ended finds what that one had found.
    expect(await set(null, 'b', 2, 1, 2)).toMatchObject({ body: { rollout_percentage: 10, fence: { former: 10 } } });
    const without = await ask('PATCH', flags('/new_dashboard/rollout'), { percentage: null });
    expect(without).toMatchObject({ status: 400, body: { code: 'invalid-request' } });
  });

  it('that holds keeps hands off the percentage and the variants, but not off the switch', async () => {
    const { ask, flags } = await serve();
    await ask('POST', flags(), NEW);
    await ask('PATCH', flags('/new_dashboard/rollout'), { percentage: 20, fence: fence('a', 1, true) });

    expect(await ask('PATCH', flags('/new_dashboard/rollout'), { percentage: 100 })).toMatchObject({
      status: 409,
      body: { code: 'release-holds' },
    });
    expect((await ask('PUT', flags('/new_dashboard'), { rollout_percentage: 100 })).status).toBe(409);
    const variants = { values: { a: 'blue', b: 'red' }, on: 'b', default: 'a' };
    expect(await ask('PUT', flags('/new_dashboard'), { variants })).toMatchObject({
      status: 409,
      body: { code: 'release-holds' },
    });
    expect((await ask('DELETE', flags('/new_dashboard'))).status).toBe(409);
    // What says the same again changes nothing.
    expect((await ask('PUT', flags('/new_dashboard'), { rollout_percentage: 20, variants: null })).status).toBe(200);
    expect((await ask('PUT', flags('/new_dashboard'), { enabled: false })).status).toBe(200);

    await ask('PATCH', flags('/new_dashboard/rollout'), { percentage: 20, fence: fence('a', 2) });
    expect((await ask('PATCH', flags('/new_dashboard/rollout'), { percentage: 100 })).status).toBe(200);
  });
});

/** An object with so many levels in it, as JSON. */
function nested(levels: number): string {
  return `${'{"a":'.repeat(levels)}{}${'}'.repeat(levels)}`;
}

/** A flag with it as a variant's value, the fourth level of the body. */
function objectVariant(value: string): string {
  return `{"name":"f","variants":{"values":{"v":${value}},"on":"v","default":"v"}}`;
}

describe('what is wrong', () => {
  it.each([
    ['a:b'],
    ['../../etc/passwd'],
    ['Robert"); DROP TABLE flags;--'],
    ['x'.repeat(1_500)],
    ['\u0000'],
    ['__proto__'],
    ['ключ'],
    ['all'],
  ])('as a name (%j) is refused with a sentence, and nothing is stored', async (name) => {
    const { ask, flags } = await serve();

    const created = await ask('POST', flags(), { name });
    const got = await ask('GET', flags(`/${encodeURIComponent(name)}`));
    const checked = await ask('POST', flags(`/${encodeURIComponent(name)}/check`), { user_id: 'u' });

    expect(created).toMatchObject({ status: 400, body: { detail: expect.stringMatching(/^[^\n]{20,400}\.$/) } });
    expect(got).toMatchObject({ status: 400, body: { code: 'invalid-name' } });
    expect(checked).toMatchObject({ status: 400, body: { code: 'invalid-name' } });
    expect((await ask('GET', flags())).body).toMatchObject({ flags: [] });
  });

  it.each([
    ['no JSON', '{"name":', 400, 'not-json'],
    ['a list', '[]', 400, 'invalid-request'],
    ['nothing', '', 400, 'invalid-request'],
    ['an unknown key', '{"name":"f","enabeld":true}', 400, 'invalid-request'],
    ['a prototype', '{"name":"f","__proto__":{"enabled":true}}', 400, 'invalid-request'],
    ['a fraction of a percent', '{"name":"f","rollout_percentage":0.5}', 400, 'invalid-request'],
    ['101 percent', '{"name":"f","rollout_percentage":101}', 400, 'invalid-request'],
    ['an empty user', '{"name":"f","whitelist":[""]}', 400, 'invalid-request'],
    ['half a character', '{"name":"f","whitelist":["\\ud800"]}', 400, 'invalid-request'],
    [
      'too many users',
      JSON.stringify({ name: 'f', whitelist: Array.from({ length: 10_001 }, String) }),
      400,
      'invalid-request',
    ],
    ['a prototype in a variant', objectVariant('{"a":{"__proto__":{"x":1}}}'), 400, 'invalid-request'],
    ['a prototype as a variant', objectVariant('{"__proto__":{"x":1}}'), 400, 'invalid-request'],
    ['a prototype written otherwise', objectVariant('[{"\\u005f_proto__":1}]'), 400, 'invalid-request'],
    ['a prototype among the metadata', '{"name":"f","metadata":{"__proto__":{"owner":"x"}}}', 400, 'invalid-request'],
    ['too deep in a variant', objectVariant(nested(4_380)), 400, 'invalid-request'],
    ['just too deep', objectVariant(nested(61)), 400, 'invalid-request'],
    ['too deep in its lists', `{"name":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}}`, 400, 'invalid-request'],
    ['too much', JSON.stringify({ name: 'f', description: 'x'.repeat(3_000_000) }), 413, 'body-too-large'],
  ])('with a body that is %s is said, and nothing is stored', async (_what, body, status, code) => {
    const { ask, flags } = await serve();

    const reply = await ask('POST', flags(), body);

    expect(reply).toMatchObject({ status, body: { code, status, type: `urn:sluice:problem:${code}` } });
    expect((await ask('GET', flags())).body).toMatchObject({ flags: [] });
  });

  it('is no body that is as deep as is allowed, and a deeper one leaves the flag as it was', async () => {
    const { ask, flags } = await serve();

    const created = await ask('POST', flags(), objectVariant(nested(60)));
    const changed = await ask(
      'PUT',
      flags('/f'),
      `{"variants":{"values":{"v":${nested(4_380)}},"on":"v","default":"v"}}`,
    );

    expect(created.status).toBe(201);
    expect(changed).toMatchObject({
      status: 400,
      body: {
        detail: 'The body is not valid: /: objects and lists are at most 64 levels deep, these are more.',
        errors: [{ where: '/' }],
      },
    });
    expect((await ask('GET', flags('/f'))).body).toEqual(created.body);
  });

  it('is a key called __proto__, with the place where it is', async () => {
    const { ask, flags } = await serve();

    const { body } = await ask('POST', flags(), objectVariant('{"a":[{"__proto__":1}]}'));

    expect(body).toMatchObject({
      detail: 'The body is not valid: /variants/values/v/a/0: no key is called __proto__.',
      errors: [{ where: '/variants/values/v/a/0' }],
    });
  });

  it('names every field, and what is allowed', async () => {
    const { ask, flags } = await serve();

    const { body } = await ask('POST', flags(), { name: 'A', rollout_percentage: 1.5, whitelst: [] });

    const { errors } = body as { errors: { where: string }[] };
    expect(errors.map(({ where }) => where)).toEqual(expect.arrayContaining(['/name', '/rollout_percentage', '/']));
  });

  it.each(['[1]', 'null', '1e999'])('says what the value of a variant may be, and not %s', async (value) => {
    const { ask, flags } = await serve();
    const variants = `{"values": {"a": ${value}, "b": true}, "on": "a", "default": "b"}`;

    const { status, body } = await ask('POST', flags(), `{"name": "f", "enabled": true, "variants": ${variants}}`);

    expect(status).toBe(400);
    expect(body).toMatchObject({
      errors: [
        {
          where: '/variants/values/a',
          message: "a variant's value is true or false, a text, a finite number or an object",
        },
      ],
    });
  });

  it('is said of types, methods and paths', async () => {
    const { ask, flags, server } = await serve();

    const form = await send(`${server.url}${flags()}`, 'POST', {
      body: 'name=f',
      headers: { 'content-type': 'text/plain' },
    });
    expect(form).toMatchObject({ status: 415, body: { code: 'not-json-type' } });
    const wrongMethod = await ask('PATCH', flags());
    expect(wrongMethod).toMatchObject({ status: 405, body: { code: 'method-not-allowed' } });
    expect(wrongMethod.headers.get('allow')).toBe('GET, POST');
    expect((await ask('QUERY', flags())).status).toBe(405);
    expect(await ask('GET', '/api/nothing')).toMatchObject({ status: 404, body: { code: 'no-such-endpoint' } });
    expect((await ask('GET', flags('/%E0%A4%A'))).status).toBe(400);
  });

  it('is a list that is full', async () => {
    const { ask, flags } = await serve();
    await ask('POST', flags(), { name: 'f', whitelist: Array.from({ length: 10_000 }, (_, i) => `u${i}`) });

    expect(await ask('POST', flags('/f/whitelist'), { user_id: 'one-more' })).toMatchObject({
      status: 422,
      body: { code: 'list-full' },
    });
  });

  it('is a check of no flag, or of nobody', async () => {
    const { ask, flags } = await serve();
    await ask('POST', flags(), NEW);

    expect((await ask('POST', flags('/gone/check'), { user_id: 'u' })).status).toBe(404);
    expect((await ask('POST', flags('/new_dashboard/check'), {})).status).toBe(400);
    expect((await ask('POST', flags('/new_dashboard/check'), { user_id: '' })).status).toBe(400);
    expect((await ask('POST', flags('/new_dashboard/check'), { user_id: 'x'.repeat(257) })).status).toBe(400);
    const large = { user_id: 'x', environment: 'y'.repeat(70_000) };
    expect((await ask('POST', flags('/new_dashboard/check'), large)).status).toBe(413);
  });

  it('is a request that only looks like HTTP', async () => {
    const { server } = await serve();
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.write('GET / HTTP/9.9\r\n\r\n');

    const [answer] = (await once(socket, 'data')) as [Buffer];

    expect(answer.toString()).toMatch(/^HTTP\/1\.1 400/);
    socket.destroy();
  });
});

describe('a service without keys', () => {
  it('listens on loopback alone', async () => {
    await expect(serve({ host: '0.0.0.0' })).rejects.toThrow(
      /Without a key the (flag service|server) listens on loopback only/,
    );
  });

  it('does not answer to a name that is not this machine', async () => {
    const { server } = await serve();
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.write('GET /api/feature-flags HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n');

    const [answer] = (await once(socket, 'data')) as [Buffer];

    expect(answer.toString()).toMatch(/^HTTP\/1\.1 403/);
  });

  it.each<[string, Record<string, string>, boolean]>([
    ['a page of another machine', { origin: 'https://evil.example' }, false],
    ['a page of another machine that begins like this one', { origin: 'http://localhost.evil.example' }, false],
    ['a page without an origin of its own', { origin: 'null' }, false],
    ['another site that sends no origin', { 'sec-fetch-site': 'cross-site' }, false],
    ['a page of this machine', { origin: 'http://localhost:3000', 'sec-fetch-site': 'cross-site' }, true],
    ['a page of this machine by its IPv6 address', { origin: 'http://[::1]:3000' }, true],
    ['no page at all', {}, true],
  ])('is asked by %s', async (_, headers, answered) => {
    const { server, ask, flags } = await serve();
    await ask('POST', flags(), { ...NEW, enabled: true });
    const paths: readonly [string, string, unknown?][] = [
      ['GET', '/api/feature-flags'],
      ['POST', '/api/feature-flags/new_dashboard/check', { user_id: 'u' }],
      ['DELETE', '/api/feature-flags/new_dashboard/whitelist/nobody'],
    ];
    for (const [method, path, body] of paths) {
      const { status, body: said } = await send(`${server.url}${path}`, method, { body, headers });
      expect([path, status === 403]).toEqual([path, !answered]);
      if (!answered) expect(said).toMatchObject({ code: 'forbidden', detail: expect.stringMatching(/no web page/) });
    }
    // Which pages may read this one is --cors-origin's to say.
    const ofrep = `${server.url}/ofrep/v1/evaluate/flags`;
    expect((await send(ofrep, 'POST', { body: { context: {} }, headers })).status).toBe(200);
  });

  it('does not mind pages where it asks for a key, as each of them has to have one', async () => {
    const key = 'a-key-of-this-test-alone';
    const { url } = await startService({ access: { adminKey: key } });

    const headers = { origin: 'https://console.example', 'x-api-key': key };
    expect((await send(`${url}/api/feature-flags`, 'GET', { headers })).status).toBe(200);
  });
});

it('keeps flags in a file from one start to the next', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'sluice-flags-')), 'flags.db');
  const first = await serve({ store: openSqliteFlagStore({ path }) });
  await first.ask('POST', first.flags(), NEW);
  await first.ask('POST', first.flags('/new_dashboard/check'), { user_id: 'u' });
  await stopServers();

  const second = await serve({ store: openSqliteFlagStore({ path }) });

  expect(await second.ask('POST', second.flags('/new_dashboard/check'), { user_id: 'u' })).toMatchObject({
    status: 200,
  });
  // The last usage of the first was written at its stop.
  expect((await second.ask('GET', second.flags('/new_dashboard/stats'))).body).toMatchObject({ total: 2 });
});
