import { countOf } from './format';
import type { KayentaPoints, KayentaReport } from './kayenta-course';
import { judgeAsKayenta, scoreAsKayenta } from './kayenta-judge';
import type { KayentaClassification, KayentaMetricResult, KayentaPolicy, KayentaResult } from './kayenta-policy';
import type { Verdict } from './verdict';

/** Asks the judge about all points of a weight. */
export function judgePoints(policy: KayentaPolicy, points: readonly KayentaPoints[]): KayentaReport {
  const numbers = (values: readonly (number | null)[]): number[] => values.map((value) => value ?? Number.NaN);
  const series = new Map(
    points.map(({ name, canary, stable }) => [name, { control: numbers(stable), experiment: numbers(canary) }]),
  );
  const { sentence, ...result } = judgeAsKayenta(policy, series);
  const verdict = verdictOf(policy, result);
  const counted = result.metrics.filter((_, index) => policy.metrics[index]?.muted !== true);
  const about = verdict === 'insufficient-data' ? counted.filter(isMissing) : counted.filter(hasNotPassed);
  const because = verdict === 'pass' ? [] : about.map((metric) => metric.sentence);
  return {
    verdict,
    sentence: [`By Kayenta's judge, of ${countOf(looksIn(points), 'look')}: ${sentence}`, ...because].join(' '),
    looks: looksIn(points),
    result,
  };
}

/** Where nothing is left to compare with, as at 100 %. */
export function withoutComparison(points: readonly KayentaPoints[], why: string): KayentaReport {
  const sentence = `Kayenta's judge was not asked: ${why}.`;
  return { verdict: 'inconclusive', sentence, looks: looksIn(points), result: null };
}

function looksIn([first]: readonly KayentaPoints[]): number {
  return first?.canary.length ?? 0;
}

/**
 * What is missing is never held against the canary: it fails where it would have failed with whatever the metrics
 * without data had shown.
 */
function verdictOf(
  policy: KayentaPolicy,
  { metrics, classification }: Pick<KayentaResult, 'metrics' | 'classification'>,
): Verdict {
  if (classification === 'Pass') return 'pass';
  const isLacking = metrics.some((metric, index) => policy.metrics[index]?.muted !== true && isMissing(metric));
  if (!isLacking) return classification === 'Fail' ? 'fail' : 'inconclusive';
  const atBest = metrics.map((metric): KayentaMetricResult =>
    isMissing(metric) ? { ...metric, classification: 'Pass', criticalFailure: false } : metric,
  );
  return scoreAsKayenta(policy, atBest).classification === 'Fail' ? 'fail' : 'insufficient-data';
}

const MISSING: readonly KayentaClassification[] = ['Nodata', 'NodataFailMetric', 'Error'];

function isMissing({ classification }: KayentaMetricResult): boolean {
  return MISSING.includes(classification);
}

function hasNotPassed({ classification }: KayentaMetricResult): boolean {
  return classification !== 'Pass';
}
