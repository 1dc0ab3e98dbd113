import { addPoints } from '../analysis/kayenta-course';
import { judgePoints, withoutComparison } from '../analysis/kayenta-report';
import type { MetricVerdict } from '../analysis/verdict';
import type { MeasureInput } from '../workflows/activity-types';
import type { Measurement } from '../workflows/api';

/** What Kayenta's judge says about this weight's looks with this one, where it is to be asked now. */
export function askKayenta(input: MeasureInput, look: readonly MetricVerdict[]): Pick<Measurement, 'kayenta'> {
  const { analysis, kayenta, weight, stableVersion } = input;
  const before = kayenta?.points ?? null;
  if (analysis.kayenta === undefined || before === null) return {};
  const points = addPoints(analysis.kayenta, before, look, analysis.minRequests);
  if (stableVersion === null) return { kayenta: withoutComparison(points, 'there is no stable track') };
  if (weight >= 100) return { kayenta: withoutComparison(points, 'all of the traffic goes to the new version') };
  return { kayenta: judgePoints(analysis.kayenta, points) };
}
