import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { FindServerOptions } from '../../src/devserver/find-temporal';
import { findTestServer } from '../../src/devserver/find-test-server';
import { runCommand } from '../../src/devserver/run-command';
import { shellScript, temporaryFolder } from './support';

const root = temporaryFolder();
let count = 0;
let place: string;

beforeEach(() => {
  count += 1;
  place = path.join(root, String(count));
});

/** A PATH with nothing on it but what a test puts into `bin` and the few tools that its scripts call. */
function options(more: Partial<FindServerOptions> = {}): FindServerOptions {
  for (const tool of ['dirname', 'mkdir', 'cat']) {
    shellScript(path.join(place, 'bin', tool), `PATH=/usr/bin:/bin exec ${tool} "$@"`);
  }
  return {
    onProgress: () => {},
    allowDownload: false,
    cacheDir: path.join(place, 'cache'),
    env: { PATH: path.join(place, 'bin') },
    ...more,
  };
}

function fakeJava(): void {
  shellScript(path.join(place, 'bin/java'), 'echo "java $*"');
}

function fakeMaven(body: string): void {
  shellScript(path.join(place, 'bin/mvn'), body);
}

const COPIES = `for argument; do case "$argument" in -DoutputDirectory=*) target="\${argument#*=}" ;; esac; done
  cat pom.xml >"$target/temporal-test-server-1.jar"`;

describe('findTestServer', () => {
  it('takes the one that SLUICE_TEMPORAL_TEST_SERVER names', async () => {
    const file = shellScript(path.join(place, 'server'), 'true');

    const found = await findTestServer(options({ env: { SLUICE_TEMPORAL_TEST_SERVER: file } }));

    expect(found).toEqual({ path: file, origin: 'env' });
  });

  it('says so when the one that SLUICE_TEMPORAL_TEST_SERVER names is none', async () => {
    await expect(
      findTestServer(options({ env: { SLUICE_TEMPORAL_TEST_SERVER: '/nowhere/server' } })),
    ).rejects.toMatchObject({ code: 'usage', message: expect.stringContaining('/nowhere/server') as string });
  });

  it('takes one from the PATH, before the cache and what could be fetched', async () => {
    const file = shellScript(path.join(place, 'bin/temporal-test-server'), 'true');
    fakeMaven('exit 1');

    expect(await findTestServer(options())).toEqual({ path: file, origin: 'path' });
  });

  it('fetches the packages with Maven and starts them with Java, handing the arguments on', async () => {
    fakeJava();
    fakeMaven(COPIES);

    const found = await findTestServer(options());
    const again = await findTestServer(options());
    const started = await runCommand(found.path, ['7233', '--flag'], { env: options().env ?? {} });

    const folder = path.join(place, 'cache/test-server/1.38.0');
    expect(found).toEqual({ path: path.join(folder, 'temporal-test-server'), origin: 'build' });
    expect(again).toEqual({ path: found.path, origin: 'cache' });
    expect(started.output).toContain(`-cp ${folder}/lib/* io.temporal.testserver.TestServer 7233 --flag`);
    const pom = readFileSync(path.join(folder, 'lib/temporal-test-server-1.jar'), 'utf8');
    expect(pom).toContain('<artifactId>temporal-test-server</artifactId><version>1.38.0</version>');
  });

  it.each([
    ['Java', () => fakeMaven(COPIES), 'there is no Java on the PATH to run it with'],
    ['Maven', fakeJava, 'there is no Maven (mvn) on the PATH to fetch its packages with'],
  ])('says so when there is no %s', async (_what, arrange, reason) => {
    arrange();

    await expect(findTestServer(options())).rejects.toMatchObject({
      code: 'unsupported',
      message: `Temporal's test server cannot be had: none is on the PATH; none is in the cache; the download was not allowed; Maven: ${reason}.`,
      hint: expect.stringContaining('install Java >= 11 and Maven') as string,
    });
  });

  it('says why Maven failed and leaves no half of it', async () => {
    fakeJava();
    fakeMaven('echo "[INFO] so far"; echo "[ERROR] Unknown host"; exit 1');

    await expect(findTestServer(options())).rejects.toThrow('Maven: mvn failed (Unknown host)');

    expect(existsSync(path.join(place, 'cache/test-server/1.38.0'))).toBe(false);
  });

  it('does not take packages from the cache that cannot be run', async () => {
    shellScript(path.join(place, 'cache/test-server/1.38.0/temporal-test-server'), 'exec java');

    await expect(findTestServer(options())).rejects.toThrow('there is no Java');
  });
});
