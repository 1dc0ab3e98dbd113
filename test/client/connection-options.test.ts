import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { resolveConnection } from '../../src/client/connection-options';
import type { ConnectionSettings, ResolvedConnection } from '../../src/client/connection-options';
import { ReleaseError } from '../../src/errors';

describe('where Temporal is and how to get in', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'sluice-config-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const write = async (name: string, text: string): Promise<string> => {
    const file = path.join(folder, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, text);
    return file;
  };
  const problemOf = (settings: ConnectionSettings): ReleaseError => {
    try {
      resolveConnection(settings);
    } catch (error) {
      if (error instanceof ReleaseError) return error;
      throw error;
    }
    throw new Error('no problem');
  };

  it('is this machine when nothing is said', () => {
    expect(resolveConnection({ env: {} })).toEqual({
      address: '127.0.0.1:7233',
      namespace: 'default',
      options: { address: '127.0.0.1:7233' },
    });
  });

  it('is what the environment says, and only the environment that was given', () => {
    process.env['TEMPORAL_ADDRESS'] = 'not-this-one:1';
    try {
      const env = { TEMPORAL_NAMESPACE: 'shop', TEMPORAL_API_KEY: '   ', TEMPORAL_PROFILE: '' };

      expect(resolveConnection({ env })).toMatchObject({ address: '127.0.0.1:7233', namespace: 'shop' });
      expect(resolveConnection({ env }).options).toEqual({ address: '127.0.0.1:7233' });
      expect(resolveConnection().address).toBe('not-this-one:1');
    } finally {
      delete process.env['TEMPORAL_ADDRESS'];
    }
  });

  it('is what is asked for before what the environment says', () => {
    const env = { TEMPORAL_ADDRESS: 'a:1', TEMPORAL_NAMESPACE: 'a' };

    expect(resolveConnection({ env, address: 'b:2', namespace: 'b' })).toMatchObject({
      address: 'b:2',
      namespace: 'b',
      options: { address: 'b:2' },
    });
  });

  it('speaks TLS with an API key, and sends headers', () => {
    const env = { TEMPORAL_API_KEY: 'a-secret', TEMPORAL_GRPC_META_TEAM: 'shop' };

    expect(resolveConnection({ env }).options).toEqual({
      address: '127.0.0.1:7233',
      apiKey: 'a-secret',
      tls: true,
      metadata: { team: 'shop' },
    });
  });

  it('speaks no TLS where it is switched off', () => {
    const env = { TEMPORAL_API_KEY: 'a-secret', TEMPORAL_TLS: 'false' };

    expect(resolveConnection({ env }).options.tls).toBe(false);
  });

  it('reads TLS files', async () => {
    const env = {
      TEMPORAL_TLS_CLIENT_CERT_PATH: await write('client.pem', 'CERT'),
      TEMPORAL_TLS_CLIENT_KEY_PATH: await write('client.key', 'KEY'),
      TEMPORAL_TLS_SERVER_CA_CERT_PATH: await write('ca.pem', 'CA'),
      TEMPORAL_TLS_SERVER_NAME: 'temporal.example',
    };

    const { tls } = resolveConnection({ env }).options;

    if (typeof tls !== 'object') throw new Error('no TLS settings');
    expect(tls.serverNameOverride).toBe('temporal.example');
    expect(text(tls.clientCertPair?.crt)).toBe('CERT');
    expect(text(tls.clientCertPair?.key)).toBe('KEY');
    expect(text(tls.serverRootCACertificate)).toBe('CA');
  });

  const TOML = `
[profile.default]
address = "from-default:7233"
[profile.prod]
address = "prod.example:7233"
namespace = "prod-ns"
api_key = "from-the-file"
`;

  it.each<[string, () => Promise<ConnectionSettings>, Partial<ResolvedConnection>]>([
    [
      'the default profile of a named file',
      async () => ({ env: { TEMPORAL_CONFIG_FILE: await write('temporal.toml', TOML) } }),
      { address: 'from-default:7233', namespace: 'default' },
    ],
    [
      'a profile by the environment',
      async () => ({
        env: { TEMPORAL_CONFIG_FILE: await write('temporal.toml', TOML), TEMPORAL_PROFILE: 'prod' },
      }),
      { address: 'prod.example:7233', namespace: 'prod-ns' },
    ],
    [
      'a profile that is asked for, with single values overridden',
      async () => ({
        env: { TEMPORAL_CONFIG_FILE: await write('temporal.toml', TOML), TEMPORAL_NAMESPACE: 'mine' },
        profile: 'prod',
      }),
      { address: 'prod.example:7233', namespace: 'mine' },
    ],
    [
      "the file at its usual place in the user's folder",
      async () => {
        const place = process.platform === 'darwin' ? 'home/Library/Application Support' : 'home/.config';
        await write(`${place}/temporalio/temporal.toml`, TOML);
        return { env: { HOME: path.join(folder, 'home') } };
      },
      { address: 'from-default:7233' },
    ],
  ])('reads %s', async (_, settings, expected) => {
    expect(resolveConnection(await settings())).toMatchObject(expected);
  });

  it.each<[string, () => Promise<ConnectionSettings>, RegExp]>([
    [
      'an unknown profile',
      async () => ({ env: { TEMPORAL_CONFIG_FILE: await write('temporal.toml', TOML) }, profile: 'staging' }),
      /Profile 'staging' not found/,
    ],
    [
      'a file that is not there',
      async () => ({ env: { TEMPORAL_CONFIG_FILE: path.join(folder, 'nowhere.toml') } }),
      /TEMPORAL_CONFIG_FILE names .*nowhere\.toml, which is not there\./,
    ],
    [
      'a file that is no TOML',
      async () => ({ env: { TEMPORAL_CONFIG_FILE: await write('broken.toml', 'address = = "x"\napi_key = "hush"') } }),
      /Invalid TOML/,
    ],
    [
      'a file without profiles',
      async () => ({ env: { TEMPORAL_CONFIG_FILE: await write('empty.toml', 'address = "x:1"') } }),
      /has no table \[profile\.…\]/,
    ],
    [
      'a TLS file that is not there',
      async () => ({ env: { TEMPORAL_TLS_SERVER_CA_CERT_PATH: path.join(folder, 'no-ca.pem') } }),
      /no-ca\.pem/,
    ],
    [
      'a certificate without its key',
      async () => ({ env: { TEMPORAL_TLS_CLIENT_CERT_PATH: await write('client.pem', 'CERT') } }),
      /the client's TLS key is missing/,
    ],
  ])('says what is wrong with %s', async (_, settings, message) => {
    const problem = problemOf(await settings());

    expect(problem.code).toBe('usage');
    expect(problem.message).toMatch(/^The connection to Temporal is not configured right: .*\.$/);
    expect(problem.message).toMatch(message);
    expect(problem.message).not.toContain('hush');
    expect(problem.hint).toContain('TEMPORAL_CONFIG_FILE');
  });
});

function text(bytes: Uint8Array | string | null | undefined): string {
  return Buffer.from(bytes ?? '').toString('utf8');
}
