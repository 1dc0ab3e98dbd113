import { pino } from 'pino';
import { connect } from '../../src/client/connect';
import type { SluiceClient } from '../../src/client/client-types';
import { findTemporalCli } from '../../src/devserver/find-temporal';
import { startTemporal } from '../../src/devserver/start-temporal';
import type { Plan } from '../../src/spec/plan-types';
import { connectCluster } from '../../src/targets/kubernetes/cluster';
import type { Cluster } from '../../src/targets/kubernetes/cluster';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import { startWorker } from '../../src/worker/start-worker';
import type { ReleaseStatus } from '../../src/workflows/api';
import { planOf } from '../integration/stack';
import type { Lab } from '../lab/lab';
import { makeShop, removeShop, shopImage } from '../lab/shop';
import type { ShopVersion } from '../lab/shop-images';

export const ADA = { name: 'ada', groups: ['oncall'], via: 'cli' } as const;

/** Temporal, one worker in this process, and the lab's cluster. */
export interface ReleaseStack {
  readonly client: SluiceClient;
  readonly cluster: Cluster;
  /** The address of Temporal's frontend. */
  readonly address: string;
  stop(): Promise<void>;
}

export async function startReleaseStack(lab: Lab): Promise<ReleaseStack> {
  // The worker finds its cluster as a user's does.
  process.env['KUBECONFIG'] = lab.kubeconfig;
  const { path } = await findTemporalCli({ onProgress: () => undefined });
  const temporal = await startTemporal({ binary: path, headless: true });
  const client = await connect({ address: temporal.address, namespace: 'default' });
  const worker = await startWorker({
    address: temporal.address,
    namespace: 'default',
    logger: pino({ level: 'silent' }),
    env: process.env,
  });
  const cluster = connectCluster({ fieldManager: 'e2e' });
  return {
    client,
    cluster,
    address: temporal.address,
    stop: async () => {
      await worker.stop();
      await client.close();
      cluster.close();
      await temporal.stop();
    },
  };
}

export interface SpecChoices {
  /** 25, 50 and 100 by default. */
  readonly weights?: readonly number[];
  /** Of each weight; 8s by default: windows of the lab's scrapes of 1 s. */
  readonly soak?: string;
  /** Lines before the weights, indented by four. */
  readonly before?: string;
  /** Of the path / by default, up to five times. */
  readonly smokeTest?: string;
  /** By the HTTPRoute by default. */
  readonly traffic?: string;
  /** Lines under `kubernetes:`, indented by six. */
  readonly kubernetes?: string;
  /** 90s by default. */
  readonly deployTimeout?: string;
}

/** A release of the lab's shop by its HTTPRoute, judged by the lab's Prometheus. */
export function labPlan(lab: Lab, namespace: string, version: string, more: SpecChoices = {}): Plan {
  const { weights = [25, 50, 100], soak = '8s', before = '', kubernetes = '', deployTimeout = '90s' } = more;
  const { traffic = '{ gatewayAPI: { httpRoute: shop } }', smokeTest = '{ path: /, attempts: 5 }' } = more;
  const text = `
apiVersion: sluice.dev/v1
kind: Release
metadata: { name: shop, namespace: ${namespace} }
spec:
  target:
    kubernetes:
      deployment: shop
      service: shop
      traffic: ${traffic}
      drain: 2s
${kubernetes}
  deployTimeout: ${deployTimeout}
  smokeTest: ${smokeTest}
  steps:
${before}
${weights.map((weight) => `    - { weight: ${weight}, soak: ${soak} }`).join('\n')}
  analysis:
    source: { prometheus: { url: '${lab.prometheusUrl}' } }
    interval: 2s
    window: 8s
    minMeasurements: 2
    minRequests: 5
    metrics:
      - { name: error-rate, max: 10% }
      - { name: p95-latency, max: 500ms }
    compare: false
`;
  return planOf(text, version);
}

/** A shop of its own namespace that answers at the gateway, and is removed when the test is over. */
export class LabShop {
  readonly #lab: Lab;
  readonly #cluster: Cluster;
  readonly namespace: string;

  private constructor(lab: Lab, cluster: Cluster, namespace: string) {
    this.#lab = lab;
    this.#cluster = cluster;
    this.namespace = namespace;
  }

  static async make(lab: Lab, cluster: Cluster, namespace: string, replicas = 2): Promise<LabShop> {
    await makeShop(lab, { namespace, version: 'v1', replicas });
    return new LabShop(lab, cluster, namespace);
  }

  image(version: ShopVersion): string {
    return shopImage(this.#lab, version);
  }

  /** `kind/name` of every object of a release's kinds in the namespace. */
  async objects(): Promise<string[]> {
    const kinds = [
      ['apps/v1', 'Deployment'],
      ['v1', 'Service'],
      ['gateway.networking.k8s.io/v1', 'HTTPRoute'],
    ] as const;
    const lists = await Promise.all(
      kinds.map(([apiVersion, kind]) =>
        this.#cluster.list({ apiVersion, kind, namespace: this.namespace }, { signal: AbortSignal.timeout(20_000) }),
      ),
    );
    return lists.flat().map((object) => `${object.kind}/${object.metadata.name}`);
  }

  deployment(name = 'shop'): Promise<KubernetesObject | null> {
    const ref = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: this.namespace, name };
    return this.#cluster.find(ref, { signal: AbortSignal.timeout(20_000) });
  }

  async stableImage(): Promise<string> {
    const spec = (await this.deployment())?.['spec'] as { template: { spec: { containers: { image: string }[] } } };
    return spec.template.spec.containers[0]?.image ?? '';
  }

  /** The backends of the route with their weights. */
  async backends(): Promise<Record<string, number>> {
    const route = await this.#cluster.get(
      { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'HTTPRoute', namespace: this.namespace, name: 'shop' },
      { signal: AbortSignal.timeout(20_000) },
    );
    const { rules } = route['spec'] as { rules: { backendRefs: { name: string; weight?: number }[] }[] };
    return Object.fromEntries((rules[0]?.backendRefs ?? []).map(({ name, weight = 1 }) => [name, weight]));
  }

  remove(): Promise<void> {
    return removeShop(this.#lab, this.namespace);
  }
}

/** Watches until the condition holds and answers that status; fails when the release ends before. */
export async function until(
  client: SluiceClient,
  namespace: string,
  holds: (status: ReleaseStatus) => boolean,
): Promise<ReleaseStatus> {
  let last: ReleaseStatus | null = null;
  for await (const status of client.watch({ service: 'shop', namespace }, { everyMs: 200 })) {
    if (holds(status)) return status;
    last = status;
  }
  throw new Error(`the release ended as ${last?.outcome ?? '?'} before: ${last?.message ?? ''}`);
}

/** The status at the end, with the story in the error of a test that expected another one. */
export async function ended(client: SluiceClient, namespace: string): Promise<ReleaseStatus> {
  return until(client, namespace, (status) => status.endedAt !== null);
}
