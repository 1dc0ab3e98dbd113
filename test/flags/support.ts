import { setTimeout as delay } from 'node:timers/promises';
import type { FlagLogger } from '../../src/flags/logger';

export const silentLogger: FlagLogger = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Looks until it is so. */
export async function until(look: () => boolean | Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await look())) {
    if (performance.now() > deadline) throw new Error('It did not come to be in time.');
    await delay(10);
  }
}

/** Log lines kept, to be looked at. */
export function recordingLogger(): FlagLogger & {
  readonly lines: { level: string; message: string; data: unknown }[];
} {
  const lines: { level: string; message: string; data: unknown }[] = [];
  const note =
    (level: string) =>
    (message: string, data: Readonly<Record<string, unknown>>): void => {
      lines.push({ level, message, data });
    };
  return { lines, info: note('info'), warn: note('warn'), error: note('error') };
}
