import { execFile } from 'node:child_process';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { devStateDirectory, findDev, removeDevConnection, writeDevConnection } from '../../src/cli/dev-state';
import { resolveConnection } from '../../src/cli/connection';
import { ReleaseError } from '../../src/errors';
import type { ReleaseErrorCode } from '../../src/errors';
import { FakeSluice } from './fake-client';
import { run } from './harness';
import { aStatus } from './statuses';

const COMMANDS =
  'deploy status watch wait list history explain approve reject pause resume promote rollback traffic skip-soak plan validate schema monitor worker dev doctor demo version completion'.split(
    ' ',
  );

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'sluice-cli-'));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

describe('sluice', () => {
  it('lists every command, examples first', async () => {
    const ran = await run(['--help']);

    expect(ran.code).toBe(0);
    expect(ran.out.startsWith('Examples:')).toBe(true);
    for (const command of COMMANDS) expect(ran.out).toMatch(new RegExp(`^ +${command}\\b`, 'mu'));
  });

  it.each(COMMANDS)('%s has help with examples', async (command) => {
    const ran = await run([command, '--help']);
    const same = await run(['help', command]);

    expect(ran.code).toBe(0);
    expect(ran.out).toMatch(new RegExp(`^Examples:\\n +.*sluice ${command}`, 'u'));
    expect(same.out).toBe(ran.out);
  });

  it('explains its exit codes', async () => {
    const ran = await run(['help', 'exit-codes']);

    expect(ran.code).toBe(0);
    for (const code of [0, 1, 2, 3, 4, 5, 8, 124, 130]) expect(ran.out).toMatch(new RegExp(`^ *${code}  `, 'mu'));
  });

  it('prints its version', async () => {
    expect((await run(['--version'])).out).toBe('1.2.3\n');
    expect((await run(['version'])).out).toBe('sluice 1.2.3\n');
    expect(JSON.parse((await run(['version', '--json'])).out)).toMatchObject({ kind: 'Version', version: '1.2.3' });
  });

  it.each([
    [['depoly'], 'Did you mean deploy?'],
    [['status', 'x', '--jsno'], 'Did you mean --json?'],
    [['help', 'nothing'], "There is no command 'nothing'."],
  ])('%j is wrong usage, with what is near', async (args, text) => {
    const ran = await run(args);

    expect(ran.code).toBe(2);
    expect(ran.err).toContain(text);
  });

  it('answers a group without a command with its help alone', async () => {
    const ran = await run(['flag']);

    expect(ran.code).toBe(2);
    expect(ran.out).toBe('');
    expect(ran.err).toMatch(/^Usage: sluice flag /);
    expect(ran.err).not.toMatch(/Error|outputHelp/);
  });

  it('answers wrong usage in JSON where JSON was asked for', async () => {
    const ran = await run(['watch', '--json']);

    expect(ran.code).toBe(2);
    expect(JSON.parse(ran.out)).toEqual({
      apiVersion: 'sluice.dev/v1',
      kind: 'Error',
      error: {
        code: 'usage',
        message: "Missing required argument 'service'.",
        hint: 'Usage: sluice watch [options] <service>\nExamples: sluice watch --help',
      },
    });
  });

  it('without a command prints its help as an error', async () => {
    expect(await run([])).toMatchObject({ code: 2, out: '' });
  });

  it('shows the stack of a defect, and only of one', async () => {
    const broken = new FakeSluice(aStatus());
    broken.status = () => Promise.reject(new TypeError('x is not a function'));

    const ran = await run(['status', 'checkout', '--json'], { client: broken });

    expect(ran.code).toBe(1);
    expect(ran.err).toContain('a defect in Sluice: TypeError: x is not a function');
    expect(JSON.parse(ran.out)).toMatchObject({ error: { code: 'internal' } });
  });

  it.each(['bash', 'zsh', 'fish'])('completes in %s', async (shell) => {
    const ran = await run(['completion', shell]);

    expect(ran.code).toBe(0);
    expect(ran.out).toContain('rollback');
    expect(ran.out).toContain('on-conflict');
  });

  it('bash takes the completion script', async () => {
    const file = path.join(directory, 'completion.bash');
    await writeFile(file, (await run(['completion', 'bash'])).out);

    const script = `source ${file}; COMP_WORDS=(sluice rollb); COMP_CWORD=1; _sluice; echo "\${COMPREPLY[@]}"`;
    const { stdout } = await promisify(execFile)('bash', ['-c', script]);

    expect(stdout).toBe('rollback\n');
    expect((await run(['completion', 'tcsh'])).code).toBe(2);
  });

  it('loads no Temporal for help and validation', async () => {
    const heavy = ['@temporalio/client', '@temporalio/worker', '@temporalio/envconfig', '@slack/web-api'];
    for (const name of heavy) {
      jest.doMock(name, () => {
        throw new Error(`${name} was loaded`);
      });
    }
    const file = path.join(directory, 'odd.yaml');
    await writeFile(file, 'kind: Release\n');
    try {
      await jest.isolateModulesAsync(async () => {
        const isolated = jest.requireActual<{ run: typeof run }>('./harness');

        expect((await isolated.run(['--help'])).code).toBe(0);
        expect((await isolated.run(['validate', file])).code).toBe(2);
        expect((await isolated.run(['list', '--address', '127.0.0.1:1'])).err).toContain('was loaded');
      });
    } finally {
      for (const name of heavy) jest.dontMock(name);
    }
  });
});

describe('a Temporal that is not there', () => {
  /** A port that was free a moment ago. */
  async function closedPort(): Promise<number> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }

  it.each([[['list']], [['status', 'checkout']], [['rollback', 'checkout', '--yes']], [['doctor']]])(
    '%j names the address and what to do, without a stack',
    async (args) => {
      const address = `127.0.0.1:${await closedPort()}`;

      const ran = await run(args, { env: { TEMPORAL_ADDRESS: address } });

      expect(ran.code).toBe(1);
      expect(`${ran.out}${ran.err}`).toContain(`Temporal does not answer at ${address}`);
      expect(`${ran.out}${ran.err}`).toContain('sluice dev');
      expect(`${ran.out}${ran.err}`).not.toMatch(/^\s+at /mu);
    },
  );

  it.each([
    [
      ['rollback', 'shop/checkout', '--yes'],
      'On Kubernetes it is rolled back without Temporal by `sluice rollback shop/checkout --direct --yes`; more ways: docs/runbooks/roll-back-by-hand.md.',
    ],
    [['status', 'shop/checkout'], 'What there is now is shown without Temporal by its spec: -f release.yaml.'],
  ])('leaves %j a way without it, said first', async (args, way) => {
    const ran = await run(args, { env: { TEMPORAL_ADDRESS: `127.0.0.1:${await closedPort()}` } });

    const [, first, second] = ran.err.split('\n');
    expect(first).toBe(`       ${way}`);
    expect(second).toContain('sluice dev');
  });

  it.each<[ReleaseErrorCode, boolean]>([
    ['no-worker', true],
    ['timeout', true],
    ['conflict', false],
  ])('shows the way without it also where nobody carries out what it stores: %s %p', async (code, shown) => {
    const connect = (): Promise<never> => Promise.reject(new ReleaseError(code, 'So it is.', { hint: 'Mend it.' }));

    const ran = await run(['rollback', 'checkout', '--yes'], { override: { connect } });

    expect(ran.err.includes('`sluice rollback checkout --direct --yes`')).toBe(shown);
    expect(ran.err).toContain('Mend it.');
  });

  it('is an error document in JSON', async () => {
    const ran = await run(['list', '--json', '--address', `127.0.0.1:${await closedPort()}`]);

    expect(JSON.parse(ran.out)).toMatchObject({ kind: 'Error', error: { code: 'unreachable' } });
  });
});

describe('where Temporal is', () => {
  it('is said by flags, then settings, then sluice dev, then nobody', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const env = { XDG_STATE_HOME: directory, HOME: directory };
    const dev = {
      pid: process.pid,
      address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
      namespace: 'default',
      uiUrl: null,
      startedAt: 1,
    };
    const config = path.join(directory, 'temporal.toml');
    await writeFile(config, '[profile.prod]\naddress = "temporal.example:7233"\n');
    try {
      expect(await resolveConnection({}, env)).toEqual({ origin: 'default' });

      await writeDevConnection(env, dev);
      expect(await findDev(env)).toEqual(dev);
      expect(await resolveConnection({}, env)).toEqual({ address: dev.address, namespace: 'default', origin: 'dev' });
      expect(await resolveConnection({ namespace: 'mine' }, env)).toMatchObject({ namespace: 'mine', origin: 'dev' });
      expect(await resolveConnection({}, { ...env, TEMPORAL_ADDRESS: 'a:1' })).toEqual({ origin: 'settings' });
      expect(await resolveConnection({ profile: 'prod' }, { ...env, TEMPORAL_CONFIG_FILE: config })).toEqual({
        profile: 'prod',
        origin: 'settings',
      });
      expect(await resolveConnection({ address: 'b:2' }, { ...env, TEMPORAL_ADDRESS: 'a:1' })).toEqual({
        address: 'b:2',
        origin: 'flags',
      });
      await expect(
        resolveConnection({ profile: 'none' }, { ...env, TEMPORAL_CONFIG_FILE: config }),
      ).rejects.toMatchObject({
        code: 'usage',
      });

      const second = await run(['dev'], { env });
      expect(second.code).toBe(1);
      expect(second.err).toContain(`\`sluice dev\` is running already (process ${process.pid}`);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }

    // Its process lives (it is this one), but nothing answers there any more.
    expect(await findDev(env)).toBeNull();
    await removeDevConnection(env, process.pid + 1);
    await expect(readFile(path.join(devStateDirectory(env), 'connection.json'), 'utf8')).resolves.toContain('address');
    await removeDevConnection(env, process.pid);
    await expect(readFile(path.join(devStateDirectory(env), 'connection.json'))).rejects.toThrow('ENOENT');
  });
});
