import { formatCount, formatValue } from '../analysis/format';
import type { EvidenceReport } from '../analysis/gather-evidence';
import { formatDuration } from '../spec/units';
import { date, table } from './elements';
import { evidencePlot } from './evidence-plot';
import { markup, renderPage } from './html';
import type { Html, Part } from './html';
import { BATCH_HEADINGS, batchCells, hasBatch } from './look-batch';
import { renderPlot } from './plot';
import type { Plot } from './plot';

/** What `sluice monitor` saw. */
export interface MonitorReport {
  readonly service: string;
  readonly namespace: string;
  readonly track: 'stable' | 'canary';
  readonly simulated: boolean;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly verdict: 'pass' | 'fail' | 'insufficient-data';
  readonly message: string;
  /** What became of the roll back that it asked for; null when it asked for none. */
  readonly rollback: string | null;
  readonly thresholds: { readonly errorRate: number; readonly p95Seconds: number };
  /** Why a canary that was watched was not compared with stable, as a clause; null where it was, or was not watched. */
  readonly notCompared: string | null;
  readonly looks: readonly MonitoredLook[];
}

export interface MonitoredLook {
  /** From the start, milliseconds. */
  readonly elapsedMs: number;
  readonly errorRate: number | null;
  /** Seconds. */
  readonly p95: number | null;
  /** Requests a second. */
  readonly rps: number | null;
  /** Which thresholds it broke, as clauses. */
  readonly broken: readonly string[];
  /** What the evidence of all looks so far says, beside stable; empty where nothing is compared. */
  readonly compared: readonly { readonly name: string; readonly evidence: EvidenceReport }[];
  /** What of it is proven against the canary, as clauses. */
  readonly proven: readonly string[];
  readonly problem: string | null;
}

const TONES = { pass: 'good', fail: 'bad', 'insufficient-data': 'warn' } as const;
const WORDS = { pass: 'Kept', fail: 'Broken', 'insufficient-data': 'No verdict' } as const;

/** What was monitored as one page that needs nothing but itself. */
export function renderMonitorReport(report: MonitorReport): string {
  const { service, namespace, track, verdict, looks, startedAt } = report;
  const title = `${namespace}/${service}, ${track}`;
  const lasted = formatDuration(looks.at(-1)?.elapsedMs ?? 0);
  const body = markup`<h1>${title}</h1>
    <p class="soft">Monitored from ${date(startedAt)} on, for ${lasted}.</p>
    ${report.simulated ? markup`<p class="warn"><strong>Simulated:</strong> the numbers come from a script and say nothing about the service.</p>` : null}
    <section class="verdict ${TONES[verdict]}">
      <p><strong>${WORDS[verdict]}</strong></p>
      <p>${report.message}</p>
      ${report.rollback === null ? null : markup`<p>${report.rollback}</p>`}
    </section>
    ${beside(report)}
    <h2>Metrics</h2>
    ${looks.length === 0 ? markup`<p class="soft">Nothing was looked at.</p>` : plotsOf(report).map(renderPlot)}
    <h2>Looks</h2>
    ${looksTable(report)} ${batchesTable(report)}`;
  return renderPage(`${title}: ${WORDS[verdict].toLowerCase()}`, body);
}

/** The default judge's last word on each metric. */
function beside({ looks, notCompared }: MonitorReport): Html | null {
  if (notCompared !== null) return markup`<p class="soft">Not compared with stable: ${notCompared}.</p>`;
  const compared = looks.at(-1)?.compared ?? [];
  if (compared.length === 0) return null;
  return markup`<h2>Beside stable</h2>
    ${compared.map(
      ({ evidence: { sentence, query } }) => markup`<p>${sentence}</p>
        ${query === '' ? null : markup`<p class="soft">Counted by: <code>${query}</code></p>`}`,
    )}`;
}

function plotsOf({ looks, startedAt, thresholds, track }: MonitorReport): Plot[] {
  const range = { from: startedAt, to: startedAt + (looks.at(-1)?.elapsedMs ?? 0), marks: marksOf(looks, startedAt) };
  const points = (of: (look: MonitoredLook) => number | null): [number, number | null][] =>
    looks.map((look) => [startedAt + look.elapsedMs, of(look)]);
  const limited = (title: string, limit: number, format: Plot['format'], of: Parameters<typeof points>[0]): Plot => ({
    ...range,
    title,
    format,
    lines: [
      { name: track, colour: track, shape: 'line', points: points(of) },
      { name: 'broken above', colour: 'limit', shape: 'dashed', points: points(() => limit) },
    ],
  });
  return [
    limited(
      'Error rate',
      thresholds.errorRate,
      (value) => formatValue(value, 'ratio', 3),
      ({ errorRate }) => errorRate,
    ),
    limited(
      'p95 latency',
      thresholds.p95Seconds,
      (value) => formatValue(value, 'seconds', 3),
      ({ p95 }) => p95,
    ),
    {
      ...range,
      title: 'Requests a second',
      format: (value) => formatValue(value, 'count'),
      lines: [{ name: track, colour: track, shape: 'line', points: points(({ rps }) => rps) }],
    },
    ...[...new Set(looks.flatMap(({ compared }) => compared.map(({ name }) => name)))].map((name) => {
      const seen = looks.flatMap(({ elapsedMs, compared }) =>
        compared.flatMap((each) =>
          each.name === name ? [{ at: startedAt + elapsedMs, evidence: each.evidence }] : [],
        ),
      );
      return evidencePlot(name, seen, range);
    }),
  ];
}

function marksOf(looks: readonly MonitoredLook[], startedAt: number): Plot['marks'] {
  const first = looks.find(({ broken, proven }) => broken.length + proven.length > 0);
  return first === undefined ? [] : [{ at: startedAt + first.elapsedMs, label: 'broken' }];
}

function looksTable({ looks, startedAt }: MonitorReport): Html {
  return table(
    ['Time', 'Error rate', 'p95', 'Requests/s', 'Why'],
    looks.map(({ elapsedMs, errorRate, p95, rps, broken, proven, problem }) => [
      date(startedAt + elapsedMs),
      errorRate === null ? 'none' : formatValue(errorRate, 'ratio', 3),
      p95 === null ? 'none' : formatValue(p95, 'seconds', 3),
      rps === null ? 'none' : rps < 10 ? formatValue(rps, 'count') : formatCount(rps),
      broken.length + proven.length > 0
        ? markup`<span class="bad">${[...broken, ...proven.map((clause) => `by the evidence, ${clause}`)].join(' and ')}</span>`
        : (problem ?? ''),
    ]),
  );
}

/** What each look counted, for those that add the evidence up themselves. */
function batchesTable({ looks, startedAt }: MonitorReport): Html | null {
  const rows = looks.flatMap(({ elapsedMs, compared }) =>
    compared
      .filter(({ evidence }) => hasBatch(evidence))
      .map(({ name, evidence }, index): Part[] => [
        index === 0 ? date(startedAt + elapsedMs) : '',
        name,
        ...batchCells(evidence),
      ]),
  );
  if (rows.length === 0) return null;
  return markup`<details>
    <summary>What each look counted</summary>
    ${table(['Time', 'Metric', ...BATCH_HEADINGS], rows)}
  </details>`;
}
