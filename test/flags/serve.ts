import { MemoryFlagStore } from '../../src/flags/memory-store';
import { startFlagsServer } from '../../src/flags/server/flags-server';
import type { FlagsServer, FlagsServerOptions } from '../../src/flags/server/flags-server';
import { send, silentLogger } from './support';

const running: FlagsServer[] = [];

/** A flag service for one test, with these flags. */
export async function serveFlags(
  flags: readonly Record<string, unknown>[] = [],
  options: Partial<FlagsServerOptions> = {},
  headers: Record<string, string> = {},
): Promise<FlagsServer> {
  const server = await startFlagsServer({ store: new MemoryFlagStore(), access: {}, logger: silentLogger, ...options });
  running.push(server);
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
