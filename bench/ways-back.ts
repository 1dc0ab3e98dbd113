import { join } from 'node:path';
import { Load } from '../test/e2e/load';
import { OnDuty, Runbook } from '../test/e2e/runbook';
import { requireLab } from '../test/lab/lab';
import type { Lab } from '../test/lab/lab';
import { makeShop, removeShop } from '../test/lab/shop';
import { gatewayPlan, promotedPlan, SluiceStack } from './kubernetes/sluice-side';
import { BENCH_ACTOR, eventually } from './lib/stack';
import { below } from './lib/result';
import type { BenchResult, Figure } from './lib/result';

const ROOT = join(__dirname, '..', '..', '..');
const PAGE = new Runbook(ROOT, 'roll-back-by-hand.md');
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
  const stack = await SluiceStack.start(lab);
  const onDuty = await OnDuty.begin(lab, { root: ROOT, namespace, address: stack.address });
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
      const started = Date.now();
      process.stderr.write(await onDuty.succeed(...PAGE.section(title)));
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
    onDuty.end();
  }
}
