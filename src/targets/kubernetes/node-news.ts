import type { KubernetesObject } from './objects';
import { readEvents } from './pod-view';

/** What a node provisioner last said about a pod that finds no node. */
export interface NodeWord {
  readonly coming: boolean;
  /** The component that said it: `cluster-autoscaler`. */
  readonly by: string;
  readonly message: string;
}

/** `silent`: none of them has said anything; `unread`: the pod's Events may not be read. */
export type NodeNews = NodeWord | 'silent' | 'unread';

/** By the pod's name; a pod that was not asked about is not in it. */
export type NodeNewsOfPods = ReadonlyMap<string, NodeNews>;

/** Whether a node is coming, by the reason of the Event. */
type Reasons = ReadonlyMap<string, boolean>;

/** The autoscaler says no word about a pod that fits a node which is on its way already. */
const AUTOSCALER: Reasons = new Map([
  ['TriggeredScaleUp', true],
  ['NotTriggerScaleUp', false],
]);

/** `FailedScheduling` is the scheduler's reason, too; only who says it tells them apart. */
const KARPENTER: Reasons = new Map([
  ['Nominated', true],
  ['FailedScheduling', false],
]);

const PROVISIONERS: ReadonlyMap<string, Reasons> = new Map([
  ['cluster-autoscaler', AUTOSCALER],
  ['karpenter', KARPENTER],
  // Karpenter, as EKS runs it itself.
  ['eks-auto-mode/compute', KARPENTER],
]);

/**
 * The newest word in a pod's Events. Where two provisioners serve one cluster, each refuses what the other one brings: a
 * node that one of them brings is a node that comes.
 */
export function readNodeNews(events: readonly KubernetesObject[]): NodeNews {
  const newest = new Map<string, NodeWord>();
  for (const { by, reason, message } of readEvents(events)) {
    const coming = PROVISIONERS.get(by)?.get(reason);
    if (coming !== undefined) newest.set(by, { coming, by, message });
  }
  const words = [...newest.values()];
  return words.find((word) => word.coming) ?? words.at(-1) ?? 'silent';
}

/** What is known of a pod's node: a node that was asked for another pod of the version may be meant for it, too. */
export function nodeNewsOf(pod: string, news: NodeNewsOfPods): NodeNews | undefined {
  const own = news.get(pod);
  if (typeof own === 'object') return own;
  return [...news.values()].find((one) => typeof one === 'object' && one.coming) ?? own;
}
