import { wilsonInterval } from '../analysis/wilson';
import type { AnalysisPlan, Plan } from '../spec/plan-types';
import { costMetric, playRelease } from './play';
import type { Played, PlayedPolicy, PlayedStep, PlayedTraffic } from './play';
import { pretendCanary } from './pretend-canary';
import type { Injection } from './pretend-canary';
import { eventsIn, requestsIn } from '../analysis/recording';
import type { Recording } from '../analysis/recording';

/** A plan's analysis in ticks. Soaks and delays that are no whole number of intervals are rounded up. */
export function playedPolicy({ analysis, steps }: Pick<Plan, 'analysis' | 'steps'>): PlayedPolicy {
  const ticks = (ms: number): number => Math.ceil(ms / analysis.intervalMs);
  return {
    analysis,
    steps: steps.flatMap((step): PlayedStep[] =>
      step.kind === 'weight' ? [{ weight: step.weight, soakTicks: Math.max(1, ticks(step.soakMs)) }] : [],
    ),
    // Nothing of a history is late, but a release's looks are: each weight has as many of them here, at the same times.
    delayTicks: ticks(analysis.initialDelayMs + (analysis.lagMs ?? 0)),
    windowTicks: Math.max(1, Math.round(analysis.windowMs / analysis.intervalMs)),
    extendTicks: ticks(analysis.onNoData.extendMs),
  };
}

/** How long a release lasts when nothing holds it up, and at most. In ticks. */
export function lengthsOf({ steps, extendTicks }: PlayedPolicy): { readonly usual: number; readonly longest: number } {
  const usual = steps.reduce((all, { soakTicks }) => all + soakTicks, 0);
  return { usual, longest: usual + steps.length * extendTicks };
}

/** One pretend release of a series. */
export interface SeriesRun {
  /** When it began, epoch milliseconds. */
  readonly at: number;
  readonly played: Played;
}

/** A share of runs, with Wilson's 95 % interval. */
export interface Share {
  readonly count: number;
  readonly of: number;
  readonly lower: number;
  readonly upper: number;
}

/** Releases in which nothing changed. */
export interface HealthySeries {
  readonly runs: readonly SeriesRun[];
  readonly promoted: number;
  readonly undecided: number;
  readonly cutOff: number;
  readonly falseAlarms: Share;
}

/** Releases of a canary with a fault. */
export interface InjectedSeries {
  readonly injection: Injection;
  /** Those that had come to the fault's weight. */
  readonly found: Share;
  /** That ended before, by a false alarm or for want of data. */
  readonly before: number;
  /** Of those that found it, from the weight at which it began. */
  readonly delayMs: Spread | null;
  readonly requests: Spread | null;
  readonly errors: Spread | null;
  /** One by one, in order of time; null where it was not found. */
  readonly delays: readonly { readonly at: number; readonly ms: number | null }[];
  /** Of those that did not, to the end of the release. */
  readonly missed: { readonly requests: Spread; readonly errors: Spread } | null;
}

/** Nearest ranks. */
export interface Spread {
  readonly median: number;
  readonly p95: number;
}

export interface SeriesOptions {
  readonly policy: PlayedPolicy;
  /** One recording for each run. */
  readonly windows: readonly Recording[];
  readonly injection: Injection | null;
  readonly shares: Readonly<Record<string, number>>;
  readonly seed: number;
  /** Told after each run; the next one waits for it. */
  readonly onRun: (done: number) => Promise<void>;
}

/** The pretend releases of all windows, one after the other. */
export async function playSeries(options: SeriesOptions): Promise<SeriesRun[]> {
  const { policy, windows, injection, shares, seed, onRun } = options;
  const runs: SeriesRun[] = [];
  for (const [index, window] of windows.entries()) {
    const traffic = pretendCanary(window, { seed: seed + index, injection, shares });
    runs.push({ at: window.start, played: playRelease(policy, traffic) });
    await onRun(runs.length);
  }
  return runs;
}

export function describeHealthy(runs: readonly SeriesRun[]): HealthySeries {
  const count = (outcome: Played['outcome']): number => runs.filter(({ played }) => played.outcome === outcome).length;
  // A run whose recording ended says nothing about how it would have.
  const whole = runs.length - count('cutOff');
  return {
    runs,
    promoted: count('promoted'),
    undecided: count('undecided'),
    cutOff: count('cutOff'),
    falseAlarms: shareOf(count('failed'), whole),
  };
}

export function describeInjected(runs: readonly SeriesRun[], injection: Injection, tickMs: number): InjectedSeries {
  const exposed = runs.flatMap(({ at, played }) => {
    const onset = played.steps.find(({ weight }) => weight >= injection.fromWeight);
    if (onset === undefined || played.outcome === 'cutOff') return [];
    return {
      at,
      isFound: played.outcome === 'failed',
      ticks: played.tick - onset.after,
      requests: played.cost.requests - onset.cost.requests,
      errors: played.cost.errors - onset.cost.errors,
    };
  });
  const found = exposed.filter(({ isFound }) => isFound);
  const missed = exposed.filter(({ isFound }) => !isFound);
  const requests = spreadOf(missed.map((each) => each.requests));
  const errors = spreadOf(missed.map((each) => each.errors));
  return {
    injection,
    found: shareOf(found.length, exposed.length),
    before: runs.length - exposed.length,
    delayMs: spreadOf(found.map(({ ticks }) => ticks * tickMs)),
    requests: spreadOf(found.map((each) => each.requests)),
    errors: spreadOf(found.map((each) => each.errors)),
    delays: exposed.map(({ at, isFound, ticks }) => ({ at, ms: isFound ? ticks * tickMs : null })),
    missed: requests === null || errors === null ? null : { requests, errors },
  };
}

function shareOf(count: number, of: number): Share {
  return { count, of, ...wilsonInterval(count, of) };
}

function spreadOf(values: readonly number[]): Spread | null {
  const sorted = values.toSorted((one, other) => one - other);
  const rank = (share: number): number | undefined => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  const [median, p95] = [rank(0.5), rank(0.95)];
  return median === undefined || p95 === undefined ? null : { median, p95 };
}

/**
 * Share of bad events of each metric of events, over all windows. Where nothing bad was recorded, one event is taken to
 * have been: of nothing there are no multiples.
 */
export function badShares(
  windows: readonly Recording[],
  { metrics }: AnalysisPlan,
): {
  readonly shares: Readonly<Record<string, number>>;
  /** The metrics of which nothing bad was recorded. */
  readonly clean: readonly string[];
} {
  const shares: Record<string, number> = {};
  const clean: string[] = [];
  for (const { name } of metrics) {
    let [bad, total] = [0, 0];
    for (const metric of windows.flatMap((window) => window.metrics.filter((each) => each.name === name))) {
      for (const tick of metric.stable.counts ?? []) {
        const events = eventsIn(tick);
        bad += events?.bad ?? 0;
        total += events?.total ?? 0;
      }
    }
    if (total === 0) continue;
    if (bad === 0) clean.push(name);
    shares[name] = Math.max(bad, 1) / total;
  }
  return { shares, clean };
}

/** What was recorded of stable between two moments. */
export interface TrafficPoint {
  /** Its end, epoch milliseconds. */
  readonly at: number;
  readonly seconds: number;
  readonly requests: number;
  readonly errors: number;
}

/**
 * Stable's traffic as far as it was recorded, of the metric by which requests and errors are told, in so many points at
 * most. The windows may overlap, and begin in order.
 */
export function trafficIn(windows: readonly Recording[], analysis: AnalysisPlan, points: number): TrafficPoint[] {
  const [first] = windows;
  const last = windows.at(-1);
  if (first === undefined || last === undefined) return [];
  const cost = costMetric(analysis, first.metrics);
  const { tickMs } = first;
  const length = Math.max(1, Math.ceil((last.start - first.start + last.ticks * tickMs) / points / tickMs)) * tickMs;
  const found = new Map<number, { seconds: number; requests: number; errors: number }>();
  let seen = first.start;
  for (const { start, metrics } of windows) {
    const counts = metrics.find(({ name }) => name === cost)?.stable.counts ?? [];
    for (const [index, tick] of counts.entries()) {
      const begin = start + index * tickMs;
      if (begin < seen) continue;
      seen = begin + tickMs;
      const place = Math.floor((begin - first.start) / length);
      const point = found.get(place) ?? { seconds: 0, requests: 0, errors: 0 };
      found.set(place, {
        seconds: point.seconds + tickMs / 1000,
        requests: point.requests + requestsIn(tick),
        errors: point.errors + (eventsIn(tick)?.bad ?? 0),
      });
    }
  }
  // A rate over a moment would be one of the scrapes.
  return [...found]
    .filter(([, { seconds }]) => 2_000 * seconds >= length)
    .map(([place, point]) => ({ at: first.start + (place + 1) * length, ...point }));
}

/** A deploy of which the history has both tracks, as this policy would have seen it. */
export type DeployReview =
  | {
      readonly kind: 'played';
      readonly at: number;
      readonly played: Played;
      /** From the first tick to the verdict; null where it would have been promoted, or undecided. */
      readonly caughtAfterMs: number | null;
      /** What all of the canary that was recorded within the release's length had. */
      readonly recorded: { readonly requests: number; readonly errors: number };
    }
  /** Why it cannot be played, in a sentence. */
  | { readonly kind: 'notRecorded'; readonly at: number; readonly sentence: string };

/** Both tracks as they were recorded, whatever the weight was. */
export function recordedTraffic(recording: Recording): PlayedTraffic {
  return {
    ...recording,
    at(name, tick) {
      const metric = recording.metrics.find((each) => each.name === name);
      const counted = (track: 'canary' | 'stable') => metric?.[track].counts?.[tick - 1];
      const valued = (track: 'canary' | 'stable') => metric?.[track].values?.[tick - 1];
      const [canary, stable] = [counted('canary'), counted('stable')];
      const [atCanary, atStable] = [valued('canary'), valued('stable')];
      return {
        counts: canary === undefined || stable === undefined ? null : { canary, stable },
        values: atCanary === undefined || atStable === undefined ? null : { canary: atCanary, stable: atStable },
      };
    },
  };
}

/** Plays the plan's steps from the moment of a deploy on. */
export function reviewDeploy(policy: PlayedPolicy, recording: Recording): DeployReview {
  const counted = recording.metrics.filter(({ canary }) => canary.counts !== null);
  const had = (track: 'canary' | 'stable'): boolean =>
    counted.some((metric) => metric[track].counts?.some((tick) => requestsIn(tick) > 0) === true);
  const at = recording.start;
  if (counted.length > 0 && !had('canary')) return { kind: 'notRecorded', at, sentence: missing('canary', recording) };
  if (counted.length > 0 && !had('stable')) return { kind: 'notRecorded', at, sentence: missing('stable', recording) };
  const played = playRelease(policy, recordedTraffic(recording));
  return {
    kind: 'played',
    at,
    played,
    caughtAfterMs: played.outcome === 'failed' ? played.tick * recording.tickMs : null,
    recorded: costOf(policy, recording),
  };
}

function missing(track: 'canary' | 'stable', { tickMs, ticks, metrics }: Recording): string {
  const other = track === 'canary' ? 'stable' : 'canary';
  const minutes = Math.round((tickMs * ticks) / 6_000) / 10;
  for (const metric of metrics) {
    const broken = metric[track].counts?.find((tick) => tick.kind === 'error');
    if (broken?.kind !== 'error') continue;
    return `In the ${minutes} min from then on the counters of the ${track} track could not be counted by (${metric.name}): ${broken.message}.`;
  }
  return `In the ${minutes} min from then on the history has no requests of the ${track} track, and without both tracks beside each other there is nothing to compare: what the ${other} track did alone says nothing about this analysis.`;
}

function costOf({ analysis, steps }: PlayedPolicy, recording: Recording): { requests: number; errors: number } {
  const length = steps.reduce((all, { soakTicks }) => all + soakTicks, 0);
  const cost = costMetric(analysis, recording.metrics);
  const metric = recording.metrics.find(({ name }) => name === cost);
  let [requests, errors] = [0, 0];
  for (const tick of metric?.canary.counts?.slice(0, length) ?? []) {
    requests += requestsIn(tick);
    errors += eventsIn(tick)?.bad ?? 0;
  }
  return { requests, errors };
}
