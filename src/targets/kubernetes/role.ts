import type { Permission } from './cluster';
import type { KubernetesObject } from './objects';

const RBAC = 'rbac.authorization.k8s.io';

/** A ServiceAccount: the worker's. */
export interface AccountRef {
  readonly name: string;
  readonly namespace: string;
}

interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

/** A Role of exactly these permissions (all of one namespace), and the binding that gives it to the account. */
export function roleObjects(
  permissions: readonly Permission[],
  { name, namespace, account }: { name: string; namespace: string; account: AccountRef },
): readonly [role: KubernetesObject, binding: KubernetesObject] {
  return [
    { apiVersion: `${RBAC}/v1`, kind: 'Role', metadata: { name, namespace }, rules: rulesOf(permissions) },
    {
      apiVersion: `${RBAC}/v1`,
      kind: 'RoleBinding',
      metadata: { name, namespace },
      roleRef: { apiGroup: RBAC, kind: 'Role', name },
      subjects: [{ kind: 'ServiceAccount', ...account }],
    },
  ];
}

export function serviceAccount({ name, namespace }: AccountRef): KubernetesObject {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } };
}

/** One rule for each kind and set of verbs; objects that share both share a rule. */
function rulesOf(permissions: readonly Permission[]): PolicyRule[] {
  const objects = new Map<string, { readonly of: Permission; readonly verbs: string[] }>();
  for (const permission of permissions) {
    const { verb, group, resource, subresource = '', name = '' } = permission;
    const key = [group, resource, subresource, name].join(' ');
    const known = objects.get(key);
    if (known === undefined) objects.set(key, { of: permission, verbs: [verb] });
    else known.verbs.push(verb);
  }
  const rules = new Map<string, { rule: PolicyRule; names: string[] }>();
  for (const { of, verbs } of objects.values()) {
    const { group, resource, subresource, name } = of;
    const rule = {
      apiGroups: [group],
      resources: [subresource === undefined ? resource : `${resource}/${subresource}`],
      verbs,
    };
    const key = JSON.stringify([rule, name === undefined]);
    const known = rules.get(key);
    const names = name === undefined ? [] : [name];
    if (known === undefined) rules.set(key, { rule, names });
    else known.names.push(...names);
  }
  return [...rules.values()].map(({ rule: { apiGroups, resources, verbs }, names }) => ({
    apiGroups,
    resources,
    ...(names.length === 0 ? {} : { resourceNames: names }),
    verbs,
  }));
}
