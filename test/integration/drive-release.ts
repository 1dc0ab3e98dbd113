import { setTimeout as until } from 'node:timers/promises';
import type { LivePlayed } from '../../bench/lib/live-releases';
import type { EvidenceState } from '../../src/analysis/gather-evidence';
import type { JudgeState } from '../../src/analysis/verdict';
import type { Plan } from '../../src/spec/plan-types';
import type { MeasureResult, ReleaseActivities } from '../../src/workflows/activity-types';
import { mockedContext } from '../activities/fakes';

/**
 * A release by a worker's own activities, with the real target and the real metric source, and without a Temporal that
 * many of them at once would keep busy: the weights and the looks of the workflow's soak, in real time.
 */
export async function driveRelease(activities: ReleaseActivities, plan: Plan): Promise<LivePlayed> {
  const { service, namespace, version, target, analysis } = plan;
  const ref = { service, namespace, version, artifact: null, target, match: [] };
  let written = 0;
  const fence = (): { release: string; epoch: number; step: number } => ({
    release: `${service}-1`,
    epoch: 1,
    step: (written += 1),
  });
  await act(() => activities.deploy({ ...ref, fence: fence(), timeoutMs: 10_000 }));
  let evidence: EvidenceState | null = null;
  let weight = 0;
  const leave = async (outcome: LivePlayed['outcome'], message: string): Promise<LivePlayed> => {
    await act(() => activities.setWeight({ ...ref, fence: fence(), weight: 0, previousWeight: weight }));
    return { outcome, message };
  };
  for (const [step, planned] of plan.steps.entries()) {
    if (planned.kind !== 'weight') continue;
    const next = planned.weight;
    const before = weight;
    await act(() => activities.setWeight({ ...ref, fence: fence(), weight: next, previousWeight: before }));
    weight = next;
    const since = Date.now();
    let judge: JudgeState | null = null;
    for (let due = since + analysis.intervalMs; ; due = Math.max(due + analysis.intervalMs, Date.now())) {
      await until(Math.max(0, due - Date.now()));
      const at = Date.now();
      const { judgement, ...look }: MeasureResult = await act(() =>
        activities.measure({
          ...{ ...ref, fence: fence(), subject: 'canary', stableVersion: 'v1', weight, at, since, step },
          ...{ analysis, judge, evidence },
        }),
      );
      judge = judgement.state;
      evidence = look.evidence ?? evidence;
      if (judgement.decision === 'fail') return leave('failed', judgement.stepSentence);
      if (at < since + planned.soakMs && judgement.enough !== true) continue;
      if (judgement.stepVerdict === 'pass') break;
      if (at >= since + planned.soakMs + analysis.onNoData.extendMs) return leave('other', judgement.stepSentence);
    }
  }
  return { outcome: 'promoted', message: '' };
}

async function act<T>(activity: () => Promise<T>): Promise<T> {
  let result: { readonly of: T } | null = null;
  await mockedContext({ startToCloseTimeoutMs: 30_000 }).run(async () => {
    result = { of: await activity() };
  });
  if (result === null) throw new Error('An activity without a result.');
  return (result as { readonly of: T }).of;
}
