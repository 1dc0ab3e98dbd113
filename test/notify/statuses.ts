import type { Actor, Measurement, ReleaseEvent, ReleaseStatus, StepStatus } from '../../src/workflows/api';

export const ALICE: Actor = { name: 'alice', via: 'cli' };
export const SLUICE: Actor = { name: 'sluice', via: 'workflow' };

export function stepOf(name: string, state: StepStatus['state'], changes: Partial<StepStatus> = {}): StepStatus {
  return {
    name,
    kind: 'weight',
    state,
    startedAt: null,
    endedAt: null,
    sentence: null,
    verdict: null,
    measurements: 0,
    evidence: null,
    ...changes,
  };
}

export function statusOf(changes: Partial<ReleaseStatus> = {}): ReleaseStatus {
  return {
    apiVersion: 'sluice.dev/v1',
    kind: 'ReleaseStatus',
    release: 'checkout-20240611-1200',
    service: 'checkout',
    namespace: 'shop',
    workflowId: 'release:shop/checkout',
    runId: 'run',
    target: 'router',
    version: { from: '1.4.1', to: '1.4.2', artifact: null },
    phase: 'soaking',
    outcome: null,
    message: 'Weight 25 %, 12 s of 60 s.',
    weight: 25,
    observedShare: 0.2463,
    step: 2,
    steps: [
      stepOf('deploy', 'passed', { kind: 'deploy' }),
      stepOf('weight 5 %', 'passed'),
      stepOf('weight 25 %', 'running', { sentence: '2 of 3 measurements passed.' }),
      stepOf('weight 100 %', 'pending'),
      stepOf('promote', 'pending', { kind: 'promote' }),
    ],
    soak: null,
    approval: null,
    paused: null,
    stuck: null,
    successors: [],
    measurements: [],
    events: [],
    startedAt: 1_700_000_000_000,
    endedAt: null,
    startedBy: ALICE,
    reason: 'ticket 42',
    planHash: 'hash',
    simulated: false,
    ...changes,
  };
}

export function evidenceOf(sentence: string): Measurement {
  return { at: 0, step: 2, weight: 25, observedShare: null, verdict: 'fail', sentence, metrics: [] };
}

export function eventOf(seq: number, type: ReleaseEvent['type'], changes: Partial<ReleaseEvent> = {}): ReleaseEvent {
  return {
    seq,
    at: 1_700_000_000_000 + seq * 1000,
    type,
    message: `It is ${type}.`,
    actor: SLUICE,
    weight: 25,
    ...changes,
  };
}
