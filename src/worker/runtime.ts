import { makeTelemetryFilterString, Runtime } from '@temporalio/worker';
import type { Logger, LogLevel } from '@temporalio/worker';
import { pino } from 'pino';

/** Where a worker's log lines go; pino's loggers fit. */
export interface WorkerLogger {
  log(level: LogLevel, message: string, meta?: Record<string, unknown>): void;
}

let installed: { metricsUrl: string | null } | null = null;

/**
 * Temporal's native runtime, once for the process: one stream of structured lines for Core's, the SDK's and our own
 * logs. A second call keeps what there is.
 */
export function installRuntime(logger: WorkerLogger = pinoLogger()): { metricsUrl: string | null } {
  if (installed !== null) return installed;
  Runtime.install({
    logger: adapt(logger),
    shutdownSignals: [],
    telemetryOptions: { logging: { filter: makeTelemetryFilterString({ core: 'WARN', other: 'ERROR' }), forward: {} } },
  });
  installed = { metricsUrl: null };
  return installed;
}

/** JSON lines on stderr, so that stdout stays for results. */
export function pinoLogger(level = process.env['SLUICE_LOG_LEVEL'] ?? 'info'): WorkerLogger {
  const stream = pino({ level, base: { component: 'worker' } }, pino.destination({ fd: 2, sync: false }));
  return {
    log: (severity, message, meta = {}) => {
      stream[severity.toLowerCase() as 'trace' | 'debug' | 'info' | 'warn' | 'error'](meta, message);
    },
  };
}

function adapt(logger: WorkerLogger): Logger {
  const at =
    (level: LogLevel) =>
    (message: string, meta?: Record<string, unknown>): void => {
      logger.log(level, message, meta);
    };
  return {
    log: (level, message, meta) => logger.log(level, message, meta),
    trace: at('TRACE'),
    debug: at('DEBUG'),
    info: at('INFO'),
    warn: at('WARN'),
    error: at('ERROR'),
  };
}
