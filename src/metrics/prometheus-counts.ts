import type { ArmBatch, CountCursor, Counted } from '../analysis/counts';
import { messageOf } from '../errors';
import type { MetricCounters, MetricPlan } from '../spec/plan-types';
import { resolveQuery } from '../spec/query-template';
import type { CountRequest } from './metric-source';
import { mapBounded } from './pool';
import type { SeriesPair, SeriesResult } from './prometheus-answer';
import { countEvents, countHistogram } from './series-batch';
import type { Batch, EventCounts, HistogramCounts } from './series-batch';

/** Asks for the series of an expression at two moments, epoch milliseconds. */
export type AskPairs = (query: string, from: number, to: number) => Promise<SeriesResult>;

const CONCURRENT_METRICS = 2;

/** Nothing is scraped more often; and less would be no batch. */
const SHORTEST_BATCH_MS = 1_000;

/**
 * Batches from raw counters at two moments: the end of the last batch and now. What a moment's value says is as old as
 * the last scrape before it: so after a weight change nothing is counted until both tracks have been scraped under the
 * new weight, and counting begins there.
 */
export async function countSeries(ask: AskPairs, request: CountRequest): Promise<readonly Counted[]> {
  const counted = request.metrics.filter(({ counters }) => counters !== undefined && counters !== null);
  return mapBounded(counted, CONCURRENT_METRICS, (metric) => countMetric(ask, metric, request));
}

async function countMetric(ask: AskPairs, metric: MetricPlan, request: CountRequest): Promise<Counted> {
  const { name } = metric;
  const cursor = request.cursors[name];
  const from = cursor?.kind === 'time' ? cursor.at : request.since;
  const to = request.at;
  const problem = (query: string, kind: 'error' | 'no-data', message: string): Counted => ({
    name,
    query,
    kind: 'problem',
    problem: { kind, message },
  });
  let expressions: Expressions;
  try {
    expressions = expressionsOf(metric.counters ?? null, request);
  } catch (error) {
    return problem('', 'error', `the query's template cannot be filled: ${messageOf(error)}`);
  }
  const query = describe(expressions);
  if (to - from < SHORTEST_BATCH_MS)
    return problem(query, 'no-data', 'nothing can have been counted since the last look');
  const [canary, stable] = await Promise.all([
    countTrack(ask, expressions.canary, from, to),
    countTrack(ask, expressions.stable, from, to),
  ]);
  if (canary.kind === 'error') return problem(query, 'error', canary.message);
  if (stable.kind === 'error') return problem(query, 'error', stable.message);
  if (canary.counts === null && stable.counts === null) {
    return problem(query, 'no-data', 'neither track has a series of these counters');
  }
  const differing = differs(canary.counts, stable.counts);
  if (differing !== null) return problem(query, 'error', differing);
  const hasNews = [canary, stable].map(({ counts, appeared }) => appeared || totalOf(counts) > 0);
  if (cursor === undefined) {
    if (hasNews.some((news) => !news)) {
      return problem(query, 'no-data', 'not both tracks have been seen to have requests since the weight changed');
    }
    return { name, query, kind: 'begin', why: 'what came before the first look at this weight', cursor: at(to) };
  }
  // Kept open, a batch would leave out for good what appeared after it began.
  const onlyAppeared = [canary, stable].some(({ counts, appeared }) => appeared && totalOf(counts) === 0);
  if (onlyAppeared) {
    return { name, query, kind: 'begin', why: 'the counters of a track have only just appeared', cursor: at(to) };
  }
  return {
    name,
    query,
    kind: 'batch',
    canary: armOf(canary.counts, stable.counts),
    stable: armOf(stable.counts, canary.counts),
    ...boundariesOf(canary.counts ?? stable.counts),
    ...(stable.counts !== null && 'spread' in stable.counts ? { spread: stable.counts.spread } : {}),
    dropped: [...canary.dropped, ...stable.dropped],
    cursor: at(to),
  };
}

function at(moment: number): CountCursor {
  return { kind: 'time', at: moment };
}

function totalOf(counts: TrackCounts | null): number {
  if (counts === null) return 0;
  return 'boundaries' in counts ? (counts.cumulative.at(-1) ?? 0) : counts.total;
}

type TrackCounts = EventCounts | HistogramCounts;

/** The resolved PromQL of one track: of all, and of bad events; or of a histogram's buckets. */
type TrackExpressions =
  | { readonly kind: 'events'; readonly bad: string; readonly total: string; readonly good: boolean }
  | { readonly kind: 'histogram'; readonly buckets: string };

interface Expressions {
  readonly canary: TrackExpressions;
  readonly stable: TrackExpressions;
}

function expressionsOf(counters: MetricCounters | null, request: CountRequest): Expressions {
  const of = (track: 'canary' | 'stable'): TrackExpressions => {
    const other = track === 'canary' ? 'stable' : 'canary';
    const name = request.subject === 'stable' ? other : track;
    const fill = (template: string): string =>
      resolveQuery(template, {
        service: request.service,
        namespace: request.namespace,
        track: request.tracks?.[name] ?? name,
        version: request.versions[track],
        windowMs: request.at - request.since,
      });
    switch (counters?.kind) {
      case 'events':
        return { kind: 'events', bad: fill(counters.bad), total: fill(counters.total), good: counters.good ?? false };
      case 'histogram':
        return { kind: 'histogram', buckets: fill(counters.buckets) };
      case 'builtin':
      case undefined:
        throw new TypeError('the counters are those of the in-app router, which Prometheus is not');
    }
  };
  return { canary: of('canary'), stable: of('stable') };
}

function describe({ canary, stable }: Expressions): string {
  const words = (track: TrackExpressions): string =>
    track.kind === 'events' ? `(${track.bad}) ${track.good ? 'good ' : ''}of (${track.total})` : track.buckets;
  return `${words(canary)} against ${words(stable)}`;
}

async function countTrack(
  ask: AskPairs,
  track: TrackExpressions,
  from: number,
  to: number,
): Promise<Batch<TrackCounts>> {
  if (track.kind === 'histogram') {
    const buckets = await ask(track.buckets, from, to);
    return buckets.kind === 'error' ? buckets : countHistogram(buckets.series);
  }
  // One after the other would be two moments of the server's memory; the values at a moment that is over do not change.
  const [total, bad] = await Promise.all([ask(track.total, from, to), ask(track.bad, from, to)]);
  if (total.kind === 'error') return total;
  if (bad.kind === 'error') return bad;
  return countTrackEvents(total.series, bad.series, track.good);
}

/** Bad of all events; `good`: what is counted beside the total are the events that are as they should be. */
export function countTrackEvents(
  total: readonly SeriesPair[],
  counted: readonly SeriesPair[],
  good: boolean,
): Batch<EventCounts> {
  const events = countEvents(total, counted);
  if (!good || events.kind === 'error' || events.counts === null) return events;
  const { bad: asTheyShould, total: all, spread } = events.counts;
  return { ...events, counts: { bad: all - asTheyShould, total: all, spread } };
}

function differs(canary: TrackCounts | null, stable: TrackCounts | null): string | null {
  if (canary === null || stable === null || !('boundaries' in canary) || !('boundaries' in stable)) return null;
  return canary.boundaries.join() === stable.boundaries.join()
    ? null
    : 'the boundaries of the canary are others than those of stable';
}

/** A track without series counted nothing; a histogram of nothing has as many boundaries as the other one. */
function armOf(counts: TrackCounts | null, other: TrackCounts | null): ArmBatch {
  if (counts !== null) {
    return 'boundaries' in counts ? { cumulative: counts.cumulative } : { bad: counts.bad, total: counts.total };
  }
  if (other !== null && 'boundaries' in other) return { cumulative: other.cumulative.map(() => 0) };
  return { bad: 0, total: 0 };
}

function boundariesOf(counts: TrackCounts | null): { readonly boundaries?: readonly number[] } {
  return counts !== null && 'boundaries' in counts ? { boundaries: counts.boundaries } : {};
}
