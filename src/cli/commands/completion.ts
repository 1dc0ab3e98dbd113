import type { Command } from 'commander';
import { ReleaseError } from '../../errors';
import type { Registry } from '../registry';

/** `sluice completion`: a script that makes a shell complete commands and options. */
export function addCompletionCommand(registry: Registry): void {
  registry
    .add('completion <shell>', "Print a shell's completion script: bash, zsh or fish", [
      'source <(sluice completion bash)',
      'sluice completion fish > ~/.config/fish/completions/sluice.fish',
    ])
    .action(async (shell: string, _options: unknown, command: Command) => {
      await registry.run(command, (session) => {
        session.cli.stdout.write(completionScript(shell, describe(command.parent ?? command)));
        return Promise.resolve();
      });
    });
}

interface Completable {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly string[];
}

function describe(program: Command): Completable[] {
  return program.commands.map((command) => ({
    name: command.name(),
    summary: command.summary(),
    options: command.options.flatMap((option) =>
      option.long === undefined || option.long === null ? [] : [option.long],
    ),
  }));
}

/** Written from the command tree, so that it cannot be older than the commands. */
function completionScript(shell: string, commands: readonly Completable[]): string {
  switch (shell) {
    case 'bash':
      return bash(commands);
    case 'zsh':
      return `autoload -U +X bashcompinit && bashcompinit\n${bash(commands)}`;
    case 'fish':
      return fish(commands);
    default:
      throw new ReleaseError('usage', `There is no completion for ${JSON.stringify(shell)}.`, {
        hint: 'Choose one of: bash, zsh, fish.',
      });
  }
}

function bash(commands: readonly Completable[]): string {
  const cases = commands.map(({ name, options }) => `    ${name}) words="${options.join(' ')}" ;;`);
  return [
    '_sluice() {',
    '  local current="${COMP_WORDS[COMP_CWORD]}" words=""',
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')}" -- "$current"))`,
    '    return',
    '  fi',
    '  case "${COMP_WORDS[1]}" in',
    ...cases,
    '  esac',
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    '}',
    'complete -o default -F _sluice sluice',
    '',
  ].join('\n');
}

function fish(commands: readonly Completable[]): string {
  const lines = commands.flatMap(({ name, summary, options }) => [
    `complete -c sluice -n __fish_use_subcommand -a ${name} -d '${summary.replaceAll("'", "\\'")}'`,
    ...options.map((option) => `complete -c sluice -n '__fish_seen_subcommand_from ${name}' -l ${option.slice(2)}`),
  ]);
  return `${lines.join('\n')}\n`;
}
