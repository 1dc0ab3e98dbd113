import { countOf } from '../analysis/format';
import { requestsOf } from '../analysis/observed-share';
import type { Observation } from '../analysis/sample';
import { messageOf, ReleaseError } from '../errors';
import type { ClosableMetricSource, SampleRequest } from '../metrics/metric-source';
import type { MonitorReport } from '../report/monitor-report';
import type { MetricPlan, Plan, SimulatedPhase } from '../spec/plan-types';
import { safeText } from './display-width';
import { EXIT } from './exit-codes';
import type { ExitCode } from './exit-codes';
import { listenForInterrupt } from './interrupt';
import { lazy } from './lazy';
import {
  beginComparison,
  comparedSentence,
  namesVersion,
  nearest,
  provenOf,
  whyNotCompared,
} from './monitor-comparison';
import type { ComparedMetric, Comparison } from './monitor-comparison';
import { API_VERSION, renderTable } from './output';
import { askInstances, rollBackInstances } from './router-admin';
import { Screen } from './screen';
import { refName } from './service-ref';
import type { Session } from './session';
import { glyphs, paint } from './style';
import { isPair, trackNames } from './track-names';
import { pause } from './turn';
import { formatDuration, formatPercent, formatSeconds } from './units';

export interface MonitorSettings {
  readonly durationMs: number;
  readonly intervalMs: number;
  /** Fraction; undefined: the spec's. */
  readonly maxErrorRate: number | undefined;
  /** Undefined: the spec's. */
  readonly maxP95Seconds: number | undefined;
  readonly autoRollback: boolean;
  readonly reason: string | undefined;
  readonly track: 'stable' | 'canary' | undefined;
  readonly version: string | undefined;
  readonly windowMs: number | undefined;
  readonly minRequests: number | undefined;
  readonly simulate: readonly SimulatedPhase[] | undefined;
}

export interface MonitorResult {
  readonly document: object;
  readonly lines: readonly string[];
  readonly code: ExitCode;
  readonly report: MonitorReport;
}

/** One look at the service. */
interface Look {
  readonly elapsedMs: number;
  readonly errorRate: number | null;
  readonly p95: number | null;
  /** Requests per second. */
  readonly rps: number | null;
  /** Enough requests for the numbers to count. */
  readonly valid: boolean;
  /** Which thresholds it broke, as clauses. */
  readonly broken: readonly string[];
  /** What the evidence of all looks so far says of each metric that is compared with stable. */
  readonly compared: readonly ComparedMetric[];
  /** What of that is proven against the canary, as clauses. */
  readonly proven: readonly string[];
  readonly problem: string | null;
}

/** The router's metrics, or those of the spec that go by these names, whatever they are called in the source. */
const METRIC_NAMES = { errorRate: 'error-rate', p95: 'p95-latency', requests: 'requests' } as const;

/**
 * Looks at the metrics for the given time, printing a line for each look, and judges by the thresholds; a canary that has
 * a stable track beside it by the default judge's evidence, too. Either alone is enough to fail it.
 */
export async function runMonitor(session: Session, path: string, settings: MonitorSettings): Promise<MonitorResult> {
  const { cli } = session;
  const { target } = await cli.spec.identify(path);
  const version = settings.version ?? (target === 'kubernetes' ? PLACEHOLDER_IMAGE : PLACEHOLDER_VERSION);
  const plan = await cli.spec.plan(path, version, settings.simulate);
  const thresholds = chooseThresholds(plan, settings);
  const source = lazy.metrics().createMetricSource(plan.analysis.source, plan.target, cli.env);
  const interruption = listenForInterrupt(cli);
  const looks: Look[] = [];
  let rollback: string | null = null;
  const show = createLooker(session, settings.durationMs);
  let watched: Watched;
  let started: number;
  let uncompared: string | null;
  try {
    watched = await chooseTrack(session, plan, { settings, source });
    started = cli.now();
    uncompared = watched.track === 'canary' ? whyNotCompared(plan) : null;
    const comparison =
      watched.track === 'canary' && uncompared === null
        ? beginComparison({
            ...{ plan, source, versions: watched.versions, startedAt: started },
            minRequests: settings.minRequests ?? plan.analysis.minRequests,
            plannedLooks: Math.floor(settings.durationMs / settings.intervalMs),
          })
        : null;
    for (let due = settings.intervalMs; due <= settings.durationMs; due += settings.intervalMs) {
      await pause(Math.max(0, started + due - cli.now()), interruption.signal);
      if (interruption.signal.aborted) break;
      const look = await takeLook({
        session,
        plan,
        source,
        settings,
        thresholds,
        watched,
        comparison,
        elapsedMs: due,
        signal: interruption.signal,
      });
      if (interruption.signal.aborted) break;
      looks.push(look);
      show.look(look);
      if (isBad(look) && settings.autoRollback) {
        rollback = await rollBack(session, plan, settings, look);
        break;
      }
    }
  } finally {
    show.finish();
    interruption.stopListening();
    source.close();
  }
  const verdict = judge(looks, settings, plan);
  const code =
    interruption.by === null ? verdict.code : interruption.by === 'SIGINT' ? EXIT.interrupted : EXIT.terminated;
  const document = {
    apiVersion: API_VERSION,
    kind: 'Monitoring',
    service: plan.service,
    namespace: plan.namespace,
    track: watched.track,
    simulated: settings.simulate !== undefined,
    thresholds,
    compared: looks.at(-1)?.compared ?? [],
    notCompared: uncompared,
    verdict: verdict.verdict,
    decidedBy: verdict.decidedBy,
    message: verdict.sentence,
    rollback,
    looks: looks.length,
    validLooks: looks.filter(({ valid }) => valid).length,
    statistics: statistics(looks),
  };
  const report: MonitorReport = {
    service: plan.service,
    namespace: plan.namespace,
    track: watched.track,
    simulated: settings.simulate !== undefined,
    startedAt: started,
    verdict: verdict.verdict,
    message: verdict.sentence,
    rollback,
    thresholds,
    notCompared: uncompared,
    looks,
  };
  return { document, lines: resultLines(session, { looks, verdict, rollback, uncompared }), code, report };
}

/** For queries that ask for no version; a plan cannot be made without one. */
const PLACEHOLDER_VERSION = 'monitored';
const PLACEHOLDER_IMAGE = 'monitored:0';

interface Thresholds {
  /** Fraction. */
  readonly errorRate: number;
  readonly p95Seconds: number;
}

/** Where neither the command nor the spec says what is too much. */
const DEFAULT_THRESHOLDS: Thresholds = { errorRate: 0.05, p95Seconds: 1 };

function chooseThresholds({ analysis }: Plan, { maxErrorRate, maxP95Seconds }: MonitorSettings): Thresholds {
  const maxOf = (name: string): number | undefined =>
    analysis.metrics.find((metric) => metric.name === name)?.max ?? undefined;
  return {
    errorRate: maxErrorRate ?? maxOf(METRIC_NAMES.errorRate) ?? DEFAULT_THRESHOLDS.errorRate,
    p95Seconds: maxP95Seconds ?? maxOf(METRIC_NAMES.p95) ?? DEFAULT_THRESHOLDS.p95Seconds,
  };
}

interface Watched {
  readonly track: 'stable' | 'canary';
  readonly versions: { readonly stable: string; readonly canary: string };
}

/**
 * The canary while there is one that gets traffic, else stable. Of a router target the instances say which those are;
 * elsewhere the metric source says whether a canary had requests.
 */
async function chooseTrack(
  session: Session,
  plan: Plan,
  { settings, source }: { readonly settings: MonitorSettings; readonly source: ClosableMetricSource },
): Promise<Watched> {
  const given = settings.version ?? '';
  if (settings.simulate !== undefined)
    return { track: settings.track ?? 'canary', versions: { stable: given, canary: given } };
  if (plan.target.kind !== 'router') {
    const versions = { stable: given, canary: given };
    const track =
      settings.track ?? ((await canaryHasRequests(session, plan, { settings, source })) ? 'canary' : 'stable');
    return { track, versions };
  }
  const answers = await askInstances(plan.target);
  const first = answers.find((answer) => answer.ok);
  if (first === undefined) {
    const problems = answers.map((answer) => (answer.ok ? '' : `${answer.instance} ${answer.problem}`)).join('; ');
    throw new ReleaseError('unreachable', `No instance of ${refName(plan)} answers: ${problems}.`, {
      hint: 'Check that the service runs and that spec.target.router.instances has its addresses.',
    });
  }
  const { active, weight, versions } = first.metrics;
  const track = settings.track ?? (active && weight > 0 ? 'canary' : 'stable');
  if (track === 'canary' && versions.canary === null) {
    throw new ReleaseError('not-found', `${refName(plan)} has no canary now.`, {
      hint: 'Watch the stable track: --track stable.',
    });
  }
  return { track, versions: { stable: versions.stable, canary: versions.canary ?? '' } };
}

/** Whether the source counted requests of a canary in the last window; not where its queries cannot tell the tracks apart. */
async function canaryHasRequests(
  { cli }: Session,
  plan: Plan,
  { settings, source }: { readonly settings: MonitorSettings; readonly source: ClosableMetricSource },
): Promise<boolean> {
  const metrics = metricsToAsk(plan);
  const templates = JSON.stringify(metrics.map(({ query }) => query));
  if (isPair(plan) || namesVersion(metrics) || !templates.includes('{{track}}')) return false;
  const names = trackNames(plan);
  const { service, namespace } = plan;
  const versions = { canary: '', stable: '' };
  const { lagMs = 0 } = plan.analysis;
  const windowMs = settings.windowMs ?? plan.analysis.windowMs;
  const at = cli.now() - lagMs;
  const sample = await source.sample({
    ...{ service, namespace, versions, metrics, at, lagMs, windowMs },
    ...(names === null ? {} : { tracks: names }),
  });
  return sample.metrics.some(({ canary }) => (requestsOf(canary) ?? 0) > 0);
}

/** Flags name their tracks otherwise; the colours of a pair are asked for by the plain names, as before. */
function namesOf(plan: Plan): Pick<SampleRequest, 'tracks'> {
  const names = isPair(plan) ? null : trackNames(plan);
  return names === null ? {} : { tracks: names };
}

interface LookContext {
  readonly session: Session;
  readonly plan: Plan;
  readonly source: ClosableMetricSource;
  readonly settings: MonitorSettings;
  readonly thresholds: Thresholds;
  readonly watched: Watched;
  readonly comparison: Comparison | null;
  readonly elapsedMs: number;
  readonly signal: AbortSignal;
}

async function takeLook(context: LookContext): Promise<Look> {
  const { session, plan, source, settings, thresholds, watched, comparison, elapsedMs, signal } = context;
  const { cli } = session;
  const { lagMs = 0 } = plan.analysis;
  const windowMs = settings.windowMs ?? plan.analysis.windowMs;
  const now = cli.now();
  const request: SampleRequest = {
    ...{ service: plan.service, namespace: plan.namespace, versions: watched.versions },
    ...namesOf(plan),
    ...{ metrics: metricsToAsk(plan), at: now - lagMs, lagMs, windowMs, signal },
  };
  const [sample, compared] = await Promise.all([
    source.sample(request).catch((error: unknown) => {
      if (error instanceof ReleaseError) throw error;
      return messageOf(error);
    }),
    comparison?.look(now, signal) ?? [],
  ]);
  const evidence = { compared, proven: provenOf(compared) };
  if (typeof sample === 'string') {
    const nothing = { errorRate: null, p95: null, rps: null, valid: false, broken: [] };
    return { elapsedMs, ...nothing, ...evidence, problem: sample };
  }
  const of = (name: string): Observation | null => {
    const metric = sample.metrics.find((each) => each.name === name);
    return metric === undefined ? null : watched.track === 'canary' ? metric.canary : metric.stable;
  };
  const error = of(METRIC_NAMES.errorRate);
  const p95 = of(METRIC_NAMES.p95);
  const requests = error?.events?.total ?? of(METRIC_NAMES.requests)?.value ?? p95?.requests ?? null;
  const errorRate = error?.value ?? null;
  const enough = requests !== null && requests >= (settings.minRequests ?? plan.analysis.minRequests);
  const problem = [error, p95]
    .map((observation) => observation?.problem?.message)
    .find((message) => message !== undefined);
  const p95Value = p95?.value ?? null;
  const lacking = [lackingOf(METRIC_NAMES.errorRate, error, plan), lackingOf(METRIC_NAMES.p95, p95, plan)].filter(
    (clause) => clause !== null,
  );
  const valid = enough && errorRate !== null && p95Value !== null;
  const broken: string[] = [];
  if (enough && errorRate !== null && errorRate > thresholds.errorRate) {
    broken.push(`error rate ${formatPercent(errorRate)} is above ${formatPercent(thresholds.errorRate)}`);
  }
  if (enough && p95Value !== null && p95Value > thresholds.p95Seconds) {
    broken.push(`p95 ${formatSeconds(p95Value)} is above ${formatSeconds(thresholds.p95Seconds)}`);
  }
  return {
    elapsedMs,
    errorRate,
    p95: p95Value,
    rps: requests === null ? null : requests / (sample.windowMs / 1000),
    valid,
    broken,
    ...evidence,
    problem: problem ?? (enough ? (lacking.at(0) ?? null) : tooFew(requests, lacking)),
  };
}

function tooFew(requests: number | null, lacking: readonly string[]): string {
  if (requests !== null) return `${requests} requests, fewer than needed for a verdict`;
  return lacking.at(0) ?? 'no requests, fewer than needed for a verdict';
}

/** Why one of the two values that are held against the thresholds is not there, as a clause; null where it is. */
function lackingOf(name: string, observed: Observation | null, { analysis }: Plan): string | null {
  if (observed !== null) return observed.value === null ? `${name} has no value` : null;
  const named = analysis.metrics.map((metric) => metric.name).join(', ');
  return `the spec has no metric ${name}, which its threshold is held against (it has ${named || 'none'})`;
}

/** It broke a threshold, or the canary is proven worse than stable. */
function isBad({ broken, proven }: Look): boolean {
  return broken.length > 0 || proven.length > 0;
}

/** What is wrong, and by which judge. */
function whyBad({ broken, proven }: Look): string {
  return [...broken, ...proven.map((clause) => `by the evidence, ${clause}`)].join(' and ');
}

/** Error rate and p95 as the spec resolves them, and for a source that has them built in, those it has. */
function metricsToAsk(plan: Plan): MetricPlan[] {
  const own = plan.analysis.metrics.filter(({ name }) => Object.values<string>(METRIC_NAMES).includes(name));
  if (plan.analysis.source.kind === 'prometheus' || plan.analysis.source.kind === 'http') return own;
  const limits = { max: null, min: null, maxRatio: null };
  const builtin: MetricPlan[] = [
    { name: METRIC_NAMES.errorRate, unit: 'ratio', ...limits, query: { kind: 'builtin', metric: 'error-rate' } },
    {
      name: METRIC_NAMES.p95,
      unit: 'seconds',
      ...limits,
      query: { kind: 'builtin', metric: 'latency', quantile: 0.95 },
    },
    { name: METRIC_NAMES.requests, unit: 'count', ...limits, query: { kind: 'builtin', metric: 'requests' } },
  ];
  return [...own, ...builtin.filter(({ name }) => !own.some((metric) => metric.name === name))];
}

async function rollBack(session: Session, plan: Plan, settings: MonitorSettings, look: Look): Promise<string> {
  const seen = `sluice monitor: ${whyBad(look)}`;
  const reason = settings.reason === undefined ? seen : `${settings.reason} (${seen})`;
  const actor = session.actor();
  let why: string;
  try {
    const client = await session.client();
    const ack = await client.rollback({ service: plan.service, namespace: plan.namespace }, { actor, reason });
    return `Release ${ack.release} was asked to roll back: ${ack.message}`;
  } catch (error) {
    // No release in progress, or no Temporal: the app itself can still be told, and holds what it is told.
    if (!(error instanceof ReleaseError) || plan.target.kind !== 'router') throw error;
    why = error.message;
  }
  const { target } = plan;
  const token = session.cli.env[target.tokenEnv]?.trim() ?? '';
  if (token === '') {
    throw new ReleaseError(
      'usage',
      `No release could be rolled back (${why}), and ${target.tokenEnv}, which opens the router, is not set.`,
      {
        hint: `Set ${target.tokenEnv} to the router's admin token.`,
      },
    );
  }
  const problems = await rollBackInstances(target, token, { reason, actor: actor.name });
  if (problems.length > 0) {
    throw new ReleaseError('unreachable', `The router could not be rolled back everywhere: ${problems.join('; ')}.`, {
      hint: 'Try again; instances already at 0 stay there.',
    });
  }
  return `No release could be rolled back (${why}); the canary was taken to 0 on ${countOf(target.instances.length, 'instance')} of the router.`;
}

// ---- verdict and print ------------------------------------------------------------------------------------------

interface MonitorVerdict {
  readonly verdict: 'pass' | 'fail' | 'insufficient-data';
  /** By what it was decided; empty where nothing was. */
  readonly decidedBy: readonly ('thresholds' | 'evidence')[];
  readonly sentence: string;
  readonly code: ExitCode;
}

/** Passing needs numbers: looks without data never count for the service, however many there are. */
function judge(looks: readonly Look[], settings: MonitorSettings, plan: Plan): MonitorVerdict {
  const broken = looks.filter((look) => look.broken.length > 0);
  const [first] = broken;
  const proven = looks.find((look) => look.proven.length > 0);
  if (first !== undefined || proven !== undefined) {
    const sentences: string[] = [];
    if (first !== undefined) {
      const after = formatDuration(first.elapsedMs);
      sentences.push(
        `${broken.length} of ${looks.length} looks broke a threshold, the first after ${after}: ${first.broken.join(' and ')}.`,
      );
    }
    if (proven !== undefined) {
      const after = formatDuration(proven.elapsedMs);
      sentences.push(`The evidence failed the canary after ${after}: ${proven.proven.join(' and ')}.`);
    }
    return {
      verdict: 'fail',
      decidedBy: [
        ...(first === undefined ? [] : (['thresholds'] as const)),
        ...(proven === undefined ? [] : (['evidence'] as const)),
      ],
      sentence: sentences.join(' '),
      code: EXIT.rolledBack,
    };
  }
  const valid = looks.filter((look) => look.valid).length;
  const possible = Math.floor(settings.durationMs / settings.intervalMs);
  const needed = Math.max(1, Math.min(plan.analysis.minMeasurements, possible));
  if (valid >= needed) {
    const kept = `${valid} of ${looks.length} looks had data, and all kept the thresholds`;
    const compared = (looks.at(-1)?.compared ?? []).filter(({ dryRun }) => !dryRun);
    const failed = compared.find(({ outcome }) => outcome === 'error');
    if (failed !== undefined) {
      const why = `${failed.name} could not be compared with stable: ${failed.why ?? ''}`;
      return {
        verdict: 'insufficient-data',
        decidedBy: [],
        sentence: `${kept}, but ${why}: no verdict.`,
        code: EXIT.error,
      };
    }
    const open = compared.find(({ outcome }) => outcome !== 'kept');
    const pass = { verdict: 'pass', code: EXIT.ok } as const;
    if (compared.length === 0) return { ...pass, decidedBy: ['thresholds'], sentence: `${kept}.` };
    if (open === undefined) {
      const sentence = `${kept}; nothing is proven against the canary beside stable.`;
      return { ...pass, decidedBy: ['thresholds', 'evidence'], sentence };
    }
    const why = `${open.name}: ${open.why ?? ''}`;
    return { ...pass, decidedBy: ['thresholds'], sentence: `${kept}; the evidence had no say (${why}).` };
  }
  const last = looks.at(-1)?.problem ?? null;
  return {
    verdict: 'insufficient-data',
    decidedBy: [],
    sentence: `Only ${valid} of ${looks.length} looks had enough data, at least ${needed} must: no verdict${last === null ? '' : ` (${last})`}.`,
    code: EXIT.error,
  };
}

interface Statistic {
  readonly min: number;
  readonly mean: number;
  readonly max: number;
}

function statistics(looks: readonly Look[]): Record<'errorRate' | 'p95Seconds' | 'rps', Statistic | null> {
  return {
    errorRate: statistic(looks.map(({ errorRate }) => errorRate)),
    p95Seconds: statistic(looks.map(({ p95 }) => p95)),
    rps: statistic(looks.map(({ rps }) => rps)),
  };
}

function statistic(values: readonly (number | null)[]): Statistic | null {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return null;
  let sum = 0;
  for (const value of known) sum += value;
  return { min: Math.min(...known), mean: sum / known.length, max: Math.max(...known) };
}

function resultLines(
  session: Session,
  {
    looks,
    verdict,
    rollback,
    uncompared,
  }: {
    readonly looks: readonly Look[];
    readonly verdict: MonitorVerdict;
    readonly rollback: string | null;
    readonly uncompared: string | null;
  },
): string[] {
  const { look } = session;
  const row = (name: string, values: Statistic | null, format: (value: number) => string): string[] =>
    values === null
      ? [name, 'none', 'none', 'none']
      : [name, format(values.min), format(values.mean), format(values.max)];
  const { errorRate, p95Seconds, rps } = statistics(looks);
  const tone = verdict.verdict === 'pass' ? 'good' : verdict.verdict === 'fail' ? 'bad' : 'warn';
  const g = glyphs(look);
  const symbol = verdict.verdict === 'pass' ? g.ok : verdict.verdict === 'fail' ? g.bad : g.warn;
  return [
    ...renderTable(
      ['', 'MIN', 'MEAN', 'MAX'],
      [
        row('error rate', errorRate, formatPercent),
        row('p95', p95Seconds, formatSeconds),
        row('requests/s', rps, (value) => value.toFixed(1)),
      ],
      look,
    ),
    ...(looks.at(-1)?.compared ?? []).map((metric) => safeText(`Beside stable, ${comparedSentence(metric)}`)),
    ...(uncompared === null ? [] : [`Not compared with stable: ${uncompared}.`]),
    paint(`${symbol} ${safeText(verdict.sentence)}`, tone, look),
    ...(rollback === null ? [] : [safeText(rollback)]),
  ];
}

/** The live line: redrawn on a terminal, one for each look elsewhere. */
function createLooker(session: Session, durationMs: number): { look(look: Look): void; finish(): void } {
  const { stdout } = session.cli;
  const redraws = session.format === 'table' && stdout.isTTY === true && session.cli.env['TERM'] !== 'dumb';
  const screen = redraws ? new Screen(stdout) : null;
  return {
    look(look) {
      const line = session.mark(liveLine(session, look, durationMs));
      if (session.format === 'jsonl') session.emit({ apiVersion: API_VERSION, kind: 'MonitoringLook', ...look });
      else if (session.format !== 'table') session.cli.stderr.write(`${line}\n`);
      else if (screen !== null) screen.draw([line]);
      else stdout.write(`${line}\n`);
    },
    finish: () => screen?.finish(),
  };
}

/** `[5s/60s] error 0.2 % p95 120 ms rps 98.4` */
function liveLine(session: Session, look: Look, durationMs: number): string {
  const known = (value: number | null, format: (value: number) => string): string =>
    value === null ? 'none' : format(value);
  const numbers = `error ${known(look.errorRate, formatPercent)} p95 ${known(look.p95, formatSeconds)} rps ${known(look.rps, (value) => value.toFixed(1))}`;
  const evidence = nearest(look.compared);
  const remark = isBad(look) ? whyBad(look) : look.valid ? '' : `no data: ${look.problem ?? 'no value'}`;
  const painted = paint(safeText(remark), isBad(look) ? 'bad' : 'warn', session.look);
  return `[${seconds(look.elapsedMs)}/${seconds(durationMs)}] ${numbers}${evidence === null ? '' : ` ${evidence}`}${remark === '' ? '' : `  ${painted}`}`;
}

function seconds(ms: number): string {
  return `${Number((ms / 1000).toFixed(1))}s`;
}
