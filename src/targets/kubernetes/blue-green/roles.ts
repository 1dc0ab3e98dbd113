import { z } from 'zod';
import { annotate, parseJson } from '../../../traffic/fence';
import type { KubernetesObject } from '../objects';
import { targetNoteOn } from '../target-note';
import { COLOURS } from './colours';

/**
 * On the active Service while a release holds it, and in the note on the new colour's Deployment: which colour is the old
 * one and which the new one, and how the Service finds either. The selector alone would not tell once it was switched.
 */
const ROLES_ANNOTATION = 'sluice.dev/blue-green';

const Labels = z.record(z.string(), z.string());
const Roles = z.object({
  release: z.string(),
  old: z.enum(COLOURS),
  next: z.enum(COLOURS),
  selectors: z.object({ old: Labels, next: Labels }),
  /** The old one's image, by which somebody else's change of it is known. */
  image: z.string(),
  /** The rest of its pods' template, as `settingsDigest` has it. Workers of before left it out. */
  settings: z.string().optional(),
  /** How many pods the old one was to have when the release began; 0 for the first version. Workers of before left it out. */
  replicas: z.number().optional(),
});
export type Roles = Readonly<z.infer<typeof Roles>>;

/** Null for a Service that no release holds. */
export function rolesOn(service: KubernetesObject): Roles | null {
  return parseJson(Roles, service.metadata.annotations?.[ROLES_ANNOTATION]);
}

/** As a Deployment has them beside the Service, which somebody may replace by one that knows of no release. */
export function rolesIn(deployment: KubernetesObject): Roles | null {
  return Roles.safeParse(targetNoteOn(deployment)?.roles).data ?? null;
}

export function withRoles(service: KubernetesObject, roles: Roles): KubernetesObject {
  return annotate(service, { [ROLES_ANNOTATION]: JSON.stringify(roles) });
}

export function withoutRoles(service: KubernetesObject): KubernetesObject {
  return annotate(service, { [ROLES_ANNOTATION]: null });
}
