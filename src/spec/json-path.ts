import { JSONPathEnvironment, JSONPathError } from 'json-p3';
import type { JSONPathQuery } from 'json-p3';

/**
 * JSONPath as RFC 9535 has it, without what can take for ever on a large document: no regular expressions (`match`,
 * `search`), one descent (`..`) at most, and no filter that looks at the whole document for each of its parts.
 */

/** A place in a document. */
export type JsonPath = JSONPathQuery;

export type JsonPathResult =
  | { readonly ok: true; readonly path: JsonPath }
  /** A clause about what is wrong with it. */
  | { readonly ok: false; readonly reason: string };

const environment = new JSONPathEnvironment();
for (const name of ['match', 'search']) environment.functionRegister.delete(name);

export function parseJsonPath(text: string): JsonPathResult {
  const outsideOfQuotes = text.replace(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/gsu, "''");
  if ((outsideOfQuotes.match(/\.\./gu)?.length ?? 0) > 1) return { ok: false, reason: 'goes down (..) more than once' };
  if ((outsideOfQuotes.match(/\$/gu)?.length ?? 0) > 1) {
    return { ok: false, reason: 'begins at the root ($) more than once' };
  }
  try {
    return { ok: true, path: environment.compile(text) };
  } catch (error) {
    if (!(error instanceof JSONPathError)) throw error;
    return { ok: false, reason: `is no JSONPath (${error.message.replace(/\s*\(.*$/su, '')})` };
  }
}

/** All values of a document at the path. */
export function valuesAt(path: JsonPath, document: unknown): readonly unknown[] {
  // What was parsed as JSON is JSON.
  return path.query(document as Parameters<JsonPath['query']>[0]).values();
}
