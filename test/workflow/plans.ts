import type { AnalysisPlan, Plan, PlanStep } from '../../src/spec/plan-types';

const SECOND = 1_000;

/** A plan as `plan()` would make it, for tests that change single parts of it. */
export function testPlan(more: Partial<Omit<Plan, 'analysis'>> & { analysis?: Partial<AnalysisPlan> } = {}): Plan {
  const { analysis, ...rest } = more;
  return {
    apiVersion: 'sluice.dev/v1',
    kind: 'Plan',
    service: 'shop',
    namespace: 'default',
    version: 'v2',
    target: {
      kind: 'router',
      instances: ['http://127.0.0.1:1'],
      tokenEnv: 'SLUICE_ROUTER_TOKEN',
      overrideSecretEnv: 'SLUICE_ROUTER_OVERRIDE_SECRET',
    },
    steps: testSteps(),
    onFailure: 'rollback',
    onConflict: 'reject',
    notify: { slack: null },
    hash: 'test',
    ...rest,
    analysis: {
      source: { kind: 'router' },
      intervalMs: 5 * SECOND,
      initialDelayMs: 0,
      windowMs: 60 * SECOND,
      minMeasurements: 1,
      minRequests: 20,
      failureLimit: 0,
      consecutiveErrorLimit: 4,
      onNoData: { extendMs: 60 * SECOND, then: 'pause' },
      metrics: [],
      compare: null,
      ...analysis,
    },
  };
}

export function testSteps(middle: PlanStep[] = weights(5, 25, 50, 100)): PlanStep[] {
  return [
    { kind: 'deploy', name: 'deploy', timeoutMs: 600 * SECOND },
    {
      kind: 'smokeTest',
      name: 'smoke test',
      path: '/healthz',
      expectStatus: 200,
      expectBody: null,
      attempts: 3,
      intervalMs: SECOND,
      timeoutMs: 5 * SECOND,
    },
    ...middle,
    { kind: 'promote', name: 'promote', handBack: null, timeoutMs: 120 * SECOND },
  ];
}

/** The same with two weights of two measurements each, for tests that are about something else. */
export function shortPlan(more: Parameters<typeof testPlan>[0] = {}): Plan {
  const { analysis, ...rest } = more;
  return testPlan({ steps: testSteps(weights(25, 100)), ...rest, analysis: { intervalMs: 30 * SECOND, ...analysis } });
}

export function weights(...percents: number[]): PlanStep[] {
  return percents.map((weight) => ({ kind: 'weight', name: `weight ${weight} %`, weight, soakMs: 60 * SECOND }));
}

export function approve(more: Partial<Extract<PlanStep, { kind: 'approve' }>> = {}): PlanStep {
  return {
    kind: 'approve',
    name: 'approve',
    by: ['oncall'],
    timeoutMs: 4 * 3600 * SECOND,
    onExpiry: 'rollback',
    ...more,
  };
}

/** A release to Kubernetes in two weights, whose stable track is made anew at the promotion. */
export function kubernetesPlan(
  more: Parameters<typeof testPlan>[0] & {
    match?: PlanStep[];
    middle?: readonly PlanStep[];
    onForeignEdit?: 'reassert' | 'rollback';
  } = {},
): Plan {
  const { match = [], middle = weights(25, 100), onForeignEdit = 'reassert', ...rest } = more;
  const steps = testSteps([...match, ...middle]).map((step): PlanStep => {
    if (step.kind !== 'promote') return step;
    return { ...step, handBack: { smokeTest: null, soakMs: 60 * SECOND } };
  });
  return shortPlan({
    steps,
    target: {
      kind: 'kubernetes',
      namespace: 'default',
      serviceName: 'shop',
      deployment: 'shop',
      service: 'shop',
      strategy: 'canary',
      traffic: { kind: 'nginx', ingresses: ['shop'] },
      container: null,
      port: null,
      resolveImage: 'registry',
      config: 'keep',
      drainMs: 30 * SECOND,
      keepOldMs: 0,
      onForeignEdit,
    },
    ...rest,
  });
}

/** A release that switches: all at once, or after a share where a splitter is there; the old version is kept for ten minutes. */
export function blueGreenPlan(more: Parameters<typeof testPlan>[0] & { keepOldMs?: number } = {}): Plan {
  const { keepOldMs = 600 * SECOND, ...rest } = more;
  const { target } = kubernetesPlan();
  if (target.kind !== 'kubernetes') throw new Error('not a plan for Kubernetes');
  return shortPlan({
    target: { ...target, strategy: 'blueGreen', traffic: { kind: 'serviceSelector' }, keepOldMs },
    steps: testSteps(weights(100)),
    ...rest,
  });
}
