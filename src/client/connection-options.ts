import { loadClientConnectConfig } from '@temporalio/envconfig';
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
  const overrideEnvVars: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith('TEMPORAL_') && value !== undefined) overrideEnvVars[name] = value;
  }
  try {
    const config = loadClientConnectConfig({
      ...(settings.profile === undefined ? {} : { profile: settings.profile }),
      overrideEnvVars,
    });
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
    throw new ReleaseError('usage', `The connection to Temporal is not configured right: ${messageOf(cause)}`, {
      hint: 'Check TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE and the other TEMPORAL_ variables.',
      cause,
    });
  }
}

/** Headers from a configuration are text; binary ones can only come from code. */
function plainMetadata(metadata: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
  );
}
