import { createHash } from 'node:crypto';
import { fenceOn } from '../../traffic/fence';
import { diff } from '../../traffic/json-patch';
import type { TargetWrite } from '../target';
import { readDeployment } from './deployment-view';
import type { DeploymentView } from './deployment-view';
import type { KubernetesObject } from './objects';
import type { PodTemplate } from './pod-config';
import { withoutRestarts, withRestartsOf } from './restarts';
import { targetNoteOn, withTargetNote, withTemplateNote } from './target-note';
import type { TargetNote } from './target-note';
import { withImage } from './track-manifest';

/** What the release gave a Deployment, as the server has had it since: this is what is tested. */
export interface GivenPods {
  readonly container: string;
  /** As admission controllers have made it. */
  readonly image: string;
  /** As the release asked for it. */
  readonly asked: string;
  /** Null where no note says it: before the release's first write, and of workers of before. */
  readonly template: PodTemplate | null;
}

/** What somebody else has made of it: `had …, and was given … again`, `has … in place of …`. */
export interface PodsEdit {
  readonly found: string;
  readonly given: string;
}

const PLACES_TOLD = 3;
const DIGEST_LENGTH = 16;

export function givenPods(object: KubernetesObject | null, container: string, write: TargetWrite): GivenPods {
  const note = ownNote(object, write);
  const asked = imageOf(write);
  return { container, image: note?.admitted ?? asked, asked, template: note?.template ?? null };
}

/** The release's own note on a Deployment; null for that of another release. */
export function ownNote(object: KubernetesObject | null, { fence }: Pick<TargetWrite, 'fence'>): TargetNote | null {
  return object !== null && fenceOn(object)?.release === fence.release ? targetNoteOn(object) : null;
}

export function imageOf({ artifact, version }: TargetWrite): string {
  return artifact ?? version;
}

export function imageIn(view: DeploymentView, container: string): string | null {
  return view.containers.find((one) => one.name === container)?.image ?? null;
}

/** What a Deployment has in place of what the release gave it; null where nobody has changed that. */
export function editOfPods(view: DeploymentView, { container, image, asked, template }: GivenPods): PodsEdit | null {
  const found = imageIn(view, container);
  if (found !== image) return { found: `the image ${found ?? 'of none'}`, given: asked };
  const places = template === null ? [] : otherPlaces(template, view.template);
  return places.length === 0 ? null : { found: `another pod template${describePlaces(places)}`, given: 'its own' };
}

/** The given template, for a Deployment that has another one now: pods that somebody has restarted are not made anew for it. */
export function givenAgain(template: PodTemplate, live: PodTemplate): PodTemplate {
  return withRestartsOf(template, live);
}

/** The template to be given again to a Deployment that is there; null for none, and where no note says it. */
export function toBeGivenAgain({ template }: GivenPods, live: DeploymentView | null): PodTemplate | null {
  return live === null || template === null ? null : givenAgain(template, live.template);
}

/** What a note goes on saying with a template that is given again: what admission controllers make of the image. */
export function admittedAgain(
  object: KubernetesObject | null,
  write: TargetWrite,
  given: PodTemplate | null,
): Pick<TargetNote, 'admitted'> {
  const admitted = given === null ? undefined : ownNote(object, write)?.admitted;
  return admitted === undefined ? {} : { admitted };
}

/**
 * A Deployment with the note that goes with it. A template that the release has given it before is given again, and noted;
 * what the server makes of a new one is known, and noted, only when it has answered.
 */
export function noting(object: KubernetesObject, note: TargetNote, given: PodTemplate | null): KubernetesObject {
  if (given === null) return withTargetNote(object, note);
  return withTemplateNote({ ...object, spec: { ...(object['spec'] as object), template: given } }, note, given);
}

/**
 * A Deployment that rolls out, where that is meant. Of a paused one that has another template that is said by the write that gives it its own:
 * resumed before, it would roll out the other one.
 */
export function rollingOut(object: KubernetesObject, resumes: boolean): KubernetesObject {
  if (!resumes) return object;
  return { ...object, spec: { ...(object['spec'] as object), paused: false } };
}

/**
 * A Deployment that is written for another reason, with its own template in a note that lacks it: one of a worker of
 * before, or of one that ended between its write and the server's answer.
 */
export function notingOwn(object: KubernetesObject, container: string, write: TargetWrite): KubernetesObject {
  const note = ownNote(object, write);
  const view = readDeployment(object);
  if (note === null || note.template !== undefined) return object;
  if (imageIn(view, container) !== givenPods(object, container, write).image) return object;
  return withTemplateNote(object, note, view.template);
}

/**
 * All of a template but that container's image, in few characters: by this it is known, long after, that somebody has
 * changed it, and not what. Restarts are none of it.
 */
export function settingsDigest(template: PodTemplate, container: string): string {
  const settings = spoken(withoutRestarts(withImage(template, { container, image: '' })));
  return createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, DIGEST_LENGTH);
}

/** Where two templates differ, as paths without their first slash; restarts aside, and what says nothing. */
export function otherPlaces(one: PodTemplate, other: PodTemplate): string[] {
  return diff(spoken(withoutRestarts(one)), spoken(withoutRestarts(other))).map(({ path }) => path.slice(1));
}

/** ` at spec/containers/0/env, … and 2 more places` */
export function describePlaces(places: readonly string[]): string {
  const more = places.length > PLACES_TOLD ? ` and ${places.length - PLACES_TOLD} more places` : '';
  return ` at ${places.slice(0, PLACES_TOLD).join(', ')}${more}`;
}

/** API servers of before answer `creationTimestamp: null`, and who writes that back writes nothing. */
function spoken(template: PodTemplate): unknown {
  return JSON.parse(JSON.stringify(template, (_, value: unknown) => (value === null ? undefined : value)));
}
