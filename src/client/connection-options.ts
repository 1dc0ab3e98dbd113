import { existsSync } from 'node:fs';
import { loadClientConfigProfile, toClientOptions } from '@temporalio/envconfig';
import type { ClientConfigTLS } from '@temporalio/envconfig';
import type { ConnectionOptions } from '@temporalio/client';
import { messageOf, ReleaseError } from '../errors';

export interface ConnectionSettings {
  /** `host:port`; overrides profile and environment. */
  readonly address?: string;
  readonly namespace?: string;
  /** Name of a profile in the Temporal configuration file. */
  readonly profile?: string;
  /** The environment to read; the process's own by default. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** What both kinds of connection, the client's and the worker's native one, take. */
export interface TemporalAccess {
  readonly address: string;
  readonly tls?: NonNullable<ConnectionOptions['tls']>;
  readonly apiKey?: string;
  readonly metadata?: Record<string, string>;
}

export interface ResolvedConnection {
  readonly address: string;
  readonly namespace: string;
  /** Address, TLS, API key and headers, for a client's and for a worker's connection alike. */
  readonly options: TemporalAccess;
}

export const DEFAULT_ADDRESS = '127.0.0.1:7233';

/**
 * Where Temporal is and how to get in, by the standard environment (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`,
 * `TEMPORAL_API_KEY`, `TEMPORAL_TLS…`, `TEMPORAL_PROFILE`, `TEMPORAL_CONFIG_FILE`) and its configuration file.
 *
 * @throws ReleaseError `usage` when profile or file cannot be used.
 */
export function resolveConnection(settings: ConnectionSettings = {}): ResolvedConnection {
  const env = settings.env ?? process.env;
  const overrideEnvVars = relevantOf(env);
  try {
    refuseMissingFile(overrideEnvVars);
    const profile = loadClientConfigProfile({
      ...(settings.profile === undefined ? {} : { profile: settings.profile }),
      overrideEnvVars,
    });
    refuseHalfCertificate(profile.tls);
    const config = toClientOptions(profile);
    const address = settings.address ?? config.connectionOptions.address ?? DEFAULT_ADDRESS;
    const { tls, apiKey, metadata } = config.connectionOptions;
    return {
      address,
      namespace: settings.namespace ?? config.namespace ?? 'default',
      options: {
        address,
        ...(tls === undefined || tls === null ? {} : { tls }),
        ...(typeof apiKey === 'string' ? { apiKey } : {}),
        ...(metadata === undefined ? {} : { metadata: plainMetadata(metadata) }),
      },
    };
  } catch (cause) {
    throw new ReleaseError('usage', `The connection to Temporal is not configured right: ${sentenceOf(cause)}`, {
      hint: 'Check TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE and the other TEMPORAL_ variables.',
      cause,
    });
  }
}

/** Where the operating system keeps users' configuration files. */
const CONFIG_FOLDERS = ['HOME', 'XDG_CONFIG_HOME', 'APPDATA'];

/** What the configuration reads. A variable that is set to nothing is one that is not set, except where it removes. */
function relevantOf(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const relevant: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined) continue;
    if (!name.startsWith('TEMPORAL_') && !CONFIG_FOLDERS.includes(name)) continue;
    if (value.trim() === '' && !name.startsWith('TEMPORAL_GRPC_META_')) continue;
    relevant[name] = value;
  }
  return relevant;
}

/** The library passes over a file that is not there, which is right only for the one nobody has named. */
function refuseMissingFile(env: Readonly<Record<string, string>>): void {
  const file = env['TEMPORAL_CONFIG_FILE'];
  if (file !== undefined && !existsSync(file))
    throw new Error(`TEMPORAL_CONFIG_FILE names ${file}, which is not there.`);
}

/** The library leaves a certificate without a key out, and the server then refuses for a reason nobody sees. */
function refuseHalfCertificate(tls: ClientConfigTLS | undefined): void {
  if (tls === undefined || tls.disabled === true) return;
  if ((tls.clientCert === undefined) === (tls.clientKey === undefined)) return;
  const missing = tls.clientCert === undefined ? 'certificate' : 'key';
  throw new Error(`the client's TLS ${missing} is missing; set both TEMPORAL_TLS_CLIENT_CERT_… and …_KEY_….`);
}

/** One line: a TOML parser shows the place in several, and a value may be a secret. */
function sentenceOf(cause: unknown): string {
  if (cause instanceof TypeError) return 'its file has no table [profile.…].';
  const [line = ''] = messageOf(cause).split('\n');
  return /[.!?]$/.test(line) ? line : `${line}.`;
}

/** Headers from a configuration are text; binary ones can only come from code. */
function plainMetadata(metadata: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
  );
}
