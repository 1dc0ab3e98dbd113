import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryFlagStore } from '../../src/flags/memory-store';
import { StoreUnavailable } from '../../src/flags/store';
import { serveFlags, stopServers } from '../flags/serve';
import { FakeSluice } from './fake-client';
import { run } from './harness';

const ADMIN = 'the-admin-key-of-this-test';
const READER = 'a-key-that-only-reads';
const SPEC = `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: new-checkout, namespace: shop }
spec:
  target: { flag: { name: new-checkout, environment: production } }
  analysis: { source: { prometheus: { url: "http://127.0.0.1:9", labels: { flag: new-checkout } } } }
`;
const WRITER = 'a-key-of-one-environment';
const access = {
  adminKey: ADMIN,
  keys: {
    keys: [
      { id: 'reader', sha256: digestOf(READER), grants: ['read:*'] },
      { id: 'worker', sha256: digestOf(WRITER), grants: ['write:production', 'read:*'] },
    ],
  },
};

function digestOf(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}

/** A store that can be taken away. */
class BreakableStore extends MemoryFlagStore {
  broken = false;

  override list(page: Parameters<MemoryFlagStore['list']>[0]) {
    return this.broken ? Promise.reject(new StoreUnavailable('The store is away.')) : super.list(page);
  }
}

describe('sluice doctor, of a flag service', () => {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-doctor-flags-'));
  const spec = join(directory, 'release.yaml');
  writeFileSync(spec, SPEC);
  afterEach(stopServers);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const serve = (flag: Record<string, unknown>, store = new BreakableStore()) =>
    serveFlags([{ name: 'new-checkout', ...flag }], { access, store }, { authorization: `Bearer ${ADMIN}` });
  const doctor = async (url: string, key: string, ...args: string[]): Promise<string> => {
    const env = { SLUICE_FLAGS_URL: url, SLUICE_FLAGS_TOKEN: key };
    return (await run(['doctor', ...args], { client: new FakeSluice(), env })).out;
  };

  it('says that all is there', async () => {
    const { url } = await serve({ enabled: true, rollout_percentage: 0 });

    const out = await doctor(url, ADMIN, spec);

    expect(out).toContain('flag service: answers, and takes the key.');
    expect(out).toContain('SLUICE_FLAGS_TOKEN: SLUICE_API_KEY may admin:*.');
    expect(out).toContain('flag store: answers the flag service.');
    expect(out).toContain('flag new-checkout: is on, at 0 %.');
  });

  it('says what the key may not do, and that nothing is there to be released', async () => {
    const { url } = await serve({ enabled: false, environments: ['production'] });

    const off = await doctor(url, READER, spec);

    expect(off).toContain('SLUICE_FLAGS_TOKEN: reader may not write in production: read:*.');
    expect(off).toContain('flag new-checkout: is switched off, so a release of it is refused.');
    const elsewhere = await serve({ enabled: true, environments: ['staging'] });
    expect(await doctor(elsewhere.url, ADMIN, spec)).toContain(
      'is never on in production; its environments are staging.',
    );
    const empty = await serveFlags([], { access });
    expect(await doctor(empty.url, ADMIN, spec)).toContain('flag new-checkout: There is no flag new-checkout.');
  });

  it.each<[string, string[], string]>([
    ['everywhere', [], 'worker may not write in all environments, where the flag counts: write:production, read:*.'],
    ['in others, too', ['staging', 'production'], 'worker may not write in staging: write:production, read:*.'],
    ['there alone', ['production'], 'worker may write:production, read:*.'],
  ])('asks of the key all that a flag asks which counts %s', async (_, environments, sentence) => {
    const { url } = await serve({ enabled: true, environments });

    expect(await doctor(url, WRITER, spec)).toContain(`SLUICE_FLAGS_TOKEN: ${sentence}`);
  });

  it('says which part does not answer, also without a spec', async () => {
    const store = new BreakableStore();
    const { url } = await serve({ enabled: true }, store);
    store.broken = true;

    expect(await doctor(url, ADMIN)).toContain('flag store: The store is away.');
    const wrong = await doctor(url, 'a-wrong-key');
    expect(wrong).toContain('flag service: The API key or token is not known, or it has expired.');
    expect(wrong).not.toContain('a-wrong-key');
    expect(await doctor('http://127.0.0.1:1', ADMIN)).toMatch(/flag service: The flag service at .* does not answer/);
    const unset = await run(['doctor'], { client: new FakeSluice(), env: {} });
    expect(unset.out).not.toContain('flag service');
  });
});
