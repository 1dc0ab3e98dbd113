import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findTemporalCli } from '../../src/devserver/find-temporal';
import { startTemporal } from '../../src/devserver/start-temporal';
import type { RunningTemporal } from '../../src/devserver/start-temporal';
import type { ReleaseStatus } from '../../src/workflows/api';
import { BUILD_WITHIN_MS, builtSluice } from './built-sluice';
import { readComposeFile } from './compose-file';
import { PlainProcesses } from './plain-processes';
import { describeWithPrometheus } from '../metrics/prometheus-executable';
import { shellCommands } from './markdown';

const ROOT = path.join(__dirname, '..', '..');
const compose = readComposeFile(path.join(ROOT, 'docker-compose.yml'));

/**
 * What docker-compose.yml runs, with its own commands and configuration files, as plain processes. Temporal is the dev
 * server on SQLite: that the server's image works with PostgreSQL cannot be shown without that image.
 */
describeWithPrometheus('the services of docker-compose.yml as plain processes', (prometheus) => {
  let bin = '';
  let temporal: RunningTemporal | null = null;
  let processes: PlainProcesses | null = null;

  beforeAll(async () => {
    bin = mkdtempSync(path.join(tmpdir(), 'sluice-bin-'));
    const binary = await findTemporalCli({ onProgress: () => undefined });
    symlinkSync(binary.path, path.join(bin, 'temporal'));
    temporal = await startTemporal({ binary: binary.path, headless: true, namespace: 'unused' });
    processes = await PlainProcesses.create({
      compose,
      provided: new Map([['temporal:7233', Number(temporal.address.split(':')[1])]]),
      programs: {
        sluice: await builtSluice(),
        node: process.execPath,
        '/bin/prometheus': prometheus,
      },
      path: [bin, path.dirname(process.execPath)],
    });
    for (const name of ['shop-1', 'shop-2', 'prometheus', 'worker', 'users']) await processes.start(name);
  }, BUILD_WITHIN_MS);

  afterAll(async () => {
    await processes?.stop();
    await temporal?.stop();
    rmSync(bin, { recursive: true, force: true });
  }, 60_000);

  function all(): PlainProcesses {
    if (processes === null) throw new Error('nothing was started');
    return processes;
  }

  it('has a Prometheus that scrapes every target it is told of', async () => {
    await eventually(async () => {
      const up = await query(all().url('prometheus:9090'), 'up');
      expect(up.map(({ metric, value }) => [metric['job'], value[1]]).sort()).toEqual([
        ['shop', '1'],
        ['shop', '1'],
        ['sluice-worker', '1'],
      ]);
    });
  });

  it.each([
    ['promotes the healthy version', 'v2', 0, 'promoted'],
    ['takes the failing version back', 'v3', 3, 'rolledBack'],
  ])(
    '%s, judged by Prometheus',
    async (_, version, code, outcome) => {
      const {
        code: ended,
        stdout,
        stderr,
      } = await all().run('sluice', [
        'deploy',
        'release.yaml',
        '--version',
        version,
        ...['--wait', '--timeout', '3m', '-o', 'json'],
      ]);

      // The words of the release are what explains a failure of this test.
      expect({ ended, stderr: ended === code ? '' : stderr }).toEqual({ ended: code, stderr: '' });
      const status = JSON.parse(stdout) as ReleaseStatus;
      expect(status.outcome).toBe(outcome);
      expect(status.measurements.at(-1)?.metrics[0]?.query).toContain('canary_requests_total{');
      expect(await stableVersions(['shop-1:3000', 'shop-2:3000'].map((shop) => all().url(shop)))).toEqual(['v2', 'v2']);
    },
    240_000,
  );

  it('answers every command that docs/compose.md shows', async () => {
    const commands = shellCommands(readFileSync(path.join(ROOT, 'docs', 'compose.md'), 'utf8'));
    const runs = commands.map((command) => /^docker compose run --rm sluice (.+)$/.exec(command)?.[1]?.split(' '));
    const reading = runs.filter((args) => args !== undefined && args[0] !== 'deploy') as string[][];

    expect(reading.length).toBeGreaterThan(0);
    for (const args of reading) {
      const { code, stderr } = await all().run('sluice', args);
      expect({ args, code, stderr: code === 0 ? '' : stderr }).toEqual({ args, code: 0, stderr: '' });
    }
  }, 120_000);
});

interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

async function query(url: string, expression: string): Promise<readonly Series[]> {
  const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expression)}`);
  const { data } = (await response.json()) as { data: { result: Series[] } };
  return data.result;
}

async function stableVersions(urls: readonly string[]): Promise<(string | null)[]> {
  const answers = await Promise.all(urls.map((url) => fetch(`${url}/checkout`)));
  return answers.map((answer) => answer.headers.get('x-deployment-version'));
}

/** Repeats until it does not throw; with its last complaint when it always does. */
async function eventually(check: () => Promise<void>): Promise<void> {
  for (let left = 300; ; left -= 1) {
    try {
      return await check();
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
