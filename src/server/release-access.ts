import { may, mayRelease } from '../flags/access';
import type { Principal, ReleaseRole } from '../flags/access';
import { FlagProblem } from '../flags/problem';
import type { Plan } from '../spec/plan-types';
import type { Actor } from '../workflows/api';

/** Refuses what a principal may not do with the releases of a namespace. */
export function requireReleaseRole(principal: Principal, role: ReleaseRole, namespace: string): void {
  if (mayRelease(principal, role, namespace)) return;
  throw new FlagProblem('forbidden', `${principal.id} may not ${role} releases in ${namespace}.`);
}

/**
 * A release of a flag turns it on for more users: that needs the right to change the flag itself, else the releases of
 * a namespace would be a way around the flag's environments.
 */
export function requireTargetRole(principal: Principal, target: Plan['target']): void {
  if (target.kind !== 'flag' || may(principal, 'write', target.environment)) return;
  throw new FlagProblem(
    'forbidden',
    `${principal.id} may not write flags in ${target.environment}, which this release raises there.`,
  );
}

/** The namespaces whose releases a principal may look at; null: all of them. */
export function readableNamespaces({ releases }: Principal): readonly string[] | null {
  const namespaces = new Set(releases.map(({ namespace }) => namespace));
  return namespaces.has('*') ? null : [...namespaces];
}

/** Whom the release's story names. */
export function actorOf({ id, groups }: Principal): Actor {
  return { name: id, via: 'server', ...(groups.length === 0 ? {} : { groups }) };
}
