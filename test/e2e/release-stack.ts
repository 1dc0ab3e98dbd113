import { pino } from 'pino';
import { connect } from '../../src/client/connect';
import type { SluiceClient } from '../../src/client/client-types';
import { findTemporalCli } from '../../src/devserver/find-temporal';
import { startTemporal } from '../../src/devserver/start-temporal';
import type { RunningTemporal } from '../../src/devserver/start-temporal';
import type { Plan } from '../../src/spec/plan-types';
import { connectCluster } from '../../src/targets/kubernetes/cluster';
import type { Cluster } from '../../src/targets/kubernetes/cluster';
import { startWorker } from '../../src/worker/start-worker';
import type { ReleaseStatus } from '../../src/workflows/api';
import { planOf } from '../integration/stack';
import type { Lab } from '../lab/lab';

export const ADA = { name: 'ada', groups: ['oncall'], via: 'cli' } as const;

/** Temporal, one worker in this process unless it is to be without, and the lab's cluster. */
export interface ReleaseStack {
  readonly client: SluiceClient;
  readonly cluster: Cluster;
  /** The address of Temporal's frontend. */
  readonly address: string;
  /** Ends Temporal; it comes back at its address, with what is in its file. */
  stopTemporal(): Promise<void>;
  startTemporal(): Promise<void>;
  stop(): Promise<void>;
}

export interface StackChoices {
  /** False for a stack whose workers are processes of their own. */
  readonly worker?: boolean;
  /** The worker's; the lab's by default. */
  readonly kubeconfig?: string;
  /** Where Temporal keeps its state; in memory by default, and then it does not outlive a stop. */
  readonly dbFile?: string;
}

export async function startReleaseStack(lab: Lab, choices: StackChoices = {}): Promise<ReleaseStack> {
  const { worker: withWorker = true, kubeconfig = lab.kubeconfig, dbFile } = choices;
  const { path } = await findTemporalCli({ onProgress: () => undefined });
  const start = (port?: number): Promise<RunningTemporal> =>
    startTemporal({
      binary: path,
      headless: true,
      ...(port === undefined ? {} : { port }),
      ...(dbFile === undefined ? {} : { dbFile }),
    });
  let temporal = await start();
  const { address } = temporal;
  const client = await connect({ address, namespace: 'default', env: {} });
  // The worker finds its cluster as a user's does.
  const worker = withWorker
    ? await startWorker({
        address,
        namespace: 'default',
        logger: pino({ level: 'silent' }),
        env: { ...process.env, KUBECONFIG: kubeconfig },
      })
    : null;
  const cluster = connectCluster({ fieldManager: 'e2e', kubeconfig: lab.kubeconfig });
  return {
    client,
    cluster,
    address,
    stopTemporal: () => temporal.stop(),
    startTemporal: async () => {
      temporal = await start(Number(address.split(':')[1]));
    },
    stop: async () => {
      await worker?.stop();
      await client.close();
      cluster.close();
      await temporal.stop();
    },
  };
}

export interface SpecChoices {
  /** 25, 50 and 100 by default. */
  readonly weights?: readonly number[];
  /** Of each weight; 8s by default: windows of the lab's scrapes of 1 s. */
  readonly soak?: string;
  /** Lines before the weights, indented by four. */
  readonly before?: string;
  /** Lines after them, indented by four. */
  readonly after?: string;
  /** Of /healthz by default, up to five times: of / a version may fail by its nature, and by chance five times. */
  readonly smokeTest?: string;
  /** By the HTTPRoute by default. */
  readonly traffic?: string;
  /** Lines under `kubernetes:`, indented by six. */
  readonly kubernetes?: string;
  /** Between the end of the canary's traffic and that of its pods; 2s by default. */
  readonly drain?: string;
  /** 90s by default. */
  readonly deployTimeout?: string;
  /** How many requests may fail; 10% by default. */
  readonly errors?: string;
  readonly deployment?: string;
}

/** A release of the lab's shop by its HTTPRoute, judged by the lab's Prometheus. */
export function labPlan(lab: Lab, namespace: string, version: string, more: SpecChoices = {}): Plan {
  return planOf(labSpec(lab, namespace, more), version);
}

/** Its `release.yaml`. */
export function labSpec(lab: Lab, namespace: string, more: SpecChoices = {}): string {
  const { weights = [25, 50, 100], soak = '8s', before = '', after = '', kubernetes = '' } = more;
  const { drain = '2s', deployTimeout = '90s', errors = '10%', deployment = 'shop' } = more;
  const { traffic = '{ gatewayAPI: { httpRoute: shop } }', smokeTest = '{ path: /healthz, attempts: 5 }' } = more;
  return `
apiVersion: sluice.dev/v1
kind: Release
metadata: { name: shop, namespace: ${namespace} }
spec:
  target:
    kubernetes:
      deployment: ${deployment}
      service: shop
      traffic: ${traffic}
      drain: ${drain}
${kubernetes}
  deployTimeout: ${deployTimeout}
  smokeTest: ${smokeTest}
  steps:
${before}
${weights.map((weight) => `    - { weight: ${weight}, soak: ${soak} }`).join('\n')}
${after}
  analysis:
    source: { prometheus: { url: '${lab.prometheusUrl}' } }
    interval: 2s
    window: 8s
    minMeasurements: 2
    minRequests: 5
    metrics:
      - { name: error-rate, max: ${errors} }
      - { name: p95-latency, max: 500ms }
    compare: false
`;
}

/** What has not come by then does not come: below the limit of a test, so that the failure tells where it stands. */
const WATCHED_MS = 540_000;

/** Watches until the condition holds and answers that status; fails when the release ends before, or stands still. */
export async function until(
  client: SluiceClient,
  namespace: string,
  holds: (status: ReleaseStatus) => boolean,
): Promise<ReleaseStatus> {
  const signal = AbortSignal.timeout(WATCHED_MS);
  let last: ReleaseStatus | null = null;
  let trouble = '';
  const onTrouble = (sentence: string): void => void (trouble = sentence);
  for await (const status of client.watch({ service: 'shop', namespace }, { everyMs: 200, signal, onTrouble })) {
    if (holds(status)) return status;
    last = status;
  }
  if (!signal.aborted) throw new Error(`the release ended as ${last?.outcome ?? '?'} before: ${last?.message ?? ''}`);
  const where = `${last?.phase ?? 'no phase'}: ${last?.trouble ?? last?.message ?? 'no message'}`;
  const story = (last?.events ?? []).slice(-15).map(({ at, type, message }) => `${at} ${type}: ${message}`);
  throw new Error([`it stood still at ${where}; ${trouble}`, ...story].join('\n'));
}

/** The status at the end, with the story in the error of a test that expected another one. */
export async function ended(client: SluiceClient, namespace: string): Promise<ReleaseStatus> {
  return until(client, namespace, (status) => status.endedAt !== null);
}
