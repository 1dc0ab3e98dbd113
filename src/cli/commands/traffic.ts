import type { ActOptions } from '../act';
import type { Registry } from '../registry';
import { actOrStart, addShortOptions, holdOption, parseHold } from '../short-release';
import type { ShortOptions } from '../short-release';
import { parseWeightArgument } from '../units';

/** `sluice traffic`: sets the canary's weight by hand; the release, or the short one begun for it, waits for a person. */
export function addTrafficCommand(registry: Registry): void {
  const command = registry.add(
    'traffic <service> <percent>',
    "Set the canary's weight by hand; the release then pauses",
    [
      'sluice traffic checkout 25',
      'sluice traffic checkout 0 --yes --reason "breathing space"',
      'sluice traffic shop/checkout 10 -f release.yaml   # no release is in progress: what the canary runs',
    ],
  );
  addShortOptions(command)
    .addOption(holdOption())
    .option('--release <id>', 'refused unless this release is the current one')
    .action(async (service: string, percent: string, options: ShortOptions & ActOptions) => {
      await registry.run(command, async (session) => {
        const weight = parseWeightArgument(percent);
        const holdMs = parseHold(options.hold);
        return actOrStart(session, service, options, {
          message: {
            ask: (status) => `Set the weight from ${status.weight} % to ${weight} % for`,
            send: (client, ref, message) => client.setWeight(ref, { ...message, weight }),
          },
          wish: { kind: 'traffic', weight, holdMs },
        });
      });
    });
}
