import { existsSync, readFileSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { z } from 'zod';
import { ApiHttpFailure } from './api-http';
import type { Access, ApiServer } from './api-http';
import { ClusterFailure } from './cluster-failure';

export interface KubeConfigOptions {
  /** Path of a kubeconfig. Left out: KUBECONFIG, then ~/.kube/config, then the pod's own service account. */
  readonly kubeconfig?: string;
  /** Left out: the kubeconfig's current one. */
  readonly context?: string;
  /** The environment; the process's own by default. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/**
 * The API server that the options name.
 *
 * @throws ClusterFailure `config`, which never repeats what a kubeconfig holds.
 */
export function loadApiServer(options: KubeConfigOptions = {}): ApiServer {
  let config = loadContext(options);
  const server = apiServerOf(config);
  const pinned = { ...options, context: config.getCurrentContext() };
  const from = new WeakMap<Access, KubeConfig>();
  return {
    ...server,
    access: async () => {
      const of = config;
      const access = await apiServerOf(of).access();
      from.set(access, of);
      return access;
    },
    renew: (refused) => {
      // Many may be refused at once; the first of them has it read anew, and its plugin is asked again.
      if (from.get(refused) === config) config = reloaded(pinned, server) ?? config;
      return from.get(refused) !== config;
    },
  };
}

/** Null where it cannot be read now, or where its context names another API server: that one's token is for it alone. */
function reloaded(options: KubeConfigOptions, { url }: ApiServer): KubeConfig | null {
  try {
    const config = loadContext(options);
    return apiServerOf(config).url === url ? config : null;
  } catch (error) {
    if (!(error instanceof ClusterFailure)) throw error;
    return null; // somebody may be writing it; what is known goes on being used
  }
}

function loadContext(options: KubeConfigOptions): KubeConfig {
  const config = load(options);
  if (options.context !== undefined) {
    if (config.getContextObject(options.context) === null) {
      throw new ClusterFailure('config', `The kubeconfig has no context ${options.context}; ${contextsOf(config)}.`);
    }
    config.setCurrentContext(options.context);
  }
  return config;
}

function contextsOf(config: KubeConfig): string {
  const known = config.getContexts().map((context) => context.name);
  return `it has: ${known.length === 0 ? 'none' : known.join(', ')}`;
}

/** The API server of a KubeConfig that was put together elsewhere. */
export function apiServerOf(config: KubeConfig): ApiServer {
  const current = config.getCurrentContext();
  if (config.getContextObject(current) === null) {
    const sentence =
      (current ?? '') === ''
        ? `The kubeconfig names no current context (current-context); ${contextsOf(config)}.`
        : `The kubeconfig has no context ${current}, which is its current one (current-context); ${contextsOf(config)}.`;
    throw new ClusterFailure('config', sentence);
  }
  const cluster = config.getCurrentCluster();
  const url = cluster !== null && URL.canParse(cluster.server) ? new URL(cluster.server) : null;
  if (cluster === null || url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new ClusterFailure('config', 'The current context of the kubeconfig names no API server by http or https.');
  }
  if (url.protocol === 'http:' && !cluster.skipTLSVerify) {
    throw new ClusterFailure(
      'config',
      'The kubeconfig names an API server by plain http, which is accepted only with insecure-skip-tls-verify: true.',
    );
  }
  const proxied = cluster.proxyUrl !== undefined && cluster.proxyUrl !== '';
  return {
    url: cluster.server,
    namespace: config.getContextObject(current)?.namespace ?? 'default',
    access: () => accessOf(config, proxied),
  };
}

async function accessOf(config: KubeConfig, proxied: boolean): Promise<Access> {
  const options: RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch {
    // The cause is dropped on purpose: a credential plugin's words may hold what it was to keep secret.
    const user = config.getCurrentUser()?.name ?? '';
    throw new ApiHttpFailure(
      'credentials',
      `cannot be asked: the credentials of kubeconfig user ${user} are not to be had`,
    );
  }
  const { ca, cert, key, servername, rejectUnauthorized, auth } = options;
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    // Token files often end with a line break, which no header may hold.
    if (typeof value === 'string') headers[name] = value.trim();
  }
  if (typeof auth === 'string') headers['Authorization'] = `Basic ${Buffer.from(auth).toString('base64')}`;
  return {
    headers,
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(servername === undefined ? {} : { servername }),
      ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
    },
    proxyAgent: proxied && typeof options.agent === 'object' ? options.agent : undefined,
  };
}

function load({ kubeconfig, env = process.env }: KubeConfigOptions): KubeConfig {
  if (kubeconfig !== undefined) return readFiles([kubeconfig]);
  const named = (env['KUBECONFIG'] ?? '').split(delimiter).filter((path) => path !== '');
  // As kubectl does: of several, those that are not there do not matter.
  const present = named.length > 1 ? named.filter((path) => existsSync(path)) : named;
  if (present.length > 0) return readFiles(present);
  const own = join(env['HOME'] ?? homedir(), '.kube', 'config');
  if (named.length === 0 && existsSync(own)) return readFiles([own]);
  if (existsSync(SERVICE_ACCOUNT_TOKEN) && (env['KUBERNETES_SERVICE_HOST'] ?? '') !== '') {
    const config = new KubeConfig();
    config.loadFromCluster();
    return config;
  }
  const why =
    named.length === 0
      ? `KUBECONFIG is not set, there is no ${own}, and this is no pod with a service account`
      : `none of the files that KUBECONFIG names exists (${named.join(', ')})`;
  throw new ClusterFailure(
    'config',
    `No cluster is configured: ${why}; let KUBECONFIG name the file that kubectl uses for it.`,
  );
}

function readFiles(paths: readonly string[]): KubeConfig {
  const merged = new KubeConfig();
  for (const [index, path] of paths.entries()) {
    const config = index === 0 ? merged : new KubeConfig();
    try {
      config.loadFromFile(path);
      config.users = withTokenFiles(config.users, path);
      // The first file that names a current context decides, as for kubectl.
      if (config !== merged) merged.mergeConfig(config, (merged.getCurrentContext() ?? '') !== '');
    } catch (error) {
      throw new ClusterFailure('config', `The kubeconfig ${path} ${whyUnreadable(error)}.`);
    }
  }
  return merged;
}

const TokenFile = z.object({ name: z.string(), user: z.object({ tokenFile: z.string().min(1) }) });

/** What @kubernetes/client-node does not read of a kubeconfig; whatever else it holds is left to that. */
const TokenFiles = z.object({ users: z.array(TokenFile.nullable().catch(null)).catch([]) });

/** `tokenFile` goes before `token`, and its token is read again each minute, as by kubectl. */
function withTokenFiles(users: KubeConfig['users'], path: string): KubeConfig['users'] {
  const text = readFileSync(path, 'utf8');
  if (!text.includes('tokenFile')) return users;
  const files = new Map<string, string>();
  for (const one of TokenFiles.parse(parse(text)).users) {
    if (one !== null) files.set(one.name, resolve(dirname(path), one.user.tokenFile));
  }
  return users.map((user) => {
    const tokenFile = files.get(user.name);
    if (tokenFile === undefined) return user;
    const { token: _token, ...others } = user;
    return { ...others, authProvider: { name: 'tokenFile', config: { tokenFile } } };
  });
}

/** Of a parser's message nothing is repeated: it quotes the lines around the place, tokens included. */
function whyUnreadable(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : '';
  if (code === 'ENOENT') return 'does not exist';
  if (code === 'EACCES') return 'may not be read';
  return 'is not a valid kubeconfig';
}
