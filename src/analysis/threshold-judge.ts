import { countOf } from './format';
import type { EvidenceFinding } from './gather-evidence';
import { judgeMetric, type JudgedMetric } from './judge-metric';
import { requestsOf } from './observed-share';
import type { Sample } from './sample';
import type { Judgement, JudgePolicy, JudgeState, MetricPolicy, ThresholdJudgeState, Verdict } from './verdict';

const NOTHING_SEEN: ThresholdJudgeState = {
  kind: 'threshold',
  measurements: 0,
  passed: 0,
  failed: 0,
  consecutiveErrors: 0,
  lastFailure: null,
};

/**
 * The first judge: fixed limits, and a comparison with stable. Pure and fail-closed: only a measurement whose every
 * metric has data and keeps its limits passes; no data, NaN and a broken backend never do, and never count as a
 * failure of the canary. Its limits as a statistical procedure are in docs/analysis.md.
 */
export function judge(
  policy: JudgePolicy,
  state: JudgeState | null,
  sample: Sample,
  findings: readonly EvidenceFinding[] = [],
): Judgement {
  const all = policy.metrics.map((metric) => {
    const named = <T extends { readonly name: string }>(list: readonly T[]): T | undefined =>
      list.find((each) => each.name === metric.name);
    return { metric, judged: judgeMetric(policy, metric, named(sample.metrics), named(findings)) };
  });
  const acted = all.filter(({ metric }) => metric.dryRun !== true);
  const { verdict, sentence } = judgeMeasurement(
    acted.map(({ judged }) => judged),
    sample,
  );
  const next = advance(state?.kind === 'threshold' ? state : NOTHING_SEEN, verdict, sentence);
  const isFinal = acted.some(
    ({ metric, judged }) => judged.proven || (metric.critical === true && judged.verdict.verdict === 'fail'),
  );
  const decision =
    isFinal || next.failed > policy.failureLimit
      ? 'fail'
      : next.consecutiveErrors > policy.consecutiveErrorLimit
        ? 'error'
        : 'continue';
  return {
    verdict,
    metrics: all.map(({ judged }) => judged.verdict),
    sentence,
    state: next,
    decision,
    ...judgeStep(policy, next, { decision, isFinal }, { verdict, sentence }),
    ...(findings.some(({ report }) => report.promotion !== undefined) ? { enough: isEnough(acted, findings) } : {}),
  };
}

/** Every metric that can prove the canary good enough has done so. */
function isEnough(acted: readonly { readonly metric: MetricPolicy }[], findings: readonly EvidenceFinding[]): boolean {
  const asked = findings.filter(
    ({ name, report }) => report.promotion !== undefined && acted.some(({ metric }) => metric.name === name),
  );
  return asked.length > 0 && asked.every(({ enough }) => enough);
}

interface Judged {
  readonly verdict: Verdict;
  readonly sentence: string;
}

/** The worst of its metrics, in this order. */
const WORST_FIRST = ['fail', 'error', 'insufficient-data', 'inconclusive'] as const;

function judgeMeasurement(metrics: readonly JudgedMetric[], sample: Sample): Judged {
  if (metrics.length === 0) return { verdict: 'inconclusive', sentence: 'No metric is analysed.' };
  const counted = metrics.filter((metric) => !isExcused(metric, metrics, sample));
  for (const verdict of WORST_FIRST) {
    const found = counted.filter((metric) => metric.verdict.verdict === verdict);
    if (found.length > 0) return { verdict, sentence: sentenceOf(found) };
  }
  if (counted.every((metric) => metric.heldAgainst === 'nothing')) {
    return { verdict: 'inconclusive', sentence: 'No metric has a limit, so there is nothing that could pass.' };
  }
  return { verdict: 'pass', sentence: sentenceOf(metrics) };
}

/** A sentence of the story, again and again: of more metrics, what the others say stands with each. */
const METRICS_TOLD = 5;

function sentenceOf(metrics: readonly JudgedMetric[]): string {
  const told = metrics.slice(0, METRICS_TOLD).map(({ verdict }) => verdict.sentence);
  const more = metrics.length - told.length;
  return [...told, ...(more > 0 ? [`And ${countOf(more, 'more metric')}.`] : [])].join(' ');
}

/**
 * At 100 % no stable traffic is left to compare with. A metric that has nothing but a comparison then cannot be judged;
 * it does not hold the release up as long as another metric kept a fixed limit. That holds only where stable has really
 * no requests, not where its numbers are missing.
 */
function isExcused(metric: JudgedMetric, metrics: readonly JudgedMetric[], sample: Sample): boolean {
  return (
    metric.verdict.verdict === 'inconclusive' &&
    metric.heldAgainst === 'comparison' &&
    stableIsIdle(sample) &&
    metrics.some((other) => other.verdict.verdict === 'pass' && other.heldAgainst === 'limit')
  );
}

/** Every metric that knows stable's requests says none, and at least one knows; or there is no stable track at all. */
function stableIsIdle(sample: Sample): boolean {
  if (sample.metrics.every((metric) => metric.stable === null)) return true;
  const known = sample.metrics.flatMap((metric) => requestsOf(metric.stable) ?? []);
  return known.length > 0 && known.every((requests) => requests === 0);
}

function advance(state: ThresholdJudgeState, verdict: Verdict, sentence: string): ThresholdJudgeState {
  const counts = {
    kind: 'threshold',
    measurements: state.measurements + 1,
    passed: state.passed + (verdict === 'pass' ? 1 : 0),
    failed: state.failed + (verdict === 'fail' ? 1 : 0),
    consecutiveErrors: verdict === 'error' ? state.consecutiveErrors + 1 : 0,
    lastFailure: verdict === 'fail' ? sentence : state.lastFailure,
  } as const;
  const lastValid = verdict === 'pass' || verdict === 'fail' ? verdict : state.lastValid;
  return lastValid === undefined ? counts : { ...counts, lastValid };
}

function judgeStep(
  policy: JudgePolicy,
  state: ThresholdJudgeState,
  { decision, isFinal }: { readonly decision: Judgement['decision']; readonly isFinal: boolean },
  now: Judged,
): { stepVerdict: Verdict; stepSentence: string } {
  const needed = Math.max(1, policy.minMeasurements);
  const step = (stepVerdict: Verdict, stepSentence: string): { stepVerdict: Verdict; stepSentence: string } => ({
    stepVerdict,
    stepSentence,
  });
  if (decision === 'fail' && isFinal) return step('fail', now.sentence);
  if (decision === 'fail') {
    const tolerated = policy.failureLimit === 0 ? '' : `, more than the tolerated ${policy.failureLimit}`;
    return step(
      'fail',
      `${countOf(state.failed, 'measurement')} failed${tolerated}: ${state.lastFailure ?? ''}`.trim(),
    );
  }
  if (decision === 'error') {
    const times = countOf(state.consecutiveErrors, 'measurement');
    return step('error', `${times} in a row could not be taken: ${now.sentence}`);
  }
  if (state.lastValid === 'fail') {
    return step(
      'inconclusive',
      `The last valid measurement failed, within the tolerated ${policy.failureLimit}: ${state.lastFailure ?? ''}`.trim(),
    );
  }
  const taken = `${state.passed} of ${countOf(state.measurements, 'measurement')} passed`;
  // Evidence that has dried up is none: a canary that fell silent after a good start, or a backend that went away, has
  // to be heard once more before the step may pass.
  if (state.passed >= needed && now.verdict === 'pass') {
    return step('pass', `${taken}, at least ${needed} had to. The last: ${now.sentence}`);
  }
  if (state.passed >= needed) return step(now.verdict, `${taken}, but not the last one: ${now.sentence}`);
  const because = now.verdict === 'pass' ? '' : ` ${now.sentence}`;
  const verdict = now.verdict === 'pass' ? 'insufficient-data' : now.verdict;
  return step(verdict, `${taken}, at least ${needed} must.${because}`);
}
