import type { KubernetesTargetPlan } from '../../spec/plan-types';
import { annotate } from '../../traffic/fence';
import type { KubernetesObject } from './objects';
import type { PodTemplate } from './pod-config';

/** On the new version's Deployment while a release has it: how it was made, for a roll back that has nothing but the cluster. */
const TARGET_ANNOTATION = 'sluice.dev/target';

/**
 * On the Service that a release has made for the new version's pods: what of that note they are made of, because a
 * Deployment that somebody deletes takes its own note along.
 */
export const KEPT_ANNOTATION = 'sluice.dev/kept';

export interface TargetNote {
  readonly version: string;
  readonly plan: KubernetesTargetPlan;
  /** Stable as it was when the canary was made. Left out where a colour is, and by workers of before. */
  readonly stable?: NotedStable;
  /** How many pods a canary of the user's own was to have before a release took it. */
  readonly ownReplicas?: number;
  /** Of a pair, which colour is what: as it stands on the Service, too. */
  readonly roles?: unknown;
  /** The image that the server made of the one it was given, where an admission controller rewrites images. */
  readonly admitted?: string;
  /**
   * The pods' template as the server has it after the release's own write, by which an edit of it is found, and put back.
   * Left out until the server has answered that, by workers of before, and where it does not fit.
   */
  readonly template?: PodTemplate;
}

export interface NotedStable {
  readonly image: string;
  /** The rest of its pods' template, as `settingsDigest` has it. Left out by workers of before. */
  readonly settings?: string;
  /** Asked for; 0 for the first version of a service. */
  readonly replicas: number;
  /** The canary had its traffic before this release, and stable nobody to take it back to. */
  readonly carried?: true;
}

/** Of all annotations of an object together the API server takes 256 KiB; others need room for theirs. */
const MAX_NOTE_BYTES = 128 * 1024;

export function withTargetNote(object: KubernetesObject, note: TargetNote): KubernetesObject {
  return annotate(object, { [TARGET_ANNOTATION]: JSON.stringify(note) });
}

/** The same with a template of pods, where that fits into an annotation. */
export function withTemplateNote(object: KubernetesObject, note: TargetNote, template: PodTemplate): KubernetesObject {
  const whole = { ...note, template };
  if (Buffer.byteLength(JSON.stringify(whole)) <= MAX_NOTE_BYTES) return withTargetNote(object, whole);
  const { template: _, ...rest } = whole;
  return withTargetNote(object, rest);
}

export function withoutTargetNote(object: KubernetesObject): KubernetesObject {
  return annotate(object, { [TARGET_ANNOTATION]: null });
}

/** Null for a Deployment that no release has. */
export function targetNoteOn(object: KubernetesObject): TargetNote | null {
  const text = object.metadata.annotations?.[TARGET_ANNOTATION];
  if (text === undefined) return null;
  try {
    // Written by this very room; what somebody else made of it shows when it is used, in the words of what fails.
    const note = JSON.parse(text) as TargetNote;
    return note.plan?.kind === 'kubernetes' ? note : null;
  } catch {
    return null;
  }
}
