import { NOT_RECORDED } from '../analysis/recording';
import type { CountedTick, RecordedMetric, Recording, TrackRecording } from '../analysis/recording';
import type { Observation } from '../analysis/sample';
import { messageOf, ReleaseError } from '../errors';
import type { MetricPlan } from '../spec/plan-types';
import { resolveQuery } from '../spec/query-template';
import { quantileAskedBy, recordedCounters } from '../spec/recorded-counters';
import { describeHttpFailure, HttpFailure, type HttpClient } from './http';
import { mapBounded } from './pool';
import { pairsIn, readNumber, readRange } from './prometheus-answer';
import type { QueryResult, RangeGrid, RangeResult, SeriesRange } from './prometheus-answer';
import { describeCounters, fillCounters } from './counter-queries';
import type { CounterQueries } from './counter-queries';
import { countTrackEvents, trackOf as countedTrack } from './prometheus-counts';
import { observeRatio, observeValue } from './prometheus-observation';
import {
  askPrometheus,
  createPrometheusClient,
  nameOf,
  seconds,
  type PrometheusAddress,
  type PrometheusOptions,
} from './prometheus-request';
import { countHistogram } from './series-batch';
import type { Batch, EventCounts, HistogramCounts } from './series-batch';

/** What a Prometheus has recorded of a service. */
export interface PrometheusHistory {
  /**
   * One recording for each range, in their order.
   *
   * @throws ReleaseError `unreachable` when a query has no usable answer: a history with holes is no history.
   */
  record(request: HistoryRequest): Promise<readonly Recording[]>;
  /**
   * The first moment within a time at which there is anything of a metric, to within a few hundredths of it; null for
   * none. Throws as `record` does.
   */
  oldest(request: OldestRequest): Promise<number | null>;
  close(): void;
}

interface AskedService {
  readonly service: string;
  readonly namespace: string;
  /** What stands for {{version}}. */
  readonly versions: { readonly canary: string; readonly stable: string };
  /** What stands for {{track}}, where that is not `canary` and `stable`: the colours of a blue-green pair. */
  readonly trackNames?: { readonly canary: string; readonly stable: string };
  readonly signal: AbortSignal;
}

export interface HistoryRequest extends AskedService {
  readonly metrics: readonly MetricPlan[];
  readonly tracks: readonly Track[];
  readonly tickMs: number;
  /** {{window}} of the queries whose value is recorded as it was. */
  readonly windowMs: number;
  readonly ranges: readonly { /** Epoch milliseconds. */ readonly from: number; readonly ticks: number }[];
  /** Told after each part, of all of them. */
  readonly onProgress: (done: number, all: number) => void;
}

export interface OldestRequest extends AskedService {
  readonly metric: MetricPlan;
  readonly from: number;
  readonly to: number;
}

type Track = 'canary' | 'stable';

/** Each asks two queries at a time: no burst worth mentioning for a shared Prometheus. */
const CONCURRENT_PARTS = 2;

/** Far below the 11,000 moments that Prometheus answers at most. */
const TICKS_AT_ONCE = 1_000;

/** Of the look for the oldest data; and {{window}} in it. */
const OLDEST_MOMENTS = 400;
const OLDEST_WINDOW_MS = 5 * 60_000;

/** What is larger than an answer may be is asked for in smaller parts. */
export function createPrometheusHistory(options: PrometheusOptions): PrometheusHistory {
  const client = createPrometheusClient(options);
  return {
    record: (request) => record(client, options, request),
    oldest: (request) => oldest(client, options, request),
    close: () => client.close(),
  };
}

// ---- what is asked ----------------------------------------------------------------------------------------------

/** The PromQL of one track of one metric, filled in. */
interface TrackQueries {
  readonly counts: CounterQueries | null;
  readonly values:
    | { readonly kind: 'ratio'; readonly numerator: string; readonly denominator: string }
    | { readonly kind: 'value'; readonly expression: string; readonly requests: string | null }
    | null;
}

function queriesOf(metric: MetricPlan, track: Track, asked: AskedService, windowMs: number): TrackQueries {
  const fill = (template: string): string => {
    try {
      const name = asked.trackNames?.[track] ?? track;
      return resolveQuery(template, { ...asked, track: name, version: asked.versions[track], windowMs });
    } catch (error) {
      throw new ReleaseError(
        'invalid-spec',
        `${metric.name}: the query's template cannot be filled: ${messageOf(error)}`,
      );
    }
  };
  const counters = recordedCounters(metric);
  const counts = fillCounters(counters, fill);
  const isWhole = counts?.kind === 'events' || (counts?.kind === 'histogram' && quantileAskedBy(metric) !== null);
  return { counts, values: isWhole ? null : valuesOf(metric, fill) };
}

function valuesOf({ query }: MetricPlan, fill: (template: string) => string): TrackQueries['values'] {
  switch (query.kind) {
    case 'ratio':
      return { kind: 'ratio', numerator: fill(query.numerator), denominator: fill(query.denominator) };
    case 'value':
      return {
        kind: 'value',
        expression: fill(query.expression),
        requests: query.requests === null ? null : fill(query.requests),
      };
    case 'http':
    case 'builtin':
      return null;
  }
}

// ---- recording --------------------------------------------------------------------------------------------------

/** A stretch of one track of one metric that is asked for at once. */
interface Part {
  readonly range: number;
  readonly metric: MetricPlan;
  readonly track: Track;
  readonly queries: TrackQueries;
  /** Where it begins, epoch milliseconds. */
  readonly from: number;
  readonly ticks: number;
}

interface RecordedPart {
  readonly counts: readonly Batch<EventCounts | HistogramCounts>[];
  readonly values: readonly Observation[];
}

async function record(
  client: HttpClient,
  options: PrometheusAddress,
  request: HistoryRequest,
): Promise<readonly Recording[]> {
  const { metrics, tracks, ranges, tickMs, windowMs, onProgress } = request;
  const parts = metrics.flatMap((metric) =>
    tracks.flatMap((track) => {
      const queries = queriesOf(metric, track, request, windowMs);
      return ranges.flatMap(({ from, ticks }, range) =>
        partsOf({ range, metric, track, queries, from, ticks }, tickMs),
      );
    }),
  );
  let done = 0;
  const recorded = await mapBounded(parts, CONCURRENT_PARTS, async (part) => {
    const result = await recordPart(client, options, request, part);
    done += 1;
    onProgress(done, parts.length);
    return { part, result };
  });
  return ranges.map(({ from, ticks }, range): Recording => {
    const of = (metric: MetricPlan, track: Track): readonly { part: Part; result: RecordedPart }[] =>
      recorded.filter(({ part }) => part.range === range && part.metric === metric && part.track === track);
    return {
      start: from,
      tickMs,
      ticks,
      metrics: metrics.map((metric): RecordedMetric => {
        const stable = of(metric, 'stable');
        const canary = of(metric, 'canary');
        const boundaries = boundariesIn([...stable, ...canary].map(({ result }) => result));
        const query = [...canary, ...stable].flatMap(({ part }) =>
          part.queries.counts === null ? [] : describeCounters(part.queries.counts),
        );
        return {
          name: metric.name,
          query: [...new Set(query)].join(' against '),
          boundaries,
          stable: trackOf(stable, boundaries),
          canary: trackOf(canary, boundaries),
        };
      }),
    };
  });
}

function partsOf(whole: Part, tickMs: number): Part[] {
  const parts: Part[] = [];
  for (let first = 0; first < whole.ticks; first += TICKS_AT_ONCE) {
    const ticks = Math.min(TICKS_AT_ONCE, whole.ticks - first);
    parts.push({ ...whole, from: whole.from + first * tickMs, ticks });
  }
  return parts;
}

function boundariesIn(parts: readonly RecordedPart[]): readonly number[] | null {
  for (const { counts } of parts) {
    for (const tick of counts) {
      if (tick.kind === 'batch' && tick.counts !== null && 'boundaries' in tick.counts) return tick.counts.boundaries;
    }
  }
  return null;
}

function trackOf(
  parts: readonly { readonly part: Part; readonly result: RecordedPart }[],
  boundaries: readonly number[] | null,
): TrackRecording {
  const [first] = parts;
  if (first === undefined) return NOT_RECORDED;
  const { counts, values } = first.part.queries;
  return {
    counts:
      counts === null ? null : parts.flatMap(({ result }) => result.counts.map((tick) => tickOf(tick, boundaries))),
    values: values === null ? null : parts.flatMap(({ result }) => result.values),
  };
}

function tickOf(tick: Batch<EventCounts | HistogramCounts>, boundaries: readonly number[] | null): CountedTick {
  const counts = tick.kind === 'batch' ? tick.counts : null;
  // A release takes those of its first look.
  if (counts !== null && 'boundaries' in counts && counts.boundaries.join() !== boundaries?.join()) {
    return { kind: 'error', message: "the histogram's boundaries have changed" };
  }
  return countedTrack(tick);
}

/** A part; or, where its answer would be too much for the server or for us, both of its halves. */
async function recordPart(
  client: HttpClient,
  options: PrometheusAddress,
  request: HistoryRequest,
  part: Part,
): Promise<RecordedPart> {
  try {
    return await askPart(client, options, request, part);
  } catch (error) {
    if (!(error instanceof TooMuch)) throw error;
    if (part.ticks === 1)
      throw new ReleaseError('unreachable', `${error.message}, even for a single look at ${part.metric.name}.`);
    const half = Math.ceil(part.ticks / 2);
    const rest = { ...part, from: part.from + half * request.tickMs, ticks: part.ticks - half };
    const first = await recordPart(client, options, request, { ...part, ticks: half });
    const second = await recordPart(client, options, request, rest);
    return { counts: [...first.counts, ...second.counts], values: [...first.values, ...second.values] };
  }
}

async function askPart(
  client: HttpClient,
  options: PrometheusAddress,
  { tickMs, signal }: HistoryRequest,
  { metric, queries, from, ticks }: Part,
): Promise<RecordedPart> {
  const grid = { start: from, stepMs: tickMs, moments: ticks + 1 };
  const ask = (query: string): Promise<readonly SeriesRange[]> =>
    askRange(client, options, { query, what: metric.name, grid, signal });
  const { counts, values } = queries;
  return {
    counts: counts === null ? [] : await countsOf(counts, ticks, ask),
    values: values === null ? [] : await observationsOf(values, ticks, ask),
  };
}

type Ask = (query: string) => Promise<readonly SeriesRange[]>;

async function countsOf(
  counts: NonNullable<TrackQueries['counts']>,
  ticks: number,
  ask: Ask,
): Promise<RecordedPart['counts']> {
  const each = <T>(of: (tick: number) => T): T[] => Array.from({ length: ticks }, (_, tick) => of(tick));
  if (counts.kind === 'histogram') {
    const buckets = await ask(counts.buckets);
    return each((tick) => countHistogram(pairsIn(buckets, tick)));
  }
  const [total, bad] = await Promise.all([ask(counts.total), ask(counts.bad)]);
  return each((tick) => countTrackEvents(pairsIn(total, tick), pairsIn(bad, tick), counts.good));
}

/** What looks at the ends of the ticks would have seen. */
async function observationsOf(
  values: NonNullable<TrackQueries['values']>,
  ticks: number,
  ask: Ask,
): Promise<readonly Observation[]> {
  const [text, behind] =
    values.kind === 'ratio' ? [values.numerator, values.denominator] : [values.expression, values.requests];
  const [series, requests] = await Promise.all([ask(text), behind === null ? null : ask(behind)]);
  return Array.from({ length: ticks }, (_, tick): Observation => {
    const first = { query: { text }, result: resultAt(series, tick + 1) };
    if (behind === null || requests === null) return observeValue(first, undefined);
    const second = { query: { text: behind }, result: resultAt(requests, tick + 1) };
    return values.kind === 'ratio' ? observeRatio(first, second) : observeValue(first, second);
  });
}

function resultAt(series: readonly SeriesRange[], moment: number): QueryResult {
  const present = series.flatMap(({ values }) => values[moment] ?? []);
  const [first] = present;
  if (first === undefined) return { kind: 'empty' };
  if (present.length > 1) {
    const message = `the query answered ${present.length} series instead of one; aggregate them with sum()`;
    return { kind: 'error', message };
  }
  if (first.kind === 'native') {
    return { kind: 'error', message: 'the query answered a native histogram; take a number of it' };
  }
  return readNumber(first.text);
}

async function oldest(
  client: HttpClient,
  options: PrometheusAddress,
  { metric, from, to, signal, ...asked }: OldestRequest,
): Promise<number | null> {
  const { counts, values } = queriesOf(metric, 'stable', { ...asked, signal }, OLDEST_WINDOW_MS);
  const query =
    counts?.kind === 'events'
      ? counts.total
      : (counts?.buckets ?? (values?.kind === 'ratio' ? values.denominator : (values?.requests ?? values?.expression)));
  if (query === undefined) return null;
  const stepMs = Math.max(1_000, Math.ceil((to - from) / OLDEST_MOMENTS));
  const grid = { start: from, stepMs, moments: Math.floor((to - from) / stepMs) + 1 };
  const series = await askRange(client, options, { query: `count(${query})`, what: metric.name, grid, signal });
  const moments = series.flatMap(({ values: each }) => {
    const first = each.findIndex((value) => value !== null);
    return first === -1 ? [] : [from + first * stepMs];
  });
  return moments.length === 0 ? null : Math.min(...moments);
}

// ---- asking -----------------------------------------------------------------------------------------------------

/** An answer that was too large, or too much work for the server. */
class TooMuch extends Error {}

async function askRange(
  client: HttpClient,
  options: PrometheusAddress,
  {
    query,
    what,
    grid,
    signal,
  }: {
    readonly query: string;
    /** Which metric it is about, for people. */
    readonly what: string;
    readonly grid: RangeGrid;
    readonly signal: AbortSignal;
  },
): Promise<readonly SeriesRange[]> {
  const where = `The history of ${what} cannot be read: ${nameOf(options)}`;
  let result: RangeResult;
  try {
    result = await askPrometheus(client, options, {
      path: '/api/v1/query_range',
      form: {
        query,
        start: seconds(grid.start),
        end: seconds(grid.start + (grid.moments - 1) * grid.stepMs),
        step: seconds(grid.stepMs),
      },
      read: (answer) => readRange(answer, grid),
      signal,
    });
  } catch (error) {
    signal.throwIfAborted();
    const why = `${where} ${describeHttpFailure(error)}`;
    if (error instanceof HttpFailure && error.kind === 'too-large') throw new TooMuch(why, { cause: error });
    throw new ReleaseError('unreachable', `${why}.`, { cause: error });
  }
  if (result.kind === 'series') return result.series;
  // Prometheus' words for --query.max-samples and for its limit of moments.
  if (/too many samples|maximum resolution/iu.test(result.message)) throw new TooMuch(`${where}: ${result.message}`);
  throw new ReleaseError('unreachable', `${where}: ${result.message.replace(/\.$/u, '')}.`);
}
