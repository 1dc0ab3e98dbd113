import type { Connection } from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import { SEARCH_ATTRIBUTES } from '../workflows/api';
import { messageOf, ReleaseError } from '../errors';

const TYPES = {
  KEYWORD: temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
  INT: temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_INT,
} as const;

/** The `temporal` command that does by hand what `ensureSearchAttributes` does. */
export function searchAttributesCommand(namespace: string, names: readonly string[]): string {
  const flags = names.map((name) => {
    const type = SEARCH_ATTRIBUTES[name as keyof typeof SEARCH_ATTRIBUTES] === 'INT' ? 'Int' : 'Keyword';
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
 * Registers what is missing. Throws `forbidden` with the command for an administrator where the caller may not:
 * without them Temporal refuses every start of a release.
 */
export async function ensureSearchAttributes(connection: Connection, namespace: string): Promise<void> {
  let missing: string[] = Object.keys(SEARCH_ATTRIBUTES);
  try {
    missing = await missingSearchAttributes(connection, namespace);
    if (missing.length === 0) return;
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(
        missing.map((name) => [name, TYPES[SEARCH_ATTRIBUTES[name as keyof typeof SEARCH_ATTRIBUTES]]]),
      ),
    });
  } catch (cause) {
    // Two workers that start at once both add them; the second is told that they are there.
    if (/already exist/i.test(messageOf(cause))) return;
    throw new ReleaseError(
      'forbidden',
      `The search attributes ${missing.join(', ')} are not registered in the namespace ${namespace}, and cannot be registered from here: ${messageOf(cause)}`,
      { hint: `Ask an administrator of Temporal to run: ${searchAttributesCommand(namespace, missing)}`, cause },
    );
  }
}
