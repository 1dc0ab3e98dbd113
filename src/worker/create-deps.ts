import { Connections } from '../activities/connections';
import type { ActivityDeps } from '../activities/deps';
import { tellWait, tellWaited } from '../activities/waits';
import { createMetricSource } from '../metrics/create-source';
import type { ClosableMetricSource } from '../metrics/metric-source';
import { createSlackNotifier } from '../notify/slack';
import type { SlackNotifier } from '../notify/slack';
import { createTarget } from '../targets/create-target';
import type * as ClusterModule from '../targets/kubernetes/cluster';
import type { Cluster } from '../targets/kubernetes/cluster';
import { ClusterFailure } from '../targets/kubernetes/cluster-failure';
import { CLUSTER_DEFAULTS } from '../targets/kubernetes/defaults';
import { watchObjects } from '../targets/kubernetes/watched-objects';
import { RequestCounter } from '../targets/kubernetes/request-counter';
import { TargetFailure } from '../targets/target';
import type { Target } from '../targets/target';

/** The worker's environment variable with the Slack bot token. */
export const SLACK_TOKEN_ENV = 'SLUICE_SLACK_TOKEN';
/** For a Slack-compatible server, or tests. */
export const SLACK_API_URL_ENV = 'SLUICE_SLACK_API_URL';

export interface WorkerDeps extends ActivityDeps {
  /** What was asked of Kubernetes so far, for metrics. */
  readonly clusterRequests: RequestCounter;
  close(): void;
}

/** The real world: targets, metric sources and Slack, kept open between activities. */
export function createDeps(env: Readonly<Record<string, string | undefined>>): WorkerDeps {
  const targets = new Connections<Target>();
  const sources = new Connections<ClosableMetricSource>();
  let slack: SlackNotifier | null = null;
  let opened: Cluster | null = null;
  // One for all releases: its connections are pooled, and its requests counted together.
  const clusterRequests = new RequestCounter();
  const cluster = (): Cluster => (opened ??= openCluster(env, clusterRequests));
  return {
    target: (plan) => targets.get(plan, () => createTarget(plan, { env, cluster })),
    source: (plan, target) => sources.get([plan, target], () => createMetricSource(plan, target, env)),
    slack: () => (slack ??= openSlack(env)),
    clusterRequests,
    close: () => {
      targets.closeAll();
      opened?.close();
      sources.closeAll();
    },
  };
}

/** @throws TargetFailure `invalidTarget` without a kubeconfig that can be used. */
function openCluster(env: Readonly<Record<string, string | undefined>>, counter: RequestCounter): Cluster {
  // Loaded only now: Kubernetes' client is large, and a worker of routers alone never needs it.
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  const { connectCluster } = require('../targets/kubernetes/cluster') as typeof ClusterModule;
  try {
    // A worker reads the same objects again and again, for each operation of a release; so it watches them.
    const retry = { budgetMs: CLUSTER_DEFAULTS.activityRetryBudgetMs };
    return watchObjects(connectCluster({ env, counter, retry }), { onWait: tellWait, onWaited: tellWaited });
  } catch (error) {
    if (!(error instanceof ClusterFailure)) throw error;
    throw new TargetFailure('invalidTarget', error.message, { cause: error });
  }
}

function openSlack(env: Readonly<Record<string, string | undefined>>): SlackNotifier {
  const token = env[SLACK_TOKEN_ENV]?.trim() ?? '';
  if (token === '') {
    throw new TargetFailure(
      'invalidTarget',
      `The environment variable ${SLACK_TOKEN_ENV}, which should hold the Slack bot token, is not set where the worker runs.`,
    );
  }
  const apiUrl = env[SLACK_API_URL_ENV];
  return createSlackNotifier({ token, ...(apiUrl === undefined ? {} : { apiUrl }) });
}
