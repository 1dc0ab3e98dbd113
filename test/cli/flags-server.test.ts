import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, start } from './harness';

describe('sluice flags-server', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'sluice-flags-cli-'));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  it('answers until it is told to stop, and keeps its flags in the file', async () => {
    const args = ['flags-server', '--port', '0', '--file', join(directory, 'deep', 'flags.db')];
    const first = start(args);
    const url = await urlOf(first);
    const created = await fetch(`${url}/api/feature-flags`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'f', enabled: true }),
    });
    expect(created.status).toBe(201);
    first.interrupt('SIGTERM');
    const ran = await first.ended;
    expect(ran).toMatchObject({ code: 0, out: '' });
    expect(ran.err).toContain('no API key is configured: anybody on this machine may change flags');

    const second = start(args);
    const again = await fetch(`${await urlOf(second)}/api/feature-flags/f`);
    second.interrupt('SIGINT');

    expect(again.status).toBe(200);
    expect((await second.ended).code).toBe(0);
  });

  it('takes keys from the environment and from a file', async () => {
    const keys = join(directory, 'keys.json');
    writeFileSync(keys, JSON.stringify({ keys: [{ id: 'ci', sha256: 'a'.repeat(64), grants: ['read:*'] }] }));
    const running = start(['flags-server', '--port', '0', '--store', 'memory', '--keys', keys], {
      env: { SLUICE_API_KEY: 'a-key-of-this-test-alone' },
    });
    const url = await urlOf(running);

    const without = await fetch(`${url}/api/feature-flags`);
    const key = { headers: { 'x-api-key': 'a-key-of-this-test-alone' } };
    const withKey = await fetch(`${url}/api/feature-flags`, key);

    expect([without.status, withKey.status]).toEqual([401, 200]);
    running.interrupt('SIGTERM');
    const { err } = await running.ended;
    expect(err).not.toContain('a-key-of-this-test-alone');
  });

  it.each([
    [['--host', '0.0.0.0'], /Without a key the flag service listens on loopback only/],
    [['--store', 'etcd'], /Allowed choices are memory, sqlite, redis/],
    [['--port', 'x'], /--port is "x", which is no port/],
    [['--environment', 'a b'], /--environment is "a b", which is no name/],
    [['--file', 'x.db'], /--file is the file of --store sqlite/],
    [['--jwks-url', 'https://id.example/jwks'], /all three are needed/],
    [['--cors-origin', 'app.example'], /--cors-origin is "app.example", which is no origin of a page/],
    [['--cors-origin', 'https://app.example/'], /"https:\/\/app.example\/", which is no origin of a page/],
    [['--cors-origin', 'https://app.example', 'https://App.example:443'], /"https:\/\/App.example:443"/],
    [['--keys', '/does/not/exist'], /The keys in \/does\/not\/exist cannot be read/],
  ])('refuses %j with a sentence', async (args, sentence) => {
    const ran = await run(['flags-server', ...(args[0] === '--store' ? [] : ['--store', 'memory']), ...args]);

    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(sentence);
  });

  it('refuses a key that is there twice', async () => {
    const keys = join(directory, 'keys.json');
    const entry = (id: string, grant: string) => ({ id, sha256: 'a'.repeat(64), grants: [grant] });
    writeFileSync(keys, JSON.stringify({ keys: [entry('ci', 'admin:*'), entry('shop', 'read:*')] }));

    const ran = await run(['flags-server', '--store', 'memory', '--port', '0', '--keys', keys]);

    expect(ran.code).toBe(2);
    expect(ran.err).toContain('/keys/1/sha256: this is the key of ci, too; give each its own.');
  });

  it('refuses an address that is no Redis', async () => {
    const ran = await run(['flags-server', '--store', 'redis'], { env: { SLUICE_REDIS_URL: 'http://user:secret@x' } });

    expect(ran.code).toBe(2);
    expect(ran.err).toContain('SLUICE_REDIS_URL is no address of a Redis');
    expect(ran.err).not.toContain('secret');
  });
});

async function urlOf(running: ReturnType<typeof start>): Promise<string> {
  await running.wrote('Ctrl-C stops it');
  return /answers at (\S+),/.exec(running.written().err)?.[1] ?? '';
}
