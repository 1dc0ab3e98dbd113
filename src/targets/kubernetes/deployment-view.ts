import { z } from 'zod';
import { TargetFailure } from '../target';
import { describeRef, refOf } from './objects';
import type { KubernetesObject } from './objects';

/** A Deployment as a release needs it: what was asked for, and how far its controller has come. */
export interface DeploymentView {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Asked for; 1 where it is left out. */
  readonly replicas: number;
  readonly paused: boolean;
  /** The labels by which it knows its pods; never empty. */
  readonly selector: Readonly<Record<string, string>>;
  /** As it is in the object. */
  readonly template: Readonly<Record<string, unknown>>;
  readonly templateLabels: Readonly<Record<string, string>>;
  /** Without init containers, in the template's order. */
  readonly containers: readonly ContainerImage[];
  /** The newest generation its controller has acted on; 0 when it has not seen it yet. */
  readonly observedGeneration: number;
  /** Pods of the newest template. */
  readonly updatedReplicas: number;
  /** Available pods of any template. */
  readonly availableReplicas: number;
  readonly readyReplicas: number;
  /** Pods of any template that are not ending. */
  readonly totalReplicas: number;
  readonly conditions: readonly DeploymentCondition[];
  readonly progressDeadlineSeconds: number;
}

export interface ContainerImage {
  readonly name: string;
  readonly image: string;
}

export interface DeploymentCondition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  /** RFC 3339; empty where it is left out. */
  readonly lastUpdateTime: string;
}

/** What the API server fills in. */
const DEFAULT_PROGRESS_DEADLINE_SECONDS = 600;

/** What a Deployment of a pair may be called beside the service itself. */
const TRACK_SUFFIX = /-(stable|canary|blue|green)$/;

const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '');
const count = z
  .number()
  .nullish()
  .transform((value) => value ?? 0);
const words = z
  .record(z.string(), z.string())
  .nullish()
  .transform((value) => value ?? {});

const Deployment = z.object({
  kind: z.literal('Deployment'),
  metadata: z.object({
    name: z.string(),
    namespace: z.string(),
    uid: z.string(),
    resourceVersion: z.string(),
    generation: z.number(),
    labels: words,
    annotations: words,
  }),
  spec: z.object({
    replicas: z.number().nullish(),
    paused: z.boolean().nullish(),
    progressDeadlineSeconds: z.number().nullish(),
    selector: z.object({ matchLabels: words, matchExpressions: z.array(z.unknown()).nullish() }),
    template: z.looseObject({
      metadata: z.looseObject({ labels: words }),
      spec: z.looseObject({ containers: z.array(z.looseObject({ name: z.string(), image: z.string() })).min(1) }),
    }),
  }),
  status: z
    .object({
      observedGeneration: count,
      replicas: count,
      updatedReplicas: count,
      availableReplicas: count,
      readyReplicas: count,
      conditions: z
        .array(z.object({ type: z.string(), status: z.string(), reason: text, message: text, lastUpdateTime: text }))
        .nullish(),
    })
    .nullish(),
});

/** @throws TargetFailure `invalidTarget` for what is no Deployment, or one that cannot be released. */
export function readDeployment(object: KubernetesObject): DeploymentView {
  const shown = describeRef(refOf(object));
  const parsed = Deployment.safeParse(object);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const place = issue === undefined ? '' : `: ${issue.path.join('.')}: ${issue.message}`;
    throw new TargetFailure('invalidTarget', `${shown} is not a Deployment that can be released${place}.`);
  }
  const { metadata, spec, status } = parsed.data;
  if ((spec.selector.matchExpressions ?? []).length > 0 || Object.keys(spec.selector.matchLabels).length === 0) {
    throw new TargetFailure(
      'invalidTarget',
      `${shown} does not select its pods by labels alone; allowed is a selector of matchLabels without matchExpressions.`,
    );
  }
  return {
    ...metadata,
    replicas: spec.replicas ?? 1,
    paused: spec.paused ?? false,
    selector: spec.selector.matchLabels,
    // Not the parsed one: what goes into another Deployment is the user's, to the letter.
    template: (object['spec'] as { template: Readonly<Record<string, unknown>> }).template,
    templateLabels: spec.template.metadata.labels,
    containers: spec.template.spec.containers.map(({ name, image }) => ({ name, image })),
    observedGeneration: status?.observedGeneration ?? 0,
    updatedReplicas: status?.updatedReplicas ?? 0,
    availableReplicas: status?.availableReplicas ?? 0,
    readyReplicas: status?.readyReplicas ?? 0,
    totalReplicas: status?.replicas ?? 0,
    conditions: status?.conditions ?? [],
    progressDeadlineSeconds: spec.progressDeadlineSeconds ?? DEFAULT_PROGRESS_DEADLINE_SECONDS,
  };
}

/**
 * The container whose image a release changes: the one that is wanted by name; else the only one; else the one named
 * like the Deployment, with or without the name of its track.
 *
 * @throws TargetFailure `invalidTarget` that names the containers there are.
 */
export function containerOf(view: DeploymentView, wanted: string | null): ContainerImage {
  const { containers, name, namespace } = view;
  const called = (sought: string): ContainerImage | undefined => containers.find((one) => one.name === sought);
  const [first, second] = containers;
  const found =
    wanted !== null
      ? called(wanted)
      : second === undefined
        ? first
        : (called(name) ?? called(name.replace(TRACK_SUFFIX, '')));
  if (found !== undefined) return found;
  const names = containers.map((one) => one.name).join(', ');
  throw new TargetFailure(
    'invalidTarget',
    wanted !== null
      ? `Deployment ${namespace}/${name} has no container ${wanted}; \`container\` in the spec may be one of: ${names}.`
      : `Deployment ${namespace}/${name} has several containers; say in the spec which one is released, as \`container\`: ${names}.`,
  );
}
