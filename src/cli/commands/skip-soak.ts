import { act } from '../act';
import type { ActOptions } from '../act';
import type { Registry } from '../registry';

/** `sluice skip-soak`: ends the present soak early. */
export function addSkipSoakCommand(registry: Registry): void {
  registry
    .add('skip-soak <service>', 'End the present soak early', ['sluice skip-soak checkout --reason "known good"'])
    .option('--reason <text>', 'why, for the record')
    .option('--release <id>', 'refused unless this release is the current one')
    .option('-y, --yes', 'do not ask')
    .action(async (service: string, options: ActOptions, command) => {
      await registry.run(command, (session) =>
        act(session, service, options, {
          ask: (name) => `Skip the rest of the soak of ${name}?`,
          send: (client, ref, message) => client.skipSoak(ref, message),
        }),
      );
    });
}
