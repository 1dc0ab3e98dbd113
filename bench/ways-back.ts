import { join } from 'node:path';
import type { Plan } from '../src/spec/plan-types';
import { connectCluster } from '../src/targets/kubernetes/cluster';
import type { Cluster } from '../src/targets/kubernetes/cluster';
import type { ReleaseStatus } from '../src/workflows/api';
import { byGateway, byNginx, byTraefik } from '../test/e2e/entrances';
import type { Way } from '../test/e2e/entrances';
import { LabShop } from '../test/e2e/lab-shop';
import { Load } from '../test/e2e/load';
import { becomeBlue, pairChoices } from '../test/e2e/pair';
import { labPlan } from '../test/e2e/release-stack';
import type { SpecChoices } from '../test/e2e/release-stack';
import { forTheShopsSelector, OnDuty, Runbook } from '../test/e2e/runbook';
import { requireLab } from '../test/lab/lab';
import type { Lab } from '../test/lab/lab';
import { ensureNginx } from '../test/lab/parts';
import { removeShop } from '../test/lab/shop';
import { tell } from '../test/lab/tell';
import { gatewayPlan, promotedPlan, SluiceStack } from './kubernetes/sluice-side';
import { BENCH_ACTOR, eventually } from './lib/stack';
import { below } from './lib/result';
import type { BenchResult, Figure } from './lib/result';

const ROOT = join(__dirname, '..', '..', '..');
const PAGE = new Runbook(ROOT, 'roll-back-by-hand.md');
/** Five minutes, of which the page speaks. */
const LIMIT_S = 300;

/** Where the release is by then: it has half of the traffic, is being promoted, has switched, or is over. */
type State = 'half' | 'promoting' | 'switched' | 'kept' | 'promoted';

interface WayBack {
  /** Of its section of the page. */
  readonly title: string;
  /** As the table has it; the title by default. */
  readonly name?: string;
  /** Whether a worker and Temporal are there when its commands are given. */
  readonly served: boolean;
  readonly release: State;
  /** What splits the traffic; the HTTPRoute by default, and for a pair the Service. */
  readonly router?: Router;
}

interface Router {
  /** As a spec has it. */
  readonly traffic: string;
  /** The weight at which it is taken back; half of the traffic by default. */
  readonly weight?: number;
  readonly way?: (lab: Lab, cluster: Cluster) => Promise<Way>;
  readonly replicas?: number;
  readonly spec?: SpecChoices;
  /** What a person makes of the page's example. */
  readonly asRead?: (commands: string) => string;
}

const NGINX: Router = {
  traffic: '{ nginx: { ingress: shop } }',
  way: async (_, cluster) => byNginx(await ensureNginx(tell), cluster),
};
const TRAEFIK: Router = {
  traffic: '{ traefik: { traefikService: shop } }',
  way: (lab) => Promise.resolve(byTraefik(lab)),
};
const SELECTOR: Router = {
  traffic: '{ serviceSelector: {} }',
  weight: 100,
  asRead: forTheShopsSelector,
};
const REPLICAS: Router = { traffic: '{ replicas: {} }', replicas: 4, spec: { smokeTest: 'false' } };

const WAYS: readonly WayBack[] = [
  { title: 'With sluice', served: true, release: 'half' },
  { title: 'With sluice', name: 'With sluice, of a pair after its promotion', served: true, release: 'kept' },
  { title: 'With Temporal alone', served: true, release: 'half' },
  { title: 'Without Temporal', served: false, release: 'half' },
  { title: 'With kubectl alone', served: true, release: 'half' },
  { title: 'In the middle of a promotion', served: true, release: 'promoting' },
  { title: 'NGINX', served: true, release: 'half', router: NGINX },
  { title: 'Traefik', served: true, release: 'half', router: TRAEFIK },
  { title: "A Service's selector", served: true, release: 'half', router: SELECTOR },
  { title: 'The number of pods', served: true, release: 'half', router: REPLICAS },
  { title: 'Blue and green', served: true, release: 'switched' },
  { title: 'After a promotion', served: true, release: 'promoted' },
];

/**
 * The commands of docs/runbooks/roll-back-by-hand.md, each way on a release that has half of the traffic, is being
 * promoted, has switched, or is over: until the commands have ended, and until the last request that the new version
 * served.
 */
export async function waysBack(): Promise<BenchResult> {
  const lab = await requireLab();
  const figures: Figure[] = [];
  for (const way of WAYS) {
    process.stderr.write(`bench: ways-back: ${nameOf(way)} ...\n`);
    figures.push(...(await timed(lab, way)));
  }
  return {
    bench: 'ways-back',
    how: 'Each way of docs/runbooks/roll-back-by-hand.md by its own commands, on the lab, with a release at 50 % of 50 requests a second (by the selector at 100 %), in the middle of its promotion, switched to the other colour, or promoted; from the first command to its end and to the last request that the new version served.',
    figures,
  };
}

function nameOf({ name, title }: WayBack): string {
  return name ?? title;
}

function planOf(lab: Lab, { namespace, version }: { namespace: string; version: string }, way: WayBack): Plan {
  const { release, router } = way;
  switch (release) {
    case 'half': {
      if (router === undefined) return gatewayPlan(lab, namespace);
      const { traffic, weight = 50, spec = {} } = router;
      const weights = weight === 100 ? [100] : [weight, 100];
      return labPlan(lab, namespace, version, { ...spec, traffic, weights, soak: '1h' });
    }
    case 'promoting':
    case 'promoted':
      return promotedPlan(lab, namespace);
    case 'switched':
      return labPlan(lab, namespace, version, pairChoices({ soak: '1h' }));
    case 'kept':
      return labPlan(lab, namespace, version, pairChoices({ soak: '10s', keepOld: '1h' }));
  }
}

/** The release is where its way back is to begin. */
async function reach(release: State, { client }: SluiceStack, shop: LabShop): Promise<void> {
  const ref = { service: 'shop', namespace: shop.namespace };
  const until = (what: string, holds: (status: ReleaseStatus) => boolean | Promise<boolean>): Promise<void> =>
    eventually(what, async () => {
      const status = await client.status(ref);
      if (status.outcome !== null && status.outcome !== 'promoted') {
        throw new Error(`It ended as ${status.outcome}: ${status.message}`);
      }
      return holds(status);
    });
  if (release === 'promoting') {
    await until('the promotion to have given stable the new version', async ({ phase }) =>
      phase === 'promoting' ? (await shop.imageOf()) !== shop.image('v1') : false,
    );
  }
  if (release === 'promoted') await until('the release to be promoted', ({ outcome }) => outcome === 'promoted');
  if (release === 'kept')
    await until('the old version to be kept', ({ outcome, keepOld }) => outcome === 'promoted' && keepOld !== null);
}

async function timed(lab: Lab, wayBack: WayBack): Promise<readonly Figure[]> {
  const { title, served, release, router = {} as Partial<Router> } = wayBack;
  const name = nameOf(wayBack);
  const namespace = `bench-back-${process.pid}`;
  const cluster = connectCluster({ fieldManager: 'bench', kubeconfig: lab.kubeconfig });
  const stack = await SluiceStack.start(lab);
  const onDuty = await OnDuty.begin(lab, { root: ROOT, namespace, address: stack.address });
  try {
    const shop = await LabShop.make(lab, cluster, namespace, router.replicas);
    if (release === 'switched' || release === 'kept') await becomeBlue(lab, shop);
    const way = (await router.way?.(lab, cluster)) ?? byGateway(lab);
    await way.prepare(shop);
    const { entrances, leave } = await way.enter(shop);
    const [entrance] = entrances;
    if (entrance === undefined) throw new Error(`${name} has no entrance.`);
    const load = new Load(entrance.url, entrance.host, { perSecond: 50 });
    try {
      const version = shop.image('v2');
      await stack.client.deploy(planOf(lab, { namespace, version }, wayBack), { actor: BENCH_ACTOR });
      await eventually('the canary to serve', () =>
        Promise.resolve(load.served.filter((one) => one.version === 'v2').length >= 20),
      );
      await reach(release, stack, shop);
      if (!served) await stack.stop();
      const started = Date.now();
      process.stderr.write(await onDuty.succeed(...PAGE.section(title).map(router.asRead ?? ((commands) => commands))));
      const done = Date.now();
      const newest = (): Load['served'] => load.served.filter((one) => one.version === 'v2' && one.at >= started);
      // Nothing of it for two seconds on end.
      await eventually('the new version to serve no more', () =>
        Promise.resolve(Date.now() - Math.max(done, newest().at(-1)?.at ?? 0) > 2_000),
      );
      const last = newest().at(-1)?.at ?? started;
      const failed = (await load.stop()).filter(({ status }) => status !== 200).length;
      if (failed > 0) throw new Error(`${name}: ${failed} requests failed.`);
      return [
        below(`${name}: commands`, (done - started) / 1_000, LIMIT_S, 's'),
        below(`${name}: last request of the new version`, (last - started) / 1_000, LIMIT_S, 's'),
      ];
    } finally {
      await load.stop();
      await leave();
    }
  } finally {
    await stack.stop();
    await removeShop(lab, namespace);
    onDuty.end();
    cluster.close();
  }
}
