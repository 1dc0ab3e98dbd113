import { ReleaseError } from '../../errors';
import { runBacktest } from '../backtest';
import type { BacktestSettings } from '../backtest';
import { parseInjection, readDeploys } from '../backtest-input';
import type { PastDeploy } from '../backtest-input';
import { backtestDocument, backtestLines, backtestReport } from '../backtest-lines';
import { EXIT } from '../exit-codes';
import { listenForInterrupt } from '../interrupt';
import { lazy } from '../lazy';
import type { Registry } from '../registry';
import { checkReportPath, writeReport } from '../report-file';
import { ANY_IMAGE } from '../spec-source';
import type { Session } from '../session';
import { parseTimeArgument } from '../time-argument';
import { formatDate } from '../units';
import type { Plan } from '../../spec/plan-types';

interface BacktestOptions {
  readonly from: string;
  readonly to: string;
  readonly version?: string;
  readonly inject: readonly string[];
  readonly deploys?: string;
  readonly runs?: string;
  readonly report?: string;
}

/** `sluice backtest`: a plan's analysis over what a Prometheus has recorded. */
export function addBacktestCommand(registry: Registry): void {
  registry
    .add('backtest <release.yaml>', 'Play the analysis over recorded history: false alarms, and what it finds', [
      'sluice backtest release.yaml --from 7d',
      'sluice backtest release.yaml --from 2026-11-13 --to 2026-11-20 --inject 5x@25% --inject 10x',
      'sluice backtest release.yaml --from 30d --deploys 2026-11-18T14:00Z,2026-11-19T09:30Z',
      'sluice backtest release.yaml --from 7d --report backtest.html',
      'sluice backtest release.yaml --from 7d -o json',
    ])
    .requiredOption('--from <time>', 'where it begins: 2026-11-13, 2026-11-13T14:00Z, or 7d for that long ago')
    .option('--to <time>', 'where it ends', 'now')
    .option('--version <version>', 'what was stable in that time, where the queries name a version')
    .option(
      '--inject <fault>',
      'also with that many times the errors from a weight on: 5x@25%, 0.5x; may be repeated',
      collect,
      [],
    )
    .option('--deploys <file-or-times>', 'deploys to be looked at again: times with commas, or a file of them')
    .option('--runs <number>', 'how many pretend releases (default: as many as fit, from 100 to 1000)')
    .option('--report <file>', 'write it as a page with plots, too')
    .action(async (path: string, options: BacktestOptions, command) => {
      await registry.run(command, async (session) => {
        if (options.report !== undefined) await checkReportPath(options.report);
        const plan = await planOf(session, path, options.version);
        const settings = await parseSettings(session, options, plan);
        const interruption = listenForInterrupt(session.cli);
        try {
          const backtest = await runBacktest(session, plan, settings, interruption.signal);
          session.result(backtestDocument(backtest), () => backtestLines(backtest, session.look));
          if (options.report !== undefined) {
            await writeReport(
              session,
              options.report,
              lazy.backtestReport().renderBacktestReport(backtestReport(backtest)),
            );
          }
          return EXIT.ok;
        } catch (error) {
          if (interruption.by === null || error instanceof ReleaseError) throw error;
          session.warn('Interrupted: nothing was found out.');
          return interruption.by === 'SIGINT' ? EXIT.interrupted : EXIT.terminated;
        } finally {
          interruption.stopListening();
        }
      });
    });
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

/** As `ANY_IMAGE`, of a target that has no images. */
const ANY_VERSION = 'any';

async function planOf({ cli }: Session, path: string, version: string | undefined): Promise<Plan> {
  const { target } = await cli.spec.identify(path);
  return cli.spec.plan(path, version ?? (target === 'kubernetes' ? ANY_IMAGE : ANY_VERSION));
}

async function parseSettings({ cli }: Session, options: BacktestOptions, plan: Plan): Promise<BacktestSettings> {
  const now = cli.now();
  const from = parseTimeArgument(options.from, '--from', now);
  const to = parseTimeArgument(options.to, '--to', now);
  if (from >= to) {
    throw new ReleaseError('usage', `--from, ${formatDate(from)}, is not before --to, ${formatDate(to)}.`, {
      hint: 'Choose a time that begins before it ends.',
    });
  }
  if (to > now) {
    throw new ReleaseError('usage', `--to is ${formatDate(to)}, and that is yet to come.`, {
      hint: 'Leave it out for up to now.',
    });
  }
  const weights = plan.steps.flatMap((step) => (step.kind === 'weight' ? [step.weight] : []));
  const deploys = options.deploys === undefined ? [] : await readDeploys(options.deploys, now);
  refuseOutside(deploys, from, to);
  return {
    from,
    to,
    version: options.version ?? null,
    injections: options.inject.map((text) => parseInjection(text, weights)),
    deploys,
    runs: options.runs === undefined ? null : parseRuns(options.runs),
  };
}

function refuseOutside(deploys: readonly PastDeploy[], from: number, to: number): void {
  const outside = deploys.find(({ at }) => at < from || at >= to);
  if (outside === undefined) return;
  throw new ReleaseError(
    'usage',
    `The deploy of ${formatDate(outside.at)} is not between --from, ${formatDate(from)}, and --to, ${formatDate(to)}.`,
    { hint: 'Choose a longer time, or leave the deploy out.' },
  );
}

const MOST_RUNS = 20_000;

function parseRuns(text: string): number {
  const runs = /^\d{1,5}$/u.test(text) ? Number(text) : Number.NaN;
  if (runs >= 1 && runs <= MOST_RUNS) return runs;
  throw new ReleaseError('usage', `--runs is ${JSON.stringify(text)}, which is no number of releases.`, {
    hint: `Write a whole number from 1 to ${MOST_RUNS}.`,
  });
}
