import type { MetricCounters, MetricQuery, MetricUnit } from './plan-types';
import { DEFAULTS } from './defaults';

/**
 * Ready-made metrics. `http` are the names most client libraries use; `router` are those of Sluice's in-app router; `flag`
 * are those of `http` by the variant of a flag that a request had.
 * Numerator and denominator are asked for apart: no series with a status of 5xx means zero errors while there are
 * requests, and missing data only when there are none; the source tells the two apart, so no `or vector(0)` here.
 */
export const PRESET_NAMES = ['http', 'router', 'flag'] as const;
export type PresetName = (typeof PRESET_NAMES)[number];

export interface PresetMetric {
  readonly name: string;
  readonly unit: MetricUnit;
  /** The limit when the spec gives none, as it would be written; null when one must be given. */
  readonly defaultMax: string | null;
  readonly query: MetricQuery;
  /** What is counted for the comparison with stable; null where there is nothing to be compared. */
  readonly counters: MetricCounters | null;
}

/** Metrics that are judged when the spec names none. */
export const DEFAULT_METRICS = ['error-rate', 'p95-latency'] as const;

const QUANTILES = [
  ['p50-latency', 0.5],
  ['p95-latency', 0.95],
  ['p99-latency', 0.99],
] as const;

/** The preset's metrics in the language of the source. `labels` are further matchers, already validated. */
export function presetMetrics(
  preset: PresetName,
  source: 'router' | 'flag' | 'prometheus',
  labels: Readonly<Record<string, string>> = {},
): readonly PresetMetric[] {
  if (source !== 'prometheus') return builtinMetrics();
  return promMetrics(NAMES[preset], labels);
}

/** Names of all metrics that any preset knows. */
export const PRESET_METRIC_NAMES: readonly string[] = ['error-rate', ...QUANTILES.map(([name]) => name), 'requests'];

interface SeriesNames {
  readonly requests: string;
  readonly errors: { readonly series: string; readonly matcher: string };
  readonly latency: string;
  readonly selector: readonly string[];
}

const HTTP_NAMES: SeriesNames = {
  requests: 'http_requests_total',
  errors: { series: 'http_requests_total', matcher: 'status=~"5.."' },
  latency: 'http_request_duration_seconds',
  selector: ['service="{{service}}"', 'namespace="{{namespace}}"', 'track="{{track}}"'],
};

const ROUTER_NAMES: SeriesNames = {
  requests: 'canary_requests_total',
  errors: { series: 'canary_errors_total', matcher: '' },
  latency: 'canary_latency_seconds',
  selector: ['cohort="{{track}}"', 'version="{{version}}"'],
};

/** What stands for {{track}} of a flag, and is the variant: users with it, and those without. */
export const FLAG_TRACKS = { canary: 'on', stable: 'off' } as const;

const NAMES: Readonly<Record<PresetName, SeriesNames>> = {
  http: HTTP_NAMES,
  router: ROUTER_NAMES,
  flag: { ...HTTP_NAMES, selector: ['service="{{service}}"', 'namespace="{{namespace}}"', 'variant="{{track}}"'] },
};

function promMetrics(names: SeriesNames, labels: Readonly<Record<string, string>>): readonly PresetMetric[] {
  const own = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const selector = [...names.selector, ...own];
  const vector = (series: string, ...more: string[]): string =>
    `${series}{${[...selector, ...more].filter((matcher) => matcher !== '').join(',')}}`;
  const select = (series: string, ...more: string[]): string => `${vector(series, ...more)}[{{window}}]`;
  const requests = `sum(increase(${select(names.requests)}))`;
  return [
    {
      name: 'error-rate',
      unit: 'ratio',
      defaultMax: DEFAULTS.analysis.limits.errorRate,
      query: {
        kind: 'ratio',
        numerator: `sum(increase(${select(names.errors.series, names.errors.matcher)}))`,
        denominator: requests,
      },
      counters: {
        kind: 'events',
        bad: byTarget(vector(names.errors.series, names.errors.matcher)),
        total: byTarget(vector(names.requests)),
      },
    },
    ...QUANTILES.map(([name, quantile]): PresetMetric => ({
      name,
      unit: 'seconds',
      defaultMax: defaultLatency(name),
      query: {
        kind: 'value',
        expression: `histogram_quantile(${quantile}, sum by (le) (rate(${select(`${names.latency}_bucket`)})))`,
        requests: `sum(increase(${select(`${names.latency}_count`)}))`,
      },
      counters: { kind: 'histogram', buckets: byTarget(vector(`${names.latency}_bucket`), 'le') },
    })),
    {
      name: 'requests',
      unit: 'count',
      defaultMax: null,
      query: { kind: 'value', expression: requests, requests: null },
      counters: null,
    },
  ];
}

/** One series for each process that counts: a restart resets them all together, and is seen by any of them. */
export function byTarget(vector: string, ...labels: readonly string[]): string {
  return `sum by (${['job', 'instance', ...labels].join(', ')}) (${vector})`;
}

function builtinMetrics(): readonly PresetMetric[] {
  return [
    {
      name: 'error-rate',
      unit: 'ratio',
      defaultMax: DEFAULTS.analysis.limits.errorRate,
      query: { kind: 'builtin', metric: 'error-rate' },
      counters: { kind: 'builtin', metric: 'errors' },
    },
    ...QUANTILES.map(([name, quantile]): PresetMetric => ({
      name,
      unit: 'seconds',
      defaultMax: defaultLatency(name),
      query: { kind: 'builtin', metric: 'latency', quantile },
      counters: { kind: 'builtin', metric: 'latency' },
    })),
    {
      name: 'requests',
      unit: 'count',
      defaultMax: null,
      query: { kind: 'builtin', metric: 'requests' },
      counters: null,
    },
  ];
}

function defaultLatency(name: string): string | null {
  return name === 'p95-latency' ? DEFAULTS.analysis.limits.p95Latency : null;
}
