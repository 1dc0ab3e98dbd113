import { MemoryFlagStore } from '../../src/flags/memory-store';
import { startFlagsServer } from '../../src/flags/server/flags-server';
import type { FlagsServer, FlagsServerOptions } from '../../src/flags/server/flags-server';
import { send, silentLogger } from './support';

const running: FlagsServer[] = [];
let more: () => Partial<FlagsServerOptions> = () => ({});

/** The suites of this file are about services with these options, besides what each of their tests asks for. */
export function serveAlwaysWith(options: () => Partial<FlagsServerOptions>): void {
  more = options;
}

/** A flag service for one test. */
export async function startService(options: Partial<FlagsServerOptions> = {}): Promise<FlagsServer> {
  const server = await startFlagsServer({
    store: new MemoryFlagStore(),
    access: {},
    logger: silentLogger,
    ...more(),
    ...options,
  });
  running.push(server);
  return server;
}

/** The same with these flags. */
export async function serveFlags(
  flags: readonly Record<string, unknown>[] = [],
  options: Partial<FlagsServerOptions> = {},
  headers: Record<string, string> = {},
): Promise<FlagsServer> {
  const server = await startService(options);
  for (const flag of flags) {
    const { status, body } = await send(`${server.url}/api/feature-flags`, 'POST', { body: flag, headers });
    if (status !== 201) throw new Error(`a flag of the test is refused: ${JSON.stringify(body)}`);
  }
  return server;
}

/** For `afterEach`. */
export async function stopServers(): Promise<void> {
  for (const server of running.splice(0)) await server.close();
}
