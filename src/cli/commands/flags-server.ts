import { addFlagsServerOptions, flagsServerChoice, serveUntilInterrupted } from '../flags-server-options';
import type { FlagsServerOptions } from '../flags-server-options';
import { lazy } from '../lazy';
import type { Registry } from '../registry';

/** `sluice flags-server`: the flag service. */
export function addFlagsServerCommand(registry: Registry): void {
  const command = registry.add('flags-server', 'Run the flag service: feature flags over HTTP and OFREP', [
    'sluice flags-server',
    'SLUICE_REDIS_URL=redis://redis:6379 SLUICE_API_KEY=… sluice flags-server --store redis --host 0.0.0.0',
  ]);
  addFlagsServerOptions(command).action(async (options: FlagsServerOptions) => {
    await registry.run(command, async (session) => {
      const server = await lazy.flagsServer().openFlagsServer(flagsServerChoice(session, options));
      const said = `The flag service answers at ${server.url}, with flags in ${options.store}; Ctrl-C stops it.`;
      return serveUntilInterrupted(session, server, said);
    });
  });
}
