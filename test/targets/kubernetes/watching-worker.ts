import type { KubernetesTargetPlan } from '../../../src/spec/plan-types';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { ClusterFailure } from '../../../src/targets/kubernetes/cluster-failure';
import { checkPermissions, rolePermissions } from '../../../src/targets/kubernetes/permissions';
import { RequestCounter } from '../../../src/targets/kubernetes/request-counter';
import { roleObjects } from '../../../src/targets/kubernetes/role';
import { watchObjects } from '../../../src/targets/kubernetes/watched-objects';
import { connectAs, until } from './api-server';
import type { ApiServerProcess } from './api-server';
import { requestsOf } from './counted-requests';

/** The cluster as a worker has it, with what it asks of the API server counted. */
export interface WatchingWorker {
  readonly cluster: Cluster;
  readonly counter: RequestCounter;
}

/**
 * A worker's cluster under an account of its own that has the Role that `sluice rbac` prints, but for what it may do to
 * named objects by the verbs in `without`. `hand` is allowed everything, and makes the Role.
 */
export async function watchingWorker(
  server: ApiServerProcess,
  hand: Cluster,
  { plan, name, without = [] }: { plan: KubernetesTargetPlan; name: string; without?: readonly string[] },
): Promise<WatchingWorker> {
  const signal = AbortSignal.timeout(60_000);
  const account = { name, namespace: plan.namespace };
  const permissions = rolePermissions(plan).filter((one) => one.name === undefined || !without.includes(one.verb));
  for (const object of roleObjects(permissions, { ...account, account })) await hand.create(object, { signal });
  const user = `system:serviceaccount:${plan.namespace}:${name}`;
  const asking = connectAs(server, user);
  await until(() => mayAll(asking, plan, signal));
  asking.close();
  const counter = new RequestCounter();
  return { cluster: watchObjects(connectAs(server, user, { counter })), counter };
}

/** The server's authorizer follows its own watch, a moment later; of who may ask about himself, too. */
async function mayAll(cluster: Cluster, plan: KubernetesTargetPlan, signal: AbortSignal): Promise<boolean> {
  try {
    return (await checkPermissions(cluster, { plan, signal })).length === 0;
  } catch (error) {
    if (error instanceof ClusterFailure && error.kind === 'forbidden') return false;
    throw error;
  }
}

/** What each step of a course took, by verb and resource, one after the other. */
export async function requestsOfEach(
  counter: RequestCounter,
  steps: readonly (readonly [name: string, run: () => Promise<unknown>])[],
): Promise<Record<string, Record<string, number>>> {
  const took: Record<string, Record<string, number>> = {};
  for (const [name, run] of steps) took[name] = await requestsOf(counter, run());
  return took;
}

/** All of them; with a verb, those of that verb. */
export function sumOf(took: Readonly<Record<string, Readonly<Record<string, number>>>>, verb?: string): number {
  return Object.values(took)
    .flatMap((by) => Object.entries(by))
    .filter(([key]) => verb === undefined || key === verb || key.startsWith(`${verb} `))
    .reduce((all, [, each]) => all + each, 0);
}

/**
 * Writes that somebody else's had overtaken: each costs itself and one read more, and how many there are is the machine's
 * doing, on which controllers write more or less at the same time.
 */
export function overtakenIn(counter: RequestCounter): number {
  return counter
    .snapshot()
    .filter(({ verb, status }) => verb === 'patch' && (status === '409' || status === '422'))
    .reduce((all, { count }) => all + count, 0);
}
