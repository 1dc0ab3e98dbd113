import { countOf } from '../analysis/format';
import type { Observation, Sample } from '../analysis/sample';
import { messageOf, ReleaseError } from '../errors';
import type { ClosableMetricSource } from '../metrics/metric-source';
import type { MonitorReport } from '../report/monitor-report';
import type { MetricPlan, Plan, SimulatedPhase } from '../spec/plan-types';
import { safeText } from './display-width';
import { EXIT } from './exit-codes';
import type { ExitCode } from './exit-codes';
import { listenForInterrupt } from './interrupt';
import { lazy } from './lazy';
import { API_VERSION, renderTable } from './output';
import { askInstances, rollBackInstances } from './router-admin';
import { Screen } from './screen';
import { refName } from './service-ref';
import type { Session } from './session';
import { glyphs, paint } from './style';
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
  readonly problem: string | null;
}

/** The router's metrics, or those of the spec that go by these names, whatever they are called in the source. */
const METRIC_NAMES = { errorRate: 'error-rate', p95: 'p95-latency', requests: 'requests' } as const;

/** Looks at the metrics for the given time, printing a line for each look, and judges by the thresholds. */
export async function runMonitor(session: Session, path: string, settings: MonitorSettings): Promise<MonitorResult> {
  const { cli } = session;
  const { target } = await cli.spec.identify(path);
  const version = settings.version ?? (target === 'kubernetes' ? PLACEHOLDER_IMAGE : PLACEHOLDER_VERSION);
  const plan = await cli.spec.plan(path, version, settings.simulate);
  const thresholds = chooseThresholds(plan, settings);
  const watched = await chooseTrack(plan, settings);
  const source = lazy.metrics().createMetricSource(plan.analysis.source, plan.target, cli.env);
  const interruption = listenForInterrupt(cli);
  const looks: Look[] = [];
  let rollback: string | null = null;
  const show = createLooker(session, settings.durationMs);
  const started = cli.now();
  try {
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
        elapsedMs: due,
        signal: interruption.signal,
      });
      if (interruption.signal.aborted) break;
      looks.push(look);
      show.look(look);
      if (look.broken.length > 0 && settings.autoRollback) {
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
    verdict: verdict.verdict,
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
    looks,
  };
  return { document, lines: resultLines(session, looks, verdict, rollback), code, report };
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

/** The canary while there is one that gets traffic, else stable; of a router target the instances say which those are. */
async function chooseTrack(plan: Plan, settings: MonitorSettings): Promise<Watched> {
  const given = settings.version ?? '';
  if (settings.simulate !== undefined)
    return { track: settings.track ?? 'canary', versions: { stable: given, canary: given } };
  if (plan.target.kind !== 'router')
    return { track: settings.track ?? 'stable', versions: { stable: given, canary: given } };
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

interface LookContext {
  readonly session: Session;
  readonly plan: Plan;
  readonly source: ClosableMetricSource;
  readonly settings: MonitorSettings;
  readonly thresholds: Thresholds;
  readonly watched: Watched;
  readonly elapsedMs: number;
  readonly signal: AbortSignal;
}

async function takeLook(context: LookContext): Promise<Look> {
  const { session, plan, source, settings, thresholds, watched, elapsedMs, signal } = context;
  const { cli } = session;
  const windowMs = settings.windowMs ?? plan.analysis.windowMs;
  let sample: Sample;
  try {
    sample = await source.sample({
      service: plan.service,
      namespace: plan.namespace,
      versions: watched.versions,
      metrics: metricsToAsk(plan),
      at: cli.now(),
      windowMs,
      signal,
    });
  } catch (error) {
    if (error instanceof ReleaseError) throw error;
    return { elapsedMs, errorRate: null, p95: null, rps: null, valid: false, broken: [], problem: messageOf(error) };
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
    problem: problem ?? (enough ? null : `${requests ?? 'no'} requests, fewer than needed for a verdict`),
  };
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
  const reason = settings.reason ?? `sluice monitor: ${look.broken.join(' and ')}`;
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
  readonly sentence: string;
  readonly code: ExitCode;
}

/** Passing needs numbers: looks without data never count for the service, however many there are. */
function judge(looks: readonly Look[], settings: MonitorSettings, plan: Plan): MonitorVerdict {
  const broken = looks.filter((look) => look.broken.length > 0);
  const [first] = broken;
  if (first !== undefined) {
    return {
      verdict: 'fail',
      sentence: `${broken.length} of ${looks.length} looks broke a threshold, the first after ${formatDuration(first.elapsedMs)}: ${first.broken.join(' and ')}.`,
      code: EXIT.rolledBack,
    };
  }
  const valid = looks.filter((look) => look.valid).length;
  const possible = Math.floor(settings.durationMs / settings.intervalMs);
  const needed = Math.max(1, Math.min(plan.analysis.minMeasurements, possible));
  if (valid >= needed) {
    return {
      verdict: 'pass',
      sentence: `${valid} of ${looks.length} looks had data, and all kept the thresholds.`,
      code: EXIT.ok,
    };
  }
  const last = looks.at(-1)?.problem ?? null;
  return {
    verdict: 'insufficient-data',
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
  looks: readonly Look[],
  verdict: MonitorVerdict,
  rollback: string | null,
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
  const remark =
    look.broken.length > 0 ? look.broken.join(' and ') : look.valid ? '' : `no data: ${look.problem ?? 'no values'}`;
  const painted = paint(safeText(remark), look.broken.length > 0 ? 'bad' : 'warn', session.look);
  return `[${seconds(look.elapsedMs)}/${seconds(durationMs)}] ${numbers}${remark === '' ? '' : `  ${painted}`}`;
}

function seconds(ms: number): string {
  return `${Number((ms / 1000).toFixed(1))}s`;
}
