import type { Command } from 'commander';
import { fencedBlocks } from '../examples/markdown';

const CALL = /^(?:\.\/scripts\/)?sluice\s+(.*)$/;
/** What a shell takes for itself; a command line ends there. */
const SHELL = /^(?:\d?[<>]|[|;&)])/;

/** The arguments of every `sluice …` of a page: in its blocks (after the prompt, if there is one) and in its sentences. */
export function sluiceCalls(markdown: string): string[] {
  const blocks = ['sh', 'console', 'yaml'].flatMap((language) => fencedBlocks(markdown, language));
  const lines = blocks.flatMap((block) => block.split('\n')).map((line) => line.replace(/^\$ /, ''));
  const sentences = markdown.replace(/^```.*?^```$/gms, '');
  const spans = [...sentences.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
  // Variables before the program, and `source <(…)` around it, are the shell's.
  const candidates = [...lines, ...spans].map((line) => line.replace(/^(?:\w+=\S* )+/, '').replace(/^source <\(/, ''));
  return candidates.flatMap((line) => CALL.exec(line)?.slice(1, 2) ?? []);
}

/** What of a command line the program does not have; empty when it has everything. */
export function unknownIn(program: Command, call: string): string[] {
  const words = wordsOf(call);
  const [first = ''] = words;
  // A placeholder stands for any command.
  if (first === '<command>') return [];
  if (first.startsWith('-')) return unknownOptions(program, words);
  const command = program.commands.find((each) => each.name() === first || each.aliases().includes(first));
  if (command === undefined) return [`command ${first}`];
  // A group's own commands are what is called.
  if (command.commands.length > 0 && words.length > 1)
    return unknownIn(command, call.slice(call.indexOf(first) + first.length + 1));
  return unknownOptions(command, words.slice(1));
}

/** Every option that some command has. */
export function allOptions(program: Command): Set<string> {
  const options = withInner(program).flatMap((command) => optionsOf(command));
  return new Set(options.flatMap(({ long, short }) => [long, short]).filter((name) => name !== undefined));
}

function withInner(command: Command): Command[] {
  return [command, ...command.commands.flatMap((inner) => withInner(inner))];
}

function unknownOptions(command: Command, words: readonly string[]): string[] {
  const options = optionsOf(command);
  const unknown: string[] = [];
  let valueFollows = false;
  for (const word of words) {
    if (valueFollows) {
      valueFollows = false;
      continue;
    }
    if (!/^--?[a-z]/i.test(word)) continue;
    const [name = '', value] = word.split('=', 2);
    const option = options.find(({ long, short }) => long === name || short === name);
    if (option === undefined) unknown.push(`option ${name} of ${command.name()}`);
    valueFollows = option?.required === true && value === undefined;
  }
  return unknown;
}

/** With --help, which commander keeps beside the others. */
function optionsOf(command: Command) {
  return command.createHelp().visibleOptions(command);
}

function wordsOf(call: string): string[] {
  // Optional parts are written in brackets.
  const words = call
    .replace(/\s+#.*$/, '')
    .replace(/[[\]]/g, ' ')
    .match(/"[^"]*"|'[^']*'|\S+/g);
  const all = words?.map((word) => word.replace(/\)$/, '')) ?? [];
  const end = all.findIndex((word) => SHELL.test(word) && word !== '<command>');
  return end === -1 ? all : all.slice(0, end);
}
