import { countOf } from '../analysis/format';
import { requestsOf } from '../analysis/observed-share';
import type { Observation, Sample } from '../analysis/sample';
import { messageOf, ReleaseError } from '../errors';
import { DEFAULTS } from '../spec/defaults';
import type { MetricPlan, Plan } from '../spec/plan-types';
import { actedOnAtEachLook, comparedAs, countsGood, slowShare } from './detection-input';
import { lazy } from './lazy';
import { namesVersion } from './monitor-comparison';
import { notInTime, PATIENCE_MS, presentClusters } from './present-clusters';
import type { PresentClusters } from './present-clusters';
import { askInstances } from './router-admin';
import type { Session } from './session';
import { askByTracks, hasValues, isPair } from './track-names';
import type { TrackNames } from './track-names';
import { formatDuration } from './units';

/** The traffic that a service has now, as far as it says what a release can find. */
export interface PresentTraffic {
  /** Of the whole service. */
  readonly requestsPerSecond: number;
  /** Those that are compared with stable. */
  readonly metrics: readonly MetricBase[];
}

export interface MetricBase {
  readonly name: string;
  readonly kind: 'errors' | 'latency';
  /** Share of the requests that are bad: that fail, or that are slower than the metric's quantile is now. Above 0. */
  readonly base: number;
  /** Why the base is not simply what was counted, as a sentence; null where it is. */
  readonly note: string | null;
  /** Bad events of one cause that its evidence is divided by: the plan's, or as many as are seen to come together. */
  readonly clusters: number;
  /** Why that is not simply the plan's, as a sentence; null where it is. */
  readonly clustersNote: string | null;
}

/** What is known beforehand, and need not be asked for. */
export interface GivenTraffic {
  readonly requestsPerSecond: number | null;
  /** Share of errors. */
  readonly base: number | null;
  readonly offline: boolean;
}

export type TrafficAnswer =
  | { readonly ok: true; readonly traffic: PresentTraffic; readonly source: 'given' | 'asked' }
  /** Why nothing can be said, as a whole sentence; and whether it was for want of an answer. */
  | { readonly ok: false; readonly problem: string; readonly code: 'unreachable' | 'unsupported' | 'usage' };

/** As long as a router remembers, and long enough for a share of errors. */
export const PRESENT_WINDOW_MS = 5 * 60_000;

/** The present traffic of the service, from what was given and from its metric source. Never throws, and never hangs. */
export async function presentTraffic(session: Session, plan: Plan, given: GivenTraffic): Promise<TrafficAnswer> {
  const compared = comparedOf(plan);
  if (compared.length === 0) {
    return { ok: false, code: 'unsupported', problem: whyNothingIsPlayed(plan) };
  }
  const { requestsPerSecond, base } = given;
  if (requestsPerSecond !== null && (base !== null || compared.every(({ kind }) => kind === 'latency'))) {
    const bases = compared.map((each) => basedOn(each, base ?? 0, null));
    return { ok: true, source: 'given', traffic: { requestsPerSecond, metrics: withClusters(plan, bases, new Map()) } };
  }
  if (given.offline) {
    const problem = 'The present traffic was not asked for (--offline), so what each step can find is not known.';
    return { ok: false, code: 'usage', problem };
  }
  if (plan.target.kind !== 'router' && namesVersion(compared.map(({ metric }) => metric))) {
    const problem =
      'The present traffic was not asked for: the queries name a version, and which one is stable a release alone finds out.';
    return { ok: false, code: 'unsupported', problem };
  }
  const metrics = compared.map(({ metric }) => metric);
  // Begun after the instances were asked, which have a limit of their own.
  let signal: AbortSignal | null = null;
  const failed = (problem: string): Unanswered =>
    unanswered(
      signal?.aborted === true
        ? `The present traffic could not be asked for: ${notInTime()}; say it with --traffic and --base, or leave it out with --offline.`
        : problem,
    );
  try {
    const versions = await stableVersion(plan);
    signal = AbortSignal.timeout(PATIENCE_MS);
    const asked: Asked = { versions, signal };
    let isCutOff = false;
    const [sample, clusters] = await Promise.all([
      // What clusters there are may take longer, and says nothing of this answer.
      ask(session, plan, metrics, asked).finally(() => (isCutOff = asked.signal.aborted)),
      presentClusters(session, plan, metrics, { ...asked, tracks: isPair(plan) ? ['stable', 'canary'] : ['stable'] }),
    ]);
    const answer = readSample(sample, compared, given);
    if (!answer.ok) return isCutOff ? failed(answer.problem) : answer;
    return { ...answer, traffic: { ...answer.traffic, metrics: withClusters(plan, answer.traffic.metrics, clusters) } };
  } catch (error) {
    return failed(`The present traffic could not be asked for: ${sentence(messageOf(error))}`);
  }
}

function whyNothingIsPlayed({ analysis }: Plan): string {
  const tested = actedOnAtEachLook(analysis).map(({ name }) => name);
  if (tested.length === 0) return 'No metric is compared with stable, so that a step finds what its fixed limits find.';
  const are = tested.length === 1 ? 'is' : 'are';
  return `${tested.join(', ')} ${are} compared with stable at each look anew. What that finds is not played, since no evidence is gathered.`;
}

interface Asked {
  readonly versions: { readonly canary: string; readonly stable: string };
  readonly signal: AbortSignal;
}

async function ask(
  session: Session,
  plan: Plan,
  metrics: readonly MetricPlan[],
  { versions, signal }: Asked,
): Promise<Sample> {
  const { cli } = session;
  const { lagMs = 0 } = plan.analysis;
  const source = lazy.metrics().createMetricSource(plan.analysis.source, plan.target, cli.env);
  try {
    const sample = (tracks: TrackNames | null): Promise<Sample> =>
      source.sample({
        service: plan.service,
        namespace: plan.namespace,
        versions,
        ...(tracks === null ? {} : { tracks }),
        metrics,
        at: cli.now() - lagMs,
        lagMs,
        windowMs: PRESENT_WINDOW_MS,
        weight: 0,
        signal,
      });
    return await askByTracks(plan, sample, hasValues);
  } finally {
    source.close();
  }
}

/** Of a router target the instances say what is stable; elsewhere the plan's version stands in queries that name one. */
async function stableVersion({ target, version }: Plan): Promise<{ stable: string; canary: string }> {
  if (target.kind !== 'router') return { stable: version, canary: version };
  const answers = await askInstances(target);
  const first = answers.find((answer) => answer.ok);
  if (first !== undefined) {
    const { stable, canary } = first.metrics.versions;
    return { stable, canary: canary ?? version };
  }
  const problems = answers.map((answer) => (answer.ok ? '' : `${answer.instance} ${answer.problem}`)).join('; ');
  throw new ReleaseError('unreachable', `no instance answers (${problems})`);
}

/** What is compared with stable, and as what. */
interface Compared {
  readonly metric: MetricPlan;
  readonly kind: MetricBase['kind'];
}

function comparedOf({ analysis }: Plan): Compared[] {
  return analysis.metrics.flatMap((metric) => {
    const kind = comparedAs(analysis, metric);
    return kind === null ? [] : [{ metric, kind }];
  });
}

interface Based {
  readonly ok: true;
  readonly source: 'asked';
  readonly traffic: Pick<PresentTraffic, 'requestsPerSecond'> & { readonly metrics: readonly Base[] };
}

type Base = Omit<MetricBase, 'clusters' | 'clustersNote'>;
type Unanswered = Extract<TrafficAnswer, { ok: false }>;

function withClusters(
  { analysis }: Plan,
  bases: readonly Base[],
  found: ReadonlyMap<string, PresentClusters>,
): MetricBase[] {
  const planned = (analysis.evidence ?? DEFAULTS.analysis.evidence).clusters;
  return bases.map((base) => {
    const { clusters, note } = found.get(base.name) ?? { clusters: planned, note: null };
    return { ...base, clusters, clustersNote: note };
  });
}

function readSample(sample: Sample, compared: readonly Compared[], given: GivenTraffic): Based | Unanswered {
  const seen = compared.map((each) => {
    const found = sample.metrics.find(({ name }) => name === each.metric.name);
    return { each, arms: [found?.canary, found?.stable].filter((arm) => arm !== undefined && arm !== null) };
  });
  const counted = seen.map(({ arms }) => arms.reduce((sum, arm) => sum + (requestsOf(arm) ?? 0), 0));
  const requestsPerSecond = given.requestsPerSecond ?? Math.max(...counted) / (sample.windowMs / 1000);
  if (!(requestsPerSecond > 0))
    return unanswered(
      whyNothing(
        seen.flatMap(({ arms }) => arms),
        sample.windowMs,
      ),
    );
  const bases: Base[] = [];
  for (const { each, arms } of seen) {
    const base =
      each.kind === 'latency' || given.base !== null ? basedOn(each, given.base ?? 0, null) : baseOf(each, arms);
    if (base === null) return unanswered(whyNothing(arms, sample.windowMs));
    bases.push(base);
  }
  return { ok: true, source: 'asked', traffic: { requestsPerSecond, metrics: bases } };
}

/** The share of errors of the arm with the users: a canary that is there already may be what is to be found. */
function baseOf(each: Compared, arms: readonly Observation[]): Base | null {
  const busiest = arms.toSorted((a, b) => (requestsOf(b) ?? 0) - (requestsOf(a) ?? 0))[0];
  const total = requestsOf(busiest ?? null) ?? 0;
  const value = busiest?.value ?? null;
  if (value === null || !(total > 0)) return null;
  const bad = countsGood(each.metric) ? 1 - value : value;
  if (bad * total >= 1) return basedOn(each, bad, null);
  const note = `${each.metric.name}: nothing bad among the last ${countOf(total, 'request')}; one is taken to have been there.`;
  return basedOn(each, 1 / total, note);
}

function unanswered(problem: string): Unanswered {
  return { ok: false, code: 'unreachable', problem };
}

function basedOn({ metric, kind }: Compared, errors: number, note: string | null): Base {
  if (kind === 'errors') return { name: metric.name, kind, base: errors, note };
  return { name: metric.name, kind, base: slowShare(metric), note };
}

function whyNothing(arms: readonly Observation[], windowMs: number): string {
  const error = arms.find(({ problem }) => problem?.kind === 'error')?.problem;
  if (error !== undefined) return `The present traffic could not be asked for: ${sentence(error.message)}`;
  return `The metric source counted no requests in the last ${formatDuration(windowMs)}, so what each step can find is not known.`;
}

function sentence(text: string): string {
  return `${text.replace(/[.\s]+$/u, '')}.`;
}
