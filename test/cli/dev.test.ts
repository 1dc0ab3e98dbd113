import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Cli } from '../../src/cli/cli';
import { devStateDirectory } from '../../src/cli/dev-state';
import { ReleaseError } from '../../src/errors';
import { start } from './harness';

/** A process that is only promised: what was started, in which order it was stopped. */
function stage(): {
  log: string[];
  override: Pick<Cli, 'findTemporal' | 'startTemporal' | 'startWorker'>;
  temporalDies: () => void;
} {
  const log: string[] = [];
  let die: () => void = () => undefined;
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    die = () => resolve({ code: 3, signal: null });
  });
  let workerDone: () => void = () => undefined;
  const stopped = new Promise<void>((resolve) => {
    workerDone = resolve;
  });
  return {
    log,
    temporalDies: () => die(),
    override: {
      findTemporal: () => Promise.resolve({ path: '/bin/temporal', version: 'temporal version 1', origin: 'path' }),
      startTemporal: (options) => {
        log.push(
          `start temporal ${path.basename(options.dbFile ?? 'memory')} ${options.searchAttributes?.['SluiceWeight'] ?? ''}`,
        );
        return Promise.resolve({
          address: '127.0.0.1:7000',
          uiUrl: 'http://127.0.0.1:8000',
          pid: 1,
          stop: () => {
            log.push('stop temporal');
            return Promise.resolve();
          },
          exited,
        });
      },
      startWorker: ({ address, namespace }) => {
        log.push(`start worker ${address ?? ''} ${namespace ?? ''}`);
        return Promise.resolve({
          stopped,
          stop: () => {
            log.push('stop worker');
            workerDone();
            return Promise.resolve();
          },
          healthUrl: null,
        });
      },
    },
  };
}

describe('sluice dev', () => {
  let directory: string;
  let env: NodeJS.ProcessEnv;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'sluice-cli-'));
    env = { XDG_STATE_HOME: directory };
  });

  afterEach(() => rm(directory, { recursive: true, force: true }));

  const connectionFile = (): string => path.join(devStateDirectory(env), 'connection.json');

  it('starts Temporal, then a worker, tells where they are, and stops them in reverse order', async () => {
    const { log, override } = stage();
    const running = start(['dev'], { env, override });

    await running.wrote('Ready:');
    const connection = JSON.parse(await readFile(connectionFile(), 'utf8')) as object;
    running.interrupt();
    const ran = await running.ended;

    expect(connection).toMatchObject({ pid: process.pid, address: '127.0.0.1:7000', uiUrl: 'http://127.0.0.1:8000' });
    expect(ran.code).toBe(0);
    expect(ran.out).toContain('Temporal UI   http://127.0.0.1:8000');
    expect(log).toEqual([
      'start temporal temporal.db Int',
      'start worker 127.0.0.1:7000 default',
      'stop worker',
      'stop temporal',
    ]);
    await expect(readFile(connectionFile())).rejects.toThrow('ENOENT');
  });

  it('ends with an error when Temporal ends by itself', async () => {
    const { override, temporalDies } = stage();
    const running = start(['dev', '--json'], { env, override });

    await running.wrote('healthUrl');
    temporalDies();
    const ran = await running.ended;

    expect(ran.code).toBe(1);
    expect(ran.err).toContain('Temporal ended by itself (code 3).');
    expect(JSON.parse(ran.out)).toMatchObject({ kind: 'Dev', address: '127.0.0.1:7000' });
  });

  it('stops what it has started when the rest fails', async () => {
    const { log, override } = stage();
    const running = start(['dev'], {
      env,
      override: {
        ...override,
        startWorker: () => Promise.reject(new ReleaseError('forbidden', 'The search attributes are missing.')),
      },
    });

    const ran = await running.ended;

    expect(ran.code).toBe(4);
    expect(ran.err).toContain('The search attributes are missing.');
    expect(log.at(-1)).toBe('stop temporal');
  });

  it('says in a sentence that the state folder cannot be one', async () => {
    const { log, override } = stage();
    const file = path.join(directory, 'a-file');
    await writeFile(file, '');

    const ran = await start(['dev', '--state', file], { env, override }).ended;

    expect(ran.code).toBe(2);
    expect(ran.err).toMatch(/^Error: The state folder .*a-file cannot be used: .*EEXIST/);
    expect(log).toEqual([]);
  });

  it('refuses a second one of the same user before anything is started, also while the first one starts', async () => {
    const { override } = stage();
    const second = stage();
    let goOn: () => void = () => undefined;
    const found = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const looks = jest.fn();
    const running = start(['dev'], {
      env,
      override: {
        ...override,
        findTemporal: async (onProgress) => {
          looks();
          await found;
          return override.findTemporal(onProgress);
        },
      },
    });
    while (looks.mock.calls.length === 0) await new Promise(setImmediate);

    const ran = await start(['dev', '--state', path.join(directory, 'other')], { env, override: second.override })
      .ended;
    goOn();
    await running.wrote('Ready:');
    running.interrupt();
    await running.ended;

    expect(ran.code).toBe(1);
    expect(ran.err).toContain(`is running already (process ${process.pid}, about to start or to stop).`);
    expect(second.log).toEqual([]);
  });

  it('takes the usual ports where they are free', async () => {
    const { override } = stage();
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const ports: (number | undefined)[] = [];
    const running = start(['dev', '--ui-port', String((taken.address() as AddressInfo).port)], {
      env,
      override: {
        ...override,
        startTemporal: (options) => {
          ports.push(options.port, options.uiPort);
          return override.startTemporal(options);
        },
      },
    });

    await running.wrote('Ready:');
    running.interrupt();
    await running.ended;
    const port = (taken.address() as AddressInfo).port;
    await new Promise((resolve) => taken.close(resolve));

    // Whether 7233 is free on this machine now is not for this test to know.
    expect([0, 7233]).toContain(ports[0]);
    // One that was named is taken as it is; the server says so when it cannot.
    expect(ports[1]).toBe(port);
  });
});

describe('sluice demo', () => {
  it('ends with a sentence as its last line when Temporal cannot be had', async () => {
    const { override } = stage();
    const none = new ReleaseError('unsupported', 'There is no Temporal dev server to be had.');
    const failing = { ...override, findTemporal: () => Promise.reject(none) };

    const text = await start(['demo'], { override: failing }).ended;
    const json = await start(['demo', '--json'], { override: failing }).ended;

    expect(text.code).toBe(1);
    expect(text.out).toBe('demo: There is no Temporal dev server to be had.\n');
    expect(text.err).toContain('There is no Temporal dev server to be had.');
    expect(json.code).toBe(1);
    expect(json.out.trimEnd().split('\n').at(-1)).toBe('demo: There is no Temporal dev server to be had.');
  });

  it('ends at once on Ctrl-C during the set-up, and stops what comes of it', async () => {
    const { log, override } = stage();
    let goOn: () => void = () => undefined;
    const slow = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const running = start(['demo'], {
      override: {
        ...override,
        startTemporal: async (options) => {
          await slow;
          return override.startTemporal(options);
        },
      },
    });

    running.interrupt();
    await running.wrote('demo: interrupted');
    goOn();
    const ran = await running.ended;

    expect(ran.code).toBe(130);
    expect(log.at(-1)).toBe('stop temporal');
  });

  it('takes only ports', async () => {
    expect((await start(['demo', '--port', 'x']).ended).code).toBe(2);
  });
});
