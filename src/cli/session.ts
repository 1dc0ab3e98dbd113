import type { Command } from 'commander';
import type { SluiceClient } from '../client/client-types';
import type { Actor } from '../workflows/api';
import { messageOf, ReleaseError } from '../errors';
import { whoAmI } from './actor';
import type { Cli, ConnectChoice } from './cli';
import { exitCodeOfError, EXIT } from './exit-codes';
import type { ExitCode } from './exit-codes';
import { errorDocument, FORMATS, formatDocument } from './output';
import type { Format } from './output';
import { decideLook, paint, toAscii } from './style';
import type { Look } from './style';

/** Options every command takes. */
export interface CommonOptions {
  readonly output?: string;
  readonly json?: boolean;
  readonly color?: string;
  readonly ascii?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly as?: string;
  readonly address?: string;
  readonly temporalNamespace?: string;
  readonly profile?: string;
}

export const COLOR_CHOICES = ['auto', 'always', 'never'] as const;

/** Put before every line while the numbers come from a script. */
const SIMULATED_MARK = '[simulated] ';

/**
 * One run of one command: how it prints, who it acts for, and the connection it opens when it first needs one.
 * Results go to stdout, everything else to stderr.
 */
export class Session {
  readonly cli: Cli;
  readonly format: Format;
  /** Of stdout. */
  readonly look: Look;
  /** Of stderr. */
  readonly noteLook: Look;
  readonly verbose: boolean;
  readonly #quiet: boolean;
  readonly #options: CommonOptions;
  #client: SluiceClient | null = null;
  /** Set by `--simulate` and by the status of a simulated release. */
  #simulated = false;

  constructor(cli: Cli, options: CommonOptions) {
    this.cli = cli;
    this.#options = options;
    this.format = chooseFormat(options);
    this.look = lookOf(cli, cli.stdout, options);
    this.noteLook = lookOf(cli, cli.stderr, options);
    this.verbose = options.verbose === true;
    this.#quiet = options.quiet === true;
  }

  /** Connects on the first call; the command's end closes it. */
  async client(): Promise<SluiceClient> {
    this.#client ??= await this.cli.connect(this.connectChoice());
    return this.#client;
  }

  /** What the options say about Temporal. */
  connectChoice(): ConnectChoice {
    const { address, temporalNamespace: namespace, profile } = this.#options;
    return {
      ...(address === undefined ? {} : { address }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(profile === undefined ? {} : { profile }),
    };
  }

  actor(): Actor {
    return whoAmI(this.cli.env, this.#options.as);
  }

  markSimulated(): void {
    this.#simulated = true;
  }

  /** The command's result: the document for machines, the lines for people. */
  result(document: object, lines: () => readonly string[]): void {
    if (this.format === 'table') for (const line of lines()) this.print(line);
    else this.cli.stdout.write(formatDocument(document, this.format));
  }

  /** One line of the result, for people. */
  print(line: string): void {
    this.cli.stdout.write(`${toAscii(this.mark(line), this.look)}\n`);
  }

  /** One document of a stream, for machines. */
  emit(document: object): void {
    this.cli.stdout.write(formatDocument(document, 'jsonl'));
  }

  /** Progress and remarks. Silent with --quiet. */
  note(line: string): void {
    if (!this.#quiet) this.warn(line);
  }

  /** What must be said, even with --quiet. */
  warn(line: string): void {
    this.cli.stderr.write(`${toAscii(this.mark(line), this.noteLook)}\n`);
  }

  mark(line: string): string {
    return this.#simulated ? SIMULATED_MARK + line : line;
  }

  /** `done`: what was done until then, for the document of a command that had begun to write. */
  fail(error: unknown, done: object = {}): ExitCode {
    return reportError(this.cli, error, { format: this.format, look: this.noteLook, done });
  }

  async close(): Promise<void> {
    await this.#client?.close();
    this.#client = null;
  }
}

/** Runs a command's body in a session, and turns whatever it throws into a sentence and an exit code. */
export async function runSession(
  cli: Cli,
  command: Command,
  body: (session: Session) => Promise<ExitCode | void>,
): Promise<ExitCode> {
  const options = command.optsWithGlobals<CommonOptions>();
  let session: Session;
  try {
    session = new Session(cli, options);
  } catch (error) {
    return reportError(cli, error, { format: 'table', look: lookOf(cli, cli.stderr, {}) });
  }
  try {
    return (await body(session)) ?? EXIT.ok;
  } catch (error) {
    return session.fail(error);
  } finally {
    await session.close().catch((error: unknown) => {
      if (session.verbose) session.warn(`The connection was not closed in order: ${messageOf(error)}`);
    });
  }
}

/**
 * The sentence and its hint on stderr; in a machine's format the error's document on stdout as well, so that a reader
 * of stdout always gets one. Only a defect of Sluice shows its stack.
 */
export function reportError(
  cli: Pick<Cli, 'stdout' | 'stderr'>,
  error: unknown,
  { format, look, done = {} }: { format: Format; look: Look; done?: object },
): ExitCode {
  if (format !== 'table') cli.stdout.write(formatDocument({ ...errorDocument(error), ...done }, format));
  if (error instanceof ReleaseError) {
    cli.stderr.write(`${paint('Error:', 'bad', look)} ${error.message}\n`);
    if (error.hint !== undefined) cli.stderr.write(`${indent(error.hint)}\n`);
    return exitCodeOfError(error.code);
  }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  cli.stderr.write(`${paint('Error:', 'bad', look)} a defect in Sluice: ${detail}\n`);
  return EXIT.error;
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => `       ${line}`)
    .join('\n');
}

function chooseFormat(options: CommonOptions): Format {
  if (options.json === true && (options.output === undefined || options.output === 'json')) return 'json';
  if (options.json === true && options.output === 'jsonl') return 'jsonl';
  const format = options.output ?? 'table';
  if (options.json !== true && (FORMATS as readonly string[]).includes(format)) return format as Format;
  throw new ReleaseError(
    'usage',
    options.json === true
      ? `--json and -o ${format} contradict each other.`
      : `There is no output format ${JSON.stringify(format)}.`,
    { hint: `Choose one of: ${FORMATS.join(', ')}.` },
  );
}

function lookOf(cli: Cli, stream: { isTTY?: boolean; columns?: number | undefined }, options: CommonOptions): Look {
  const color = COLOR_CHOICES.find((choice) => choice === options.color);
  return decideLook({
    ...(color === undefined ? {} : { color }),
    ...(options.ascii === undefined ? {} : { ascii: options.ascii }),
    env: cli.env,
    isTTY: stream.isTTY === true,
    columns: stream.columns,
  });
}
