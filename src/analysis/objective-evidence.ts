import type { ArmCounts } from './event-evidence';
import { logMeanExp } from './log-space';

/**
 * Evidence against an absolute objective, "at most a share p0 of the canary's requests is bad": the one bet that is
 * left at 100 %, where no stable traffic remains to compare with. E is the mean over multipliers m of
 * m^x ((1 - m p0)/(1 - p0))^(n - x), and ever reaches 1/alpha with a chance of at most alpha while the objective holds.
 */
export interface ObjectiveDesign {
  /** p0, between 0 and 1, both excluded. */
  readonly objective: number;
  /** As for the comparison with stable: the evidence of each batch is divided by it. */
  readonly clusters: number;
}

/** ln E of each multiplier so far; empty before the first batch. */
export interface ObjectiveEvidence {
  readonly logs: readonly number[];
}

export const NO_OBJECTIVE_EVIDENCE: ObjectiveEvidence = { logs: [] };

const MULTIPLIERS: readonly number[] = [1.5, 2, 3, 5, 10, 20, 50];

export function addObjectiveEvidence(
  design: ObjectiveDesign,
  evidence: ObjectiveEvidence,
  { bad, total }: ArmCounts,
): ObjectiveEvidence {
  const { objective, clusters } = design;
  const logs = alternativeShares(objective).map((share, index) => {
    const atBad = bad * Math.log(share / objective);
    const atGood = (total - bad) * (Math.log1p(-share) - Math.log1p(-objective));
    return (evidence.logs[index] ?? 0) + (atBad + atGood) / clusters;
  });
  return { logs };
}

export function logObjectiveEvidence(evidence: ObjectiveEvidence): number {
  return evidence.logs.length === 0 ? 0 : logMeanExp(evidence.logs);
}

/** m p0 where that is a share; an objective above two thirds leaves none, and then the middle between it and 1 is bet on. */
function alternativeShares(objective: number): readonly number[] {
  const shares = MULTIPLIERS.map((multiplier) => multiplier * objective).filter((share) => share < 1);
  return shares.length > 0 ? shares : [(1 + objective) / 2];
}
