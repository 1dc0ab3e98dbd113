import { addSpreads, joinTracks, totalOf } from '../analysis/counts';
import type { ArmBatch, Counted, Spread } from '../analysis/counts';
import { cursorsOf, gatherEvidence } from '../analysis/gather-evidence';
import type { EvidenceFinding, EvidenceState, GatheringLook } from '../analysis/gather-evidence';
import type { MetricSample, Observation, Sample } from '../analysis/sample';
import { beginSoakClock, decideSoak } from '../analysis/soak-course';
import { judge } from '../analysis/threshold-judge';
import { higherIsBetter } from '../analysis/verdict';
import type { Judgement, JudgeState, MetricVerdict } from '../analysis/verdict';
import { quantileOf } from '../metrics/histogram';
import { gatheringPolicy, isCountedAt } from '../spec/gathering-policy';
import type { AnalysisPlan, MetricPlan } from '../spec/plan-types';
import { quantileAskedBy } from '../spec/recorded-counters';
import type { CountedTick, Recording } from '../analysis/recording';

/** What is played: a plan's analysis over its weights, in ticks of its interval. */
export interface PlayedPolicy {
  readonly analysis: AnalysisPlan;
  readonly steps: readonly PlayedStep[];
  readonly delayTicks: number;
  readonly windowTicks: number;
  /** What a soak without enough evidence is extended by. */
  readonly extendTicks: number;
}

export interface PlayedStep {
  /** Percent. */
  readonly weight: number;
  readonly soakTicks: number;
}

/** The traffic of a release, tick by tick; each tick of a metric is asked for once, in their order, from 1. */
export interface PlayedTraffic extends Pick<Recording, 'start' | 'tickMs' | 'ticks'> {
  readonly metrics: Recording['metrics'];
  at(name: string, tick: number, weight: number): PlayedTick;
}

export interface PlayedTick {
  readonly counts: { readonly canary: CountedTick; readonly stable: CountedTick } | null;
  readonly values: { readonly canary: Observation; readonly stable: Observation } | null;
}

/** How it went. */
export interface Played {
  readonly outcome:
    | 'promoted'
    /** Rolled back by a verdict. */
    | 'failed'
    /** Neither: too little was counted, or the backend failed. What then is up to onNoData. */
    | 'undecided'
    /** The recording is over, and the release was not. */
    | 'cutOff';
  /** Its last tick, from 1; and how far it came. */
  readonly tick: number;
  readonly weight: number;
  /** Why it ended, in a sentence; empty for a promotion. */
  readonly sentence: string;
  /** The metrics that failed it. */
  readonly failing: readonly string[];
  /** What the canary had until then. */
  readonly cost: Cost;
  readonly steps: readonly BegunStep[];
  /** The highest ln E of any metric as a part of its limit: at 1 the canary has failed. Null without evidence. */
  readonly evidence: number | null;
}

export interface BegunStep {
  readonly weight: number;
  /** The last tick before it. */
  readonly after: number;
  /** What the canary had before it. */
  readonly cost: Cost;
}

export interface Cost {
  readonly requests: number;
  readonly errors: number;
}

/**
 * Plays one release: its looks, each with the judge and the evidence of a release's
 * own looks (`activities/measure.ts`). What people do, and what a target takes for itself, is left out.
 */
export function playRelease(policy: PlayedPolicy, traffic: PlayedTraffic): Played {
  const release = new PlayedRelease(policy, traffic);
  return release.play();
}

type StepEnd = { readonly kind: 'passed' } | { readonly kind: 'over'; readonly outcome: Played['outcome'] };

class PlayedRelease {
  readonly #policy: PlayedPolicy;
  readonly #traffic: PlayedTraffic;
  readonly #steps: BegunStep[] = [];
  #tick = 0;
  #weight = 0;
  #cost: Cost = { requests: 0, errors: 0 };
  /** Of each metric the ticks since the weight changed. */
  #seen = new Map<string, PlayedTick[]>();
  #evidence: EvidenceState | null = null;
  #strongest: number | null = null;
  #sentence = '';
  #failing: readonly string[] = [];

  constructor(policy: PlayedPolicy, traffic: PlayedTraffic) {
    this.#policy = policy;
    this.#traffic = traffic;
  }

  play(): Played {
    for (const step of this.#policy.steps) {
      const end = this.#soak(step);
      if (end.kind === 'over') return this.#end(end.outcome);
    }
    this.#sentence = '';
    this.#failing = [];
    return this.#end('promoted');
  }

  #end(outcome: Played['outcome']): Played {
    return {
      outcome,
      tick: this.#tick,
      weight: this.#weight,
      sentence: this.#sentence,
      failing: this.#failing,
      cost: this.#cost,
      steps: this.#steps,
      evidence: this.#strongest,
    };
  }

  /** Ends by the clock, by a failing verdict, or for want of evidence. */
  #soak({ weight, soakTicks }: PlayedStep): StepEnd {
    const { delayTicks, extendTicks, analysis } = this.#policy;
    const since = this.#tick;
    this.#weight = weight;
    this.#seen = new Map();
    this.#steps.push({ weight, after: since, cost: this.#cost });
    let clock = beginSoakClock(since, { soak: soakTicks, delay: delayTicks, interval: 1 });
    let memory: JudgeState | null = null;
    for (;;) {
      if (!this.#advance(clock.nextAt)) {
        this.#sentence = 'The recording ends before the release would have.';
        return { kind: 'over', outcome: 'cutOff' };
      }
      const judgement = this.#look(since, memory);
      memory = judgement.state;
      const { decision, stepVerdict, enough = false } = judgement;
      const times = { interval: 1, extension: extendTicks };
      const next = decideSoak(clock, this.#tick, { decision, stepVerdict, enough, held: false }, times);
      switch (next.kind) {
        case 'failed':
          return this.#fail(judgement);
        case 'passed':
          return { kind: 'passed' };
        case 'undecided':
          if (analysis.onNoData.then === 'promote' && next.verdict === 'insufficient-data') return { kind: 'passed' };
          this.#sentence = `No verdict could be reached (${next.verdict}): ${judgement.stepSentence}`;
          return { kind: 'over', outcome: 'undecided' };
        case 'held':
          throw new Error('Nothing holds a release that is played.');
        case 'goesOn':
          clock = next.clock;
      }
    }
  }

  #fail({ stepSentence, metrics }: Judgement): StepEnd {
    this.#sentence = stepSentence;
    this.#failing = metrics.filter(isFailing).map(({ name }) => name);
    return { kind: 'over', outcome: 'failed' };
  }

  /** Everything up to a tick is seen; false when the recording ends before it. */
  #advance(to: number): boolean {
    if (to > this.#traffic.ticks) return false;
    const cost = costMetric(this.#policy.analysis, this.#traffic.metrics);
    for (; this.#tick < to; this.#tick += 1) {
      for (const { name } of this.#policy.analysis.metrics) {
        const tick = this.#traffic.at(name, this.#tick + 1, this.#weight);
        const seen = this.#seen.get(name);
        if (seen === undefined) this.#seen.set(name, [tick]);
        else seen.push(tick);
        if (name === cost) this.#cost = add(this.#cost, tick.counts?.canary);
      }
    }
    return true;
  }

  #look(since: number, memory: JudgeState | null): Judgement {
    const { analysis, delayTicks, windowTicks } = this.#policy;
    const begin = since + delayTicks;
    const at = this.#moment(this.#tick);
    const window = Math.min(windowTicks, this.#tick - begin);
    const sample: Sample = {
      at,
      windowMs: window * this.#traffic.tickMs,
      metrics: analysis.metrics.map((metric) => this.#sample(metric, since, window)),
    };
    return judge(analysis, memory, sample, this.#gather(begin));
  }

  #moment(tick: number): number {
    return this.#traffic.start + tick * this.#traffic.tickMs;
  }

  // ---- the evidence, as activities/count-evidence.ts and metrics/prometheus-counts.ts have it -------------------

  #gather(begin: number): readonly EvidenceFinding[] {
    const { analysis } = this.#policy;
    const policy = gatheringPolicy(analysis);
    if (policy === null) return [];
    const alone = this.#weight >= 100;
    const look: GatheringLook = { subject: 'canary', since: this.#moment(begin), alone };
    const cursors = cursorsOf(this.#evidence, look);
    const counted = analysis.metrics
      .filter((metric) => isCountedAt(metric, { alone }))
      .map(({ name }) =>
        this.#count(name, { begin, cursor: cursors[name]?.kind === 'time' ? cursors[name].at : null, alone }),
      );
    const { state, findings } = gatherEvidence(policy, this.#evidence, look, counted);
    this.#evidence = state;
    for (const { report } of findings) {
      this.#strongest = Math.max(this.#strongest ?? 0, report.logEvidence / report.limit);
    }
    return findings;
  }

  #count(
    name: string,
    { begin, cursor, alone }: { readonly begin: number; readonly cursor: number | null; readonly alone: boolean },
  ): Counted {
    const metric = this.#traffic.metrics.find((each) => each.name === name);
    const query = metric?.query ?? '';
    const from = cursor === null ? begin : Math.round((cursor - this.#traffic.start) / this.#traffic.tickMs);
    if (this.#tick <= from) {
      const message = 'nothing that counts has been seen since the weight changed';
      return { name, query, kind: 'problem', problem: { kind: 'no-data', message } };
    }
    const seen = this.#seenBetween(name, from, this.#tick);
    const counted = joinTracks(
      { canary: sum(seen.map(({ counts }) => counts?.canary)), stable: sum(seen.map(({ counts }) => counts?.stable)) },
      {
        name,
        query,
        isFirst: cursor === null,
        alone,
        cursor: { kind: 'time', at: this.#moment(this.#tick) },
        boundaries: metric?.boundaries ?? null,
      },
    );
    const spreads = metric?.before;
    return counted.kind === 'begin' && cursor === null && spreads !== undefined ? { ...counted, spreads } : counted;
  }

  // ---- the sample, as metrics/prometheus.ts answers it ------------------------------------------------------------

  #sample(metric: MetricPlan, since: number, window: number): MetricSample {
    const { name } = metric;
    const seen = this.#seenBetween(name, this.#tick - window, this.#tick);
    const last = this.#seen.get(name)?.[this.#tick - since - 1];
    if (last !== undefined && last.values !== null && window > 0)
      return { name, canary: last.values.canary, stable: last.values.stable };
    const recorded = this.#traffic.metrics.find((each) => each.name === name);
    const observe = (track: 'canary' | 'stable'): Observation =>
      observeCounts(
        seen.flatMap(({ counts }) => (counts === null ? [] : [counts[track]])),
        {
          query: recorded?.query ?? '',
          boundaries: recorded?.boundaries ?? null,
          quantile: quantileAskedBy(metric),
          // Then what its query counts is what should happen.
          good: higherIsBetter(metric),
        },
      );
    return { name, canary: observe('canary'), stable: observe('stable') };
  }

  /** The ticks after one and up to another, of this weight. */
  #seenBetween(name: string, after: number, to: number): readonly PlayedTick[] {
    const since = this.#steps.at(-1)?.after ?? 0;
    return this.#seen.get(name)?.slice(after - since, to - since) ?? [];
  }
}

function isFailing({ verdict, dryRun }: MetricVerdict): boolean {
  return verdict === 'fail' && dryRun !== true;
}

/** By which metric requests and errors are told: one that counts errors, or any that counts requests. */
export function costMetric({ metrics }: Pick<AnalysisPlan, 'metrics'>, recorded: Recording['metrics']): string | null {
  const counted = recorded.filter(({ stable }) => stable.counts !== null).map(({ name }) => name);
  const ratio = metrics.find(({ name, unit }) => unit === 'ratio' && counted.includes(name));
  return ratio?.name ?? counted[0] ?? null;
}

function add({ requests, errors }: Cost, tick: CountedTick | undefined): Cost {
  if (tick?.kind !== 'batch' || tick.counts === null) return { requests, errors };
  return { requests: requests + totalOf(tick.counts), errors: errors + ('bad' in tick.counts ? tick.counts.bad : 0) };
}

/** Ticks as one batch: what any of them could not count, the batch cannot. */
function sum(ticks: readonly (CountedTick | undefined)[]): CountedTick {
  const dropped: string[] = [];
  let counts: ArmBatch | null = null;
  let spreads: readonly Spread[] | undefined;
  let appeared = false;
  for (const tick of ticks) {
    if (tick === undefined) continue;
    if (tick.kind === 'error') return tick;
    dropped.push(...tick.dropped);
    appeared ||= tick.appeared;
    if (tick.spreads !== undefined) spreads = addSpreads(spreads ?? [], tick.spreads);
    if (tick.counts === null) continue;
    const total: ArmBatch | null = counts === null ? tick.counts : plus(counts, tick.counts);
    if (total === null) return { kind: 'error', message: "the histogram's boundaries have changed" };
    counts = total;
  }
  return {
    kind: 'batch',
    counts,
    ...(spreads === undefined ? {} : { spreads }),
    dropped: [...new Set(dropped)],
    appeared,
  };
}

function plus(one: ArmBatch, other: ArmBatch): ArmBatch | null {
  if ('cumulative' in one) {
    if (!('cumulative' in other) || other.cumulative.length !== one.cumulative.length) return null;
    const { cumulative } = other;
    return { cumulative: one.cumulative.map((count, index) => count + (cumulative[index] ?? 0)) };
  }
  return 'cumulative' in other ? null : { bad: one.bad + other.bad, total: one.total + other.total };
}

/** What a look at a window sees of what was counted in it. */
function observeCounts(
  ticks: readonly CountedTick[],
  {
    query,
    boundaries,
    quantile,
    good,
  }: {
    readonly query: string;
    readonly boundaries: readonly number[] | null;
    readonly quantile: number | null;
    /** The metric's value is the share of what is not bad. */
    readonly good: boolean;
  },
): Observation {
  const none = (message: string): Observation => ({ query, value: null, problem: { kind: 'no-data', message } });
  if (ticks.length === 0) return none('nothing that counts has been seen since the weight changed');
  const all = sum(ticks);
  if (all.kind === 'error') return { query, value: null, problem: { kind: 'error', message: all.message } };
  const { counts } = all;
  if (counts === null) return none('the query matched no series');
  const requests = totalOf(counts);
  if ('cumulative' in counts) {
    const found = quantileOf({ bounds: boundaries ?? [], cumulative: counts.cumulative }, quantile ?? 0.5);
    if (found.kind === 'empty') return { ...none('there were no requests in the window'), requests };
    return { query, value: found.kind === 'above' ? found.bound : found.value, requests };
  }
  const events = { bad: good ? counts.total - counts.bad : counts.bad, total: counts.total };
  if (requests === 0) return { ...none('there were no requests in the window'), events };
  return { query, value: events.bad / events.total, events };
}
