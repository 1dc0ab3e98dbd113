import type { ReleaseEvent, ReleaseStatus, StepStatus, EventType, Measurement } from '../workflows/api';
import { countOf } from '../analysis/format';
import type { MetricVerdict, Verdict } from '../analysis/verdict';
import { displayWidth, padEnd, safeText, truncate, wrap } from './display-width';
import { shortDigest } from './short-digest';
import { glyphs, paint, toAscii } from './style';
import type { Glyphs, Look, Tone } from './style';
import {
  formatClock,
  formatCount,
  formatDuration,
  formatElapsed,
  formatPercent,
  formatTime,
  formatValue,
} from './units';

/** A release as a person watches it: pure rendering, so that every width and alphabet can be tested. */

export interface FrameOptions extends Look {
  /** Epoch milliseconds, for the countdowns. */
  readonly now: number;
  /** A look at the cluster found that somebody has gone back past the release, which still tells of its way back. */
  readonly goneBack?: boolean;
}

/** A piece of a line; on a terminal the frame is cut to its width before it is coloured. */
interface Span {
  readonly text: string;
  readonly tone: Tone | null;
}
type Line = readonly Span[];

const LABEL_COLUMNS = 9;
/** The name column of steps and metrics. */
const NAME_COLUMNS = 18;

/** The whole frame, one string a line, none wider than a terminal is. */
export function renderFrame(status: ReleaseStatus, options: FrameOptions): string[] {
  const g = glyphs(options);
  const lines: Line[] = [
    ...headLines(status, options, g),
    ...stepLines(status, options, g),
    ...footLines(status, options, g),
  ];
  return lines.map((line) => paintLine(line, options, g));
}

function headLines(status: ReleaseStatus, options: FrameOptions, g: Glyphs): Line[] {
  const title = `${safeText(status.namespace)}/${safeText(status.service)}`;
  const id = `release ${safeText(status.release)} (${status.target})`;
  const lines: Line[] = [
    spread([span(title, 'strong')], [span(id, 'dim')], options.width),
    [label('Status'), ...statusSpans(status, options, g)],
    [
      label('Version'),
      span(`${shortDigest(safeText(status.version.from ?? 'unknown'), options)} ${g.arrow} `, null),
      span(shortDigest(safeText(status.version.to), options), 'strong'),
    ],
    [label('Weight'), ...weightSpans(status, options, g)],
    [label('By'), span(byline(status), null)],
  ];
  if (status.simulated) {
    lines.splice(1, 0, [label('SIMULATED'), span(' the numbers below come from a script, not from traffic', 'warn')]);
  }
  return lines;
}

function statusSpans(status: ReleaseStatus, options: FrameOptions, g: Glyphs): Span[] {
  const { symbol, tone, word } = phaseLook(status, g);
  const parts = [span(`${symbol} ${word}`, tone)];
  if (status.endedAt === null && status.step < status.steps.length) {
    parts.push(span(`  step ${status.step + 1}/${status.steps.length}`, null));
  }
  if (status.soak !== null) {
    const total = status.soak.endsAt - status.soak.startedAt;
    // A pause may have been asked for before its soak began, while the weight was still changing.
    const gone = Math.max(0, Math.min(total, (status.paused?.since ?? options.now) - status.soak.startedAt));
    parts.push(span(`  soak ${formatClock(gone)}/${formatClock(total)}`, null));
    if (status.soak.extended) parts.push(span(' extended', 'warn'));
  }
  const over = status.endedAt ?? status.keepOld?.since ?? null;
  const spent =
    over === null
      ? `running ${formatElapsed(options.now - status.startedAt)}`
      : `took ${formatDuration(over - status.startedAt)}`;
  parts.push(span(`  ${spent}`, 'dim'));
  return parts;
}

function isGood({ outcome }: ReleaseStatus): boolean {
  return outcome === null || outcome === 'promoted' || outcome === 'cleanedUp';
}

function weightSpans(status: ReleaseStatus, options: FrameOptions, g: Glyphs): Span[] {
  const columns = Math.min(30, Math.max(10, options.width - 50));
  const full = Math.round((status.weight / 100) * columns);
  const spans = [
    span(g.full.repeat(full), isGood(status) ? 'good' : 'bad'),
    span(g.empty.repeat(columns - full), 'dim'),
    span(` target ${status.weight} %`, null),
  ];
  // Of the last measurement: once the release has ended it says nothing about now.
  if (status.observedShare !== null && status.endedAt === null) {
    spans.push(span(`  observed ${formatPercent(status.observedShare)}`, isMisrouted(status) ? 'bad' : null));
  }
  return spans;
}

function isMisrouted({ measurements, weight }: ReleaseStatus): boolean {
  const last = measurements.at(-1);
  return last?.weight === weight && last.routing?.verdict === 'fail';
}

function byline(status: ReleaseStatus): string {
  const reason = status.reason === null ? '' : `: ${safeText(status.reason)}`;
  return `${safeText(status.startedBy.name)} via ${status.startedBy.via}${reason}`;
}

function stepLines(status: ReleaseStatus, options: FrameOptions, g: Glyphs): Line[] {
  const lines: Line[] = [];
  for (const [index, step] of status.steps.entries()) {
    const last = index === status.steps.length - 1;
    const { symbol, tone } = stepLook(step, g);
    const took = stepTime(step, options.now);
    lines.push([
      span(last ? g.lastBranch : g.branch, 'dim'),
      span(`${symbol} `, tone),
      span(
        padEnd(`${index + 1} ${safeText(step.name)} `, NAME_COLUMNS + 2),
        step.state === 'running' ? 'strong' : null,
      ),
      span(padEnd(took, 8), 'dim'),
      span(stepNote(step), step.state === 'failed' ? 'bad' : null),
    ]);
    // The evidence is shown where it matters: of the step that runs and of the one that failed.
    if (step.evidence !== null && (step.state === 'running' || step.state === 'failed')) {
      lines.push(...metricLines(step.evidence, last, g));
    }
  }
  return lines;
}

function stepTime(step: StepStatus, now: number): string {
  if (step.startedAt === null || step.state === 'skipped') return '';
  return step.endedAt === null ? formatElapsed(now - step.startedAt) : formatDuration(step.endedAt - step.startedAt);
}

function stepNote(step: StepStatus): string {
  const measured = step.measurements > 0 ? `${step.measurements} measured` : '';
  if (step.state === 'pending') return '';
  const sentence = step.sentence === null ? '' : safeText(step.sentence);
  if (step.state === 'skipped') return sentence === '' ? 'skipped' : `skipped: ${sentence}`;
  return [measured, sentence].filter((part) => part !== '').join('  ');
}

function metricLines(measurement: Measurement, lastStep: boolean, g: Glyphs): Line[] {
  return measurement.metrics.map((metric, index) => {
    const last = index === measurement.metrics.length - 1;
    const { symbol, tone } = verdictLook(metric.verdict, g);
    return [
      span(lastStep ? '  ' : g.trunk, 'dim'),
      span(`  ${last ? g.lastBranch : g.branch}`, 'dim'),
      span(`${symbol} `, tone),
      span(padEnd(safeText(metric.name), NAME_COLUMNS - 4), null),
      span(metricLine(metric), tone === 'good' ? null : tone),
    ];
  });
}

/** `canary 0.21 %  stable 0.19 %  max 1 %  n=18.2k`; of what was not judged the reason, for which the limit makes room. */
export function metricLine(metric: MetricVerdict): string {
  const judged = metric.canary !== null && (metric.verdict === 'pass' || metric.verdict === 'fail');
  if (judged) return metricNumbers(metric);
  return [metricNumbers({ ...metric, limit: '' }), safeText(reasonOf(metric))].join('  ');
}

/** The numbers alone: for where the metric's sentence stands below. */
export function metricNumbers(metric: MetricVerdict): string {
  const parts = [];
  if (metric.verdict !== 'pass') parts.push(VERDICT_WORDS[metric.verdict]);
  if (metric.canary !== null) parts.push(`canary ${formatValue(metric.canary, metric.unit)}`);
  if (metric.stable !== null) parts.push(`stable ${formatValue(metric.stable, metric.unit)}`);
  if (metric.limit !== '') parts.push(safeText(metric.limit));
  // What a backend extrapolated is a fraction, of which people would ask what it is.
  if (metric.canaryRequests !== null) parts.push(`n=${formatCount(Math.round(metric.canaryRequests))}`);
  return parts.join('  ');
}

/** A metric's sentence without what stands before it on the line: its name, or its value and a semicolon. */
function reasonOf({ name, sentence }: MetricVerdict): string {
  const before = sentence.startsWith(`${name}: `) ? `${name}: `.length : sentence.indexOf('; ') + 1;
  return sentence.slice(before).trimStart();
}

function footLines(status: ReleaseStatus, options: FrameOptions, g: Glyphs): Line[] {
  const lines: Line[] = [];
  if (status.stuck !== null) {
    const { since, attempts, message } = status.stuck;
    // The release's own sentence, below, has the reason in it, unless something else was told after it.
    const why = status.message.includes(message) ? '.' : `: ${safeText(message)}`;
    const sentence = `${g.bad} Stuck for ${formatDuration(options.now - since)} after ${countOf(attempts, 'attempt')}${why}`;
    for (const line of wrap(sentence, room(options))) lines.push([span(line, 'bad')]);
  }
  if (status.successors.length > 0) {
    lines.push([
      span(`${status.successors.length} more waiting: ${status.successors.map(safeText).join(', ')}`, 'warn'),
    ]);
  }
  const tone = status.endedAt === null ? null : phaseLook(status, g).tone;
  const message = options.goneBack === true ? GONE_BACK : safeText(status.message);
  for (const line of wrap(message, room(options))) lines.push([span(line, tone)]);
  const next = nextSentence(status, options);
  if (next !== null) for (const line of wrap(`Next: ${next}`, room(options))) lines.push([span(line, 'dim')]);
  return lines;
}

/** What happens next without anybody's help, or whose help it waits for; null once the release has ended. */
function nextSentence(status: ReleaseStatus, options: FrameOptions): string | null {
  const { now } = options;
  if (status.endedAt !== null || options.goneBack === true) return null;
  const name = `${safeText(status.namespace)}/${safeText(status.service)}`;
  if (status.stuck !== null) return wayOutOfStuck(status.target, name);
  if (status.keepOld) {
    const left = formatDuration(Math.max(0, status.keepOld.until - now));
    return `${shortDigest(safeText(status.keepOld.version), options)} is scaled down in ${left}; \`sluice rollback ${name}\` goes back to it in one write until then`;
  }
  if (status.paused !== null) {
    const first = ['deploying', 'smokeTesting', 'shifting'].includes(status.phase) ? 'once this is done, ' : '';
    return `${first}paused until \`sluice resume ${name}\` or \`sluice rollback ${name}\``;
  }
  if (status.approval !== null) {
    const who = status.approval.by.length === 0 ? 'anyone' : status.approval.by.map(safeText).join(', ');
    const left = formatDuration(status.approval.expiresAt - now);
    return `\`sluice approve ${name}\` by ${who} within ${left}, else ${EXPIRY_WORDS[status.approval.onExpiry]}`;
  }
  if (status.soak !== null) {
    const following = status.steps[status.step + 1];
    const left = formatClock(status.soak.endsAt - now);
    return `${following === undefined ? 'the end' : safeText(following.name)} in ${left}, if the evidence is good`;
  }
  return null;
}

const GONE_BACK = 'Promoted, and gone back from since, without this release: see below.';

/** A roll back goes on trying by itself, but what fails each time is for a person to mend. */
function wayOutOfStuck(target: ReleaseStatus['target'], name: string): string {
  const onCluster = target === 'kubernetes';
  const mend = onCluster ? ' (a missing right: `sluice rbac release.yaml`)' : '';
  const direct = onCluster ? `; \`sluice rollback ${name} --direct\` rolls back by your own kubeconfig` : '';
  return `it is tried again by itself, and at once by \`sluice rollback ${name}\` when what fails is mended${mend}${direct}; \`sluice rollback ${name} --abandon\` gives up what is left`;
}

const EXPIRY_WORDS = { rollback: 'it rolls back', pause: 'it pauses', continue: 'it continues' } as const;

export const VERDICT_WORDS: Record<Verdict, string> = {
  pass: 'pass',
  fail: 'FAIL',
  inconclusive: 'inconclusive',
  'insufficient-data': 'insufficient data',
  error: 'source error',
};

// ---- one line per change: pipes, logs, CI ------------------------------------------------------------------

/** What changed from one status to the next, one line each, in the order it happened. */
export function changeLines(previous: ReleaseStatus | null, next: ReleaseStatus, look: Look): string[] {
  const lines = newEvents(previous, next).map((event) => ({ at: event.at, line: eventLine(event, look) }));
  const measurement = newVerdict(previous, next);
  // Before what happened at the same moment: that was because of it.
  if (measurement !== null) lines.unshift({ at: measurement.at, line: verdictLine(measurement, look) });
  return lines.sort((a, b) => a.at - b.at).map(({ line }) => line);
}

function verdictLine({ at, weight, verdict, sentence }: Measurement, look: Look): string {
  const { symbol, tone } = verdictLook(verdict, glyphs(look));
  const word = paint(`${symbol} ${VERDICT_WORDS[verdict]}`, tone, look);
  return `${paint(formatTime(at), 'dim', look)} ${weightColumn(weight)} ${word}: ${safeText(sentence)}`;
}

/** The events of `next` that `previous` does not have yet; of another release, all of them. */
export function newEvents(previous: ReleaseStatus | null, next: ReleaseStatus): readonly ReleaseEvent[] {
  const seen = previous !== null && previous.release === next.release ? (previous.events.at(-1)?.seq ?? 0) : 0;
  return next.events.filter((event) => event.seq > seen);
}

/** The newest measurement when its verdict is not the one before it: a soak of hours must not fill a log. */
function newVerdict(previous: ReleaseStatus | null, next: ReleaseStatus): Measurement | null {
  const latest = next.measurements.at(-1);
  if (latest === undefined) return null;
  const before = previous?.release === next.release ? previous.measurements.at(-1) : undefined;
  if (before === undefined) return latest;
  if (before.at === latest.at) return null;
  return before.verdict === latest.verdict && before.step === latest.step ? null : latest;
}

/** `14:03:07  25 % ✔ The weight is 25 %. (alice via cli)` */
export function eventLine(event: ReleaseEvent, look: Look): string {
  const { symbol, tone } = eventLook(event.type, glyphs(look));
  const who = event.actor.via === 'workflow' ? '' : ` (${safeText(event.actor.name)} via ${event.actor.via})`;
  return `${paint(formatTime(event.at), 'dim', look)} ${weightColumn(event.weight)} ${paint(symbol, tone, look)} ${safeText(event.message)}${paint(who, 'dim', look)}`;
}

function weightColumn(weight: number): string {
  return `${String(weight).padStart(3)} %`;
}

// ---- what things look like ----------------------------------------------------------------------------------

interface Appearance {
  readonly symbol: string;
  readonly tone: Tone | null;
}

const PHASE_WORDS: Record<ReleaseStatus['phase'], string> = {
  starting: 'Starting',
  deploying: 'Deploying',
  smokeTesting: 'Smoke testing',
  shifting: 'Shifting traffic',
  soaking: 'Soaking',
  awaitingApproval: 'Awaiting approval',
  paused: 'Paused',
  promoting: 'Promoting',
  cleaningUp: 'Cleaning up',
  rollingBack: 'Rolling back',
  promoted: 'Promoted',
  cleanedUp: 'Cleaned up',
  rolledBack: 'Rolled back',
  failed: 'Failed',
};

export function phaseLook(
  status: Pick<ReleaseStatus, 'phase' | 'outcome' | 'refused'>,
  g: Glyphs,
): Appearance & { readonly word: string } {
  const word = outcomeWord(status);
  switch (status.phase) {
    case 'promoted':
    case 'cleanedUp':
      return { symbol: g.ok, tone: 'good', word };
    case 'rolledBack':
    case 'failed':
      return { symbol: g.bad, tone: 'bad', word };
    case 'paused':
    case 'awaitingApproval':
    case 'rollingBack':
      return { symbol: g.warn, tone: 'warn', word };
    case 'starting':
    case 'deploying':
    case 'smokeTesting':
    case 'shifting':
    case 'soaking':
    case 'promoting':
    case 'cleaningUp':
      return { symbol: g.busy, tone: 'busy', word };
    default:
      return status.phase satisfies never;
  }
}

function outcomeWord(status: Pick<ReleaseStatus, 'phase' | 'outcome' | 'refused'>): string {
  if (status.refused === true) return 'Refused';
  const word = PHASE_WORDS[status.phase];
  const why = status.outcome;
  return status.phase === 'rolledBack' && why !== null && why !== 'rolledBack' ? `${word} (${why})` : word;
}

function stepLook(step: StepStatus, g: Glyphs): Appearance {
  switch (step.state) {
    case 'pending':
      return { symbol: g.todo, tone: 'dim' };
    case 'running':
      return { symbol: g.busy, tone: 'busy' };
    case 'passed':
      return { symbol: g.ok, tone: 'good' };
    case 'failed':
      return { symbol: g.bad, tone: 'bad' };
    case 'skipped':
      return { symbol: g.skipped, tone: 'dim' };
    default:
      return step.state satisfies never;
  }
}

export function verdictLook(verdict: Verdict, g: Glyphs): Appearance {
  switch (verdict) {
    case 'pass':
      return { symbol: g.ok, tone: 'good' };
    case 'fail':
      return { symbol: g.bad, tone: 'bad' };
    case 'inconclusive':
    case 'error':
      return { symbol: g.warn, tone: 'warn' };
    case 'insufficient-data':
      return { symbol: g.todo, tone: 'warn' };
    default:
      return verdict satisfies never;
  }
}

const GOOD_EVENTS: readonly EventType[] = [
  'deployed',
  'smokeTestPassed',
  'weightChanged',
  'stepPassed',
  'approved',
  'resumed',
  'promoted',
  'cleanedUp',
  'compensated',
];
const BAD_EVENTS: readonly EventType[] = [
  'stepFailed',
  'rejected',
  'guardTripped',
  'compensationFailed',
  'rollbackStarted',
  'rolledBack',
  'failed',
];

export function eventLook(type: EventType, g: Glyphs): Appearance {
  if (GOOD_EVENTS.includes(type)) return { symbol: g.ok, tone: 'good' };
  if (BAD_EVENTS.includes(type)) return { symbol: g.bad, tone: 'bad' };
  return type === 'started' ? { symbol: g.busy, tone: 'busy' } : { symbol: g.warn, tone: 'warn' };
}

// ---- lines ----------------------------------------------------------------------------------------------------

function span(text: string, tone: Tone | null): Span {
  return { text, tone };
}

function label(text: string): Span {
  return span(padEnd(text, LABEL_COLUMNS), 'dim');
}

/** Two texts at both ends of a line; the right one goes when there is no room. */
function spread(left: Line, right: Line, width: number): Line {
  const gap = width - lineWidth(left) - lineWidth(right);
  return gap < 2 ? left : [...left, span(' '.repeat(gap), null), ...right];
}

function lineWidth(line: Line): number {
  let width = 0;
  for (const part of line) width += displayWidth(part.text);
  return width;
}

/** Only a terminal has a width to be kept to. */
function room({ isTerminal, width }: Look): number {
  return isTerminal ? width : Number.POSITIVE_INFINITY;
}

function paintLine(line: Line, look: Look, g: Glyphs): string {
  let left = room(look);
  const cut: Span[] = [];
  for (const part of line) {
    if (left <= 0) break;
    const text = truncate(toAscii(part.text, look), left, g.ellipsis);
    left -= displayWidth(text);
    cut.push(span(text, part.tone));
  }
  return withoutTrailingSpace(cut)
    .map(({ text, tone }) => paint(text, tone, look))
    .join('');
}

function withoutTrailingSpace(line: readonly Span[]): readonly Span[] {
  const last = line.findLastIndex(({ text }) => text.trim() !== '');
  return line.slice(0, last + 1).map((part, index) => (index === last ? span(part.text.trimEnd(), part.tone) : part));
}
