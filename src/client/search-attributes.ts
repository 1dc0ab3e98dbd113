import type { Connection } from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import { SEARCH_ATTRIBUTES } from '../workflows/api';
import { messageOf, ReleaseError } from '../errors';
import { isRefusedByTemporal } from './client-error';

const TYPES = {
  KEYWORD: temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
  INT: temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_INT,
} as const;

/** The `temporal` command that does by hand what `ensureSearchAttributes` does. */
export function searchAttributesCommand(namespace: string, names: readonly string[]): string {
  const flags = names.map((name) => {
    const type = SEARCH_ATTRIBUTES[name] === 'INT' ? 'Int' : 'Keyword';
    return `--name ${name} --type ${type}`;
  });
  return `temporal operator search-attribute create --namespace ${namespace} ${flags.join(' ')}`;
}

/** Names of Sluice's search attributes that the namespace does not know. */
export async function missingSearchAttributes(connection: Connection, namespace: string): Promise<string[]> {
  const known = await connection.operatorService.listSearchAttributes({ namespace });
  return Object.keys(SEARCH_ATTRIBUTES).filter((name) => known.customAttributes?.[name] === undefined);
}

/**
 * Registers what is missing, and answers its names. Where the caller may not even look, it is left to the start of a release to find out.
 *
 * @throws ReleaseError `forbidden`, with the command for an administrator, where something is missing and the caller may
 * not add it; other failures of Temporal as they are.
 */
export async function ensureSearchAttributes(connection: Connection, namespace: string): Promise<readonly string[]> {
  let missing: string[];
  try {
    missing = await missingSearchAttributes(connection, namespace);
  } catch (error) {
    if (isRefusedByTemporal(error)) return [];
    throw error;
  }
  if (missing.length === 0) return [];
  try {
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(
        Object.entries(SEARCH_ATTRIBUTES)
          .filter(([name]) => missing.includes(name))
          .map(([name, type]) => [name, TYPES[type]]),
      ),
    });
    return missing;
  } catch (cause) {
    // Two workers that start at once both add them; the second is told that they are there.
    if (/already exist/i.test(messageOf(cause))) return [];
    if (!isRefusedByTemporal(cause)) throw cause;
    throw searchAttributesMissing(namespace, missing, cause);
  }
}

/** Without them Temporal refuses every start of a release. */
export function searchAttributesMissing(namespace: string, names: readonly string[], cause: unknown): ReleaseError {
  return new ReleaseError(
    'forbidden',
    `The search attributes ${names.join(', ')} are not registered in the namespace ${namespace}, and cannot be registered from here.`,
    { hint: `Ask an administrator of Temporal to run: ${searchAttributesCommand(namespace, names)}`, cause },
  );
}
