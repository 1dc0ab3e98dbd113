import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { transformFileSync } from '@swc/core';
import { Client, Connection } from '@temporalio/client';
import { findTemporalCli } from '../../src/devserver/find-temporal';
import { freePort, isPortFree } from '../../src/devserver/free-port';
import { startTemporal } from '../../src/devserver/start-temporal';
import type { RunningTemporal } from '../../src/devserver/start-temporal';
import { processExists, shellScript, temporaryFolder, until } from './support';

const folder = temporaryFolder();
const root = path.resolve(__dirname, '../..');
// Inside the project, so that what is compiled into it finds the project's packages.
const compiled = path.join(root, '.sluice', `start-temporal-test-${process.pid}`);
let binary: string;
const running: RunningTemporal[] = [];

beforeAll(async () => {
  binary = (await findTemporalCli({ onProgress: (line) => console.log(line) })).path;
}, 600_000);

afterAll(() => rmSync(compiled, { recursive: true, force: true }));

// A test that fails half way must not leave a server behind either.
afterEach(async () => {
  for (const server of running.splice(0)) await server.stop();
});

async function start(options: Partial<Parameters<typeof startTemporal>[0]> = {}): Promise<RunningTemporal> {
  const server = await startTemporal({ binary, ...options });
  running.push(server);
  return server;
}

async function searchAttributesOf(server: RunningTemporal, namespace: string): Promise<readonly string[]> {
  const connection = await Connection.connect({ address: server.address });
  try {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
    return Object.keys(customAttributes);
  } finally {
    await connection.close();
  }
}

describe('startTemporal', () => {
  it('starts a server that answers, with its UI, and leaves nothing when it is stopped', async () => {
    const server = await start({ namespace: 'shop', searchAttributes: { SluiceService: 'Keyword' } });

    expect(server.address).toMatch(/^127\.0\.0\.1:\d+$/);
    expect((await fetch(server.uiUrl ?? '')).status).toBe(200);
    expect(await searchAttributesOf(server, 'shop')).toContain('SluiceService');

    await server.stop();
    await server.stop();

    expect(await server.exited).toEqual({ code: 0, signal: null });
    expect(processExists(server.pid)).toBe(false);
    expect(await isPortFree(Number(server.address.split(':')[1]))).toBe(true);
  });

  it('keeps its state in the file, and adds search attributes that the file does not know', async () => {
    const dbFile = path.join(folder, 'state/of/dev.db');
    const first = await start({ dbFile, headless: true, searchAttributes: { Old: 'Keyword' } });
    const connection = await Connection.connect({ address: first.address });
    const started = await new Client({ connection }).workflow.start('nobody-works-on-it', {
      taskQueue: 'none',
      workflowId: 'kept',
    });
    await connection.close();
    await first.stop();

    const second = await start({ dbFile, headless: true, searchAttributes: { Old: 'Keyword', New: 'Int' } });

    const again = await Connection.connect({ address: second.address });
    const description = await new Client({ connection: again }).workflow.getHandle('kept').describe();
    await again.close();
    expect(description).toMatchObject({ runId: started.firstExecutionRunId, status: { name: 'RUNNING' } });
    expect(await searchAttributesOf(second, 'default')).toEqual(expect.arrayContaining(['Old', 'New']));
    expect(second.uiUrl).toBeUndefined();
  });

  it('refuses a port that is taken, and does not mistake what answers there for its own', async () => {
    const other = createServer().listen(await freePort(), '127.0.0.1');
    await once(other, 'listening');
    const address = other.address();
    if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');

    const starting = startTemporal({ binary, port: address.port }).finally(() => other.close());

    await expect(starting).rejects.toMatchObject({
      code: 'conflict',
      message: `Temporal's dev server cannot use port ${address.port} of 127.0.0.1 for its gRPC port: it is taken.`,
    });
  });

  it.each([
    [
      'ends at once',
      'echo "Error: cannot open the state file" >&2; exit 3',
      'it ended with code 3; it said: cannot open',
    ],
    [
      'says why in its log',
      `printf '%s\\n' '{"level":"fatal","msg":"Unable to open \\"dev.db\\":\\nlocked"}'; exit 1`,
      'it ended with code 1; it said: Unable to open "dev.db": locked.',
    ],
    [
      'says why in plain words',
      `printf '%s\\n' 'level=ERROR msg="unknown flag \\"--dream\\"" error=none'; exit 1`,
      'it ended with code 1; it said: unknown flag "--dream".',
    ],
    ['is ended', 'kill -9 $$', 'it ended with SIGKILL'],
  ])('says so when the server %s', async (_what, body, reason) => {
    const broken = shellScript(path.join(folder, 'broken'), body);

    await expect(startTemporal({ binary: broken })).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringContaining(reason) as string,
    });
  });

  it('says so when the program is not there', async () => {
    await expect(startTemporal({ binary: '/nowhere/temporal' })).rejects.toThrow('it could not be started');
  });

  it('gives up on a server that never answers, and ends it although it ignores being asked', async () => {
    const pidFile = path.join(folder, 'deaf.pid');
    const deaf = shellScript(
      path.join(folder, 'deaf'),
      `trap '' TERM; echo $$ >'${pidFile}'; while :; do sleep 0.1; done`,
    );

    await expect(startTemporal({ binary: deaf, startTimeoutMs: 1_000 })).rejects.toMatchObject({ code: 'unreachable' });

    expect(processExists(Number(readFileSync(pidFile, 'utf8')))).toBe(false);
  }, 30_000);

  it('does not outlive a parent that is killed', async () => {
    const parent = spawn(process.execPath, [compiledParent(), binary], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
    const pid = Number(line);
    expect(processExists(pid)).toBe(true);

    parent.kill('SIGKILL');

    await until('the server is gone', () => !processExists(pid));
  });
});

/** A program that starts a server and says its process id: plain JavaScript, since it runs outside of jest. */
function compiledParent(): string {
  const target = compiled;
  mkdirSync(path.join(target, 'devserver'), { recursive: true });
  const sources = ['errors.ts', ...readdirSync(path.join(root, 'src/devserver')).map((name) => `devserver/${name}`)];
  for (const source of sources) {
    const { code } = transformFileSync(path.join(root, 'src', source), {
      jsc: { parser: { syntax: 'typescript' }, target: 'es2023' },
      module: { type: 'commonjs' },
    });
    writeFileSync(path.join(target, source.replace(/\.ts$/, '.js')), code);
  }
  const parent = path.join(target, 'parent.js');
  writeFileSync(
    parent,
    `require('./devserver/start-temporal.js')
      .startTemporal({ binary: process.argv[2], headless: true })
      .then((server) => console.log(server.pid));`,
  );
  return parent;
}
