import type { EvidenceReport } from './gather-evidence';

/** What a look counted at the boundary that is shown alone, where there is no room for all boundaries. */
export function withoutHistogram(report: EvidenceReport): EvidenceReport {
  if (report.batch?.histogram === undefined) return report;
  const { histogram: _histogram, ...batch } = report.batch;
  return { ...report, batch };
}
