import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { createCli } from '../../src/cli/create-cli';
import { buildProgram } from '../../src/cli/program';
import { KeyFile } from '../../src/flags/access';
import { RELEASE_PROBLEMS } from '../../src/server/release-problems';
import { FakeSluice } from '../cli/fake-client';
import { START } from '../cli/statuses';
import { fencedBlocks } from '../examples/markdown';
import { until } from '../flags/support';
import { serveReleases, stopReleaseServers } from '../server/serve';
import { sluiceCalls, unknownIn } from './command-lines';

const ROOT = path.join(__dirname, '..', '..');
const page = readFileSync(path.join(ROOT, 'docs', 'server.md'), 'utf8');
const run = promisify(execFile);

/** The commands of the page's blocks, each as a shell takes it. */
const commands = fencedBlocks(page, 'sh').flatMap((block) =>
  block
    .trim()
    .replaceAll(/\\\n\s*/g, '')
    .split('\n'),
);
const documents = fencedBlocks(page, 'json').flatMap((block) =>
  (block.startsWith('{\n') ? [block] : block.trim().split('\n')).map(
    (text) => JSON.parse(text) as Record<string, unknown>,
  ),
);

/** What the rows of a table begin with. */
function rowsAfter(heading: string): string[][] {
  const [, section = ''] = page.split(`${heading}\n`);
  const [table = ''] = /^\|.*?^(?!\|)/ms.exec(section) ?? [];
  return table
    .trim()
    .split('\n')
    .slice(2)
    .map((row) => row.split('|').map((cell) => cell.trim().replaceAll('`', '')));
}

afterEach(stopReleaseServers);

describe('docs/server.md', () => {
  it('calls sluice as it can be called', () => {
    const program = buildProgram(createCli({}), () => undefined);
    const calls = sluiceCalls(page);

    expect(calls).toContain('server &');
    expect(calls.flatMap((call) => unknownIn(program, call))).toEqual([]);
  });

  it('has requests that work, and answers and an audit line like those of the page', async () => {
    const client = new FakeSluice();
    const { url, logger } = await serveReleases(client);
    const requests = commands.filter((command) => command.startsWith('curl '));
    const answers: Record<string, unknown>[] = [];
    for (const request of requests) {
      const { release } = client.plans.length === 0 ? { release: '' } : client.newest;
      if (request.includes('/approve')) {
        const approval = { step: 4, by: [], since: START, expiresAt: START + 60_000, onExpiry: 'rollback' } as const;
        client.update(release, { approval });
      }
      // The stream of the page's last request of this service ends with its release.
      if (request.includes('/events')) {
        client.update('shop-0001', { outcome: 'aborted', endedAt: START }, { type: 'rolledBack' });
      }
      const { stdout } = await run(
        'sh',
        ['-c', request.replace('http://127.0.0.1:8014', url).replace('curl', 'curl -f')],
        {
          cwd: ROOT,
          timeout: 20_000,
        },
      );
      if (stdout.startsWith('{')) answers.push(JSON.parse(stdout) as Record<string, unknown>);
      else expect(stdout).toContain('id: shop-0001/1\nevent: message\ndata: {');
    }

    expect(requests.length).toBeGreaterThan(5);
    for (const kind of ['Deployment', 'MessageAck']) {
      const shown = documents.find((document) => document['kind'] === kind);
      const real = answers.find((document) => document['kind'] === kind);
      expect(Object.keys(shown ?? {})).toEqual(expect.arrayContaining(Object.keys(real ?? { missing: true })));
    }
    const line = (): unknown =>
      logger.lines.find(({ data }) => (data as { action?: string }).action === 'approveRelease')?.data;
    await until(() => line() !== undefined);
    const {
      level: _level,
      time: _time,
      msg,
      ...shown
    } = documents.find((document) => document['audit'] === true) ?? {};
    expect(msg).toBe('a change was made');
    expect(Object.keys(line() as object)).toEqual(Object.keys(shown));
  });

  it('lists every endpoint, and no other', async () => {
    const { document } = await serveReleases(new FakeSluice());
    const there = Object.entries(document.paths)
      .filter(([template]) => template.startsWith('/api/releases'))
      .flatMap(([template, methods]) =>
        Object.keys(methods).map(
          (method) => `${method.toUpperCase()} ${template.replace('/api/releases/{namespace}/{service}', '…')}`,
        ),
      );
    const listed = rowsAfter('## The endpoints of releases').map(([, endpoint]) => endpoint);
    const others = ['GET /healthz', 'GET /readyz', 'GET /metrics'];

    expect(listed.toSorted()).toEqual([...there, ...others].toSorted());
  });

  it('lists every problem of releases with its status', () => {
    const listed = rowsAfter('## Errors').map(([, code, status]) => [code, Number(status)]);

    expect(Object.fromEntries(listed)).toEqual(
      Object.fromEntries(Object.entries(RELEASE_PROBLEMS).map(([code, { status }]) => [code, status])),
    );
  });

  it('has keys that are taken', () => {
    const keys = documents.find((document) => 'keys' in document);

    expect(KeyFile.safeParse(keys)).toMatchObject({ success: true });
  });
});
