import type { PodTemplate } from './pod-config';

/**
 * What people and tools set on a template to have the same pods anew, which is nobody's edit of it: a restart was asked
 * for, and what was tested is what starts again.
 */
const ANNOTATIONS: readonly RegExp[] = [
  // kubectl rollout restart, and who does the same by its key: Argo CD, Lens, k9s (`kubectl.kubernetes.io/restartedAt`);
  // the OpenShift console (`openshift.openshift.io/restartedAt`); and whoever named one of their own so.
  /(^|[/.-])restarted(At|-at)$/,
  // Rancher's "Redeploy".
  /^cattle\.io\/timestamp$/,
  // Stakater's Reloader by annotations, when a ConfigMap or Secret that the pods name has changed.
  /^reloader\.stakater\.com\/last-reloaded-from$/,
  // Keel, beside each image that it sets, and alone where the tag stays and its image has changed.
  /^keel\.sh\/update-time$/,
];

/** Stakater's Reloader as it comes: a hash of what has changed, which no program reads. */
const VARIABLE = /^STAKATER_.+_(CONFIGMAP|SECRET)$/;

type Json = Readonly<Record<string, unknown>>;
type Annotations = Readonly<Record<string, string>>;
interface Container extends Json {
  readonly name: string;
  readonly env?: readonly Variable[];
}
interface Variable extends Json {
  readonly name: string;
}

/** The template as if nobody had ever asked for a restart. */
export function withoutRestarts(template: PodTemplate): PodTemplate {
  return rewritten(template, { annotations: {}, variablesOf: () => [] });
}

/** The template with the restarts that another one asks for, in place of its own: pods are not made anew for one that is over. */
export function withRestartsOf(template: PodTemplate, live: PodTemplate): PodTemplate {
  const asked = Object.entries(annotationsOf(live)).filter(([key]) => isRestart(key));
  return rewritten(template, {
    annotations: Object.fromEntries(asked),
    variablesOf: (list, name) => {
      const container = containersIn(live, list).find((one) => one.name === name);
      return (container?.env ?? []).filter(isRestartVariable);
    },
  });
}

interface Restarts {
  readonly annotations: Annotations;
  readonly variablesOf: (list: string, container: string) => readonly Variable[];
}

function rewritten(template: PodTemplate, { annotations, variablesOf }: Restarts): PodTemplate {
  const own = Object.entries(annotationsOf(template)).filter(([key]) => !isRestart(key));
  const kept = { ...Object.fromEntries(own), ...annotations };
  const { annotations: _, ...metadata } = (template['metadata'] ?? {}) as Json;
  const lists = ['initContainers', 'containers'].flatMap((list) => {
    const containers = containersIn(template, list);
    if (containers.length === 0) return [];
    return [[list, containers.map((one) => withVariables(one, variablesOf(list, one.name)))] as const];
  });
  const spec = { ...(template['spec'] as Json), ...Object.fromEntries(lists) };
  return {
    ...template,
    metadata: Object.keys(kept).length === 0 ? metadata : { ...metadata, annotations: kept },
    spec,
  };
}

/** A container without any is left as it is, to the letter. */
function withVariables(container: Container, asked: readonly Variable[]): Container {
  const { env = [], ...others } = container;
  const own = env.filter((one) => !isRestartVariable(one));
  if (own.length === env.length && asked.length === 0) return container;
  const kept = [...own, ...asked];
  return kept.length === 0 ? (others as Container) : { ...container, env: kept };
}

function containersIn(template: PodTemplate, list: string): readonly Container[] {
  const containers = (template['spec'] as Json | undefined)?.[list];
  return Array.isArray(containers) ? (containers as readonly Container[]) : [];
}

function annotationsOf(template: PodTemplate): Annotations {
  return (template['metadata'] as { readonly annotations?: Annotations } | undefined)?.annotations ?? {};
}

function isRestart(key: string): boolean {
  return ANNOTATIONS.some((one) => one.test(key));
}

function isRestartVariable({ name }: Variable): boolean {
  return VARIABLE.test(name);
}
