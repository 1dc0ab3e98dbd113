import { messageOf } from '../errors';
import type { KubernetesTargetPlan, SmokeTestStep } from '../spec/plan-types';
import type { Cluster } from '../targets/kubernetes/cluster';
import { TargetFailure } from '../targets/target';
import type { TargetView } from '../targets/target';
import { bad, ok } from './check';
import type { Check } from './check';
import { lazy } from './lazy';
import type { Session } from './session';

/** Beside the test's own time, for what is read before it. */
const READ_MS = 10_000;

/**
 * The smoke test's path, asked once of what is stable now, through the API server as a release asks the new version. What
 * is stable may lack what the new version adds, so only what can never pass is bad. Null where nobody is there to ask.
 */
export async function clusterSmokeTestCheck(
  session: Session,
  plan: KubernetesTargetPlan,
  { test, seen }: { readonly test: SmokeTestStep; readonly seen: TargetView },
): Promise<Check | null> {
  if (seen.stableVersion === null) return null;
  const name = `smoke test ${test.path}`;
  const signal = AbortSignal.timeout(test.timeoutMs + READ_MS);
  let cluster: Cluster | null = null;
  try {
    cluster = lazy.cluster().connectCluster({ env: session.cli.env });
    const said = await lazy.proxiedSmokeTest().smokeTestThroughProxy(cluster, {
      ...(await stableOf(cluster, plan, { seen, signal })),
      namespace: plan.namespace,
      port: plan.port,
      test: { ...test, attempts: 1 },
      version: isMixed(plan, seen) ? 'one of both tracks' : seen.stableVersion,
      signal,
      settlingMs: 0,
    });
    return ok(name, said);
  } catch (error) {
    const kind = error instanceof TargetFailure ? error.kind : null;
    if (kind === 'invalidTarget') return bad(name, error, 'A release fails for that at its smoke test.');
    if (kind === 'smokeTestFailed') {
      const sentence = `${messageOf(error)} The new version has to do better.`;
      return { name, state: 'warn', sentence, hint: 'Check smokeTest: its path, expectStatus and expectBody.' };
    }
    return { name, state: 'warn', sentence: `what is stable now could not be asked: ${messageOf(error)}`, hint: null };
  } finally {
    cluster?.close();
  }
}

/** A release of a pair has the rights to its previews, and makes them: before the first there is the Service alone. */
async function stableOf(
  cluster: Cluster,
  { strategy, namespace, service, deployment }: KubernetesTargetPlan,
  { seen, signal }: { readonly seen: TargetView; readonly signal: AbortSignal },
): Promise<{ readonly service: string; readonly deployment: string }> {
  if (strategy !== 'blueGreen' || seen.idle === undefined) return { service, deployment };
  const active = seen.idle === 'blue' ? 'green' : 'blue';
  const preview = { apiVersion: 'v1', kind: 'Service', namespace, name: `${service}-${active}` };
  const isUnmade = await lazy.absence().isMissing(cluster, preview, signal);
  return { service: isUnmade ? service : preview.name, deployment: `${deployment}-${active}` };
}

/** Whether the Service may lead to the canary as well: it does so while that is what splits the traffic. */
function isMixed({ strategy, traffic: { kind } }: KubernetesTargetPlan, { canaryVersion }: TargetView): boolean {
  return strategy === 'canary' && canaryVersion !== null && (kind === 'replicas' || kind === 'serviceSelector');
}
