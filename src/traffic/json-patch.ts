import type { PatchOperation } from './cluster-access';

/**
 * What makes `from` into `to`, as small as it gets: a changed weight is one operation, so that in `managedFields` and in
 * the audit log only what we changed is ours. Lists of equal length are compared place by place, others are replaced.
 */
export function diff(from: unknown, to: unknown, path = ''): PatchOperation[] {
  if (Object.is(from, to)) return [];
  if (Array.isArray(from) && Array.isArray(to) && from.length === to.length) {
    return from.flatMap((each: unknown, index) => diff(each, to[index] as unknown, `${path}/${index}`));
  }
  if (isRecord(from) && isRecord(to)) return diffRecords(from, to, path);
  return [{ op: 'replace', path, value: to }];
}

function diffRecords(
  from: Readonly<Record<string, unknown>>,
  to: Readonly<Record<string, unknown>>,
  path: string,
): PatchOperation[] {
  const operations: PatchOperation[] = [];
  for (const key of new Set([...Object.keys(from), ...Object.keys(to)])) {
    const at = `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    // JSON knows no undefined: a field that has it is not there.
    if (to[key] === undefined) {
      if (from[key] !== undefined) operations.push({ op: 'remove', path: at });
    } else if (from[key] === undefined) operations.push({ op: 'add', path: at, value: to[key] });
    else operations.push(...diff(from[key], to[key], at));
  }
  return operations;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
