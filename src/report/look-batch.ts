import { formatCount, formatValue } from '../analysis/format';
import type { EvidenceReport, LookBatch } from '../analysis/gather-evidence';
import { date } from './elements';
import type { Part } from './html';

/** Above the cells of `batchCells`. */
export const BATCH_HEADINGS: readonly string[] = ['Counted from', 'Counted to', "Canary's batch", "Stable's batch"];

/** Something was asked at this look: a version that did not keep what, has nothing to show. */
export function hasBatch(evidence: EvidenceReport | undefined): boolean {
  return evidence?.asked !== undefined;
}

/** What one look alone asked and was answered, beside the sums that the evidence is told with. */
export function batchCells(evidence: EvidenceReport | undefined): readonly Part[] {
  if (evidence?.asked === undefined) return BATCH_HEADINGS.map(() => '');
  const { asked, batch } = evidence;
  const between = [asked.from === null ? 'the weight was set' : date(asked.from), date(asked.to)];
  if (batch === undefined) return [...between, 'nothing counted', ''];
  const { canary, stable, open } = batch;
  // The next look's batch begins where this one did: whoever adds batches up leaves it out.
  const kept = open === true ? ' (kept open for the next)' : '';
  return [...between, `${counts(batch, canary)}${kept}`, stable === null ? 'not asked' : counts(batch, stable)];
}

function counts({ boundary }: LookBatch, { bad, total }: LookBatch['canary']): string {
  const what = boundary === undefined ? 'bad' : `slower than ${formatValue(boundary, 'seconds')}`;
  return `${formatCount(bad)} of ${formatCount(total)} ${what}`;
}
