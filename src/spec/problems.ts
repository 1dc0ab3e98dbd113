import type { z } from 'zod';
import type { Finding } from './analysis-plan';
import { found } from './fields';
import { mappingSchemaAt, placesOfKey } from './json-schema';
import { nearest } from './nearest';

/** One thing that is wrong with a spec, at its place in the file. */
export interface SpecProblem {
  /** As it was named by whoever asked. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  /** The key's path, `spec.steps[1].soak`; empty for the document as a whole. */
  readonly path: string;
  /** What was found and what is allowed, in whole sentences. */
  readonly message: string;
}

/** A problem whose place in the file is not looked up yet. */
export interface UnplacedProblem {
  readonly path: readonly PropertyKey[];
  /** Which end of `key: value` is meant. */
  readonly on: 'key' | 'value';
  readonly message: string;
}

/** `release.yaml:8:21: unknown key "soack" in a step; did you mean "soak"? Allowed: weight, soak, approve.` */
export function formatProblem(problem: SpecProblem): string {
  return `${problem.file}:${problem.line}:${problem.column}: ${problem.message}`;
}

export function formatPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const key of path) text += typeof key === 'number' ? `[${key}]` : `${text === '' ? '' : '.'}${String(key)}`;
  return text;
}

/** What zod found, in words. `raw` is the document that was validated. */
export function describeIssues(issues: readonly z.core.$ZodIssue[], raw: unknown): UnplacedProblem[] {
  return dropExplained(issues.flatMap((issue) => describeIssue(issue, raw)));
}

/** A finding about several keys, in the same form. */
export function describeFinding({ path, on, message }: Finding): UnplacedProblem {
  return { path, on: on ?? 'value', message: withName(path, message) };
}

interface Described extends UnplacedProblem {
  readonly unknown?: boolean;
  /** The key that is missing, or that a typo stands for. */
  readonly misses?: string;
  readonly suggests?: string;
  /** Something is missing from the mapping at `path`; an unknown key in it explains that well enough. */
  readonly absence?: boolean;
}

function describeIssue(issue: z.core.$ZodIssue, raw: unknown): Described[] {
  const { path } = issue;
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey([...path, key]));
  if (issue.code === 'invalid_union') {
    const branch = issue.errors.find((errors) => errors.length > 0 && errors.every((error) => !isWrongType(error)));
    if (branch !== undefined && isMapping(valueAt(raw, path))) {
      return branch.flatMap((error) => describeIssue({ ...error, path: [...path, ...error.path] }, raw));
    }
  }
  if (issue.code === 'invalid_key')
    return [{ path, on: 'key', message: withName(path, issue.issues[0]?.message ?? issue.message) }];
  const key = path.at(-1);
  if (typeof key === 'string' && valueAt(raw, path) === undefined) return [missingKey(path.slice(0, -1), key)];
  const absence = issue.code === 'custom' && issue.params?.absence === true;
  return [{ path, on: 'value', message: withName(path, issue.message), absence }];
}

function unknownKey(path: readonly PropertyKey[]): Described {
  const parent = path.slice(0, -1);
  const key = String(path.at(-1));
  const mapping = mappingSchemaAt(parent);
  const allowed = Object.keys(mapping?.properties ?? {});
  const near = nearest(key, allowed);
  const hint = near === null ? belongingTo(key) : `; did you mean "${near}"?`;
  const keys = allowed.length === 0 ? 'no keys' : allowed.join(', ');
  return {
    path,
    on: 'key',
    message: `unknown key ${found(key)} in ${mapping?.title ?? formatPath(parent)}${hint} Allowed: ${keys}.`,
    unknown: true,
    ...(near === null ? {} : { suggests: near }),
  };
}

/** A key of more mappings than this says nothing about which one was meant. */
const MOST_PLACES = 2;

/** Where a key belongs that is known, but not where it stands; ends the sentence. */
function belongingTo(key: string): string {
  const places = placesOfKey(key).filter((place) => place !== '');
  if (places.length === 0 || places.length > MOST_PLACES) return '.';
  return `; it belongs in ${places.join(' or ')}.`;
}

function missingKey(parent: readonly PropertyKey[], key: string): Described {
  const mapping = mappingSchemaAt(parent);
  const needed = mapping?.required ?? [key];
  const name = mapping?.title ?? formatPath(parent);
  const meaning = mapping?.properties?.[key]?.description;
  const why = meaning === undefined ? '' : ` (${meaning.replace(/\.$/, '')})`;
  const message = `the key "${key}" is missing in ${name}${why}. Needed: ${needed.join(', ')}.`;
  return { path: parent, on: 'key', message, misses: key };
}

/** What is missing is not reported beside the typo that was meant to be it. */
function dropExplained(problems: readonly Described[]): UnplacedProblem[] {
  const typos = new Set<string>();
  const strange = new Set<string>();
  for (const { unknown, path, suggests } of problems) {
    if (unknown !== true) continue;
    strange.add(JSON.stringify(path.slice(0, -1)));
    if (suggests !== undefined) typos.add(keyOf(path.slice(0, -1), suggests));
  }
  return problems.filter(({ misses, absence, path }) => {
    if (absence === true) return !strange.has(JSON.stringify(path));
    return misses === undefined || !typos.has(keyOf(path, misses));
  });
}

function keyOf(path: readonly PropertyKey[], key: string): string {
  return JSON.stringify([...path, key]);
}

function withName(path: readonly PropertyKey[], message: string): string {
  return path.length === 0 ? message : `${formatPath(path)}: ${message}`;
}

function isWrongType(issue: z.core.$ZodIssue): boolean {
  return issue.path.length === 0 && (issue.code === 'invalid_type' || issue.code === 'invalid_value');
}

function isMapping(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  let value = raw;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}
