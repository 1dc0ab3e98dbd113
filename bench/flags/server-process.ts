import { openFlagsServer } from '../../src/flags/server/open-flags-server';
import { quiet } from './flags';

/** The flag service in a process of its own; its parent is told the address, and ends it by disconnecting. */
async function main(): Promise<void> {
  const server = await openFlagsServer({
    store: process.env['SLUICE_REDIS_URL'] === undefined ? 'memory' : 'redis',
    port: 0,
    env: process.env,
    logger: quiet,
    version: 'bench',
  });
  process.send?.({ url: server.url });
  process.once('disconnect', () => void server.close());
}

void main();
