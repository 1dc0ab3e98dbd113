import { commonLanguageEffect, meanRatio } from './effect-size';
import { countOf } from './format';
import type {
  KayentaClassification,
  KayentaMetric,
  KayentaMetricResult,
  KayentaPolicy,
  KayentaResult,
  KayentaSeries,
} from './kayenta-policy';
import { withoutOutliers } from './outliers';
import { rankSumShift } from './rank-sum';
import type { IntervalMethod, Shift } from './rank-sum';

/** Kayenta's own constants (NetflixACAJudge-v1.0). */
const CONFIDENCE = 0.98;
const TOLERANCE = 0.25;
const NODATA_PERCENT = 50;
/** Below it, values that merely lie apart are High to Kayenta, although chance alone puts 4 and 4 apart in 1 of 35 cases. */
export const MIN_POINTS = 5;
/** Differences and sums of what is larger are no numbers any more. */
const LARGEST = 1e300;

/**
 * Judges as Kayenta's NetflixACAJudge-v1.0, except where docs/analysis.md says that it is not followed. A metric
 * without a series has no data.
 */
export function judgeAsKayenta(
  policy: KayentaPolicy,
  series: ReadonlyMap<string, KayentaSeries>,
  method: IntervalMethod = 'normal',
): KayentaResult {
  const metrics = policy.metrics.map((metric) =>
    classify(metric, series.get(metric.name) ?? { control: [], experiment: [] }, method),
  );
  return scoreAsKayenta(policy, metrics);
}

/** What the classified metrics come to together; they are those of the policy, in its order. */
export function scoreAsKayenta(policy: KayentaPolicy, metrics: readonly KayentaMetricResult[]): KayentaResult {
  const counted = metrics.filter((_, index) => policy.metrics[index]?.muted !== true);
  const groups = scoreGroups(policy, metrics);
  const { score, reason } = scoreAll(policy, groups, counted);
  const { pass, marginal } = policy.scoreThresholds;
  const classification = score >= pass ? 'Pass' : score >= marginal ? 'Marginal' : 'Fail';
  const sentence = `Score ${score} of 100: ${classification}, as ${pass} passes and ${marginal} is marginal${reason}.`;
  return { metrics, groups: Object.fromEntries(groups), score, classification, sentence };
}

function classify(metric: KayentaMetric, series: KayentaSeries, method: IntervalMethod): KayentaMetricResult {
  const result = (classification: KayentaClassification, sentence: string, critical = false): KayentaMetricResult => ({
    name: metric.name,
    classification,
    criticalFailure: critical,
    sentence: `${metric.name}: ${sentence}.`,
  });
  const control = prepare(metric, series.control);
  const experiment = prepare(metric, series.experiment);
  if ([...control, ...experiment].some((value) => !(Math.abs(value) <= LARGEST))) {
    return result('Error', `a value beyond ${LARGEST} cannot be compared`, metric.critical);
  }
  if (control.length < MIN_POINTS || experiment.length < MIN_POINTS) {
    const had = `the experiment has ${countOf(experiment.length, 'value')}, the control ${control.length}`;
    const kind = metric.mustHaveData && !metric.critical ? 'NodataFailMetric' : 'Nodata';
    return result(kind, `${had}; ${MIN_POINTS} each are needed`, metric.critical);
  }
  const shift = rankSumShift(experiment, control, { confidence: CONFIDENCE, method });
  const effect = measure(metric, experiment, control);
  const tolerated = TOLERANCE * Math.abs(shift.estimate);
  const { direction, effectSize } = metric;
  // An effect that cannot be measured, the ratio to a mean of 0 or less, holds nothing back.
  const high = shift.lower > tolerated && !(effect < effectSize.allowedIncrease);
  const low = shift.upper < -tolerated && !(effect > effectSize.allowedDecrease);
  const sentence = describe(metric, shift, effect);
  if (high && direction !== 'decrease') {
    return result('High', sentence, metric.critical && !(effect < effectSize.criticalIncrease));
  }
  if (low && direction !== 'increase') {
    return result('Low', sentence, metric.critical && !(effect > effectSize.criticalDecrease));
  }
  return result('Pass', sentence);
}

function prepare(metric: KayentaMetric, values: readonly number[]): readonly number[] {
  // What was never measured is not 0: zeros that stand for nothing else would be values enough, and would pass.
  if (values.every((value) => Number.isNaN(value))) return [];
  const numbers =
    metric.nanStrategy === 'remove'
      ? values.filter((value) => !Number.isNaN(value))
      : values.map((value) => (Number.isNaN(value) ? 0 : value));
  return metric.outliers.strategy === 'remove' ? withoutOutliers(numbers, metric.outliers.factor) : numbers;
}

function measure({ effectSize }: KayentaMetric, experiment: readonly number[], control: readonly number[]): number {
  switch (effectSize.measure) {
    case 'meanRatio':
      return meanRatio(experiment, control);
    case 'cles':
      return commonLanguageEffect(experiment, control);
    default:
      return effectSize.measure satisfies never;
  }
}

/** Percent of passed metrics by group, in the order in which the config names the groups. */
function scoreGroups(policy: KayentaPolicy, results: readonly KayentaMetricResult[]): ReadonlyMap<string, number> {
  const counts = new Map<string, { passed: number; all: number }>();
  for (const [index, { groups, muted }] of policy.metrics.entries()) {
    if (muted) continue;
    for (const group of groups) {
      const { passed, all } = counts.get(group) ?? { passed: 0, all: 0 };
      counts.set(group, { passed: passed + (results[index]?.classification === 'Pass' ? 1 : 0), all: all + 1 });
    }
  }
  return new Map([...counts].map(([group, { passed, all }]) => [group, (passed / all) * 100]));
}

function scoreAll(
  policy: KayentaPolicy,
  groups: ReadonlyMap<string, number>,
  counted: readonly KayentaMetricResult[],
): { readonly score: number; readonly reason: string } {
  const critical = counted.find(({ criticalFailure }) => criticalFailure);
  if (critical !== undefined) return { score: 0, reason: `; ${critical.name} is critical and did not pass` };
  const nodata = counted.filter(({ classification }) => classification === 'Nodata').length;
  if (counted.length === 0) return { score: 0, reason: '; no metric counts' };
  if ((nodata / counted.length) * 100 >= NODATA_PERCENT) {
    return { score: 0, reason: `; ${nodata} of ${countOf(counted.length, 'metric')} had no data` };
  }
  const weights = new Map(Object.entries(policy.groupWeights));
  const unweighted = [...groups.keys()].filter((group) => !weights.has(group));
  const share = (100 - [...weights.values()].reduce((sum, weight) => sum + weight, 0)) / unweighted.length;
  let score = 0;
  for (const [group, passed] of groups) score += passed * ((weights.get(group) ?? share) / 100);
  return { score: Math.round(score * 100) / 100, reason: '' };
}

function describe(metric: KayentaMetric, shift: Shift, effect: number): string {
  const interval = `98 % interval ${short(shift.lower)} to ${short(shift.upper)}`;
  const tolerated = `tolerated are ${short(TOLERANCE * Math.abs(shift.estimate))} either way`;
  const by = `the experiment is ${short(Math.abs(shift.estimate))} ${shift.estimate < 0 ? 'lower' : 'higher'}`;
  const size = Number.isNaN(effect) ? '' : `, ${metric.effectSize.measure} ${short(effect)}`;
  return `${by} (${interval}; ${tolerated})${size}`;
}

function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}
