import { createHash } from 'node:crypto';
import { ReleaseError } from '../errors';
import { resolveAnalysis } from './analysis-plan';
import { defaultSteps } from './checks';
import { DEFAULTS } from './defaults';
import { milliseconds } from './fields';
import type {
  AnalysisPlan,
  GatewayRoutePlan,
  HandBackPlan,
  Plan,
  PlanStep,
  SimulatedPhase,
  TargetPlan,
  TrafficMatchPlan,
  TrafficPlan,
} from './plan-types';
import { formatPath } from './problems';
import type { ReleaseSpec, StepSpec, TargetSpec } from './schema';
import { checkVersion } from './version';

export interface PlanOptions {
  /** Replaces the metric source by a scripted one (`--simulate`). Never chosen by itself. */
  readonly simulate?: readonly SimulatedPhase[];
}

/**
 * What a spec and a version come to, step by step. Pure: the same input gives the same plan, to the byte. The plan is
 * frozen. Throws a `ReleaseError`: `usage` for a version that the target does not understand.
 */
export function plan(spec: ReleaseSpec, version: string, options: PlanOptions = {}): Plan {
  const target = planTarget(spec.spec.target, spec.metadata);
  checkVersion(version, target.kind);
  const steps = spec.spec.steps ?? defaultSteps(movesAtOnce(target));
  const planned = planSteps(spec, steps, target);
  const unsealed: Omit<Plan, 'hash'> = {
    apiVersion: 'sluice.dev/v1',
    kind: 'Plan',
    service: spec.metadata.name,
    namespace: spec.metadata.namespace,
    version,
    target,
    steps: planned,
    analysis: sharedWithStable(planAnalysis(spec, { target: target.kind, steps, options }), planned),
    onFailure: spec.spec.onFailure,
    onConflict: spec.spec.onConflict,
    notify: { slack: spec.spec.notify.slack ?? null },
  };
  return sealPlan(unsealed);
}

/** A plan with its hash, frozen. */
export function sealPlan(unsealed: Omit<Plan, 'hash'>): Plan {
  return deepFreeze({ ...structuredClone(unsealed), hash: planHash(unsealed) });
}

/** SHA-256 (hex) of the canonical JSON: keys sorted, no white space. A `hash` in the input does not count. */
export function planHash(unsealed: Omit<Plan, 'hash'> & { readonly hash?: string }): string {
  const { hash: _, ...rest } = unsealed;
  return createHash('sha256').update(canonicalJson(rest)).digest('hex');
}

function planTarget({ kubernetes, router, flag }: TargetSpec, metadata: ReleaseSpec['metadata']): TargetPlan {
  if (router !== undefined) return { kind: 'router', ...router };
  if (flag !== undefined) return { kind: 'flag', ...flag };
  if (kubernetes === undefined) throw new ReleaseError('invalid-spec', 'spec.target: nothing is chosen.');
  const { traffic, drain, keepOld, container, port, ...rest } = kubernetes;
  return {
    kind: 'kubernetes',
    namespace: metadata.namespace,
    serviceName: metadata.name,
    ...rest,
    traffic: planTraffic(traffic),
    container: container ?? null,
    port: port ?? null,
    drainMs: drain,
    keepOldMs: keepOld,
  };
}

function planTraffic(chosen: NonNullable<TargetSpec['kubernetes']>['traffic']): TrafficPlan {
  const { gatewayAPI, nginx, traefik, istio, serviceSelector, replicas } = chosen;
  if (gatewayAPI !== undefined) {
    const routes = (kind: 'HTTPRoute' | 'GRPCRoute', names: readonly string[] = []): GatewayRoutePlan[] =>
      names.map((name) => ({ kind, name }));
    return {
      kind: 'gatewayAPI',
      routes: [...routes('HTTPRoute', gatewayAPI.httpRoute), ...routes('GRPCRoute', gatewayAPI.grpcRoute)],
    };
  }
  if (nginx !== undefined) return { kind: 'nginx', ingresses: nginx.ingress };
  if (traefik !== undefined) return { kind: 'traefik', ...traefik };
  if (istio !== undefined) return { kind: 'istio', ...istio };
  if (serviceSelector !== undefined) return { kind: 'serviceSelector' };
  if (replicas !== undefined) return { kind: 'replicas' };
  throw new ReleaseError('invalid-spec', 'spec.target.kubernetes.traffic: nothing is chosen.');
}

function movesAtOnce(target: TargetPlan): boolean {
  return target.kind === 'kubernetes' && (target.strategy === 'blueGreen' || target.traffic.kind === 'serviceSelector');
}

function planSteps({ spec }: ReleaseSpec, steps: readonly StepSpec[], target: TargetPlan): PlanStep[] {
  const planned: PlanStep[] = [{ kind: 'deploy', name: 'deploy', timeoutMs: spec.deployTimeout }];
  if (spec.smokeTest !== false) {
    const { path, expectStatus, expectBody, attempts, interval, timeout } = spec.smokeTest;
    planned.push({
      kind: 'smokeTest',
      name: 'smoke test',
      path,
      expectStatus,
      expectBody: expectBody ?? null,
      attempts,
      intervalMs: interval,
      timeoutMs: timeout,
    });
  }
  for (const step of steps) planned.push(planStep(step));
  planned.push({
    kind: 'promote',
    name: 'promote',
    timeoutMs: spec.deployTimeout,
    handBack: planHandBack(target, planned),
  });
  return planned;
}

/** Half of the traffic for as long as the shortest soak: what is judged then has been judged so before. */
function planHandBack(target: TargetPlan, steps: readonly PlanStep[]): HandBackPlan | null {
  if (target.kind !== 'kubernetes' || target.strategy !== 'canary') return null;
  const soaks = steps.flatMap((step) => (step.kind === 'weight' ? [step.soakMs] : []));
  const splits = target.traffic.kind !== 'serviceSelector';
  return {
    smokeTest: steps.find((step) => step.kind === 'smokeTest') ?? null,
    soakMs: splits ? Math.min(...soaks) : 0,
  };
}

function planStep({ weight, soak, match, approve }: StepSpec): PlanStep {
  if (match !== undefined) {
    const planned = planMatch(match);
    return { kind: 'match', name: `match ${planned.kind} ${planned.name}`, match: planned };
  }
  if (approve !== undefined) {
    return {
      kind: 'approve',
      name: 'approval',
      by: approve.by,
      timeoutMs: approve.timeout,
      onExpiry: approve.onExpiry,
    };
  }
  if (weight === undefined)
    throw new ReleaseError('invalid-spec', 'spec.steps: a step has neither weight, match nor approve.');
  return { kind: 'weight', name: `weight ${weight} %`, weight, soakMs: soak ?? milliseconds(DEFAULTS.soak) };
}

function planMatch({ header, cookie }: NonNullable<StepSpec['match']>): TrafficMatchPlan {
  if (cookie !== undefined) return { kind: 'cookie', name: cookie };
  if (typeof header === 'string') return { kind: 'header', name: header, value: null };
  const [name, value] = Object.entries(header ?? {})[0] ?? [];
  if (name === undefined || value === undefined) throw new ReleaseError('invalid-spec', 'spec.steps: an empty match.');
  return { kind: 'header', name, value };
}

interface AnalysisContext {
  readonly target: TargetPlan['kind'];
  readonly steps: readonly StepSpec[];
  readonly options: PlanOptions;
}

function planAnalysis({ spec }: ReleaseSpec, { target, steps, options }: AnalysisContext): AnalysisPlan {
  const soaks = steps
    .filter((step) => step.weight !== undefined)
    .map((step) => ({
      path: ['spec', 'steps'],
      ms: step.soak ?? milliseconds(DEFAULTS.soak),
      weight: step.weight ?? 100,
    }));
  const resolved = resolveAnalysis({ analysis: spec.analysis, target, soaks });
  if (resolved.plan === null) {
    const sentences = resolved.problems.map((problem) => `${formatPath(problem.path)}: ${problem.message}`);
    throw new ReleaseError('invalid-spec', sentences.join('\n'));
  }
  if (options.simulate === undefined) return resolved.plan;
  return { ...resolved.plan, source: { kind: 'simulated', phases: [...options.simulate] } };
}

/** New stable pods that are watched are an experiment of their own, and alpha is for the whole release. */
function sharedWithStable(analysis: AnalysisPlan, steps: readonly PlanStep[]): AnalysisPlan {
  const { evidence = null } = analysis;
  const watched = steps.some((step) => step.kind === 'promote' && (step.handBack?.soakMs ?? 0) > 0);
  if (evidence === null || !watched) return analysis;
  return { ...analysis, evidence: { ...evidence, stableShare: DEFAULTS.analysis.stableShare } };
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`;
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const item of Object.values(value)) deepFreeze(item);
  return Object.freeze(value);
}
