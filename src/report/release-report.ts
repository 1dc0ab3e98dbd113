import { countOf, formatCount, formatValue } from '../analysis/format';
import type { EvidenceReport } from '../analysis/gather-evidence';
import type { KayentaReport } from '../analysis/kayenta-course';
import type { MetricVerdict, Verdict } from '../analysis/verdict';
import { formatDuration } from '../spec/units';
import type { EventType, Measurement, ReleaseEvent, ReleaseStatus, StepStatus } from '../workflows/api';
import { date, table } from './elements';
import { evidencePlot, round } from './evidence-plot';
import { markup, renderPage } from './html';
import type { Html, Part } from './html';
import { measurementsOf } from './known-measurements';
import { BATCH_HEADINGS, batchCells, hasBatch } from './look-batch';
import { renderPlot } from './plot';
import type { Plot, PlotLine } from './plot';

/**
 * A release as one page that needs nothing but itself: why it ended as it did, what both tracks did meanwhile, and the
 * story with its sentences.
 */
export function renderReleaseReport(status: ReleaseStatus, now: number): string {
  const measurements = measurementsOf(status);
  const plots = plotsOf(status, measurements, now).map(renderPlot);
  const title = `${status.namespace}/${status.service} ${status.version.to}`;
  const body = markup`${head(status, title, now)} ${verdict(status)}
    <h2>Traffic and metrics</h2>
    ${plots.length === 0 ? markup`<p class="soft">Nothing was measured.</p>` : plots} ${keptNote(status, measurements)}
    <h2>Steps</h2>
    ${stepsTable(status.steps)}
    <h2>What happened</h2>
    ${eventsTable(status.events)} ${measurements.length === 0 ? null : measurementsTable(measurements)}`;
  return renderPage(`${title}: ${outcomeWords(status)}`, body);
}

function head(status: ReleaseStatus, title: string, now: number): Html {
  const ended = status.endedAt ?? now;
  const took = formatDuration(Math.floor(Math.max(0, ended - status.startedAt) / 1000) * 1000);
  const from = status.version.from ?? 'unknown';
  return markup`<h1>${title}</h1>
    <p class="soft">
      Release ${status.release}: ${from} →
      ${status.version.to}${status.version.artifact === null ? null : markup` (<code>${status.version.artifact}</code>)`}
    </p>
    <p class="soft">
      Started ${date(status.startedAt)} by ${status.startedBy.name} via
      ${status.startedBy.via}${status.reason === null ? null : `: ${status.reason}`}.
      ${
        status.endedAt === null
          ? `In progress for ${took} as of ${date(now)}.`
          : `Ended ${date(status.endedAt)}, after ${took}.`
      }
    </p>
    ${status.simulated ? markup`<p class="warn"><strong>Simulated:</strong> the numbers come from a script and say nothing about the version.</p>` : null}`;
}

/** The outcome, its sentence, and the step and the metrics that decided. */
function verdict(status: ReleaseStatus): Html {
  const decided = status.steps.findLast(({ state }) => state === 'failed') ?? null;
  const step = typeof decided?.sentence === 'string' ? `${decided.name}: ${decided.sentence}` : '';
  const evidence = decided?.evidence ?? null;
  // A measurement has the worst verdict of its metrics: those that have it, too, decided.
  const worst = evidence?.verdict === 'pass' ? null : evidence?.verdict;
  const metrics = evidence?.metrics.filter((each) => each.verdict === worst && each.dryRun !== true) ?? [];
  const told = `${status.message} ${step}`;
  return markup`<section class="verdict ${toneOf(status)}">
    <p><strong>${outcomeWords(status)}</strong></p>
    <p>${status.message}</p>
    ${step === '' ? null : markup`<p>${step}</p>`}
    ${metrics.map((metric) => metricReason(metric, told))} ${kayentaReason(evidence?.kayenta)}
  </section>`;
}

/** Of each metric, whether it decided or not: the score is of all of them. */
function kayentaReason(report: KayentaReport | undefined): Html | null {
  if (report === undefined || report.result === null) return null;
  const { metrics, groups } = report.result;
  const scores = Object.entries(groups).map(([group, score]) => `${group} ${Math.round(score * 100) / 100}`);
  return markup`<p class="soft">
    By Kayenta's judge, groups: ${scores.join(', ')}.
    ${metrics.map(({ classification, sentence }) => `${classification}: ${sentence}`).join(' ')}
  </p>`;
}

/** What has been told already is not told again. */
function metricReason(metric: MetricVerdict, told: string): Html {
  const { evidence, sentence, query, stableQuery, note } = metric;
  return markup`${told.includes(sentence) ? null : markup`<p>${sentence}</p>`}
    ${note === undefined ? null : markup`<p>Note on ${metric.name}: ${note}</p>`}
    ${evidence === undefined ? null : evidenceReason(evidence)}
    ${query === '' ? null : markup`<p class="soft">Asked: <code>${query}</code></p>`}
    ${stableQuery === undefined ? null : markup`<p class="soft">Of stable: <code>${stableQuery}</code></p>`}`;
}

function evidenceReason({ logEvidence, limit, canary, stable, boundary, query }: EvidenceReport): Html {
  const bad = boundary === null ? 'bad' : `slower than ${formatValue(boundary, 'seconds')}`;
  return markup`<p class="soft">
      Evidence of the release: ln E ${round(logEvidence)}, fails at ${round(limit)};
      ${formatCount(canary.bad)} of ${countOf(canary.total, 'canary request')} ${bad},
      ${formatCount(stable.bad)} of ${formatCount(stable.total)} of stable's.
    </p>
    ${query === '' ? null : markup`<p class="soft">Counted by: <code>${query}</code></p>`}`;
}

function outcomeWords({ outcome, phase, paused, refused }: ReleaseStatus): string {
  if (refused === true) return 'Refused before anything was changed';
  if (outcome === null) return paused !== null ? 'Paused' : `In progress (${words(phase)})`;
  const sentence = words(outcome);
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

/** `rolledBack` as people write it. */
function words(name: string): string {
  return name.replace(/[A-Z]/gu, (letter) => ` ${letter.toLowerCase()}`);
}

function toneOf({ outcome }: ReleaseStatus): string {
  switch (outcome) {
    case 'promoted':
    case 'cleanedUp':
      return 'good';
    case 'rolledBack':
    case 'failed':
      return 'bad';
    case 'aborted':
    case 'rejected':
    case 'superseded':
      return 'warn';
    case null:
      return '';
    default:
      return outcome satisfies never;
  }
}

// ---- measurements and plots -------------------------------------------------------------------------------------

function keptNote({ steps }: ReleaseStatus, kept: readonly Measurement[]): Html | null {
  const taken = steps.reduce((sum, step) => sum + step.measurements, 0);
  if (taken <= kept.length) return null;
  return markup`<p class="soft">
    ${taken} measurements were taken. A release keeps the newest and those that decided, ${kept.length} of them: before
    the first of the newest, lines connect single points.
  </p>`;
}

function plotsOf(status: ReleaseStatus, measurements: readonly Measurement[], now: number): Plot[] {
  const range = { from: status.startedAt, to: status.endedAt ?? now, marks: marksOf(status.events) };
  const plots: Plot[] = [weightPlot(status, measurements, range)];
  for (const name of new Set(measurements.flatMap(({ metrics }) => metrics.map((metric) => metric.name)))) {
    const seen = measurements.flatMap(({ at, metrics }) => {
      const metric = metrics.find((each) => each.name === name);
      return metric === undefined ? [] : [{ at, metric }];
    });
    plots.push(metricPlot(name, seen, range));
    const counted = seen.flatMap(({ at, metric: { evidence } }) => (evidence === undefined ? [] : [{ at, evidence }]));
    if (counted.length > 0) plots.push(evidencePlot(name, counted, range));
  }
  return plots;
}

type Range = Pick<Plot, 'from' | 'to' | 'marks'>;
type SeenMetric = { readonly at: number; readonly metric: MetricVerdict };

function weightPlot(status: ReleaseStatus, measurements: readonly Measurement[], range: Range): Plot {
  const asked = status.events.map(({ at, weight }) => [at, weight] as const);
  const last = [range.to, status.weight] as const;
  const observed = measurements.map(
    ({ at, observedShare }) => [at, observedShare === null ? null : 100 * observedShare] as const,
  );
  return {
    ...range,
    title: 'Share of the traffic',
    format: (value) => `${value} %`,
    least: 10,
    lines: [
      { name: 'weight asked for', colour: 'axis', shape: 'step', points: [...asked, last] },
      { name: 'observed share', colour: 'canary', shape: 'dots', points: observed },
    ],
  };
}

function metricPlot(name: string, seen: readonly SeenMetric[], range: Range): Plot {
  const unit = seen[0]?.metric.unit ?? 'count';
  const limits = [...new Set(seen.map(({ metric }) => metric.limit))].filter((limit) => limit !== '');
  const line = (track: 'canary' | 'stable'): PlotLine => ({
    name: track,
    colour: track,
    shape: 'line',
    points: seen.map(({ at, metric }) => [at, metric[track]] as const),
  });
  return {
    ...range,
    title: limits.length === 0 ? name : `${name} (${limits.join('; ')})`,
    format: (value) => formatValue(value, unit, 3),
    lines: [line('canary'), line('stable')],
  };
}

/** What is worth a mark in every plot, in a word. */
const MARKED: Partial<Record<EventType, string>> = {
  stepFailed: 'failed',
  rollbackStarted: 'roll back',
  promoted: 'promoted',
  paused: 'paused',
  resumed: 'resumed',
  approved: 'approved',
  rejected: 'rejected',
  misrouted: 'misrouted',
};

function marksOf(events: readonly ReleaseEvent[]): Plot['marks'] {
  const marks = events.flatMap(({ at, type }) => {
    const label = MARKED[type];
    return label === undefined ? [] : [{ at, label }];
  });
  // One mark a moment: what follows at once from the first of them stands in the story.
  return marks.filter(({ at }, index) => index === 0 || at - (marks[index - 1]?.at ?? 0) > 1_000);
}

// ---- tables -----------------------------------------------------------------------------------------------------

function stepsTable(steps: readonly StepStatus[]): Html {
  return table(
    ['', 'Step', 'State', 'Took', 'Why'],
    steps.map((step, index) => [
      index + 1,
      step.name,
      markup`<span class="${stepTone(step)}">${step.state}</span>${step.verdict === null ? null : ` (${step.verdict})`}`,
      step.startedAt === null || step.endedAt === null ? '' : seconds(step.endedAt - step.startedAt),
      step.sentence ?? '',
    ]),
  );
}

function stepTone({ state }: StepStatus): string {
  return state === 'passed' ? 'good' : state === 'failed' ? 'bad' : 'soft';
}

function eventsTable(events: readonly ReleaseEvent[]): Html {
  return table(
    ['', 'Time', 'Weight', 'What', 'Who'],
    events.map(({ seq, at, weight, message, actor }) => [
      seq,
      date(at),
      `${weight} %`,
      message,
      actor.via === 'workflow' ? '' : `${actor.name} via ${actor.via}`,
    ]),
  );
}

function measurementsTable(measurements: readonly Measurement[]): Html {
  const counted = measurements.some(({ metrics }) => metrics.some(({ evidence }) => hasBatch(evidence)));
  const rows = measurements.flatMap(({ at, weight, observedShare, metrics }) =>
    metrics.map((metric, index): Part[] => [
      index === 0 ? date(at) : '',
      index === 0 ? `${weight} %` : '',
      index > 0 || observedShare === null ? '' : formatValue(observedShare, 'ratio', 3),
      metric.dryRun === true ? `${metric.name} (dry run)` : metric.name,
      markup`<span class="${verdictTone(metric.verdict)}">${metric.verdict}</span>`,
      value(metric, 'canary'),
      value(metric, 'stable'),
      metric.canaryRequests === null ? '' : formatCount(metric.canaryRequests),
      ...(counted ? batchCells(metric.evidence) : []),
      metric.sentence,
    ]),
  );
  const values = ['Time', 'Weight', 'Share', 'Metric', 'Verdict', 'Canary', 'Stable', 'Requests'];
  const headings = [...values, ...(counted ? BATCH_HEADINGS : []), 'Why'];
  return markup`<details>
    <summary>All ${measurements.length} measurements that are kept</summary>
    ${table(headings, rows)}
  </details>`;
}

function value(metric: MetricVerdict, track: 'canary' | 'stable'): string {
  const number = metric[track];
  return number === null ? 'none' : formatValue(number, metric.unit, 3);
}

function verdictTone(verdict: Verdict): string {
  switch (verdict) {
    case 'pass':
      return 'good';
    case 'fail':
      return 'bad';
    case 'error':
    case 'inconclusive':
    case 'insufficient-data':
      return 'warn';
    default:
      return verdict satisfies never;
  }
}

function seconds(ms: number): string {
  return ms < 1_000 ? `${Math.max(0, Math.round(ms))}ms` : formatDuration(Math.round(ms / 1_000) * 1_000);
}
