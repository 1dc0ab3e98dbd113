import type { AnalysisPlan, KubernetesTargetPlan, MetricPlan, MetricSourcePlan, Plan, PlanStep } from './plan-types';
import { FLAG_TRACKS } from './presets';
import { resolveQuery } from './query-template';
import { isTestedAtEachLook } from './tested-at-each-look';
import { resolveUrl } from './url-template';
import { formatDuration, formatPercent } from './units';

/** A plan in words: what `sluice plan` prints, and what an approver reads. Pure text; no colours, no padding. */
export interface PlanDescription {
  /** One row a step, in order. */
  readonly rows: readonly PlanRow[];
  readonly totals: {
    /** Milliseconds all weights are held together, when everything passes at once. */
    readonly soakMs: number;
    /** Milliseconds when every deadline, approval and extension is used up to its end. */
    readonly longestMs: number;
    /** `8m of soaks; at most 4h48m with every deadline used up`. */
    readonly text: string;
  };
  readonly metrics: readonly MetricDescription[];
  /** How evidence is judged, a sentence each. */
  readonly notes: readonly string[];
}

export interface PlanRow {
  readonly name: string;
  readonly what: string;
  /** `5m`, `up to 10m`. */
  readonly time: string;
}

export interface MetricDescription {
  readonly name: string;
  /** `max 5%, compared with stable`. */
  readonly limits: string;
  /** Exactly what is asked, for each track. */
  readonly queries: readonly { readonly track: 'canary' | 'stable'; readonly part: string; readonly query: string }[];
}

export interface DescribeOptions {
  /** The version in use, where it is known; `<stable>` stands for it otherwise. */
  readonly stableVersion?: string;
}

export function describePlan(plan: Plan, options: DescribeOptions = {}): PlanDescription {
  const soakMs = sum(plan.steps.map((step) => (step.kind === 'weight' ? step.soakMs : 0)));
  const longestMs = sum(plan.steps.map((step) => longest(step, plan)));
  return {
    rows: plan.steps.map((step) => ({ name: step.name, what: whatOf(step, plan), time: timeOf(step, plan) })),
    totals: {
      soakMs,
      longestMs,
      text: `${formatDuration(soakMs)} of soaks; at most ${formatDuration(longestMs)} with every deadline used up`,
    },
    metrics: plan.analysis.metrics.map((metric) => describeMetric(metric, plan, options.stableVersion ?? '<stable>')),
    notes: notesOf(plan),
  };
}

/** The limits of a metric as a spec writes them. */
export function describeLimits(metric: MetricPlan, analysis: AnalysisPlan): string {
  const limits: string[] = [];
  if (metric.max !== null) limits.push(`max ${formatValue(metric.max, metric.unit)}`);
  if (metric.min !== null) limits.push(`min ${formatValue(metric.min, metric.unit)}`);
  if (metric.maxRatio !== null) limits.push(`at most ${metric.maxRatio} times stable`);
  const { objective, counters = null } = metric;
  const { evidence = null } = analysis;
  if (objective !== undefined && objective !== null) {
    const slower = metric.unit === 'seconds' && metric.max !== null ? ' slower than max' : '';
    limits.push(`objective ${formatPercent(objective)}${slower}`);
  }
  if (counters !== null && evidence !== null) {
    limits.push(
      `evidence against stable (alpha ${evidence.alpha} of the release, ${evidence.tolerate} times tolerated)`,
    );
  } else if (analysis.compare !== null && isTestedAtEachLook(analysis, metric)) {
    const { alpha, tolerate } = analysis.compare;
    limits.push(`compared with stable at each look (alpha ${alpha} each time, ${tolerate} times tolerated)`);
  }
  if (metric.critical === true) limits.push('critical');
  if (metric.dryRun === true) limits.push('dry run: never acted on');
  return limits.join(', ');
}

function formatValue(value: number, unit: MetricPlan['unit']): string {
  switch (unit) {
    case 'ratio':
      return formatPercent(value);
    case 'seconds':
      return formatDuration(Math.round(value * 1000));
    case 'count':
      return String(value);
  }
}

function whatOf(step: PlanStep, plan: Plan): string {
  switch (step.kind) {
    case 'deploy':
      if (plan.short !== undefined) {
        return `take up ${plan.version} as it runs${step.onto === undefined ? '' : ` on ${step.onto}`}, without traffic`;
      }
      return pairOf(plan) === null
        ? `bring ${plan.version} up beside stable, without traffic`
        : `bring ${plan.version} up on the idle colour, as large as the active one, without traffic`;
    case 'smokeTest': {
      const body = step.expectBody === null ? '' : ` and ${JSON.stringify(step.expectBody)} in the answer`;
      return `GET ${step.path} of the new version, expecting ${step.expectStatus}${body}, ${times(step.attempts)}`;
    }
    case 'weight': {
      const { intervalMs, lagMs = 0 } = plan.analysis;
      const count = Math.max(0, Math.floor((step.soakMs - lagMs) / intervalMs));
      const share = step.weight === 100 && pairOf(plan) !== null ? 'switch all traffic' : `${step.weight} % of traffic`;
      return `${share}, measured every ${formatDuration(intervalMs)} (about ${count} times)`;
    }
    case 'match': {
      const { match } = step;
      const value = match.kind === 'header' ? (match.value ?? 'always') : 'always';
      const marked = `${match.kind} ${match.name}: ${value}`;
      return `send requests with the ${marked} to the new version, whatever the weight`;
    }
    case 'approve': {
      const who = step.by.length === 0 ? 'anyone who says who they are' : step.by.join(', ');
      const then = { rollback: 'roll back', pause: 'pause', continue: 'go on without' }[step.onExpiry];
      return `wait for ${who}; unanswered: ${then}`;
    }
    case 'promote': {
      const pair = pairOf(plan);
      if (pair === null) return `make ${plan.version} the stable version`;
      const kept = pair.keepOldMs === 0 ? 'not kept' : `kept for ${formatDuration(pair.keepOldMs)}`;
      return `make ${plan.version} the active version; the old one is ${kept}`;
    }
    case 'cleanUp':
      return `weight 0, wait until the pods have drained, then take the pods of ${step.track} away`;
  }
}

/** The target of a blue-green release; null for any other. */
function pairOf({ target }: Plan): KubernetesTargetPlan | null {
  return target.kind === 'kubernetes' && target.strategy === 'blueGreen' ? target : null;
}

function times(attempts: number): string {
  return attempts === 1 ? 'once' : `up to ${attempts} times`;
}

function timeOf(step: PlanStep, plan: Plan): string {
  if (step.kind === 'match') return 'at once';
  return step.kind === 'weight' ? formatDuration(step.soakMs) : `up to ${formatDuration(longest(step, plan))}`;
}

function longest(step: PlanStep, { analysis, target }: Plan): number {
  switch (step.kind) {
    case 'weight':
      return step.soakMs + analysis.onNoData.extendMs;
    case 'smokeTest':
      return step.attempts * step.timeoutMs + (step.attempts - 1) * step.intervalMs;
    case 'match':
      return 0;
    case 'deploy':
    case 'approve':
    case 'promote':
      return step.timeoutMs;
    case 'cleanUp':
      return target.kind === 'kubernetes' ? target.drainMs : 0;
  }
}

function notesOf({ analysis, steps, onFailure, target }: Plan): string[] {
  // Nothing is measured then.
  if (!steps.some((step) => step.kind === 'weight')) return [];
  const { minRequests, windowMs, lagMs = 0, onNoData } = analysis;
  const notes = [
    `A step passes with at least ${analysis.minMeasurements} valid measurements of all metrics, each over ${formatDuration(windowMs)} or since the last weight change, with at least ${minRequests} requests to the canary.`,
    `More than ${analysis.failureLimit} failed measurements of a step fail it; then: ${onFailure === 'rollback' ? 'roll back' : 'pause for a person'}.`,
    `Without enough valid measurements the weight is held up to ${formatDuration(onNoData.extendMs)} longer, then: ${NO_DATA_WORDS[onNoData.then]}.`,
  ];
  const splits = steps.some((step) => step.kind === 'weight' && step.weight < 100);
  if (target.kind === 'kubernetes' && target.traffic.kind === 'replicas' && splits) {
    notes.push(
      'A share is a whole number of pods, so which weights are reached depends on how many there are; `sluice doctor` says what they make of each, and the deploy step does.',
    );
  }
  if (lagMs > 0) {
    const lag = formatDuration(lagMs);
    notes.push(
      `Each measurement is about the time up to ${lag} before it, since samples may be that late: the first one of a weight comes that much later, and what happens in a weight's last ${lag} is not judged.`,
    );
  }
  const { evidence = null } = analysis;
  if (evidence !== null) {
    notes.push(
      `Bad events and slow requests of both tracks are counted over the whole release; a canary that is at most ${evidence.tolerate} times as bad as stable is failed by them in at most ${formatPercent(evidence.alpha)} of releases, however often is looked.`,
    );
    if (evidence.stableShare !== undefined) {
      notes.push(
        `Of that chance ${formatPercent(evidence.stableShare)} is for the new stable pods, which are judged by themselves while the traffic is handed back to them, and the rest for the canary.`,
      );
    }
    if (evidence.promotion !== null) {
      notes.push(
        `A soak ends before its time once it is proven that the canary has less than ${evidence.promotion.exclude} times stable's errors.`,
      );
    }
  }
  const { kayenta } = analysis;
  if (kayenta !== undefined) {
    const { pass, marginal } = kayenta.scoreThresholds;
    const names = kayenta.metrics.map(({ name }) => name).join(', ');
    notes.push(
      `At the end of each soak below 100 % Kayenta's judge compares the values that the looks had of ${names}: a score of ${pass} passes, ${marginal} is inconclusive, and less fails the step.`,
    );
  }
  const { routingCheck = 'off' } = analysis;
  if (routingCheck !== 'off')
    notes.push(`When the canary does not get the share its weight asks for: ${ROUTING_WORDS[routingCheck]}.`);
  const first = steps.find((step) => step.kind === 'weight');
  if (first !== undefined) {
    const seconds = Math.min(windowMs, first.soakMs - lagMs) / 1000;
    const rate = Math.ceil((minRequests / ((first.weight / 100) * seconds)) * 10) / 10;
    notes.push(`At ${first.weight} % that needs about ${rate} requests a second to the whole service.`);
  }
  if (analysis.source.kind === 'simulated') notes.push('SIMULATED: the numbers are scripted, nothing is measured.');
  return notes;
}

const NO_DATA_WORDS = {
  rollback: 'roll back',
  pause: 'pause for a person',
  promote: 'go on without evidence, where there was too little of it; else pause for a person',
} as const;

const ROUTING_WORDS = { warn: 'say so', pause: 'pause for a person', rollback: 'roll back' } as const;

function describeMetric(metric: MetricPlan, plan: Plan, stableVersion: string): MetricDescription {
  const tracks = [
    { track: 'canary', version: plan.version },
    { track: 'stable', version: stableVersion },
  ] as const;
  const { service, namespace } = plan;
  const queries = tracks.flatMap(({ track, version }) => {
    const values = { service, namespace, track: trackOf(plan, track), version, windowMs: plan.analysis.windowMs };
    return [...partsOf(metric, track, plan.analysis.source.kind), ...countersOf(metric)].map(({ part, query }) => ({
      track,
      part,
      query:
        part === 'counters'
          ? query
          : metric.query.kind === 'http'
            ? resolveUrl(query, { ...values, start: 'START', end: 'END' })
            : resolveQuery(query, values),
    }));
  });
  return { name: metric.name, limits: describeLimits(metric, plan.analysis), queries };
}

/** What stands for {{track}}. */
function trackOf(plan: Plan, track: 'canary' | 'stable'): string {
  if (plan.target.kind === 'flag') return FLAG_TRACKS[track];
  // Which colour is the idle one is known when the release looks at the cluster.
  if (pairOf(plan) !== null) return track === 'canary' ? '<new colour>' : '<old colour>';
  return track;
}

function partsOf(
  { query }: MetricPlan,
  track: 'canary' | 'stable',
  source: MetricSourcePlan['kind'],
): { part: string; query: string }[] {
  switch (query.kind) {
    case 'ratio':
      return [
        { part: 'numerator', query: query.numerator },
        { part: 'denominator', query: query.denominator },
      ];
    case 'value': {
      const value = { part: 'value', query: query.expression };
      return query.requests === null ? [value] : [value, { part: 'requests', query: query.requests }];
    }
    case 'http': {
      const value = { part: query.value, query: query.url };
      return query.requests === null ? [value] : [value, { part: `requests, ${query.requests}`, query: query.url }];
    }
    case 'builtin': {
      const what = query.metric === 'latency' ? `latency quantile ${query.quantile}` : query.metric;
      const whose =
        source === 'flag'
          ? `users ${track === 'canary' ? 'with' : 'without'} the flag, by the outcomes posted to the flag service`
          : `the ${track} cohort, by the router's own counters`;
      return [{ part: 'counters', query: `${what} of ${whose}` }];
    }
  }
}

/** What the evidence is counted by; built-in counters are one and the same answer. */
function countersOf({ counters = null }: MetricPlan): { part: string; query: string }[] {
  switch (counters?.kind) {
    case 'events':
      return [
        { part: counters.good === true ? 'good events, counted' : 'bad events, counted', query: counters.bad },
        { part: 'all events, counted', query: counters.total },
      ];
    case 'histogram':
      return [{ part: 'histogram, counted', query: counters.buckets }];
    case 'builtin':
    case undefined:
      return [];
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
