import { Ajv2020 } from 'ajv/dist/2020';
import {
  createFlagClient,
  FlagServiceClient,
  FlagServiceError,
  MemoryFlagStore,
  OutcomeReporter,
} from '../../src/flags';
import type { NewOutcomes } from '../../src/flags';
import { OutcomeRecorder } from '../../src/flags/outcome-recorder';
import { addOutcome, cumulative, NO_OUTCOMES } from '../../src/flags/outcomes';
import { CreateFlag, newFlag } from '../../src/flags/flag';
import type { OutcomeDelta } from '../../src/flags/outcomes';
import { StoreUnavailable } from '../../src/flags/store';
import { describeWithRedis, openStore } from './redis-server';
import { serveFlags, stopServers } from './serve';
import { recordingLogger, send, silentLogger, until } from './support';

afterEach(stopServers);

const FLAG = { name: 'f', enabled: true, rollout_percentage: 0, whitelist: ['in'], blacklist: ['out'] };
const DELTA: OutcomeDelta = {
  flag: 'f',
  environment: 'production',
  enabled: addOutcome(NO_OUTCOMES, { ok: false, latencyMs: 12 }),
  disabled: NO_OUTCOMES,
};

async function putFlag(store: MemoryFlagStore): Promise<void> {
  const audit = { at: 'now', actor: 't', action: 'created' as const, flag: 'f', changes: {}, request_id: null };
  const next = newFlag(CreateFlag.parse(FLAG), 'now');
  await store.write({ name: 'f', expected: null, next, audit, idempotency: null });
}

describe('counts of outcomes', () => {
  it('have each latency in the bucket whose bound it does not pass', () => {
    let counts = NO_OUTCOMES;
    for (const latencyMs of [0, 1, 1.1, 30_000, 30_001, null]) counts = addOutcome(counts, { ok: true, latencyMs });

    expect(counts).toMatchObject({ total: 6, failed: 0 });
    expect(counts.latency.slice(0, 3)).toEqual([2, 1, 0]);
    expect(counts.latency.slice(-2)).toEqual([1, 1]);
    // Of one the latency is not known.
    expect(cumulative(counts).at(-1)).toBe(5);
    expect(cumulative(counts).at(-2)).toBe(4);
  });
});

describe('the endpoints', () => {
  async function serve(options: Parameters<typeof serveFlags>[1] = {}) {
    const server = await serveFlags([FLAG], options);
    const path = `${server.url}/api/feature-flags/f/outcomes`;
    const post = (body: unknown, headers = {}) => send(path, 'POST', { body, headers });
    const read = async (query = '') => (await send(`${path}${query}`, 'GET')).body as Record<string, unknown>;
    return { server, post, read, path };
  }

  it('count outcomes on the side that the flag answers, or that the client says it had', async () => {
    const { post, read } = await serve();

    const reply = await post({
      outcomes: [
        { user_id: 'in', ok: true, latency_ms: 12 },
        { user_id: 'in', ok: false },
        { user_id: 'out', ok: true, latency_ms: 40_000 },
        // Of those who had it before the percentage changed.
        { user_id: 'out', variant: 'on', ok: true },
        { variant: 'off', ok: false },
      ],
    });

    expect(reply).toMatchObject({ status: 202, body: { flag: 'f', environment: 'production', accepted: 5 } });
    const found = await read('?window=60');
    expect(found).toMatchObject({
      counters: expect.stringMatching(/^[0-9a-f-]{36}$/),
      enabled: { total: 3, failed: 1 },
      disabled: { total: 2, failed: 1 },
      window: { seconds: 60, enabled: { total: 3, failed: 1 } },
    });
    const { enabled, disabled, bounds_ms: bounds } = found as Record<string, { latency: number[] } & number[]>;
    expect(enabled?.latency).toHaveLength((bounds?.length ?? 0) + 1);
    expect(enabled?.latency.at(-1)).toBe(1);
    expect(disabled?.latency.slice(-2)).toEqual([0, 1]);
  });

  it('keep environments apart', async () => {
    const { post, read } = await serve();

    await post({ environment: 'staging', outcomes: [{ user_id: 'in', ok: true }] });

    expect(await read()).toMatchObject({ environment: 'production', counters: null, enabled: { total: 0 } });
    expect(await read('?environment=staging')).toMatchObject({ environment: 'staging', enabled: { total: 1 } });
  });

  it('tell variants of a flag of its own by their names', async () => {
    const { server } = await serve();
    const variants = { values: { low: 5, high: 10 }, on: 'high', default: 'low' };
    await send(`${server.url}/api/feature-flags`, 'POST', { body: { name: 'limit', enabled: true, variants } });
    const path = `${server.url}/api/feature-flags/limit/outcomes`;

    const wrong = await send(path, 'POST', {
      body: {
        outcomes: [
          { variant: 'low', ok: true },
          { variant: 'on', ok: true },
        ],
      },
    });
    await send(path, 'POST', { body: { outcomes: [{ variant: 'low', ok: true }] } });

    expect(wrong).toMatchObject({
      status: 400,
      body: {
        code: 'invalid-request',
        detail: 'The body is not valid: /outcomes/1/variant: limit answers the variants high and low, and not "on".',
      },
    });
    expect((await send(path, 'GET')).body).toMatchObject({ enabled: { total: 0 }, disabled: { total: 1 } });
  });

  it('count a request with an Idempotency-Key once, in whichever process it comes again', async () => {
    const store = new MemoryFlagStore();
    const { post, read } = await serve({ store });
    const other = await serveFlags([], { store });
    const headers = { 'idempotency-key': 'k1' };
    const body = { outcomes: [{ user_id: 'in', ok: true }] };

    const first = await post(body, headers);
    const again = await post(body, headers);
    const elsewhere = await send(`${other.url}/api/feature-flags/f/outcomes`, 'POST', { body, headers });
    const different = await post({ outcomes: [{ user_id: 'out', ok: true }] }, headers);

    expect([first.status, again.status, elsewhere.status]).toEqual([202, 202, 202]);
    expect(first.headers.get('idempotent-replayed')).toBeNull();
    expect(again.headers.get('idempotent-replayed')).toBe('true');
    expect(elsewhere.body).toEqual(first.body);
    expect(different).toMatchObject({ status: 422, body: { code: 'key-reused' } });
    expect(await read()).toMatchObject({ enabled: { total: 1 }, disabled: { total: 0 } });
  });

  it('write what is buffered at a stop', async () => {
    const store = new MemoryFlagStore();
    const { post, server } = await serve({ store });

    await post({ outcomes: [{ user_id: 'in', ok: true }] });
    await server.close();

    const query = { flag: 'f', environment: 'production', windowMs: 1_000 };
    expect((await store.outcomes(query))?.enabled.total).toBe(1);
  });

  const many = (count: number): unknown => ({
    outcomes: Array.from({ length: count }, () => ({ variant: 'on', ok: true })),
  });
  it.each([
    ['empty', '', 400, 'invalid-request'],
    ['no JSON', '{"outcomes":', 400, 'not-json'],
    ['without outcomes', { outcomes: [] }, 400, 'invalid-request'],
    ['of too many', many(1_001), 400, 'invalid-request'],
    ['of nobody', { outcomes: [{ ok: true }] }, 400, 'invalid-request'],
    ['without how it went', { outcomes: [{ user_id: 'in' }] }, 400, 'invalid-request'],
    ['of a word for how it went', { outcomes: [{ user_id: 'in', ok: 'yes' }] }, 400, 'invalid-request'],
    ['of a negative latency', { outcomes: [{ user_id: 'in', ok: true, latency_ms: -1 }] }, 400, 'invalid-request'],
    [
      'of a latency in microseconds',
      { outcomes: [{ user_id: 'in', ok: true, latency_ms: 9e9 }] },
      400,
      'invalid-request',
    ],
    ['with an unknown key', { outcomes: [{ user_id: 'in', ok: true, latency: 1 }] }, 400, 'invalid-request'],
    ['of a hostile user', { outcomes: [{ user_id: 'a\u0000b', ok: true }] }, 400, 'invalid-request'],
    [
      'of a hostile environment',
      { environment: '../x', outcomes: [{ variant: 'on', ok: true }] },
      400,
      'invalid-request',
    ],
    [
      'half right',
      {
        outcomes: [
          { user_id: 'in', ok: true },
          { user_id: '', ok: true },
        ],
      },
      400,
      'invalid-request',
    ],
    [
      'of no variant',
      {
        outcomes: [
          { user_id: 'in', ok: true },
          { variant: 'blue', ok: true },
        ],
      },
      400,
      'invalid-request',
    ],
    ['too large', { outcomes: [{ user_id: 'x'.repeat(3_000_000), ok: true }] }, 413, 'body-too-large'],
  ])('refuse a body that is %s, and count nothing of it', async (_what, body, status, code) => {
    const { post, read } = await serve();

    const reply = await post(body);

    expect(reply).toMatchObject({
      status,
      body: { code, status, detail: expect.stringMatching(/^[^\n]{10,2000}\.$/) },
    });
    expect(await read()).toMatchObject({ counters: null, enabled: { total: 0 }, disabled: { total: 0 } });
  });

  it('know no outcomes of a flag that is not there', async () => {
    const { server } = await serve();
    const path = `${server.url}/api/feature-flags/gone/outcomes`;

    expect(await send(path, 'POST', { body: many(1) })).toMatchObject({
      status: 404,
      body: { code: 'flag-not-found' },
    });
    expect(await send(path, 'GET')).toMatchObject({ status: 404 });
    const wrong = `${server.url}/api/feature-flags/f/outcomes?window=301`;
    expect(await send(wrong, 'GET')).toMatchObject({ status: 400, body: { code: 'invalid-request' } });
  });

  it('are in the OpenAPI document, as they answer', async () => {
    const { server, post, read } = await serve();
    const document = (await send(`${server.url}/api/openapi.json`, 'GET')).body as {
      paths: Record<string, Record<string, { parameters: { name: string }[]; requestBody?: unknown }>>;
      components: object;
    };
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    ajv.addSchema({ $id: 'openapi', components: document.components });
    const isValid = (name: string, value: unknown) => ajv.validate(`openapi#/components/schemas/${name}`, value);

    const path = document.paths['/api/feature-flags/{name}/outcomes'];
    const accepted = await post(many(1));

    expect(path?.['post']?.parameters.map(({ name }) => name)).toEqual(['name', 'Idempotency-Key']);
    expect(path?.['get']?.parameters.map(({ name }) => name)).toEqual(['name', 'environment', 'window']);
    expect(isValid('PostOutcomes', many(1))).toBe(true);
    expect(isValid('PostOutcomes', many(1_001))).toBe(false);
    expect(isValid('OutcomesAccepted', accepted.body)).toBe(true);
    expect(isValid('Outcomes', await read())).toBe(true);
  });
});

describe('buffered outcomes', () => {
  it('stay while the store is away, and are written when it is back', async () => {
    const store = new MemoryFlagStore();
    await putFlag(store);
    let away = true;
    const logger = recordingLogger();
    const addOutcomes: MemoryFlagStore['addOutcomes'] = (...given) =>
      away ? Promise.reject(new StoreUnavailable('away')) : store.addOutcomes(...given);
    const recorder = new OutcomeRecorder({ store: { addOutcomes }, logger, flushMs: 60_000 });

    recorder.add(DELTA);
    await recorder.flush();
    recorder.add(DELTA);
    await recorder.flush();
    away = false;
    await recorder.close();

    const query = { flag: 'f', environment: 'production', windowMs: 1_000 };
    expect((await store.outcomes(query))?.enabled).toMatchObject({ total: 2, failed: 2 });
    expect(logger.lines.map(({ message }) => message)).toEqual([
      'outcomes cannot be written; they are kept and tried again',
    ]);
  });

  it('are written within a second without being asked for', async () => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
    try {
      const store = new MemoryFlagStore();
      await putFlag(store);
      const recorder = new OutcomeRecorder({ store, logger: silentLogger });
      recorder.add(DELTA);

      await jest.advanceTimersByTimeAsync(1_000);

      const query = { flag: 'f', environment: 'production', windowMs: 1_000 };
      expect((await store.outcomes(query))?.enabled.total).toBe(1);
      await recorder.close();
    } finally {
      jest.useRealTimers();
    }
  });

  it('take no more flags than there is room for', async () => {
    const addOutcomes = () => Promise.reject(new StoreUnavailable('away'));
    const recorder = new OutcomeRecorder({ store: { addOutcomes }, logger: silentLogger, flushMs: 60_000 });

    const taken = Array.from({ length: 10_001 }, (_, at) => recorder.add({ ...DELTA, flag: `f${at}` }));

    expect(taken.filter(Boolean)).toHaveLength(10_000);
    expect(recorder.add({ ...DELTA, flag: 'f0' })).toBe(true);
    await recorder.close();
  });
});

describe('flags in this process', () => {
  it('count outcomes into the store that the service reads', async () => {
    const store = new MemoryFlagStore();
    const server = await serveFlags([FLAG], { store });
    const client = await createFlagClient({ store, logger: silentLogger });

    client.reportOutcome('f', { userId: 'in', ok: true, latencyMs: 5 });
    client.reportOutcome('f', { userId: 'in', ok: false, enabled: false });
    client.reportOutcome('gone', { userId: 'in', ok: true });
    client.reportOutcome('f', { userId: 'in', ok: true, latencyMs: Number.NaN });
    const service = new FlagServiceClient({ url: server.url });
    await until(async () => (await service.outcomes('f')).enabled.total === 1);

    expect(await service.outcomes('f')).toMatchObject({ enabled: { failed: 0 }, disabled: { total: 1, failed: 1 } });
    expect(client.lostOutcomes).toBe(2);
    await client.close();
  });
});

describe('a reporter', () => {
  /** A service that is away until it is told otherwise; keeps what it was sent. */
  function fakeService() {
    const posts: { flag: string; key: string | undefined; count: number }[] = [];
    let answer: () => void = () => undefined;
    const service: Pick<FlagServiceClient, 'postOutcomes'> = {
      postOutcomes: (flag: string, { outcomes, environment = '' }: NewOutcomes, { idempotencyKey } = {}) => {
        posts.push({ flag, key: idempotencyKey, count: outcomes.length });
        try {
          answer();
        } catch (error) {
          return Promise.reject(error as Error);
        }
        return Promise.resolve({ flag, environment, accepted: outcomes.length });
      },
    };
    return {
      posts,
      service,
      answers: (how: () => void) => {
        answer = how;
      },
    };
  }
  const unreachable = (): never => {
    throw new FlagServiceError('unreachable', 'The flag service does not answer.', { status: null });
  };
  const refused = (): never => {
    throw new FlagServiceError('forbidden', 'ci may not report outcomes in production.', { status: 403 });
  };
  const quiet = { logger: silentLogger, flushMs: 60_000 };

  it('posts what it was told, in batches', async () => {
    const { url } = await serveFlags([FLAG]);
    const service = new FlagServiceClient({ url });
    const reporter = new OutcomeReporter({ service, environment: 'staging', ...quiet });

    for (let at = 0; at < 1_500; at += 1) reporter.report('f', { userId: 'in', ok: at % 2 === 0, latencyMs: 3 });
    reporter.report('f', { variant: 'off', ok: true });
    await reporter.close();

    expect(await service.outcomes('f', { environment: 'staging' })).toMatchObject({
      enabled: { total: 1_500, failed: 750 },
      disabled: { total: 1 },
    });
    expect(reporter.lost).toBe(0);
  });

  it('sends what was not answered again under its key, with nothing added to it', async () => {
    const { service, posts, answers } = fakeService();
    const reporter = new OutcomeReporter({ service, ...quiet });
    answers(unreachable);

    reporter.report('f', { userId: 'u', ok: true });
    await reporter.flush();
    reporter.report('f', { userId: 'u', ok: true });
    answers(() => undefined);
    await reporter.flush();

    expect(posts.map(({ count }) => count)).toEqual([1, 1, 1]);
    expect(posts[1]?.key).toBe(posts[0]?.key);
    expect(posts[2]?.key).not.toBe(posts[0]?.key);
    await reporter.close();
    expect(reporter.lost).toBe(0);
    expect(posts).toHaveLength(3);
  });

  it('counts and logs what is lost: refused, too much, too old, not valid, and left at the end', async () => {
    const { service, answers } = fakeService();
    const logger = recordingLogger();
    let now = 0;
    const reporter = new OutcomeReporter({ service, logger, flushMs: 60_000, maxBuffered: 3, now: () => now });

    answers(refused);
    reporter.report('f', { userId: 'u', ok: true });
    await reporter.flush();
    expect(reporter.lost).toBe(1);

    answers(unreachable);
    for (let at = 0; at < 4; at += 1) reporter.report('f', { userId: 'u', ok: true });
    expect(reporter.lost).toBe(2);
    now = 60_000;
    await reporter.flush();
    expect(reporter.lost).toBe(5);

    reporter.report('f', { ok: true });
    reporter.report('f', { userId: '', ok: true });
    expect(reporter.lost).toBe(7);
    reporter.report('f', { userId: 'u', ok: true });
    await reporter.close();
    expect(reporter.lost).toBe(8);
    expect(logger.lines.filter(({ message }) => message === 'outcomes were lost')[0]?.data).toEqual({
      why: 'ci may not report outcomes in production.',
      lost: 1,
    });
  });
});

describeWithRedis('outcomes in Redis', (redis) => {
  it('are one count, whichever service they were posted to', async () => {
    const [one, other] = [await openStore(redis().url), await openStore(redis().url)];
    const first = await serveFlags([{ ...FLAG, name: 'shared' }], { store: one });
    const second = await serveFlags([], { store: other });
    const [here, there] = [first, second].map(({ url }) => new FlagServiceClient({ url }));
    if (here === undefined || there === undefined) throw new Error('two services were started');

    await here.postOutcomes('shared', { outcomes: [{ user_id: 'in', ok: true }] });
    await there.postOutcomes('shared', { outcomes: [{ user_id: 'in', ok: false }] }, { idempotencyKey: 'k' });
    await here.postOutcomes('shared', { outcomes: [{ user_id: 'in', ok: false }] }, { idempotencyKey: 'k' });

    const seen = await here.outcomes('shared');
    expect(seen).toMatchObject({ enabled: { total: 2, failed: 1 }, window: { enabled: { total: 2 } } });
    expect((await there.outcomes('shared')).counters).toBe(seen.counters);
  });
});
