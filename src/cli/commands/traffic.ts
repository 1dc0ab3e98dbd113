import { act } from '../act';
import type { ActOptions } from '../act';
import type { Registry } from '../registry';
import { parseWeightArgument } from '../units';

/** `sluice traffic`: sets the canary's weight by hand; the release then waits for a person. */
export function addTrafficCommand(registry: Registry): void {
  registry
    .add('traffic <service> <percent>', "Set the canary's weight by hand; the release then pauses", [
      'sluice traffic checkout 25',
      'sluice traffic checkout 0 --yes --reason "breathing space"',
    ])
    .option('--reason <text>', 'why, for the record')
    .option('--release <id>', 'refused unless this release is the current one')
    .option('-y, --yes', 'do not ask')
    .action(async (service: string, percent: string, options: ActOptions, command) => {
      await registry.run(command, async (session) => {
        const weight = parseWeightArgument(percent);
        return act(session, service, options, {
          ask: (status) => `Set the weight from ${status.weight} % to ${weight} % for`,
          send: (client, ref, message) => client.setWeight(ref, { ...message, weight }),
        });
      });
    });
}
