import { Option } from 'commander';
import { pino } from 'pino';
import type { DisabledBehavior } from '../../flags/server/ofrep';
import type { StoreKind } from '../../flags/server/open-flags-server';
import { LOG_SERIALIZERS } from '../../worker/log-serializers';
import { EXIT } from '../exit-codes';
import { listenForInterrupt } from '../interrupt';
import { lazy } from '../lazy';
import { createReadableLogger } from '../readable-log';
import type { Registry } from '../registry';
import type { CommonOptions } from '../session';
import { parsePort } from '../units';

interface FlagsServerCommandOptions extends CommonOptions {
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

/** `sluice flags-server`: the flag service. */
export function addFlagsServerCommand(registry: Registry): void {
  registry
    .add('flags-server', 'Run the flag service: feature flags over HTTP and OFREP', [
      'sluice flags-server',
      'SLUICE_REDIS_URL=redis://redis:6379 SLUICE_API_KEY=… sluice flags-server --store redis --host 0.0.0.0',
    ])
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
    .addOption(new Option('--log-format <format>', 'how the log is written').choices(['json', 'text']).default('text'))
    .action(async (options: FlagsServerCommandOptions, command) => {
      await registry.run(command, async (session) => {
        const { cli } = session;
        const level = session.verbose ? 'debug' : 'info';
        const logger =
          options.logFormat === 'text'
            ? createReadableLogger((line) => void cli.stderr.write(`${line}\n`), session.noteLook, level)
            : pino({ level, serializers: LOG_SERIALIZERS }, { write: (line: string) => void cli.stderr.write(line) });
        const { host, file, environment, keys, jwksUrl, jwtIssuer, jwtAudience, corsOrigin, requireIfMatch } = options;
        const server = await lazy.flagsServer().openFlagsServer({
          store: options.store,
          port: parsePort(options.port, '--port'),
          env: cli.env,
          version: cli.version,
          disabledBehavior: options.disabled,
          logger: {
            info: (message, data) => logger.info(data, message),
            warn: (message, data) => logger.warn(data, message),
            error: (message, data) => logger.error(data, message),
          },
          ...(host === undefined ? {} : { host }),
          ...(file === undefined ? {} : { file }),
          ...(environment === undefined ? {} : { environment }),
          ...(keys === undefined ? {} : { keys }),
          ...(jwksUrl === undefined ? {} : { jwksUrl }),
          ...(jwtIssuer === undefined ? {} : { jwtIssuer }),
          ...(jwtAudience === undefined ? {} : { jwtAudience }),
          ...(corsOrigin === undefined ? {} : { corsOrigins: corsOrigin }),
          ...(requireIfMatch === undefined ? {} : { requireIfMatch }),
        });
        const interruption = listenForInterrupt(cli);
        session.note(`The flag service answers at ${server.url}, with flags in ${options.store}; Ctrl-C stops it.`);
        try {
          await interruption.happened;
          // A stop that was asked for is what was wanted, whatever the signal.
          return EXIT.ok;
        } finally {
          interruption.stopListening();
          await server.close();
        }
      });
    });
}
