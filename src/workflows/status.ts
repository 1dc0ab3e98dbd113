import { workflowInfo } from '@temporalio/workflow';
import type { ReleaseStatus } from './api';
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
    message: state.message,
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
    simulated: plan.analysis.source.kind === 'simulated',
  };
}
