import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Spread } from '../analysis/counts';
import { partOf, spreadsIn } from '../analysis/recording';
import type { Recording } from '../analysis/recording';
import { timeBefore } from '../analysis/time-before';
import type { DeployReview, HealthySeries, InjectedSeries, TrafficPoint } from '../backtest/backtest';
import { chooseWindows, merge, without } from '../backtest/choose-windows';
import type { Stretch } from '../backtest/choose-windows';
import type { PlayedPolicy } from '../backtest/play';
import type { Injection } from '../backtest/pretend-canary';
import { ReleaseError } from '../errors';
import type { HistoryRequest, PrometheusHistory } from '../metrics/prometheus-history';
import { isCounted } from '../spec/gathering-policy';
import type { MetricPlan, Plan } from '../spec/plan-types';
import { recordedCounters } from '../spec/recorded-counters';
import type { PastDeploy } from './backtest-input';
import { lazy } from './lazy';
import { refName } from './service-ref';
import type { Session } from './session';
import { formatDate, formatDuration } from './units';

export interface BacktestSettings {
  /** Epoch milliseconds. */
  readonly from: number;
  readonly to: number;
  /** What stable was in that time, where the queries name a version; null where it is not said. */
  readonly version: string | null;
  readonly injections: readonly Injection[];
  readonly deploys: readonly PastDeploy[];
  /** How many pretend releases; null: as many as fit, from 100 to 1,000. */
  readonly runs: number | null;
}

/** What a backtest found. */
export interface Backtest {
  readonly plan: Plan;
  readonly policy: PlayedPolicy;
  /** Of the analysis, cut to whole intervals. */
  readonly from: number;
  readonly to: number;
  readonly traffic: readonly TrafficPoint[];
  readonly healthy: HealthySeries;
  readonly injected: readonly InjectedSeries[];
  readonly deploys: readonly DeployReview[];
  /** What has to be known to read the numbers, a sentence each. */
  readonly notes: readonly string[];
}

/** The same split of the same history, whoever asks. */
const SEED = 20_261_121;

/** Of one metric some ten bytes each are kept. */
const MOST_TICKS = 1_000_000;

/** As many as a plot is wide. */
const TRAFFIC_POINTS = 400;

/** Reads the history and plays the plan's analysis over it. Throws `ReleaseError`s, and the signal's reason. */
export async function runBacktest(
  session: Session,
  plan: Plan,
  settings: BacktestSettings,
  signal: AbortSignal,
): Promise<Backtest> {
  refuseBlueGreen(plan);
  const history = lazy.metrics().createHistory(plan.analysis.source, session.cli.env);
  try {
    return await backtest({ session, plan, settings, history, signal });
  } finally {
    history.close();
  }
}

interface Context {
  readonly session: Session;
  readonly plan: Plan;
  readonly settings: BacktestSettings;
  readonly history: PrometheusHistory;
  readonly signal: AbortSignal;
}

async function backtest(context: Context): Promise<Backtest> {
  const { session, plan, settings } = context;
  const { badShares, describeHealthy, describeInjected, lengthsOf, playedPolicy } = lazy.backtest();
  const policy = playedPolicy(plan);
  const { usual, longest } = lengthsOf(policy);
  const tickMs = plan.analysis.intervalMs;
  const from = Math.ceil(settings.from / tickMs) * tickMs;
  const ticks = Math.floor((settings.to - from) / tickMs);
  refuseShort(usual, ticks, { tickMs, settings });
  refuseUnnamedVersion(plan, settings);
  const asked = await refuseUnrecorded(context);

  const spans = settings.deploys.map(({ at }): Stretch => {
    const begin = Math.floor((at - from) / tickMs);
    return { from: begin, to: begin + longest };
  });
  const free = without({ from: 0, to: ticks }, spans);
  const { starts, fitting } = chooseWindows(free, usual, settings.runs);
  if (starts.length === 0) {
    throw new ReleaseError('usage', 'Beside the deploys there is no room for a release without one.', {
      hint: `A release of this plan takes ${formatDuration(usual * tickMs)}, ${formatDuration(longest * tickMs)} with its extensions: choose a longer time.`,
    });
  }
  const windows = await recordWindows(context, { from, ticks, starts, longest, asked });
  const { shares, clean } = badShares(windows, plan.analysis);
  if (settings.injections.length > 0 && Object.keys(shares).length === 0) {
    throw new ReleaseError('unsupported', 'No metric of the plan counts errors that could be multiplied.', {
      hint: 'Leave --inject out, or give the analysis a ratio whose events are counted, such as error-rate.',
    });
  }
  const healthy = describeHealthy(await play(context, { policy, windows, shares, injection: null }));
  const injected: InjectedSeries[] = [];
  for (const injection of settings.injections) {
    const runs = await play(context, { policy, windows, shares, injection });
    injected.push(describeInjected(runs, injection, tickMs));
  }
  const deploys = await reviewDeploys(context, { policy, longest });
  session.note(`Played ${starts.length * (1 + injected.length) + deploys.length} releases.`);
  return {
    plan,
    policy,
    from,
    to: from + ticks * tickMs,
    traffic: lazy.backtest().trafficIn(windows, plan.analysis, TRAFFIC_POINTS),
    healthy,
    injected,
    deploys,
    notes: notesOf(context, { starts, fitting, clean, windows }),
  };
}

// ---- what cannot be played --------------------------------------------------------------------------------------

function refuseBlueGreen({ target }: Plan): void {
  if (target.kind !== 'kubernetes' || target.strategy !== 'blueGreen') return;
  throw new ReleaseError(
    'unsupported',
    'A blue-green release has no weights at which both versions could be compared.',
    {
      hint: 'A backtest is for canaries.',
    },
  );
}

function refuseShort(
  usual: number,
  ticks: number,
  { tickMs, settings: { from, to } }: { readonly tickMs: number; readonly settings: BacktestSettings },
): void {
  if (ticks >= usual) return;
  throw new ReleaseError(
    'usage',
    `A release of this plan takes ${formatDuration(usual * tickMs)}, and from ${formatDate(from)} to ${formatDate(to)} it is ${formatDuration(to - from)}.`,
    { hint: 'Choose a longer time; a day and more says something.' },
  );
}

const NAMES_VERSION = /\{\{\s*version\s*\}\}/u;

function namesVersion({ query, counters }: MetricPlan): boolean {
  return NAMES_VERSION.test(JSON.stringify({ query, counters }));
}

function refuseUnnamedVersion({ analysis }: Plan, { version, deploys }: BacktestSettings): void {
  const naming = analysis.metrics.find(namesVersion);
  if (naming === undefined) return;
  if (version === null) {
    throw new ReleaseError(
      'usage',
      `The queries of ${naming.name} name a version, and it is not said which one was stable.`,
      {
        hint: 'Add --version 1.4.1, the version that was stable in that time.',
      },
    );
  }
  const unnamed = deploys.find(({ versions }) => versions === null);
  if (unnamed === undefined) return;
  throw new ReleaseError(
    'usage',
    `The queries of ${naming.name} name a version, and it is not said which ones the deploy of ${formatDate(unnamed.at)} was about.`,
    { hint: 'Give --deploys a file with the time, the new and the old version on each line.' },
  );
}

/** The service as the history knows it; throws where it begins before the history does. */
async function refuseUnrecorded({ plan, settings, history, signal }: Context): Promise<Asked> {
  const version = settings.version ?? plan.version;
  const asked = {
    service: plan.service,
    namespace: plan.namespace,
    versions: { canary: version, stable: version },
    signal,
  };
  const metric = plan.analysis.metrics.find((each) => recordedCounters(each) !== null) ?? plan.analysis.metrics[0];
  if (metric === undefined) return asked;
  const { from, to } = settings;
  const oldest = await history.oldest({ ...asked, metric, from, to });
  if (oldest === null) {
    throw new ReleaseError(
      'not-found',
      `From ${formatDate(from)} to ${formatDate(to)} the history has nothing of ${metric.name} of ${refName(plan)}.`,
      { hint: 'sluice plan shows the queries: check their labels, and how far back the metric source remembers.' },
    );
  }
  // A part in a few hundred of the time is how exactly it is known.
  if (oldest - from > Math.max(60_000, (to - from) / 100)) {
    throw new ReleaseError(
      'usage',
      `--from is ${formatDate(from)}, and the history of ${metric.name} begins at ${formatDate(oldest)}: older data is gone, or never was.`,
      { hint: `Add --from ${formatDate(oldest).replace(' ', 'T')}, or later.` },
    );
  }
  return asked;
}

// ---- history ----------------------------------------------------------------------------------------------------

type Asked = Pick<Parameters<PrometheusHistory['record']>[0], 'service' | 'namespace' | 'versions' | 'signal'>;

/** A recording for each start, read in as few ranges as they make. */
async function recordWindows(
  context: Context,
  {
    from,
    ticks,
    starts,
    longest,
    asked,
  }: {
    readonly from: number;
    readonly ticks: number;
    readonly starts: readonly number[];
    readonly longest: number;
    readonly asked: Asked;
  },
): Promise<readonly Recording[]> {
  const { session, plan } = context;
  const { intervalMs: tickMs, metrics } = plan.analysis;
  const endOf = (start: number): number => Math.min(ticks, start + longest);
  const ranges = merge(starts.map((start) => ({ from: start, to: endOf(start) })));
  const wanted = ranges.reduce((sum, range) => sum + range.to - range.from, 0);
  if (wanted > MOST_TICKS) {
    throw new ReleaseError(
      'usage',
      `That are ${wanted} looks at each metric, one each ${formatDuration(tickMs)}, and ${MOST_TICKS} are read at most.`,
      { hint: 'Choose a shorter time, or fewer --runs.' },
    );
  }
  const onProgress = progress(session, 'Reading the history');
  const recorded = await recordRanges(context, { asked, metrics, from, tickMs, ranges, onProgress });
  const before = await recordBefore(context, { asked, from, starts: starts.map((start) => from + start * tickMs) });
  return starts.map((start, place) => withBefore(recorded({ from: start, to: endOf(start) }), before[place]));
}

/** Reads stable's history in ranges of ticks after a moment; what it answers has any stretch within one of them. */
async function recordRanges(
  { plan, history }: Context,
  {
    from,
    ranges,
    asked,
    ...grid
  }: Pick<HistoryRequest, 'metrics' | 'tickMs' | 'onProgress'> & {
    readonly asked: Asked;
    readonly from: number;
    readonly ranges: readonly Stretch[];
  },
): Promise<(stretch: Stretch) => Recording> {
  const recordings = await history.record({
    ...asked,
    ...grid,
    tracks: ['stable'],
    windowMs: plan.analysis.windowMs,
    ranges: ranges.map((range) => ({ from: from + range.from * grid.tickMs, ticks: range.to - range.from })),
  });
  return (stretch) => {
    const index = ranges.findIndex((range) => range.from <= stretch.from && stretch.to <= range.to);
    const [range, recording] = [ranges[index], recordings[index]];
    if (range === undefined || recording === undefined) {
      throw new Error(`The ticks from ${stretch.from} to ${stretch.to} were not recorded.`);
    }
    return partOf(recording, stretch.from - range.from, stretch.to - stretch.from);
  };
}

/**
 * Of each start the time before its release counts anything, as a release asks for it; in whole minutes from a moment on,
 * so that what the releases have in common is read once.
 */
async function recordBefore(
  context: Context,
  { asked, from, starts }: { readonly asked: Asked; readonly from: number; readonly starts: readonly number[] },
): Promise<readonly Recording[]> {
  const { initialDelayMs, metrics: all, evidence = null } = context.plan.analysis;
  const metrics = all.filter(isCounted);
  if (evidence === null || metrics.length === 0) return [];
  const { tickMs, ticks } = timeBefore(from);
  const wanted = starts.map((start): Stretch => {
    const to = Math.floor((start + initialDelayMs - from) / tickMs);
    return { from: to - ticks, to };
  });
  const onProgress = (): void => undefined;
  return wanted.map(await recordRanges(context, { asked, metrics, from, tickMs, ranges: merge(wanted), onProgress }));
}

function withBefore(recording: Recording, before: Recording | undefined): Recording {
  if (before === undefined) return recording;
  const spreadsOf = (name: string): readonly Spread[] =>
    spreadsIn(before.metrics.find((metric) => metric.name === name)?.stable.counts ?? []);
  return {
    ...recording,
    metrics: recording.metrics.map((metric) => ({ ...metric, before: spreadsOf(metric.name) })),
  };
}

async function reviewDeploys(
  context: Context,
  { policy, longest }: { readonly policy: PlayedPolicy; readonly longest: number },
): Promise<readonly DeployReview[]> {
  const { session, plan, settings, history, signal } = context;
  const { intervalMs: tickMs, windowMs, metrics } = plan.analysis;
  const version = settings.version ?? plan.version;
  const reviews: DeployReview[] = [];
  const told = progress(session, 'Looking at the deploys');
  for (const { at, versions } of settings.deploys) {
    const asked = {
      service: plan.service,
      namespace: plan.namespace,
      versions: versions ?? { canary: version, stable: version },
      signal,
    };
    const [before] = await recordBefore(context, { asked, from: at, starts: [at] });
    const recordings = await history.record({
      ...asked,
      metrics,
      tracks: ['canary', 'stable'],
      tickMs,
      windowMs,
      ranges: [{ from: at, ticks: Math.min(longest, Math.floor((session.cli.now() - at) / tickMs)) }],
      onProgress: () => undefined,
    });
    reviews.push(...recordings.map((recording) => lazy.backtest().reviewDeploy(policy, withBefore(recording, before))));
    told(reviews.length, settings.deploys.length);
  }
  return reviews;
}

// ---- playing ----------------------------------------------------------------------------------------------------

/** As long as nobody waits for Ctrl-C to be heard. */
const TURN_MS = 50;

async function play(
  { session, signal }: Context,
  series: {
    readonly policy: PlayedPolicy;
    readonly windows: readonly Recording[];
    readonly shares: Readonly<Record<string, number>>;
    readonly injection: Injection | null;
  },
): ReturnType<ReturnType<typeof lazy.backtest>['playSeries']> {
  const { injection, windows } = series;
  const what = injection === null ? 'no change' : describeInjection(injection);
  const told = progress(session, `Playing releases with ${what}`);
  let turned = performance.now();
  return lazy.backtest().playSeries({
    ...series,
    seed: SEED,
    onRun: async (done) => {
      told(done, windows.length);
      if (performance.now() - turned < TURN_MS) return;
      await nextTurn();
      signal.throwIfAborted();
      turned = performance.now();
    },
  });
}

/** `5x errors from 25 %`. */
export function describeInjection({ times, fromWeight }: Injection): string {
  return `${times}x errors from ${fromWeight} %`;
}

const PROGRESS_MS = 2_000;

/** A line on stderr every two seconds, while there is something left. */
function progress(session: Session, what: string): (done: number, all: number) => void {
  let last = performance.now();
  return (done, all) => {
    if (done === all || performance.now() - last < PROGRESS_MS) return;
    last = performance.now();
    session.note(`${what}: ${done} of ${all} ...`);
  };
}

// ---- notes ------------------------------------------------------------------------------------------------------

function notesOf(
  { plan, settings }: Context,
  {
    starts,
    fitting,
    clean,
    windows,
  }: {
    readonly starts: readonly number[];
    readonly fitting: number;
    readonly clean: readonly string[];
    readonly windows: readonly Recording[];
  },
): readonly string[] {
  const notes: string[] = [];
  if (starts.length > fitting) {
    notes.push(
      `${starts.length} releases overlap where ${fitting} have room side by side: the intervals are narrower than they should be. A longer time makes them right.`,
    );
  }
  const whole = windows[0]?.metrics.filter(({ stable }) => stable.values !== null).map(({ name }) => name) ?? [];
  if (whole.length > 0) {
    notes.push(
      `What ${whole.join(', ')} counts is not known, so that it cannot be split: the pretend canary has stable's own value.`,
    );
  }
  if (clean.length > 0 && settings.injections.length > 0) {
    notes.push(
      `Nothing bad was recorded of ${clean.join(', ')}: one event is taken to have been, and is what was multiplied.`,
    );
  }
  if (plan.analysis.kayenta !== undefined) {
    notes.push(
      "Kayenta's judge is not played: at the end of a soak the other rules alone decide, and what it would have failed or held up is not in these numbers.",
    );
  }
  const rounded = [
    plan.analysis.initialDelayMs + (plan.analysis.lagMs ?? 0),
    ...plan.steps.map((step) => (step.kind === 'weight' ? step.soakMs : 0)),
  ];
  if (rounded.some((ms) => ms % plan.analysis.intervalMs !== 0)) {
    notes.push(`Times were rounded up to whole intervals of ${formatDuration(plan.analysis.intervalMs)}.`);
  }
  return notes;
}
