import { ReleaseError } from '../../src/errors';
import { FakeSluice } from './fake-client';
import { run, start } from './harness';
import { aStatus } from './statuses';

describe('sluice server', () => {
  it('answers releases and flags until it is told to stop', async () => {
    const client = new FakeSluice(aStatus());
    const running = start(['server', '--port', '0', '--store', 'memory'], { client });
    const url = await urlOf(running);

    const release = await fetch(`${url}/api/releases/shop/checkout`);
    const flags = await fetch(`${url}/api/feature-flags`);
    running.interrupt('SIGTERM');
    const ran = await running.ended;

    expect([release.status, flags.status]).toEqual([200, 200]);
    expect(ran).toMatchObject({ code: 0, out: '' });
    expect(ran.err).toContain('no API key is configured: anybody on this machine may change flags and releases');
    expect(ran.err).toContain('Temporal is reachable');
    expect(client.closed).toBe(true);
  });

  it('starts while Temporal is away, and asks for it where the options say', async () => {
    const asked: unknown[] = [];
    const connect = (choice: unknown): Promise<never> => {
      asked.push(choice);
      return Promise.reject(new ReleaseError('unreachable', 'Temporal does not answer at 127.0.0.1:1.'));
    };
    const running = start(
      ['server', '--port', '0', '--store', 'memory', '--address', '127.0.0.1:1', '--temporal-namespace', 'releases'],
      { override: { connect }, env: { SLUICE_API_KEY: 'a-key-of-this-test-alone' } },
    );
    const url = await urlOf(running);

    const headers = { 'x-api-key': 'a-key-of-this-test-alone' };
    const release = await fetch(`${url}/api/releases/shop/checkout`, { headers });
    const flags = await fetch(`${url}/api/feature-flags`, { headers });
    const nobody = await fetch(`${url}/api/releases`);
    running.interrupt('SIGINT');
    const ran = await running.ended;

    expect([release.status, flags.status, nobody.status]).toEqual([503, 200, 401]);
    expect(asked[0]).toEqual({ address: '127.0.0.1:1', namespace: 'releases' });
    expect(ran.code).toBe(0);
    expect(ran.err).toContain('Temporal is away');
    expect(ran.err).not.toContain('a-key-of-this-test-alone');
  });

  it('writes the audit as a line of JSON, if asked to', async () => {
    const running = start(['server', '--port', '0', '--store', 'memory', '--log-format', 'json'], {
      client: new FakeSluice(aStatus()),
    });
    const url = await urlOf(running);

    await fetch(`${url}/api/releases/shop/checkout/pause`, { method: 'POST' });
    await running.wrote('"audit":true');
    running.interrupt('SIGTERM');
    const { err } = await running.ended;

    const line = err.split('\n').find((one) => one.includes('"audit":true')) ?? '';
    expect(JSON.parse(line)).toMatchObject({
      ...{ msg: 'a change was made', actor: 'anonymous', action: 'pauseRelease', result: 'done' },
      ...{ namespace: 'shop', service: 'checkout', time: expect.any(Number) },
    });
  });

  it.each([
    [['--host', '0.0.0.0'], /Without a key the server listens on loopback only/],
    [['--port', 'x'], /--port is "x", which is no port/],
    [['--keys', '/does/not/exist'], /The keys in \/does\/not\/exist cannot be read/],
  ])('refuses %j with a sentence', async (args, sentence) => {
    const ran = await run(['server', '--store', 'memory', ...args], { client: new FakeSluice() });

    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(sentence);
  });
});

async function urlOf(running: ReturnType<typeof start>): Promise<string> {
  await running.wrote('Ctrl-C stops it');
  return /answers at (\S+):/.exec(running.written().err)?.[1] ?? '';
}
