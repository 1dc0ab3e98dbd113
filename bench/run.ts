import { mkdirSync, writeFileSync } from 'node:fs';
import { arch, cpus, platform, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { analysis } from './analysis';
import { defaultRelease } from './default-release';
import { flagPeers } from './flag-peers';
import { flags } from './flags';
import { kubernetes, KUBERNETES_PARTS } from './kubernetes';
import type { BenchResult } from './lib/result';
import { liveAnalysis } from './live-analysis';
import { manyReleases } from './many-releases';
import { rollbackLatency } from './rollback-latency';
import { routerDecision } from './router-decision';
import { virtualTime } from './virtual-time';
import { waysBack } from './ways-back';

const BENCHES: Record<string, () => BenchResult | Promise<BenchResult>> = {
  'router-decision': routerDecision,
  'rollback-latency': rollbackLatency,
  'default-release': defaultRelease,
  'many-releases': manyReleases,
  'virtual-time': virtualTime,
  analysis,
  flags,
};

async function main(args: readonly string[]): Promise<number> {
  const { positionals: names, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { only: { type: 'string', multiple: true } },
  });
  const { only = KUBERNETES_PARTS } = values;
  const absent = only.filter((part) => !KUBERNETES_PARTS.includes(part));
  if (absent.length > 0) {
    process.stderr.write(`kubernetes has no part ${absent.join(', ')}; there are: ${KUBERNETES_PARTS.join(', ')}.\n`);
    return 2;
  }
  if (values.only !== undefined && !names.includes('kubernetes')) {
    process.stderr.write('--only chooses parts of kubernetes: name it too.\n');
    return 2;
  }
  // Those that need a lab that runs, a Prometheus, or packages of others, only by their names.
  const known: typeof BENCHES = {
    ...BENCHES,
    kubernetes: () => kubernetes(only),
    'flag-peers': flagPeers,
    'live-analysis': liveAnalysis,
    'ways-back': waysBack,
  };
  const unknown = names.filter((name) => known[name] === undefined);
  if (unknown.length > 0) {
    process.stderr.write(`There is no benchmark ${unknown.join(', ')}; there are: ${Object.keys(known).join(', ')}.\n`);
    return 2;
  }
  if (names.length === 0)
    process.stderr.write('bench: all that need no cluster, which takes about half an hour on two cores\n');
  const results: BenchResult[] = [];
  const failed: string[] = [];
  for (const [name, run] of Object.entries(names.length === 0 ? BENCHES : known)) {
    if (names.length > 0 && !names.includes(name)) continue;
    process.stderr.write(`bench: ${name} ...\n`);
    try {
      const result = await run();
      results.push(result);
      failed.push(...(result.failed ?? []));
    } catch (error) {
      // What the others measured is not lost with it.
      failed.push(name);
      process.stderr.write(
        `bench: ${name} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
      );
    }
  }
  print(results);
  process.stderr.write(`bench: written to ${write(results)}\n`);
  if (failed.length > 0) process.stderr.write(`bench: failed: ${failed.join(', ')}\n`);
  return failed.length === 0 ? 0 : 1;
}

function print(results: readonly BenchResult[]): void {
  const rows = results.flatMap((result) =>
    result.figures.map((figure) => [
      figure.name,
      `${format(figure.value)} ${figure.unit}`.trim(),
      figure.goal,
      figure.met === null ? '' : figure.met ? 'met' : 'MISSED',
    ]),
  );
  if (rows.length > 0) printTable([['figure', 'measured', 'goal', ''], ...rows]);
  for (const { headings, rows: others } of results.flatMap(({ tables }) => tables ?? [])) {
    process.stdout.write('\n');
    printTable([headings, ...others]);
  }
}

function printTable(table: readonly (readonly string[])[]): void {
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  for (const row of table) {
    process.stdout.write(
      `${row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd()}\n`,
    );
  }
}

function format(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toPrecision(3);
}

function write(results: readonly BenchResult[]): string {
  const folder = join(__dirname, '..', '..', '..', 'bench', 'results');
  mkdirSync(folder, { recursive: true });
  const at = new Date().toISOString();
  const file = join(folder, `${at.replace(/[:.]/g, '-')}.json`);
  const machine = {
    platform: platform(),
    arch: arch(),
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
  };
  writeFileSync(file, `${JSON.stringify({ at, machine, results }, null, 2)}\n`);
  return file;
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`bench: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  },
);
