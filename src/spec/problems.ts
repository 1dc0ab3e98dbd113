import type { z } from 'zod';
import { found } from './fields';
import { mappingSchemaAt } from './json-schema';
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
export function describeFinding(finding: {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}): UnplacedProblem {
  return { path: finding.path, on: 'value', message: withName(finding.path, finding.message) };
}

interface Described extends UnplacedProblem {
  /** The key that a typo stands for, or that is missing. */
  readonly misses?: string;
  readonly suggests?: string;
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
  return [{ path, on: 'value', message: withName(path, issue.message) }];
}

function unknownKey(path: readonly PropertyKey[]): Described {
  const parent = path.slice(0, -1);
  const key = String(path.at(-1));
  const mapping = mappingSchemaAt(parent);
  const allowed = Object.keys(mapping?.properties ?? {});
  const near = nearest(key, allowed);
  const hint = near === null ? '.' : `; did you mean "${near}"?`;
  const keys = allowed.length === 0 ? 'no keys' : allowed.join(', ');
  return {
    path,
    on: 'key',
    message: `unknown key ${found(key)} in ${mapping?.title ?? formatPath(parent)}${hint} Allowed: ${keys}.`,
    ...(near === null ? {} : { suggests: near }),
  };
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

/** A missing key is not reported beside the typo that was meant to be it. */
function dropExplained(problems: readonly Described[]): UnplacedProblem[] {
  const typos = new Set(
    problems
      .filter((problem) => problem.suggests !== undefined)
      .map((problem) => keyOf(problem.path.slice(0, -1), problem.suggests)),
  );
  return problems.filter((problem) => problem.misses === undefined || !typos.has(keyOf(problem.path, problem.misses)));
}

function keyOf(path: readonly PropertyKey[], key: string | undefined): string {
  return JSON.stringify([...path.map(String), key]);
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
