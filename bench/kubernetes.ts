import { setTimeout as delay } from 'node:timers/promises';
import { Load } from '../test/e2e/load';
import { requireLab } from '../test/lab/lab';
import { ask, makeShop, removeShop, shopImage } from '../test/lab/shop';
import { ensureArgoRollouts } from './kubernetes/argo-build';
import type { Served } from '../test/e2e/load';
import type { ArgoParts } from './kubernetes/argo-build';
import { areHeld, argoContender, installArgoDefinitions, startArgo } from './kubernetes/argo-side';
import type { ArgoController } from './kubernetes/argo-side';
import { BenchCluster } from './kubernetes/bench-cluster';
import { COURSE } from './kubernetes/contender';
import type { Contender } from './kubernetes/contender';
import { deploymentObjects, gatewayHost, gatewayRolloutObjects, heldRolloutObjects } from './kubernetes/manifests';
import { coursePlan, gatewayPlan, sluiceContender, SluiceStack } from './kubernetes/sluice-side';
import { WeightWatch } from './kubernetes/weight-watch';
import { BENCH_ACTOR, eventually, memoryOf } from './lib/stack';
import { below, told } from './lib/result';
import type { BenchResult, Figure } from './lib/result';
import { max, percentile } from './lib/statistics';

/** Everything together; what is not measured by then is said to be missing. */
const LIMIT_MS = 35 * 60_000;

const ALONE = 8;
/** Alone too, aborted at the first weight already: a hundredth of the aborts is to be one of them at least. */
const ABORTED_ALONE = 92;
const AT_ONCE = 20;
const ROUNDS = 2;
const GATEWAY_SAMPLES = 4;
const KILLS = 3;
/** A canary that has served nothing for so long serves no more: a gateway takes a changed configuration every two seconds. */
const QUIET_MS = 6_000;
const IN_PROGRESS = 100;
const LOOK_S = 5;

interface Measured {
  readonly firstWeightMs: number[];
  readonly beyondPodMs: number[];
  readonly overheadMs: number[];
  readonly abortMs: number[];
  readonly requests: number[];
}

/** In the order in which they are measured. */
const PARTS = {
  sluice: ({ stack, cluster }) => sluiceAlone(stack, cluster),
  argo: async ({ cluster, argo }) => argoAlone(cluster, await argo()),
  gateway: ({ stack, cluster }) => atTheGateway(stack, cluster),
  'argo-gateway': async ({ cluster, argo }) => argoAtTheGateway(cluster, await argo()),
  'worker-killed': ({ stack, cluster }) => workerKilled(stack, cluster),
  'leader-killed': async ({ cluster, argo }) => leaderKilled(cluster, await argo()),
  memory: ({ stack, cluster }) => manyInProgress(stack, cluster),
  'argo-memory': async ({ cluster, argo }) => argoManyInProgress(cluster, await argo()),
} as const satisfies Record<string, (bench: Bench) => Promise<readonly Figure[]>>;

interface Bench {
  readonly stack: SluiceStack;
  readonly cluster: BenchCluster;
  /** Builds it where it is not there yet. */
  readonly argo: () => Promise<ArgoParts>;
}

/** What `--only` may name. */
export const KUBERNETES_PARTS: readonly string[] = Object.keys(PARTS);

/**
 * Sluice and Argo Rollouts on the same cluster, one after the other, by the same course: three weights by NGINX
 * annotations with pauses of three seconds, and an abort at the third. What was written when is seen by a watch of the
 * Ingresses, as an ingress controller sees it.
 */
export async function kubernetes(only: readonly string[]): Promise<BenchResult> {
  const lab = await requireLab();
  const argo = (): Promise<ArgoParts> => ensureArgoRollouts((line) => process.stderr.write(`${line}\n`));
  // A build is no part of what is measured.
  if (only.some((name) => name === 'argo' || name.startsWith('argo-') || name === 'leader-killed')) await argo();
  const started = performance.now();
  const limit = AbortSignal.timeout(LIMIT_MS);
  const cluster = new BenchCluster(lab, limit);
  const figures: Figure[] = [];
  const failed: string[] = [];
  const stack = await SluiceStack.start(lab);
  try {
    for (const [name, measure] of Object.entries(PARTS)) {
      if (!only.includes(name)) continue;
      const seconds = Math.round((performance.now() - started) / 1_000);
      process.stderr.write(`bench: kubernetes: ${name} (after ${seconds} s) ...\n`);
      try {
        limit.throwIfAborted();
        figures.push(...(await within(limit, measure({ stack, cluster, argo }))));
      } catch (error) {
        // What others measured is not lost with a part.
        const why = limit.aborted ? `not within ${LIMIT_MS / 60_000} minutes` : String(error);
        failed.push(`kubernetes, ${name}: ${why}`);
        process.stderr.write(`bench: ${name} failed: ${error instanceof Error ? (error.stack ?? why) : why}\n`);
      }
    }
  } finally {
    await stack.stop();
    await cluster.close();
  }
  return {
    bench: 'kubernetes',
    how: `Sluice and Argo Rollouts 1.10.2 one after the other on one cluster (Kubernetes on this machine, one node), each: ${ALONE} releases alone and ${ROUNDS} times ${AT_ONCE} at once, weights ${COURSE.weights.join('/')} by NGINX annotations with pauses of ${COURSE.pauseS} s, aborted at the last, and ${ABORTED_ALONE} more alone, aborted at the first; Sluice with one always well metric from Prometheus, looked at once a pause, Temporal's dev server in memory, worker processes beside the cluster; Argo's controller beside it too, without leader election but where that is measured. Times are from the call to the watch event of the Ingress.`,
    figures,
    failed,
  };
}

async function sluiceAlone(stack: SluiceStack, cluster: BenchCluster): Promise<readonly Figure[]> {
  const namespace = await cluster.namespace(`bench-sluice-${process.pid}`);
  const { alone, together } = await course(sluiceContender(stack, cluster, namespace), cluster);
  return [
    below('Sluice: abort to weight 0 written, alone, p99', percentile(alone.abortMs, 99), 100, 'ms'),
    told('Sluice: the same, p50', percentile(alone.abortMs, 50), 'ms'),
    told('Sluice: the same, the first of all', alone.abortMs[0] ?? Number.NaN, 'ms'),
    below(`Sluice: abort to weight 0 written, ${AT_ONCE} at once, p99`, percentile(together.abortMs, 99), 300, 'ms'),
    told('Sluice: the same, p50', percentile(together.abortMs, 50), 'ms'),
    ...beside('Sluice', alone, together),
    below('Sluice: API requests per release', percentile(alone.requests, 50), 40, ''),
  ];
}

async function argoAlone(cluster: BenchCluster, parts: ArgoParts): Promise<readonly Figure[]> {
  const namespace = await cluster.namespace(`bench-argo-${process.pid}`);
  await installArgoDefinitions(cluster, parts);
  const controller = await startArgo(cluster, parts, { namespace, leaderElect: false });
  try {
    const { alone, together } = await course(argoContender(cluster, [controller], { namespace }), cluster);
    return [
      told('Argo Rollouts: abort to weight 0 written, alone, p99', percentile(alone.abortMs, 99), 'ms'),
      told('Argo Rollouts: the same, p50', percentile(alone.abortMs, 50), 'ms'),
      told('Argo Rollouts: the same, the first of all', alone.abortMs[0] ?? Number.NaN, 'ms'),
      told(`Argo Rollouts: abort to weight 0 written, ${AT_ONCE} at once, p99`, percentile(together.abortMs, 99), 'ms'),
      told('Argo Rollouts: the same, p50', percentile(together.abortMs, 50), 'ms'),
      ...beside('Argo Rollouts', alone, together),
      told('Argo Rollouts: API requests per release', percentile(alone.requests, 50), ''),
    ];
  } finally {
    await controller.kill();
  }
}

function beside(who: string, alone: Measured, together: Measured): Figure[] {
  return [
    told(`${who}: start to first weight, alone, p50`, percentile(alone.firstWeightMs, 50), 'ms'),
    told(`${who}: the same beyond the ready pod, p50`, percentile(alone.beyondPodMs, 50), 'ms'),
    told(`${who}: start to first weight, ${AT_ONCE} at once, p50`, percentile(together.firstWeightMs, 50), 'ms'),
    told(`${who}: overhead per step beyond its pause, p50`, percentile(alone.overheadMs, 50), 'ms'),
    told(`${who}: the same, highest`, max(alone.overheadMs), 'ms'),
  ];
}

/** The course alone, again and again, and then many services at once. */
async function course(
  contender: Contender,
  cluster: BenchCluster,
): Promise<{ readonly alone: Measured; readonly together: Measured }> {
  const watch = await WeightWatch.open(cluster.server, contender.namespace);
  const services = Array.from({ length: AT_ONCE }, (_, index) => `shop-${index}`);
  const alone = nothingMeasured();
  const together = nothingMeasured();
  try {
    await contender.prepare(['alone']);
    for (let round = 0; round < ALONE; round += 1) {
      const before = await contender.requests();
      await throughAll(contender, watch, { service: 'alone', into: alone });
      await contender.settle('alone');
      alone.requests.push((await contender.requests()) - before);
    }
    for (let round = 0; round < ABORTED_ALONE; round += 1) {
      await toFirstWeight(contender, watch, { service: 'alone', into: nothingMeasured() });
      await abort(contender, watch, { service: 'alone', into: alone });
      await contender.settle('alone');
    }
    await contender.prepare(services);
    for (let round = 0; round < ROUNDS; round += 1) {
      await Promise.all(services.map((service) => toFirstWeight(contender, watch, { service, into: together })));
      await Promise.all(services.map((service) => abort(contender, watch, { service, into: together })));
      if (round < ROUNDS - 1) await Promise.all(services.map((service) => contender.settle(service)));
    }
  } finally {
    watch.close();
    await cluster.remove(contender.namespace);
  }
  return { alone, together };
}

interface Sample {
  readonly service: string;
  readonly into: Measured;
}

async function toFirstWeight(contender: Contender, watch: WeightWatch, { service, into }: Sample): Promise<number> {
  const started = performance.now();
  await contender.start(service);
  const first = await watch
    .weight(contender.canaryIngress(service), (weight) => weight === COURSE.weights[0], started)
    .catch(async (error: unknown) => {
      throw new Error(`${String(error)} ${await contender.state(service)}`, { cause: error });
    });
  const ready = await watch.podReady(contender.podPrefix(service), started);
  into.firstWeightMs.push(first.at - started);
  into.beyondPodMs.push(first.at - ready);
  return first.at;
}

async function throughAll(contender: Contender, watch: WeightWatch, sample: Sample): Promise<void> {
  let last = await toFirstWeight(contender, watch, sample);
  for (const weight of COURSE.weights.slice(1)) {
    const next = await watch.weight(contender.canaryIngress(sample.service), (seen) => seen === weight, last);
    sample.into.overheadMs.push(next.at - last - COURSE.pauseS * 1_000);
    last = next.at;
  }
  await abort(contender, watch, sample);
}

async function abort(contender: Contender, watch: WeightWatch, { service, into }: Sample): Promise<void> {
  const asked = performance.now();
  const answered = contender.abort(service);
  const zero = await watch.weight(contender.canaryIngress(service), (weight) => weight === 0, asked);
  into.abortMs.push(zero.at - asked);
  await answered;
}

/** By the Gateway API and real requests: from the call to the last request that the canary served. */
async function atTheGateway(stack: SluiceStack, cluster: BenchCluster): Promise<readonly Figure[]> {
  const { lab } = cluster;
  const namespace = `bench-gateway-${process.pid}`;
  const shop = await makeShop(lab, { namespace, version: 'v1', replicas: 1 });
  const lastMs: number[] = [];
  let lost = 0;
  const ref = { service: 'shop', namespace };
  try {
    for (let sample = 0; sample < GATEWAY_SAMPLES; sample += 1) {
      const load = new Load(shop.url, shop.host, { perSecond: 100 });
      try {
        await stack.client.deploy(gatewayPlan(lab, namespace), { actor: BENCH_ACTOR });
        await eventually('the canary to serve', () =>
          Promise.resolve(load.served.filter(({ version }) => version === 'v2').length >= 20),
        );
        const asked = Date.now();
        await stack.client.rollback(ref, { actor: BENCH_ACTOR });
        await eventually('the release to end', async () => (await stack.client.status(ref)).outcome !== null);
        const served = await load.stop();
        lastMs.push(lastOfCanary(served, asked) - asked);
        lost += served.filter(({ status }) => status !== 200).length;
      } finally {
        await load.stop();
      }
    }
  } finally {
    await removeShop(lab, namespace);
  }
  return [
    told('Sluice: abort to the last request of the canary at the gateway, p50', percentile(lastMs, 50), 'ms'),
    told('Sluice: the same, highest', max(lastMs), 'ms'),
    told('Sluice: failed requests meanwhile', lost, ''),
  ];
}

/** When the canary served last, of the requests since a moment; that moment where it served none. */
function lastOfCanary(served: readonly Served[], since: number): number {
  return Math.max(since, ...served.filter(({ version }) => version === 'v2').map(({ at }) => at));
}

/** The same of Argo, by a TraefikService at the same gateway: of the Gateway API it knows nothing without a plugin. */
async function argoAtTheGateway(cluster: BenchCluster, parts: ArgoParts): Promise<readonly Figure[]> {
  const { lab } = cluster;
  const namespace = await cluster.namespace(`bench-argo-gateway-${process.pid}`);
  const service = { namespace, name: 'shop' };
  await installArgoDefinitions(cluster, parts);
  const controller = await startArgo(cluster, parts, { namespace, leaderElect: false });
  const contender = argoContender(cluster, [controller], { namespace, objectsOf: gatewayRolloutObjects });
  const lastMs: number[] = [];
  let lost = 0;
  try {
    await contender.prepare([service.name]);
    const host = gatewayHost(service);
    await eventually('the gateway to lead to it', async () => (await ask(lab, host)).version === 'v1');
    for (let sample = 0; sample < GATEWAY_SAMPLES; sample += 1) {
      const load = new Load(lab.gatewayUrl, host, { perSecond: 100 });
      try {
        await contender.start(service.name);
        await eventually('the canary to serve', () =>
          Promise.resolve(load.served.filter(({ version }) => version === 'v2').length >= 20),
        );
        const asked = Date.now();
        await contender.abort(service.name);
        await eventually('the canary to serve no more', () =>
          Promise.resolve(Date.now() - lastOfCanary(load.served, asked) > QUIET_MS),
        );
        const served = await load.stop();
        lastMs.push(lastOfCanary(served, asked) - asked);
        lost += served.filter(({ status }) => status !== 200).length;
        await contender.settle(service.name);
      } finally {
        await load.stop();
      }
    }
  } finally {
    await controller.kill();
    await cluster.remove(namespace);
  }
  return [
    told('Argo Rollouts: abort to the last request of the canary at the gateway, p50', percentile(lastMs, 50), 'ms'),
    told('Argo Rollouts: the same, highest', max(lastMs), 'ms'),
    told('Argo Rollouts: failed requests meanwhile', lost, ''),
  ];
}

/** Of two workers the one that has the release is killed: just before its soak ends, and just before an abort. */
async function workerKilled(stack: SluiceStack, cluster: BenchCluster): Promise<readonly Figure[]> {
  const namespace = await cluster.namespace(`bench-kill-${process.pid}`);
  const watch = await WeightWatch.open(cluster.server, namespace);
  const service = 'shop';
  const ref = { service, namespace };
  const soakS = 8;
  const lateMs: number[] = [];
  const abortMs: number[] = [];
  const contender = sluiceContender(stack, cluster, namespace);
  try {
    await contender.prepare([service]);
    for (let round = 0; round < KILLS; round += 1) {
      while (stack.workers.length < 2) await stack.addWorker();
      const begun = performance.now();
      const { lab } = cluster;
      const steps = [
        { weight: 10, soak: `${soakS}s` },
        { weight: 30, soak: '1h' },
      ];
      const asked = { image: shopImage(lab, 'v2'), prometheusUrl: lab.prometheusUrl, steps, interval: '2s' };
      await stack.client.deploy(coursePlan({ ...ref, ...asked }), { actor: BENCH_ACTOR });
      const first = await watch.weight(contender.canaryIngress(service), (weight) => weight === 10, begun);
      // Each time at another moment of the soak: between two looks, and ever closer to its end.
      const moment = soakS * 1_000 - 200 - round * 700;
      await delay(first.at + moment - performance.now());
      await stack.kill(await stack.workerOf(service, namespace));
      const next = await watch.weight(contender.canaryIngress(service), (weight) => weight === 30, first.at);
      lateMs.push(next.at - first.at - soakS * 1_000);
      await stack.addWorker();
      await stack.kill(await stack.workerOf(service, namespace));
      const called = performance.now();
      const answered = stack.client.rollback(ref, { actor: BENCH_ACTOR });
      const zero = await watch.weight(contender.canaryIngress(service), (weight) => weight === 0, called);
      abortMs.push(zero.at - called);
      await answered;
      await contender.settle(service);
    }
  } finally {
    watch.close();
    await cluster.remove(namespace);
  }
  return [
    below('Sluice: one of two workers killed in a soak, next step late by, highest', max(lateMs) / 1_000, 5, 's'),
    told('Sluice: the same, p50', percentile(lateMs, 50) / 1_000, 's'),
    below('Sluice: an abort just after the kill, weight 0 after, highest', max(abortMs) / 1_000, 5, 's'),
    told('Sluice: the same, p50', percentile(abortMs, 50) / 1_000, 's'),
  ];
}

/** The same of two controllers with Argo's default leader election, once each: it takes as long as its lease. */
async function leaderKilled(cluster: BenchCluster, parts: ArgoParts): Promise<readonly Figure[]> {
  const namespace = await cluster.namespace(`bench-leader-${process.pid}`);
  await installArgoDefinitions(cluster, parts);
  const watch = await WeightWatch.open(cluster.server, namespace);
  const pauseS = 8;
  const controllers: ArgoController[] = [];
  try {
    // The first has the lease before the second comes.
    controllers.push(await startArgo(cluster, parts, { namespace, leaderElect: true }));
    const contender = argoContender(cluster, controllers, { namespace, pauseS });
    await contender.prepare(['shop']);
    controllers.push(await startArgo(cluster, parts, { namespace, leaderElect: true }));
    const begun = performance.now();
    await contender.start('shop');
    const first = await watch.weight(contender.canaryIngress('shop'), (weight) => weight === 10, begun);
    // Well before the pause ends: Argo counts whole seconds, and may end it up to one early.
    await delay(first.at + (pauseS - 3) * 1_000 - performance.now());
    await controllers[0]?.kill();
    const next = await watch.weight(contender.canaryIngress('shop'), (weight) => weight === 30, first.at);
    const late = (next.at - first.at) / 1_000 - pauseS;
    controllers.push(await startArgo(cluster, parts, { namespace, leaderElect: true }));
    await controllers[1]?.kill();
    const aborted: Measured = nothingMeasured();
    await abort(contender, watch, { service: 'shop', into: aborted });
    return [
      told('Argo Rollouts: the leader of two killed in a pause, next step late by', late, 's'),
      told('Argo Rollouts: an abort just after the kill, weight 0 after', max(aborted.abortMs) / 1_000, 's'),
    ];
  } finally {
    for (const controller of controllers) await controller.kill();
    watch.close();
    await cluster.remove(namespace);
  }
}

/** Stable tracks without pods, so that the node has room for the canaries of all. */
async function manyInProgress(stack: SluiceStack, cluster: BenchCluster): Promise<readonly Figure[]> {
  const { lab } = cluster;
  const namespace = await cluster.namespace(`bench-many-${process.pid}`);
  // A worker that has done nothing before, and no other that takes a part.
  const fresh = await stack.addWorker();
  for (const worker of stack.workers.filter((one) => one !== fresh)) await stack.kill(worker);
  const services = Array.from({ length: IN_PROGRESS }, (_, index) => `shop-${index}`);
  const steps = [{ weight: 10, soak: '1h' }];
  for (const name of services) {
    await cluster.make(deploymentObjects({ namespace, name }, { image: shopImage(lab, 'v1'), replicas: 0 }));
    const asked = { image: shopImage(lab, 'v2'), prometheusUrl: lab.prometheusUrl, steps, interval: `${LOOK_S}s` };
    await stack.client.deploy(coursePlan({ namespace, service: name, ...asked }), { actor: BENCH_ACTOR });
  }
  let states: readonly string[] = [];
  await eventually(
    `${IN_PROGRESS} releases to soak`,
    async () => {
      const found = await stack.client.list({ limit: 2 * IN_PROGRESS });
      states = found.filter(({ service }) => services.includes(service)).map(({ phase }) => phase);
      return states.filter((phase) => phase === 'soaking').length >= IN_PROGRESS;
    },
    { everyMs: 5_000 },
  ).catch((error: unknown) => {
    const counts = [...new Set(states)].map((phase) => `${states.filter((one) => one === phase).length} ${phase}`);
    throw new Error(`${String(error)} There are: ${counts.join(', ')}.`, { cause: error });
  });
  // Each has been looked at a few times by then.
  await delay(4 * LOOK_S * 1_000);
  const { now, peak } = memoryOf(fresh.child);
  return [
    told(`Sluice: worker's resident memory with ${IN_PROGRESS} releases in progress`, now, 'MB'),
    ...(peak === null ? [] : [told('Sluice: the same, highest', peak, 'MB')]),
  ];
}

/**
 * As many of Argo's, held at their first weight until somebody goes on. It has no pods to look at but the stable ones, so
 * that the node has room for all, and no metric.
 */
async function argoManyInProgress(cluster: BenchCluster, parts: ArgoParts): Promise<readonly Figure[]> {
  const namespace = await cluster.namespace(`bench-argo-many-${process.pid}`);
  await installArgoDefinitions(cluster, parts);
  const controller = await startArgo(cluster, parts, { namespace, leaderElect: false });
  try {
    const contender = argoContender(cluster, [controller], { namespace, objectsOf: heldRolloutObjects });
    const services = Array.from({ length: IN_PROGRESS }, (_, index) => `shop-${index}`);
    await contender.prepare(services);
    for (const service of services) await contender.start(service);
    await eventually(`${IN_PROGRESS} Rollouts to be held`, () => areHeld(cluster, namespace, services), {
      everyMs: 2_000,
    });
    await delay(4 * LOOK_S * 1_000);
    const { now, peak } = memoryOf(controller.child);
    return [
      told(`Argo Rollouts: controller's resident memory with ${IN_PROGRESS} releases in progress`, now, 'MB'),
      ...(peak === null ? [] : [told('Argo Rollouts: the same, highest', peak, 'MB')]),
    ];
  } finally {
    await controller.kill();
    await cluster.remove(namespace);
  }
}

function nothingMeasured(): Measured {
  return { firstWeightMs: [], beyondPodMs: [], overheadMs: [], abortMs: [], requests: [] };
}

/** Rejects when the time is up, whatever the work still waits for. */
function within<T>(limit: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => reject(new Error('The time is up.'));
    limit.addEventListener('abort', giveUp, { once: true });
    void work.then(resolve, reject).finally(() => limit.removeEventListener('abort', giveUp));
  });
}
