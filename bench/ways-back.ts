import { join } from 'node:path';
import type { Plan } from '../src/spec/plan-types';
import { connectCluster } from '../src/targets/kubernetes/cluster';
import { LabShop } from '../test/e2e/lab-shop';
import { Load } from '../test/e2e/load';
import { becomeBlue, pairChoices } from '../test/e2e/pair';
import { labPlan } from '../test/e2e/release-stack';
import { OnDuty, Runbook } from '../test/e2e/runbook';
import { requireLab } from '../test/lab/lab';
import type { Lab } from '../test/lab/lab';
import { removeShop } from '../test/lab/shop';
import { shopHost } from '../test/lab/shop-manifests';
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
  /** Where the release is by then: half of the traffic has the new version, all of it, or all of it for good. */
  readonly release: 'half' | 'switched' | 'promoted';
}

const WAYS: readonly Way[] = [
  { title: 'With sluice', served: true, release: 'half' },
  { title: 'With Temporal alone', served: true, release: 'half' },
  { title: 'Without Temporal', served: false, release: 'half' },
  { title: 'With kubectl alone', served: true, release: 'half' },
  { title: 'Blue and green', served: true, release: 'switched' },
  { title: 'After a promotion', served: true, release: 'promoted' },
];

/**
 * The commands of docs/runbooks/roll-back-by-hand.md, each way on a release that has half of the traffic at the lab's
 * gateway, or all of it after a switch, or is over: until the commands have ended, and until the last request that the
 * new version served.
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
    how: 'Each way of docs/runbooks/roll-back-by-hand.md by its own commands, on the lab, with a release at 50 % of 50 requests a second, switched to the other colour, or promoted; from the first command to its end and to the last request that the new version served.',
    figures,
  };
}

function planOf(lab: Lab, shop: LabShop, release: Way['release']): Plan {
  switch (release) {
    case 'half':
      return gatewayPlan(lab, shop.namespace);
    case 'promoted':
      return promotedPlan(lab, shop.namespace);
    case 'switched':
      return labPlan(lab, shop.namespace, shop.image('v2'), pairChoices({ soak: '1h' }));
  }
}

async function timed(lab: Lab, { title, served, release }: Way): Promise<readonly Figure[]> {
  const namespace = `bench-back-${process.pid}`;
  const cluster = connectCluster({ fieldManager: 'bench', kubeconfig: lab.kubeconfig });
  const stack = await SluiceStack.start(lab);
  const onDuty = await OnDuty.begin(lab, { root: ROOT, namespace, address: stack.address });
  try {
    const shop = await LabShop.make(lab, cluster, namespace);
    if (release === 'switched') await becomeBlue(lab, shop);
    const load = new Load(lab.gatewayUrl, shopHost(namespace), { perSecond: 50 });
    try {
      await stack.client.deploy(planOf(lab, shop, release), { actor: BENCH_ACTOR });
      await eventually('the canary to serve', () =>
        Promise.resolve(load.served.filter(({ version }) => version === 'v2').length >= 20),
      );
      if (release === 'promoted') {
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
    cluster.close();
  }
}
