import { createHash } from 'node:crypto';
import type { EvidenceReport } from '../../src/analysis/gather-evidence';
import type { MetricVerdict } from '../../src/analysis/verdict';
import { renderMonitorReport } from '../../src/report/monitor-report';
import type { MonitorReport } from '../../src/report/monitor-report';
import { renderReleaseReport } from '../../src/report/release-report';
import type { ReleaseStatus } from '../../src/workflows/api';
import { aStatus, START } from '../cli/statuses';
import { dangersOf, readPage } from './page';
import type { Page } from './page';
import { aLongStatus, withEvidence } from './statuses';

const NOW = START + 191_000;

const MONITORED: MonitorReport = {
  service: 'checkout',
  namespace: 'shop',
  track: 'stable',
  simulated: false,
  startedAt: START,
  verdict: 'fail',
  message: '1 of 3 looks broke a threshold, the first after 10s: error rate 7 % is above 5 %.',
  rollback: null,
  thresholds: { errorRate: 0.05, p95Seconds: 1 },
  notCompared: null,
  looks: [
    { elapsedMs: 5_000, errorRate: 0.01, p95: 0.2, rps: 120, broken: [], compared: [], proven: [], problem: null },
    {
      elapsedMs: 10_000,
      errorRate: 0.07,
      p95: 0.3,
      rps: 110,
      broken: ['error rate 7 % is above 5 %'],
      compared: [],
      proven: [],
      problem: null,
    },
    {
      elapsedMs: 15_000,
      errorRate: null,
      p95: null,
      rps: null,
      broken: [],
      compared: [],
      proven: [],
      problem: 'the query matched no series',
    },
  ],
};

function page(status: ReleaseStatus): Page {
  return readPage(renderReleaseReport(status, NOW));
}

/** Titles of the plots. */
function plots(of: Page): string[] {
  return of.all('figcaption').map((caption) => of.text(caption));
}

function dots(of: Page, figure: number): number {
  const svg = of.all('figure')[figure];
  if (svg === undefined) throw new Error(`there is no figure ${figure}`);
  // A point is drawn as a circle of its own: a path that is moved to its place.
  return pathsOf(svg).filter((transform) => transform.startsWith('matrix')).length;
}

function pathsOf(node: object): string[] {
  const own = 'tagName' in node && node.tagName === 'path' && 'attrs' in node ? attributesOf(node.attrs) : [];
  const children = 'childNodes' in node && Array.isArray(node.childNodes) ? (node.childNodes as object[]) : [];
  return [...own, ...children.flatMap(pathsOf)];
}

function attributesOf(attrs: unknown): string[] {
  return (attrs as { name: string; value: string }[]).flatMap(({ name, value }) =>
    name === 'transform' ? [value] : [],
  );
}

describe('the report of a release', () => {
  it('says first why it ended as it did, with counts and query', () => {
    const read = page(aLongStatus());
    const text = read.text().replace(/\s+/gu, ' ');
    const [verdict] = read.all('section');
    if (verdict === undefined) throw new Error('there is no verdict');

    expect(read.text(verdict).replace(/\s+/gu, ' ')).toMatch(
      /^ Rolled back Rolled back to 1\.41\.0: 53 of 198 errors .* weight 25 %: 1 measurement failed: .* Evidence of the release: ln E 5\.75, fails at 5\.3; 52 of 1500 canary requests bad, 145 of 28500 of stable's\. Counted by: sum by \(job, instance\) \(errors\) Asked: sum\(increase\(/u,
    );
    expect(read.elements.indexOf(verdict)).toBeLessThan(read.elements.indexOf(read.all('figure')[0] ?? verdict));
    for (const told of ['bob via cli', 'Weight 5 % → 25 %.', '24 of 24 measurements passed', '2026-11-21 14:04:16Z']) {
      expect(text).toContain(told);
    }
    expect(read.text(read.all('title')[0])).toBe('shop/checkout 1.42.0: Rolled back');
  });

  it("tells what Kayenta's judge said of each metric where it failed the step", () => {
    const status = aLongStatus();
    const classified = { name: 'error-rate', classification: 'High', criticalFailure: true } as const;
    const metrics = [{ ...classified, sentence: 'error-rate: the experiment is 0.02 higher.' }];
    const result = { metrics, groups: { errors: 0 }, score: 0, classification: 'Fail' } as const;
    const kayenta = { verdict: 'fail', sentence: 'Score 0.', looks: 12, result } as const;
    const steps = status.steps.map((step) =>
      step.evidence === null ? step : { ...step, evidence: { ...step.evidence, kayenta } },
    );

    expect(
      page({ ...status, steps })
        .text()
        .replace(/\s+/gu, ' '),
    ).toContain("By Kayenta's judge, groups: errors 0. High: error-rate: the experiment is 0.02 higher.");
  });

  it('tells the note of a metric that decided', () => {
    const status = aLongStatus();
    const steps = status.steps.map((step) => ({
      ...step,
      ...(step.evidence === null
        ? {}
        : {
            evidence: {
              ...step.evidence,
              metrics: step.evidence.metrics.map((metric) => ({ ...metric, note: `<b>ask ${metric.name}</b>` })),
            },
          }),
    }));
    const read = page({ ...status, steps });
    const text = read.text(read.all('section')[0]);

    expect(text).toContain('Note on error-rate: <b>ask error-rate</b>');
    expect(text).not.toContain('p95-latency');
  });

  it('tells of each look what it alone counted of both tracks, and between which moments', () => {
    const status = aLongStatus();
    const [start, end] = [START + 5_000, START + 10_000];
    const batches: Partial<EvidenceReport>[] = [
      {
        asked: { from: null, to: end },
        batch: { canary: { bad: 3, total: 25 }, stable: { bad: 2, total: 475 } },
      },
      {
        asked: { from: start, to: end },
        batch: { canary: { bad: 7, total: 26 }, stable: { bad: 9, total: 470 }, boundary: 0.25, open: true },
      },
      { asked: { from: start, to: end }, batch: { canary: { bad: 1, total: 27 }, stable: null } },
      { asked: { from: start, to: end } },
      {},
    ];
    const read = page({
      ...status,
      ...{ steps: [], events: [] },
      measurements: status.measurements.slice(0, batches.length).map((measurement, index) => ({
        ...measurement,
        metrics: measurement.metrics.map((metric) =>
          metric.evidence === undefined ? metric : { ...metric, evidence: { ...metric.evidence, ...batches[index] } },
        ),
      })),
    });
    const headings = read.all('th').map((cell) => read.text(cell));
    const rows = read.all('tr').map((row) => row.childNodes.flatMap((cell) => ('tagName' in cell ? [cell] : [])));
    const at = headings.indexOf('Counted from') - headings.indexOf('Time', headings.indexOf('Who'));
    const counted = rows
      .filter((row) => row.some((cell) => read.text(cell) === 'error-rate'))
      .map((row) => row.slice(at, at + 4).map((cell) => read.text(cell)));

    const [from, to] = ['2026-11-21 14:00:05Z', '2026-11-21 14:00:10Z'];
    expect(headings.slice(-5)).toEqual(['Counted from', 'Counted to', "Canary's batch", "Stable's batch", 'Why']);
    expect(counted).toEqual([
      ['the weight was set', to, '3 of 25 bad', '2 of 475 bad'],
      [from, to, '7 of 26 slower than 250 ms (kept open for the next)', '9 of 470 slower than 250 ms'],
      [from, to, '1 of 27 bad', 'not asked'],
      [from, to, 'nothing counted', ''],
      ['', '', '', ''],
    ]);
    // Where nothing of it is kept there are no empty columns.
    expect(page(status).text()).not.toContain('Counted from');
  });

  it('plots weights, metrics and evidence, a point for each measurement', () => {
    const read = page(aLongStatus());

    expect(plots(read)).toEqual([
      'Share of the traffic',
      'error-rate (max 5 %)',
      'Evidence against the canary, of error-rate',
      'p95-latency (max 1 s)',
    ]);
    // 50 measurements: one without a share, four without a latency of the canary.
    expect([0, 1, 2, 3].map((figure) => dots(read, figure))).toEqual([49, 100, 50, 96]);
    const marks = read.all('text').map((text) => read.text(text));
    expect(marks.filter((mark) => mark === 'failed' || mark === 'paused')).toHaveLength(8);
    expect(marks).toContain('14:02');
  });

  it('has no plot of evidence where none was gathered', () => {
    const read = page(aLongStatus({ evidence: false }));

    expect(plots(read)).toEqual(['Share of the traffic', 'error-rate (max 5 %)', 'p95-latency (max 1 s)']);
    expect(read.text()).not.toContain('Evidence of');
  });

  it('says that it is in progress, that it is simulated, and what is not kept any more', () => {
    const read = page(aStatus({ simulated: true }));
    const text = read.text().replace(/\s+/gu, ' ');

    expect(text).toContain('In progress (soaking)');
    expect(text).toContain('In progress for 3m11s as of 2026-11-21 14:03:11Z.');
    expect(text).toContain('Simulated:');
    expect(text).toContain('38 measurements were taken. A release keeps the newest and those that decided, 2 of them');
    expect(page(aStatus({ measurements: [], steps: [], events: [] })).text()).toContain('In progress');
  });

  it('does not call rolled back what was refused before anything was changed', () => {
    const text = page(aStatus({ phase: 'rolledBack', outcome: 'rolledBack', refused: true })).text();

    expect(text).toContain('Refused before anything was changed');
    expect(text).not.toContain('Rolled back');
  });

  it('is the same for the same release', () => {
    expect(renderReleaseReport(aLongStatus(), NOW)).toBe(renderReleaseReport(aLongStatus(), NOW));
  });
});

describe('the report of what was monitored', () => {
  it('has the verdict, the thresholds and every look', () => {
    const read = readPage(renderMonitorReport({ ...MONITORED, rollback: 'Release r-1 was asked to roll back: ok' }));
    const text = read.text().replace(/\s+/gu, ' ');

    expect(plots(read)).toEqual(['Error rate', 'p95 latency', 'Requests a second']);
    expect(dots(read, 0)).toBe(2);
    for (const told of [MONITORED.message, 'Release r-1 was asked', 'matched no series', 'Monitored from', 'for 15s']) {
      expect(text).toContain(told);
    }
    const cells = read.all('td').map((cell) => read.text(cell));
    expect(cells.slice(5, 10)).toEqual(['2026-11-21 14:00:10Z', '7 %', '300 ms', '110', 'error rate 7 % is above 5 %']);
    expect(readPage(renderMonitorReport({ ...MONITORED, looks: [] })).text()).toContain('Nothing was looked at.');
    expect(text).not.toContain('What each look counted');
  });

  it('has what each look counted of a canary beside stable, with names as the text they are', () => {
    const name = '<img src=x>';
    const { evidence } = withEvidence({ canary: 0.01 } as MetricVerdict, 1);
    if (evidence === undefined) throw new Error('there is no evidence');
    const asked = { from: START, to: START + 5_000 };
    const batch = { canary: { bad: 3, total: 25 }, stable: { bad: 2, total: 475 } };
    const looks = MONITORED.looks.map((look, index) => ({
      ...look,
      compared: index === 0 ? [{ name, evidence: { ...evidence, asked, batch } }] : [],
    }));
    const read = readPage(renderMonitorReport({ ...MONITORED, looks }));
    const cells = read.all('td').map((cell) => read.text(cell));

    const [from, to] = ['2026-11-21 14:00:00Z', '2026-11-21 14:00:05Z'];
    expect(read.text()).toContain('What each look counted');
    expect(cells.slice(-6)).toEqual([to, name, from, to, '3 of 25 bad', '2 of 475 bad']);
    expect(dangersOf(read)).toEqual([]);
  });
});

describe('the page of a report', () => {
  const pages: [string, () => string][] = [
    ['a release', () => renderReleaseReport(aLongStatus(), NOW)],
    ['a monitoring', () => renderMonitorReport(MONITORED)],
  ];

  it.each(pages)('of %s needs nothing but itself, and runs nothing', (_what, render) => {
    expect(dangersOf(readPage(render()))).toEqual([]);
  });

  it.each(pages)('of %s allows its own style sheet alone', (_what, render) => {
    const read = readPage(render());
    const [style, ...others] = read.all('style');
    const policy = read.all('meta').find((meta) => read.attribute(meta, 'http-equiv') === 'Content-Security-Policy');
    const hash = createHash('sha256').update(read.text(style)).digest('base64');

    expect(others).toEqual([]);
    expect(policy === undefined ? '' : read.attribute(policy, 'content')).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`,
    );
  });

  it.each([
    ['a script', '<script>alert(1)</script>'],
    ['an end of the style sheet', '</style></title><img src=x onerror="alert(1)">'],
    ['an end of an attribute', `"'><svg onload=alert(1)>`],
    ['an end of a drawing', '</text></svg><iframe src="https://example.com"></iframe>'],
    ['an entity', '&lt;script&gt;&#60;'],
    ['a template', '${alert(1)} {a} {@b} {{c}}'],
  ])('shows %s as the text it is', (_what, hostile) => {
    const harmless = readPage(renderReleaseReport(everywhere(aLongStatus(), 'name'), NOW));
    const read = readPage(renderReleaseReport(everywhere(aLongStatus(), hostile), NOW));

    expect(dangersOf(read)).toEqual([]);
    expect(read.elements.map(({ tagName }) => tagName)).toEqual(harmless.elements.map(({ tagName }) => tagName));
    expect(read.text(read.all('h1')[0])).toBe(`${hostile}/${hostile} ${hostile}`);
    expect(read.text().split(hostile).length).toBe(harmless.text().split('name').length);
    const monitored = { ...MONITORED, service: hostile, message: hostile, rollback: hostile };
    expect(dangersOf(readPage(renderMonitorReport(monitored)))).toEqual([]);
  });

  it('does not let a name turn the rest of its line, or hide in it', () => {
    const read = page(aStatus({ message: 'safe\u202e gnp.exe \u0000\u001b[2Jtext' }));

    expect(read.text()).toContain('safe\ufffd gnp.exe \ufffd\ufffd[2Jtext');
  });
});

/** The status with a text in every place that people or other systems fill. */
function everywhere(status: ReleaseStatus, text: string): ReleaseStatus {
  const metricsOf = <T extends ReleaseStatus['measurements'][number]>(measurement: T): T => ({
    ...measurement,
    sentence: text,
    metrics: measurement.metrics.map((metric, index) => ({
      ...metric,
      ...{ name: `${text}${index}`, sentence: text, query: text, limit: text },
      ...(metric.evidence === undefined ? {} : { evidence: { ...metric.evidence, query: text, sentence: text } }),
    })),
  });
  const actor = { name: text, via: 'cli' as const };
  return {
    ...status,
    ...{ service: text, namespace: text, release: text, message: text, reason: text, startedBy: actor },
    version: { from: text, to: text, artifact: text },
    steps: status.steps.map((step) => ({
      ...step,
      name: text,
      sentence: step.sentence === null ? null : text,
      evidence: step.evidence === null ? null : metricsOf(step.evidence),
    })),
    measurements: status.measurements.map(metricsOf),
    events: status.events.map(({ evidence, ...event }) => ({
      ...event,
      ...{ message: text, actor },
      ...(evidence === undefined ? {} : { evidence: metricsOf(evidence) }),
    })),
  };
}
