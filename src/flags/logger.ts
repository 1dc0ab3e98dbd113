/** Where log lines go: a fixed message and its data. Never a secret among them. */
export interface FlagLogger {
  info(message: string, data: Readonly<Record<string, unknown>>): void;
  warn(message: string, data: Readonly<Record<string, unknown>>): void;
  error(message: string, data: Readonly<Record<string, unknown>>): void;
}

/** One JSON object a line on stderr. */
export const consoleFlagLogger: FlagLogger = {
  info: (message, data) => console.error(line('info', message, data)),
  warn: (message, data) => console.error(line('warn', message, data)),
  error: (message, data) => console.error(line('error', message, data)),
};

function line(level: string, message: string, data: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ time: new Date().toISOString(), level, component: 'sluice-flags', message, ...data });
}
