import type { DeploymentCondition, DeploymentView } from './deployment-view';

/** Whether a Deployment is where a release needs it, and why not; each sentence is whole. */
export type Readiness =
  | { readonly kind: 'ready'; readonly sentence: string }
  | { readonly kind: 'progressing'; readonly sentence: string }
  /** Its controller has given up; `condition` is its word for that. */
  | { readonly kind: 'deadline'; readonly sentence: string; readonly condition: DeploymentCondition }
  /** It does not roll out at all, until somebody resumes it. */
  | { readonly kind: 'paused'; readonly sentence: string };

/**
 * Decides by what the controller has seen, never by counts that may belong to the generation before.
 *
 * `needed` pods of the newest template must be available. With `complete`, all asked-for pods must be of the newest
 * template, too, and those of older ones gone.
 */
export function readinessOf(
  view: DeploymentView,
  needed: number,
  { complete = false }: { readonly complete?: boolean } = {},
): Readiness {
  const shown = `Deployment ${view.namespace}/${view.name}`;
  if (view.paused) {
    return {
      kind: 'paused',
      sentence: `${shown} is paused, so it rolls nothing out; resume it with kubectl -n ${view.namespace} rollout resume deployment/${view.name}.`,
    };
  }
  if (view.observedGeneration < view.generation) {
    return {
      kind: 'progressing',
      sentence: `The controller of ${shown} has not seen its last change yet (generation ${view.generation}, seen ${view.observedGeneration}).`,
    };
  }
  const older = Math.max(0, view.totalReplicas - view.updatedReplicas);
  const available = availableOfNewest(view);
  const updatedNeeded = complete ? Math.max(needed, view.replicas) : needed;
  if (available >= needed && view.updatedReplicas >= updatedNeeded && !(complete && older > 0)) {
    return { kind: 'ready', sentence: `${shown} has ${available} available ${pods(available)} of its newest version.` };
  }
  const state =
    `${available} of ${needed} needed ${pods(needed)} of its newest version available ` +
    `(${view.updatedReplicas} of ${updatedNeeded} made, ${older} of older versions left)`;
  const exceeded = view.conditions.find(
    ({ type, status, reason }) => type === 'Progressing' && status === 'False' && reason === 'ProgressDeadlineExceeded',
  );
  if (exceeded !== undefined) {
    return {
      kind: 'deadline',
      sentence: `${shown} made no progress within its progressDeadlineSeconds (${view.progressDeadlineSeconds}); it has ${state}.`,
      condition: exceeded,
    };
  }
  const few =
    view.replicas < needed ? `; no more than ${view.replicas} ${view.replicas === 1 ? 'is' : 'are'} asked for` : '';
  return { kind: 'progressing', sentence: `${shown} has ${state}${few}.` };
}

/** `2 ready pods`, those of the newest version: while it rolls out, older ones are there beside them. */
export function readyPods(view: DeploymentView): string {
  const count = availableOfNewest(view);
  return `${count} ready ${pods(count)}`;
}

/**
 * Available pods of the newest template, at least: the status counts available pods of all templates together, so those
 * of older ones are taken as available.
 */
function availableOfNewest(view: DeploymentView): number {
  const older = Math.max(0, view.totalReplicas - view.updatedReplicas);
  return Math.max(0, Math.min(view.updatedReplicas, view.availableReplicas - older));
}

function pods(count: number): string {
  return count === 1 ? 'pod' : 'pods';
}
