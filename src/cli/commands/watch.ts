import { chooseView, follow, reportEnd } from '../follow';
import type { Registry } from '../registry';
import { checkReportPath, REPORT_OPTION, writeReleaseReport } from '../report-file';
import { resolveServiceRef } from '../service-ref';
import { parseDurationArgument } from '../units';
import { warnWithoutWorker } from '../workers';

interface WatchCommandOptions {
  readonly release?: string;
  readonly timeout?: string;
  readonly report?: string;
}

/** `sluice watch`: follows a release to its end, live. */
export function addWatchCommand(registry: Registry): void {
  registry
    .add('watch <service>', 'Watch a release to its end; Ctrl-C leaves it running', [
      'sluice watch checkout',
      'sluice watch checkout -o jsonl   # one event a line',
    ])
    .option('--release <id>', 'a certain release instead of the newest')
    .option('--timeout <duration>', 'watch no longer than this')
    .option(...REPORT_OPTION)
    .action(async (service: string, options: WatchCommandOptions, command) => {
      await registry.run(command, async (session) => {
        const timeoutMs =
          options.timeout === undefined ? undefined : parseDurationArgument(options.timeout, '--timeout');
        if (options.report !== undefined) await checkReportPath(options.report);
        const ref = await resolveServiceRef(service, session.cli.spec, options.release);
        const client = await session.client();
        await warnWithoutWorker(session, client);
        const end = await follow(session, client, ref, {
          view: chooseView(session),
          ...(timeoutMs === undefined ? {} : { timeoutMs }),
        });
        const { status } = end;
        if (status !== null && (session.format === 'json' || session.format === 'yaml'))
          session.result(status, () => []);
        if (status !== null && options.report !== undefined) await writeReleaseReport(session, options.report, status);
        return reportEnd(session, ref, end);
      });
    });
}
