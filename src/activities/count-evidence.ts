import type { Counted } from '../analysis/counts';
import { countedOf, cursorsOf, gatherEvidence } from '../analysis/gather-evidence';
import type { EvidenceFinding, EvidenceState, GatheringLook } from '../analysis/gather-evidence';
import type { CountRequest, MetricSource } from '../metrics/metric-source';
import { gatheringPolicy, isCountedAt } from '../spec/gathering-policy';
import type { MetricPlan } from '../spec/plan-types';
import type { Reassertion } from '../targets/target';
import type { MeasureInput } from '../workflows/activity-types';
import { askedMoment, nothingSeen } from './asked-moment';
import type { Clock } from './asked-moment';
import { inTime, limitedTo } from './in-time';
import { settingProblem } from './setting-problem';

/** What a look adds to the evidence of the release. */
export interface Gathered {
  readonly state: EvidenceState;
  readonly findings: readonly EvidenceFinding[];
}

const NOTHING_SINCE_RESUMED = 'nothing that came after the resume has been seen yet';

/**
 * Counts what happened since the last look, and judges all of it; null where no evidence is gathered. Never throws for
 * a backend's fault, and answers in time: what was counted so far is kept then, and this look is an `error`.
 */
export async function countEvidence(
  source: () => MetricSource,
  input: MeasureInput,
  {
    budgetMs,
    signal,
    tracks,
    clock,
  }: { budgetMs: number; signal: AbortSignal; tracks: Reassertion['tracks']; clock: Clock },
): Promise<Gathered | null> {
  const policy = gatheringPolicy(input.analysis);
  if (policy === null) return null;
  const { subject, weight, analysis } = input;
  const at = askedMoment(input);
  const since = input.since + analysis.initialDelayMs;
  const alone = subject === 'canary' && (weight >= 100 || input.stableVersion === null);
  const look: GatheringLook = { subject, since, alone };
  const before = input.evidence ?? null;
  const wanted = analysis.metrics.filter((metric) => isCountedAt(metric, { alone }));
  const gather = (counted: readonly Counted[]): Gathered => gatherEvidence(policy, before, look, counted);
  if (before?.forgottenAt !== undefined && at < before.forgottenAt) {
    // What came before the resume is not to be counted, and nothing else has been seen yet.
    const { state, findings } = gather(without(wanted, 'no-data', NOTHING_SINCE_RESUMED));
    return { state: { ...state, forgottenAt: before.forgottenAt }, findings };
  }
  if (wanted.length === 0) return gather([]);
  if (at <= since) return gather(without(wanted, 'no-data', nothingSeen(input)));
  const limited = limitedTo(budgetMs, signal);
  const counted = await inTime(
    ask(source, {
      service: input.service,
      namespace: input.namespace,
      versions: { canary: input.version, stable: input.stableVersion ?? '' },
      ...(tracks === undefined ? {} : { tracks }),
      metrics: wanted,
      at,
      ...clock,
      weight,
      subject,
      since,
      cursors: cursorsOf(before, look),
      counted: countedOf(before),
      alone,
      signal: limited,
    }),
    limited,
  );
  return gather(counted ?? without(wanted, 'error', 'the metric source did not answer in time'));
}

async function ask(source: () => MetricSource, request: CountRequest): Promise<readonly Counted[]> {
  try {
    return await source().count(request);
  } catch (error) {
    return without(request.metrics, 'error', settingProblem(error));
  }
}

function without(metrics: readonly MetricPlan[], kind: 'error' | 'no-data', message: string): readonly Counted[] {
  return metrics.map(({ name }) => ({ name, query: '', kind: 'problem', problem: { kind, message } }));
}
