import { z } from 'zod';
import { annotate, parseJson } from '../../../traffic/fence';
import type { KubernetesObject } from '../objects';
import { COLOURS } from './colours';

/**
 * On the active Service while a release holds it: which colour is the old one and which the new one, and how the Service
 * finds either. The selector alone would not tell once it was switched.
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
});
export type Roles = Readonly<z.infer<typeof Roles>>;

/** Null for a Service that no release holds. */
export function rolesOn(service: KubernetesObject): Roles | null {
  return parseJson(Roles, service.metadata.annotations?.[ROLES_ANNOTATION]);
}

export function withRoles(service: KubernetesObject, roles: Roles): KubernetesObject {
  return annotate(service, { [ROLES_ANNOTATION]: JSON.stringify(roles) });
}

export function withoutRoles(service: KubernetesObject): KubernetesObject {
  return annotate(service, { [ROLES_ANNOTATION]: null });
}
