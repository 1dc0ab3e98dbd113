import { Client, Connection } from '@temporalio/client';
import { resolveConnection } from './connection-options';
import type { ConnectionSettings } from './connection-options';
import type { SluiceClient } from './client-types';
import { unreachable } from './client-error';
import { createSluiceClient } from './sluice-client';

export interface ConnectSettings extends ConnectionSettings {
  /** Milliseconds until the connection must stand, and until a single question must be answered; 10 s by default. */
  readonly timeoutMs?: number;
  readonly taskQueue?: string;
}

const DEFAULT_TIMEOUT_MS = 10_000;

/**
 * Connects to Temporal as the environment, a profile or the settings say.
 *
 * @throws ReleaseError `unreachable` when nothing answers there in time.
 */
export async function connect(settings: ConnectSettings = {}): Promise<SluiceClient> {
  const { address, namespace, options } = resolveConnection(settings);
  const timeoutMs = settings.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  let connection: Connection;
  try {
    connection = await Connection.connect({ ...options, connectTimeout: timeoutMs });
  } catch (cause) {
    throw unreachable(address, cause);
  }
  const client = new Client({ connection, namespace });
  return createSluiceClient({
    client,
    connection,
    where: `${address}, namespace ${namespace}`,
    timeoutMs,
    ...(settings.taskQueue === undefined ? {} : { taskQueue: settings.taskQueue }),
  });
}
