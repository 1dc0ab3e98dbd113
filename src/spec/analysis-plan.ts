import { BOUNDS, DEFAULTS, LAST_BOUNDARY_SECONDS } from './defaults';
import { found, milliseconds } from './fields';
import { isCounted, plannedBatches } from './gathering-policy';
import { parseJsonPath } from './json-path';
import { resolveKayenta } from './kayenta-plan';
import { nearest } from './nearest';
import type {
  AnalysisPlan,
  EvidencePlan,
  MetricCounters,
  MetricPlan,
  MetricSourcePlan,
  MetricUnit,
  TargetPlan,
} from './plan-types';
import { byTarget, DEFAULT_METRICS, presetMetrics } from './presets';
import type { PresetMetric, PresetName } from './presets';
import { templateProblems } from './query-template';
import { analysisSchema } from './schema';
import type { AnalysisSpec, MetricSpec } from './schema';
import { COUNTABLE, testedAtEachLook } from './tested-at-each-look';
import { formatDuration, parseDuration, parsePercent } from './units';
import { asksUpToAMoment, urlTemplateProblems } from './url-template';
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
  readonly weight: number;
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
  const preset = analysis.preset ?? (input.target === 'kubernetes' ? 'http' : input.target);
  const timing = resolveTiming(analysis, input.soaks, problems);
  if (source === null) return { plan: null, problems, warnings };

  if ((source.kind === 'router' || source.kind === 'flag') && preset !== source.kind) {
    problems.push({
      path: [...AT, 'preset'],
      message: `the preset ${preset} needs a Prometheus, but the source is ${OWN_COUNTERS[source.kind]}. Allowed: ${source.kind}.`,
    });
  }
  if (source.kind === 'flag' && (analysis.routingCheck === 'pause' || analysis.routingCheck === 'rollback')) {
    problems.push({
      path: [...AT, 'routingCheck'],
      message: `${found(analysis.routingCheck)} could never come about: outcomes do not tell how users were divided. Allowed: off, or a Prometheus.`,
    });
  }
  const labels = analysis.source?.prometheus?.labels ?? {};
  if (analysis.lag > 0) refuseLag(analysis, source.kind, problems);
  if (source.kind === 'http') refuseHttpAlone(analysis, problems);
  const known = source.kind === 'http' ? [] : presetMetrics(preset, source.kind, labels);
  const context: MetricContext = { known, preset, source: source.kind, compared: analysis.compare !== false };
  const metrics = resolveMetrics(analysis.metrics, context, problems);
  const kayenta = resolveKayenta(analysis, input.soaks, timing, problems);
  warnings.push(...(analysis.metrics ?? []).flatMap(sumsOverTargets));
  if (analysis.compare !== false) {
    const { alpha } = analysis.compare;
    warnings.push(...(analysis.metrics ?? []).flatMap((spec, index) => hidesItsEvents(spec, { index, alpha })));
  }
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
    // A source of kind http counts nothing that could be compared.
    compare:
      analysis.compare === false || source.kind === 'http'
        ? null
        : { alpha: analysis.compare.alpha, tolerate: analysis.compare.tolerate },
    // Who has the flag is no traffic that somebody splits.
    routingCheck: source.kind === 'flag' ? 'off' : analysis.routingCheck,
    evidence: resolveEvidence(analysis, input.soaks, { metrics, intervalMs: timing.intervalMs }, problems),
    ...(kayenta === null ? {} : { kayenta }),
  };
  if (problems.length > 0) return { plan: null, problems, warnings };
  return { plan, problems, warnings };
}

/** The evidence judge; null where nothing is compared. */
function resolveEvidence(
  analysis: AnalysisSpec,
  soaks: readonly Soak[],
  { metrics, intervalMs }: { readonly metrics: readonly MetricPlan[]; readonly intervalMs: number },
  problems: Finding[],
): EvidencePlan | null {
  const { compare, until, promotion } = analysis;
  const counted = metrics.filter(isCounted);
  if (promotion !== undefined && until !== 'evidence') {
    problems.push({
      path: [...AT, 'promotion'],
      on: 'key',
      message: 'promotion says what ends a soak before its time, and until is soak. Allowed: beside until: evidence.',
    });
  }
  if (until === 'evidence' && (compare === false || !counted.some(({ unit }) => unit === 'ratio'))) {
    problems.push({
      path: [...AT, 'until'],
      message:
        'no metric can prove anything about the canary. Allowed: until: evidence beside compare, and a ratio whose events are counted, such as error-rate.',
    });
  }
  if (compare === false || counted.length === 0) return null;
  const { exclude, beta } = promotion ?? DEFAULTS.analysis.promotion;
  return {
    alpha: compare.alpha,
    tolerate: compare.tolerate,
    clusters: compare.clusters,
    plannedBatches: plannedBatches(
      soaks.map(({ weight, ms }) => ({ weight, soakMs: ms })),
      intervalMs,
    ),
    promotion: until === 'evidence' ? { exclude, beta } : null,
  };
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
  const http = analysis.source?.http;
  if (http !== undefined) return { kind: 'http', tokenEnv: http.tokenEnv ?? null, timeoutMs: http.timeout };
  const chosen = (['router', 'flag'] as const).find((kind) => analysis.source?.[kind] !== undefined);
  if (target !== 'kubernetes' && (chosen ?? target) === target) return { kind: target };
  const message =
    chosen === undefined
      ? `a ${target} target has no counters of its own, and nothing says where measurements come from. Allowed: source: { prometheus: { url: … } }.`
      : `${ONLY_OF[chosen]}, and this one is ${target}. Allowed: source: { prometheus: { url: … } }.`;
  problems.push({ path: chosen === undefined ? AT : [...AT, 'source', chosen], message });
  return null;
}

const OWN_COUNTERS = { router: "the router's own counters", flag: "the flag's own outcomes" } as const;
const ONLY_OF = {
  router: "the router's counters exist only for a router target",
  flag: 'outcomes exist only for a flag target',
} as const;

/** What is asked about a moment that has passed has to be able to tell of it. */
function refuseLag({ lag, metrics = [] }: AnalysisSpec, source: MetricContext['source'], problems: Finding[]): void {
  const path = [...AT, 'lag'];
  if (source === 'router' || source === 'flag') {
    problems.push({
      path,
      message: `${formatDuration(lag)} is for samples that arrive late, and ${OWN_COUNTERS[source]} say what is, not what was. Allowed: 0s, or a source that is asked about the past (prometheus, http).`,
    });
  }
  if (source !== 'http') return;
  for (const { name, http } of metrics) {
    if (http === undefined || asksUpToAMoment(http.url)) continue;
    problems.push({
      path,
      message: `the address of the metric ${name} has no {{end}}, and is answered as of when it is asked. Allowed: 0s, or {{end}} in every address.`,
    });
  }
}

/** What only a source with metrics of its own can do without. */
function refuseHttpAlone(analysis: AnalysisSpec, problems: Finding[]): void {
  if (analysis.preset !== undefined) {
    problems.push({
      path: [...AT, 'preset'],
      on: 'key',
      message: 'a preset is made of PromQL, and the source is http. Allowed: metrics, each with its own http.',
    });
  }
  if (analysis.metrics !== undefined) return;
  problems.push({
    path: [...AT, 'source', 'http'],
    message: 'the source http has no metrics of its own, and none are given. Allowed: metrics, each with its own http.',
  });
}

type Timing = Pick<AnalysisPlan, 'intervalMs' | 'initialDelayMs' | 'lagMs' | 'minMeasurements'>;

/** Interval and minimum of measurements, such that every soak has room to be judged (design rule 6: fail closed). */
function resolveTiming(analysis: AnalysisSpec, soaks: readonly Soak[], problems: Finding[]): Timing {
  const shortest = Math.min(...soaks.map((soak) => soak.ms));
  const { initialDelay, lag } = analysis;
  const left = shortest - initialDelay - lag;
  const usual = milliseconds(DEFAULTS.analysis.interval);
  const intervalMs = analysis.interval ?? Math.min(usual, left > 0 ? left : usual);
  const room = Math.max(0, Math.floor(left / intervalMs));
  const wanted = analysis.minMeasurements ?? Math.min(DEFAULTS.analysis.minMeasurements, Math.max(1, room));
  const timing = {
    intervalMs,
    initialDelayMs: initialDelay,
    ...(lag === 0 ? {} : { lagMs: lag }),
    minMeasurements: wanted,
  };
  if (soaks.length === 0)
    return { ...timing, minMeasurements: analysis.minMeasurements ?? DEFAULTS.analysis.minMeasurements };

  const mostLag = shortest - initialDelay - (analysis.interval ?? milliseconds(BOUNDS.interval[0]));
  if (initialDelay >= shortest) {
    problems.push({
      path: [...AT, 'initialDelay'],
      message: `${formatDuration(initialDelay)} leaves nothing of the shortest soak, ${formatDuration(shortest)}, to be judged. Allowed: less than ${formatDuration(shortest)}.`,
    });
  } else if (lag > 0 && lag > mostLag) {
    const most = mostLag > 0 ? `at most ${formatDuration(mostLag)}, or ` : '';
    const delayed = initialDelay > 0 ? ` after the initialDelay of ${formatDuration(initialDelay)}` : '';
    problems.push({
      path: [...AT, 'lag'],
      message: `${formatDuration(lag)} leaves no room for a look in the shortest soak, ${formatDuration(shortest)}${delayed}: the first one comes an interval and the lag after that. Allowed: ${most}a longer soak.`,
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

/** A sum over all targets falls with each that goes, as a counter does only when its target starts anew. */
function sumsOverTargets(spec: MetricSpec, index: number): Finding[] {
  return (['bad', 'total', 'buckets'] as const)
    .filter((key) => isSumOverTargets(spec[key] ?? ''))
    .map((key) => ({
      path: [...AT, 'metrics', index, key],
      message:
        'it sums over all targets: whenever one goes, the sum falls, and that batch cannot be counted. ' +
        `Better: sum by (job, instance${key === 'buckets' ? ', le' : ''}) (…).`,
    }));
}

/** Whether nothing but a boundary is left of the labels by the outermost `sum`, in both orders of writing it. */
function isSumOverTargets(query: string): boolean {
  if (!/^\s*sum\s*(?:by\s*\(\s*(?:le)?\s*\)\s*)?\(/u.test(query)) return false;
  const [, by, labels = ''] = /\)\s*(by|without)\s*\(([^()]*)\)\s*$/u.exec(query) ?? [];
  return by === undefined || (by === 'by' && ['', 'le'].includes(labels.trim()));
}

/** A ratio whose counters cannot be told is compared all the same, and by a rule that promises far less. */
function hidesItsEvents(
  { name, numerator, denominator, dryRun }: MetricSpec,
  { index, alpha }: { readonly index: number; readonly alpha: number },
): Finding[] {
  if (numerator === undefined || denominator === undefined || dryRun) return [];
  if (countersIn(numerator.trim(), denominator.trim()) !== null) return [];
  const key = countersOfGrowth(numerator.trim()) === null ? 'numerator' : 'denominator';
  return [{ path: [...AT, 'metrics', index, key], message: `${testedAtEachLook(name, alpha)} ${COUNTABLE}` }];
}

interface MetricContext {
  readonly known: readonly PresetMetric[];
  readonly preset: PresetName;
  readonly source: 'router' | 'flag' | 'prometheus' | 'http';
  readonly compared: boolean;
}

function resolveMetrics(
  specs: readonly MetricSpec[] | undefined,
  context: MetricContext,
  problems: Finding[],
): MetricPlan[] {
  // Without any, what is missing is told already.
  const wanted =
    specs ??
    (context.source === 'http' ? [] : null) ??
    DEFAULT_METRICS.map((name): MetricSpec => ({ name, dryRun: false, critical: false }));
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
  const own = context.source === 'http' || spec.http !== undefined ? httpDefinition(spec, context, report) : undefined;
  if (own === null) return null;
  const definition =
    own ?? ownDefinition(spec, context, report) ?? context.known.find((metric) => metric.name === spec.name);
  if (definition === undefined) {
    if (!hasOwnQuery(spec)) reportUnknownMetric(spec, context, report);
    return null;
  }
  if (own === undefined && !hasOwnQuery(spec)) refuseKeysOfOwnQueries(spec, report);

  const noLimit = spec.max === undefined && spec.min === undefined && spec.maxRatio === undefined;
  const max = limitOf(spec.max ?? (noLimit ? definition.defaultMax : null), 'max', { unit: definition.unit, report });
  const min = limitOf(spec.min ?? null, 'min', { unit: definition.unit, report });
  if (max !== null && min !== null && min > max)
    report('min', `${found(spec.min)} is above max, ${found(spec.max)}. Allowed: at most max.`);
  const counters = countersOf(definition.counters, { onlyMin: spec.min !== undefined && spec.max === undefined });
  const objective = objectiveOf(spec, { unit: definition.unit, max }, { counters, context, report });
  // Of a source that counts nothing there is nothing to compare but values.
  const isCompared =
    context.source !== 'http' && context.compared && (definition.unit === 'ratio' || counters !== null);
  const judged = max !== null || min !== null || spec.maxRatio !== undefined || isCompared;
  if (noLimit && !judged) {
    report(
      null,
      `the metric ${spec.name} has no limit and would judge nothing. Allowed: at least one of max, min, maxRatio.`,
    );
  }
  return {
    name: spec.name,
    unit: definition.unit,
    max,
    min,
    maxRatio: spec.maxRatio ?? null,
    query: definition.query,
    ...(counters === null || !context.compared ? {} : { counters }),
    ...(objective === null ? {} : { objective }),
    ...(spec.dryRun ? { dryRun: true } : {}),
    ...(spec.critical ? { critical: true } : {}),
    ...(spec.note === undefined ? {} : { note: spec.note }),
  };
}

/** What a metric with nothing but a lower limit counts is what should happen: the rest is bad. */
function countersOf(
  counters: MetricCounters | null,
  { onlyMin }: { readonly onlyMin: boolean },
): MetricCounters | null {
  return counters?.kind === 'events' && onlyMin ? { ...counters, good: true } : counters;
}

function objectiveOf(
  spec: MetricSpec,
  { unit, max }: Pick<MetricPlan, 'unit' | 'max'>,
  {
    counters,
    context,
    report,
  }: { readonly counters: MetricCounters | null; readonly context: MetricContext; readonly report: Report },
): number | null {
  if (spec.objective === undefined) return null;
  if (unit === 'count' || counters === null || !context.compared) {
    const allowed =
      'Allowed: for a ratio whose events are counted, such as error-rate, and for a latency whose histogram is, such as p95-latency, with compare switched on.';
    report('objective', `nothing is counted that could be held against it. ${allowed}`);
    return null;
  }
  const share = limitOf(spec.objective, 'objective', { unit: 'ratio', report });
  if (unit === 'seconds' && !isWithinHistogram(max, { spec, counters, report })) return null;
  if (share === null || (share > 0 && share < 1)) return share;
  report('objective', `${found(spec.objective)} leaves nothing to prove. Allowed: above 0% and below 100%.`);
  return null;
}

/** Whether requests slower than `max` can be counted; of a Prometheus the boundaries are not known before it is asked. */
function isWithinHistogram(
  max: number | null,
  { spec, counters, report }: { readonly spec: MetricSpec; readonly counters: MetricCounters; readonly report: Report },
): boolean {
  if (max === null) {
    // What is no duration is told of already.
    if (spec.max === undefined)
      report(
        'objective',
        'of a latency it says how many may be slower than max, and there is no max. Allowed: beside max.',
      );
    return false;
  }
  if (counters.kind !== 'builtin' || max <= LAST_BOUNDARY_SECONDS) return true;
  const last = `${LAST_BOUNDARY_SECONDS}s`;
  report(
    'objective',
    `how many are slower than ${found(spec.max)} is not counted: the histogram's last boundary is ${last}. Allowed: beside a max of ${last} at most.`,
  );
  return false;
}

const OWN_QUERIES = ['query', 'numerator', 'denominator', 'bad', 'total'] as const;
type OwnQuery = (typeof OWN_QUERIES)[number];

function hasOwnQuery(spec: MetricSpec): boolean {
  return OWN_QUERIES.some((key) => spec[key] !== undefined);
}

/** What a metric of the source http asks; null when it asks nothing, or nothing that could be asked. */
function httpDefinition(
  spec: MetricSpec,
  { source }: MetricContext,
  report: Report,
): Omit<PresetMetric, 'name'> | null {
  const { http, unit } = spec;
  if (source !== 'http') {
    report('http', `the source is ${source}, and asks no addresses. Allowed: http beside source: { http: {} }.`);
    return null;
  }
  const promQl = [...OWN_QUERIES, 'requests', 'buckets'] as const;
  const given = promQl.find((key) => spec[key] !== undefined);
  if (given !== undefined) {
    report(given, `${given} is PromQL, and the source is http. Allowed: http, with url and value.`);
    return null;
  }
  if (http === undefined) {
    report(
      null,
      `the source is http, and the metric ${spec.name} does not say where it is. Allowed: http, with url and value.`,
    );
    return null;
  }
  for (const problem of urlTemplateProblems(http.url)) report('http', `url: ${problem}`);
  for (const key of ['value', 'requests'] as const) {
    const parsed = http[key] === undefined ? null : parseJsonPath(http[key]);
    if (parsed === null || parsed.ok) continue;
    report(
      'http',
      `${key}: ${found(http[key])} ${parsed.reason}. Allowed: JSONPath (RFC 9535) to one number, such as $.data.value.`,
    );
  }
  if (unit === undefined) {
    report('http', 'http is given without unit. Allowed: unit: ratio, seconds or count beside it.');
    return null;
  }
  const query = { kind: 'http', url: http.url, value: http.value, requests: http.requests ?? null } as const;
  return { unit, defaultMax: null, query, counters: null };
}

/** The metric's own queries; null when it has none, or none that could be asked. */
function ownDefinition(spec: MetricSpec, context: MetricContext, report: Report): Omit<PresetMetric, 'name'> | null {
  const asked = OWN_QUERIES.find((key) => spec[key] !== undefined);
  if (asked === undefined) return null;
  for (const key of [...OWN_QUERIES, 'requests', 'buckets'] as const) {
    for (const problem of templateProblems(spec[key] ?? '')) report(key, problem);
  }
  for (const key of ['bad', 'total', 'buckets'] as const) {
    if (!/\{\{\s*window\s*\}\}/.test(spec[key] ?? '')) continue;
    const allowed = 'Allowed: the counters themselves, as sum by (job, instance) (my_errors_total{track="{{track}}"}).';
    report(key, `{{window}} makes no counter: counters are read at two moments and subtracted. ${allowed}`);
  }
  if (context.source === 'router' || context.source === 'flag') {
    report(
      asked,
      `${OWN_COUNTERS[context.source]} answer no PromQL. Allowed: the metrics ${context.known.map((metric) => metric.name).join(', ')}.`,
    );
    return null;
  }
  const own = ownQuery(spec, asked, report);
  if (own === null) return null;
  const unit = ownUnit(spec, report);
  if (spec.buckets !== undefined && unit !== 'seconds') {
    report(
      'buckets',
      'a histogram of latencies is compared by how many are slower. Allowed: beside query, with unit: seconds.',
    );
  }
  return unit === null ? null : { unit, defaultMax: null, ...own };
}

/** The pairs that make a ratio. */
const RATIOS = [
  ['numerator', 'denominator'],
  ['bad', 'total'],
] as const;

function ownQuery(spec: MetricSpec, asked: OwnQuery, report: Report): Pick<PresetMetric, 'query' | 'counters'> | null {
  const { query, requests, buckets } = spec;
  const given = OWN_QUERIES.filter((key) => spec[key] !== undefined);
  const kinds = [given.includes('query'), ...RATIOS.map((pair) => pair.some((key) => given.includes(key)))];
  if (kinds.filter(Boolean).length > 1) {
    const others = given.filter((key) => key !== asked).join(' and ');
    report(
      asked,
      `${asked} is given together with ${others}. Allowed: query, or numerator and denominator, or bad and total.`,
    );
    return null;
  }
  if (query !== undefined) {
    return {
      query: { kind: 'value', expression: query.trim(), requests: requests?.trim() ?? null },
      counters: buckets === undefined ? null : { kind: 'histogram', buckets: buckets.trim() },
    };
  }
  if (requests !== undefined)
    report('requests', 'a ratio counts its own requests, by its denominator. Allowed: requests only beside query.');
  const [above, below] = RATIOS.find((pair) => pair.some((key) => given.includes(key))) ?? RATIOS[0];
  const [part, whole] = [spec[above]?.trim(), spec[below]?.trim()];
  if (part === undefined || whole === undefined) {
    const missing = part === undefined ? above : below;
    report(asked, `${asked} is given without ${missing}. Allowed: both, or query.`);
    return null;
  }
  if (above === 'bad') {
    // Over a window for people to read; what is judged are the counters.
    const grown = (counters: string): string => `sum(increase((${counters})[{{window}}:${COUNTER_RESOLUTION}]))`;
    return {
      query: { kind: 'ratio', numerator: grown(part), denominator: grown(whole) },
      counters: { kind: 'events', bad: part, total: whole },
    };
  }
  return { query: { kind: 'ratio', numerator: part, denominator: whole }, counters: countersIn(part, whole) };
}

/** As often as the default interval looks. */
const COUNTER_RESOLUTION = '5s';

/** `SERIES{…}[{{window}}]` */
const SERIES = /^\s*([a-zA-Z_:][\w:]*\s*(?:\{(?:[^{}]|\{\{\s*\w+\s*\}\})*\})?)\s*\[\s*\{\{\s*window\s*\}\}\s*\]\s*$/;

/** `sum(increase(SERIES{…}[{{window}}]))`: from that the counters themselves are known. */
const GROWTH = /^sum\s*\(\s*increase\s*\((.*)\)\s*\)$/s;

/** The series of a range over the window; null for anything else. */
export function seriesIn(range: string): string | null {
  return SERIES.exec(range)?.[1]?.trim() ?? null;
}

function countersOfGrowth(query: string): string | null {
  return seriesIn(GROWTH.exec(query)?.[1] ?? '');
}

/** The counters behind a ratio of growths; null where they cannot be told, and a test at each look must do. */
export function countersIn(numerator: string, denominator: string): MetricCounters | null {
  const bad = countersOfGrowth(numerator);
  const total = countersOfGrowth(denominator);
  if (bad === null || total === null) return null;
  return { kind: 'events', bad: byTarget(bad), total: byTarget(total) };
}

function ownUnit(spec: MetricSpec, report: Report): MetricUnit | null {
  if (spec.query !== undefined) {
    if (spec.unit === undefined)
      report('query', 'query is given without unit. Allowed: unit: ratio, seconds or count beside it.');
    return spec.unit ?? null;
  }
  if (spec.unit !== undefined && spec.unit !== 'ratio') {
    const pair = spec.bad === undefined && spec.total === undefined ? 'a numerator with a denominator' : 'bad of total';
    report('unit', `${found(spec.unit)} does not fit: ${pair} is a ratio. Allowed: ratio, or no unit.`);
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
  if (spec.buckets !== undefined)
    report('buckets', `the preset says the buckets of ${spec.name}. Allowed: buckets only beside your own query.`);
  if (spec.requests !== undefined)
    report('requests', `the preset says the requests of ${spec.name}. Allowed: requests only beside your own query.`);
}

/** A limit in the metric's unit, from how it is written. */
function limitOf(
  value: string | number | null,
  key: 'max' | 'min' | 'objective',
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
