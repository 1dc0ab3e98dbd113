import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { findTemporalCli } from '../../src/devserver/find-temporal';
import type { FindServerOptions } from '../../src/devserver/find-temporal';
import { downloadWithSdk } from '../../src/devserver/sdk-download';
import { shellScript, temporaryFolder } from './support';

const root = temporaryFolder();
const VERSION = 'temporal version 9.9.9 (Server 1.99.0, UI 2.99.0)';
const TEMPORAL = `echo '${VERSION}'`;
/** What the scripts below need; no Temporal and no Go among it. */
const SYSTEM = '/usr/bin:/bin';

let count = 0;
let place: string;
let progress: string[];

beforeEach(() => {
  count += 1;
  place = path.join(root, String(count));
  progress = [];
});

function options(more: Partial<FindServerOptions> = {}): FindServerOptions {
  return {
    onProgress: (line) => progress.push(line),
    allowDownload: false,
    cacheDir: path.join(place, 'cache'),
    env: { PATH: `${path.join(place, 'bin')}:${SYSTEM}` },
    ...more,
  };
}

/** A Go that puts a Temporal where it is told to, and counts how often. */
function fakeGo(version: string, install: string): void {
  shellScript(
    path.join(place, 'bin/go'),
    `case "$1" in
      version) echo "go version go${version} linux/amd64" ;;
      install) echo "$GOTOOLCHAIN $*" >>'${place}/installs'; ${install} ;;
    esac`,
  );
}

const INSTALLS = `echo 'go: downloading example.com/module v1.0.0' >&2; printf '#!/bin/sh\\n%s\\n' "${TEMPORAL}" >"$GOBIN/temporal"; chmod +x "$GOBIN/temporal"`;

describe('findTemporalCli', () => {
  it('takes the one that SLUICE_TEMPORAL_CLI names', async () => {
    const file = shellScript(path.join(place, 'somewhere/my-temporal'), TEMPORAL);

    const found = await findTemporalCli(options({ env: { SLUICE_TEMPORAL_CLI: file, PATH: SYSTEM } }));

    expect(found).toEqual({ path: file, version: VERSION, origin: 'env' });
    expect(progress).toEqual([]);
  });

  it('says so when the one that SLUICE_TEMPORAL_CLI names does not run, and takes no other', async () => {
    shellScript(path.join(place, 'bin/temporal'), TEMPORAL);
    const env = { ...options().env, SLUICE_TEMPORAL_CLI: '/nowhere/temporal' };

    await expect(findTemporalCli(options({ env }))).rejects.toMatchObject({
      code: 'usage',
      message: 'SLUICE_TEMPORAL_CLI names /nowhere/temporal, which is not a Temporal CLI that runs.',
      hint: expect.stringContaining('unset it') as string,
    });
  });

  it('takes the one on the PATH', async () => {
    const file = shellScript(path.join(place, 'bin/temporal'), TEMPORAL);

    expect(await findTemporalCli(options())).toEqual({ path: file, version: VERSION, origin: 'path' });
  });

  it.each([
    ['fails', 'exit 1'],
    ['is another program of that name', 'echo temporal-tables 1.0'],
  ])('passes over one on the PATH that %s, for the one in the cache', async (_what, body) => {
    shellScript(path.join(place, 'bin/temporal'), body);
    const file = shellScript(path.join(place, 'cache/temporal/1.5.1/temporal'), TEMPORAL);

    expect(await findTemporalCli(options())).toEqual({ path: file, version: VERSION, origin: 'cache' });
  });

  it('builds it with Go, keeps it in the cache, and says what it does', async () => {
    fakeGo('1.26.1', INSTALLS);

    const built = await findTemporalCli(options());
    const again = await findTemporalCli(options());

    const file = path.join(place, 'cache/temporal/1.5.1/temporal');
    expect(built).toEqual({ path: file, version: VERSION, origin: 'build' });
    expect(again).toEqual({ path: file, version: VERSION, origin: 'cache' });
    expect(progress.join('\n')).toContain('building the Temporal dev server 1.5.1 from the Go module proxy');
    expect(readdirSync(path.join(place, 'cache/temporal'))).toEqual(['1.5.1']);
  });

  it('lets an older Go fetch the one that is needed', async () => {
    fakeGo('1.22.3', INSTALLS);

    await findTemporalCli(options());

    expect(readFileSync(path.join(place, 'installs'), 'utf8')).toMatch(/^auto install .*cmd\/temporal@v1\.5\.1\n$/);
  });

  it('builds once when two ask at the same time', async () => {
    fakeGo('1.26.1', INSTALLS);

    const found = await Promise.all([findTemporalCli(options()), findTemporalCli(options())]);

    expect(found.map((binary) => binary.origin).sort()).toEqual(['build', 'cache']);
    expect(readFileSync(path.join(place, 'installs'), 'utf8').trim().split('\n')).toHaveLength(1);
  });

  it('says in one sentence what was tried and what to do when a build fails, and leaves no half of it', async () => {
    fakeGo('1.26.1', 'echo "go: example.com/module@v1: dial tcp: no route to host" >&2; exit 1');

    await expect(findTemporalCli(options())).rejects.toMatchObject({
      code: 'unsupported',
      message:
        "Temporal's dev server cannot be had: none is on the PATH; none is in the cache; the download was not " +
        'allowed; the build: go install failed (go: example.com/module@v1: dial tcp: no route to host).',
      hint: expect.stringContaining('Install the Temporal CLI') as string,
    });
    expect(existsSync(path.join(place, 'cache/temporal/1.5.1'))).toBe(false);
    expect(existsSync(path.join(place, 'cache/temporal/1.5.1.new'))).toBe(false);
  });

  it('says so when what was built does not run', async () => {
    fakeGo('1.26.1', `printf '#!/bin/sh\\nexit 1\\n' >"$GOBIN/temporal"; chmod +x "$GOBIN/temporal"`);

    await expect(findTemporalCli(options())).rejects.toThrow('what the build gave does not run on this machine');
  });

  it('tries nothing that is not allowed', async () => {
    fakeGo('1.26.1', INSTALLS);

    await expect(findTemporalCli(options({ allowBuild: false }))).rejects.toThrow(
      'the download was not allowed; the build was not allowed',
    );
  });
});

describe('downloadWithSdk', () => {
  it('fails at once, with the reason, when the network refuses', async () => {
    const into = path.join(place, 'sdk');
    // Port 9 of the loopback interface is nobody's: every request is refused, with or without a network.
    const env = { ...process.env, HTTPS_PROXY: 'http://127.0.0.1:9', https_proxy: 'http://127.0.0.1:9', NO_PROXY: '' };

    await expect(downloadWithSdk({ server: 'dev-server', into, env, onProgress: () => {} })).rejects.toThrow(
      /refused|tunnel|proxy/i,
    );
  });
});
