import type { SampleRequest } from '../metrics/metric-source';
import { formatDuration } from '../spec/units';
import type { MeasureInput } from '../workflows/activity-types';

/** What time it is by Temporal's clock, and who is told what time it is by the source's. */
export type Clock = Required<Pick<SampleRequest, 'present' | 'onClock'>>;

/**
 * The moment that a look asks sources about. Samples that are late have arrived by then: what is asked about the look
 * itself would be a part of it, and what comes later would be in no batch.
 */
export function askedMoment({ at, analysis }: Pick<MeasureInput, 'at' | 'analysis'>): number {
  return at - (analysis.lagMs ?? 0);
}

/** Why that moment has nothing to tell of the weight, as a clause. */
export function nothingSeen({ analysis: { lagMs = 0 } }: Pick<MeasureInput, 'analysis'>): string {
  const late = lagMs > 0 ? `, and a look sees no further than to ${formatDuration(lagMs)} before it` : '';
  return `nothing that counts has been seen since the weight changed${late}`;
}
