import { compareRatios } from './compare-ratios';
import { countOf, formatAgainst, formatLimit, formatPart, formatProbability, formatValue } from './format';
import type { EvidenceFinding } from './gather-evidence';
import { requestsOf } from './observed-share';
import type { MetricSample, Observation } from './sample';
import { higherIsBetter } from './verdict';
import type { JudgePolicy, MetricPolicy, MetricVerdict, Verdict } from './verdict';

/** One metric of one measurement, judged. */
export interface JudgedMetric {
  readonly verdict: MetricVerdict;
  /** What the value was really held against: a fixed limit, only a comparison with stable, or nothing. */
  readonly heldAgainst: 'limit' | 'comparison' | 'nothing';
  /** The evidence of all batches has proven it: nothing that is tolerated at a look changes that. */
  readonly proven: boolean;
}

/** The outcome of one rule. */
type Check =
  | { readonly outcome: 'passed' }
  | { readonly outcome: 'failed'; readonly clause: string }
  | { readonly outcome: 'impossible'; readonly why: string }
  | { readonly outcome: 'insufficient'; readonly why: string }
  | { readonly outcome: 'error'; readonly why: string };

/**
 * Holds one metric's sample against its limits, and asks what the evidence of all batches says, where there is some;
 * never passes on a value that is not there.
 */
export function judgeMetric(
  policy: JudgePolicy,
  metric: MetricPolicy,
  sample: MetricSample | undefined,
  finding?: EvidenceFinding,
): JudgedMetric {
  const judged = (
    verdict: Verdict,
    sentence: string,
    heldAgainst: JudgedMetric['heldAgainst'],
    proven = false,
  ): JudgedMetric => ({
    verdict: {
      name: metric.name,
      unit: metric.unit,
      verdict,
      canary: finiteOrNull(sample?.canary.value),
      stable: finiteOrNull(sample?.stable?.value),
      canaryRequests: requestsOf(sample?.canary ?? null),
      stableRequests: requestsOf(sample?.stable ?? null),
      limit: describeLimits(policy, metric, { sample, finding }),
      sentence,
      query: sample?.canary.query ?? '',
      ...stableQueryOf(sample),
      ...(finding === undefined ? {} : { evidence: finding.report }),
      ...(metric.dryRun === true ? { dryRun: true } : {}),
      ...(metric.note === undefined ? {} : { note: metric.note }),
    },
    heldAgainst,
    proven,
  });

  const proven = finding?.outcome.kind === 'proven' ? finding.outcome.clause : null;
  // However few requests this one look saw: the evidence is of all of them.
  const withoutValue = (verdict: Verdict, sentence: string): JudgedMetric =>
    proven === null
      ? judged(verdict, sentence, 'nothing')
      : judged('fail', `${metric.name}: ${proven}.`, 'comparison', true);
  if (sample === undefined) return withoutValue('error', `${metric.name}: the metric source left it out.`);
  const unusable = whyUnusable(policy, metric, sample.canary);
  if (unusable !== null) return withoutValue(unusable.verdict, unusable.sentence);

  const value = sample.canary.value ?? Number.NaN; // whyUnusable has refused everything but a finite value
  const limits = checkLimits(metric, value);
  const comparisons = checkComparisons(policy, metric, { sample, value, finding });
  const checks = [...limits, ...comparisons];
  const subject = describeSubject(metric, sample.canary, value);
  const beside = describeStable(metric, sample.stable);

  const failed = checks.flatMap((check) => (check.outcome === 'failed' ? [check.clause] : []));
  if (failed.length > 0) {
    const heldAgainst = limits.length > 0 ? 'limit' : 'comparison';
    return judged('fail', `${subject}, ${failed.join(' and ')}${beside}.`, heldAgainst, proven !== null);
  }
  const broken = checks.find((check) => check.outcome === 'error');
  if (broken?.outcome === 'error') {
    return judged('error', `${metric.name}: cannot be compared with stable: ${broken.why}.`, 'nothing');
  }
  if (checks.length === 0) return judged('pass', `${subject}; it has no limit${beside}.`, 'nothing');
  const insufficient = checks.find((check) => check.outcome === 'insufficient');
  if (insufficient?.outcome === 'insufficient') {
    const why = `not compared with stable yet: ${clause(insufficient.why)}`;
    return judged('insufficient-data', `${subject}; ${why}.`, 'nothing');
  }
  const impossible = checks.find((check) => check.outcome === 'impossible');
  const notCompared = impossible?.outcome === 'impossible' ? impossible.why : null;
  if (notCompared !== null && !checks.some((check) => check.outcome === 'passed')) {
    return judged('inconclusive', `${subject}; it cannot be compared: ${notCompared}.`, 'comparison');
  }
  const ending = notCompared === null ? beside : `; not compared: ${notCompared}`;
  return judged('pass', `${subject}, within the limits${ending}.`, limits.length > 0 ? 'limit' : 'comparison');
}

function whyUnusable(
  policy: JudgePolicy,
  metric: MetricPolicy,
  canary: Observation,
): { verdict: 'error' | 'insufficient-data'; sentence: string } | null {
  const { problem, value } = canary;
  if (problem?.kind === 'error') {
    return { verdict: 'error', sentence: `${metric.name}: could not be measured: ${clause(problem.message)}.` };
  }
  const requests = requestsOf(canary);
  if (problem === undefined && requests !== null && requests < policy.minRequests) {
    return {
      verdict: 'insufficient-data',
      sentence: `${metric.name}: the canary had ${countOf(requests, 'request')}, fewer than the ${policy.minRequests} a verdict needs.`,
    };
  }
  if (problem === undefined && value !== null && Number.isFinite(value) && countsAreSane(canary)) {
    if (metric.unit === 'count' || value >= -ROUNDING) return null;
    const whose = metric.unit === 'ratio' ? 'no share of events is' : 'no time is';
    return {
      verdict: 'error',
      sentence: `${metric.name}: the canary's value is ${value}, and ${whose} below 0; a difference of counters falls when one is reset, which increase() reckons with.`,
    };
  }
  const why = problem?.message ?? (value === null ? 'there is no value' : 'the value is not a number');
  return { verdict: 'insufficient-data', sentence: `${metric.name}: no data for the canary: ${clause(why)}.` };
}

/** What rounding leaves of a difference of equals. Less than that is nonsense, which would keep any upper limit. */
const ROUNDING = 1e-9;

function countsAreSane({ events, requests }: Observation): boolean {
  const counts = [events?.bad ?? 0, events?.total ?? 0, requests ?? 0];
  return counts.every((count) => Number.isFinite(count) && count >= 0);
}

function checkLimits(metric: MetricPolicy, value: number): Check[] {
  const checks: Check[] = [];
  if (metric.max !== null) {
    const clause = `more than the allowed ${formatLimit(metric.max, metric.unit)}`;
    checks.push(value <= metric.max ? { outcome: 'passed' } : { outcome: 'failed', clause });
  }
  if (metric.min !== null) {
    const clause = `less than the required ${formatLimit(metric.min, metric.unit)}`;
    checks.push(value >= metric.min ? { outcome: 'passed' } : { outcome: 'failed', clause });
  }
  return checks;
}

interface Looked {
  readonly sample: MetricSample;
  readonly value: number;
  readonly finding: EvidenceFinding | undefined;
}

function checkComparisons(policy: JudgePolicy, metric: MetricPolicy, { sample, value, finding }: Looked): Check[] {
  const checks: Check[] = [];
  if (metric.maxRatio !== null) checks.push(checkRatio(policy, metric.maxRatio, sample, value));
  if (finding !== undefined) checks.push(checkEvidence(sample, finding));
  else if (comparesEvents(policy, metric, sample)) checks.push(checkEvents(policy, metric, sample));
  return checks;
}

/** The verdict of the evidence as one of the rules. */
function checkEvidence({ stable }: MetricSample, { outcome }: EvidenceFinding): Check {
  switch (outcome.kind) {
    case 'proven':
      return { outcome: 'failed', clause: outcome.clause };
    case 'error':
      return { outcome: 'error', why: clause(outcome.why) };
    case 'impossible':
      return { outcome: 'impossible', why: outcome.why };
    case 'insufficient':
      // A stable track without requests is never compared with: waiting would not help.
      return stableMissing(stable) ?? { outcome: 'insufficient', why: outcome.why };
    case 'kept':
      return stableMissing(stable) ?? { outcome: 'passed' };
    default:
      return outcome satisfies never;
  }
}

/** The significance test is for event metrics: those that count bad requests of all requests. */
function comparesEvents(policy: JudgePolicy, metric: MetricPolicy, sample: MetricSample | undefined): boolean {
  return policy.compare !== null && metric.unit === 'ratio' && sample?.canary.events !== undefined;
}

/** Why stable is nothing to compare with; null when it is. */
function stableMissing(stable: Observation | null): Check | null {
  if (stable === null) return { outcome: 'impossible', why: 'there is no stable track' };
  if (stable.problem?.kind === 'error') return { outcome: 'error', why: clause(stable.problem.message) };
  if (requestsOf(stable) === 0) return { outcome: 'impossible', why: 'stable had no requests' };
  if (stable.problem !== undefined || finiteOrNull(stable.value) === null || !countsAreSane(stable)) {
    return { outcome: 'impossible', why: `stable has no data (${clause(stable.problem?.message ?? 'no value')})` };
  }
  return null;
}

function tooFewAtStable(policy: JudgePolicy, stable: Observation | null): Check | null {
  const requests = requestsOf(stable);
  if (requests === null || requests >= policy.minRequests) return null;
  return {
    outcome: 'impossible',
    why: `stable had ${countOf(requests, 'request')}, fewer than ${policy.minRequests}`,
  };
}

function checkRatio(policy: JudgePolicy, maxRatio: number, sample: MetricSample, value: number): Check {
  const stable = sample.stable;
  const missing = stableMissing(stable) ?? tooFewAtStable(policy, stable);
  if (missing !== null || stable === null) return missing ?? { outcome: 'impossible', why: 'there is no stable track' };
  let base = stable.value ?? 0;
  if (base === 0 && value === 0) return { outcome: 'passed' };
  // Any multiple of nothing is nothing: a stable track without a bad event is taken to have had one.
  if (base === 0 && stable.events !== undefined) base = 1 / stable.events.total;
  if (base <= 0) return { outcome: 'impossible', why: 'stable is at 0, of which there are no multiples' };
  if (value <= maxRatio * base) return { outcome: 'passed' };
  return { outcome: 'failed', clause: `more than ${formatLimit(maxRatio, 'count')} times stable's` };
}

function checkEvents(policy: JudgePolicy, metric: MetricPolicy, sample: MetricSample): Check {
  const missing = stableMissing(sample.stable);
  if (missing !== null) return missing;
  const canary = sample.canary.events;
  const stable = sample.stable?.events;
  const compare = policy.compare;
  if (canary === undefined || stable === undefined || compare === null) {
    return { outcome: 'impossible', why: 'stable has no counts' };
  }
  if (!(canary.total > 0)) return { outcome: 'impossible', why: 'the canary had no requests' };
  const badOf = (events: { bad: number; total: number }): { bad: number; total: number } =>
    higherIsBetter(metric) ? { bad: Math.max(0, events.total - events.bad), total: events.total } : events;
  const { exceeds, p } = compareRatios(badOf(canary), badOf(stable), compare.tolerate);
  if (exceeds && p < compare.alpha) {
    const times = compare.tolerate === 1 ? '' : `${formatLimit(compare.tolerate, 'count')} times `;
    const than = higherIsBetter(metric) ? `with more than ${times}stable's rest` : `more than ${times}stable's`;
    const chance = `p = ${formatProbability(p)}, below ${formatLimit(compare.alpha, 'count')}`;
    return { outcome: 'failed', clause: `${than} by more than chance explains (${chance})` };
  }
  return tooFewAtStable(policy, sample.stable) ?? { outcome: 'passed' };
}

function describeLimits(
  policy: JudgePolicy,
  metric: MetricPolicy,
  { sample, finding }: { readonly sample: MetricSample | undefined; readonly finding: EvidenceFinding | undefined },
): string {
  const parts: string[] = [];
  if (metric.max !== null) parts.push(`max ${formatLimit(metric.max, metric.unit)}`);
  if (metric.min !== null) parts.push(`min ${formatLimit(metric.min, metric.unit)}`);
  if (metric.maxRatio !== null) parts.push(`at most ${formatLimit(metric.maxRatio, 'count')} times stable`);
  if (finding?.report.objective !== undefined) {
    const { share, slowerThan } = finding.report.objective;
    const slower = slowerThan === undefined ? '' : ` slower than ${formatLimit(slowerThan, 'seconds')}`;
    parts.push(`objective ${formatLimit(share, 'ratio')}${slower}`);
  }
  if (finding !== undefined) parts.push('must not be proven worse than stable');
  else if (policy.compare !== null && comparesEvents(policy, metric, sample)) {
    const { alpha, tolerate } = policy.compare;
    parts.push(`not above ${formatLimit(tolerate, 'count')} times stable at alpha ${formatLimit(alpha, 'count')}`);
  }
  return parts.join(', ');
}

function describeSubject(metric: MetricPolicy, canary: Observation, value: number): string {
  const limit = [metric.max, metric.min].find((each) => each !== null && each !== value) ?? null;
  const text = limit === null ? formatValue(value, metric.unit) : formatAgainst(value, limit, metric.unit);
  if (canary.events === undefined) {
    const requests = requestsOf(canary);
    const over = requests === null || metric.unit === 'count' ? '' : ` over ${countOf(requests, 'canary request')}`;
    return `${metric.name} ${text}${over}`;
  }
  const counts = formatPart(canary.events.bad, canary.events.total, 'canary request');
  return countsFailures(metric) ? `${counts} failed (${text})` : `${metric.name} ${text} (${counts})`;
}

/** `; stable: 3 of 2120 (0.1 %)`, or nothing where stable has no value. */
function describeStable(metric: MetricPolicy, stable: Observation | null): string {
  const value = finiteOrNull(stable?.value);
  if (stable === null || value === null || stable.problem !== undefined || !countsAreSane(stable)) return '';
  const text = formatValue(value, metric.unit);
  if (stable.events === undefined) return `; stable: ${text}`;
  return `; stable: ${formatPart(stable.events.bad, stable.events.total)} (${text})`;
}

function countsFailures(metric: MetricPolicy): boolean {
  return /error|fail/i.test(metric.name) && !higherIsBetter(metric);
}

/** Nothing where stable was not asked, or by the very words that the canary was. */
function stableQueryOf(sample: MetricSample | undefined): Pick<MetricVerdict, 'stableQuery'> {
  const stableQuery = sample?.stable?.query ?? '';
  return stableQuery === '' || stableQuery === sample?.canary.query ? {} : { stableQuery };
}

function finiteOrNull(value: number | null | undefined): number | null {
  return value === null || value === undefined || !Number.isFinite(value) ? null : value;
}

/** A sentence as a clause: without its full stop. */
function clause(sentence: string): string {
  return sentence.replace(/[.\s]+$/, '');
}
