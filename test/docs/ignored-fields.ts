import type { KubernetesObject } from '../../src/targets/kubernetes/objects';

type Json = Readonly<Record<string, unknown>> | readonly unknown[];

/** The object with the field at a JSON pointer (RFC 6901) as the live one has it; without it where that has none. */
export function copyField(live: KubernetesObject, object: KubernetesObject, pointer: string): KubernetesObject {
  const path = pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  return copyAt(live, object, path) as KubernetesObject;
}

/** The object with every field that a manager owns in the live one as it is there. */
export function copyFieldsOf(manager: string, live: KubernetesObject, object: KubernetesObject): KubernetesObject {
  const entries = (live.metadata['managedFields'] ?? []) as readonly { manager: string; fieldsV1?: object }[];
  return entries
    .filter((entry) => entry.manager === manager)
    .flatMap((entry) => pathsOf(entry.fieldsV1 ?? {}, live))
    .reduce((copied, path) => copyAt(live, copied, path) as KubernetesObject, object);
}

/** The leaves of a set of fields in Kubernetes' notation: `f:` before a field, `k:` before a list item's keys. */
function pathsOf(fields: object, live: unknown): string[][] {
  const inner = Object.entries(fields).filter(([key]) => key !== '.');
  if (inner.length === 0) return [[]];
  return inner.flatMap(([key, below]) => {
    const part = key.startsWith('k:') ? indexOf(JSON.parse(key.slice(2)) as object, live) : key.slice(2);
    if (part === null) return [];
    const next = (live as Record<string, unknown> | undefined)?.[part];
    return pathsOf(below as object, next).map((rest) => [part, ...rest]);
  });
}

function indexOf(keys: object, list: unknown): string | null {
  const index = (list as readonly Record<string, unknown>[]).findIndex((item) =>
    Object.entries(keys).every(([name, value]) => item[name] === value),
  );
  return index < 0 ? null : String(index);
}

function copyAt(from: unknown, to: unknown, [part, ...rest]: readonly string[]): unknown {
  if (part === undefined) return from;
  const source = (from as Record<string, unknown> | undefined)?.[part];
  const target = (to ?? {}) as Json;
  const below = (target as Record<string, unknown>)[part];
  const value = rest.length === 0 ? source : copyAt(source, below, rest);
  if (Array.isArray(target)) return target.map((item, index) => (String(index) === part ? value : (item as unknown)));
  const { [part]: _, ...others } = target as Record<string, unknown>;
  return value === undefined ? others : { ...others, [part]: value };
}
