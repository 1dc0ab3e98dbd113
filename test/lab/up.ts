import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { freePort } from '../../src/devserver/free-port';
import { ReleaseError } from '../../src/errors';
import { componentsOf, configFiles } from './components';
import type { Component } from './components';
import { takeDown } from './down';
import { writeKubeconfig } from './kubeconfig';
import { COMPONENTS, GATEWAY_CLASS, LAB_HOME, NODE_NAME, Paths } from './layout';
import type { ComponentName } from './layout';
import { answers, startComponent, waitUntilReady, until } from './processes';
import { makeLayer, pushImage } from './registry';
import { IMAGES } from './shop-images';
import { readState, runningPid, writeState } from './state';
import type { LabParts, LabState } from './state';
import { absentFolders, ensureBridge, freeSubnet, readSysctls } from './system';
import { execute, tell } from './tell';

/** Brings the lab up, or what is missing of it, and returns when a pod could be made and reached. */
export async function bringUp(parts: LabParts, owner: string): Promise<LabState> {
  const known = readState();
  if (known !== undefined && known.owner !== owner && (await isAlive(known))) throw ownedByAnother(known);
  const state = known !== undefined && (await isAlive(known)) ? known : await prepare(parts, owner);
  const components = componentsOf(state);
  await ensureBridge(state.network);
  // Two strands that need nothing of each other: the images, and the API with what watches it.
  await Promise.all([startRegistry(state, components), startControlPlane(state, components)]);
  await startNode(state, components);
  await startTraffic(state, components);
  return state;
}

/** Starts one component again, as `up` does, and waits for it. */
export async function startAgain(state: LabState, name: ComponentName): Promise<void> {
  const component = componentsOf(state)[name];
  await startComponent(state, name, component);
  const { readyUrl } = component;
  if (name === 'kube-apiserver') await waitUntilReady(state, name, () => isApiReady(state.parts));
  else if (readyUrl !== undefined) await waitUntilReady(state, name, () => answers(readyUrl));
}

/** Whether anything of a lab runs. */
export async function isAlive(state: LabState): Promise<boolean> {
  for (const name of COMPONENTS) {
    if ((await runningPid(state, name)) !== undefined) return true;
  }
  return false;
}

export function ownedByAnother(state: LabState): ReleaseError {
  return new ReleaseError(
    'conflict',
    `A lab that ${state.owner} brought up runs on this machine, and there can only be one.`,
    {
      hint: 'Use that one (scripts/lab run -- COMMAND works from here too), or take it down with scripts/lab down from there.',
    },
  );
}

/** Decides ports, addresses and secrets of a new lab, after clearing away what a dead one left. */
async function prepare(parts: LabParts, owner: string): Promise<LabState> {
  await takeDown();
  const ports = {
    registry: await freePort(),
    etcd: await freePort(),
    etcdPeers: await freePort(),
    apiServer: await freePort(),
    kubelet: await freePort(),
    gateway: await freePort(),
    traefik: await freePort(),
    prometheus: await freePort(),
  };
  const secret = (): string => randomBytes(24).toString('hex');
  const state: LabState = {
    owner,
    parts,
    startedAt: new Date().toISOString(),
    ports,
    network: freeSubnet(),
    tokens: { admin: secret(), limited: secret() },
    sysctls: readSysctls(),
    absent: absentFolders(),
    processes: {},
  };
  writeState(state);
  mkdirSync(Paths.logs, { recursive: true });
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const files = {
    ...configFiles(state),
    'accounts.key': privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    'accounts.pub': publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
  for (const [name, content] of Object.entries(files)) {
    const file = join(Paths.config, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content, { mode: 0o600 });
  }
  // etcd insists on a folder that is nobody else's.
  mkdirSync(join(LAB_HOME, 'etcd'), { recursive: true });
  chmodSync(join(LAB_HOME, 'etcd'), 0o700);
  return state;
}

type Components = Readonly<Record<ComponentName, Component>>;

async function start(state: LabState, components: Components, name: ComponentName): Promise<void> {
  const component = components[name];
  if ((await runningPid(state, name)) === undefined) tell(`starting ${name}`);
  await startComponent(state, name, component);
  const { readyUrl } = component;
  if (readyUrl !== undefined) await waitUntilReady(state, name, () => answers(readyUrl));
}

async function startRegistry(state: LabState, components: Components): Promise<void> {
  await start(state, components, 'registry');
  const layer = await makeLayer(state.parts.shop);
  for (const image of IMAGES) await pushImage(`127.0.0.1:${state.ports.registry}`, image, layer);
}

async function startControlPlane(state: LabState, components: Components): Promise<void> {
  await start(state, components, 'etcd');
  await start(state, components, 'kube-apiserver');
  const certificate = join(Paths.certificates, 'apiserver.crt');
  await waitUntilReady(state, 'kube-apiserver', () => Promise.resolve(existsSync(certificate)));
  writeKubeconfig(state, readFileSync(certificate, 'utf8'));
  await waitUntilReady(state, 'kube-apiserver', () => isApiReady(state.parts));
  await start(state, components, 'kube-controller-manager');
  await start(state, components, 'kube-scheduler');
}

async function startNode(state: LabState, components: Components): Promise<void> {
  await start(state, components, 'containerd');
  await waitUntilReady(state, 'containerd', () => Promise.resolve(existsSync(Paths.containerdSocket)));
  await start(state, components, 'kubelet');
}

async function startTraffic(state: LabState, components: Components): Promise<void> {
  const { parts } = state;
  await applyDefinitions(parts);
  await start(state, components, 'traefik');
  await start(state, components, 'pod-discovery');
  await start(state, components, 'prometheus');
  await until('the node is Ready', async () => {
    const path = `{.items[?(@.metadata.name=="${NODE_NAME}")].status.conditions[?(@.type=="Ready")].status}`;
    return (await kubectl(parts, ['get', 'nodes', '-o', `jsonpath=${path}`])).trim() === 'True';
  });
  await until(`the GatewayClass ${GATEWAY_CLASS} is accepted`, async () => {
    const path = '{.status.conditions[?(@.type=="Accepted")].status}';
    return (await kubectl(parts, ['get', 'gatewayclass', GATEWAY_CLASS, '-o', `jsonpath=${path}`])).trim() === 'True';
  });
}

async function applyDefinitions(parts: LabParts): Promise<void> {
  const folders = ['gateway-api', 'traefik', 'monitoring'].map((group) => join(parts.definitions, group));
  const files = folders.flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
  await kubectl(parts, ['apply', '--server-side', ...files.flatMap((file) => ['-f', file])]);
  await kubectl(parts, ['wait', '--for=condition=Established', '--timeout=60s', 'crd', '--all']);
  const gatewayClass = join(Paths.config, 'gateway-class.json');
  const document = {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'GatewayClass',
    metadata: { name: GATEWAY_CLASS },
    spec: { controllerName: 'traefik.io/gateway-controller' },
  };
  writeFileSync(gatewayClass, JSON.stringify(document));
  await kubectl(parts, ['apply', '--server-side', '-f', gatewayClass]);
}

async function isApiReady(parts: Pick<LabParts, 'kubernetes'>): Promise<boolean> {
  try {
    await kubectl(parts, ['get', '--raw', '/readyz', '--request-timeout=2s']);
    return true;
  } catch {
    return false; // it refuses, or some of its parts are not ready: either way not yet
  }
}

function kubectl(parts: Pick<LabParts, 'kubernetes'>, args: readonly string[]): Promise<string> {
  return execute(join(parts.kubernetes, 'kubectl'), ['--kubeconfig', Paths.kubeconfig, ...args], { timeoutMs: 90_000 });
}
