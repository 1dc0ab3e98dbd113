import { instant } from './instant';
import { workflowInfo } from '@temporalio/workflow';
import { isSimulated } from './api';
import type { ApprovalStatus, KeepOldStatus, ReleaseState, ReleaseStatus } from './api';
import type { Run } from './run';

/** The status document of a release as it stands; see `ReleaseStatus`. */
export function statusOf(run: Pick<Run, 'input' | 'plan' | 'state'>): ReleaseStatus {
  const { input, plan, state } = run;
  const info = workflowInfo();
  return {
    apiVersion: 'sluice.dev/v1',
    kind: 'ReleaseStatus',
    release: input.release,
    service: plan.service,
    namespace: plan.namespace,
    workflowId: info.workflowId,
    runId: info.runId,
    target: plan.target.kind,
    version: { from: state.stableVersion, to: plan.version, artifact: state.artifact },
    phase: state.phase,
    outcome: state.outcome,
    message: waitingFor(state) ?? state.message,
    weight: state.weight,
    observedShare: state.observedShare,
    step: state.step,
    steps: state.steps,
    soak:
      state.soak === null
        ? null
        : { startedAt: state.soak.startedAt, endsAt: state.soak.endsAt, extended: state.soak.extended },
    approval: state.approval,
    paused: state.paused,
    keepOld: state.keepOld,
    stuck: state.stuck,
    compensations: state.compensations,
    successors: state.successors,
    measurements: state.measurements,
    events: state.events,
    startedAt: state.startedAt,
    endedAt: state.endedAt,
    startedBy: input.startedBy,
    reason: input.reason ?? null,
    planHash: plan.hash,
    simulated: isSimulated(plan),
    ...(state.refused === true ? { refused: true } : {}),
  };
}

/**
 * An approval that is waited for is what a person has to know now, whatever happened since it was asked for: a pause
 * and its end (which moves the deadline), a release that queues up. After a promotion it is why the release goes on.
 */
function waitingFor(state: ReleaseState): string | null {
  const { approval, paused, rollback, wishes, keepOld } = state;
  if (keepOld !== null && rollback === null) return keepOldSentence(keepOld);
  if (state.outcome === 'promoted' && state.leftovers.length > 0 && state.drainUntil !== null) {
    return `Promoted. What gets no traffic any more drains until ${instant(state.drainUntil)}, and is then taken away.`;
  }
  if (approval === null || paused !== null || rollback !== null) return null;
  return wishes.decision === null && wishes.promote === null ? approvalSentence(approval) : null;
}

/** That the release is promoted, and how long there is a way back. */
export function keepOldSentence({ version, until }: KeepOldStatus): string {
  return `Promoted. ${version} is kept until ${instant(until)}: a roll back until then is one write.`;
}

/** Who is waited for, and until when. */
export function approvalSentence({ by, expiresAt }: ApprovalStatus): string {
  const who = by.length === 0 ? 'anyone' : by.join(', ');
  return `Approval by ${who} is waited for, until ${instant(expiresAt)}.`;
}
