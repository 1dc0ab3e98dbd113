/**
 * One sentence for all that `checkPermissions` has found missing in a namespace: `get, patch deployments.apps shop,
 * shop-canary; list pods`. By kind, because somebody without any rights lacks some thirty.
 */
export function missingPermissions(missing: readonly string[], namespace: string): string {
  const [only, second] = missing;
  if (only !== undefined && second === undefined) return `${only} is missing.`;
  const verbs = new Map<string, string[]>();
  for (const permission of missing) {
    const [verb = '', ...object] = permission.replace(` in namespace ${namespace}`, '').split(' ');
    collect(verbs, object.join(' '), verb);
  }
  const names = new Map<string, string[]>();
  for (const [object, those] of verbs) {
    const [kind = '', name] = object.split(' ');
    collect(names, `${those.join(', ')} ${kind}`, name);
  }
  const each = [...names].map(([what, those]) => [what, those.join(', ')].join(' ').trimEnd());
  return `${missing.length} are missing in namespace ${namespace}: ${each.join('; ')}.`;
}

function collect(into: Map<string, string[]>, key: string, value: string | undefined): void {
  const values = into.get(key) ?? [];
  into.set(key, value === undefined ? values : [...values, value]);
}
