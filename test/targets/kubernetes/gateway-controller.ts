import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';

const EVERY_MS = 50;

/**
 * Stands in for the controller of a Gateway where there is an API server and nothing else: every route of a namespace is
 * said to be accepted, for the generation that it has, by all of its parents.
 */
export class GatewayController {
  readonly #cluster: Cluster;
  readonly #namespace: string;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(cluster: Cluster, namespace: string) {
    this.#cluster = cluster;
    this.#namespace = namespace;
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        for (const kind of ['HTTPRoute', 'GRPCRoute']) {
          const collection = { apiVersion: 'gateway.networking.k8s.io/v1', kind, namespace: this.#namespace };
          for (const route of await this.#cluster.list(collection, { signal })) await this.#accept(route);
        }
      } catch (error) {
        // Somebody else was faster, or the test is over: the next round sees what there is.
        if (signal.aborted) return;
        if (!(error instanceof Error && 'kind' in error)) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }

  async #accept(route: KubernetesObject): Promise<void> {
    const { generation = 0, name } = route.metadata;
    const { parentRefs = [] } = route['spec'] as { parentRefs?: readonly object[] };
    const { parents: known = [] } = (route['status'] ?? {}) as {
      parents?: readonly { conditions?: readonly { observedGeneration?: number }[] }[];
    };
    if (known.length > 0 && known.every(({ conditions = [] }) => isOf(conditions, generation))) return;
    const conditions = ['Accepted', 'ResolvedRefs'].map((type) => ({
      type,
      status: 'True',
      reason: type,
      message: '',
      lastTransitionTime: new Date().toISOString(),
      observedGeneration: generation,
    }));
    const parents = parentRefs.map((parentRef) => ({ parentRef, controllerName: 'sluice.test/gateway', conditions }));
    const { apiVersion, kind } = route;
    await this.#cluster.patch(
      { apiVersion, kind, namespace: this.#namespace, name },
      { type: 'merge', patch: { status: { parents } } },
      { signal: this.#stop.signal, subresource: 'status' },
    );
  }
}

function isOf(conditions: readonly { observedGeneration?: number }[], generation: number): boolean {
  return conditions.length > 0 && conditions.every((one) => one.observedGeneration === generation);
}
