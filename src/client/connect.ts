import { Client, isGrpcServiceError } from '@temporalio/client';
import { ReleaseError } from '../errors';
import { resolveConnection } from './connection-options';
import type { ConnectionSettings, TemporalAccess } from './connection-options';
import type { SluiceClient } from './client-types';
import { isRefusedByTemporal, toReleaseError } from './client-error';
import { PatientConnection } from './patient-connection';
import { createSluiceClient } from './sluice-client';
import { unreachable } from './unreachable';

export interface ConnectSettings extends ConnectionSettings {
  /** Milliseconds until the connection must stand, and until a single question must be answered; 10 s by default. */
  readonly timeoutMs?: number;
  readonly taskQueue?: string;
  /** Nobody has said where Temporal is: releases are started there only where something of Sluice's is found. */
  readonly assumed?: boolean;
}

const DEFAULT_TIMEOUT_MS = 10_000;

/**
 * Connects to Temporal as the environment, a profile or the settings say.
 *
 * @throws ReleaseError `unreachable` when nothing answers there: at once where nobody listens, else after `timeoutMs`.
 * `forbidden` when Temporal does not let the caller in.
 */
export async function connect(settings: ConnectSettings = {}): Promise<SluiceClient> {
  const { address, namespace, options } = resolveConnection(settings);
  const timeoutMs = settings.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const connection = await openConnection(options, timeoutMs);
  const client = new Client({ connection, namespace });
  return createSluiceClient({
    client,
    connection,
    where: `${address}, namespace ${namespace}`,
    timeoutMs,
    assumed: settings.assumed === true,
    ...(settings.taskQueue === undefined ? {} : { taskQueue: settings.taskQueue }),
  });
}

/** A connection that stands; see `connect` for what it throws. */
export async function openConnection(options: TemporalAccess, timeoutMs: number): Promise<PatientConnection> {
  const { address } = options;
  let connection: PatientConnection;
  try {
    connection = PatientConnection.open(options, timeoutMs);
  } catch (cause) {
    throw new ReleaseError('usage', `${address} is no address of a Temporal server that could be connected to.`, {
      hint: 'An address is host:port, for example 127.0.0.1:7233; TLS files are PEM.',
      cause,
    });
  }
  try {
    await connection.untilDecided(Date.now() + timeoutMs);
    await connection.ensureConnected();
    return connection;
  } catch (cause) {
    await connection.close();
    if (isRefusedByTemporal(cause)) throw toReleaseError(cause, { where: address, subject: 'the connection' });
    throw unreachable(address, { cause: isGrpcServiceError(cause) ? cause.details : cause });
  }
}
