import type { Measurement, ReleaseEvent, ReleaseStatus, StepStatus } from '../../src/workflows/api';

/** A fixed moment, so that frames can be compared: 2026-11-21 14:00:00 UTC. */
export const START = Date.UTC(2026, 10, 21, 14, 0, 0);

export const MEASUREMENT: Measurement = {
  at: START + 190_000,
  step: 3,
  weight: 25,
  observedShare: 0.246,
  verdict: 'pass',
  sentence: '38 of 18200 canary requests failed (0.21 %), within the limits.',
  metrics: [
    {
      name: 'error-rate',
      unit: 'ratio',
      verdict: 'pass',
      canary: 0.0021,
      stable: 0.0019,
      canaryRequests: 18_200,
      stableRequests: 54_600,
      limit: 'max 1 %',
      sentence: '38 of 18200 canary requests failed (0.21 %), within the limits.',
      query: 'sum(increase(http_requests_total{track="canary"}[60s]))',
    },
    {
      name: 'p95-latency',
      unit: 'seconds',
      verdict: 'insufficient-data',
      canary: null,
      stable: 0.29,
      canaryRequests: null,
      stableRequests: 54_600,
      limit: 'max 1 s',
      sentence: 'p95-latency: no data for the canary: there were no requests in the window.',
      query: 'histogram_quantile(0.95, …)',
    },
  ],
};

export function aStep(name: string, overrides: Partial<StepStatus> = {}): StepStatus {
  return {
    name,
    kind: 'weight',
    state: 'pending',
    startedAt: null,
    endedAt: null,
    sentence: null,
    verdict: null,
    measurements: 0,
    evidence: null,
    ...overrides,
  };
}

export function anEvent(seq: number, overrides: Partial<ReleaseEvent> = {}): ReleaseEvent {
  return {
    seq,
    at: START + seq * 1000,
    type: 'started',
    message: `Event ${seq} happened.`,
    actor: { name: 'sluice', via: 'workflow' },
    weight: 0,
    ...overrides,
  };
}

/** A release in the middle of its second soak. */
export function aStatus(overrides: Partial<ReleaseStatus> = {}): ReleaseStatus {
  return {
    apiVersion: 'sluice.dev/v1',
    kind: 'ReleaseStatus',
    release: 'checkout-20261121-140000-0001',
    service: 'checkout',
    namespace: 'shop',
    workflowId: 'release:shop/checkout',
    runId: 'run-1',
    target: 'router',
    version: { from: '1.41.0', to: '1.42.0', artifact: null },
    phase: 'soaking',
    outcome: null,
    message: 'The canary holds 25 % and is analysed.',
    weight: 25,
    observedShare: 0.246,
    step: 3,
    steps: [
      aStep('deploy', { kind: 'deploy', state: 'passed', startedAt: START, endedAt: START + 1200, sentence: 'Up.' }),
      aStep('smoke test', { kind: 'smokeTest', state: 'passed', startedAt: START + 1200, endedAt: START + 1500 }),
      aStep('weight 5 %', {
        state: 'passed',
        startedAt: START + 1500,
        endedAt: START + 61_500,
        sentence: '12 of 12 measurements passed, at least 3 had to.',
        verdict: 'pass',
        measurements: 12,
        evidence: { ...MEASUREMENT, step: 2, weight: 5 },
      }),
      aStep('weight 25 %', {
        state: 'running',
        startedAt: START + 61_500,
        measurements: 26,
        evidence: MEASUREMENT,
      }),
      aStep('approval', { kind: 'approve' }),
      aStep('weight 100 %'),
      aStep('promote', { kind: 'promote' }),
    ],
    soak: { startedAt: START + 61_500, endsAt: START + 361_500, extended: false },
    approval: null,
    paused: null,
    stuck: null,
    successors: [],
    measurements: [MEASUREMENT],
    events: [anEvent(1, { message: 'alice started the release.', actor: { name: 'alice', via: 'ci' } })],
    startedAt: START,
    endedAt: null,
    startedBy: { name: 'alice', via: 'ci' },
    reason: 'the new basket',
    planHash: 'abc',
    simulated: false,
    ...overrides,
  };
}

/** The same release after it was rolled back by the evidence. */
export function aRolledBackStatus(): ReleaseStatus {
  const failed: Measurement = {
    ...MEASUREMENT,
    verdict: 'fail',
    sentence: '12 of 60 canary requests failed (20 %), more than the allowed 5 %.',
    metrics: MEASUREMENT.metrics.slice(0, 1).map((metric) => ({ ...metric, verdict: 'fail', canary: 0.2 })),
  };
  const base = aStatus();
  return aStatus({
    phase: 'rolledBack',
    outcome: 'rolledBack',
    message: 'Rolled back to 1.41.0: 12 of 60 canary requests failed (20 %), more than the allowed 5 %.',
    weight: 0,
    soak: null,
    endedAt: START + 200_000,
    steps: base.steps.map((step) =>
      step.state === 'running'
        ? {
            ...step,
            state: 'failed',
            endedAt: START + 199_000,
            verdict: 'fail',
            sentence: failed.sentence,
            evidence: failed,
          }
        : step,
    ),
    measurements: [failed],
    events: [
      ...base.events,
      anEvent(2, { type: 'stepFailed', message: failed.sentence, weight: 25, evidence: failed, at: START + 199_000 }),
      anEvent(3, { type: 'rolledBack', message: 'Rolled back to 1.41.0.', weight: 0, at: START + 200_000 }),
    ],
  });
}
