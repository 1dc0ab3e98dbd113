import { DEFAULTS } from './defaults';
import { found, milliseconds } from './fields';
import { nearest } from './nearest';
import type { AnalysisPlan, MetricPlan, MetricQuery, MetricSourcePlan, MetricUnit, TargetPlan } from './plan-types';
import { DEFAULT_METRICS, presetMetrics } from './presets';
import type { PresetMetric, PresetName } from './presets';
import { templateProblems } from './query-template';
import { analysisSchema } from './schema';
import type { AnalysisSpec, MetricSpec } from './schema';
import { formatDuration, parseDuration, parsePercent } from './units';
import type { Parsed } from './units';

/** Something that only several keys together tell. `path` is from the document's root. */
export interface Finding {
  readonly path: readonly (string | number)[];
  /** Which end of `key: value` is meant; the value when left out. */
  readonly on?: 'key' | 'value';
  readonly message: string;
}

export interface Soak {
  readonly path: readonly (string | number)[];
  readonly ms: number;
}

export interface AnalysisInput {
  readonly analysis: AnalysisSpec | undefined;
  readonly target: TargetPlan['kind'];
  /** Of all weight steps. */
  readonly soaks: readonly Soak[];
}

export interface ResolvedAnalysis {
  /** null when there are problems. */
  readonly plan: AnalysisPlan | null;
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
}

const AT = ['spec', 'analysis'] as const;

/** The analysis with everything filled in that depends on the target and the steps; or why it could not judge. */
export function resolveAnalysis(input: AnalysisInput): ResolvedAnalysis {
  const problems: Finding[] = [];
  const warnings: Finding[] = [];
  const analysis = input.analysis ?? analysisSchema.parse({});
  const source = resolveSource(analysis, input.target, problems);
  const preset = analysis.preset ?? (input.target === 'router' ? 'router' : 'http');
  const timing = resolveTiming(analysis, input.soaks, problems);
  if (source === null) return { plan: null, problems, warnings };

  if (source.kind === 'router' && preset !== 'router') {
    problems.push({
      path: [...AT, 'preset'],
      message: `the preset ${preset} needs a Prometheus, but the source is the router's own counters. Allowed: router.`,
    });
  }
  const labels = analysis.source?.prometheus?.labels ?? {};
  const known = presetMetrics(preset, source.kind === 'router' ? 'router' : 'prometheus', labels);
  const context: MetricContext = { known, preset, source: source.kind, compared: analysis.compare !== false };
  const metrics = resolveMetrics(analysis.metrics, context, problems);
  if (source.kind === 'prometheus' && preset === 'router' && Object.keys(labels).length === 0) {
    if (metrics.some((metric) => usesPreset(metric, known))) {
      warnings.push({
        path: [...AT, 'source', 'prometheus'],
        message:
          "the router's metrics name no service: where the same Prometheus scrapes several apps with a router, " +
          'say which one is meant, for example labels: { job: shop }.',
      });
    }
  }
  if (problems.length > 0) return { plan: null, problems, warnings };

  const plan: AnalysisPlan = {
    source,
    ...timing,
    windowMs: analysis.window,
    minRequests: analysis.minRequests,
    failureLimit: analysis.failureLimit,
    consecutiveErrorLimit: analysis.consecutiveErrorLimit,
    onNoData: { extendMs: analysis.onNoData.extend, then: analysis.onNoData.then },
    metrics,
    compare: analysis.compare === false ? null : { alpha: analysis.compare.alpha, tolerate: analysis.compare.tolerate },
    routingCheck: analysis.routingCheck,
  };
  return { plan, problems, warnings };
}

function resolveSource(
  analysis: AnalysisSpec,
  target: TargetPlan['kind'],
  problems: Finding[],
): Exclude<MetricSourcePlan, { kind: 'simulated' }> | null {
  const prometheus = analysis.source?.prometheus;
  if (prometheus !== undefined) {
    return {
      kind: 'prometheus',
      url: prometheus.url,
      tokenEnv: prometheus.tokenEnv ?? null,
      timeoutMs: prometheus.timeout,
    };
  }
  if (target === 'router') return { kind: 'router' };
  const message =
    analysis.source === undefined
      ? `a ${target} target has no counters of its own, and nothing says where measurements come from. Allowed: source: { prometheus: { url: … } }.`
      : `the router's counters exist only for a router target, and this one is ${target}. Allowed: source: { prometheus: { url: … } }.`;
  problems.push({ path: analysis.source === undefined ? AT : [...AT, 'source', 'router'], message });
  return null;
}

type Timing = Pick<AnalysisPlan, 'intervalMs' | 'initialDelayMs' | 'minMeasurements'>;

/** Interval and minimum of measurements, such that every soak has room to be judged (design rule 6: fail closed). */
function resolveTiming(analysis: AnalysisSpec, soaks: readonly Soak[], problems: Finding[]): Timing {
  const shortest = Math.min(...soaks.map((soak) => soak.ms));
  const left = shortest - analysis.initialDelay;
  const usual = milliseconds(DEFAULTS.analysis.interval);
  const intervalMs = analysis.interval ?? Math.min(usual, left > 0 ? left : usual);
  const room = Math.max(0, Math.floor(left / intervalMs));
  const wanted = analysis.minMeasurements ?? Math.min(DEFAULTS.analysis.minMeasurements, Math.max(1, room));
  const timing = { intervalMs, initialDelayMs: analysis.initialDelay, minMeasurements: wanted };
  if (soaks.length === 0)
    return { ...timing, minMeasurements: analysis.minMeasurements ?? DEFAULTS.analysis.minMeasurements };

  if (analysis.initialDelay >= shortest) {
    problems.push({
      path: [...AT, 'initialDelay'],
      message: `${formatDuration(analysis.initialDelay)} leaves nothing of the shortest soak, ${formatDuration(shortest)}, to be judged. Allowed: less than ${formatDuration(shortest)}.`,
    });
  } else if (intervalMs > left) {
    problems.push({
      path: [...AT, 'interval'],
      message: `${formatDuration(intervalMs)} is longer than the time there is for measuring in the shortest soak. Allowed: at most ${formatDuration(left)}.`,
    });
  } else if (wanted > room) {
    problems.push({
      path: [...AT, 'minMeasurements'],
      message: `${wanted} measurements do not fit into the shortest soak: ${formatDuration(left)} at an interval of ${formatDuration(intervalMs)} are ${room}. Allowed: at most ${room}, or a longer soak.`,
    });
  }
  return timing;
}

interface MetricContext {
  readonly known: readonly PresetMetric[];
  readonly preset: PresetName;
  readonly source: 'router' | 'prometheus';
  readonly compared: boolean;
}

function resolveMetrics(
  specs: readonly MetricSpec[] | undefined,
  context: MetricContext,
  problems: Finding[],
): MetricPlan[] {
  const wanted = specs ?? DEFAULT_METRICS.map((name): MetricSpec => ({ name }));
  const plans: MetricPlan[] = [];
  const seen = new Map<string, number>();
  for (const [index, spec] of wanted.entries()) {
    const at = [...AT, 'metrics', index];
    const before = seen.get(spec.name);
    if (before === undefined) seen.set(spec.name, index);
    else
      problems.push({
        path: [...at, 'name'],
        message: `${found(spec.name)} is the name of metric ${before + 1} already. Allowed: each name once.`,
      });
    const plan = resolveMetric(spec, context, (key, message) => {
      problems.push({ path: key === null ? at : [...at, key], message });
    });
    if (plan !== null) plans.push(plan);
  }
  return plans;
}

type Report = (key: keyof MetricSpec | null, message: string) => void;

function resolveMetric(spec: MetricSpec, context: MetricContext, report: Report): MetricPlan | null {
  const definition = ownDefinition(spec, context, report) ?? context.known.find((metric) => metric.name === spec.name);
  if (definition === undefined) {
    if (!hasOwnQuery(spec)) reportUnknownMetric(spec, context, report);
    return null;
  }
  if (!hasOwnQuery(spec)) refuseKeysOfOwnQueries(spec, report);

  const noLimit = spec.max === undefined && spec.min === undefined && spec.maxRatio === undefined;
  const max = limitOf(spec.max ?? (noLimit ? definition.defaultMax : null), 'max', { unit: definition.unit, report });
  const min = limitOf(spec.min ?? null, 'min', { unit: definition.unit, report });
  if (max !== null && min !== null && min > max)
    report('min', `${found(spec.min)} is above max, ${found(spec.max)}. Allowed: at most max.`);
  const judged =
    max !== null || min !== null || spec.maxRatio !== undefined || (definition.unit === 'ratio' && context.compared);
  if (noLimit && !judged) {
    report(
      null,
      `the metric ${spec.name} has no limit and would judge nothing. Allowed: at least one of max, min, maxRatio.`,
    );
  }
  return { name: spec.name, unit: definition.unit, max, min, maxRatio: spec.maxRatio ?? null, query: definition.query };
}

function hasOwnQuery(spec: MetricSpec): boolean {
  return spec.query !== undefined || spec.numerator !== undefined || spec.denominator !== undefined;
}

/** The metric's own queries; null when it has none, or none that could be asked. */
function ownDefinition(spec: MetricSpec, context: MetricContext, report: Report): Omit<PresetMetric, 'name'> | null {
  if (!hasOwnQuery(spec)) return null;
  for (const key of ['numerator', 'denominator', 'query', 'requests'] as const) {
    for (const problem of templateProblems(spec[key] ?? '')) report(key, problem);
  }
  const asked = spec.query === undefined ? (spec.numerator === undefined ? 'denominator' : 'numerator') : 'query';
  if (context.source === 'router') {
    report(
      asked,
      `the router's own counters answer no PromQL. Allowed: the metrics ${context.known.map((metric) => metric.name).join(', ')}.`,
    );
    return null;
  }
  const query = ownQuery(spec, asked, report);
  if (query === null) return null;
  const unit = ownUnit(spec, report);
  return unit === null ? null : { unit, defaultMax: null, query };
}

function ownQuery(spec: MetricSpec, asked: 'query' | 'numerator' | 'denominator', report: Report): MetricQuery | null {
  const { numerator, denominator, query, requests } = spec;
  if (query !== undefined && (numerator !== undefined || denominator !== undefined)) {
    report(
      'query',
      `query is given together with ${numerator === undefined ? 'denominator' : 'numerator'}. Allowed: either query, or numerator and denominator.`,
    );
    return null;
  }
  if (query !== undefined) return { kind: 'value', expression: query.trim(), requests: requests?.trim() ?? null };
  if (requests !== undefined)
    report('requests', 'a ratio counts its own requests, by its denominator. Allowed: requests only beside query.');
  if (numerator === undefined || denominator === undefined) {
    report(
      asked,
      `${asked} is given without ${asked === 'numerator' ? 'denominator' : 'numerator'}. Allowed: both, or query.`,
    );
    return null;
  }
  return { kind: 'ratio', numerator: numerator.trim(), denominator: denominator.trim() };
}

function ownUnit(spec: MetricSpec, report: Report): MetricUnit | null {
  if (spec.query !== undefined) {
    if (spec.unit === undefined)
      report('query', 'query is given without unit. Allowed: unit: ratio, seconds or count beside it.');
    return spec.unit ?? null;
  }
  if (spec.unit !== undefined && spec.unit !== 'ratio') {
    report(
      'unit',
      `${found(spec.unit)} does not fit: a numerator with a denominator is a ratio. Allowed: ratio, or no unit.`,
    );
  }
  return 'ratio';
}

function reportUnknownMetric(spec: MetricSpec, { known, preset }: MetricContext, report: Report): void {
  const names = known.map((metric) => metric.name);
  const near = nearest(spec.name, names);
  const hint = near === null ? '' : `; did you mean "${near}"?`;
  report(
    'name',
    `${found(spec.name)} is no metric of the preset ${preset}${hint === '' ? '.' : hint} Allowed: ${names.join(', ')}, or your own with query, or numerator and denominator.`,
  );
}

function refuseKeysOfOwnQueries(spec: MetricSpec, report: Report): void {
  if (spec.unit !== undefined)
    report('unit', `the preset says the unit of ${spec.name}. Allowed: unit only beside your own query.`);
  if (spec.requests !== undefined)
    report('requests', `the preset says the requests of ${spec.name}. Allowed: requests only beside your own query.`);
}

/** A limit in the metric's unit, from how it is written. */
function limitOf(
  value: string | number | null,
  key: 'max' | 'min',
  { unit, report }: { readonly unit: MetricUnit; readonly report: Report },
): number | null {
  if (value === null) return null;
  const parsed = parseLimit(value, unit);
  if (parsed.ok) return parsed.value;
  report(key, `${found(value)} ${parsed.reason}. Allowed: ${LIMITS[unit]}.`);
  return null;
}

const LIMITS: Readonly<Record<MetricUnit, string>> = {
  ratio: 'a percentage with its sign, such as 5% or 0.25%',
  seconds: 'a duration with its unit, such as 250ms or 1s',
  count: 'a number, such as 12 or 0.5',
};

function parseLimit(value: string | number, unit: MetricUnit): Parsed<number> {
  switch (unit) {
    case 'ratio': {
      if (typeof value === 'string') return parsePercent(value);
      const meant =
        value > 0 && value < 1 ? `: write ${Math.round(value * 1_000_000) / 10_000}% for that fraction` : '';
      return { ok: false, reason: `has no percent sign${meant}` };
    }
    case 'seconds': {
      const parsed = typeof value === 'string' ? parseDuration(value) : ({ ok: false, reason: 'has no unit' } as const);
      return parsed.ok ? { ok: true, value: parsed.value / 1000 } : parsed;
    }
    case 'count':
      return typeof value === 'number' && value >= 0
        ? { ok: true, value }
        : { ok: false, reason: 'is no number of 0 or more' };
  }
}

function usesPreset(metric: MetricPlan, known: readonly PresetMetric[]): boolean {
  return known.some((preset) => preset.query === metric.query);
}
