import type { ChildProcess } from 'node:child_process';
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

/** Ends a process as a crash does, and returns when it is gone. */
export async function killed(dying: ChildProcess | null): Promise<void> {
  if (dying === null || dying.exitCode !== null || dying.signalCode !== null) return;
  const ended = new Promise((resolve) => dying.once('exit', resolve));
  dying.kill('SIGKILL');
  await ended;
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

/** An answer over HTTP, with its body parsed where it is JSON. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

/** Asks a server; a text is sent as it is. */
export async function send(
  url: string,
  method: string,
  { body, headers = {} }: { body?: unknown; headers?: Record<string, string> } = {},
): Promise<Reply> {
  const response = await fetch(url, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const json = (response.headers.get('content-type') ?? '').includes('json');
  return { status: response.status, headers: response.headers, body: json ? JSON.parse(text) : text };
}
