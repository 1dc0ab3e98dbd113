import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { cacheDirectory } from '../../src/devserver/cache-directory';
import { withCacheLock } from '../../src/devserver/cache-lock';
import { ReleaseError } from '../../src/errors';
import { debianFolder, ensureDebianPackages, libraryPath } from './debian-packages';
import { ensureGoBuild, goEnvironment, GoBuilds, moduleFolder } from './go-builds';
import { Versions } from './layout';
import type { LabParts } from './state';
import { execute } from './tell';

/** What the tests against a lone API server need. */
export interface ApiServerParts {
  readonly apiServer: string;
  readonly etcd: string;
  readonly definitions: string;
}

const DEBIAN = ['etcd-server', 'containerd', 'runc', 'containernetworking-plugins', 'docker-registry'];

/** Apart from the lab's own: a data plane for single suites, and no part of a running lab. */
const NGINX = ['nginx'];

type Progress = (line: string) => void;

const cache = (): string => join(cacheDirectory(), 'lab');
const debianCache = (): string => join(cache(), 'debian');
const traefikFolder = (): string => join(cache(), `traefik-${Versions.traefik}`);
const kubernetesFolder = (): string => join(cache(), `kubernetes-${Versions.kubernetes}`);

/** Where the CustomResourceDefinitions lie, in the folders `gateway-api`, `traefik`, `istio.io` and `monitoring`. */
export function definitionsFolder(): string {
  const { gatewayApi, traefik, istioApi, prometheusOperator } = Versions;
  return join(cache(), `definitions-${[gatewayApi, traefik, istioApi, prometheusOperator].join('-')}`);
}

/** Builds and fetches what is not in the cache yet: half an hour on two cores the first time, nothing afterwards. */
export async function ensureLabParts(onProgress: Progress): Promise<LabParts> {
  return locked(onProgress, async () => {
    // Fetching waits for the network and compiling for the processor: they go side by side. The two big builds do not.
    const [debian, prometheus, definitions, shop] = await Promise.all([
      ensureDebian(onProgress),
      prometheusPath(onProgress),
      ensureDefinitions(onProgress),
      buildShop(),
      ensureGoBuild(GoBuilds.kubernetes, kubernetesFolder(), onProgress).then(() =>
        ensureGoBuild(GoBuilds.traefik, traefikFolder(), onProgress),
      ),
    ]);
    const traefik = join(traefikFolder(), 'traefik');
    return { kubernetes: kubernetesFolder(), traefik, prometheus, shop, definitions, debian };
  });
}

/** One after the other: a fresh machine has to fetch the archive's lists first, and once. */
async function ensureDebian(onProgress: Progress): Promise<string> {
  const folder = await ensureDebianPackages(debianCache(), DEBIAN, onProgress);
  await ensureNginx(onProgress);
  return folder;
}

/** The same for a lone API server. */
export async function ensureApiServerParts(onProgress: Progress): Promise<ApiServerParts> {
  return locked(onProgress, async () => {
    await Promise.all([
      ensureDebian(onProgress),
      ensureDefinitions(onProgress),
      ensureGoBuild(GoBuilds.apiServer, kubernetesFolder(), onProgress),
    ]);
    const parts = findApiServerParts();
    if (parts === undefined) throw new ReleaseError('internal', 'What was built for the API server is not there.');
    return parts;
  });
}

/** What is in the cache already for a lone API server; undefined when something is missing. Builds nothing. */
export function findApiServerParts(): ApiServerParts | undefined {
  const parts = {
    apiServer: join(kubernetesFolder(), 'kube-apiserver'),
    etcd: join(debianFolder(debianCache(), DEBIAN), 'usr/bin/etcd'),
    definitions: definitionsFolder(),
  };
  return Object.values(parts).every((file) => existsSync(file)) ? parts : undefined;
}

/** The kubectl of the cache; undefined where it was not built. Builds nothing. */
export function findKubectl(): string | undefined {
  const program = join(kubernetesFolder(), 'kubectl');
  return existsSync(program) ? program : undefined;
}

/** Debian's nginx, unpacked. */
export interface Nginx {
  readonly program: string;
  /** For LD_LIBRARY_PATH. */
  readonly libraries: string;
}

/** The nginx of the cache; undefined where the lab's parts were not fetched. */
export function findNginx(): Nginx | undefined {
  const root = debianFolder(debianCache(), NGINX);
  const program = join(root, 'usr/sbin/nginx');
  return existsSync(program) ? { program, libraries: libraryPath(root) } : undefined;
}

/** Fetches it where it is not in the cache. */
export async function ensureNginx(onProgress: Progress): Promise<Nginx> {
  await withCacheLock(
    join(debianCache(), '.nginx-lock'),
    (holder) => onProgress(`waiting for process ${holder}, which fetches nginx`),
    () => ensureDebianPackages(debianCache(), NGINX, onProgress),
  );
  const nginx = findNginx();
  if (nginx === undefined) throw new ReleaseError('internal', 'The nginx that was fetched is not there.');
  return nginx;
}

/** Whether a lab could start without building anything. */
export function areLabPartsBuilt(): boolean {
  return (
    findApiServerParts() !== undefined && findKubectl() !== undefined && existsSync(join(traefikFolder(), 'traefik'))
  );
}

function locked<T>(onProgress: Progress, work: () => Promise<T>): Promise<T> {
  const wait = (holder: number): void => onProgress(`waiting for process ${holder}, which builds the lab's parts`);
  return withCacheLock(join(cache(), '.lock'), wait, work);
}

/** The definitions of the Gateway API, of Traefik, of Istio and of ServiceMonitors, as their modules publish them. */
export async function ensureDefinitions(onProgress: Progress): Promise<string> {
  const folder = definitionsFolder();
  if (existsSync(folder)) return folder;
  onProgress(
    'fetching the definitions of the Gateway API, Traefik, Istio and ServiceMonitors from the Go module proxy (once)',
  );
  const work = `${folder}.new`;
  await rm(work, { recursive: true, force: true });
  const [gateway, traefik, istio, operator] = await Promise.all([
    moduleFolder('sigs.k8s.io/gateway-api', `v${Versions.gatewayApi}`),
    moduleFolder('github.com/traefik/traefik/v3', `v${Versions.traefik}`),
    moduleFolder('istio.io/api', `v${Versions.istioApi}`),
    moduleFolder('github.com/prometheus-operator/prometheus-operator', `v${Versions.prometheusOperator}`),
  ]);
  for (const [group, from, wanted] of [
    ['gateway-api', join(gateway, 'config/crd/standard'), /^gateway\.networking/u],
    ['traefik', join(traefik, 'docs/content/reference/dynamic-configuration'), /^traefik\.io_/u],
    ['istio.io', join(istio, 'kubernetes'), /^customresourcedefinitions\.gen\.yaml$/u],
    ['monitoring', join(operator, 'example/prometheus-operator-crd'), /servicemonitors\.yaml$/u],
  ] as const) {
    await mkdir(join(work, group), { recursive: true });
    for (const name of await readdir(from)) {
      if (wanted.test(name)) await copyFile(join(from, name), join(work, group, name));
    }
  }
  await rename(work, folder);
  return folder;
}

/** The shop is small: Go's own cache decides whether there is something to do. */
export async function buildShop(): Promise<string> {
  const { go, env } = await goEnvironment('The sample shop', { CGO_ENABLED: '0', GOOS: 'linux' });
  const target = join(cache(), 'shop');
  await mkdir(cache(), { recursive: true });
  await execute(go, ['build', '-trimpath', '-ldflags=-s -w', '-o', target, '.'], { cwd: join(__dirname, 'shop'), env });
  return target;
}

interface PrometheusFinder {
  findPrometheus(options: { cacheDir: string; onProgress: Progress }): Promise<{ path: string } | { reason: string }>;
}

async function prometheusPath(onProgress: Progress): Promise<string> {
  // The scripts find it for the other tests too, before anything of TypeScript is built.
  const finder = createRequire(__filename)('../../scripts/lib/find-prometheus.cjs') as PrometheusFinder;
  const found = await finder.findPrometheus({ cacheDir: cacheDirectory(), onProgress });
  if ('path' in found) return found.path;
  throw new ReleaseError('unsupported', `The lab needs Prometheus: ${found.reason}.`);
}
