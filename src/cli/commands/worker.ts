import { Option } from 'commander';
import { pino } from 'pino';
import { compileEverything } from '../../worker/eager-code';
import { LOG_SERIALIZERS } from '../../worker/log-serializers';
import { keepHeapsSmall } from '../../worker/small-heaps';
import { EXIT } from '../exit-codes';
import { listenForInterrupt } from '../interrupt';
import type { Registry } from '../registry';
import { createReadableLogger } from '../readable-log';
import type { CommonOptions } from '../session';
import { parsePort } from '../units';

interface WorkerCommandOptions extends CommonOptions {
  readonly taskQueue?: string;
  readonly healthPort?: string;
  readonly healthHost?: string;
  readonly logFormat: 'json' | 'text';
}

/** `sluice worker`: the process that carries releases out. */
export function addWorkerCommand(registry: Registry): void {
  registry
    .add('worker', 'Run a worker: the process that carries releases out', [
      'sluice worker',
      'sluice worker --health-port 9464 --log-format json',
    ])
    .option('--task-queue <name>', 'the queue to work on, if not the usual one')
    .option('--health-port <port>', 'answer /healthz, /readyz and /metrics there')
    .option('--health-host <address>', 'on this address instead of 127.0.0.1; 0.0.0.0 in a container')
    .addOption(new Option('--log-format <format>', 'how the log is written').choices(['json', 'text']).default('json'))
    .action(async (options: WorkerCommandOptions, command) => {
      await registry.run(command, async (session) => {
        const { cli } = session;
        const level = session.verbose ? 'debug' : 'info';
        const write = (line: string): void => void cli.stderr.write(`${line}\n`);
        const logger =
          options.logFormat === 'text'
            ? createReadableLogger(write, session.noteLook, level)
            : pino({ level, serializers: LOG_SERIALIZERS }, { write: (line: string) => void cli.stderr.write(line) });
        const healthPort =
          options.healthPort === undefined ? undefined : parsePort(options.healthPort, '--health-port');
        keepHeapsSmall();
        compileEverything();
        const worker = await cli.startWorker({
          ...session.connectChoice(),
          logger,
          ...(options.taskQueue === undefined ? {} : { taskQueue: options.taskQueue }),
          ...(healthPort === undefined ? {} : { healthPort }),
          ...(options.healthHost === undefined ? {} : { healthHost: options.healthHost }),
        });
        const interruption = listenForInterrupt(cli);
        session.note(
          `The worker is running; Ctrl-C stops it.${worker.healthUrl === null ? '' : ` Health: ${worker.healthUrl}`}`,
        );
        try {
          await Promise.race([worker.stopped, interruption.happened.then(() => worker.stop())]);
          // A stop that was asked for is what was wanted, whatever the signal.
          return EXIT.ok;
        } finally {
          interruption.stopListening();
        }
      });
    });
}
