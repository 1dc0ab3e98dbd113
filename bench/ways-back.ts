import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { findTemporalCli } from '../src/devserver/find-temporal';
import { Load } from '../test/e2e/load';
import { requireLab } from '../test/lab/lab';
import type { Lab } from '../test/lab/lab';
import { makeShop, removeShop } from '../test/lab/shop';
import { gatewayPlan, promotedPlan, SluiceStack } from './kubernetes/sluice-side';
import { BENCH_ACTOR, eventually } from './lib/stack';
import { below } from './lib/result';
import type { BenchResult, Figure } from './lib/result';

const ROOT = join(__dirname, '..', '..', '..');
const PAGE = join(ROOT, 'docs', 'runbooks', 'roll-back-by-hand.md');
/** Five minutes, of which the page speaks. */
const LIMIT_S = 300;

interface Way {
  /** Of its section of the page. */
  readonly title: string;
  /** Whether a worker and Temporal are there when its commands are given. */
  readonly served: boolean;
  /** Whether the release is over by then. */
  readonly promoted: boolean;
}

const WAYS: readonly Way[] = [
  { title: 'With sluice', served: true, promoted: false },
  { title: 'With Temporal alone', served: true, promoted: false },
  { title: 'Without Temporal', served: false, promoted: false },
  { title: 'With kubectl alone', served: true, promoted: false },
  { title: 'After a promotion', served: true, promoted: true },
];

/**
 * The commands of docs/runbooks/roll-back-by-hand.md, each way on a release that has half of the traffic at the lab's
 * gateway, or is over: until the commands have ended, and until the last request that the new version served.
 */
export async function waysBack(): Promise<BenchResult> {
  const lab = await requireLab();
  const figures: Figure[] = [];
  for (const way of WAYS) {
    process.stderr.write(`bench: ways-back: ${way.title} ...\n`);
    figures.push(...(await timed(lab, way)));
  }
  return {
    bench: 'ways-back',
    how: 'Each way of docs/runbooks/roll-back-by-hand.md by its own commands, on the lab, with a release at 50 % of 50 requests a second, or promoted; from the first command to its end and to the last request that the new version served.',
    figures,
  };
}

async function timed(lab: Lab, { title, served, promoted }: Way): Promise<readonly Figure[]> {
  const namespace = `bench-back-${process.pid}`;
  const folder = mkdtempSync(join(tmpdir(), 'sluice-ways-back-'));
  const stack = await SluiceStack.start(lab);
  try {
    const shop = await makeShop(lab, { namespace, version: 'v1', replicas: 2 });
    const load = new Load(shop.url, shop.host, { perSecond: 50 });
    try {
      const release = promoted ? promotedPlan(lab, namespace) : gatewayPlan(lab, namespace);
      await stack.client.deploy(release, { actor: BENCH_ACTOR });
      await eventually('the canary to serve', () =>
        Promise.resolve(load.served.filter(({ version }) => version === 'v2').length >= 20),
      );
      if (promoted) {
        const ref = { service: 'shop', namespace };
        await eventually('the release to be promoted', async () => {
          const { outcome, message } = await stack.client.status(ref);
          if (outcome !== null && outcome !== 'promoted') throw new Error(`It ended as ${outcome}: ${message}`);
          return outcome === 'promoted';
        });
      }
      if (!served) await stack.stop();
      const env = await environment(lab, { namespace, folder, address: stack.address });
      const started = Date.now();
      await shell(commandsOf(title).join('\n'), env);
      const done = Date.now();
      const newest = (): Load['served'] => load.served.filter(({ at, version }) => version === 'v2' && at >= started);
      // Nothing of it for two seconds on end.
      await eventually('the new version to serve no more', () =>
        Promise.resolve(Date.now() - Math.max(done, newest().at(-1)?.at ?? 0) > 2_000),
      );
      const last = newest().at(-1)?.at ?? started;
      const failed = (await load.stop()).filter(({ status }) => status !== 200).length;
      if (failed > 0) throw new Error(`${title}: ${failed} requests failed.`);
      return [
        below(`${title}: commands`, (done - started) / 1_000, LIMIT_S, 's'),
        below(`${title}: last request of the new version`, (last - started) / 1_000, LIMIT_S, 's'),
      ];
    } finally {
      await load.stop();
    }
  } finally {
    await stack.stop();
    await removeShop(lab, namespace);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The blocks of a section, in order. */
function commandsOf(title: string): string[] {
  const section = new RegExp(`^## ${title}\n(.*?)(?=^## )`, 'ms').exec(readFileSync(PAGE, 'utf8'))?.[1] ?? '';
  const blocks = [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map((match) => match[1] ?? '');
  if (blocks.length === 0) throw new Error(`The runbook has no commands under "${title}".`);
  return blocks;
}

/** As somebody on duty has it: sluice, temporal and kubectl on the PATH, and where Temporal and the cluster are. */
async function environment(
  lab: Lab,
  { namespace, folder, address }: { readonly namespace: string; readonly folder: string; readonly address: string },
): Promise<NodeJS.ProcessEnv> {
  const main = join(ROOT, 'dist', 'cli', 'main.js');
  writeFileSync(join(folder, 'sluice'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`, { mode: 0o755 });
  const { path } = await findTemporalCli({ onProgress: () => undefined });
  return {
    ...process.env,
    PATH: [folder, dirname(path), dirname(lab.kubectl), process.env['PATH'] ?? ''].join(delimiter),
    NAMESPACE: namespace,
    SERVICE: 'shop',
    KUBECONFIG: lab.kubeconfig,
    TEMPORAL_ADDRESS: address,
    TEMPORAL_NAMESPACE: 'default',
  };
}

async function shell(script: string, env: NodeJS.ProcessEnv): Promise<void> {
  const child = spawn('bash', ['-euo', 'pipefail', '-c', script], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (said = `${said}${text}`.slice(-4_000)));
  }
  const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
  process.stderr.write(said);
  if (code !== 0) throw new Error(`The commands ended with ${String(code)}:\n${said}`);
}
