import { countOf, formatCount, formatValue, timesOf } from '../../analysis/format';
import type { EvidenceReport } from '../../analysis/gather-evidence';
import type { KayentaReport } from '../../analysis/kayenta-course';
import type { MetricVerdict, Verdict } from '../../analysis/verdict';
import type { Measurement, ReleaseStatus, RoutingReport, StepStatus } from '../../workflows/api';
import { ReleaseError } from '../../errors';
import { measurementsOf } from '../../report/known-measurements';
import { displayWidth, padEnd, safeText, wrap } from '../display-width';
import { metricNumbers, VERDICT_WORDS, verdictLook } from '../live-view';
import { API_VERSION } from '../output';
import type { Registry } from '../registry';
import { checkReportPath, writeReleaseReport } from '../report-file';
import { resolveServiceRef } from '../service-ref';
import { glyphs, paint } from '../style';
import type { Look } from '../style';
import { formatDate, formatDuration, formatPercent, parseStepNumber } from '../units';
import { warnWithoutWorker } from '../workers';

interface ExplainOptions {
  readonly step?: string;
  readonly release?: string;
  readonly report?: string;
}

/** `sluice explain`: why each step ended as it did: the numbers, the counts and the queries they came from. */
export function addExplainCommand(registry: Registry): void {
  registry
    .add('explain <service>', 'Why each step ended as it did, with its numbers and queries', [
      'sluice explain checkout',
      'sluice explain checkout --step 3',
      'sluice explain checkout --report release.html',
    ])
    .option('--step <number>', 'only this step, counted from 1')
    .option('--release <id>', 'a certain release instead of the newest')
    .option('--report <file>', 'write the whole release as a page with plots, too')
    .action(async (service: string, options: ExplainOptions, command) => {
      await registry.run(command, async (session) => {
        const asked = options.step === undefined ? null : parseStepNumber(options.step);
        if (options.report !== undefined) await checkReportPath(options.report);
        const ref = await resolveServiceRef(service, session.cli.spec, options.release);
        const client = await session.client();
        await warnWithoutWorker(session, client);
        const status = await client.status(ref);
        if (status.simulated) session.markSimulated();
        const chosen = chooseSteps(status, asked);
        const document = {
          apiVersion: API_VERSION,
          kind: 'ReleaseExplanation',
          service: status.service,
          namespace: status.namespace,
          release: status.release,
          version: status.version,
          outcome: status.outcome,
          message: status.message,
          simulated: status.simulated,
          steps: chosen.map(({ number, step, kept }) => ({ number, ...step, keptMeasurements: kept })),
        };
        session.result(document, () => explainLines(status, chosen, session.look));
        if (options.report !== undefined) await writeReleaseReport(session, options.report, status);
      });
    });
}

interface NumberedStep {
  readonly number: number;
  readonly step: StepStatus;
  /** Of its measurements those that the release still has, the oldest first. */
  readonly kept: readonly Measurement[];
}

/** All steps that began, or the one asked for. */
function chooseSteps(status: ReleaseStatus, asked: number | null): NumberedStep[] {
  const measurements = measurementsOf(status);
  const steps = status.steps.map((step, index) => {
    return { number: index + 1, step, kept: measurements.filter((measurement) => measurement.step === index) };
  });
  if (asked === null) return steps.filter(({ step }) => step.state !== 'pending');
  const found = steps.find(({ number }) => number === asked);
  if (found !== undefined) return [found];
  throw new ReleaseError('usage', `The release has no step ${asked}.`, {
    hint: `It has ${steps.length}: ${steps.map(({ number, step }) => `${number} ${step.name}`).join(', ')}.`,
  });
}

function explainLines(status: ReleaseStatus, steps: readonly NumberedStep[], look: Look): string[] {
  const title = `${status.namespace}/${status.service} ${status.version.to}, release ${status.release}`;
  return [
    paint(safeText(title), 'strong', look),
    ...wrap(safeText(status.message), look.width),
    ...steps.flatMap((step) => ['', ...stepLines(step, look)]),
  ];
}

function stepLines({ number, step, kept }: NumberedStep, look: Look): string[] {
  const took =
    step.startedAt !== null && step.endedAt !== null ? ` after ${formatDuration(step.endedAt - step.startedAt)}` : '';
  const tone = step.state === 'failed' ? 'bad' : step.state === 'passed' ? 'good' : null;
  const verdict = step.verdict === null ? '' : `, verdict ${step.verdict}`;
  const lines = [
    `${paint(`Step ${number}, ${safeText(step.name)}:`, 'strong', look)} ${paint(`${step.state}${took}${verdict}`, tone, look)}`,
  ];
  if (step.sentence !== null) lines.push(...wrap(safeText(step.sentence), look.width - 2).map((line) => `  ${line}`));
  if (step.measurements > 0) lines.push(`  ${takenClause(step.measurements, kept.length)}`, ...lookLines(kept, look));
  if (step.evidence !== null) lines.push(...evidenceLines(step.evidence, step.state === 'failed', look));
  return lines;
}

function takenClause(taken: number, kept: number): string {
  const text = `${countOf(taken, 'measurement')} ${taken === 1 ? 'was' : 'were'} taken`;
  if (kept === 0) return `${text}.`;
  return kept < taken ? `${text}, of which the release has kept ${kept}:` : `${text}:`;
}

/** A table of the looks: when, the verdict, and of one that did not pass why, a metric a line. */
function lookLines(kept: readonly Measurement[], look: Look): string[] {
  const columns = Math.max(...kept.map(({ verdict }) => VERDICT_WORDS[verdict].length));
  return kept.flatMap((measurement) => {
    const { symbol, tone } = verdictLook(measurement.verdict, glyphs(look));
    const start = `    ${formatDate(measurement.at)}  `;
    const verdict = `${symbol} ${padEnd(VERDICT_WORDS[measurement.verdict], columns)}`;
    const indent = displayWidth(`${start}${verdict}`) + 2;
    const [first, ...others] = reasonsOf(measurement).flatMap((why) => wrap(safeText(why), look.width - indent));
    const line = `${start}${paint(first === undefined ? verdict.trimEnd() : verdict, tone, look)}`;
    return [first === undefined ? line : `${line}  ${first}`, ...others.map((more) => `${' '.repeat(indent)}${more}`)];
  });
}

/** Why a look did not pass, by the metrics that count; what an old look lost of them, its own sentence says. */
function reasonsOf({ verdict, sentence, metrics }: Measurement): string[] {
  if (verdict === 'pass') return [];
  const reasons = metrics
    .filter((metric) => metric.verdict !== 'pass' && metric.dryRun !== true)
    .map((metric) => metric.sentence);
  return reasons.length > 0 ? reasons : [sentence];
}

function evidenceLines(evidence: Measurement, decided: boolean, look: Look): string[] {
  const share = evidence.observedShare === null ? '' : `, observed share ${formatPercent(evidence.observedShare)}`;
  const lines = [
    `  ${decided ? 'The measurement that decided' : 'The last measurement'}: ${formatDate(evidence.at)}, weight ${evidence.weight} %${share}`,
  ];
  if (evidence.routing !== undefined) lines.push(...routingLines(evidence.routing, look));
  if (evidence.kayenta !== undefined) lines.push(...kayentaLines(evidence.kayenta, look));
  for (const metric of evidence.metrics) {
    const { symbol, tone } = verdictLook(metric.verdict, glyphs(look));
    const counts = [
      metric.canaryRequests === null ? '' : `canary ${countOf(metric.canaryRequests, 'request')}`,
      metric.stableRequests === null ? '' : `stable ${countOf(metric.stableRequests, 'request')}`,
    ].filter((part) => part !== '');
    lines.push(
      `  ${paint(symbol, tone, look)} ${paint(safeText(metric.name), 'strong', look)}  ${metricNumbers(metric)}`,
    );
    lines.push(...wrap(safeText(metric.sentence), look.width - 6).map((line) => `      ${line}`));
    if (metric.note !== undefined)
      lines.push(...wrap(`note: ${safeText(metric.note)}`, look.width - 6).map((line) => `      ${line}`));
    if (counts.length > 0) lines.push(`      counts: ${counts.join(', ')}`);
    // Whole, however long: it is there to be copied.
    if (metric.query !== '') lines.push(paint(`      query: ${safeText(metric.query)}`, 'dim', look));
    if (metric.stableQuery !== undefined)
      lines.push(paint(`      stable's query: ${safeText(metric.stableQuery)}`, 'dim', look));
    if (metric.evidence !== undefined) lines.push(...reportLines(metric.evidence, metric, look));
  }
  return lines;
}

/** What the batches of the whole release say: in plain words first, then in numbers. */
function reportLines(report: EvidenceReport, { verdict }: MetricVerdict, look: Look): string[] {
  const { logEvidence, limit, clusters, promotion, objective, dropped, query } = report;
  const parts = [
    `ln E ${formatLog(logEvidence)}, fails at ${formatLog(limit)}`,
    ...(clusters > 1 ? [`divided by ${formatValue(clusters, 'count')}, for those of one cause`] : []),
    ...(promotion === undefined
      ? []
      : [`good enough: ln E ${formatLog(promotion.logEvidence)} of ${formatLog(promotion.limit)}`]),
    ...(objective === undefined
      ? []
      : [`objective ${objectiveText(objective)}: ln E ${formatLog(objective.logEvidence)}`]),
  ];
  const plain = `over the whole release ${countedClause(report, verdict)}`;
  const lines = [plain, `evidence: ${parts.join('; ')}`].flatMap((text) =>
    wrap(text, look.width - 6).map((line) => `      ${line}`),
  );
  const told = lookClause(report);
  if (told !== null) lines.push(...wrap(told, look.width - 6).map((line) => `      ${line}`));
  for (const what of dropped)
    lines.push(...wrap(safeText(`left out: ${what}`), look.width - 6).map((line) => `      ${line}`));
  if (query !== '') lines.push(paint(`      counted by: ${safeText(query)}`, 'dim', look));
  return lines;
}

function countedClause(
  { logEvidence, limit, batches, canary, stable, boundary }: EvidenceReport,
  verdict: Verdict,
): string {
  if (batches === 0) return 'nothing has been counted of both tracks yet';
  const bad = boundary === null ? 'bad' : `slower than ${formatValue(boundary, 'seconds')}`;
  const [ofCanary, ofStable] = [canary, stable].map((arm) => `${formatCount(arm.bad)} of ${formatCount(arm.total)}`);
  const counted = `${ofCanary} canary and ${ofStable} stable requests were ${bad}, counted ${timesOf(batches)}`;
  if (logEvidence >= limit) return `${counted}: that proves the canary worse than stable`;
  // What was once proven stays proven, also where the evidence has become less since.
  return verdict === 'fail' ? counted : `${counted}: that does not prove the canary worse than stable`;
}

function objectiveText({ share, slowerThan }: NonNullable<EvidenceReport['objective']>): string {
  const slower = slowerThan === undefined ? '' : ` slower than ${formatValue(slowerThan, 'seconds')}`;
  return `${formatValue(share, 'ratio')}${slower}`;
}

/** What this look alone asked and was answered; null where it did not ask, or a version that kept neither. */
function lookClause({ asked, batch }: EvidenceReport): string | null {
  if (asked === undefined) return null;
  const { from, to } = asked;
  const between = `${from === null ? 'since the weight was set' : `from ${formatDate(from)}`} to ${formatDate(to)}`;
  if (batch === undefined) return `this look, ${between}: nothing was counted`;
  const { canary, stable, boundary, open } = batch;
  const bad = boundary === undefined ? 'bad' : `slower than ${formatValue(boundary, 'seconds')}`;
  const of = (arm: { bad: number; total: number }): string => `${formatCount(arm.bad)} of ${formatCount(arm.total)}`;
  const counts = `${of(canary)} canary${stable === null ? '' : ` and ${of(stable)} stable`} requests ${bad}`;
  return `this look, ${between}: ${counts}${open === true ? '; kept open for the next, since not both had requests' : ''}`;
}

function formatLog(log: number): string {
  return log.toFixed(2);
}

function kayentaLines({ verdict, sentence, result }: KayentaReport, look: Look): string[] {
  const { symbol, tone } = verdictLook(verdict, glyphs(look));
  const name = paint("Kayenta's judge", 'strong', look);
  const indented = (text: string): string[] => wrap(safeText(text), look.width - 6).map((line) => `      ${line}`);
  if (result === null) return [`  ${paint(symbol, tone, look)} ${name}`, ...indented(sentence)];
  const { classification, score, groups, metrics } = result;
  const scores = Object.entries(groups).map(([group, own]) => `${group} ${Math.round(own * 100) / 100}`);
  return [
    `  ${paint(symbol, tone, look)} ${name}  ${classification}, score ${score}`,
    ...indented(`groups: ${scores.join(', ')}`),
    ...metrics.flatMap((metric) => indented(`${metric.classification}: ${metric.sentence}`)),
  ];
}

function routingLines({ verdict, sentence, canary, stable, query }: RoutingReport, look: Look): string[] {
  const { symbol, tone } = verdictLook(verdict, glyphs(look));
  const lines = [`  ${paint(symbol, tone, look)} ${paint('routing', 'strong', look)}`];
  lines.push(...wrap(safeText(sentence), look.width - 6).map((line) => `      ${line}`));
  if (canary !== null && stable !== null) {
    lines.push(`      counts: canary ${formatCount(canary)}, stable ${formatCount(stable)}`);
  }
  if (query !== '') lines.push(paint(`      query: ${safeText(query)}`, 'dim', look));
  return lines;
}
