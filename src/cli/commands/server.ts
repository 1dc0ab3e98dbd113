import { addFlagsServerOptions, flagsServerChoice, serveUntilInterrupted } from '../flags-server-options';
import type { FlagsServerOptions } from '../flags-server-options';
import { lazy } from '../lazy';
import type { Registry } from '../registry';

/** `sluice server`: releases and feature flags over HTTP. */
export function addServerCommand(registry: Registry): void {
  const command = registry.add('server', 'Run the server: releases and feature flags over HTTP', [
    'sluice server',
    'SLUICE_API_KEY=… sluice server --host 0.0.0.0 --keys keys.json --address temporal:7233',
  ]);
  addFlagsServerOptions(command).action(async (options: FlagsServerOptions) => {
    await registry.run(command, async (session) => {
      const server = await lazy.server().openServer({
        ...flagsServerChoice(session, options),
        // Not the session's client: that is made once, and Temporal may be away by then.
        connect: () => session.cli.connect(session.connectChoice()),
      });
      const said = `The server answers at ${server.url}: releases, and flags in ${options.store}; Ctrl-C stops it.`;
      return serveUntilInterrupted(session, server, said);
    });
  });
}
