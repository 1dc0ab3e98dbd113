import { z } from 'zod';
import { TargetFailure } from '../target';
import { describeRef, refOf } from './objects';
import type { KubernetesObject } from './objects';

const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '');

const Termination = z.object({ exitCode: z.number(), reason: text, message: text });

const Container = z.object({
  name: z.string(),
  ready: z
    .boolean()
    .nullish()
    .transform((value) => value ?? false),
  restartCount: z
    .number()
    .nullish()
    .transform((value) => value ?? 0),
  state: z
    .object({
      waiting: z.object({ reason: text, message: text }).nullish(),
      running: z.object({ startedAt: text }).nullish(),
      terminated: Termination.nullish(),
    })
    .nullish(),
  lastState: z.object({ terminated: Termination.nullish() }).nullish(),
});

const Condition = z.object({
  type: z.string(),
  status: z.string(),
  reason: text,
  message: text,
  lastTransitionTime: text,
});

const Status = z
  .object({
    phase: text,
    reason: text,
    message: text,
    conditions: z.array(Condition).nullish(),
    initContainerStatuses: z.array(Container).nullish(),
    containerStatuses: z.array(Container).nullish(),
  })
  .nullish();

const Event = z.object({
  reason: text,
  message: text,
  lastTimestamp: text,
  eventTime: text,
  reportingComponent: text,
  source: z.object({ component: text }).nullish(),
  metadata: z.object({ creationTimestamp: text }),
});

const ReplicaSetStatus = z.object({ conditions: z.array(Condition).nullish() }).nullish();

export type ObjectCondition = z.infer<typeof Condition>;
export type ContainerState = z.infer<typeof Container> & {
  /** Runs before the others, to its end or (a sidecar) beside them. */
  readonly init: boolean;
};

/** What a pod says about itself. */
export interface PodView {
  readonly name: string;
  readonly namespace: string;
  readonly phase: string;
  /** Why the whole pod failed (`Evicted`), with its words. */
  readonly reason: string;
  readonly message: string;
  readonly conditions: readonly ObjectCondition[];
  /** Init containers first: they run first. */
  readonly containers: readonly ContainerState[];
}

/** The ReplicaSet that makes the pods of one template. */
export interface ReplicaSetView {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  /** The value of its pods' label `pod-template-hash`. */
  readonly templateHash: string;
  readonly conditions: readonly ObjectCondition[];
}

/** What the kubelet or a controller told about an object. */
export interface ObjectEvent {
  readonly reason: string;
  readonly message: string;
  /** The component that told it. */
  readonly by: string;
}

export const TEMPLATE_HASH = 'pod-template-hash';
const REVISION = 'deployment.kubernetes.io/revision';

/**
 * The ReplicaSet of the newest template: of those the Deployment owns, the one with the highest revision. The controller
 * numbers it before it says that it has seen the template. Null while there is none.
 */
export function newestReplicaSet(replicaSets: readonly KubernetesObject[], ownerUid: string): ReplicaSetView | null {
  let newest: KubernetesObject | null = null;
  for (const each of replicaSets) {
    if (!isOwnedBy(each, ownerUid)) continue;
    if (newest === null || revisionOf(each) > revisionOf(newest)) newest = each;
  }
  if (newest === null) return null;
  const { name, namespace = '', uid = '', labels = {} } = newest.metadata;
  const status = parse(ReplicaSetStatus, newest['status'], newest);
  return { name, namespace, uid, templateHash: labels[TEMPLATE_HASH] ?? '', conditions: status?.conditions ?? [] };
}

/** The pods of one ReplicaSet that are not ending. */
export function podsOf(pods: readonly KubernetesObject[], replicaSet: ReplicaSetView): readonly PodView[] {
  return pods
    .filter(
      ({ metadata }) =>
        metadata.labels?.[TEMPLATE_HASH] === replicaSet.templateHash && metadata.deletionTimestamp === undefined,
    )
    .filter((pod) => isOwnedBy(pod, replicaSet.uid))
    .map(readPod);
}

/** These Events, the newest last; what is not understood is left out. */
export function readEvents(events: readonly KubernetesObject[]): readonly ObjectEvent[] {
  return events
    .flatMap((event) => {
      const parsed = Event.safeParse(event);
      return parsed.success ? [parsed.data] : [];
    })
    .sort((a, b) => Date.parse(timeOf(a)) - Date.parse(timeOf(b)))
    .map(({ reason, message, reportingComponent, source }) => ({
      reason,
      message,
      by: reportingComponent || (source?.component ?? ''),
    }));
}

function timeOf({ lastTimestamp, eventTime, metadata }: z.infer<typeof Event>): string {
  return lastTimestamp || eventTime || metadata.creationTimestamp;
}

/** The word that no node has taken the pod; null where one has, or nobody has looked for one yet. */
export function notScheduled(pod: PodView): ObjectCondition | null {
  if (pod.phase === 'Failed') return null;
  return pod.conditions.find(({ type, status }) => type === 'PodScheduled' && status === 'False') ?? null;
}

/** True where the scheduler has looked, and found no node. */
export function isUnschedulable(condition: ObjectCondition | null): boolean {
  return condition?.reason === 'Unschedulable';
}

function readPod(pod: KubernetesObject): PodView {
  const { name, namespace = '' } = pod.metadata;
  const status = parse(Status, pod['status'], pod);
  return {
    name,
    namespace,
    phase: status?.phase ?? '',
    reason: status?.reason ?? '',
    message: status?.message ?? '',
    conditions: status?.conditions ?? [],
    containers: [
      ...(status?.initContainerStatuses ?? []).map((one) => ({ ...one, init: true })),
      ...(status?.containerStatuses ?? []).map((one) => ({ ...one, init: false })),
    ],
  };
}

function parse<T>(schema: z.ZodType<T>, status: unknown, of: KubernetesObject): T {
  const parsed = schema.safeParse(status);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const place = issue === undefined ? '' : `: ${['status', ...issue.path].join('.')}: ${issue.message}`;
  throw new TargetFailure('invalidTarget', `${describeRef(refOf(of))} has a status that is not understood${place}.`);
}

function isOwnedBy(object: KubernetesObject, uid: string): boolean {
  const owners = object.metadata['ownerReferences'];
  return (
    Array.isArray(owners) &&
    owners.some((owner: unknown) => typeof owner === 'object' && owner !== null && 'uid' in owner && owner.uid === uid)
  );
}

function revisionOf(replicaSet: KubernetesObject): number {
  const revision = Number(replicaSet.metadata.annotations?.[REVISION] ?? 0);
  return Number.isFinite(revision) ? revision : 0;
}
