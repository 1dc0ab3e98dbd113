import { Option } from 'commander';
import type { Command } from 'commander';
import { pino } from 'pino';
import type { FlagLogger } from '../flags/logger';
import type { FlagsServer } from '../flags/server/flags-server';
import type { DisabledBehavior } from '../flags/server/ofrep';
import type { FlagsServerChoice, StoreKind } from '../flags/server/open-flags-server';
import { LOG_SERIALIZERS } from '../worker/log-serializers';
import { EXIT } from './exit-codes';
import type { ExitCode } from './exit-codes';
import { listenForInterrupt } from './interrupt';
import { createReadableLogger } from './readable-log';
import type { Session } from './session';
import { parsePort } from './units';

/** What the commands that serve flags have in common. */
export interface FlagsServerOptions {
  readonly port: string;
  readonly host?: string;
  readonly store: StoreKind;
  readonly file?: string;
  readonly environment?: string;
  readonly keys?: string;
  readonly jwksUrl?: string;
  readonly jwtIssuer?: string;
  readonly jwtAudience?: string;
  readonly corsOrigin?: readonly string[];
  readonly disabled: DisabledBehavior;
  readonly requireIfMatch?: boolean;
  readonly logFormat: 'json' | 'text';
}

export function addFlagsServerOptions(command: Command): Command {
  return command
    .option('--port <port>', 'where to listen; 0 takes a free one', '8014')
    .option('--host <address>', 'on this address instead of 127.0.0.1; needs keys')
    .addOption(
      new Option('--store <kind>', 'where flags are kept; redis is at SLUICE_REDIS_URL')
        .choices(['memory', 'sqlite', 'redis'])
        .default('sqlite'),
    )
    .option('--file <path>', "the file of sqlite (default: flags.db among Sluice's state)")
    .option('--environment <name>', 'the environment of a check that names none (default: production)')
    .option('--keys <file>', 'API keys by their SHA-256, with what each may do, beside SLUICE_API_KEY')
    .option('--jwks-url <url>', 'keys of an issuer of tokens that are accepted, too')
    .option('--jwt-issuer <issuer>', 'that issuer')
    .option('--jwt-audience <audience>', 'for whom its tokens are')
    .option('--cors-origin <origin...>', 'pages that may ask by OFREP (default: any)')
    .addOption(
      new Option('--disabled <answer>', 'what OFREP answers for a disabled flag')
        .choices(['off', 'code-default'])
        .default('off'),
    )
    .option('--require-if-match', 'every change has to say which state it was made from (428 otherwise)')
    .addOption(new Option('--log-format <format>', 'how the log is written').choices(['json', 'text']).default('text'));
}

/** The options as the flag service takes them, with a log on stderr. */
export function flagsServerChoice(session: Session, options: FlagsServerOptions): FlagsServerChoice {
  const { cli } = session;
  const { host, file, environment, keys, jwksUrl, jwtIssuer, jwtAudience, corsOrigin, requireIfMatch } = options;
  return {
    store: options.store,
    port: parsePort(options.port, '--port'),
    env: cli.env,
    version: cli.version,
    disabledBehavior: options.disabled,
    logger: loggerOf(session, options.logFormat),
    ...(host === undefined ? {} : { host }),
    ...(file === undefined ? {} : { file }),
    ...(environment === undefined ? {} : { environment }),
    ...(keys === undefined ? {} : { keys }),
    ...(jwksUrl === undefined ? {} : { jwksUrl }),
    ...(jwtIssuer === undefined ? {} : { jwtIssuer }),
    ...(jwtAudience === undefined ? {} : { jwtAudience }),
    ...(corsOrigin === undefined ? {} : { corsOrigins: corsOrigin }),
    ...(requireIfMatch === undefined ? {} : { requireIfMatch }),
  };
}

/** Lets it answer until Ctrl-C or SIGTERM, and stops it in order. */
export async function serveUntilInterrupted(session: Session, server: FlagsServer, said: string): Promise<ExitCode> {
  const interruption = listenForInterrupt(session.cli);
  session.note(said);
  try {
    await interruption.happened;
    // A stop that was asked for is what was wanted, whatever the signal.
    return EXIT.ok;
  } finally {
    interruption.stopListening();
    await server.close();
  }
}

function loggerOf({ cli, noteLook, verbose }: Session, format: 'json' | 'text'): FlagLogger {
  const level = verbose ? 'debug' : 'info';
  const logger =
    format === 'text'
      ? createReadableLogger((line) => void cli.stderr.write(`${line}\n`), noteLook, level)
      : pino({ level, serializers: LOG_SERIALIZERS }, { write: (line: string) => void cli.stderr.write(line) });
  return {
    info: (message, data) => logger.info(data, message),
    warn: (message, data) => logger.warn(data, message),
    error: (message, data) => logger.error(data, message),
  };
}
