import { runCommand } from '../../src/devserver/run-command';
import type { CommandOptions } from '../../src/devserver/run-command';
import { ReleaseError } from '../../src/errors';

/** A line for people, on stderr: stdout belongs to what a command prints as its result. */
export function tell(line: string): void {
  process.stderr.write(`lab: ${line}\n`);
}

/** Runs a command to its end and returns what it printed; one that fails is an error in its own words. */
export async function execute(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await runCommand(command, args, options);
  if (result.code === 0) return result.output;
  const words = result.output.trim().split('\n').slice(-3).join(' ');
  throw new ReleaseError('internal', `${command} ${args.slice(0, 3).join(' ')} failed: ${result.problem ?? words}`);
}
