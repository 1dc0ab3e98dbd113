import { makeTelemetryFilterString, Runtime } from '@temporalio/worker';
import type { Logger, LogLevel } from '@temporalio/worker';
import { pino } from 'pino';
import type { Logger as PinoLogger } from 'pino';
import { ASK_AGAIN } from '../workflows/api';
import { LOG_SERIALIZERS } from './log-serializers';
import { freePort } from '../devserver/free-port';

export interface RuntimeSettings {
  readonly logger?: PinoLogger;
  /** Whether Temporal's and Sluice's metrics are exported, on a free port of 127.0.0.1. */
  readonly metrics?: boolean;
}

export interface InstalledRuntime {
  /** Where the exporter answers; null when it is off. */
  readonly metricsUrl: string | null;
}

let installed: InstalledRuntime | null = null;

/**
 * Temporal's native runtime, once for the process: one stream of structured lines for Core's, the SDK's and our own
 * logs, and one exporter for their metrics. A second call keeps what there is.
 */
export async function installRuntime(settings: RuntimeSettings = {}): Promise<InstalledRuntime> {
  if (installed !== null) return installed;
  const bindAddress = settings.metrics === true ? `127.0.0.1:${await freePort()}` : null;
  Runtime.install({
    logger: adapt(settings.logger ?? createLogger()),
    // The command that hosts the worker owns the signals: it also stops what it started beside it, in order.
    shutdownSignals: [],
    telemetryOptions: {
      logging: { filter: makeTelemetryFilterString({ core: 'WARN', other: 'ERROR' }), forward: {} },
      ...(bindAddress === null ? {} : { metrics: { prometheus: { bindAddress, countersTotalSuffix: true } } }),
    },
  });
  installed = { metricsUrl: bindAddress === null ? null : `http://${bindAddress}/metrics` };
  return installed;
}

/** JSON lines on stderr, so that stdout stays for results. */
export function createLogger(): PinoLogger {
  return pino(
    { level: 'info', base: { component: 'worker' }, serializers: LOG_SERIALIZERS },
    pino.destination({ fd: 2, sync: false }),
  );
}

const LEVELS = { TRACE: 'trace', DEBUG: 'debug', INFO: 'info', WARN: 'warn', ERROR: 'error' } as const;

/** A question that is asked again is no trouble of anybody's (workflows/ahead-of-task.ts); the SDK calls it an error. */
function isAskedAgain({ error }: Record<string, unknown>): boolean {
  return error instanceof Error && error.message === ASK_AGAIN;
}

function adapt(logger: PinoLogger): Logger {
  const log = (level: LogLevel, message: string, meta: Record<string, unknown> = {}): void => {
    logger[isAskedAgain(meta) ? 'debug' : LEVELS[level]](meta, message);
  };
  return {
    log,
    trace: (message, meta) => log('TRACE', message, meta),
    debug: (message, meta) => log('DEBUG', message, meta),
    info: (message, meta) => log('INFO', message, meta),
    warn: (message, meta) => log('WARN', message, meta),
    error: (message, meta) => log('ERROR', message, meta),
  };
}
