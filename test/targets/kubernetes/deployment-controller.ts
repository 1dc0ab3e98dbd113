import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { readDeployment } from '../../../src/targets/kubernetes/deployment-view';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';

const EVERY_MS = 50;

/**
 * Stands in for the Deployment controller where there is an API server and nothing else: every Deployment of a namespace
 * gets all its pods at once, as far as its status goes. `hold` names those that get none.
 */
export class DeploymentController {
  readonly hold = new Set<string>();
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
        const collection = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: this.#namespace };
        for (const object of await this.#cluster.list(collection, { signal })) await this.#settle(object);
      } catch (error) {
        // Somebody else was faster, or the test is over: the next round sees what there is.
        if (signal.aborted) return;
        if (!(error instanceof Error && 'kind' in error)) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }

  async #settle(object: KubernetesObject): Promise<void> {
    const view = readDeployment(object);
    const replicas = this.hold.has(view.name) ? 0 : view.replicas;
    const settled = view.observedGeneration === view.generation && view.availableReplicas === replicas;
    if (settled) return;
    const status = {
      observedGeneration: view.generation,
      replicas,
      updatedReplicas: replicas,
      readyReplicas: replicas,
      availableReplicas: replicas,
    };
    await this.#cluster.patch(
      { apiVersion: 'apps/v1', kind: 'Deployment', namespace: this.#namespace, name: view.name },
      { type: 'merge', patch: { status } },
      { signal: this.#stop.signal, subresource: 'status' },
    );
  }
}
