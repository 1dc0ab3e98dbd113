/** Where the router writes its log lines: a fixed message and its data. */
export interface RouterLogger {
  info(message: string, data: Readonly<Record<string, unknown>>): void;
  warn(message: string, data: Readonly<Record<string, unknown>>): void;
  error(message: string, data: Readonly<Record<string, unknown>>): void;
}

/** One JSON object a line; info to stdout, the rest to stderr. */
export const consoleLogger: RouterLogger = {
  info: (message, data) => console.log(line('info', message, data)),
  warn: (message, data) => console.error(line('warn', message, data)),
  error: (message, data) => console.error(line('error', message, data)),
};

function line(level: string, message: string, data: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ time: new Date().toISOString(), level, component: 'sluice-router', message, ...data });
}

/** The same logger, but one whose failures stay its own: a broken log must not break the request that caused it. */
export function safeLogger(logger: RouterLogger): RouterLogger {
  const guarded =
    (level: keyof RouterLogger): RouterLogger[typeof level] =>
    (message, data) => {
      try {
        logger[level](message, data);
      } catch {
        // There is nowhere left to say it.
      }
    };
  return { info: guarded('info'), warn: guarded('warn'), error: guarded('error') };
}
