import { connect } from '../../src/client/connect';
import type { FlagsServer } from '../../src/flags/server/flags-server';
import { openServer } from '../../src/server/open-server';
import { send, silentLogger, until } from '../flags/support';
import { readEvents } from '../server/event-reader';
import { startLoad, startShop } from './shop';
import type { Load, Shop } from './shop';
import { startStack } from './stack';
import type { Stack } from './stack';

// Real servers on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(150_000);

const KEY = 'the-key-of-this-test-alone';
const AUTH = { authorization: `Bearer ${KEY}` };
const SERVICE = '/api/releases/test/till';

describe('releases over HTTP on a real Temporal', () => {
  let stack: Stack;
  let shops: Shop[] = [];
  let load: Load;
  let server: FlagsServer;
  beforeAll(async () => {
    stack = await startStack();
    await stack.startWorker();
    shops = await Promise.all([startShop(), startShop()]);
    load = startLoad(shops.map(({ url }) => url));
    server = await openServer({
      store: 'memory',
      port: 0,
      env: { SLUICE_API_KEY: KEY },
      version: '0',
      logger: silentLogger,
      connect: () => connect({ address: stack.temporal.address, namespace: 'default', timeoutMs: 5_000 }),
    });
  });
  afterAll(async () => {
    await server.close();
    await load.stop();
    for (const shop of shops) await shop.stop();
    await stack.stop();
  });

  const ask = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    send(`${server.url}${path}`, method, { body, headers: { ...AUTH, ...headers } });
  const phase = async (): Promise<unknown> => ((await ask('GET', SERVICE)).body as { phase: unknown }).phase;
  const spec = () => `
apiVersion: sluice.dev/v1
kind: Release
metadata: { name: till, namespace: test }
spec:
  target: { router: { instances: [${shops.map(({ url }) => url).join(', ')}] } }
  smokeTest: { path: /healthz }
  steps:
    - { weight: 25, soak: 2s }
    - approve: { timeout: 10m }
    - { weight: 100, soak: 10m }
  analysis: { interval: 1s, minRequests: 1, metrics: [{ name: error-rate, max: 20% }] }
`;

  it('starts, approves and takes back a release, whose events are taken up again where they were left', async () => {
    await until(async () => JSON.stringify((await ask('GET', '/readyz')).body).includes('"workers":1'));
    const start = () =>
      ask('POST', '/api/releases?version=v2&reason=the%20new%20till', spec(), {
        'content-type': 'application/yaml',
        'idempotency-key': 'start-1',
      });
    const [started, repeated] = await Promise.all([start(), start()]);
    expect(started).toMatchObject({ status: 201, body: { state: 'started', version: 'v2' } });
    expect(repeated).toMatchObject({ status: 201, body: started.body });
    expect(await start()).toMatchObject({ status: 201, body: started.body });
    const { release } = started.body as { release: string };

    const first = await readEvents(`${server.url}${SERVICE}/events`, AUTH);
    await until(async () => (await phase()) === 'awaitingApproval', 60_000);
    expect((await ask('GET', '/api/releases?open=true&namespace=test')).body).toMatchObject({ items: [{ release }] });
    expect(await ask('POST', '/api/releases', { spec: spec(), version: 'v3' })).toMatchObject({
      status: 409,
      body: { code: 'conflict' },
    });
    first.close();

    const key = { 'idempotency-key': 'approve-1' };
    const approved = await ask('POST', `${SERVICE}/approve`, { reason: 'looks good', release }, key);
    expect(approved).toMatchObject({ status: 200, body: { kind: 'MessageAck', release } });
    // A repeat is the same approval; another one finds none that waits.
    expect(await ask('POST', `${SERVICE}/approve`, { reason: 'looks good', release }, key)).toEqual({
      ...approved,
      headers: expect.anything(),
    });
    expect((await ask('POST', `${SERVICE}/approve`, { release })).status).toBe(409);

    const second = await readEvents(`${server.url}${SERVICE}/events`, {
      ...AUTH,
      'last-event-id': first.lastEventId(),
    });
    await until(() => shops.every((shop) => shop.router.snapshot().weight === 100), 60_000);
    expect((await ask('PUT', `${SERVICE}/weight`, { weight: 40 })).status).toBe(200);
    await until(() => shops.every((shop) => shop.router.snapshot().weight === 40), 60_000);
    await until(async () => (await phase()) === 'paused', 60_000);

    expect((await ask('POST', `${SERVICE}/rollback`, { reason: 'till 500s', release })).status).toBe(200);
    await second.ended;

    const history = (await ask('GET', `${SERVICE}/history`)).body as {
      items: { seq: number; type: string; actor: object }[];
    };
    expect([...first.story(), ...second.story()]).toEqual(history.items.map(({ seq }) => seq));
    expect(second.events.at(-1)).toMatchObject({ event: 'status', data: { outcome: 'aborted', weight: 0 } });
    const byPeople = history.items.filter(({ actor }) => (actor as { via: string }).via === 'server');
    expect(byPeople.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['started', 'approved', 'weightRequested', 'rollbackRequested']),
    );
    for (const { actor } of byPeople) expect(actor).toMatchObject({ name: 'SLUICE_API_KEY' });
    expect(shops.map((shop) => shop.router.snapshot())).toEqual([
      expect.objectContaining({ stableVersion: 'v1', canaryVersion: null, weight: 0 }),
      expect.objectContaining({ stableVersion: 'v1', canaryVersion: null, weight: 0 }),
    ]);
    const place = { ...AUTH, 'last-event-id': second.lastEventId() };
    expect((await readEvents(`${server.url}${SERVICE}/events`, place)).status).toBe(204);
    expect(await ask('POST', `${SERVICE}/pause`)).toMatchObject({ status: 409, body: { code: 'conflict' } });
  });

  it('answers flags while Temporal is gone, and releases again when it is back', async () => {
    await ask('POST', '/api/feature-flags', { name: 'f', enabled: true });
    await stack.temporal.stop();

    expect(await ask('GET', SERVICE)).toMatchObject({ status: 503, body: { code: 'unreachable' } });
    await until(async () => JSON.stringify((await ask('GET', '/readyz')).body).includes('"state":"away"'), 60_000);
    expect((await ask('GET', '/readyz')).status).toBe(200);
    expect((await ask('POST', '/api/feature-flags/f/check', { user_id: 'u' })).body).toMatchObject({ enabled: true });

    await stack.restartTemporal();

    // The dev server kept nothing: a release is not found, and not unreachable.
    await until(async () => (await ask('GET', SERVICE)).status === 404, 60_000);
    await until(async () => JSON.stringify((await ask('GET', '/readyz')).body).includes('"reachable"'), 60_000);
  });
});
