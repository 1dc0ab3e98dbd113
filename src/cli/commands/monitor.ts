import { ReleaseError } from '../../errors';
import type { Registry } from '../registry';
import { lazy } from '../lazy';
import { runMonitor } from '../monitor';
import type { MonitorSettings } from '../monitor';
import { checkReportPath, writeReport } from '../report-file';
import { parseScript } from '../simulation-script';
import { parseDurationArgument, parsePercentArgument } from '../units';

interface MonitorCommandOptions {
  readonly duration: string;
  readonly interval: string;
  readonly window?: string;
  readonly maxErrorRate?: string;
  readonly maxP95?: string;
  readonly minRequests?: string;
  readonly track?: string;
  readonly version?: string;
  readonly autoRollback?: boolean;
  readonly reason?: string;
  readonly simulate?: string;
  readonly report?: string;
}

/** `sluice monitor`: watches a service's metrics, and a canary beside stable, without a release. */
export function addMonitorCommand(registry: Registry): void {
  registry
    .add('monitor <release.yaml>', "Watch a service's metrics without a release", [
      'sluice monitor release.yaml',
      'sluice monitor release.yaml --duration 10m --max-error-rate 1% --max-p95 500ms',
      'sluice monitor release.yaml --report monitored.html',
      'sluice monitor release.yaml --auto-rollback   # takes a running release back when it is broken, or proven worse',
    ])
    .option('--duration <duration>', 'how long', '60s')
    .option('--interval <duration>', 'between two looks', '5s')
    .option('--window <duration>', "how far each look reaches back (default: the spec's)")
    .option('--max-error-rate <percent>', "broken above this (default: the spec's, else 5%)")
    .option('--max-p95 <duration>', "broken above this (default: the spec's, else 1s)")
    .option('--min-requests <number>', "a look with fewer requests counts as no data (default: the spec's)")
    .option('--track <track>', 'stable or canary (default: canary while there is one, else stable)')
    .option('--version <version>', 'the version the queries ask for, where they name one')
    .option(
      '--auto-rollback',
      'when broken or proven worse than stable, roll the running release back; without one, tell a router target itself',
    )
    .option('--reason <text>', 'what the record says of that roll back')
    .option('--simulate <script>', 'numbers from a script: healthy, failing, no-data, or a file')
    .option('--report <file>', 'write what was seen as a page with plots, too')
    .action(async (path: string, options: MonitorCommandOptions, command) => {
      await registry.run(command, async (session) => {
        const settings = await parseSettings(options);
        if (settings.simulate !== undefined) {
          session.markSimulated();
          session.warn('The metric source is replaced by a script: nothing here says anything about the service.');
        }
        if (options.report !== undefined) await checkReportPath(options.report);
        const { document, lines, code, report } = await runMonitor(session, path, settings);
        if (session.format === 'jsonl') session.emit(document);
        else session.result(document, () => lines);
        if (options.report !== undefined) {
          await writeReport(session, options.report, lazy.monitorReport().renderMonitorReport(report));
        }
        return code;
      });
    });
}

async function parseSettings(options: MonitorCommandOptions): Promise<MonitorSettings> {
  const intervalMs = parseDurationArgument(options.interval, '--interval');
  const durationMs = parseDurationArgument(options.duration, '--duration');
  if (intervalMs <= 0 || durationMs < intervalMs) {
    throw new ReleaseError(
      'usage',
      `In a duration of ${options.duration} there is no look every ${options.interval}.`,
      {
        hint: 'Let --interval be above 0 and --duration at least as long.',
      },
    );
  }
  if (options.track !== undefined && options.track !== 'stable' && options.track !== 'canary') {
    throw new ReleaseError('usage', `There is no track ${JSON.stringify(options.track)}.`, {
      hint: 'Choose stable or canary.',
    });
  }
  const minRequests = options.minRequests === undefined ? undefined : Number(options.minRequests);
  if (minRequests !== undefined && !(Number.isInteger(minRequests) && minRequests >= 1)) {
    throw new ReleaseError('usage', `--min-requests is ${JSON.stringify(options.minRequests)}, which is no count.`, {
      hint: 'Write a whole number from 1 on.',
    });
  }
  return {
    intervalMs,
    durationMs,
    maxErrorRate:
      options.maxErrorRate === undefined ? undefined : parsePercentArgument(options.maxErrorRate, '--max-error-rate'),
    maxP95Seconds: options.maxP95 === undefined ? undefined : parseDurationArgument(options.maxP95, '--max-p95') / 1000,
    autoRollback: options.autoRollback === true,
    reason: options.reason,
    track: options.track,
    version: options.version,
    windowMs: options.window === undefined ? undefined : parseDurationArgument(options.window, '--window'),
    minRequests,
    simulate: options.simulate === undefined ? undefined : await parseScript(options.simulate),
  };
}
