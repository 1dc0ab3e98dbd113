import { ReleaseError } from '../../errors';
import type { ActOptions } from '../act';
import type { Registry } from '../registry';
import { actOrStart, addShortOptions, holdOption, parseHold } from '../short-release';
import type { ShortOptions } from '../short-release';
import { parseWeightArgument } from '../units';

/** `sluice traffic`: sets the canary's weight by hand; the release, or the short one begun for it, waits for a person. */
export function addTrafficCommand(registry: Registry): void {
  const command = registry.add(
    'traffic [service] [percent]',
    "Set the canary's weight by hand; the release then pauses",
    [
      'sluice traffic checkout 25',
      'sluice traffic checkout 0 --yes --reason "breathing space"',
      'sluice traffic 10 -f release.yaml   # no release is in progress: what the canary runs',
    ],
  );
  // Of one argument it is the service that is left out; Commander takes arguments in their order alone.
  command.usage('[options] [service] <percent>');
  addShortOptions(command)
    .addOption(holdOption())
    .option('--release <id>', 'refused unless this release is the current one')
    .action(async (first: string | undefined, second: string | undefined, options: ShortOptions & ActOptions) => {
      await registry.run(command, async (session) => {
        const { service, weight } = parseArguments(first, second);
        const holdMs = parseHold(options.hold);
        return actOrStart(session, service, options, {
          message: {
            ask: (name, status) => `Set the weight of ${name} from ${status.weight} % to ${weight} %?`,
            send: (client, ref, message) => client.setWeight(ref, { ...message, weight }),
          },
          wish: { kind: 'traffic', weight, holdMs },
        });
      });
    });
}

/** Names of services may be left out and weights may not: what begins with a digit and is alone is a weight. */
function parseArguments(
  first: string | undefined,
  second: string | undefined,
): { readonly service: string | undefined; readonly weight: number } {
  if (second !== undefined) return { service: first, weight: parseWeightArgument(second) };
  if (first !== undefined && /^\d/u.test(first)) return { service: undefined, weight: parseWeightArgument(first) };
  throw new ReleaseError('usage', 'It is not said which weight is meant.', {
    hint: 'Write a whole percentage: sluice traffic checkout 25, or sluice traffic 25 -f release.yaml.',
  });
}
