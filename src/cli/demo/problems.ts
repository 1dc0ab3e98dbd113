import type { Outcome, ReleaseStatus } from '../../workflows/api';
import type { LoadCounts } from './load';

/** How a release ended. */
export type DemoEnd = Pick<ReleaseStatus, 'outcome' | 'message'>;

/**
 * What went otherwise than the demo promises: v2 promoted, v3 rolled back, and no error for a user of the stable
 * version. None: it went as it should. `v3` is null where it was never released, because v2 was not promoted.
 */
export function problemsOf(v2: DemoEnd, v3: DemoEnd | null, counts: LoadCounts): string[] {
  const problems: string[] = [];
  if (v2.outcome !== 'promoted') problems.push(`v2 ${describeOutcome(v2)} instead of promoted`);
  else if (v3 === null) problems.push('v3 was never released');
  if (v3 !== null && v3.outcome !== 'rolledBack') problems.push(`v3 ${describeOutcome(v3)} instead of rolled back`);
  return [...problems, ...stableProblems(counts)];
}

function describeOutcome({ outcome, message }: DemoEnd): string {
  const words: Record<Outcome, string> = {
    promoted: 'was promoted',
    cleanedUp: 'was cleaned up',
    rolledBack: 'was rolled back',
    aborted: 'was aborted',
    rejected: 'was rejected',
    superseded: 'was superseded',
    failed: 'failed',
  };
  return `${outcome === null ? 'has not ended' : words[outcome]} (${message})`;
}

/** What a user of the stable version had to suffer. */
function stableProblems({ stable, unanswered }: LoadCounts): string[] {
  if (stable.answers === 0) return ['no stable user was ever served, so nothing was shown'];
  return [
    ...(stable.errors > 0 ? [`${stable.errors} of ${stable.answers} answers to stable users were errors`] : []),
    ...(unanswered > 0 ? [`${unanswered} requests got no answer`] : []),
  ];
}
