import type { Cluster } from '../../src/targets/kubernetes/cluster';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import type { Lab } from '../lab/lab';
import { makeShop, removeShop, shopImage } from '../lab/shop';
import type { ShopVersion } from '../lab/shop-images';
import { eventually } from './eventually';

/** Everything that a release could leave behind. */
const KINDS = {
  Deployment: 'apps/v1',
  Service: 'v1',
  ConfigMap: 'v1',
  Secret: 'v1',
  HTTPRoute: 'gateway.networking.k8s.io/v1',
  GRPCRoute: 'gateway.networking.k8s.io/v1',
  Ingress: 'networking.k8s.io/v1',
  TraefikService: 'traefik.io/v1alpha1',
  HorizontalPodAutoscaler: 'autoscaling/v2',
} as const;
export type Kind = keyof typeof KINDS;

/** What every namespace has by itself. */
const NOT_OURS = new Set(['ConfigMap/kube-root-ca.crt']);

/** A shop of its own namespace that answers at the gateway. */
export class LabShop {
  readonly namespace: string;
  readonly #lab: Lab;
  readonly #cluster: Cluster;

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

  /** All objects of a release's kinds in the namespace, by `kind/name`. */
  async found(): Promise<ReadonlyMap<string, KubernetesObject>> {
    const lists = await Promise.all(
      Object.entries(KINDS).map(([kind, apiVersion]) =>
        this.#cluster.list({ apiVersion, kind, namespace: this.namespace }, { signal: AbortSignal.timeout(20_000) }),
      ),
    );
    const named = lists.flat().map((object) => [`${object.kind}/${object.metadata.name}`, object] as const);
    return new Map(named.filter(([name]) => !NOT_OURS.has(name)).sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** `kind/name` of what a release works with. */
  async objects(): Promise<string[]> {
    return [...(await this.found()).keys()].filter((name) => /^(Deployment|Service|HTTPRoute)\//.test(name));
  }

  deployment(name = 'shop'): Promise<KubernetesObject | null> {
    return this.find('Deployment', name);
  }

  stableImage(): Promise<string> {
    return this.imageOf();
  }

  find(kind: Kind, name = 'shop'): Promise<KubernetesObject | null> {
    const ref = { apiVersion: KINDS[kind], kind, namespace: this.namespace, name };
    return this.#cluster.find(ref, { signal: AbortSignal.timeout(20_000) });
  }

  /** As somebody else would, with kubectl. */
  async patch(kind: Kind, operations: readonly PatchOperation[], name = 'shop'): Promise<void> {
    const ref = { apiVersion: KINDS[kind], kind, namespace: this.namespace, name };
    await this.#cluster.patch(ref, { type: 'json', operations }, { signal: AbortSignal.timeout(20_000) });
  }

  async create(object: KubernetesObject): Promise<void> {
    await this.#cluster.create(
      { ...object, metadata: { ...object.metadata, namespace: this.namespace } },
      { signal: AbortSignal.timeout(20_000) },
    );
  }

  async delete(kind: Kind, name = 'shop'): Promise<void> {
    const ref = { apiVersion: KINDS[kind], kind, namespace: this.namespace, name };
    await this.#cluster.delete(ref, { signal: AbortSignal.timeout(20_000) });
  }

  async imageOf(name = 'shop'): Promise<string> {
    const spec = (await this.find('Deployment', name))?.['spec'] as DeploymentSpec | undefined;
    return spec?.template.spec.containers[0]?.image ?? '';
  }

  async replicas(name = 'shop'): Promise<number | null> {
    const spec = (await this.find('Deployment', name))?.['spec'] as DeploymentSpec | undefined;
    return spec?.replicas ?? null;
  }

  /** Its pods are those that are asked for, and the ones before have gone. */
  async settled(name = 'shop'): Promise<void> {
    await eventually(
      async () => {
        const deployment = (await this.find('Deployment', name)) as unknown as SettlingDeployment;
        const { spec, status, metadata } = deployment;
        const { replicas = 0, updatedReplicas = 0, availableReplicas = 0 } = status;
        const seen = status.observedGeneration === metadata.generation;
        return seen && [replicas, updatedReplicas, availableReplicas].every((count) => count === spec.replicas);
      },
      `Deployment ${name} has settled`,
      120_000,
    );
  }

  /** Pods that were taken away have gone: until then they answer whoever has not heard of it yet. */
  async drained(): Promise<void> {
    const pods = { apiVersion: 'v1', kind: 'Pod', namespace: this.namespace };
    await eventually(
      async () => {
        const found = await this.#cluster.list(pods, { signal: AbortSignal.timeout(20_000) });
        return found.every(({ metadata }) => metadata.deletionTimestamp === undefined);
      },
      'the pods that were taken away have gone',
      120_000,
    );
  }

  /** The backends of the route with their weights. */
  async backends(): Promise<Record<string, number>> {
    const spec = (await this.find('HTTPRoute'))?.['spec'] as
      { rules: { backendRefs: { name: string; weight?: number }[] }[] } | undefined;
    return Object.fromEntries((spec?.rules[0]?.backendRefs ?? []).map(({ name, weight = 1 }) => [name, weight]));
  }

  remove(): Promise<void> {
    return removeShop(this.#lab, this.namespace);
  }
}

type PatchOperation = Extract<Parameters<Cluster['patch']>[1], { type: 'json' }>['operations'][number];

interface SettlingDeployment {
  readonly metadata: { readonly generation: number };
  readonly spec: { readonly replicas: number };
  readonly status: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
  };
}

interface DeploymentSpec {
  readonly replicas: number;
  readonly template: { readonly spec: { readonly containers: readonly { readonly image: string }[] } };
}
