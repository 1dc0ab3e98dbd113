import { parseArgs } from 'node:util';
import type { ParseArgsConfig } from 'node:util';
import { ReleaseError } from '../../src/errors';

/** parseArgs with its complaints as those of the command line, and what is allowed instead. */
export function parse<T extends NonNullable<ParseArgsConfig['options']>>(args: readonly string[], options: T) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    // Node's own advice is how to write it as an argument, which none of the commands wants.
    const [sentence = ''] = (error as Error).message.split('. ');
    throw new ReleaseError('usage', `${sentence.replace(/\.$/u, '')}.`, { hint: allowed(options) });
  }
}

/** Of a command that takes options only: a word too many would otherwise be passed over. */
export function parseOptions<T extends NonNullable<ParseArgsConfig['options']>>(
  command: string,
  args: readonly string[],
  options: T,
) {
  const { values, positionals } = parse(args, options);
  if (positionals.length === 0) return values;
  throw new ReleaseError(
    'usage',
    `scripts/lab ${command} takes no argument, and was given '${positionals.join(' ')}'.`,
    {
      hint: allowed(options),
    },
  );
}

function allowed(options: object): string {
  const names = Object.keys(options).map((name) => `--${name}`);
  return names.length === 0
    ? 'It has no options; scripts/lab --help lists the commands.'
    : `Allowed: ${names.join(', ')}.`;
}
