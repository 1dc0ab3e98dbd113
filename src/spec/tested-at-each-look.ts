import { isCounted } from './gathering-policy';
import type { AnalysisPlan, MetricPlan } from './plan-types';

/** Whether a metric is compared with stable by a test at each look: a ratio whose events are known, and not gathered. */
export function isTestedAtEachLook({ compare, evidence = null }: AnalysisPlan, metric: MetricPlan): boolean {
  const { unit, query } = metric;
  const knowsItsEvents = query.kind === 'ratio' || query.kind === 'builtin';
  return compare !== null && unit === 'ratio' && knowsItsEvents && !(evidence !== null && isCounted(metric));
}

/** What becomes of a ratio whose events cannot be counted, as a sentence. */
export function testedAtEachLook(name: string, alpha: number): string {
  return (
    `the events of ${name} cannot be counted from its query, so it is compared with stable at each look anew, ` +
    `with the whole alpha (${alpha}) each time: the longer a soak, the more healthy versions fail by chance.`
  );
}

/** What to do about it. */
export const COUNTABLE =
  'Better: sum(increase(SERIES{…}[{{window}}])) and nothing around it, as numerator and as denominator; ' +
  'or the counters themselves, as bad and total.';
