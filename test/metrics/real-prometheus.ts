import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from '../../src/devserver/free-port';

const run = promisify(execFile);

export interface ScrapeTarget {
  /** host:port */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface RunningPrometheus {
  readonly url: string;
  stop(): Promise<void>;
}

/** What a Prometheus already knows when it starts. */
export interface BackFill {
  /** The `promtool` that belongs to it. */
  readonly promtool: string;
  /** Samples with their times, in the OpenMetrics format. */
  readonly openMetrics: string;
}

export interface PrometheusSettings {
  readonly backFill?: BackFill;
  /** How often the targets are scraped, milliseconds; each second unless told. */
  readonly scrapeMs?: number;
}

/** A real Prometheus on loopback with its data in a directory of its own, scraping the targets. */
export async function startPrometheus(
  binary: string,
  targets: readonly ScrapeTarget[],
  { backFill, scrapeMs = 1_000 }: PrometheusSettings = {},
): Promise<RunningPrometheus> {
  const directory = await mkdtemp(join(tmpdir(), 'sluice-prometheus-'));
  const port = await freePort();
  const config = {
    global: { scrape_interval: `${scrapeMs}ms`, scrape_timeout: `${scrapeMs}ms` },
    scrape_configs: [
      {
        job_name: 'app',
        static_configs: targets.map(({ address, labels }) => ({ targets: [address], labels })),
      },
    ],
  };
  if (backFill !== undefined) await fill(directory, backFill);
  // JSON is YAML.
  await writeFile(join(directory, 'prometheus.yml'), JSON.stringify(config));
  const output: string[] = [];
  const child = spawn(
    binary,
    [
      `--config.file=${join(directory, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk.toString('utf8')));
  const url = `http://127.0.0.1:${port}`;
  try {
    await until('Prometheus is ready', async () => {
      if (child.exitCode !== null) throw new Error(`Prometheus ended:\n${output.join('')}`);
      const response = await fetch(`${url}/-/ready`).catch(() => null);
      return response?.ok === true;
    });
  } catch (error) {
    await stop(child, directory);
    throw error;
  }
  return { url, stop: () => stop(child, directory) };
}

async function fill(directory: string, { promtool, openMetrics }: BackFill): Promise<void> {
  const file = join(directory, 'history.om');
  await writeFile(file, openMetrics);
  await run(promtool, ['tsdb', 'create-blocks-from', 'openmetrics', file, join(directory, 'data')]);
}

/** Looks again and again until the condition holds; the test's own time limit is the last resort. */
export async function until(what: string, condition: () => Promise<boolean>, limitMs = 45_000): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Waited ${limitMs / 1000} s in vain: ${what}.`);
    await sleep(50);
  }
}

async function stop(child: ChildProcess, directory: string): Promise<void> {
  if (child.exitCode === null) {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  }
  await rm(directory, { recursive: true, force: true });
}
