import { Option } from 'commander';
import type { FlagServiceClient, FlagUpdate } from '../../flags/client/flag-service-client';
import type { FlagAnswer } from '../../flags/answers';
import { ReleaseError } from '../../errors';
import { FLAG_VERSION } from '../../spec/defaults';
import { askFlagService } from '../flag-service';
import { checkLines, explanationLines, flagLines, flagTable, statsLines } from '../flag-lines';
import { API_VERSION } from '../output';
import type { ResultDocument } from '../output';
import type { Registry } from '../registry';
import { addStartOptions } from '../start-release';
import type { StartOptions } from '../start-release';
import { deploy } from './deploy';

interface SetOptions {
  readonly create?: boolean;
  readonly on?: boolean;
  readonly off?: boolean;
  readonly percentage?: string;
  readonly description?: string;
  readonly environment?: readonly string[];
}

interface QuestionOptions {
  readonly environment?: string | undefined;
}

interface ReleaseOptions extends StartOptions {
  readonly dryRun?: boolean;
  readonly simulate?: string;
}

/** `sluice flag …`: feature flags of a flag service, and their releases. */
export function addFlagCommands(registry: Registry): void {
  const flags = registry.group('flag', 'Feature flags: list, set, check, release', [
    'sluice flag set new-checkout --create --on --percentage 0',
    'sluice flag check new-checkout user-1',
    'sluice flag release new-checkout.yaml',
  ]);
  addReading(flags);
  addSet(flags);
  addQuestions(flags);
  addRelease(flags);
}

function addReading(flags: Registry): void {
  flags
    .add('list', 'List flags by their names', ['sluice flag list', 'sluice flag list -o json'])
    .action(async (_options, command) => {
      await flags.run(command, (session) =>
        askFlagService(session.cli.env, async (service) => {
          const items = await listAll(service);
          if (session.format === 'jsonl') for (const flag of items) session.emit(documentOf('Flag', flag));
          else {
            session.result(documentOf('FlagList', { flags: items }), () =>
              items.length === 0 ? [] : flagTable(items, session.look),
            );
          }
          if (items.length === 0) session.note('There are no flags.');
        }),
      );
    });
  flags
    .add('get <name>', 'Show a flag', ['sluice flag get new-checkout'])
    .action(async (name: string, _options, command) => {
      await flags.run(command, (session) =>
        askFlagService(session.cli.env, async (service) => {
          const flag = await service.get(name);
          session.result(documentOf('Flag', flag), () => flagLines(flag, session.look));
        }),
      );
    });
  flags
    .add('stats <name>', 'How often a flag was asked for, by day', ['sluice flag stats new-checkout --days 3'])
    .option('--days <number>', 'the last so many days, at most 7', '7')
    .action(async (name: string, options: { readonly days: string }, command) => {
      await flags.run(command, (session) =>
        askFlagService(session.cli.env, async (service) => {
          const stats = await service.stats(name, wholeNumber(options.days, '--days', { min: 1, max: 7 }));
          session.result(documentOf('FlagStats', stats), () => statsLines(stats, session.look));
        }),
      );
    });
}

function addSet(flags: Registry): void {
  flags
    .add('set <name>', 'Change a flag, or make it', [
      'sluice flag set new-checkout --create --on --percentage 10',
      'sluice flag set new-checkout --off     # for everybody, at once, also while a release holds it',
      'sluice flag set new-checkout --environment staging production',
    ])
    .option('--create', 'make it; a flag that is there is refused')
    .addOption(new Option('--on', 'switch it on').conflicts('off'))
    .option('--off', 'switch it off')
    .option('--percentage <percent>', 'for so many of its users, 0 to 100')
    .option('--description <text>', 'what it is for')
    .option('--environment <name...>', 'where it can be on')
    .action(async (name: string, options: SetOptions, command) => {
      await flags.run(command, (session) =>
        askFlagService(session.cli.env, async (service) => {
          const changes = changesOf(options);
          if (options.create !== true && Object.keys(changes).length === 0) {
            throw new ReleaseError('usage', 'It is not said what to change.', {
              hint: 'Add --on, --off, --percentage 25, --description or --environment; or --create.',
            });
          }
          // From the state it is in, as a server with `--require-if-match` wants it.
          const flag =
            options.create === true
              ? await service.create({ name, ...changes })
              : await service.changeFlag(name, {}, ({ revision }) => service.update(name, changes, { revision }));
          session.result(documentOf('Flag', flag), () => flagLines(flag, session.look));
        }),
      );
    });
}

function addQuestions(flags: Registry): void {
  const environment = new Option('--environment <name>', 'where; the only one of the key by default, else production');
  flags
    .add('check <name> <user>', 'Ask whether a flag is on for a user; counted as usage', [
      'sluice flag check new-checkout user-1',
      'sluice flag check new-checkout user-1 --environment staging -o json',
    ])
    .addOption(environment)
    .action(async (name: string, userId: string, options: QuestionOptions, command) => {
      await flags.run(command, (session) =>
        askFlagService(session.cli.env, async (service) => {
          const answer = await service.check(name, { userId, ...questionOf(options) });
          session.result(documentOf('FlagCheck', answer), () => checkLines(answer, session.look));
        }),
      );
    });
  flags
    .add('explain <name> <user>', 'Say why a flag is on or off for a user, rule by rule', [
      'sluice flag explain new-checkout user-1',
    ])
    .addOption(environment)
    .action(async (name: string, userId: string, options: QuestionOptions, command) => {
      await flags.run(command, (session) =>
        askFlagService(session.cli.env, async (service) => {
          const answer = await service.explain(name, { userId, ...questionOf(options) });
          session.result(documentOf('FlagExplanation', answer), () => explanationLines(answer, session.look));
        }),
      );
    });
}

function addRelease(flags: Registry): void {
  const command = flags.add(
    'release <release.yaml>',
    'Release a flag step by step, as `sluice deploy` does a version',
    ['sluice flag release new-checkout.yaml', 'sluice flag release new-checkout.yaml --wait --timeout 2h   # in CI'],
  );
  addStartOptions(command)
    .option('--dry-run', 'print the plan and do nothing')
    .option('--simulate <script>', 'numbers from a script instead of the metric source: healthy, failing@25, or a file')
    .action(async (path: string, options: ReleaseOptions) => {
      await flags.run(command, async (session) => {
        const { target } = await session.cli.spec.identify(path);
        if (target === 'flag') return deploy(session, path, { ...options, version: FLAG_VERSION });
        throw new ReleaseError('usage', `${path} releases to a ${target} target, and not a flag.`, {
          hint: `Use sluice deploy ${path} --version …, or give the spec target: { flag: { name, environment } }.`,
        });
      });
    });
}

/** What the service answered, as a document of the command line. */
function documentOf(kind: `Flag${string}`, answer: object): ResultDocument {
  return { apiVersion: API_VERSION, kind, ...answer };
}

async function listAll(service: FlagServiceClient): Promise<readonly FlagAnswer[]> {
  const all: FlagAnswer[] = [];
  let cursor: string | null = null;
  do {
    const page = await service.list({ limit: 500, ...(cursor === null ? {} : { cursor }) });
    all.push(...page.flags);
    cursor = page.next_cursor;
  } while (cursor !== null);
  return all;
}

function changesOf({ on, off, percentage, description, environment }: SetOptions): Omit<FlagUpdate, 'name'> {
  return {
    ...(on === true ? { enabled: true } : {}),
    ...(off === true ? { enabled: false } : {}),
    ...(percentage === undefined
      ? {}
      : { rollout_percentage: wholeNumber(percentage.replace(/%$/u, ''), '--percentage', { min: 0, max: 100 }) }),
    ...(description === undefined ? {} : { description }),
    ...(environment === undefined ? {} : { environments: [...environment] }),
  };
}

function wholeNumber(text: string, option: string, { min, max }: { min: number; max: number }): number {
  const value = /^\d{1,3}$/u.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new ReleaseError('usage', `${option} is ${JSON.stringify(text)}.`, {
    hint: `Write a whole number, ${min} to ${max}.`,
  });
}

function questionOf({ environment }: QuestionOptions): { readonly environment?: string } {
  return environment === undefined ? {} : { environment };
}
