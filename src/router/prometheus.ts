import { LATENCY_BOUNDS_MS, RouterDefaults } from './defaults';
import type { Cohort } from './protocol';
import { bucketIndex } from './recorder';

/**
 * The part of a prom-client Registry the router needs. It is described here instead of imported, so that an app
 * without prom-client installs and type-checks.
 */
export interface PrometheusRegistry {
  registerMetric(metric: never): void;
}

/** Content type of {@link RouterPrometheus.text}. */
export const PROMETHEUS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** What the counters cannot know by themselves, read at each scrape. */
export interface PrometheusGauges {
  readonly active: boolean;
  readonly weight: number;
}

interface Sample {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly samples: () => readonly Sample[];
}

interface Series {
  readonly labels: { readonly cohort: Cohort; readonly version: string };
  requests: number;
  errors: number;
  latencySumSeconds: number;
  readonly buckets: Float64Array;
  /** Position in the order of use, for making room. */
  usedAt: number;
}

/**
 * Prometheus counters of the router, since the start of the process: unlike the JSON document they survive resets,
 * because a counter that falls reads as a restart.
 */
export class RouterPrometheus {
  readonly #series = new Map<string, Series>();
  readonly #trips = new Map<string, number>();
  readonly #families: readonly Family[];
  #overridesRejected = 0;
  #uses = 0;

  constructor(gauges: () => PrometheusGauges) {
    const perSeries = (name: string, value: (series: Series) => number): (() => Sample[]) => {
      return () => [...this.#series.values()].map((s) => ({ metricName: name, labels: s.labels, value: value(s) }));
    };
    this.#families = [
      {
        name: 'canary_requests_total',
        help: 'Requests finished, by cohort and version.',
        type: 'counter',
        samples: perSeries('canary_requests_total', (series) => series.requests),
      },
      {
        name: 'canary_errors_total',
        help: 'Requests that ended with a status from 500, an exception or a closed connection.',
        type: 'counter',
        samples: perSeries('canary_errors_total', (series) => series.errors),
      },
      {
        name: 'canary_latency_seconds',
        help: 'Time from the router to the end of the answer.',
        type: 'histogram',
        samples: () => [...this.#series.values()].flatMap(histogramSamples),
      },
      single('canary_active', 'gauge', 'Whether a canary is declared, switched on and not tripped.', () =>
        Number(gauges().active),
      ),
      single('canary_weight', 'gauge', 'Percent of subjects the canary gets.', () => gauges().weight),
      {
        name: 'canary_guard_trips_total',
        help: 'Times the canary was taken to 0 in this process, by rule.',
        type: 'counter',
        samples: () =>
          [...this.#trips].map(([rule, value]) => ({
            metricName: 'canary_guard_trips_total',
            labels: { rule },
            value,
          })),
      },
      single(
        'canary_overrides_rejected_total',
        'counter',
        'Override tokens ignored as forged, expired or foreign.',
        () => this.#overridesRejected,
      ),
    ];
  }

  /** Counts one finished request. */
  observe(cohort: Cohort, version: string, latencyMs: number, error: boolean): void {
    const series = this.#seriesOf(cohort, version);
    series.requests += 1;
    if (error) series.errors += 1;
    series.latencySumSeconds += latencyMs / 1000;
    const bucket = bucketIndex(latencyMs);
    series.buckets[bucket] = (series.buckets[bucket] ?? 0) + 1;
  }

  /** Counts a trip. */
  tripped(rule: string): void {
    this.#trips.set(rule, (this.#trips.get(rule) ?? 0) + 1);
  }

  /** Counts an ignored override. */
  overrideRejected(): void {
    this.#overridesRejected += 1;
  }

  /** All metrics in the text format 0.0.4. */
  text(): string {
    return this.#families.map(familyText).join('');
  }

  /**
   * Adds the metrics to a prom-client registry, so that they appear among the app's own.
   * Throws what the registry throws, for instance when a name is taken.
   */
  register(registry: PrometheusRegistry): void {
    for (const { name, help, type, samples } of this.#families) {
      // The members prom-client's Registry calls on a metric.
      const metric = {
        name,
        help,
        type,
        aggregator: 'sum',
        get: () => Promise.resolve({ name, help, type, aggregator: 'sum', values: samples() }),
        reset: () => undefined,
      };
      registry.registerMetric(metric as never);
    }
  }

  #seriesOf(cohort: Cohort, version: string): Series {
    const key = `${cohort} ${version}`;
    const found = this.#series.get(key);
    if (found !== undefined) {
      found.usedAt = ++this.#uses;
      return found;
    }
    if (this.#series.size >= RouterDefaults.seriesKept) {
      const [oldest] = [...this.#series].sort(([, a], [, b]) => a.usedAt - b.usedAt);
      if (oldest !== undefined) this.#series.delete(oldest[0]);
    }
    const series: Series = {
      labels: { cohort, version },
      requests: 0,
      errors: 0,
      latencySumSeconds: 0,
      buckets: new Float64Array(LATENCY_BOUNDS_MS.length + 1),
      usedAt: ++this.#uses,
    };
    this.#series.set(key, series);
    return series;
  }
}

function single(name: string, type: 'counter' | 'gauge', help: string, value: () => number): Family {
  return { name, type, help, samples: () => [{ metricName: name, labels: {}, value: value() }] };
}

function histogramSamples(series: Series): Sample[] {
  const samples: Sample[] = [];
  let running = 0;
  for (const [index, count] of series.buckets.entries()) {
    running += count;
    const bound = LATENCY_BOUNDS_MS[index];
    samples.push({
      metricName: 'canary_latency_seconds_bucket',
      labels: { ...series.labels, le: bound === undefined ? '+Inf' : bound / 1000 },
      value: running,
    });
  }
  samples.push(
    { metricName: 'canary_latency_seconds_sum', labels: series.labels, value: series.latencySumSeconds },
    { metricName: 'canary_latency_seconds_count', labels: series.labels, value: series.requests },
  );
  return samples;
}

function familyText({ name, help, type, samples }: Family): string {
  const lines = samples().map(({ metricName, labels, value }) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(String(text))}"`);
    return `${metricName}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function escapeLabel(text: string): string {
  return text.replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`));
}
