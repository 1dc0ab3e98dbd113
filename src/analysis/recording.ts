import { addSpreads, totalOf } from './counts';
import type { CountedTrack, Spread } from './counts';
import type { Observation } from './sample';

/**
 * What a metric backend has recorded of a service, cut into ticks: the plan's interval, so that each look falls on the
 * end of one. The ticks of all metrics and tracks of a recording are the same.
 */
export interface Recording {
  /** Where the first tick begins, epoch milliseconds. */
  readonly start: number;
  readonly tickMs: number;
  readonly ticks: number;
  readonly metrics: readonly RecordedMetric[];
}

export interface RecordedMetric {
  readonly name: string;
  /** What was asked for the counts, as sent; empty where nothing is counted. */
  readonly query: string;
  /** Upper ends of a histogram's buckets in seconds, without the last, which is open; null for events. */
  readonly boundaries: readonly number[] | null;
  readonly canary: TrackRecording;
  readonly stable: TrackRecording;
  /** How unevenly bad events fell on stable's processes in the time before; absent where that was not recorded. */
  readonly before?: readonly Spread[];
}

export interface TrackRecording {
  /** What was counted in each tick; null for a metric without counters. */
  readonly counts: readonly CountedTick[] | null;
  /**
   * What a look at the end of each tick sees, of a metric whose value cannot be told from its counts; null for all
   * others.
   */
  readonly values: readonly Observation[] | null;
}

/** One track in one tick. */
export type CountedTick = CountedTrack;

export const NOT_RECORDED: TrackRecording = { counts: null, values: null };

/** The part of a recording that begins at a tick. */
export function partOf(recording: Recording, from: number, ticks: number): Recording {
  const track = ({ counts, values }: TrackRecording): TrackRecording => ({
    counts: counts?.slice(from, from + ticks) ?? null,
    values: values?.slice(from, from + ticks) ?? null,
  });
  return {
    ...recording,
    start: recording.start + from * recording.tickMs,
    ticks: Math.max(0, Math.min(ticks, recording.ticks - from)),
    metrics: recording.metrics.map((metric) => ({
      ...metric,
      canary: track(metric.canary),
      stable: track(metric.stable),
    })),
  };
}

/** Bad events and all of a metric's events in a tick; null for what is no count of events. */
export function eventsIn(tick: CountedTick | undefined): { readonly bad: number; readonly total: number } | null {
  return tick?.kind === 'batch' && tick.counts !== null && 'bad' in tick.counts ? tick.counts : null;
}

/** All events of a tick, of a histogram, too; 0 where nothing was counted. */
export function requestsIn(tick: CountedTick | undefined): number {
  return tick?.kind === 'batch' ? totalOf(tick.counts) : 0;
}

/** How unevenly bad events fell on a track's processes, over all ticks; what cannot be counted is left out. */
export function spreadsIn(ticks: readonly CountedTick[]): readonly Spread[] {
  return ticks.flatMap((tick) => (tick.kind === 'batch' ? [tick.spreads ?? []] : [])).reduce(addSpreads, []);
}
