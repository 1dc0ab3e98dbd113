import type { Command } from 'commander';
import type { Cli } from './cli';
import type { ExitCode } from './exit-codes';
import type { Session } from './session';

/** Where a command puts itself, and how it runs. */
export interface Registry {
  readonly cli: Cli;
  /** Adds a command with the options all have; its examples are printed before its usage. */
  add(nameAndArguments: string, summary: string, examples: readonly string[]): Command;
  /** Adds a command that is only a name for others, which are added to it. */
  group(name: string, summary: string, examples: readonly string[]): Registry;
  /** Runs the body of a command's action; its result becomes the exit code. */
  run(command: Command, body: (session: Session) => Promise<ExitCode | void>): Promise<void>;
}
