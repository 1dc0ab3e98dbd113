import type { EventBatch } from '../../src/analysis/event-evidence';
import { binomial, geometric, poisson } from './random';
import type { Detector } from './rules';

/** Between two looks, and so the length of a batch, in seconds. */
export const LOOK_S = 5;

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
  /** Each error comes as a cluster of so many, of which each request carries one. */
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
  let now = 0;
  for (const weight of release.weights) {
    for (const detector of detectors) detector.weightChanges();
    let held: EventBatch | null = null;
    for (let at = LOOK_S; at <= release.stage; at += LOOK_S) {
      now += LOOK_S;
      const fresh = drawBatch(random, traffic, disturbance, { now, weight });
      const batch: EventBatch = held === null ? fresh : together(held, fresh);
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

function drawBatch(
  random: () => number,
  { rps, base, times }: Traffic,
  { rate, cluster, share }: Disturbance,
  { now, weight }: { readonly now: number; readonly weight: number },
): EventBatch {
  const usual = rate === undefined ? base : rate(base, now, weight);
  const arm = (part: number, chance: number): { bad: number; total: number } => {
    const total = poisson(random, part * rps * LOOK_S);
    if (cluster === undefined) return { bad: binomial(random, total, Math.min(1, chance)), total };
    let bad = 0;
    for (let left = binomial(random, total, Math.min(1, chance)); left > 0; left -= 1) bad += cluster(random);
    // A cluster is of requests: its further errors are requests more.
    return { bad, total: Math.max(total, bad) };
  };
  const canary = share === undefined ? weight : share(weight);
  return { canary: arm(canary, usual * times), stable: arm(1 - canary, usual) };
}

function together(a: EventBatch, b: EventBatch): EventBatch {
  const sum = (track: 'canary' | 'stable'): { bad: number; total: number } => ({
    bad: a[track].bad + b[track].bad,
    total: a[track].total + b[track].total,
  });
  return { canary: sum('canary'), stable: sum('stable') };
}

/** Every error is retried once and fails again; bursts of 3 in the mean. */
export const RETRIED = (): number => 2;
export const bursts = (random: () => number): number => geometric(random, 3);
