import { TargetFailure } from '../target';
import type { DeploymentView } from './deployment-view';

/** Longest value of a label. */
const MAX_LABEL = 63;

/** Says which track a pod belongs to, on every pod that a release makes; metrics are told apart by it. */
export const TRACK_LABEL = 'sluice.dev/track';
/** The service (metadata.name of the spec) that a pod belongs to. */
export const SERVICE_LABEL = 'sluice.dev/service';
/**
 * On what a release made, and may therefore make anew and remove (a colour of a blue-green pair stays, without pods).
 * Objects without it are the user's: changed and put back, never deleted.
 */
export const OWNER_LABEL = 'sluice.dev/made-for';

/** What a release's id ends in: the time of its start, and random digits. */
const ID_END = '-20060102-150405-abcd'.length;

/** The release's id as the value of `OWNER_LABEL`: of one that is too long the service's name is cut. Its fence has it whole. */
export function ownerLabel(release: string): string {
  if (release.length <= MAX_LABEL) return release;
  return `${release.slice(0, MAX_LABEL - ID_END)}${release.slice(-ID_END)}`;
}

export type Labels = Readonly<Record<string, string>>;

/** Labels that name the track itself, the first that a Service selects by is changed; else its first one. */
const TELLING = [TRACK_LABEL, 'track', 'app.kubernetes.io/name', 'app', 'app.kubernetes.io/instance'];

/**
 * The labels of the canary's pods: those of the stable ones, with one of the labels that the stable Service selects by
 * changed, so that it does not find them.
 *
 * @throws TargetFailure `invalidTarget` when the Service selects nothing, or not the stable pods.
 */
export function canaryLabels(
  stable: Pick<DeploymentView, 'templateLabels' | 'name' | 'namespace'>,
  service: { readonly name: string; readonly selector: Labels },
): Labels {
  const { selector } = service;
  const keys = Object.keys(selector).sort();
  const shown = `Service ${stable.namespace}/${service.name}`;
  if (keys.length === 0) throw new TargetFailure('invalidTarget', `${shown} selects no pods; it needs a selector.`);
  const missed = keys.find((key) => stable.templateLabels[key] !== selector[key]);
  if (missed !== undefined) {
    throw new TargetFailure(
      'invalidTarget',
      `${shown} selects pods with ${missed}=${selector[missed] ?? ''}, which those of Deployment ${stable.name} do not have (${missed}=${stable.templateLabels[missed] ?? 'nothing'}).`,
    );
  }
  const key = TELLING.find((one) => keys.includes(one)) ?? keys[0] ?? '';
  const changed = key === TRACK_LABEL || key === 'track' ? 'canary' : suffixed(selector[key] ?? '');
  return { ...stable.templateLabels, [TRACK_LABEL]: 'canary', [key]: changed };
}

/** True when a selector finds pods with these labels. */
export function selects(selector: Labels, labels: Labels): boolean {
  const keys = Object.keys(selector);
  return keys.length > 0 && keys.every((key) => labels[key] === selector[key]);
}

/** As kubectl writes a selector. */
export function describe(labels: Labels): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

function suffixed(value: string): string {
  return `${value.slice(0, MAX_LABEL - '-canary'.length)}-canary`;
}

/** Pods the canary needs for a weight: its share of what stable is asked to have, and one at least. */
export function replicasFor(weight: number, stableReplicas: number): number {
  return Math.max(1, Math.ceil((stableReplicas * weight) / 100));
}
