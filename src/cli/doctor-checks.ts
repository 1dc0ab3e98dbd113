import type { Observation, Sample } from '../analysis/sample';
import type { ReleaseSummary, SluiceClient } from '../client/client-types';
import { messageOf, ReleaseError } from '../errors';
import type { KubernetesTargetPlan, OnConflict, Plan, SmokeTestStep } from '../spec/plan-types';
import type { Cluster } from '../targets/kubernetes/cluster';
import type { TargetView } from '../targets/target';
import { bad, ok } from './check';
import type { Check } from './check';
import { flagServiceChecks } from './doctor-flags';
import { clusterSmokeTestCheck } from './doctor-smoke-test';
import { lazy } from './lazy';
import { missingPermissions } from './missing-permissions';
import { askInstances, askPath, checkToken } from './router-admin';
import type { InstanceAnswer } from './router-admin';
import type { Session } from './session';
import { ANY_IMAGE } from './spec-source';
import { askByTracks, hasValues, isPair } from './track-names';
import type { TrackNames } from './track-names';
import { formatDuration } from './units';

export interface CheckOptions {
  readonly path: string | undefined;
  readonly slack: boolean;
}

/** Clocks further apart than this make windows and countdowns wrong in a way people notice. */
const SKEW_MS = 2000;

/** What becomes of a release that is started while another one of the service is in progress. */
const UNTIL_THEN: Readonly<Record<OnConflict, string>> = {
  reject: 'Until then another one is refused (onConflict: reject); see `sluice status`.',
  queue: 'Until then another one waits for it (onConflict: queue); see `sluice status`.',
  supersede: 'One that is started now takes its place once it is taken back (onConflict: supersede).',
};

/** For all questions to a cluster together; a person waits. */
const CLUSTER_PATIENCE_MS = 15_000;

/** All checks, one after the other, as they are done. None throws; one that cannot be made says why. */
export async function* runChecks(session: Session, options: CheckOptions): AsyncGenerator<Check> {
  const client = yield* temporalChecks(session);
  if (options.path !== undefined) yield* specChecks(session, options.path, client);
  else yield* flagServiceChecks(session, null);
  if (options.slack) yield* slackChecks(session);
}

/** Answers the client; null where Temporal is away, so that nobody waits for it again. */
async function* temporalChecks(session: Session): AsyncGenerator<Check, SluiceClient | null> {
  let client: SluiceClient;
  try {
    client = await session.client();
  } catch (error) {
    yield bad('Temporal', error, 'Start one with `sluice dev`, or say where it is: --address, TEMPORAL_ADDRESS.');
    return null;
  }
  yield ok('Temporal', `reached at ${client.where}.`);
  yield await namespaceCheck(client);
  try {
    const workers = await client.workers();
    yield workers.length > 0
      ? ok('worker', `${workers.length} running (${workers.map(({ identity }) => identity).join(', ')}).`)
      : bad(
          'worker',
          'none is running: nothing moves until one is.',
          'Start one with `sluice worker` or `sluice dev`.',
        );
  } catch (error) {
    yield bad('worker', error, 'Start one with `sluice worker` or `sluice dev`.');
  }
  return client;
}

async function namespaceCheck(client: SluiceClient): Promise<Check> {
  const name = 'namespace and search attributes';
  try {
    // A list fails without the namespace alone: where there are no search attributes, there are no releases.
    await client.list({ namespace: 'sluice-doctor', limit: 1 });
    const missing = await client.missingSearchAttributes();
    if (missing === null) {
      const sentence =
        'the namespace is there; whether the search attributes are cannot be seen with these permissions.';
      return { name, state: 'warn', sentence, hint: null };
    }
    if (missing.length === 0) return ok(name, 'are there.');
    const problem = `the namespace is there, and without the search attributes ${missing.join(', ')}.`;
    return bad(name, problem, 'A worker registers them when it starts: `sluice worker`.');
  } catch (error) {
    return bad(name, error, null);
  }
}

async function* specChecks(session: Session, path: string, client: SluiceClient | null): AsyncGenerator<Check> {
  const { cli } = session;
  let plan: Plan;
  try {
    const { target } = await cli.spec.identify(path);
    plan = await cli.spec.plan(path, target === 'kubernetes' ? ANY_IMAGE : 'doctor');
    yield ok('spec', `${path} is valid.`);
  } catch (error) {
    yield bad('spec', error, 'See `sluice validate`.');
    return;
  }
  let answers: readonly InstanceAnswer[] = [];
  if (plan.target.kind === 'router') {
    answers = await askInstances(plan.target);
    for (const answer of answers) yield instanceCheck(answer, cli.now());
    yield* agreementChecks(answers);
    yield* tokenChecks(session, plan.target, answers);
  }
  yield* flagServiceChecks(session, plan.target.kind === 'flag' ? plan.target : null);
  let seen: TargetView | null = null;
  if (plan.target.kind === 'kubernetes') {
    const underWay = client === null ? null : await releaseUnderWay(client, plan);
    seen = yield* clusterChecks(session, plan.target, { path, plan, underWay });
  }
  yield* sourceChecks(session, plan, answers);
  // Last: these are requests like those of users, and would be the only data of an app that nobody uses.
  const test = plan.steps.find((step) => step.kind === 'smokeTest');
  if (test === undefined) return;
  yield* smokePathChecks(test, answers);
  if (plan.target.kind === 'kubernetes' && seen !== null) {
    const check = await clusterSmokeTestCheck(session, plan.target, { test, seen });
    if (check !== null) yield check;
  }
}

/** By the list, for which no worker is needed; null where there is none, or nobody can say. */
async function releaseUnderWay(
  client: SluiceClient,
  { service, namespace }: Pick<Plan, 'service' | 'namespace'>,
): Promise<ReleaseSummary | null> {
  try {
    const open = await client.list({ service, namespace, open: true });
    // One that only keeps the old version gives way to the next.
    return open.find(({ phase }) => phase !== 'queued' && phase !== 'promoted') ?? null;
  } catch (error) {
    if (error instanceof ReleaseError) return null;
    throw error;
  }
}

interface ClusterContext {
  readonly path: string;
  readonly plan: Plan;
  /** The service's release in progress. */
  readonly underWay: ReleaseSummary | null;
}

/** By the credentials of this kubeconfig; the worker's own may be others. Answers what is there; null where that is not known. */
async function* clusterChecks(
  session: Session,
  plan: KubernetesTargetPlan,
  { path, ...context }: ClusterContext,
): AsyncGenerator<Check, TargetView | null> {
  const { namespace } = plan;
  const signal = AbortSignal.timeout(CLUSTER_PATIENCE_MS);
  let cluster: Cluster | null = null;
  try {
    cluster = lazy.cluster().connectCluster({ env: session.cli.env });
    const missing = await lazy.permissions().checkPermissions(cluster, { plan, signal });
    // Rights in a namespace that is not there are worth nothing, and all else would be missing for that alone.
    const absent = await lazy.absence().absentNamespace(cluster, namespace, signal);
    if (absent !== null) {
      yield bad('namespace', absent, 'A release is refused for that before anything is changed.');
      return null;
    }
    if (missing.length === 0) yield ok('permissions', `all that a release needs in namespace ${namespace} are there.`);
    else {
      const hint = `\`sluice rbac ${path} | kubectl apply -f -\` gives the worker all that is needed.`;
      yield bad('permissions', missingPermissions(missing, namespace), hint);
    }
    const [unwatched, ...others] = await lazy.permissions().checkWatching(cluster, { plan, signal });
    if (unwatched !== undefined) {
      const more = others.length === 0 ? '' : `, and ${others.length} more to list and to watch,`;
      yield {
        name: 'permissions',
        state: 'warn',
        sentence: `${unwatched}${more} ${others.length === 0 ? 'is' : 'are'} not there: a release goes on without, and asks the API server for each object again and again.`,
        hint: `\`sluice rbac ${path}\` prints a Role that has them.`,
      };
    }
    // What is not there without its rights is known from those.
    if (missing.length > 0) return null;
    const { check, seen } = await targetCheck(cluster, plan, { ...context, signal });
    yield check;
    return seen;
  } catch (error) {
    yield bad('cluster', error, 'Check KUBECONFIG, and that `kubectl get --raw /version` answers.');
    return null;
  } finally {
    cluster?.close();
  }
}

/** The look that a release begins with: objects, selectors and routing. Of the image only the registry knows. */
async function targetCheck(
  cluster: Cluster,
  plan: KubernetesTargetPlan,
  { plan: { steps, onConflict }, underWay, signal }: Omit<ClusterContext, 'path'> & { readonly signal: AbortSignal },
): Promise<{ readonly check: Check; readonly seen: TargetView | null }> {
  const resolve = (image: string): Promise<string> => Promise.resolve(image);
  const target = lazy.kubernetesTarget().createKubernetesTarget(plan, { cluster, resolve });
  try {
    const match = steps.flatMap((step) => (step.kind === 'match' ? [step.match] : []));
    const weights = steps.flatMap((step) => (step.kind === 'weight' ? [step.weight] : []));
    const seen = await target.observe({ version: ANY_IMAGE, match, weights, signal });
    return { check: releasable(plan, seen, { onConflict, underWay }), seen };
  } catch (error) {
    return { check: bad('target', error, 'A release is refused for that before anything is changed.'), seen: null };
  } finally {
    target.close();
  }
}

function releasable(
  plan: KubernetesTargetPlan,
  { stableVersion, weight, onlyCanary, reach, missed }: TargetView,
  { onConflict, underWay }: Pick<Plan, 'onConflict'> & Pick<ClusterContext, 'underWay'>,
): Check {
  if (onlyCanary !== undefined) return { name: 'target', state: 'warn', sentence: onlyCanary, hint: null };
  const runs = stableVersion === null ? 'no version yet' : stableVersion;
  const when =
    underWay === null ? '' : ` when release ${underWay.release} of ${underWay.version} has ended, which is in progress`;
  const can = `${plan.namespace}/${plan.deployment} can be released${when}; stable runs ${runs}, weight ${weight} %`;
  const sentence = reach === undefined ? `${can}.` : `${can}; ${reach}`;
  if (underWay !== null) {
    const whole = missed === undefined ? sentence : `${sentence} ${missed}`;
    return { name: 'target', state: 'warn', sentence: whole, hint: UNTIL_THEN[onConflict] };
  }
  if (missed === undefined) return ok('target', sentence);
  const hint = 'Let the steps name weights that these pods reach, or give stable more pods first.';
  return { name: 'target', state: 'warn', sentence: `${sentence} ${missed}`, hint };
}

function instanceCheck(answer: InstanceAnswer, now: number): Check {
  const name = `instance ${answer.instance}`;
  if (!answer.ok) {
    return bad(name, `${answer.problem}.`, 'Check that the app runs there and carries the cohort router.');
  }
  const { versions, weight } = answer.metrics;
  const canary = versions.canary === null ? 'no canary' : `canary ${versions.canary} at ${weight} %`;
  const skew = Math.abs(Date.parse(answer.metrics.now) - now);
  if (skew > SKEW_MS) {
    const sentence = `stable ${versions.stable}, ${canary}, but its clock is ${formatDuration(skew)} off.`;
    return { name, state: 'warn', sentence, hint: 'Let both machines take their time from the network (NTP).' };
  }
  return ok(name, `stable ${versions.stable}, ${canary}.`);
}

/** A release is refused by instances that disagree about what is stable; about the canary only a release may leave them. */
function* agreementChecks(answers: readonly InstanceAnswer[]): Generator<Check> {
  const reached = answers.flatMap((answer) => (answer.ok ? [answer] : []));
  const hint = 'Start them with the same version, or finish or take back the release that left them so.';
  for (const [what, of] of [
    ['stable version', ({ metrics }) => metrics.versions.stable],
    ['canary', ({ metrics }) => metrics.versions.canary ?? 'none'],
    ['weight', ({ metrics }) => `${metrics.weight} %`],
  ] satisfies [string, (answer: (typeof reached)[number]) => string][]) {
    const values = new Set(reached.map(of));
    if (values.size < 2) continue;
    const each = reached.map((answer) => `${of(answer)} at ${answer.instance}`).join(', ');
    const sentence = `the instances disagree about the ${what}: ${each}.`;
    yield { name: what, state: what === 'stable version' ? 'bad' : 'warn', sentence, hint };
  }
}

/** Asked of what is stable now, which may lack what the new version adds: only what can never pass is bad. */
async function* smokePathChecks(test: SmokeTestStep, answers: readonly InstanceAnswer[]): AsyncGenerator<Check> {
  const name = `smoke test ${test.path}`;
  for (const { instance, ok: reached } of answers) {
    if (!reached) continue;
    const answer = await askPath(instance, test.path);
    if (!answer.ok) {
      yield bad(name, `${instance} ${answer.problem}.`, 'The smoke test asks the new version for this path.');
    } else if (answer.version === null) {
      const sentence = `${instance} answers without naming a version: the request does not pass the cohort router.`;
      yield bad(name, sentence, 'Let smokeTest.path name a path that the router does not skip.');
    } else if (answer.status !== test.expectStatus) {
      const sentence = `${answer.version} at ${instance} answers ${answer.status} instead of ${test.expectStatus}; the new version has to do better.`;
      yield { name, state: 'warn', sentence, hint: 'Check smokeTest.path and smokeTest.expectStatus.' };
    } else {
      yield ok(name, `${answer.version} at ${instance} answers ${answer.status}.`);
    }
  }
}

async function* tokenChecks(
  session: Session,
  target: Extract<Plan['target'], { kind: 'router' }>,
  answers: readonly InstanceAnswer[],
): AsyncGenerator<Check> {
  const token = session.cli.env[target.tokenEnv]?.trim() ?? '';
  const hint = `Set ${target.tokenEnv} to the router's admin token (CANARY_ADMIN_TOKEN of the app) where the worker runs.`;
  if (token === '') {
    yield { name: target.tokenEnv, state: 'warn', sentence: 'is not set here; the worker needs it.', hint };
    return;
  }
  for (const { instance, ok: answered } of answers) {
    if (!answered) continue;
    const problem = await checkToken(instance, token);
    yield problem === null
      ? ok(target.tokenEnv, `is taken by ${instance}.`)
      : bad(target.tokenEnv, `is refused by ${instance}: it ${problem}.`, hint);
  }
}

async function* sourceChecks(session: Session, plan: Plan, answers: readonly InstanceAnswer[]): AsyncGenerator<Check> {
  const { source, metrics, windowMs, lagMs = 0 } = plan.analysis;
  const name = `metric source (${source.kind})`;
  const serving = answers.find((answer) => answer.ok)?.metrics.versions;
  if (source.kind === 'router' && serving === undefined) {
    yield bad(name, 'cannot be asked: no instance answers.', null);
    return;
  }
  try {
    const opened = lazy.metrics().createMetricSource(source, plan.target, session.cli.env);
    try {
      const ask = (tracks: TrackNames | null): Promise<Sample> =>
        opened.sample({
          service: plan.service,
          namespace: plan.namespace,
          versions: { stable: serving?.stable ?? '', canary: serving?.canary ?? '' },
          ...(tracks === null ? {} : { tracks }),
          metrics,
          at: session.cli.now() - lagMs,
          lagMs,
          windowMs,
        });
      const sample = await askByTracks(plan, ask, hasValues);
      // Of stable alone: without a release there is no canary to have data. Of a pair either colour may have the users.
      for (const { name: metric, stable, canary } of sample.metrics) {
        const other = isPair(plan) && (stable?.value ?? null) === null && canary.value !== null;
        yield observationCheck(`metric ${metric}`, other ? canary : (stable ?? canary));
      }
    } finally {
      opened.close();
    }
  } catch (error) {
    yield bad(name, error, null);
  }
}

function observationCheck(name: string, { value, problem, query }: Observation): Check {
  if (problem === undefined && value !== null) return ok(name, 'has data for stable.');
  const sentence = problem?.message ?? 'there is no value';
  if (problem?.kind === 'error') return bad(name, `${sentence}.`, `Asked: ${query}`);
  return {
    name,
    state: 'warn',
    sentence: `${sentence}. Without data a release holds and never passes.`,
    hint: `Asked: ${query}`,
  };
}

/** Only where a token is set. The worker's environment counts; this one is taken to be like it. */
async function* slackChecks(session: Session): AsyncGenerator<Check> {
  const { env } = session.cli;
  const { SLACK_TOKEN_ENV, SLACK_API_URL_ENV } = lazy.createDeps();
  const token = env[SLACK_TOKEN_ENV]?.trim() ?? '';
  if (token === '') return;
  const apiUrl = env[SLACK_API_URL_ENV];
  try {
    const { WebClient, LogLevel } = lazy.slack();
    const client = new WebClient(token, {
      retryConfig: { retries: 0 },
      timeout: 5000,
      logLevel: LogLevel.ERROR,
      ...(apiUrl === undefined ? {} : { slackApiUrl: apiUrl }),
    });
    const answer = await client.auth.test();
    yield ok('Slack', `the token is that of ${answer.user ?? 'somebody'} in ${answer.team ?? 'a workspace'}.`);
  } catch (error) {
    const hint = `Check ${SLACK_TOKEN_ENV}. A failing Slack never holds a release up.`;
    yield bad('Slack', `the token is not taken: ${messageOf(error)}.`, hint);
  }
}
