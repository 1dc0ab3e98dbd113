import { stringify } from 'yaml';
import type { ReleaseDetection, StepDetection, TimeToFind } from '../analysis/detection/detect';
import { detect, isCompared, LONGEST_SOAK_MS, PROBABILITY, TIMED_RISES } from '../analysis/detection/detect';
import { suggestSoaks } from '../analysis/detection/suggest';
import type { SuggestedStep } from '../analysis/detection/suggest';
import { ReleaseError } from '../errors';
import { plannedBatches } from '../spec/gathering-policy';
import type { MetricPlan, Plan, PlanStep } from '../spec/plan-types';
import { COUNTABLE, testedAtEachLook } from '../spec/tested-at-each-look';
import { formatDuration as specDuration } from '../spec/units';
import { actedOnAtEachLook, detectionInput, isLimited, weightSteps } from './detection-input';
import { safeText, wrap } from './display-width';
import { renderTable } from './output';
import type { PresentTraffic, TrafficAnswer } from './present-traffic';
import { PRESENT_WINDOW_MS } from './present-traffic';
import { glyphs, paint } from './style';
import type { Look } from './style';
import { formatCount, formatDuration, formatPercent } from './units';

/** What a plan's steps can find, beside the plan in documents. */
export interface PlanDetection {
  /** null where it is not known; `problem` then says why. */
  readonly traffic: (PresentTraffic & { readonly source: 'given' | 'asked'; readonly windowMs: number | null }) | null;
  readonly problem: string | null;
  /** What "found" means: with this probability. */
  readonly probability: number;
  readonly steps: readonly StepDetection[];
  readonly falseRollBacks: ReleaseDetection['falseRollBacks'] | null;
  /** Metrics with limits that fail them, too, and that are not played. */
  readonly limitsNotPlayed: readonly string[];
  /** What of the policy is most likely not meant, a sentence each. */
  readonly warnings: readonly string[];
}

export function detectInPlan(plan: Plan, answer: TrafficAnswer): PlanDetection {
  const warnings = warningsOf(plan);
  const limited = plan.analysis.metrics.filter(isLimited).map(({ name }) => name);
  const probability = PROBABILITY;
  if (!answer.ok) {
    const nothing = { traffic: null, steps: [], falseRollBacks: null, limitsNotPlayed: limited };
    return { ...nothing, problem: answer.problem, probability, warnings };
  }
  const { traffic, source } = answer;
  const { steps, falseRollBacks } = detect(detectionInput(plan, traffic, weightSteps(plan)));
  const windowMs = source === 'asked' ? PRESENT_WINDOW_MS : null;
  const described = { ...traffic, source, windowMs };
  const played = falseRollBacks.limits?.metrics.map(({ name }) => name) ?? [];
  return {
    ...{ traffic: described, problem: null, probability, steps, falseRollBacks },
    limitsNotPlayed: limited.filter((name) => !played.includes(name)),
    warnings: [...warnings, ...limitWarnings(plan, traffic, falseRollBacks)],
  };
}

/** Limits that roll healthy versions back more often than the evidence of the whole release may. */
function limitWarnings(
  { analysis }: Plan,
  traffic: PresentTraffic,
  { bound, limits }: ReleaseDetection['falseRollBacks'],
): string[] {
  if (limits === null) return [];
  const { releases, failed } = limits;
  const isTooMany = (count: number): boolean => count > bound * releases;
  const much = (count: number): string =>
    `${count} of ${releases} simulated releases, more than the ${formatPercent(bound)} that alpha leaves the evidence`;
  const warnings = limits.metrics.flatMap((each) => {
    const metric = analysis.metrics.find(({ name }) => name === each.name);
    const base = traffic.metrics.find(({ name }) => name === each.name)?.base;
    if (metric === undefined || base === undefined || !isTooMany(each.failed)) return [];
    const usual = `${formatPercent(base)} of its events are bad in a healthy one, too`;
    return [
      `${each.name}: ${limitsText(metric)} alone rolls a healthy version back in ${much(each.failed)}: ${usual}. ${LOOSEN} ${RELY}`,
    ];
  });
  if (warnings.length > 0 || !isTooMany(failed)) return warnings;
  const names = limits.metrics.map(({ name }) => name).join(', ');
  return [`The limits of ${names} together roll a healthy version back in ${much(failed)}. ${LOOSEN} ${RELY}`];
}

const LOOSEN =
  'Move the limit away from what is usual, raise failureLimit or minRequests, or take a longer window in longer soaks;';
const RELY = 'or keep the limit as a guard-rail far above the usual, and rely on the evidence.';

function limitsText({ max, min, maxRatio }: MetricPlan): string {
  return [
    ...(max === null ? [] : [`max ${formatPercent(max)}`]),
    ...(min === null ? [] : [`min ${formatPercent(min)}`]),
    ...(maxRatio === null ? [] : [`maxRatio ${maxRatio}`]),
  ].join(' with ');
}

function warningsOf({ analysis }: Plan): string[] {
  const alpha = analysis.compare?.alpha ?? 0;
  return actedOnAtEachLook(analysis).map(
    ({ name, query }) =>
      `${capitalized(testedAtEachLook(name, alpha))}${query.kind === 'ratio' ? ` ${COUNTABLE}` : ''}`,
  );
}

function capitalized(sentence: string): string {
  return `${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}`;
}

export function detectionLines(detection: PlanDetection, look: Look): string[] {
  const lines = ['', paint('What each step can find', 'strong', look), ...findingLines(detection, look)];
  const ofSteps = detection.steps.flatMap(({ weight, warning }) =>
    warning === null ? [] : [`${weight} %: ${warning}`],
  );
  for (const warning of [...ofSteps, ...detection.warnings]) {
    const [first = '', ...more] = wrap(safeText(warning), look.width - 2);
    lines.push(paint(`${glyphs(look).warn} ${first}`, 'warn', look), ...more.map((line) => `  ${line}`));
  }
  return lines;
}

function findingLines(
  { traffic, problem, steps, falseRollBacks, limitsNotPlayed }: PlanDetection,
  look: Look,
): string[] {
  const lines: string[] = [];
  if (traffic === null || falseRollBacks === null) return wrap(safeText(problem ?? ''), look.width);
  lines.push(...wrap(`With ${describeTraffic(traffic)}:`, look.width));
  const rows = steps.flatMap(({ weight, canaryRequests, metrics }) => {
    const step = [`${weight} %`, formatCount(canaryRequests)];
    if (metrics.length === 0) return [[...step, 'no comparison']];
    return metrics.map(({ name, smallestRise, times }, index) => [
      ...(index === 0 ? step : ['', '']),
      safeText(name),
      smallestRise === null ? 'nothing' : `${smallestRise}x`,
      ...times.map((time) => timeText(time, look)),
    ]);
  });
  const headings = ['STEP', 'REQUESTS', 'METRIC', 'FINDS', ...TIMED_RISES.map((rise) => `${rise}x IN`)];
  lines.push(...renderTable(headings, rows, look));
  const notes = [
    `REQUESTS: of the canary. FINDS: the smallest rise over stable that is found within the step with ${100 * PROBABILITY} % probability; "${TIMED_RISES[0]}x IN": until half of such canaries are found.`,
    ...timeNotes(steps, look),
    ...(traffic.metrics.some(({ kind }) => kind === 'latency')
      ? ['Of a latency, a rise is that many times as many requests slower than its quantile is now.']
      : []),
    ...(steps.every(isCompared) ? [] : ['At 100 % nothing is left to compare with: fixed limits alone hold there.']),
    ...traffic.metrics.flatMap(({ note, clustersNote }) => [note, clustersNote].filter((each) => each !== null)),
    describeFalseRollBacks(falseRollBacks),
    ...(limitsNotPlayed.length === 0
      ? []
      : [
          `Not played are the limits of ${limitsNotPlayed.join(', ')}: how ${limitsNotPlayed.length === 1 ? 'its' : 'their'} values spread is not known.`,
        ]),
  ];
  for (const note of notes) lines.push(...wrap(safeText(note), look.width));
  return lines;
}

/** What no step has room for stands in brackets, so that nobody takes it for found. */
function timeText({ medianMs, beyondMs }: TimeToFind, look: Look): string {
  if (medianMs !== null) return formatDuration(medianMs);
  return beyondMs === null ? glyphs(look).dash : `(${formatDuration(beyondMs)})`;
}

function timeNotes(steps: readonly StepDetection[], look: Look): string[] {
  const missed = steps
    .flatMap(({ metrics }) => metrics.flatMap(({ times }) => times))
    .filter(({ medianMs }) => medianMs === null);
  return [
    ...(missed.some(({ beyondMs }) => beyondMs !== null)
      ? ['In brackets: not within the step, but after so long if its soak were longer.']
      : []),
    ...(missed.some(({ beyondMs }) => beyondMs === null)
      ? [`${glyphs(look).dash}: not within the step, nor in a soak of ${specDuration(LONGEST_SOAK_MS)}.`]
      : []),
  ];
}

/** How often a healthy version is taken for a bad one: by the evidence, by fixed limits, and by either. */
function describeFalseRollBacks({ bound, releases, failed, limits }: ReleaseDetection['falseRollBacks']): string {
  const most = `with a chance of at most ${formatPercent(bound)}`;
  const byEvidence = `A healthy version is rolled back by the evidence of these metrics ${most}; in ${failed} of ${releases} simulated releases it was.`;
  if (limits === null) return byEvidence;
  const names = limits.metrics.map(({ name }) => name).join(', ');
  const byLimits = `The fixed limits of ${names} rolled it back in ${limits.failed} of ${limits.releases}`;
  return `${byEvidence} ${byLimits}, evidence and limits together in ${limits.together}.`;
}

// ---- suggestions ------------------------------------------------------------------------------------------------

export interface PlanSuggestion {
  readonly rise: number;
  readonly steps: readonly SuggestedStep[];
  /** `steps:` of a release.yaml. */
  readonly yaml: string;
}

/** Soaks with which each step finds the rise, as `steps:` that can be pasted. */
export function suggestForPlan(plan: Plan, answer: TrafficAnswer, rise: number): PlanSuggestion {
  if (!answer.ok) {
    throw new ReleaseError(answer.code, `No soak can be proposed. ${answer.problem}`, {
      hint: 'Say what traffic there is: --traffic 100/s --base 0.5%.',
    });
  }
  const { analysis } = plan;
  const before = weightSteps(plan);
  const steps = suggestSoaks(detectionInput(plan, answer.traffic, before), {
    rise,
    leastMs: analysis.initialDelayMs + (analysis.lagMs ?? 0) + (analysis.minMeasurements + 1) * analysis.intervalMs,
    plannedBatches: (each) => plannedBatches(each, analysis.intervalMs),
  });
  return { rise, steps, yaml: suggestedYaml(plan, { traffic: answer.traffic, rise, steps }) };
}

function suggestedYaml(
  plan: Plan,
  { traffic, rise, steps }: { traffic: PresentTraffic; rise: number; steps: readonly SuggestedStep[] },
): string {
  const lines = [
    `# Soaks with which a rise of ${rise} times is found with ${100 * PROBABILITY} % probability,`,
    `# with ${describeTraffic(traffic)}.`,
    ...traffic.metrics.flatMap(({ clustersNote }) => (clustersNote === null ? [] : `# ${safeText(clustersNote)}`)),
    'steps:',
  ];
  let weights = 0;
  for (const step of plan.steps) {
    const written = asWritten(step, step.kind === 'weight' ? steps[weights]?.soakMs : undefined);
    if (step.kind === 'weight') {
      const suggested = steps[weights];
      weights += 1;
      if (suggested !== undefined) lines.push(`  # ${remarkOn(suggested, step.soakMs, rise)}`);
    }
    if (written === null) continue;
    const [first = '', ...more] = stringify(written).trimEnd().split('\n');
    lines.push(`  - ${first}`, ...more.map((line) => `    ${line}`));
  }
  return `${lines.join('\n')}\n`;
}

function remarkOn({ soakMs, found, slowest }: SuggestedStep, was: number, rise: number): string {
  const before = soakMs === was ? 'as it was' : `${specDuration(was)} before`;
  switch (found) {
    case 'enough':
      return `${before}; ${safeText(slowest ?? '')} needs the longest`;
    case 'none':
      return `no soak within a day finds ${rise} times of ${safeText(slowest ?? '')} at this weight: left as it was`;
    case 'not-compared':
      return 'nothing is left to compare with: left as it was';
    default:
      return found satisfies never;
  }
}

/** A step as a release.yaml has it; null for those that every plan has by itself. */
function asWritten(step: PlanStep, soakMs: number | undefined): object | null {
  switch (step.kind) {
    case 'weight':
      return { weight: step.weight, soak: specDuration(soakMs ?? step.soakMs) };
    case 'match':
      return {
        match:
          step.match.kind === 'header'
            ? { header: step.match.value === null ? step.match.name : { [step.match.name]: step.match.value } }
            : { cookie: step.match.name },
      };
    case 'approve': {
      const by = step.by.length === 0 ? {} : { by: step.by };
      return { approve: { ...by, timeout: specDuration(step.timeoutMs), onExpiry: step.onExpiry } };
    }
    case 'deploy':
    case 'smokeTest':
    case 'promote':
    case 'cleanUp':
      return null;
  }
}

function describeTraffic({ requestsPerSecond, metrics }: PresentTraffic): string {
  const rate = `${formatCount(requestsPerSecond)} requests a second to the whole service`;
  const errors = metrics.filter(({ kind }) => kind === 'errors');
  const bases = errors.map(({ name, base }) => `${safeText(name)} ${formatPercent(base)}`);
  return bases.length === 0 ? rate : `${rate} and ${bases.join(', ')}`;
}
