import { addSpreads, spreadsOf, sumOf } from '../../src/analysis/counts';
import type { Spread } from '../../src/analysis/counts';
import type { ArmCounts } from '../../src/analysis/event-evidence';
import { binomial, geometric, poisson } from './random';
import type { Detector, LookedBatch } from './rules';

/** Between two looks, and so the length of a batch, in seconds. */
export const LOOK_S = 5;
export const MINUTE_S = 60;

/** That serve stable's requests, in equal parts. */
export const STABLE_PROCESSES = 10;

export interface Traffic {
  readonly rps: number;
  /** Stable's share of errors. */
  readonly base: number;
  /** The canary's share of errors is that many times stable's. */
  readonly times: number;
}

export interface Release {
  readonly weights: readonly number[];
  /** Of each weight, in seconds. */
  readonly stage: number;
}

/** What happens to both versions alike, or to the counting; each says what it changes of the plain case. */
export interface Disturbance {
  /** The share of errors of both, from the plain one, at a time of the release and a weight. */
  readonly rate?: (base: number, at: number, weight: number) => number;
  /** Each error comes as a cluster of so many at one process, of which each request carries one. */
  readonly cluster?: (random: () => number) => number;
  /** The chance that a scrape fails; its counts come with the next one. */
  readonly gaps?: number;
  /** The share of traffic that the canary really gets at a weight. */
  readonly share?: (weight: number) => number;
}

/** Plays one release and tells each detector of every batch; the seconds after which each one failed it, or null. */
export function playRelease(
  random: () => number,
  detectors: readonly Detector[],
  release: Release,
  traffic: Traffic,
  disturbance: Disturbance = {},
): (number | null)[] {
  const failed = detectors.map((): number | null => null);
  const before = spreadsBefore(() => drawBatch(random, traffic, disturbance, { now: 0, weight: 0, seconds: MINUTE_S }));
  for (const detector of detectors) detector.begins?.(before);
  let now = 0;
  for (const weight of release.weights) {
    for (const detector of detectors) detector.weightChanges();
    let held: LookedBatch | null = null;
    for (let at = LOOK_S; at <= release.stage; at += LOOK_S) {
      now += LOOK_S;
      const fresh = drawBatch(random, traffic, disturbance, { now, weight, seconds: LOOK_S });
      const batch: LookedBatch = held === null ? fresh : together(held, fresh);
      held = disturbance.gaps !== undefined && random() < disturbance.gaps ? batch : null;
      if (held !== null) continue;
      for (const [index, detector] of detectors.entries()) {
        if (failed[index] === null && detector.fails(batch)) failed[index] = now;
      }
      if (failed.every((each) => each !== null)) return failed;
    }
  }
  return failed;
}

/** Of stable, as a release asks for it: of each minute of the half hour before. */
export function spreadsBefore(draw: () => { readonly spreads?: readonly Spread[] }): readonly Spread[] {
  return Array.from({ length: 30 }, () => draw().spreads ?? []).reduce(addSpreads, []);
}

function drawBatch(
  random: () => number,
  { rps, base, times }: Traffic,
  { rate, cluster, share }: Disturbance,
  { now, weight, seconds }: { readonly now: number; readonly weight: number; readonly seconds: number },
): LookedBatch {
  const usual = rate === undefined ? base : rate(base, now, weight);
  const arm = (part: number, chance: number): ArmCounts => {
    const total = poisson(random, part * rps * seconds);
    if (cluster === undefined) return { bad: binomial(random, total, Math.min(1, chance)), total };
    let bad = 0;
    for (let left = binomial(random, total, Math.min(1, chance)); left > 0; left -= 1) bad += cluster(random);
    // A cluster is of requests: its further errors are requests more.
    return { bad, total: Math.max(total, bad) };
  };
  const canary = share === undefined ? weight : share(weight);
  const stable = Array.from({ length: STABLE_PROCESSES }, () => arm((1 - canary) / STABLE_PROCESSES, usual));
  return { canary: arm(canary, usual * times), stable: sumOf(stable), spreads: spreadsOf(stable) };
}

function together(a: LookedBatch, b: LookedBatch): LookedBatch {
  const sum = (track: 'canary' | 'stable'): { bad: number; total: number } => ({
    bad: a[track].bad + b[track].bad,
    total: a[track].total + b[track].total,
  });
  const spreads = addSpreads(a.spreads ?? [], b.spreads ?? []);
  return { canary: sum('canary'), stable: sum('stable'), spreads };
}

/** Every error is retried once and fails again; bursts of 3 in the mean. */
export const RETRIED = (): number => 2;
export const bursts = (random: () => number): number => geometric(random, 3);
