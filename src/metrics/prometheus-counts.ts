import { addSpreads, joinTracks, totalOf } from '../analysis/counts';
import type { CountCursor, Counted, CountedTrack, Spread } from '../analysis/counts';
import { timeBefore } from '../analysis/time-before';
import { messageOf } from '../errors';
import type { MetricCounters, MetricPlan } from '../spec/plan-types';
import { resolveQuery } from '../spec/query-template';
import { isCounted } from '../spec/gathering-policy';
import { describeCounters, fillCounters } from './counter-queries';
import type { CounterQueries } from './counter-queries';
import type { CountRequest } from './metric-source';
import { mapBounded } from './pool';
import { pairsIn } from './prometheus-answer';
import type { RangeGrid, RangeResult, SeriesPair, SeriesRange } from './prometheus-answer';
import { countEvents, countHistogram } from './series-batch';
import type { Batch, EventCounts, HistogramCounts } from './series-batch';

/** Asks for the series of an expression on a grid of moments. */
export type AskSeries = (query: string, grid: RangeGrid) => Promise<RangeResult>;

const CONCURRENT_METRICS = 2;

/** Nothing is scraped more often; and less would be no batch. */
const SHORTEST_BATCH_MS = 1_000;

/**
 * Batches from raw counters at two moments: the end of the last batch and now. What a moment's value says is as old as
 * the last scrape before it: so after a weight change nothing is counted until both tracks have been scraped under the
 * new weight, and counting begins there.
 */
export async function countSeries(ask: AskSeries, request: CountRequest): Promise<readonly Counted[]> {
  const counted = request.metrics.filter(isCounted);
  return mapBounded(counted, CONCURRENT_METRICS, (metric) => countMetric(ask, metric, request));
}

async function countMetric(ask: AskSeries, metric: MetricPlan, request: CountRequest): Promise<Counted> {
  const { name } = metric;
  const { alone = false } = request;
  const cursor = request.cursors[name];
  const from = cursor?.kind === 'time' ? cursor.at : request.since;
  const to = request.at;
  const asked = { from, to };
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
  const described = describeCounters(expressions.canary);
  const query = alone ? described : `${described} against ${describeCounters(expressions.stable)}`;
  if (to - from < SHORTEST_BATCH_MS)
    return problem(query, 'no-data', 'nothing can have been counted since the last look');
  const [canary, stable] = await Promise.all([
    countTrack(ask, expressions.canary, from, to),
    alone ? NONE : countTrack(ask, expressions.stable, from, to),
  ]);
  const differing = differs(canary.batch, stable.batch);
  if (differing !== null) return { ...problem(query, 'error', differing), asked };
  const joined = joinTracks(
    { canary: trackOf(canary.batch), stable: trackOf(stable.batch) },
    {
      name,
      query,
      asked,
      isFirst: cursor === undefined,
      alone,
      cursor: { kind: 'time', at: to, told: { canary: canary.sums.to, stable: stable.sums.to } },
      boundaries: boundariesOf(canary.batch) ?? boundariesOf(stable.batch),
    },
  );
  const counted = withLate(joined, cursor, { canary, stable });
  if (!hasBegun(counted, cursor) || request.counted?.includes(name)) return counted;
  // The first version of a service has no stable track to learn from.
  if (alone && request.versions.stable === '') return counted;
  const before = await spreadsBefore(ask, expressions.stable, request.since);
  if (before.kind === 'spreads') {
    const { spreads } = before;
    return counted.kind === 'begin' ? { ...counted, spreads } : { ...counted, before: spreads };
  }
  const unknown = `how bad events clustered before is not known: ${before.message}`;
  return counted.kind === 'begin'
    ? { ...counted, why: `${counted.why}; ${unknown}` }
    : { ...counted, dropped: [...counted.dropped, unknown] };
}

/** Less than this part of a batch may have been in scrapes that had begun and not ended when it was asked for. */
const LATE_SHARE = 0.05;

/**
 * What a moment's counters come to never changes, but by samples that come late: those of the last batch's end are in no
 * batch, and never will be.
 */
function withLate(
  counted: Counted,
  cursor: CountCursor | undefined,
  tracks: { readonly canary: CountedRange; readonly stable: CountedRange },
): Counted {
  if (counted.kind !== 'batch' || cursor?.kind !== 'time' || cursor.told === undefined) return counted;
  const { told, at } = cursor;
  const late = (['canary', 'stable'] as const).filter((track) => {
    const { from, to } = tracks[track].sums;
    const more = from - told[track];
    return more >= 1 && more > LATE_SHARE * (to - told[track]);
  });
  if (late.length === 0) return counted;
  const whose = late.length === 2 ? 'both tracks' : late[0] === 'canary' ? 'the canary' : 'stable';
  const why = `requests of ${whose} from before ${new Date(at).toISOString()} were not there yet when they were asked for, and are in no batch: samples come late, and analysis.lag is to say how late at most`;
  return { ...counted, dropped: [...counted.dropped, why] };
}

/** Whether counting begins with an answer: at its look, or with a batch from where it was told to begin. */
function hasBegun(counted: Counted, cursor: CountCursor | undefined): counted is Exclude<Counted, { kind: 'problem' }> {
  if (counted.kind === 'begin') return cursor === undefined;
  if (counted.kind === 'problem' || cursor?.kind !== 'time' || cursor.begins !== true) return false;
  // A batch that is kept open comes again.
  return totalOf(counted.canary) > 0 && totalOf(counted.stable) > 0;
}

/** How unevenly bad events fell on a track's processes until a moment; minutes that cannot be counted are left out. */
async function spreadsBefore(
  ask: AskSeries,
  track: CounterQueries,
  until: number,
): Promise<
  | { readonly kind: 'spreads'; readonly spreads: readonly Spread[] }
  | { readonly kind: 'error'; readonly message: string }
> {
  const { from, tickMs, ticks } = timeBefore(until);
  const answer = await countTrackOn(ask, track, { start: from, stepMs: tickMs, moments: ticks + 1 });
  if ('kind' in answer) return answer;
  const spreads = answer.batches.flatMap((batch) => (batch.kind === 'batch' ? [batch.counts?.spreads ?? []] : []));
  return { kind: 'spreads', spreads: spreads.reduce(addSpreads, []) };
}

type TrackBatch = Batch<EventCounts | HistogramCounts>;

/** A track between two moments, and what all of its counters together came to at each. */
interface CountedRange {
  readonly batch: TrackBatch;
  readonly sums: { readonly from: number; readonly to: number };
}

/** Of a track that is not asked. */
const NONE: CountedRange = {
  batch: { kind: 'batch', counts: null, dropped: [], appeared: false },
  sums: { from: 0, to: 0 },
};

interface Expressions {
  readonly canary: CounterQueries;
  readonly stable: CounterQueries;
}

function expressionsOf(counters: MetricCounters | null, request: CountRequest): Expressions {
  const of = (track: 'canary' | 'stable'): CounterQueries => {
    const other = track === 'canary' ? 'stable' : 'canary';
    const name = request.subject === 'stable' ? other : track;
    const filled = fillCounters(counters, (template) =>
      resolveQuery(template, {
        service: request.service,
        namespace: request.namespace,
        track: request.tracks?.[name] ?? name,
        version: request.versions[track],
        windowMs: request.at - request.since,
      }),
    );
    if (filled !== null) return filled;
    throw new TypeError('the counters are those of the in-app router, which Prometheus is not');
  };
  return { canary: of('canary'), stable: of('stable') };
}

async function countTrack(ask: AskSeries, track: CounterQueries, from: number, to: number): Promise<CountedRange> {
  const answer = await countTrackOn(ask, track, { start: from, stepMs: to - from, moments: 2 });
  if ('kind' in answer) return { ...NONE, batch: answer };
  const [batch] = answer.batches;
  if (batch === undefined) throw new RangeError('Two moments are the ends of a batch.');
  const [atFrom = 0, atTo = 0] = answer.sums;
  return { batch, sums: { from: atFrom, to: atTo } };
}

/** A batch between each two moments that follow each other, and what the counters of all events came to at each. */
async function countTrackOn(
  ask: AskSeries,
  track: CounterQueries,
  grid: RangeGrid,
): Promise<
  | { readonly batches: readonly TrackBatch[]; readonly sums: readonly number[] }
  | Extract<RangeResult, { kind: 'error' }>
> {
  const answerOf = (
    all: readonly SeriesRange[],
    count: (step: number) => TrackBatch,
  ): {
    readonly batches: readonly TrackBatch[];
    readonly sums: readonly number[];
  } => ({
    batches: Array.from({ length: grid.moments - 1 }, (_, step) => count(step)),
    sums: Array.from({ length: grid.moments }, (_, moment) => sumAt(all, moment)),
  });
  if (track.kind === 'histogram') {
    const buckets = await ask(track.buckets, grid);
    if (buckets.kind === 'error') return buckets;
    return answerOf(buckets.series, (step) => countHistogram(pairsIn(buckets.series, step)));
  }
  // One after the other would be two moments of the server's memory; the values at a moment that is over do not change.
  const [total, bad] = await Promise.all([ask(track.total, grid), ask(track.bad, grid)]);
  if (total.kind === 'error') return total;
  if (bad.kind === 'error') return bad;
  return answerOf(total.series, (step) =>
    countTrackEvents(pairsIn(total.series, step), pairsIn(bad.series, step), track.good),
  );
}

/** What is no number counts as nothing: whoever counts by it says what is wrong. */
function sumAt(series: readonly SeriesRange[], moment: number): number {
  return series.reduce((sum, { values }) => {
    const value = values[moment];
    const count = Number(value?.kind === 'native' ? value.count : value?.text);
    return Number.isFinite(count) ? sum + count : sum;
  }, 0);
}

/** Bad of all events; `good`: what is counted beside the total are the events that are as they should be. */
export function countTrackEvents(
  total: readonly SeriesPair[],
  counted: readonly SeriesPair[],
  good: boolean,
): Batch<EventCounts> {
  const events = countEvents(total, counted);
  if (!good || events.kind === 'error' || events.counts === null) return events;
  const { bad: asTheyShould, total: all, spreads } = events.counts;
  return { ...events, counts: { bad: all - asTheyShould, total: all, spreads } };
}

function differs(canary: TrackBatch, stable: TrackBatch): string | null {
  const [one, other] = [boundariesOf(canary), boundariesOf(stable)];
  if (one === null || other === null || one.join() === other.join()) return null;
  return 'the boundaries of the canary are others than those of stable';
}

function boundariesOf(batch: TrackBatch): readonly number[] | null {
  return batch.kind === 'batch' && batch.counts !== null && 'boundaries' in batch.counts
    ? batch.counts.boundaries
    : null;
}

/** A track's counters as what the judge counts. */
export function trackOf(batch: TrackBatch): CountedTrack {
  if (batch.kind === 'error') return batch;
  const { counts, ...others } = batch;
  if (counts === null) return { ...others, counts };
  const { spreads } = counts;
  if ('boundaries' in counts) return { ...others, counts: { cumulative: counts.cumulative }, spreads };
  const { bad, total } = counts;
  return { ...others, counts: { bad, total }, spreads };
}
