import type { ArmCounts } from '../analysis/event-evidence';
import type { MetricVerdict } from '../analysis/verdict';

/** What the evidence judge says of one metric at one look. */
export interface EvidencePoint {
  readonly logEvidence: number;
  /** ln E at which the metric fails. */
  readonly limit: number;
  readonly canary: ArmCounts;
  readonly stable: ArmCounts;
}

/** The evidence of a metric; null where none was gathered, and in a document of an older worker. */
export function evidenceOf(metric: MetricVerdict): EvidencePoint | null {
  const evidence: unknown = Reflect.get(metric, 'evidence');
  return isEvidence(evidence) ? evidence : null;
}

function isEvidence(value: unknown): value is EvidencePoint {
  if (typeof value !== 'object' || value === null) return false;
  const isArm = (arm: unknown): boolean =>
    typeof arm === 'object' &&
    arm !== null &&
    Number.isFinite(Reflect.get(arm, 'bad')) &&
    Number.isFinite(Reflect.get(arm, 'total'));
  return (
    Number.isFinite(Reflect.get(value, 'logEvidence')) &&
    Number.isFinite(Reflect.get(value, 'limit')) &&
    isArm(Reflect.get(value, 'canary')) &&
    isArm(Reflect.get(value, 'stable'))
  );
}
