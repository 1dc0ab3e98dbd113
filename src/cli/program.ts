import { Command, CommanderError, Option } from 'commander';
import { ReleaseError } from '../errors';
import type { Cli } from './cli';
import { EXIT, EXIT_CODE_TABLE } from './exit-codes';
import type { ExitCode } from './exit-codes';
import { FORMATS } from './output';
import type { Format } from './output';
import type { Registry } from './registry';
import { COLOR_CHOICES, reportError, runSession } from './session';
import { decideLook } from './style';
import { addApproveCommand } from './commands/approve';
import { addBacktestCommand } from './commands/backtest';
import { addCleanupCommand } from './commands/cleanup';
import { addCompletionCommand } from './commands/completion';
import { addDemoCommand } from './commands/demo';
import { addDeployCommand } from './commands/deploy';
import { addDevCommand } from './commands/dev';
import { addDoctorCommand } from './commands/doctor';
import { addExplainCommand } from './commands/explain';
import { addFlagCommands } from './commands/flag';
import { addFlagsServerCommand } from './commands/flags-server';
import { addHistoryCommand } from './commands/history';
import { addInitCommand } from './commands/init';
import { addJudgeCommand } from './commands/judge';
import { addListCommand } from './commands/list';
import { addMonitorCommand } from './commands/monitor';
import { addPauseCommand } from './commands/pause';
import { addPlanCommand } from './commands/plan';
import { addPromoteCommand } from './commands/promote';
import { addRbacCommand } from './commands/rbac';
import { addRejectCommand } from './commands/reject';
import { addResumeCommand } from './commands/resume';
import { addRollbackCommand } from './commands/rollback';
import { addSchemaCommand } from './commands/schema';
import { addServerCommand } from './commands/server';
import { addSkipSoakCommand } from './commands/skip-soak';
import { addStatusCommand } from './commands/status';
import { addSwitchCommand } from './commands/switch';
import { addTrafficCommand } from './commands/traffic';
import { addValidateCommand } from './commands/validate';
import { addVersionCommand } from './commands/version';
import { addWaitCommand } from './commands/wait';
import { addWatchCommand } from './commands/watch';
import { addWorkerCommand } from './commands/worker';

const GROUPS: readonly (readonly [string, readonly ((registry: Registry) => void)[]])[] = [
  ['Release:', [addDeployCommand, addStatusCommand, addWatchCommand, addWaitCommand, addListCommand]],
  ['Understand:', [addHistoryCommand, addExplainCommand, addMonitorCommand, addJudgeCommand, addBacktestCommand]],
  [
    'Decide:',
    [
      addApproveCommand,
      addRejectCommand,
      addPauseCommand,
      addResumeCommand,
      addPromoteCommand,
      addRollbackCommand,
      addTrafficCommand,
      addSwitchCommand,
      addCleanupCommand,
      addSkipSoakCommand,
    ],
  ],
  ['Flags:', [addFlagCommands]],
  ['Prepare:', [addInitCommand, addPlanCommand, addValidateCommand, addSchemaCommand, addRbacCommand]],
  [
    'Run:',
    [addDevCommand, addWorkerCommand, addServerCommand, addFlagsServerCommand, addDoctorCommand, addDemoCommand],
  ],
  ['More:', [addCompletionCommand, addVersionCommand]],
];

/** The whole command line. `exit` is told the code of the command that ran. */
export function buildProgram(cli: Cli, exit: (code: ExitCode) => void): Command {
  const program = new Command('sluice');
  program
    .description('Releases a new version step by step, watches the evidence, and takes it back by itself.')
    .version(cli.version, '-V, --version', 'print the version')
    .helpCommand(false)
    .helpOption('-h, --help', 'print help')
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
    .configureOutput({
      writeOut: (text) => void cli.stdout.write(text),
      // Usage errors are reported once, by `runCli`, in the format that was asked for.
      writeErr: () => undefined,
      getOutHelpWidth: () => cli.stdout.columns ?? 100,
    })
    .showSuggestionAfterError(true)
    // Else the program's own --version would be taken from `deploy --version 1.4.2`.
    .enablePositionalOptions()
    .exitOverride()
    .addHelpText(
      'before',
      examplesText([
        'sluice demo                                      see it promote a version and take one back',
        'sluice deploy release.yaml --version 1.4.2       release, and watch',
        'sluice status checkout                           how it stands',
        'sluice rollback checkout --reason "checkout 500s"',
      ]),
    )
    .addHelpText('after', '\nExit codes: sluice help exit-codes');
  for (const [group, commands] of GROUPS) {
    program.commandsGroup(group);
    for (const add of commands) add(registry(program, cli, exit));
  }
  // After each command's own, so that its help shows those first.
  for (const command of leaves(program)) addCommonOptions(command);
  program.addCommand(helpCommand(program, cli, exit));
  return program;
}

function registry(program: Command, cli: Cli, exit: (code: ExitCode) => void): Registry {
  return {
    cli,
    add(nameAndArguments, summary, examples) {
      const command = program.command(nameAndArguments).summary(summary).description(`${summary}.`);
      command.addHelpText('before', examplesText(examples));
      return command;
    },
    group(name, summary, examples) {
      const group = this.add(name, summary, examples).helpCommand(false).enablePositionalOptions();
      return registry(group, cli, exit);
    },
    async run(command, body) {
      exit(await runSession(cli, command, body));
    },
  };
}

/** The commands that do something, those of groups, too. */
function leaves(parent: Command): readonly Command[] {
  return parent.commands.flatMap((command) => (command.commands.length === 0 ? [command] : leaves(command)));
}

/** They are each command's own, not the program's, so that they may stand where people write them: at the end. */
function addCommonOptions(command: Command): void {
  const shared = [
    new Option('-o, --output <format>', `how to print the result: ${FORMATS.join(', ')}`),
    new Option('--json', 'the same as -o json'),
    new Option('--color <when>', 'colours').choices(COLOR_CHOICES),
    new Option('--ascii', 'only ASCII characters'),
    new Option('-q, --quiet', 'no progress on stderr'),
    new Option('-v, --verbose', 'more of it'),
    new Option('--as <name>', 'who acts, for the record (SLUICE_ACTOR)'),
    new Option('--address <host:port>', "Temporal's address (TEMPORAL_ADDRESS)"),
    new Option('--temporal-namespace <name>', "Temporal's namespace (TEMPORAL_NAMESPACE)"),
    new Option('--profile <name>', "profile of Temporal's settings (TEMPORAL_PROFILE)"),
  ];
  for (const option of shared) command.addOption(option.helpGroup('Options of every command:'));
  command.addHelpOption(new Option('-h, --help', 'print help').helpGroup('Options of every command:'));
}

function examplesText(examples: readonly string[]): string {
  return `Examples:\n${examples.map((example) => `  ${example}`).join('\n')}\n`;
}

function helpCommand(program: Command, cli: Cli, exit: (code: ExitCode) => void): Command {
  return new Command('help')
    .summary('help on a command, or on exit-codes')
    .helpGroup('More:')
    .argument('[topic]', 'a command, or exit-codes')
    .exitOverride()
    .action((topic: string | undefined) => {
      if (topic === 'exit-codes') {
        for (const [code, meaning] of EXIT_CODE_TABLE) cli.stdout.write(`${String(code).padStart(3)}  ${meaning}\n`);
        exit(EXIT.ok);
        return;
      }
      const command = topic === undefined ? program : program.commands.find((candidate) => candidate.name() === topic);
      if (command === undefined) {
        throw new CommanderError(EXIT.usage, 'sluice.unknownTopic', `error: there is no command '${topic}'`);
      }
      command.outputHelp();
      exit(EXIT.ok);
    });
}

/** Runs one command line and answers its exit code. Never throws. */
export async function runCli(cli: Cli, args: readonly string[]): Promise<ExitCode> {
  let code: ExitCode = EXIT.ok;
  const program = buildProgram(cli, (ended) => {
    code = ended;
  });
  if (args.length === 0) {
    cli.stderr.write(program.helpInformation());
    return EXIT.usage;
  }
  try {
    await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
    if (error instanceof CommanderError && error.code === 'commander.help') {
      // A group without a command, as the program without one.
      const group = program.commands.find((command) => command.name() === args[0]);
      cli.stderr.write((group ?? program).helpInformation());
      return EXIT.usage;
    }
    return reportError(cli, asUsageError(error, program, args), {
      format: formatIn(args),
      look: decideLook({ env: cli.env, isTTY: cli.stderr.isTTY === true }),
    });
  }
}

/** Commander's `error: unknown option '--x'\n(Did you mean --y?)` as a sentence and its hint. */
function asUsageError(error: unknown, program: Command, args: readonly string[]): unknown {
  if (!(error instanceof CommanderError)) return error;
  const [first = '', ...rest] = error.message.replace(/^error: /u, '').split('\n');
  const sentence = `${first.charAt(0).toUpperCase()}${first.slice(1)}`;
  const hint = rest.map((line) => line.replace(/^\((.*)\)$/u, '$1').trim()).filter((line) => line !== '');
  return new ReleaseError('usage', /[.?!]$/u.test(sentence) ? sentence : `${sentence}.`, {
    hint: hint.length > 0 ? hint.join(' ') : usageHint(program, args),
  });
}

/** How the command is written that was meant, where it is known which one. */
function usageHint(program: Command, args: readonly string[]): string {
  const command = program.commands.find((candidate) => candidate.name() === args[0]);
  if (command === undefined || command.name() === 'help') return 'See: sluice --help';
  return `Usage: ${command.createHelp().commandUsage(command)}\nExamples: sluice ${command.name()} --help`;
}

/** The format a command line asked for that could not be parsed. */
function formatIn(args: readonly string[]): Format {
  const asked = args.flatMap((arg, index) => {
    if (arg === '--json') return ['json'];
    if (arg === '-o' || arg === '--output') return [args[index + 1]];
    return arg.startsWith('--output=') ? [arg.slice('--output='.length)] : [];
  });
  return FORMATS.find((format) => format === asked[0]) ?? 'table';
}
