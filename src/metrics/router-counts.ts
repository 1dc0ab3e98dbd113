import { minus, readBetween, spreadsOf, whyAnew } from '../analysis/counts';
import type { ArmBatch, CountCursor, Counted, CountedSince, CountedUntil, Spread } from '../analysis/counts';
import type { Cohort } from '../router/protocol';
import { sumHistograms, type CumulativeHistogram } from './histogram';
import { displayUrl } from './http';
import type { CountRequest } from './metric-source';
import { whyNotServed, type InstanceAnswer } from './router-instances';

/**
 * Batches of events from what the instances have counted since the weight changed: exact from the first request on, for
 * each instance counts by the weight that decided. An instance that has started anew counts anew, and so does the batch.
 *
 * `asked` is the request that was answered, for people.
 */
export function countReadings(
  answers: readonly InstanceAnswer[],
  request: CountRequest,
  asked: string,
): readonly Counted[] {
  const reading = readCounts(answers, request);
  return request.metrics.flatMap(({ name, counters }): Counted[] => {
    if (counters === undefined || counters === null) return [];
    if (counters.kind !== 'builtin') {
      const message = 'the in-app router answers no PromQL; set spec.analysis.source to prometheus';
      return [{ name, query: asked, kind: 'problem', problem: { kind: 'error', message } }];
    }
    const query = `${asked}: ${counters.metric} of both tracks at ${request.weight ?? 0} %`;
    const cursor = request.cursors[name];
    const between = readBetween(cursor, request.at);
    if (typeof reading === 'string') {
      return [{ name, query, asked: between, kind: 'problem', problem: { kind: 'error', message: reading } }];
    }
    const { at } = request;
    return [{ name, query, asked: between, ...sinceCursor(reading, { metric: counters.metric, cursor, at }) }];
  });
}

interface Reading {
  /** Who counted, and since when: what two readings must have in common to be subtracted. */
  readonly counters: readonly string[];
  readonly canary: TrackReading;
  readonly stable: TrackReading;
  /** Stable, instance by instance in the order of `counters`. */
  readonly stableParts: readonly TrackReading[];
}

interface TrackReading {
  readonly requests: number;
  readonly errors: number;
  readonly histogram: CumulativeHistogram;
}

/** So many instances tell how unevenly things fall on them; of more, no more has to be remembered between two looks. */
const APART_AT_MOST = 10;

/** The sum of what all instances have counted at this weight; or why there is none. */
function readCounts(answers: readonly InstanceAnswer[], request: CountRequest): Reading | string {
  if (answers.length === 0) return 'the target has no instances';
  const counters: string[] = [];
  const parts: Record<Cohort, TrackReading[]> = { canary: [], stable: [] };
  for (const each of answers) {
    const wrong = whyNotServed(each, 'canary', request) ?? whyNotServed(each, 'stable', request);
    const { instance, answer } = each;
    if (wrong !== null || typeof answer === 'string') return wrong ?? '';
    const { atWeight } = answer;
    const where = `instance ${displayUrl(instance)}`;
    if (atWeight === undefined) return `${where} does not count by weight: its router is of an older version of Sluice`;
    if (atWeight.weight !== request.weight) {
      return `${where} is at ${atWeight.weight} %, not at ${request.weight ?? 0} %`;
    }
    counters.push(`${answer.instance}/${atWeight.since}`);
    for (const track of ['canary', 'stable'] as const) {
      const { requests, errors, histogram } = atWeight[track];
      const { boundsMs: bounds, cumulative } = histogram;
      parts[track].push({ requests, errors, histogram: { bounds, cumulative } });
    }
  }
  const canary = sumReadings(parts.canary);
  const stable = sumReadings(parts.stable);
  if (canary === null || stable === null) return 'the instances have histograms with different bounds';
  return { counters, canary, stable, stableParts: parts.stable.slice(0, APART_AT_MOST) };
}

function sumReadings(parts: readonly TrackReading[]): TrackReading | null {
  const histogram = sumHistograms(parts.map((part) => part.histogram));
  if (histogram === null) return null;
  const total = (key: 'requests' | 'errors'): number => parts.reduce((sum, part) => sum + part[key], 0);
  return { requests: total('requests'), errors: total('errors'), histogram };
}

function sinceCursor(reading: Reading, { metric, cursor, at }: CountedUntil): CountedSince {
  const batchOf = ({ errors, requests, histogram }: TrackReading): ArmBatch =>
    metric === 'errors' ? { bad: errors, total: requests } : { cumulative: histogram.cumulative };
  const { counters } = reading;
  const now = { canary: batchOf(reading.canary), stable: batchOf(reading.stable) };
  const stableParts = reading.stableParts.map(batchOf);
  const next: CountCursor = { kind: 'reading', counters, ...now, stableParts, at };
  const isSame = cursor?.kind === 'reading' && cursor.counters.join() === counters.join();
  if (cursor !== undefined && !isSame) {
    return { kind: 'begin', why: whyAnew(cursor, 'an instance counts anew'), cursor: next };
  }
  const boundaries = metric === 'errors' ? {} : { boundaries: reading.canary.histogram.bounds.map((ms) => ms / 1000) };
  return {
    kind: 'batch',
    canary: isSame ? minus(now.canary, cursor.canary) : now.canary,
    stable: isSame ? minus(now.stable, cursor.stable) : now.stable,
    ...boundaries,
    ...spreadsSince(stableParts, isSame ? cursor.stableParts : []),
    dropped: [],
    cursor: next,
  };
}

/** How unevenly stable's bad events fell on its instances; unknown where an earlier version of Sluice did not keep them apart. */
function spreadsSince(
  now: readonly ArmBatch[],
  before: readonly ArmBatch[] | undefined,
): { readonly spreads?: readonly Spread[] } {
  if (before === undefined) return {};
  const grown = now.map((each, index) => {
    const earlier = before[index];
    return earlier === undefined ? each : minus(each, earlier);
  });
  return { spreads: spreadsOf(grown) };
}
