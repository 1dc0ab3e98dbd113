import type { DeployReview, InjectedSeries, SeriesRun, Share, Spread } from '../backtest/backtest';
import { formatDuration as asInSpec } from '../spec/units';
import type { BacktestReport } from '../report/backtest-report';
import { describeInjection } from './backtest';
import type { Backtest } from './backtest';
import { safeText, wrap } from './display-width';
import { API_VERSION, renderTable } from './output';
import { refName } from './service-ref';
import { glyphs, paint } from './style';
import type { Look } from './style';
import { formatCount, formatDate, formatDuration, formatPercent } from './units';

/** The result as a document for machines. */
export function backtestDocument({ plan, from, to, healthy, injected, deploys, notes }: Backtest): object {
  const { service, namespace, analysis, steps } = plan;
  return {
    apiVersion: API_VERSION,
    kind: 'Backtest',
    service,
    namespace,
    from,
    to,
    intervalMs: analysis.intervalMs,
    steps: steps.flatMap((step) => (step.kind === 'weight' ? [{ weight: step.weight, soakMs: step.soakMs }] : [])),
    healthy: {
      releases: healthy.runs.length,
      promoted: healthy.promoted,
      undecided: healthy.undecided,
      cutOff: healthy.cutOff,
      falseAlarms: shareDocument(healthy.falseAlarms),
      alarms: alarmsOf(healthy.runs).map(({ at, played }) => ({
        at,
        alarmAt: at + played.tick * analysis.intervalMs,
        weight: played.weight,
        metrics: played.failing,
        sentence: played.sentence,
      })),
    },
    injected: injected.map(({ injection, found, before, delayMs, requests, errors, missed }) => ({
      ...injection,
      found: shareDocument(found),
      ...{ before, delayMs, requests, errors, missed },
    })),
    deploys: deploys.map(deployDocument),
    notes,
  };
}

function shareDocument({ count, of, lower, upper }: Share): object {
  return { count, of, share: of === 0 ? null : count / of, lower, upper };
}

function deployDocument(review: DeployReview): object {
  const { at } = review;
  if (review.kind === 'notRecorded') return { at, outcome: 'notRecorded', sentence: review.sentence };
  const { played, caughtAfterMs, recorded } = review;
  return {
    at,
    outcome: played.outcome,
    caughtAfterMs,
    weight: played.weight,
    metrics: played.failing,
    sentence: played.sentence,
    cost: played.cost,
    recorded,
  };
}

/** The result as a page. */
export function backtestReport({ plan, from, to, ...found }: Backtest): BacktestReport {
  const { service, namespace, analysis, steps } = plan;
  return {
    ...{ service, namespace, from, to },
    tickMs: analysis.intervalMs,
    steps: steps.flatMap((step) => (step.kind === 'weight' ? [{ weight: step.weight, soakMs: step.soakMs }] : [])),
    ...found,
    sentence: verdictOf(found.healthy.falseAlarms),
  };
}

/** The result for people. */
export function backtestLines(backtest: Backtest, look: Look): string[] {
  const { plan, from, to, healthy, injected, deploys, notes } = backtest;
  const steps = plan.steps.flatMap((step) =>
    step.kind === 'weight' ? [`${step.weight} % ${asInSpec(step.soakMs)}`] : [],
  );
  return [
    paint(safeText(refName(plan)), 'strong', look),
    `${formatDate(from)} to ${formatDate(to)}, releases of ${steps.join(', ')}, a look every ${asInSpec(plan.analysis.intervalMs)}`,
    '',
    ...healthyLines(backtest, look),
    ...(injected.length === 0 ? [] : ['', ...injectedLines(injected, look)]),
    ...(deploys.length === 0 ? [] : ['', ...deployLines(deploys, look)]),
    ...(notes.length === 0 ? [] : ['', ...notes.flatMap((note) => wrap(safeText(note), look.width))]),
    '',
    ...wrap(verdictOf(healthy.falseAlarms), look.width),
  ];
}

/** Alarms that are told one by one. */
const TOLD = 10;

function healthyLines({ healthy, plan }: Backtest, look: Look): string[] {
  const { runs, promoted, undecided, cutOff, falseAlarms } = healthy;
  const alarms = alarmsOf(runs);
  const [undecidedRun] = runs.filter(({ played }) => played.outcome === 'undecided');
  const told = alarms.slice(0, TOLD).flatMap(({ at, played }) => {
    const when = formatDate(at + played.tick * plan.analysis.intervalMs);
    return indented(`${when} at ${played.weight} %: ${played.sentence}`, look);
  });
  return [
    ...renderTable(
      ['NO CHANGE', 'RELEASES', 'PROMOTED', 'FALSE ALARM', '95 % INTERVAL', 'NO VERDICT', 'CUT OFF'],
      [
        [
          '',
          String(runs.length),
          String(promoted),
          shareText(falseAlarms),
          intervalText(falseAlarms, look),
          String(undecided),
          String(cutOff),
        ],
      ],
      look,
    ),
    ...told,
    ...(alarms.length > TOLD
      ? [`  ${glyphs(look).ellipsis} and ${alarms.length - TOLD} more (-o json has all of them)`]
      : []),
    ...(undecidedRun === undefined ? [] : indented(`No verdict, for one: ${undecidedRun.played.sentence}`, look)),
  ];
}

function injectedLines(injected: readonly InjectedSeries[], look: Look): string[] {
  const rows = injected.map(({ injection, found, before, delayMs, requests, errors }) => [
    describeInjection(injection),
    shareText(found),
    intervalText(found, look),
    spreadText(delayMs, formatDuration),
    spreadText(requests, formatCount),
    spreadText(errors, formatCount),
    String(before),
  ]);
  return renderTable(
    ['INJECTED', 'FOUND', '95 % INTERVAL', 'AFTER (50/95 %)', 'REQUESTS', 'ERRORS', 'EARLIER'],
    rows,
    look,
  );
}

function deployLines(deploys: readonly DeployReview[], look: Look): string[] {
  const lines = renderTable(
    ['DEPLOY', 'OUTCOME', 'AFTER', 'REQUESTS', 'ERRORS', 'OF RECORDED'],
    deploys.map((review) => {
      const at = formatDate(review.at);
      if (review.kind === 'notRecorded') return [at, 'not recorded', '', '', '', ''];
      const { played, caughtAfterMs, recorded } = review;
      return [
        at,
        deployOutcome(review),
        caughtAfterMs === null ? '' : formatDuration(caughtAfterMs),
        formatCount(played.cost.requests),
        formatCount(played.cost.errors),
        `${formatCount(recorded.requests)} requests, ${formatCount(recorded.errors)} errors`,
      ];
    }),
    look,
  );
  const sentences = deploys.flatMap((review) => {
    const sentence = review.kind === 'notRecorded' ? review.sentence : review.played.sentence;
    return sentence === '' ? [] : indented(`${formatDate(review.at)}: ${sentence}`, look);
  });
  return [...lines, ...sentences];
}

function deployOutcome({ played }: Extract<DeployReview, { kind: 'played' }>): string {
  switch (played.outcome) {
    case 'failed':
      return `caught at ${played.weight} %`;
    case 'promoted':
      return 'promoted';
    case 'undecided':
    case 'cutOff':
      return 'no verdict';
    default:
      return played.outcome satisfies never;
  }
}

/** What the numbers come to, in a sentence. */
function verdictOf({ count, of, upper }: Share): string {
  if (of === 0) return 'No release came to its end, so that nothing can be said about false alarms.';
  const most = `with 95 % confidence at most ${formatPercent(upper)} of healthy releases`;
  return count === 0
    ? `This policy raised no false alarm in ${of} releases of this service: ${most}.`
    : `This policy rolled ${count} of ${of} healthy releases of this service back: ${most}.`;
}

function alarmsOf(runs: readonly SeriesRun[]): readonly SeriesRun[] {
  return runs.filter(({ played }) => played.outcome === 'failed');
}

function shareText({ count, of }: Share): string {
  return of === 0 ? 'none' : `${count} (${formatPercent(count / of)})`;
}

function intervalText({ of, lower, upper }: Share, look: Look): string {
  return of === 0 ? '' : `${formatPercent(lower)} ${glyphs(look).dash} ${formatPercent(upper)}`;
}

function spreadText(spread: Spread | null, format: (value: number) => string): string {
  return spread === null ? '' : `${format(spread.median)} / ${format(spread.p95)}`;
}

function indented(text: string, look: Look): string[] {
  return wrap(safeText(text), look.width - 2).map((line) => `  ${line}`);
}
