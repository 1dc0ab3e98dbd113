import { spreadsOf, SUM_FELL, sumOf } from '../analysis/counts';
import type { Spread } from '../analysis/counts';
import type { ArmCounts } from '../analysis/event-evidence';
import { numberIn, type SeriesPair, type SeriesValue } from './prometheus-answer';

/**
 * What counters grew by between two moments, target by target, in whole events.
 *
 * - A counter that has fallen was reset: its target has started anew, and all its counters have counted from 0 since.
 *   What it counted before that and after the first moment is lost, of bad and of all events alike.
 * - Of a series without labels that has fallen nobody knows whether its target started anew, or whether it is a sum over
 *   targets of which one is gone: nothing of it is counted, and from the next batch on it counts again.
 * - A target that was not there at the first moment has counted since nobody knows when: it is left out of this batch.
 * - A series of bad events that was not there at the first moment, at a target that was, stood at 0.
 */
export type Batch<T> =
  | {
      readonly kind: 'batch';
      /** Null without a single series. */
      readonly counts: T | null;
      readonly dropped: readonly string[];
      /** Some target was left out because it has only just appeared, or fallen: from the next batch on it counts. */
      readonly appeared: boolean;
    }
  | { readonly kind: 'error'; readonly message: string };

/** A histogram: counts at or below each boundary (seconds), the last one the total. */
interface Histogram {
  readonly boundaries: readonly number[];
  readonly cumulative: readonly number[];
}

/** A histogram's growth, and how evenly the slow requests fell on the targets, boundary by boundary. */
export interface HistogramCounts extends Histogram {
  readonly spreads: readonly Spread[];
}

/** Nonsense in an answer; its message is one clause. */
class Nonsense extends Error {}

/** Bad of all events, and how evenly the bad ones fell on the targets. */
export interface EventCounts extends ArmCounts {
  readonly spreads: readonly Spread[];
}

/** Bad of all events; null without a single series of all events. */
export function countEvents(total: readonly SeriesPair[], bad: readonly SeriesPair[]): Batch<EventCounts> {
  return guarded(() => {
    const totals = byTarget(total);
    const bads = byTarget(bad);
    for (const target of bads.keys()) {
      if (!totals.has(target)) throw new Nonsense(`${target} counts bad events, but not all of them`);
    }
    const dropped: string[] = [];
    let appeared = false;
    const processes = new Processes<ArmCounts>((one, other) => sumOf([one, other]));
    for (const [target, series] of totals) {
      const all = pairOf(series, target);
      const wrong = pairOf(bads.get(target) ?? [], target);
      if (all.to === null) continue;
      if (all.from === null) {
        dropped.push(`${target} has only just appeared`);
        appeared = true;
        continue;
      }
      // A series that has gone while its target is still there was forgotten by a restart.
      const isReset = all.to < all.from || (wrong.from ?? 0) > (wrong.to ?? 0);
      if (isReset && target === WITHOUT_LABELS) {
        dropped.push(SUM_FELL);
        appeared = true;
        continue;
      }
      const grown = {
        total: all.to - (isReset ? 0 : all.from),
        bad: (wrong.to ?? 0) - (isReset ? 0 : (wrong.from ?? 0)),
      };
      if (isReset) dropped.push(`${target} has started anew`);
      if (grown.bad > grown.total) {
        dropped.push(`${target} counted ${grown.bad} bad of ${grown.total} events`);
        continue;
      }
      processes.add(series, grown);
    }
    const counted = processes.all();
    const counts = { ...sumOf(counted), spreads: spreadsOf(counted) };
    return { kind: 'batch', counts: totals.size === 0 ? null : counts, dropped, appeared };
  });
}

/** A histogram, classic (by `le`) or native; null without a single series. */
export function countHistogram(buckets: readonly SeriesPair[]): Batch<HistogramCounts> {
  return guarded(() => {
    const targets = byTarget(buckets);
    const dropped: string[] = [];
    let boundaries: readonly number[] | null = null;
    const processes = new Processes<{ readonly cumulative: readonly number[] }>((one, other) => ({
      cumulative: one.cumulative.map((count, index) => count + (other.cumulative[index] ?? 0)),
    }));
    let appeared = false;
    for (const [target, series] of targets) {
      const { from, to } = histogramOf(series, target);
      if (to === null) continue;
      if (boundaries !== null && !isSame(boundaries, to.boundaries)) {
        throw new Nonsense(`the boundaries of ${target} are others than those of the other targets`);
      }
      boundaries = to.boundaries;
      if (from === null) {
        dropped.push(`${target} has only just appeared`);
        appeared = true;
        continue;
      }
      if (!isSame(from.boundaries, to.boundaries)) throw new Nonsense(`the boundaries of ${target} have changed`);
      const isReset = to.cumulative.some((count, index) => count < (from.cumulative[index] ?? 0));
      if (isReset && target === WITHOUT_LABELS) {
        dropped.push(SUM_FELL);
        appeared = true;
        continue;
      }
      if (isReset) dropped.push(`${target} has started anew`);
      const grown = to.cumulative.map((count, index) => count - (isReset ? 0 : (from.cumulative[index] ?? 0)));
      if (grown.some((count, index) => count < (grown[index - 1] ?? 0))) {
        dropped.push(`${target} counted more requests below a boundary than below a higher one`);
        continue;
      }
      processes.add(series, { cumulative: grown });
    }
    if (boundaries === null) return { kind: 'batch', counts: null, dropped, appeared };
    const counted = processes.all();
    const cumulative = Array.from({ length: boundaries.length + 1 }, (_, index) =>
      counted.reduce((sum, each) => sum + (each.cumulative[index] ?? 0), 0),
    );
    return { kind: 'batch', counts: { boundaries, cumulative, spreads: spreadsOf(counted) }, dropped, appeared };
  });
}

function guarded<T>(count: () => Batch<T>): Batch<T> {
  try {
    return count();
  } catch (error) {
    if (error instanceof Nonsense) return { kind: 'error', message: error.message };
    throw error;
  }
}

/** A target that nothing tells from others: perhaps all of them, summed. */
const WITHOUT_LABELS = 'the only series';

/** Series by what they have in common but the boundary; that is how a target is named to people, too. */
function byTarget(series: readonly SeriesPair[]): ReadonlyMap<string, readonly SeriesPair[]> {
  const targets = new Map<string, SeriesPair[]>();
  for (const each of series) {
    const labels = Object.entries(each.labels).filter(([label]) => label !== 'le' && label !== '__name__');
    const name = labels
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([label, value]) => `${label}="${value}"`)
      .join(',');
    const target = name === '' ? WITHOUT_LABELS : `{${name}}`;
    targets.set(target, [...(targets.get(target) ?? []), each]);
  }
  return targets;
}

/** By which Prometheus, and Kubernetes beside it, tell processes apart. */
const PROCESS_LABELS = ['instance', 'pod'] as const;
/** Where a process of the same name may be another one. */
const PLACE_LABELS = ['cluster', 'namespace', 'job', ...PROCESS_LABELS] as const;

/**
 * What was counted, process by process. Other labels (`status`, `route`) tell kinds of events apart, and those of one kind
 * may all be bad: between them nothing is learnt of clusters. Series that name no process are taken for one.
 */
class Processes<T> {
  readonly #add: (one: T, other: T) => T;
  readonly #counted = new Map<string, T>();

  constructor(add: (one: T, other: T) => T) {
    this.#add = add;
  }

  /** Counts of a target with these series. */
  add([first]: readonly SeriesPair[], counts: T): void {
    const labels = first?.labels ?? {};
    const isNamed = PROCESS_LABELS.some((label) => labels[label] !== undefined);
    const process = isNamed ? JSON.stringify(PLACE_LABELS.map((label) => labels[label] ?? '')) : '';
    const known = this.#counted.get(process);
    this.#counted.set(process, known === undefined ? counts : this.#add(known, counts));
  }

  all(): readonly T[] {
    return [...this.#counted.values()];
  }
}

interface Ends<T> {
  readonly from: T | null;
  readonly to: T | null;
}

function pairOf(series: readonly SeriesPair[], target: string): Ends<number> {
  const [first, second] = series;
  if (first === undefined) return { from: null, to: null };
  if (second !== undefined) throw new Nonsense(`${target} has ${series.length} series where one was meant`);
  const read = (value: SeriesValue | null): number | null => {
    if (value === null) return null;
    if (value.kind === 'native') throw new Nonsense(`${target} answered a native histogram where a counter was meant`);
    return countIn(value.text, target);
  };
  return { from: read(first.from), to: read(first.to) };
}

function histogramOf(series: readonly SeriesPair[], target: string): Ends<Histogram> {
  return { from: histogramAt(series, 'from', target), to: histogramAt(series, 'to', target) };
}

function histogramAt(series: readonly SeriesPair[], end: 'from' | 'to', target: string): Histogram | null {
  const present = series.flatMap((each) => (each[end] === null ? [] : [{ labels: each.labels, value: each[end] }]));
  const [first, second] = present;
  if (first === undefined) return null;
  if (first.value.kind === 'native') {
    if (second !== undefined) throw new Nonsense(`${target} has ${present.length} series where one was meant`);
    return nativeCounts(first.value, target);
  }
  const buckets = present.map(({ labels, value }) => {
    const boundary = numberIn(labels['le'] ?? '');
    if (Number.isNaN(boundary)) throw new Nonsense(`a series of ${target} has no label le`);
    if (value.kind === 'native') throw new Nonsense(`${target} answered a native histogram beside a classic one`);
    return { boundary, count: countIn(value.text, target) };
  });
  buckets.sort((one, other) => one.boundary - other.boundary);
  if (buckets.some(({ boundary }, index) => boundary === buckets[index - 1]?.boundary)) {
    throw new Nonsense(`${target} has several series with the same boundary`);
  }
  if (buckets.at(-1)?.boundary !== Infinity) throw new Nonsense(`${target} has no bucket le="+Inf"`);
  return {
    boundaries: buckets.slice(0, -1).map(({ boundary }) => boundary),
    cumulative: buckets.map(({ count }) => count),
  };
}

/**
 * Powers of two, 1 ms to 32 s: ends of buckets in every native histogram of schema 0 and finer, so that counts at them
 * are exact whatever buckets are filled. In seconds. Coarser ones, and those with buckets of their own, are refused where
 * a filled bucket has one of these within.
 */
const NATIVE_BOUNDARIES: readonly number[] = Array.from({ length: 16 }, (_, index) => 2 ** (index - 10));

function nativeCounts({ count, buckets }: Extract<SeriesValue, { kind: 'native' }>, target: string): Histogram {
  const read = buckets.map((bucket) => ({
    above: numberIn(bucket.above),
    le: numberIn(bucket.le),
    count: countIn(bucket.count, target),
  }));
  const total = countIn(count, target);
  const atOrBelow = (boundary: number): number =>
    read.reduce((sum, bucket) => {
      // Ends of buckets are computed by powers, so that their last digit may differ.
      if (bucket.le <= boundary * (1 + 1e-9)) return sum + bucket.count;
      if (bucket.count > 0 && bucket.above < boundary * (1 - 1e-9)) {
        throw new Nonsense(
          `${target} has a bucket from ${bucket.above} to ${bucket.le} s, which hides how many are slower than ${boundary} s: native histograms are counted at powers of two, which takes schema 0 or a finer one`,
        );
      }
      return sum;
    }, 0);
  return { boundaries: NATIVE_BOUNDARIES, cumulative: [...NATIVE_BOUNDARIES.map(atOrBelow), total] };
}

/** A counter's value: a whole number, at least 0. Sums of floats may miss it by a rounding error. */
function countIn(text: string, target: string): number {
  const value = numberIn(text);
  if (!Number.isFinite(value)) throw new Nonsense(`${target} answered ${text}, which is no number`);
  if (value < 0) throw new Nonsense(`${target} answered ${text}, which is less than nothing`);
  const count = Math.round(value);
  if (Math.abs(count - value) > 1e-6 * Math.max(1, count)) {
    throw new Nonsense(`${target} answered ${text}, which is no whole number: events are counted, not averaged`);
  }
  return count;
}

function isSame(one: readonly number[], other: readonly number[]): boolean {
  return one.length === other.length && one.every((value, index) => value === other[index]);
}
