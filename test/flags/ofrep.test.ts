import { OFREPProvider } from '@openfeature/ofrep-provider';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { OpenFeature } from '@openfeature/server-sdk';
import { OpenFeature as WebOpenFeature } from '@openfeature/web-sdk';
import type { Provider as WebProvider } from '@openfeature/web-sdk';
import { MemoryFlagStore } from '../../src/flags/memory-store';
import type { FlagStore, StoreHead } from '../../src/flags/store';
import { TestEventSource } from './event-source';
import { expectOfrep } from './ofrep-schema';
import { serveFlags, stopServers } from './serve';
import { send, until } from './support';

const FLAGS = [
  { name: 'new-checkout', enabled: true, rollout_percentage: 84 },
  { name: 'half', enabled: true, rollout_percentage: 50 },
  { name: 'everybody', enabled: true },
  { name: 'switched-off', enabled: false },
  { name: 'staging-only', enabled: true, environments: ['staging'] },
  { name: 'listed', enabled: true, whitelist: ['user-1'], blacklist: ['user-2'] },
  {
    name: 'limit',
    enabled: true,
    whitelist: ['user-1'],
    variants: { values: { low: 5, high: 10.5 }, on: 'high', default: 'low' },
  },
  { name: 'colour', enabled: true, variants: { values: { a: 'blue', b: 'red' }, on: 'b', default: 'a' } },
  { name: 'config', enabled: true, variants: { values: { a: {}, b: { size: 3 } }, on: 'b', default: 'a' } },
];

afterEach(async () => {
  await OpenFeature.clearProviders();
  await WebOpenFeature.clearProviders();
  await stopServers();
});

async function single(url: string, key: string, context?: unknown) {
  return send(`${url}/ofrep/v1/evaluate/flags/${encodeURIComponent(key)}`, 'POST', {
    body: context === undefined ? {} : { context },
  });
}

describe('one flag by OFREP', () => {
  it.each([
    ['new-checkout', 'user-1', true, 'SPLIT', 'on', 'percentage'],
    ['half', 'user-2', false, 'SPLIT', 'off', 'percentage'],
    ['everybody', 'user-1', true, 'STATIC', 'on', 'default'],
    ['switched-off', 'user-1', false, 'DISABLED', 'off', 'disabled'],
    ['staging-only', 'user-1', false, 'DISABLED', 'off', 'environment'],
    ['listed', 'user-1', true, 'TARGETING_MATCH', 'on', 'whitelist'],
    ['listed', 'user-2', false, 'TARGETING_MATCH', 'off', 'blacklist'],
    ['limit', 'user-1', 10.5, 'TARGETING_MATCH', 'high', 'whitelist'],
    ['colour', 'user-1', 'red', 'STATIC', 'b', 'default'],
    ['config', 'user-1', { size: 3 }, 'STATIC', 'b', 'default'],
  ])('%s for %s', async (key, targetingKey, value, reason, variant, rule) => {
    const { url } = await serveFlags(FLAGS);

    const { status, body } = await single(url, key, { targetingKey });

    expectOfrep('success', body);
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { key, value, reason, variant, metadata: { rule, flagSetId: 'production' } },
    });
  });

  it('counts in the environment of the context', async () => {
    const { url } = await serveFlags(FLAGS);

    const { body } = await single(url, 'staging-only', { targetingKey: 'u', environment: 'staging' });

    expect(body).toMatchObject({ value: true, metadata: { flagSetId: 'staging' } });
  });

  it('needs a user only where the answer depends on one', async () => {
    const { url } = await serveFlags(FLAGS);

    for (const context of [undefined, {}, { targetingKey: '' }]) {
      const missing = await single(url, 'half', context);
      expectOfrep('failure', missing.body);
      expect(missing).toMatchObject({ status: 400, body: { key: 'half', errorCode: 'TARGETING_KEY_MISSING' } });
      expect(await single(url, 'everybody', context)).toMatchObject({ status: 200, body: { value: true } });
      expect(await single(url, 'switched-off', context)).toMatchObject({ status: 200, body: { value: false } });
    }
  });

  it('that is not there, or asked for in a wrong way, is answered with key, code and details', async () => {
    const { url } = await serveFlags(FLAGS);
    const path = `${url}/ofrep/v1/evaluate/flags/half`;

    const unknown = await single(url, 'a:b/../c');
    expectOfrep('notFound', unknown.body);
    expect(unknown).toMatchObject({ status: 404, body: { key: 'a:b/../c' } });

    for (const [body, errorCode] of [
      ['{"context":', 'PARSE_ERROR'],
      ['[]', 'PARSE_ERROR'],
      [{ context: 'u' }, 'INVALID_CONTEXT'],
      ['{"context":{"targetingKey":"u","a":{"__proto__":1}}}', 'INVALID_CONTEXT'],
      [{ context: { targetingKey: 7 } }, 'INVALID_CONTEXT'],
      [{ context: { targetingKey: 'x'.repeat(300) } }, 'INVALID_CONTEXT'],
      [{ context: { targetingKey: 'u', environment: 'a b' } }, 'INVALID_CONTEXT'],
      [{ context: { targetingKey: 'u', more: 'x'.repeat(70_000) } }, 'PARSE_ERROR'],
    ] as const) {
      const refused = await send(path, 'POST', { body });
      expectOfrep('failure', refused.body);
      expect(refused).toMatchObject({ status: 400, body: { key: 'half', errorCode } });
    }
  });

  it.each(['/evaluate/flags', '/evaluate/flags/half'])(
    'with a context that is too deep is refused: %s',
    async (path) => {
      const { url } = await serveFlags(FLAGS);
      const deep = `{"context":{"targetingKey":"u","x":${'['.repeat(30_000)}${']'.repeat(30_000)}}}`;

      const refused = await send(`${url}/ofrep/v1${path}`, 'POST', { body: deep });

      expect(refused).toMatchObject({
        status: 400,
        body: { errorCode: 'INVALID_CONTEXT', errorDetails: expect.stringMatching(/at most 64 levels deep/) },
      });
    },
  );

  it.each([
    ['PUT', '/evaluate/flags/half', 405, { key: 'half', errorCode: 'GENERAL' }],
    ['GET', '/evaluate/flags', 405, { errorCode: 'GENERAL' }],
    ['POST', '/evaluate/flags/a/b', 404, { key: 'a/b', errorCode: 'FLAG_NOT_FOUND' }],
    ['GET', '/evaluate/flags/%E0%A4%A', 400, { key: '%E0%A4%A', errorCode: 'GENERAL' }],
    ['GET', '/nothing', 404, { errorCode: 'GENERAL' }],
  ] as const)('is refused in the words of the protocol by %s %s', async (method, path, status, expected) => {
    const { url } = await serveFlags(FLAGS);

    const refused = await send(`${url}/ofrep/v1${path}`, method);

    expect(refused.headers.get('content-type')).toMatch(/^application\/json/);
    expect(refused).toMatchObject({ status, body: expected });
    expect(refused.body).toEqual({ ...expected, errorDetails: expect.stringMatching(/\.$/) });
    if (status === 405) expect(refused.headers.get('allow')).toBe('POST');
  });

  it('that is switched off has no value, where the server leaves that to the code', async () => {
    const { url } = await serveFlags(FLAGS, { disabledBehavior: 'code-default' });

    const { body } = await single(url, 'switched-off', { targetingKey: 'u' });

    expectOfrep('success', body);
    expect(body).toMatchObject({ reason: 'DISABLED', variant: 'off' });
    expect(body).not.toHaveProperty('value');
  });
});

describe('all flags by OFREP', () => {
  const bulk = (url: string, context: unknown, headers: Record<string, string> = {}) =>
    send(`${url}/ofrep/v1/evaluate/flags`, 'POST', { body: { context }, headers });

  it('come at once, each with its own answer', async () => {
    const { url } = await serveFlags(FLAGS);

    const { status, body } = await bulk(url, { targetingKey: 'user-1' });

    expect(status).toBe(200);
    expectOfrep('bulk', body);
    const { flags } = body as { flags: { key: string }[] };
    expect(flags.map(({ key }) => key)).toEqual(FLAGS.map(({ name }) => name).sort());
    const without = (await bulk(url, {})).body as { flags: { key: string; errorCode?: string }[] };
    expectOfrep('bulk', without);
    expect(without.flags.find(({ key }) => key === 'half')?.errorCode).toBe('TARGETING_KEY_MISSING');
  });

  it('are not sent again while neither flags nor context change', async () => {
    const { url } = await serveFlags(FLAGS);
    const etag = (await bulk(url, { targetingKey: 'u', a: 1, b: 2 })).headers.get('etag') ?? '';
    const known = { 'if-none-match': etag };

    expect(await bulk(url, { b: 2, a: 1, targetingKey: 'u' }, known)).toMatchObject({ status: 304, body: '' });
    expect((await bulk(url, { targetingKey: 'u', a: 1, b: 3 }, known)).status).toBe(200);
    expect((await bulk(url, { targetingKey: 'u', a: 1, b: 2, environment: 'staging' }, known)).status).toBe(200);
    await send(`${url}/api/feature-flags/half/rollout`, 'PATCH', { body: { percentage: 60 } });
    expect((await bulk(url, { targetingKey: 'u', a: 1, b: 2 }, known)).status).toBe(200);
  });

  it('are looked for anew when another server told of a change that this one has not heard of', async () => {
    const shared = new MemoryFlagStore();
    let heard: StoreHead | null = null;
    /** The same flags, of which it hears later. */
    class LaggingStore extends MemoryFlagStore {
      override head() {
        return heard === null ? shared.head() : Promise.resolve(heard);
      }
      override changes(...given: Parameters<FlagStore['changes']>) {
        return shared.changes(...given);
      }
      override subscribe() {
        return () => undefined;
      }
    }
    const first = await serveFlags(FLAGS, { store: shared });
    const second = await serveFlags([], { store: new LaggingStore() });
    const context = { targetingKey: 'u' };
    const known = { 'if-none-match': (await bulk(second.url, context)).headers.get('etag') ?? '' };
    const told = async () => {
      const { metadata } = (await bulk(first.url, context)).body as { metadata: { version: string } };
      const query = new URLSearchParams({ flagConfigEtag: `"${metadata.version}"`, flagConfigLastModified: '1' });
      return `${second.url}/ofrep/v1/evaluate/flags?${query.toString()}`;
    };

    heard = await shared.head();
    expect((await send(await told(), 'POST', { body: { context }, headers: known })).status).toBe(304);
    await send(`${first.url}/api/feature-flags/everybody`, 'PUT', { body: { enabled: false } });
    const refetch = await told();
    expect((await send(refetch, 'POST', { body: { context }, headers: known })).status).toBe(304);
    heard = null;
    const { status, body } = await send(refetch, 'POST', { body: { context }, headers: known });

    expect(status).toBe(200);
    const { flags } = body as { flags: { key: string; value: unknown }[] };
    expect(flags.find(({ key }) => key === 'everybody')?.value).toBe(false);
  });

  it('may be asked for by a page of another origin', async () => {
    const { url } = await serveFlags(FLAGS);
    const origin = { origin: 'https://shop.example' };

    const preflight = await send(`${url}/ofrep/v1/evaluate/flags`, 'OPTIONS', { headers: origin });
    const answer = await bulk(url, {}, origin);

    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-headers')).toBe(
      'content-type, if-none-match, authorization, x-api-key, last-event-id',
    );
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
    expect(answer.headers.get('access-control-expose-headers')).toBe('ETag, Retry-After');
    const rest = await send(`${url}/api/feature-flags`, 'GET', { headers: origin });
    expect(rest.headers.get('access-control-allow-origin')).toBeNull();
  });

  it('may be asked for by named origins only', async () => {
    const { url } = await serveFlags(FLAGS, { corsOrigins: ['https://shop.example'] });

    const ours = await bulk(url, {}, { origin: 'https://shop.example' });
    const other = await bulk(url, {}, { origin: 'https://evil.example' });

    expect(ours.headers.get('access-control-allow-origin')).toBe('https://shop.example');
    expect(other.headers.get('access-control-allow-origin')).toBeNull();
  });
});

describe('the event stream', () => {
  it('tells of a change, and one that comes back of what it missed', async () => {
    const { url } = await serveFlags(FLAGS);
    const first = new TestEventSource(`${url}/ofrep/v1/sse`);
    const events: MessageEvent[] = [];
    first.addEventListener('message', (event) => events.push(event as MessageEvent));
    await until(() => first.readyState === 1);

    await send(`${url}/api/feature-flags/half/rollout`, 'PATCH', { body: { percentage: 60 } });
    await until(() => events.length > 0);
    first.close();

    expectOfrep('event', JSON.parse(String(events[0]?.data)));
    const id = events.at(-1)?.lastEventId ?? '';
    const missed = await fetch(`${url}/ofrep/v1/sse`, { headers: { 'last-event-id': 'of-before' } });
    const reader = missed.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    await until(async () => {
      text += (await reader?.read())?.value ?? '';
      return text.includes('refetchEvaluation');
    });
    expect(text).toContain(`id: ${id}`);
    await reader?.cancel();
  });
});

describe('the head of the event stream', () => {
  it('is not to be had, and takes no stream', async () => {
    const { url } = await serveFlags(FLAGS);

    const head = await fetch(`${url}/ofrep/v1/sse`, { method: 'HEAD' });

    expect(head.status).toBe(405);
    expect(head.headers.get('allow')).toBe('GET');
    expect((await send(`${url}/metrics`, 'GET')).body).toMatch(/^sluice_flag_event_streams 0$/m);
  });
});

describe('OpenFeature for servers, with the OFREP provider as it is', () => {
  it('evaluates every type, and takes its default where there is no flag', async () => {
    const { url } = await serveFlags(FLAGS);
    await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: url }));
    const client = OpenFeature.getClient();
    const user = { targetingKey: 'user-1' };

    expect(await client.getBooleanDetails('new-checkout', false, user)).toMatchObject({
      value: true,
      reason: 'SPLIT',
      variant: 'on',
      flagMetadata: { bucket: 83, percentage: 84 },
    });
    expect(await client.getNumberValue('limit', 0, user)).toBe(10.5);
    expect(await client.getStringValue('colour', 'none', user)).toBe('red');
    expect(await client.getObjectValue('config', {}, user)).toEqual({ size: 3 });
    expect(await client.getBooleanDetails('switched-off', true, user)).toMatchObject({
      value: false,
      reason: 'DISABLED',
    });
    expect(await client.getBooleanDetails('gone', true, user)).toMatchObject({
      value: true,
      errorCode: 'FLAG_NOT_FOUND',
    });
    expect(await client.getBooleanDetails('colour', true, user)).toMatchObject({ errorCode: 'TYPE_MISMATCH' });
    expect(await client.getBooleanDetails('half', true)).toMatchObject({
      value: true,
      errorCode: 'TARGETING_KEY_MISSING',
    });
  });

  it('sends its key', async () => {
    const key = { 'x-api-key': 'a-key-of-this-test-alone' };
    const { url } = await serveFlags(FLAGS, { access: { adminKey: key['x-api-key'] } }, key);
    await OpenFeature.setProviderAndWait(
      new OFREPProvider({ baseUrl: url, headers: [['x-api-key', key['x-api-key']]] }),
    );

    expect(await OpenFeature.getClient().getBooleanValue('everybody', false)).toBe(true);
  });
});

describe('OpenFeature for browsers, with the OFREP provider as it is', () => {
  const scope = globalThis as { EventSource?: unknown };
  beforeEach(() => {
    scope.EventSource = TestEventSource;
  });
  afterEach(() => {
    delete scope.EventSource;
  });

  it('evaluates, follows the context, and hears of a change', async () => {
    const key = { authorization: 'Bearer a-key-of-this-test-alone' };
    const { url } = await serveFlags(FLAGS, { access: { adminKey: 'a-key-of-this-test-alone' } }, key);
    await WebOpenFeature.setContext({ targetingKey: 'user-1' });
    const provider = new OFREPWebProvider({ baseUrl: url, headers: [['authorization', key.authorization]] });
    // Its types are of a compiler without exactOptionalPropertyTypes.
    await WebOpenFeature.setProviderAndWait(provider as WebProvider);
    const client = WebOpenFeature.getClient();
    expect(client.getBooleanValue('listed', false)).toBe(true);
    expect(client.getNumberValue('limit', 0)).toBe(10.5);
    expect(client.getBooleanValue('staging-only', false)).toBe(false);

    // The same user elsewhere: an ETag of the flags alone would be answered with 304.
    await WebOpenFeature.setContext({ targetingKey: 'user-1', environment: 'staging' });
    expect(client.getBooleanValue('staging-only', false)).toBe(true);
    await WebOpenFeature.setContext({ targetingKey: 'user-2' });
    expect(client.getBooleanValue('listed', true)).toBe(false);

    await send(`${url}/api/feature-flags/everybody`, 'PUT', { body: { enabled: false }, headers: key });
    await until(() => !client.getBooleanValue('everybody', true));
  });
});
