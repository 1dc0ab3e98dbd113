import { ReleaseError } from '../../errors';
import type { Colour } from '../../spec/plan-types';
import type { Registry } from '../registry';
import { addShortOptions, holdOption, parseHold, startShort } from '../short-release';
import type { ShortOptions } from '../short-release';
import { parseWeightArgument } from '../units';

/** `sluice switch`: a short release of what the idle colour runs. */
export function addSwitchCommand(registry: Registry): void {
  const command = registry.add(
    'switch <colour> [percent]',
    'Give the traffic to the idle colour of a blue-green pair',
    [
      'sluice switch green -f release.yaml',
      'sluice switch green 10 -f release.yaml --hold 2h   # some of it, held for a person',
      'sluice switch blue -f release.yaml --dry-run',
    ],
  );
  addShortOptions(command.usage('[options] <colour> [percent] -f <release.yaml>'))
    .addOption(holdOption())
    .action(async (colour: string, percent: string | undefined, options: ShortOptions) => {
      await registry.run(command, (session) => {
        const onto = parseColour(colour);
        const weight = percent === undefined ? 100 : parseWeightArgument(percent, weightHint(onto));
        const wish = { kind: 'switch', colour: onto, weight, holdMs: parseHold(options.hold) } as const;
        return startShort(session, options.file, wish, options);
      });
    });
}

function weightHint(colour: Colour): string {
  return `Write a whole number from 1 to 100, or nothing for all: sluice switch ${colour} 25 -f release.yaml.`;
}

function parseColour(text: string): Colour {
  if (text === 'blue' || text === 'green') return text;
  throw new ReleaseError('usage', `There is no colour ${JSON.stringify(text)} to switch to.`, {
    hint: 'Choose one of: blue, green. The service is named by its spec: sluice switch green -f release.yaml.',
  });
}
