import { act } from '../act';
import type { ActOptions } from '../act';
import type { Registry } from '../registry';

/** `sluice pause`: holds a release at its present weight. */
export function addPauseCommand(registry: Registry): void {
  registry
    .add('pause <service>', 'Hold a release at its present weight', [
      'sluice pause checkout --reason "looking into a ticket"',
    ])
    .option('--reason <text>', 'why, for the record')
    .option('--release <id>', 'refused unless this release is the current one')
    .action(async (service: string, options: ActOptions, command) => {
      await registry.run(command, (session) =>
        act(session, service, options, { send: (client, ref, message) => client.pause(ref, message) }),
      );
    });
}
