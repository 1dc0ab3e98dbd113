import { formatCount, formatValue } from '../analysis/format';
import type { DeployReview, HealthySeries, InjectedSeries, Share, Spread, TrafficPoint } from '../backtest/backtest';
import { formatDuration } from '../spec/units';
import { date, table } from './elements';
import { markup, renderPage } from './html';
import type { Html, Part } from './html';
import { renderPlot } from './plot';
import type { Plot } from './plot';

/** What `sluice backtest` found. */
export interface BacktestReport {
  readonly service: string;
  readonly namespace: string;
  /** Epoch milliseconds. */
  readonly from: number;
  readonly to: number;
  readonly tickMs: number;
  readonly steps: readonly { readonly weight: number; readonly soakMs: number }[];
  /** What was recorded of stable, in order of time. */
  readonly traffic: readonly TrafficPoint[];
  readonly healthy: HealthySeries;
  readonly injected: readonly InjectedSeries[];
  readonly deploys: readonly DeployReview[];
  readonly notes: readonly string[];
  /** What the false alarms come to, in a sentence. */
  readonly sentence: string;
}

/** A backtest as one page that needs nothing but itself. */
export function renderBacktestReport(report: BacktestReport): string {
  const { service, namespace, from, to, steps, healthy, notes, tickMs } = report;
  const title = `${namespace}/${service}: backtest`;
  const alarms = healthy.falseAlarms.count;
  const body = markup`<h1>${namespace}/${service}</h1>
    <p class="soft">
      Backtest of ${date(from)} to ${date(to)}: releases of
      ${steps.map(({ weight, soakMs }) => `${weight} % ${formatDuration(soakMs)}`).join(', ')}, a look every
      ${formatDuration(tickMs)}.
    </p>
    <section class="verdict ${healthy.falseAlarms.of === 0 ? 'warn' : alarms === 0 ? 'good' : 'bad'}">
      <p><strong>${alarms === 0 ? 'No false alarm' : `False alarms: ${alarms}`}</strong></p>
      <p>${report.sentence}</p>
    </section>
    <h2>Releases without a change</h2>
    ${healthyTable(healthy)} ${plotsOf(report).map(renderPlot)} ${alarmsTable(report)}
    ${report.injected.length === 0 ? null : markup`<h2>Releases with a fault</h2>${injectedTable(report)}`}
    ${injectedPlots(report).map(renderPlot)}
    ${report.deploys.length === 0 ? null : markup`<h2>Deploys</h2>${deploysTable(report)}`}
    ${notes.map((note) => markup`<p class="soft">${note}</p>`)}`;
  return renderPage(title, body);
}

function healthyTable({ runs, promoted, falseAlarms, undecided, cutOff }: HealthySeries): Html {
  return table(
    ['Releases', 'Promoted', 'False alarms', '95 % interval', 'No verdict', 'Cut off'],
    [[runs.length, promoted, shareText(falseAlarms), intervalText(falseAlarms), undecided, cutOff]],
  );
}

function plotsOf({ from, to, traffic, healthy, tickMs }: BacktestReport): Plot[] {
  const [first] = healthy.runs.filter(({ played }) => played.outcome === 'failed');
  const marks = first === undefined ? [] : [{ at: first.at + first.played.tick * tickMs, label: 'first false alarm' }];
  const range = { from, to, marks };
  const plots: Plot[] = [
    {
      ...range,
      title: 'Requests a second, as recorded',
      format: (value) => formatValue(value, 'count'),
      lines: [
        {
          name: 'stable',
          colour: 'stable',
          shape: 'line',
          points: traffic.map(({ at, requests, seconds }) => [at, requests / seconds] as const),
        },
      ],
    },
    {
      ...range,
      title: 'Share of errors, as recorded',
      format: (value) => formatValue(value, 'ratio', 3),
      lines: [
        {
          name: 'stable',
          colour: 'stable',
          shape: 'line',
          points: traffic.map(({ at, requests, errors }) => [at, requests === 0 ? null : errors / requests] as const),
        },
      ],
    },
  ];
  const judged = healthy.runs.filter(({ played }) => played.evidence !== null);
  if (judged.length === 0) return plots;
  return [
    ...plots,
    {
      ...range,
      title: 'Highest evidence against each pretend canary',
      format: (value) => formatValue(value, 'ratio'),
      least: 1.1,
      lines: [
        {
          name: 'ln E as a part of its limit',
          colour: 'canary',
          shape: 'dots',
          points: judged.map(({ at, played }) => [at, played.evidence] as const),
        },
        { name: 'fails at', colour: 'limit', shape: 'dashed', points: [[from, 1] as const, [to, 1] as const] },
      ],
    },
  ];
}

/** Rows that a page is good for; a document has all. */
const MOST_ROWS = 200;

function alarmsTable({ healthy, tickMs }: BacktestReport): Html | null {
  const alarms = healthy.runs.filter(({ played }) => played.outcome === 'failed');
  if (alarms.length === 0) return null;
  const rows = alarms
    .slice(0, MOST_ROWS)
    .map(({ at, played }): Part[] => [
      date(at),
      formatDuration(played.tick * tickMs),
      `${played.weight} %`,
      played.failing.join(', '),
      played.sentence,
    ]);
  return markup`<h2>False alarms</h2>
    ${table(['Release of', 'After', 'At', 'Metric', 'Why'], rows)}
    ${alarms.length > MOST_ROWS ? markup`<p class="soft">The first ${MOST_ROWS} of ${alarms.length}.</p>` : null}`;
}

function injectedTable({ injected }: BacktestReport): Html {
  return table(
    ['Fault', 'Found', '95 % interval', 'After, median / 95 %', 'Canary requests', 'Errors', 'Ended before'],
    injected.map(({ injection, found, before, delayMs, requests, errors }) => [
      faultText(injection),
      shareText(found),
      intervalText(found),
      spreadText(delayMs, formatDuration),
      spreadText(requests, formatCount),
      spreadText(errors, formatCount),
      before,
    ]),
  );
}

function injectedPlots({ injected, from, to }: BacktestReport): Plot[] {
  return injected
    .filter(({ found }) => found.count > 0)
    .map(({ injection, delays }): Plot => ({
      from,
      to,
      marks: [],
      title: `${faultText(injection)}: found after, by when the release began`,
      format: (value) => formatDuration(Math.round(value)),
      lines: [
        {
          name: 'time from the fault to the verdict',
          colour: 'canary',
          shape: 'dots',
          points: delays.map(({ at, ms }) => [at, ms] as const),
        },
      ],
    }));
}

function deploysTable({ deploys }: BacktestReport): Html {
  return table(
    ['Deploy', 'Outcome', 'After', 'Requests', 'Errors', 'Why'],
    deploys.map((review): Part[] => {
      const at = date(review.at);
      if (review.kind === 'notRecorded') return [at, 'not recorded', '', '', '', review.sentence];
      const { played, caughtAfterMs } = review;
      const isCaught = caughtAfterMs !== null;
      const outcome = isCaught
        ? `caught at ${played.weight} %`
        : played.outcome === 'promoted'
          ? 'promoted'
          : 'no verdict';
      return [
        at,
        markup`<span class="${isCaught ? 'bad' : 'soft'}">${outcome}</span>`,
        isCaught ? formatDuration(caughtAfterMs) : '',
        formatCount(played.cost.requests),
        formatCount(played.cost.errors),
        played.sentence,
      ];
    }),
  );
}

function faultText({ times, fromWeight }: InjectedSeries['injection']): string {
  return `${times}x errors from ${fromWeight} %`;
}

function shareText({ count, of }: Share): string {
  return of === 0 ? 'none' : `${count} of ${of} (${formatValue(count / of, 'ratio', 3)})`;
}

function intervalText({ of, lower, upper }: Share): string {
  return of === 0 ? '' : `${formatValue(lower, 'ratio', 3)} to ${formatValue(upper, 'ratio', 3)}`;
}

function spreadText(spread: Spread | null, format: (value: number) => string): string {
  return spread === null ? '' : `${format(spread.median)} / ${format(spread.p95)}`;
}
