import { act } from '../act';
import type { ActOptions } from '../act';
import type { Registry } from '../registry';

/** `sluice promote`: makes the new version the stable one now, without the steps that are left. */
export function addPromoteCommand(registry: Registry): void {
  registry
    .add('promote <service>', 'Promote now, without the steps that are left', [
      'sluice promote checkout --reason "hotfix, seen good for an hour"',
    ])
    .option('--reason <text>', 'why, for the record')
    .option('--release <id>', 'refused unless this release is the current one')
    .option('-y, --yes', 'do not ask')
    .action(async (service: string, options: ActOptions, command) => {
      await registry.run(command, (session) =>
        act(session, service, options, {
          ask: () => 'Promote, without the steps that are left,',
          send: (client, ref, message) => client.promote(ref, message),
        }),
      );
    });
}
