import type { Outcome } from '../workflows/api';
import type { ReleaseSummary } from './client-types';

const OUTCOME_WORDS: Record<Outcome, string> = {
  promoted: 'was promoted',
  cleanedUp: 'cleaned a track up',
  rolledBack: 'was rolled back',
  aborted: 'was rolled back by a person',
  rejected: 'was rejected',
  superseded: 'made way for a newer one',
  failed: 'failed',
};

/** How a release ended, in the words of a sentence about it. */
export function outcomeWords({ outcome, refused }: Pick<ReleaseSummary, 'outcome' | 'refused'>): string {
  if (refused === true) return 'was refused before anything was changed';
  return outcome === null ? 'has ended' : OUTCOME_WORDS[outcome];
}
