import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { connect } from '../../src/client/connect';
import type { SluiceClient } from '../../src/client/client-types';
import { findTemporalCli } from '../../src/devserver/find-temporal';
import { freePort } from '../../src/devserver/free-port';
import { startTemporal } from '../../src/devserver/start-temporal';
import { parseSpec } from '../../src/spec/load';
import { plan } from '../../src/spec/plan';
import type { Plan } from '../../src/spec/plan-types';
import { releaseWorkflowId } from '../../src/workflows/api';
import type { Lab } from '../../test/lab/lab';
import { shopImage } from '../../test/lab/shop';
import { BENCH_ACTOR, eventually } from '../lib/stack';
import { COURSE, sumOfCounter } from './contender';
import type { Contender } from './contender';
import type { BenchCluster } from './bench-cluster';
import { deploymentObjects } from './manifests';

const ROOT = join(__dirname, '..', '..', '..', '..');

export interface WorkerUnderBench {
  readonly child: ChildProcess;
  readonly metricsUrl: string;
}

/** Temporal's dev server in memory, and workers as `sluice worker` starts them, each a process. */
export class SluiceStack {
  readonly client: SluiceClient;
  readonly workers: WorkerUnderBench[] = [];
  /** Of Temporal's frontend. */
  readonly address: string;
  readonly #lab: Lab;
  #stopped = false;
  readonly #connection: Connection;
  readonly #stopTemporal: () => Promise<void>;

  private constructor(
    lab: Lab,
    client: SluiceClient,
    temporal: { address: string; stop(): Promise<void> },
    raw: Connection,
  ) {
    this.#lab = lab;
    this.client = client;
    this.address = temporal.address;
    this.#stopTemporal = () => temporal.stop();
    this.#connection = raw;
  }

  static async start(lab: Lab): Promise<SluiceStack> {
    const { path } = await findTemporalCli({ onProgress: (line) => process.stderr.write(`${line}\n`) });
    const temporal = await startTemporal({ binary: path, headless: true });
    const client = await connect({ address: temporal.address, namespace: 'default', timeoutMs: 60_000 });
    const raw = await Connection.connect({ address: temporal.address });
    const stack = new SluiceStack(lab, client, temporal, raw);
    try {
      await stack.addWorker();
    } catch (error) {
      await stack.stop();
      throw error;
    }
    return stack;
  }

  async addWorker(): Promise<WorkerUnderBench> {
    const port = await freePort();
    const child = spawn(
      process.execPath,
      [join(ROOT, 'dist', 'cli', 'main.js'), 'worker', '--health-port', String(port)],
      {
        env: { ...process.env, TEMPORAL_ADDRESS: this.address, KUBECONFIG: this.#lab.kubeconfig },
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    let log = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (log = `${log}${text}`.slice(-4_000)));
    const worker = { child, metricsUrl: `http://127.0.0.1:${port}/metrics` };
    this.workers.push(worker);
    await eventually('the worker to poll', async () => {
      if (child.exitCode !== null) throw new Error(`The worker ended with ${child.exitCode}:\n${log}`);
      return (await this.client.workers()).some(({ identity }) => identity.startsWith(`${child.pid}@`));
    });
    return worker;
  }

  /** The worker that the release's next task is offered to first: the one that did its last. */
  async workerOf(service: string, namespace: string): Promise<WorkerUnderBench> {
    const { history } = await this.#connection.workflowService.getWorkflowExecutionHistoryReverse({
      namespace: 'default',
      execution: { workflowId: releaseWorkflowId(namespace, service) },
      maximumPageSize: 100,
    });
    const identity = (history?.events ?? [])
      .map((event) => event.workflowTaskCompletedEventAttributes?.identity)
      .find((one) => typeof one === 'string');
    const found = this.workers.find(({ child }) => identity?.startsWith(`${child.pid}@`) === true);
    if (found === undefined) throw new Error(`No worker of the benchmark has had ${service}.`);
    return found;
  }

  async kill(worker: WorkerUnderBench): Promise<void> {
    this.workers.splice(this.workers.indexOf(worker), 1);
    const gone = new Promise((resolve) => worker.child.once('exit', resolve));
    worker.child.kill('SIGKILL');
    await gone;
  }

  /** May be called more than once. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const { child } of this.workers) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode !== null || !child.kill('SIGTERM')) continue;
      await gone;
    }
    await this.#connection.close();
    await this.client.close();
    await this.#stopTemporal();
  }
}

export interface CourseOptions {
  readonly service: string;
  readonly namespace: string;
  readonly image: string;
  readonly prometheusUrl: string;
  /** Weights with their soaks. */
  readonly steps: readonly { readonly weight: number; readonly soak: string }[];
  /** Of the measurements. */
  readonly interval: string;
}

/** A release by NGINX annotations whose one metric is always well: what is measured is the machinery. */
export function coursePlan(options: CourseOptions): Plan {
  return planOf(options, `nginx: { ingress: ${options.service} }`);
}

/** Half of the requests of the lab's shop by its HTTPRoute, until it is taken back. */
export function gatewayPlan(lab: Lab, namespace: string): Plan {
  const steps = [{ weight: 50, soak: '1h' }];
  const { prometheusUrl } = lab;
  const options = { service: 'shop', namespace, image: shopImage(lab, 'v2'), prometheusUrl, steps, interval: '5s' };
  return planOf(options, 'gatewayAPI: { httpRoute: shop }');
}

/** All of them after a short soak, and then for good. */
export function promotedPlan(lab: Lab, namespace: string): Plan {
  const steps = [{ weight: 100, soak: '10s' }];
  const { prometheusUrl } = lab;
  const options = { service: 'shop', namespace, image: shopImage(lab, 'v2'), prometheusUrl, steps, interval: '2s' };
  return planOf(options, 'gatewayAPI: { httpRoute: shop }');
}

function planOf({ service, namespace, image, prometheusUrl, steps, interval }: CourseOptions, traffic: string): Plan {
  const text = `
apiVersion: sluice.dev/v1
kind: Release
metadata: { name: ${service}, namespace: ${namespace} }
spec:
  target:
    kubernetes:
      deployment: ${service}
      service: ${service}
      drain: 1s
      resolveImage: never
      traffic: { ${traffic} }
  deployTimeout: 8m
  steps:
${whole(steps)
  .map(({ weight, soak }) => `    - { weight: ${weight}, soak: ${soak} }`)
  .join('\n')}
  analysis:
    source: { prometheus: { url: '${prometheusUrl}' } }
    interval: ${interval}
    minMeasurements: 1
    metrics:
      - { name: steady, query: vector(1), unit: count, max: 2 }
    compare: false
`;
  const parsed = parseSpec(text, 'bench.yaml');
  if (!parsed.ok) throw new Error(`The benchmark's own spec is wrong: ${JSON.stringify(parsed.problems)}`);
  return plan(parsed.spec, image);
}

/** A plan's last weight is 100; one that is held before it for an hour never comes there. */
function whole(steps: CourseOptions['steps']): CourseOptions['steps'] {
  return steps.at(-1)?.weight === 100 ? steps : [...steps, { weight: 100, soak: '1h' }];
}

export function sluiceContender(stack: SluiceStack, cluster: BenchCluster, namespace: string): Contender {
  const { lab } = cluster;
  const { pauseS } = COURSE;
  const steps = COURSE.weights.map((weight, index) => ({
    weight,
    soak: index === COURSE.weights.length - 1 ? '1h' : `${pauseS}s`,
  }));
  const ref = (service: string) => ({ service, namespace });
  return {
    name: 'Sluice',
    namespace,
    prepare: async (services) => {
      for (const name of services) {
        await cluster.make(deploymentObjects({ namespace, name }, { image: shopImage(lab, 'v1'), replicas: 1 }));
      }
      for (const name of services) await cluster.available({ namespace, name }, 1);
    },
    start: async (service) => {
      const image = shopImage(lab, 'v2');
      const { prometheusUrl } = lab;
      const course = { service, namespace, image, prometheusUrl, steps, interval: `${pauseS}s` };
      await stack.client.deploy(coursePlan(course), { actor: BENCH_ACTOR });
    },
    abort: async (service) => {
      await stack.client.rollback(ref(service), { actor: BENCH_ACTOR });
    },
    state: async (service) => {
      const { phase, outcome, message } = await stack.client.status(ref(service));
      return `Its release is ${outcome ?? phase}: ${message}`;
    },
    settle: (service) =>
      eventually(
        `the release of ${service} to end`,
        async () => (await stack.client.status(ref(service))).outcome !== null,
        { limitMs: 120_000 },
      ),
    canaryIngress: (service) => `${service}-canary`,
    podPrefix: (service) => `${service}-canary-`,
    requests: async () => {
      const sums = stack.workers.map(({ metricsUrl }) => sumOfCounter(metricsUrl, 'sluice_kubernetes_requests_total'));
      return (await Promise.all(sums)).reduce((all, one) => all + one, 0);
    },
  };
}
