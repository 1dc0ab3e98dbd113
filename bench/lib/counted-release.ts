import type { CountCursor } from '../../src/analysis/counts';
import { countSeries } from '../../src/metrics/prometheus-counts';
import type { AskSeries } from '../../src/metrics/prometheus-counts';
import type { SeriesRange, SeriesValue } from '../../src/metrics/prometheus-answer';
import type { MetricPlan } from '../../src/spec/plan-types';
import { binomial, poisson } from './random';
import type { Detector } from './rules';
import { LOOK_S, MINUTE_S, STABLE_PROCESSES } from './simulated-release';
import type { Release, Traffic } from './simulated-release';

/** A release asks for as much of the time before it. */
const BEFORE_S = 30 * MINUTE_S;

/** Of the canary; stable's are as many as in other simulated releases. */
const CANARY_PROCESSES = 2;

const METRIC: MetricPlan = {
  name: 'errors',
  unit: 'ratio',
  max: null,
  min: null,
  maxRatio: null,
  query: { kind: 'ratio', numerator: '', denominator: '' },
  counters: { kind: 'events', bad: 'bad{track="{{track}}"}', total: 'all{track="{{track}}"}' },
};

/** What processes do to their counters. */
export interface Restarts {
  /** Mean time from one restart of a process to the next, in seconds. */
  readonly everyS: number;
  /** The chance that a restart is a new pod, whose series have other names, and not the same one counting from 0. */
  readonly replaced: number;
}

/**
 * Plays one release by the raw counters of its processes, as a Prometheus would have them that scrapes all of them at
 * each look, and reads batches from them by the reader that releases use. The seconds after which each detector failed
 * the canary, or null.
 */
export async function playCounted(
  random: () => number,
  detectors: readonly Detector[],
  release: Release,
  traffic: Traffic,
  restarts: Restarts,
): Promise<(number | null)[]> {
  const failed = detectors.map((): number | null => null);
  const world = startWorld(random, restarts);
  let now = BEFORE_S;
  world.scrape(0);
  for (let at = MINUTE_S; at <= now; at += MINUTE_S) {
    world.serve(0, traffic, MINUTE_S);
    world.scrape(at);
  }
  for (const weight of release.weights) {
    for (const detector of detectors) detector.weightChanges();
    const since = now;
    let cursor: CountCursor | null = null;
    for (let at = LOOK_S; at <= release.stage; at += LOOK_S) {
      now += LOOK_S;
      world.serve(weight, traffic, LOOK_S);
      world.scrape(now);
      const [counted] = await countSeries(world.ask, {
        service: 'shop',
        namespace: 'bench',
        versions: { canary: 'v2', stable: 'v1' },
        metrics: [METRIC],
        at: now * 1_000,
        weight: 100 * weight,
        subject: 'canary',
        since: since * 1_000,
        cursors: cursor === null ? {} : { errors: cursor },
      });
      if (counted === undefined) throw new Error('There is one metric.');
      if (counted.kind === 'problem') {
        if (counted.problem.kind === 'error') throw new Error(counted.problem.message);
        continue;
      }
      if (counted.kind === 'begin') {
        cursor = counted.cursor;
        const { spreads } = counted;
        if (spreads !== undefined) for (const detector of detectors) detector.begins?.(spreads);
        continue;
      }
      const { canary, stable, spreads } = counted;
      if ('cumulative' in canary || 'cumulative' in stable) throw new Error('Events are counted, and no histogram.');
      // Kept open until both tracks had requests in it, as a release does.
      if (canary.total === 0 || stable.total === 0) continue;
      cursor = counted.cursor;
      for (const [index, detector] of detectors.entries()) {
        if (failed[index] === null && detector.fails({ canary, stable, ...(spreads === undefined ? {} : { spreads }) }))
          failed[index] = now - BEFORE_S;
      }
      if (failed.every((each) => each !== null)) return failed;
    }
  }
  return failed;
}

interface World {
  /** What comes in the next seconds. */
  serve(weight: number, traffic: Traffic, seconds: number): void;
  scrape(atS: number): void;
  readonly ask: AskSeries;
}

interface Process {
  readonly track: string;
  instance: string;
  bad: number;
  all: number;
}

function startWorld(random: () => number, { everyS, replaced }: Restarts): World {
  let started = 0;
  const start = (track: string): Process => ({ track, instance: `${track}-${(started += 1)}`, bad: 0, all: 0 });
  const processes = [
    ...Array.from({ length: CANARY_PROCESSES }, () => start('canary')),
    ...Array.from({ length: STABLE_PROCESSES }, () => start('stable')),
  ];
  const scraped = new Map<number, readonly Process[]>();

  function serveFor(process: Process, seconds: number, perSecond: number, chance: number): void {
    const all = poisson(random, seconds * perSecond);
    process.all += all;
    process.bad += binomial(random, all, chance);
  }

  return {
    serve(weight, { rps, base, times }, seconds) {
      for (const process of processes) {
        const isCanary = process.track === 'canary';
        const perSecond = rps * (isCanary ? weight / CANARY_PROCESSES : (1 - weight) / STABLE_PROCESSES);
        const chance = Math.min(1, base * (isCanary ? times : 1));
        // To the restart, whose moment is as likely as any other, and from it on.
        const before = random() < seconds / everyS ? random() * seconds : seconds;
        serveFor(process, before, perSecond, chance);
        if (before === seconds) continue;
        if (random() < replaced) process.instance = start(process.track).instance;
        [process.bad, process.all] = [0, 0];
        serveFor(process, seconds - before, perSecond, chance);
      }
    },
    scrape(atS) {
      scraped.set(
        atS * 1_000,
        processes.map((process) => ({ ...process })),
      );
    },
    ask: (query, { start: first, stepMs, moments }) => {
      const track = query.includes('"canary"') ? 'canary' : 'stable';
      const counter = query.startsWith('bad') ? 'bad' : 'all';
      const instances = new Map<string, (SeriesValue | null)[]>();
      for (let moment = 0; moment < moments; moment += 1) {
        for (const process of scraped.get(first + moment * stepMs) ?? []) {
          if (process.track !== track) continue;
          const values = instances.get(process.instance) ?? new Array<SeriesValue | null>(moments).fill(null);
          values[moment] = { kind: 'number', text: String(process[counter]) };
          instances.set(process.instance, values);
        }
      }
      const series = [...instances].map(([instance, values]): SeriesRange => ({ labels: { instance }, values }));
      return Promise.resolve({ kind: 'series', series });
    },
  };
}
