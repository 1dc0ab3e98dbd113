import { minus } from '../analysis/counts';
import type { ArmBatch, Spread } from '../analysis/counts';
import type { Observation } from '../analysis/sample';
import { seededRandom } from '../analysis/seeded-random';
import { drawBinomial } from './binomial-draw';
import type { PlayedTick, PlayedTraffic } from './play';
import type { CountedTick, RecordedMetric, Recording } from '../analysis/recording';

/** A fault that the pretend canary has, or a fault that it does not have and stable does. */
export interface Injection {
  /** The canary has that many times the recorded share of errors; below 1 it has fewer. */
  readonly times: number;
  /** From this weight on, percent. */
  readonly fromWeight: number;
}

export interface PretendOptions {
  /** The same for the same split. */
  readonly seed: number;
  readonly injection: Injection | null;
  /** Share of bad events that an injection multiplies, by the metric's name. */
  readonly shares: Readonly<Record<string, number>>;
}

/**
 * A release that never was: of what stable served, each request is the pretend canary's with the chance of the weight,
 * and the rest stays stable's. Both are then alike but for chance, so whoever fails this canary is mistaken.
 *
 * Requests are dealt one by one, bad ones, too: errors that came in clusters are torn apart, unlike in a router that
 * keeps a user at one version.
 */
export function pretendCanary(recording: Recording, { seed, injection, shares }: PretendOptions): PlayedTraffic {
  const dealing = seededRandom(seed);
  // Of its own, so that the split is the same with and without a fault.
  const breaking = seededRandom(seed ^ 0x5bd1e995);
  return {
    ...recording,
    at(name, tick, weight): PlayedTick {
      const metric = recording.metrics.find((each) => each.name === name);
      const share = weight / 100;
      const counted = metric?.stable.counts?.[tick - 1];
      const split = counted === undefined ? null : deal(counted, share, dealing);
      const times = injection === null || weight < injection.fromWeight ? 1 : injection.times;
      const canary = split === null ? null : withErrors(split.canary, times, { share: shares[name] ?? 0, breaking });
      return {
        counts: split === null || canary === null ? null : { canary, stable: split.stable },
        values: valuesOf(metric, tick, share),
      };
    },
  };
}

/** A value that nothing is counted of cannot be split: the pretend canary has stable's, behind its part of the requests. */
function valuesOf(metric: RecordedMetric | undefined, tick: number, share: number): PlayedTick['values'] {
  const value = metric?.stable.values?.[tick - 1];
  if (value === undefined) return null;
  return { canary: partOfRequests(value, share), stable: partOfRequests(value, 1 - share) };
}

function partOfRequests({ events, requests, ...value }: Observation, share: number): Observation {
  return {
    ...value,
    ...(events === undefined ? {} : { events: { bad: events.bad * share, total: events.total * share } }),
    ...(requests === undefined ? {} : { requests: requests * share }),
  };
}

function deal(
  tick: CountedTick,
  share: number,
  random: () => number,
): { readonly canary: CountedTick; readonly stable: CountedTick } {
  if (tick.kind === 'error' || tick.counts === null) return { canary: tick, stable: tick };
  const { counts } = tick;
  const canary = dealBatch(counts, share, random);
  const { spreads, ...others } = tick;
  const left = spreads === undefined ? {} : { spreads: spreads.map((each) => spreadOfRest(each, share)) };
  return { canary: { ...others, counts: canary }, stable: { ...others, ...left, counts: minus(counts, canary) } };
}

/** Of events that come together some are the canary's now: what is left of stable's is that much less uneven. */
function spreadOfRest({ chiSquared, degrees }: Spread, share: number): Spread {
  return { chiSquared: degrees + (chiSquared - degrees) * (1 - share), degrees };
}

/** Bad and good apart, bucket by bucket: which together is the draw without replacement of the requests there were. */
function dealBatch(counts: ArmBatch, share: number, random: () => number): ArmBatch {
  if ('bad' in counts) {
    const bad = drawBinomial(random, counts.bad, share);
    return { bad, total: bad + drawBinomial(random, counts.total - counts.bad, share) };
  }
  let before = 0;
  let dealt = 0;
  return {
    cumulative: counts.cumulative.map((count) => {
      dealt += drawBinomial(random, count - before, share);
      before = count;
      return dealt;
    }),
  };
}

/**
 * Good requests turned bad, as many as it takes for `times` the share: the recorded errors stay where they were. Below 1
 * each of those stays with that chance, and the others turn good.
 */
function withErrors(
  tick: CountedTick,
  times: number,
  { share, breaking }: { readonly share: number; readonly breaking: () => number },
): CountedTick {
  if (times === 1 || tick.kind === 'error' || tick.counts === null || !('bad' in tick.counts)) return tick;
  const { bad, total } = tick.counts;
  if (times < 1) return { ...tick, counts: { bad: drawBinomial(breaking, bad, times), total } };
  const wanted = Math.min(1, share * times);
  const chance = share >= 1 ? 0 : Math.max(0, (wanted - share) / (1 - share));
  return { ...tick, counts: { bad: bad + drawBinomial(breaking, total - bad, chance), total } };
}
