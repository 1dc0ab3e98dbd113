import type { ActOptions } from '../act';
import type { Registry } from '../registry';
import { actOrStart, addShortOptions } from '../short-release';
import type { ShortOptions } from '../short-release';

/** `sluice promote`: makes the new version the stable one now; without a release, what the canary runs. */
export function addPromoteCommand(registry: Registry): void {
  const command = registry.add('promote [service]', 'Promote now, without the steps that are left', [
    'sluice promote checkout --reason "hotfix, seen good for an hour"',
    'sluice promote -f release.yaml   # no release is in progress: what the canary runs',
  ]);
  addShortOptions(command)
    .option('--release <id>', 'refused unless this release is the current one')
    .action(async (service: string | undefined, options: ShortOptions & ActOptions) => {
      await registry.run(command, (session) =>
        actOrStart(session, service, options, {
          message: {
            ask: (name) => `Promote ${name} now, without the steps that are left?`,
            send: (client, ref, message) => client.promote(ref, message),
          },
          wish: { kind: 'promote' },
        }),
      );
    });
}
