import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { freePort } from '../../src/devserver/free-port';
import type { KubernetesObject, ObjectRef } from '../../src/targets/kubernetes/objects';
import { shopImage } from '../../test/lab/shop';
import { eventually } from '../lib/stack';
import type { ArgoParts } from './argo-build';
import type { BenchCluster } from './bench-cluster';
import { COURSE, sumOfCounter } from './contender';
import type { Contender } from './contender';
import { rolloutObjects } from './manifests';

export interface ArgoController {
  readonly child: ChildProcess;
  readonly metricsUrl: string;
  /** With SIGKILL; returns when it is gone. */
  kill(): Promise<void>;
}

export async function installArgoDefinitions(cluster: BenchCluster, { definitions }: ArgoParts): Promise<void> {
  for (const file of readdirSync(definitions).filter((name) => name.endsWith('-crd.yaml'))) {
    const definition = parse(readFileSync(join(definitions, file), 'utf8')) as KubernetesObject;
    await cluster.lend(definition);
    const { apiVersion, kind, metadata } = definition;
    await eventually(`the definition ${metadata.name}`, async () => {
      const { status } = (await cluster.cluster.get({ apiVersion, kind, name: metadata.name }, cluster.signal)) as {
        status?: { conditions?: readonly { readonly type: string; readonly status: string }[] };
      };
      return status?.conditions?.some((one) => one.type === 'Established' && one.status === 'True') ?? false;
    });
  }
}

/** Argo Rollouts' controller outside of the cluster, for one namespace. */
export async function startArgo(
  cluster: BenchCluster,
  { controller }: ArgoParts,
  { namespace, leaderElect }: { readonly namespace: string; readonly leaderElect: boolean },
): Promise<ArgoController> {
  const [metrics, health] = [await freePort(), await freePort()];
  const child = spawn(
    controller,
    [
      `--kubeconfig=${cluster.lab.kubeconfig}`,
      '--namespaced',
      `--namespace=${namespace}`,
      `--leader-elect=${leaderElect}`,
      `--metricsPort=${metrics}`,
      `--healthzPort=${health}`,
      '--loglevel=error',
    ],
    // Outside of a pod this says where the lease is; without it, in a namespace that is not there.
    { env: { ...process.env, POD_NAMESPACE: namespace }, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log = `${log}${text}`.slice(-4_000)));
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const kill = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await gone;
  };
  try {
    await eventually('Argo Rollouts to answer', async () => {
      if (child.exitCode !== null) throw new Error(`Argo Rollouts ended with ${child.exitCode}:\n${log}`);
      try {
        return (await fetch(`http://127.0.0.1:${health}/healthz`, { signal: AbortSignal.timeout(1_000) })).ok;
      } catch {
        return false; // it does not listen yet
      }
    });
  } catch (error) {
    await kill();
    throw error;
  }
  return { child, metricsUrl: `http://127.0.0.1:${metrics}/metrics`, kill };
}

/** Whether each has come to a pause; those of a canary without pods write no weight. */
export async function areHeld(cluster: BenchCluster, namespace: string, names: readonly string[]): Promise<boolean> {
  for (const name of names) {
    const ref: ObjectRef = { apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', namespace, name };
    const { status } = (await cluster.cluster.get(ref, cluster.signal)) as { status?: { phase?: string } };
    if (status?.phase !== 'Paused') return false;
  }
  return true;
}

export function argoContender(
  cluster: BenchCluster,
  controllers: readonly ArgoController[],
  {
    namespace,
    pauseS = COURSE.pauseS,
    objectsOf = rolloutObjects,
  }: { readonly namespace: string; readonly pauseS?: number; readonly objectsOf?: typeof rolloutObjects },
): Contender {
  const images = { stable: shopImage(cluster.lab, 'v1'), canary: shopImage(cluster.lab, 'v2') };
  const ref = (name: string): ObjectRef => ({ apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', namespace, name });
  const setImage = async (name: string, image: string): Promise<void> => {
    const operations = [{ op: 'replace', path: '/spec/template/spec/containers/0/image', value: image } as const];
    await cluster.cluster.patch(ref(name), { type: 'json', operations }, cluster.signal);
  };
  const healthy = (name: string): Promise<void> =>
    eventually(`Rollout ${name} to be healthy`, async () => {
      const { status, spec, metadata } = (await cluster.cluster.get(ref(name), cluster.signal)) as {
        metadata: { generation?: number };
        status?: { phase?: string; observedGeneration?: string; availableReplicas?: number; replicas?: number };
        spec?: { replicas?: number };
      };
      const seen = status?.observedGeneration === String(metadata.generation);
      return (
        seen &&
        status.phase === 'Healthy' &&
        status.availableReplicas === spec?.replicas &&
        status.replicas === spec?.replicas
      );
    });
  return {
    name: 'Argo Rollouts',
    namespace,
    prepare: async (services) => {
      const options = { image: images.stable, replicas: 1, weights: COURSE.weights, pauseS };
      for (const name of services) await cluster.make(objectsOf({ namespace, name }, options));
      for (const name of services) await healthy(name);
    },
    start: (service) => setImage(service, images.canary),
    abort: async (service) => {
      // What its kubectl plugin does.
      const patch = { status: { abort: true } };
      await cluster.cluster.patch(ref(service), { type: 'merge', patch }, { ...cluster.signal, subresource: 'status' });
    },
    state: async (service) => {
      const { status } = await cluster.cluster.get(ref(service), cluster.signal);
      return `Its Rollout says: ${JSON.stringify(status)}`;
    },
    settle: async (service) => {
      await setImage(service, images.stable);
      await healthy(service);
    },
    canaryIngress: (service) => `${service}-${service}-canary`,
    podPrefix: (service) => `${service}-`,
    requests: async () => {
      const sums = controllers.map(({ metricsUrl }) =>
        sumOfCounter(metricsUrl, 'controller_clientset_k8s_request_total'),
      );
      return (await Promise.all(sums)).reduce((all, one) => all + one, 0);
    },
  };
}
