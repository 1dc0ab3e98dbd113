import { defineSearchAttributeKey } from '@temporalio/common';
import type { SearchAttributePair } from '@temporalio/common';
import { releaseWorkflowId, TASK_QUEUE } from './api';
import type { ReleaseInput } from './api';

/** How a release is started, by a client or by the service's queue: id, lists and the Temporal UI's labels. */
export interface ReleaseStartOptions {
  readonly workflowId: string;
  readonly taskQueue: string;
  readonly typedSearchAttributes: SearchAttributePair[];
  readonly memo: Record<string, unknown>;
  readonly staticSummary: string;
  readonly staticDetails: string;
}

export function releaseStartOptions(input: ReleaseInput, taskQueue: string = TASK_QUEUE): ReleaseStartOptions {
  const { plan, release, startedBy } = input;
  const weights = plan.steps.flatMap((step) => (step.kind === 'weight' ? [`${step.weight}`] : []));
  const keyword = (name: string, value: string): SearchAttributePair => ({
    key: defineSearchAttributeKey(name, 'KEYWORD'),
    value,
  });
  return {
    workflowId: releaseWorkflowId(plan.namespace, plan.service),
    taskQueue,
    typedSearchAttributes: [
      keyword('SluiceService', plan.service),
      keyword('SluiceNamespace', plan.namespace),
      keyword('SluiceRelease', release),
      keyword('SluiceVersion', plan.version),
      keyword('SluicePhase', 'starting'),
      { key: defineSearchAttributeKey('SluiceWeight', 'INT'), value: 0 },
    ],
    memo: {
      release,
      service: plan.service,
      version: plan.version,
      planHash: plan.hash,
      startedBy: startedBy.name,
      ...(input.reason === undefined ? {} : { reason: input.reason }),
    },
    // Temporal allows 200 bytes; a version is at most 255 characters.
    staticSummary: `${plan.service} → ${plan.version}`.slice(0, 190),
    staticDetails: `Release **${release}**: ${plan.steps.length} steps, weights ${weights.join(' → ')} %, started by ${startedBy.name}.`,
  };
}
