import { unreachable } from '../client/unreachable';
import { messageOf, ReleaseError } from '../errors';
import type { ConnectChoice } from './cli';
import { findDev } from './dev-state';
import { lazy } from './lazy';
import { probe } from './probe';

/** Where to connect to, and who said so. */
export interface ResolvedConnection extends ConnectChoice {
  readonly origin: 'flags' | 'settings' | 'dev' | 'default';
}

/**
 * Flags, then TEMPORAL_* variables and Temporal's own profiles, then a running `sluice dev`, then 127.0.0.1:7233.
 * What comes from settings is left to the client, which reads them with everything else they say (TLS, API keys).
 */
export async function resolveConnection(choice: ConnectChoice, env: NodeJS.ProcessEnv): Promise<ResolvedConnection> {
  if (choice.address !== undefined) return { ...choice, origin: 'flags' };
  if (settingsNameAddress(choice, env)) return { ...choice, origin: 'settings' };
  const dev = await findDev(env);
  if (dev === null) return { ...choice, origin: 'default' };
  return { ...choice, address: dev.address, namespace: choice.namespace ?? dev.namespace, origin: 'dev' };
}

function settingsNameAddress(choice: ConnectChoice, env: NodeJS.ProcessEnv): boolean {
  if (env['TEMPORAL_ADDRESS'] !== undefined && env['TEMPORAL_ADDRESS'] !== '') return true;
  try {
    const { connectionOptions } = lazy.envconfig().loadClientConnectConfig({
      ...(choice.profile === undefined ? {} : { profile: choice.profile }),
      overrideEnvVars: definedOnly(env),
    });
    return connectionOptions.address !== undefined;
  } catch (error) {
    throw new ReleaseError('usage', `Temporal's settings cannot be read: ${messageOf(error)}.`, {
      hint: 'Check TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE and --profile.',
      cause: error,
    });
  }
}

function definedOnly(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/**
 * Throws at once where nothing listens: gRPC would try again and again until its timeout. Anything else that may be
 * wrong is for the client to find out.
 */
export async function refuseUnreachable(choice: ConnectChoice, env: NodeJS.ProcessEnv): Promise<void> {
  const { address } = lazy.connectionOptions().resolveConnection({ ...choice, env });
  if ((await probe(address)) !== 'refused') return;
  throw unreachable(address, { detail: 'nothing listens there' });
}
