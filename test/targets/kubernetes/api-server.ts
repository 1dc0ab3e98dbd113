import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseAllDocuments } from 'yaml';
import { connectCluster } from '../../../src/targets/kubernetes/cluster';
import type { Cluster, ClusterOptions, WatchableCluster } from '../../../src/targets/kubernetes/cluster';
import { ClusterFailure } from '../../../src/targets/kubernetes/cluster-failure';
import { loadApiServer } from '../../../src/targets/kubernetes/kube-config';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import { definitionsFolder, findApiServerParts } from '../../lab/parts';
import type { ApiServerParts } from '../../lab/parts';

const USERS = { admin: 'token-of-the-admin', limited: 'token-of-the-limited' } as const;

/** Starting both takes a second or two; a busy machine gets a minute. */
const START_MS = 60_000;

/** A real kube-apiserver with its etcd, on loopback, of one suite; no controllers and no nodes. */
export interface ApiServerProcess {
  /** A kubeconfig with the contexts `admin` and `limited` (a user without any rights). */
  readonly kubeconfig: string;
  connect(options?: ClusterOptions): WatchableCluster;
  /** Kills the API server as a crash would, leaving its etcd alone, and returns when another serves at the same place. */
  crash(): Promise<void>;
  close(): Promise<void>;
}

/** Every request is made as this user, as `kubectl --as` does it. */
export function connectAs(server: ApiServerProcess, user: string, options: ClusterOptions = {}): WatchableCluster {
  const admin = loadApiServer({ kubeconfig: server.kubeconfig, context: 'admin' });
  return server.connect({
    ...options,
    server: {
      ...admin,
      access: async () => {
        const { headers, ...rest } = await admin.access();
        return { ...rest, headers: { ...headers, 'Impersonate-User': user } };
      },
    },
  });
}

/** A suite against the real API server; skipped, and said so, where that has not been built. */
export function describeWithApiServer(name: string, suite: (server: () => ApiServerProcess) => void): void {
  const parts = findApiServerParts();
  if (parts === undefined) {
    const reason = 'there is no API server; scripts/lab build --api-server makes one';
    process.stderr.write(`skipped "${name}": ${reason}\n`);
    describe.skip(name, () => {
      it(`needs a kube-apiserver: ${reason}`, () => undefined);
    });
    return;
  }
  describe(name, () => {
    let running: ApiServerProcess | null = null;
    beforeAll(async () => {
      running = await startApiServer(parts);
    }, 2 * START_MS);
    afterAll(async () => {
      await running?.close();
    });
    suite(() => {
      if (running === null) throw new Error('The API server is not running.');
      return running;
    });
  });
}

/** Installs the definitions whose file names contain one of the words, and waits until they are served. */
export async function installDefinitions(cluster: Cluster, words: readonly string[]): Promise<void> {
  const signal = AbortSignal.timeout(2 * START_MS);
  const folder = definitionsFolder();
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.yaml') || !words.some((word) => file.includes(word))) continue;
    for (const document of parseAllDocuments(readFileSync(join(folder, file), 'utf8'))) {
      const definition = document.toJS() as KubernetesObject | null;
      if (definition?.kind !== 'CustomResourceDefinition') continue;
      await cluster.apply(definition, { signal });
      await until(async () => {
        const { status } = (await cluster.get({ ...definition, name: definition.metadata.name }, { signal })) as {
          status?: { conditions?: readonly { type: string; status: string }[] };
        };
        return status?.conditions?.some((one) => one.type === 'Established' && one.status === 'True') ?? false;
      });
      await until(() => isServed(cluster, definition));
    }
  }
}

/** Established is what the definition says of itself; the API server hears of it a moment later, and answers 404 until then. */
async function isServed(cluster: Cluster, definition: KubernetesObject): Promise<boolean> {
  const { group, names, versions } = definition['spec'] as {
    group: string;
    names: { kind: string };
    versions: readonly { name: string; served: boolean }[];
  };
  const lists = versions
    .filter(({ served }) => served)
    .map(({ name }) =>
      cluster.list({ apiVersion: `${group}/${name}`, kind: names.kind }, { signal: AbortSignal.timeout(START_MS) }),
    );
  try {
    await Promise.all(lists);
    return true;
  } catch (error) {
    if (error instanceof ClusterFailure && error.status === 404) return false;
    throw error;
  }
}

/** Looks until it is so. */
export async function until(look: () => Promise<boolean>, timeoutMs = START_MS): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await look())) {
    if (performance.now() > deadline) throw new Error('It did not come to be in time.');
    await delay(50);
  }
}

async function startApiServer(parts: ApiServerParts): Promise<ApiServerProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-api-server-'));
  const children: ChildProcess[] = [];
  const close = async (): Promise<void> => {
    // The API server first: without its etcd it would only complain.
    for (const child of [...children].reverse()) await stop(child);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const [client, peer, secure] = await freePorts(3);
    children.push(
      run(parts.etcd, directory, [
        `--data-dir=${join(directory, 'etcd')}`,
        `--listen-client-urls=http://127.0.0.1:${client}`,
        `--advertise-client-urls=http://127.0.0.1:${client}`,
        `--listen-peer-urls=http://127.0.0.1:${peer}`,
        `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
        `--initial-cluster=default=http://127.0.0.1:${peer}`,
      ]),
    );
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const keys = { private: join(directory, 'accounts.key'), public: join(directory, 'accounts.pub') };
    writeFileSync(keys.private, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    writeFileSync(keys.public, publicKey.export({ type: 'spki', format: 'pem' }));
    const tokens = join(directory, 'tokens.csv');
    writeFileSync(tokens, `${USERS.admin},admin,1,system:masters\n${USERS.limited},limited,2\n`);
    const startServer = (): ChildProcess =>
      run(parts.apiServer, directory, [
        `--etcd-servers=http://127.0.0.1:${client}`,
        '--bind-address=127.0.0.1',
        '--advertise-address=127.0.0.1',
        `--secure-port=${secure}`,
        `--cert-dir=${join(directory, 'certificates')}`,
        `--service-account-key-file=${keys.public}`,
        `--service-account-signing-key-file=${keys.private}`,
        '--service-account-issuer=https://kubernetes.default.svc',
        `--token-auth-file=${tokens}`,
        '--authorization-mode=RBAC',
        '--service-cluster-ip-range=10.96.0.0/16',
        '--endpoint-reconciler-type=none',
      ]);
    children.push(startServer());
    const kubeconfig = join(directory, 'kubeconfig');
    writeFileSync(kubeconfig, kubeconfigOf(secure ?? 0, join(directory, 'certificates', 'apiserver.crt')));
    const connect = (options: ClusterOptions = {}): WatchableCluster =>
      connectCluster({ kubeconfig, context: 'admin', ...options });
    await waitUntilServed(connect, children);
    const crash = async (): Promise<void> => {
      const crashed = children.pop();
      if (crashed !== undefined) await stop(crashed, 'SIGKILL');
      children.push(startServer());
      await waitUntilServed(connect, children);
    };
    return { kubeconfig, connect, crash, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function waitUntilServed(connect: () => Cluster, children: readonly ChildProcess[]): Promise<void> {
  await until(async () => {
    const dead = children.find((child) => child.exitCode !== null);
    if (dead !== undefined) throw new Error(`${dead.spawnfile} ended with ${dead.exitCode}.`);
    const cluster = connect();
    try {
      const ref = { apiVersion: 'v1', kind: 'Namespace', name: 'default' };
      const found = await cluster.find(ref, { signal: AbortSignal.timeout(5_000) });
      return found !== null;
    } catch {
      return false; // not up yet: it refuses, or does not know its administrators yet
    } finally {
      cluster.close();
    }
  });
}

function run(program: string, directory: string, args: readonly string[]): ChildProcess {
  return spawn(program, args, { cwd: directory, stdio: 'ignore' });
}

async function stop(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  const patience = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await ended;
  clearTimeout(patience);
}

/** Ports that were free a moment ago; all held at once, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ports.push((server.address() as AddressInfo).port);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}

function kubeconfigOf(port: number, authority: string): string {
  const names = Object.keys(USERS) as (keyof typeof USERS)[];
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server: `https://127.0.0.1:${port}`, 'certificate-authority': authority } }],
    users: names.map((name) => ({ name, user: { token: USERS[name] } })),
    contexts: names.map((name) => ({ name, context: { cluster: 'test', user: name } })),
    'current-context': 'admin',
  });
}
