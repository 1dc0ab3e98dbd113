import type { SearchAttributePair } from '@temporalio/common';
import { isSimulated, releaseWorkflowId, SIMULATED_MEMO, START_KEY_MEMO, TASK_QUEUE } from './api';
import type { ReleaseInput } from './api';
import { SEARCH_KEYS } from './search-attribute-keys';

/** How a release is started, by a client or by the service's queue: id, lists and the Temporal UI's labels. */
export interface ReleaseStartOptions {
  readonly workflowId: string;
  readonly taskQueue: string;
  readonly workflowTaskTimeout: string;
  readonly typedSearchAttributes: SearchAttributePair[];
  readonly memo: Record<string, unknown>;
  readonly staticSummary: string;
  readonly staticDetails: string;
}

/**
 * How long a worker may think about a release's next step before another one is asked: a person's roll back waits that
 * long when the worker was killed just as it was told of it. Temporal's default is 10 s; a decision takes milliseconds,
 * and a replay of the longest history a release has about a second.
 */
const WORKFLOW_TASK_TIMEOUT = '4s';

export function releaseStartOptions(input: ReleaseInput, taskQueue: string = TASK_QUEUE): ReleaseStartOptions {
  const { plan, release, startedBy } = input;
  const weights = plan.steps.flatMap((step) => (step.kind === 'weight' ? [`${step.weight}`] : []));
  const steps =
    weights.length === 0
      ? plan.steps.map((step) => step.name).join(', ')
      : `${plan.steps.length} steps, weights ${weights.join(' → ')} %`;
  return {
    workflowId: releaseWorkflowId(plan.namespace, plan.service),
    taskQueue,
    workflowTaskTimeout: WORKFLOW_TASK_TIMEOUT,
    typedSearchAttributes: [
      { key: SEARCH_KEYS.service, value: plan.service },
      { key: SEARCH_KEYS.namespace, value: plan.namespace },
      { key: SEARCH_KEYS.release, value: release },
      { key: SEARCH_KEYS.version, value: plan.version },
      { key: SEARCH_KEYS.phase, value: 'starting' },
      { key: SEARCH_KEYS.weight, value: 0 },
    ],
    memo: {
      release,
      service: plan.service,
      version: plan.version,
      planHash: plan.hash,
      startedBy: startedBy.name,
      ...(isSimulated(plan) ? { [SIMULATED_MEMO]: true } : {}),
      ...(input.reason === undefined ? {} : { reason: input.reason }),
      ...(input.startKey === undefined ? {} : { [START_KEY_MEMO]: input.startKey }),
    },
    // Temporal allows 200 bytes; a version is at most 255 characters.
    staticSummary: `${plan.service} → ${plan.version}`.slice(0, 190),
    staticDetails: `Release **${release}**: ${steps}, started by ${startedBy.name}.`,
  };
}
