import { connectCluster } from '../../src/targets/kubernetes/cluster';
import type { Cluster } from '../../src/targets/kubernetes/cluster';
import { readDeployment } from '../../src/targets/kubernetes/deployment-view';
import { loadApiServer } from '../../src/targets/kubernetes/kube-config';
import type { ApiServer } from '../../src/targets/kubernetes/api-http';
import type { KubernetesObject, ObjectRef } from '../../src/targets/kubernetes/objects';
import type { Lab } from '../../test/lab/lab';
import { eventually } from '../lib/stack';
import type { BenchService } from './manifests';

/** The lab as the benchmark uses it: namespaces of its own, which are gone at the end. */
export class BenchCluster {
  readonly lab: Lab;
  readonly server: ApiServer;
  readonly cluster: Cluster;
  readonly #made: ObjectRef[] = [];
  readonly #signal: AbortSignal;

  constructor(lab: Lab, signal: AbortSignal) {
    this.lab = lab;
    this.#signal = signal;
    this.server = loadApiServer({ kubeconfig: lab.kubeconfig });
    this.cluster = connectCluster({ kubeconfig: lab.kubeconfig, fieldManager: 'bench' });
  }

  get signal(): { readonly signal: AbortSignal } {
    return { signal: this.#signal };
  }

  async namespace(name: string): Promise<string> {
    const ref = { apiVersion: 'v1', kind: 'Namespace', name };
    this.#made.push(ref);
    await this.cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, this.signal);
    return name;
  }

  async make(objects: readonly KubernetesObject[]): Promise<void> {
    for (const object of objects) await this.cluster.create(object, this.signal);
  }

  /** Makes what is not there yet, and takes it away with the rest: a definition that somebody else has is left alone. */
  async lend(object: KubernetesObject): Promise<void> {
    const ref = { apiVersion: object.apiVersion, kind: object.kind, name: object.metadata.name };
    if ((await this.cluster.find(ref, this.signal)) !== null) return;
    this.#made.push(ref);
    await this.cluster.apply(object, this.signal);
  }

  async available({ namespace, name }: BenchService, pods: number): Promise<void> {
    const ref = { apiVersion: 'apps/v1', kind: 'Deployment', namespace, name };
    await eventually(`Deployment ${name}`, async () => {
      const view = readDeployment(await this.cluster.get(ref, this.signal));
      return view.availableReplicas >= pods;
    });
  }

  /** Removes a namespace before the end: its pods' memory is wanted for the next part. */
  async remove(namespace: string): Promise<void> {
    await this.cluster.delete({ apiVersion: 'v1', kind: 'Namespace', name: namespace }, { signal: this.#signal });
  }

  /** Takes everything away that was made, the last first. */
  async close(): Promise<void> {
    const signal = AbortSignal.timeout(60_000);
    for (const ref of [...this.#made].reverse()) await this.cluster.delete(ref, { signal });
    this.cluster.close();
  }
}
