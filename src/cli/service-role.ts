import { ReleaseError } from '../errors';
import type { KubernetesTargetPlan } from '../spec/plan-types';
import type { KubernetesObject } from '../targets/kubernetes/objects';
import { roleObjects, serviceAccount } from '../targets/kubernetes/role';
import type { AccountRef } from '../targets/kubernetes/role';
import { lazy } from './lazy';

/** The worker's account where nobody names another one. */
export const USUAL_ACCOUNT = 'sluice';

/** `name`, in the service's namespace, or `namespace/name`. */
export function parseAccount(text: string | undefined, namespace: string): AccountRef {
  const parts = (text ?? USUAL_ACCOUNT).split('/');
  const [first = '', second] = parts;
  const account = second === undefined ? { name: first, namespace } : { name: second, namespace: first };
  const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
  if (parts.length <= 2 && label.test(account.name) && label.test(account.namespace)) return account;
  throw new ReleaseError('usage', `${JSON.stringify(text)} is no ServiceAccount.`, {
    hint: 'Allowed: its name, or namespace/name where the worker runs in another namespace.',
  });
}

/** What the worker may do for one service: the account, the Role and the binding, in the order they are applied. */
export function accessObjects(
  { target, service }: { target: KubernetesTargetPlan; service: string },
  account: AccountRef,
): readonly [account: KubernetesObject, role: KubernetesObject, binding: KubernetesObject] {
  const name = `sluice-${service}`;
  const permissions = lazy.permissions().rolePermissions(target);
  const [role, binding] = roleObjects(permissions, { name, namespace: target.namespace, account });
  return [serviceAccount(account), role, binding];
}
