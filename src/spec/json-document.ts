import { z } from 'zod';
import { found } from './fields';
import { nearest } from './nearest';
import { formatPath } from './problems';

// Documents that other programs write: JSON, with one sentence for each thing that is wrong, after the place of it.

export type JsonResult<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problems: readonly string[] };

/** The same with each problem's place apart, for whoever tells it in another way. */
export type PlacedResult<T> =
  | { readonly ok: true; readonly value: T }
  | {
      readonly ok: false;
      readonly problems: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[];
    };

/** Nobody mends more at once. */
const MAX_PROBLEMS = 20;

/**
 * Reads JSON in which NaN and Infinity may stand, as Python and Java write them; they become the texts "NaN",
 * "Infinity" and "-Infinity", for whoever checks the values.
 *
 * @throws SyntaxError when it is none.
 */
export function readJson(text: string): unknown {
  const quoted = text.replace(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/gu, (token) =>
    token.startsWith('"') ? token : `"${token}"`,
  );
  return JSON.parse(quoted);
}

/** Checks a document; every problem is a sentence that begins with its place, such as `metrics[0].name`. */
export function checkJson<T>(schema: z.ZodType<T>, document: unknown): JsonResult<T> {
  const checked = checkPlaced(schema, document);
  if (checked.ok) return checked;
  return { ok: false, problems: firstOf(checked.problems.map(({ path, message }) => at(path, message))) };
}

export function checkPlaced<T>(schema: z.ZodType<T>, document: unknown): PlacedResult<T> {
  const parsed = schema.safeParse(document);
  if (parsed.success) return { ok: true, value: parsed.data };
  return { ok: false, problems: parsed.error.issues.map(({ path, message }) => ({ path, message })) };
}

/** A sentence with its place before it. */
export function at(path: readonly PropertyKey[], message: string): string {
  return path.length === 0 ? message : `${formatPath(path)}: ${message}`;
}

/** So many of them as are of use. */
export function firstOf(problems: readonly string[]): readonly string[] {
  if (problems.length <= MAX_PROBLEMS) return problems;
  return [...problems.slice(0, MAX_PROBLEMS), `and ${problems.length - MAX_PROBLEMS} more problems.`];
}

/** A mapping with exactly these keys. */
export function strictly<T extends z.core.$ZodLooseShape>(title: string, shape: T): z.ZodObject<T, z.core.$strict> {
  const allowed = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(key, title, allowed)).join(' ');
      return `${found(issue.input)} is no ${title}. Allowed: a mapping of ${allowed.join(', ')}.`;
    },
  });
}

/** A mapping of which these keys are read; others are somebody else's. */
export function loosely<T extends z.core.$ZodLooseShape>(title: string, shape: T): z.ZodObject<T, z.core.$strip> {
  const allowed = Object.keys(shape).join(', ');
  return z.object(shape, {
    error: (issue) => `${found(issue.input)} is no ${title}. Allowed: a mapping of ${allowed}, among others.`,
  });
}

/** A list; `of` names its entries. */
export function listOf<T extends z.ZodType>(entry: T, of: string): z.ZodArray<T> {
  return z.array(entry, { error: (issue) => `${found(issue.input)} is no list. Allowed: a list of ${of}.` });
}

/** A text of at least one character. */
export function name(what: string): z.ZodString {
  const error = (issue: { input?: unknown }): string =>
    `${found(issue.input)} is no name. Allowed: the name of ${what}, as text.`;
  return z.string({ error }).min(1, { error });
}

function unknownKey(key: string, title: string, allowed: readonly string[]): string {
  const near = nearest(key, allowed);
  const hint = near === null ? '.' : `; did you mean "${near}"?`;
  return `unknown key ${found(key)} in the ${title}${hint} Allowed: ${allowed.join(', ')}.`;
}
