import { act } from '../act';
import type { ActOptions } from '../act';
import type { Registry } from '../registry';

/** `sluice resume`: lets a paused release go on. */
export function addResumeCommand(registry: Registry): void {
  registry
    .add('resume <service>', 'Let a paused release go on', ['sluice resume checkout'])
    .option('--reason <text>', 'why, for the record')
    .option('--release <id>', 'refused unless this release is the current one')
    .action(async (service: string, options: ActOptions, command) => {
      await registry.run(command, (session) =>
        act(session, service, options, { send: (client, ref, message) => client.resume(ref, message) }),
      );
    });
}
