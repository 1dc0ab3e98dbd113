import { setTimeout as delay } from 'node:timers/promises';
import type { SmokeTestStep } from '../../spec/plan-types';
import { TargetFailure } from '../target';
import type { Cluster } from './cluster';
import { ClusterFailure } from './cluster-failure';
import type { KubernetesObject, ObjectRef } from './objects';
import { failureOfPods } from './track-checks';

/** A Service made just now is not known to the API server's proxy for a moment; that is not counted as a try. */
const SETTLING_MS = 15_000;
const SETTLING_POLL_MS = 250;

export interface ProxiedSmokeTest {
  readonly namespace: string;
  readonly service: string;
  /** Null: the Service's only port, or the one named http. */
  readonly port: number | null;
  readonly test: SmokeTestStep;
  readonly version: string;
  /** The Deployment of the pods: looked at where the Service knows of none that is ready. */
  readonly deployment: string;
  readonly signal: AbortSignal;
  /** How long a Service that is not known yet is waited for; 0 for one that has long been there. */
  readonly settlingMs?: number;
}

/**
 * Asks the pods behind a Service through the API server, which works from outside on every cluster. Answers a sentence.
 *
 * @throws TargetFailure `smokeTestFailed` with what was answered, `deployFailed` for pods that fail, `invalidTarget` for
 * a Service without a port to ask; ClusterFailure `unreachable` while the API server is away, or has nobody to ask.
 */
export async function smokeTestThroughProxy(cluster: Cluster, request: ProxiedSmokeTest): Promise<string> {
  const { namespace, service, test, version, signal } = request;
  const object = await cluster.get(refOf(namespace, service), { signal });
  const port = request.port ?? portOf(object);
  const shown = `Service ${namespace}/${service}${port === undefined ? '' : `:${port}`}${test.path}`;
  let problem = '';
  // Once for all tries: they must end within the step's own time.
  const settledBy = performance.now() + (request.settlingMs ?? SETTLING_MS);
  for (let attempt = 1; attempt <= test.attempts; attempt += 1) {
    if (attempt > 1) await delay(test.intervalMs, undefined, { signal });
    problem = await probe(cluster, { ...request, port, settledBy });
    if (problem === '') return `${version} answered ${test.path} with ${test.expectStatus}, asked through ${shown}.`;
  }
  const tries = test.attempts === 1 ? '' : ` ${test.attempts} times`;
  throw new TargetFailure('smokeTestFailed', `The smoke test of ${version} failed${tries}: ${shown} ${problem}.`);
}

/** What is wrong with the answer; empty when nothing is. */
async function probe(
  cluster: Cluster,
  {
    namespace,
    service,
    deployment,
    port,
    test,
    signal,
    settledBy,
  }: Omit<ProxiedSmokeTest, 'port'> & { readonly port: number | string | undefined; readonly settledBy: number },
): Promise<string> {
  for (;;) {
    try {
      const at = port === undefined ? {} : { port };
      const request = { namespace, service, ...at, path: test.path, timeoutMs: test.timeoutMs };
      const answer = await cluster.proxyGet(request, { signal });
      if (answer.status !== test.expectStatus) return `answered ${answer.status} instead of ${test.expectStatus}`;
      if (test.expectBody !== null && !answer.text.includes(test.expectBody)) {
        return `answered without the text ${JSON.stringify(test.expectBody)}`;
      }
      return '';
    } catch (error) {
      if (!(error instanceof ClusterFailure) || error.kind === 'cancelled' || error.kind === 'forbidden') throw error;
      // The API server is away, which says nothing about the version: the test as a whole is asked for again.
      if (error.kind === 'unreachable' && error.status === undefined) throw error;
      // Silence is the version's only where the API server answers for itself; else this throws that it is away.
      if (error.kind === 'timeout') await cluster.get(refOf(namespace, service), { signal });
      const busy = isOfApiServer(error);
      const settling = error.kind === 'notFound' || error.status === 503 || busy;
      if (!settling || performance.now() > settledBy) {
        if (busy) throw error;
        if (!isWithoutPods(error)) return `could not be asked: ${error.message}`;
        // Nobody was asked, so nothing is known of the version. After an outage the controllers come back in their own
        // time, and a Service learns of its pods later than their Deployment does: asked again in the step's own time.
        const failure = await failureOfPods(cluster, { namespace, name: deployment }, { needed: 1, signal });
        if (failure !== null) throw new TargetFailure('deployFailed', failure, { cause: error });
        throw error;
      }
      await delay(SETTLING_POLL_MS, undefined, { signal });
    }
  }
}

function refOf(namespace: string, name: string): ObjectRef {
  return { apiVersion: 'v1', kind: 'Service', namespace, name };
}

/** Overloaded, failing inside, or without the means to know us or our rights: the API server's own trouble. A pod's 500 is an answer. */
function isOfApiServer({ kind, status }: ClusterFailure): boolean {
  return kind === 'unauthorized' || status === 403 || status === 429 || status === 500;
}

/** The proxy's own word for a Service of which it knows no ready pod. */
function isWithoutPods({ status, message }: ClusterFailure): boolean {
  return status === 503 && message.includes('no endpoints available for service');
}

/**
 * The port named `http`, else nothing, which the API server takes for the only port where that has no name: the port is
 * a part of the name that permissions are given by, and a plan that names none must be known to ask for these alone
 * (`permissions.ts`).
 */
function portOf(service: KubernetesObject): 'http' | undefined {
  const { ports = [] } = service['spec'] as { ports?: readonly { port: number; name?: string }[] };
  const [first, second] = ports;
  if (ports.some((one) => one.name === 'http')) return 'http';
  if (first !== undefined && second === undefined && (first.name ?? '') === '') return undefined;
  const names = ports.map((one) => `${one.port}${one.name === undefined ? '' : ` (${one.name})`}`).join(', ');
  throw new TargetFailure(
    'invalidTarget',
    `Service ${service.metadata.namespace ?? ''}/${service.metadata.name} has ${ports.length === 0 ? 'no port' : `the ${ports.length === 1 ? 'port' : 'ports'} ${names}, and none is named http`}; say in the spec which one the smoke test asks, as \`port\`.`,
  );
}
