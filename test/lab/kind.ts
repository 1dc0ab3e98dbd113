import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { cacheDirectory } from '../../src/devserver/cache-directory';
import { findExecutables } from '../../src/devserver/find-executable';
import { freePort } from '../../src/devserver/free-port';
import { runCommand } from '../../src/devserver/run-command';
import { ReleaseError } from '../../src/errors';
import type { Lab } from './lab';
import { KindPorts, kindManifests } from './kind-manifests';
import { buildShop, ensureDefinitions } from './parts';
import { answers, until } from './processes';
import { makeLayer, pushImage } from './registry';
import { IMAGES } from './shop-images';
import { execute, tell } from './tell';

/**
 * The lab on a machine with a Docker engine: a cluster of kind with its registry beside it, as kind's own guide has it.
 * Tried by the project's tests with programs that stand for Docker, kind and kubectl, and with no real ones.
 */
const CLUSTER = 'sluice-lab';
const REGISTRY = 'sluice-lab-registry';

const folder = (): string => join(cacheDirectory(), 'lab', 'kind');
const note = (): string => join(folder(), 'lab.json');
const kubeconfig = (): string => join(folder(), 'kubeconfig');

const KindLab = z.object({
  kubeconfig: z.string(),
  gatewayUrl: z.string(),
  listenerPort: z.number().int(),
  prometheusUrl: z.string(),
  registry: z.string(),
  kubectl: z.string(),
});

/** The lab that `kindUp` made; undefined when there is none. */
export function findKindLab(): Lab | undefined {
  return existsSync(note()) ? KindLab.parse(JSON.parse(readFileSync(note(), 'utf8'))) : undefined;
}

/** Whether there is something for `kindDown` to take away: of a lab, or of a `kindUp` that was interrupted. */
export function isKindBegun(): boolean {
  return existsSync(folder());
}

/** Whether there are a Docker engine that answers, kind and kubectl. */
export async function canUseKind(): Promise<boolean> {
  return (await whatKindLacks(['docker', 'kind', 'kubectl'])) === null;
}

/** Why nothing can be made or taken away with these programs, as a clause; null where it can. */
async function whatKindLacks(programs: readonly string[]): Promise<string | null> {
  for (const program of programs) {
    if ((await findExecutables(program, process.env)).length === 0) return `there is no ${program} on the PATH`;
  }
  const engine = await runCommand('docker', ['info'], { timeoutMs: 15_000 });
  return engine.code === 0 ? null : 'no Docker engine answers (docker info)';
}

export async function kindUp(): Promise<Lab> {
  const known = findKindLab();
  if (known !== undefined) return known;
  // What an interrupted one left has other ports.
  await kindDown();
  const [registryPort, gatewayPort, prometheusPort] = [await freePort(), await freePort(), await freePort()];
  const [kubectl = 'kubectl'] = await findExecutables('kubectl', process.env);
  const lab: Lab = {
    kubeconfig: kubeconfig(),
    gatewayUrl: `http://127.0.0.1:${gatewayPort}`,
    listenerPort: KindPorts.listener,
    prometheusUrl: `http://127.0.0.1:${prometheusPort}`,
    registry: `127.0.0.1:${registryPort}`,
    kubectl,
  };
  mkdirSync(folder(), { recursive: true });
  const [definitions, shop] = await Promise.all([ensureDefinitions(tell), buildShop()]);
  tell('making a cluster with kind');
  await makeCluster(lab, gatewayPort, prometheusPort);
  await makeRegistry(lab.registry, registryPort);
  const layer = await makeLayer(shop);
  for (const image of IMAGES) await pushImage(lab.registry, image, layer);
  await installPrograms(lab, definitions);
  writeFileSync(note(), JSON.stringify(lab));
  return lab;
}

/**
 * Takes away what `kindUp` made, also half of it.
 *
 * @throws ReleaseError `unreachable` where Docker or kind have gone from the machine. There is no lab to be found then, and
 * the folder stays: it says that something is left.
 */
export async function kindDown(): Promise<void> {
  rmSync(note(), { force: true });
  try {
    await removeCluster();
  } catch (cause) {
    const lack = await whatKindLacks(['docker', 'kind']);
    if (lack === null) throw cause;
    throw new ReleaseError('unreachable', `What kind made for the lab cannot be taken away: ${lack}.`, {
      hint: `Bring it back and run scripts/lab down again, or take the containers away (docker rm --force --volumes ${CLUSTER}-control-plane ${REGISTRY}) and then ${folder()} (rm -r). Without Docker and kind, scripts/lab up makes the other kind of lab meanwhile.`,
      cause,
    });
  }
  rmSync(folder(), { recursive: true, force: true });
}

async function removeCluster(): Promise<void> {
  // With the lab's own kubeconfig: without one kind goes through the user's.
  await execute('kind', ['delete', 'cluster', '--name', CLUSTER, '--kubeconfig', kubeconfig()]);
  const registry = await execute('docker', ['ps', '--all', '--quiet', '--filter', `name=^${REGISTRY}$`]);
  if (registry !== '') await execute('docker', ['rm', '--force', '--volumes', REGISTRY]);
}

async function makeCluster(lab: Lab, gatewayPort: number, prometheusPort: number): Promise<void> {
  const mapping = (containerPort: number, hostPort: number) => ({
    containerPort,
    hostPort,
    listenAddress: '127.0.0.1',
  });
  const config = {
    kind: 'Cluster',
    apiVersion: 'kind.x-k8s.io/v1alpha4',
    networking: { apiServerAddress: '127.0.0.1' },
    nodes: [
      {
        role: 'control-plane',
        extraPortMappings: [mapping(KindPorts.gateway, gatewayPort), mapping(KindPorts.prometheus, prometheusPort)],
      },
    ],
    containerdConfigPatches: [
      '[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n',
    ],
  };
  const file = join(dirname(lab.kubeconfig), 'cluster.json');
  writeFileSync(file, JSON.stringify(config));
  await execute('kind', ['create', 'cluster', '--name', CLUSTER, '--config', file, '--kubeconfig', lab.kubeconfig]);
}

/** A registry on loopback, which the node finds by its container's name. */
async function makeRegistry(address: string, port: number): Promise<void> {
  await execute('docker', ['run', '--detach', '--name', REGISTRY, '--publish', `127.0.0.1:${port}:5000`, 'registry:2']);
  await execute('docker', ['network', 'connect', 'kind', REGISTRY]);
  const hosts = `/etc/containerd/certs.d/${address}`;
  const write = `mkdir -p ${hosts} && echo '[host."http://${REGISTRY}:5000"]' > ${hosts}/hosts.toml`;
  await execute('docker', ['exec', `${CLUSTER}-control-plane`, 'sh', '-c', write]);
  await until('the registry answers', () => answers(`http://${address}/v2/`));
}

async function installPrograms(lab: Lab, definitions: string): Promise<void> {
  const kubectl = (args: readonly string[], input = ''): Promise<string> =>
    execute(lab.kubectl, ['--kubeconfig', lab.kubeconfig, ...args], { input });
  for (const group of ['gateway-api', 'traefik', 'monitoring']) {
    await kubectl(['apply', '--server-side', '-f', join(definitions, group)]);
  }
  await kubectl(['wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all']);
  for (const manifest of kindManifests())
    await kubectl(['apply', '--server-side', '-f', '-'], JSON.stringify(manifest));
  await kubectl(['rollout', 'status', 'deployment', '-n', 'sluice-lab', '--timeout=300s']);
  await until('Prometheus answers', () => answers(`${lab.prometheusUrl}/-/ready`));
}
