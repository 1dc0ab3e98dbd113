import { readFile, stat } from 'node:fs/promises';
import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument, visit } from 'yaml';
import type { Document, Node, YAMLError } from 'yaml';
import { ReleaseError } from '../errors';
import { checkDocument } from './checks';
import { BOUNDS } from './defaults';
import { describeFinding, describeIssues, formatPath, formatProblem } from './problems';
import type { SpecProblem, UnplacedProblem } from './problems';
import { releaseSchema } from './schema';
import type { ReleaseSpec } from './schema';

export type { ReleaseSpec } from './schema';
export { formatProblem } from './problems';
export type { SpecProblem } from './problems';

export type SpecResult =
  | { readonly ok: true; readonly spec: ReleaseSpec; readonly warnings: readonly SpecProblem[] }
  /** In file order. */
  | { readonly ok: false; readonly problems: readonly SpecProblem[] };

/** How many aliases (`*name`) a document may come to once all are resolved; against documents that explode. */
const MAX_ALIASES = 100;

/** Validates the text of a release.yaml. Never throws: whatever is wrong is a problem with its place. */
export function parseSpec(text: string, file: string): SpecResult {
  const lines = new LineCounter();
  const place = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const problem = (offset: number, message: string, path = ''): SpecProblem => ({
    file,
    ...place(offset),
    path,
    message,
  });
  if (text.replace(/^\uFEFF/, '').trim() === '') {
    return {
      ok: false,
      problems: [problem(0, 'the file is empty. Allowed: a document with apiVersion, kind, metadata and spec.')],
    };
  }

  const parsed = readYaml(text, lines);
  if (!parsed.ok)
    return { ok: false, problems: parsed.faults.map((fault) => problem(fault.offset, fault.message)).sort(byPlace) };
  const { document, raw, faults } = parsed;

  const locate = (unplaced: UnplacedProblem): SpecProblem =>
    problem(offsetOf(document, unplaced), unplaced.message, formatPath(unplaced.path));
  const result = releaseSchema.safeParse(raw);
  const checked = checkDocument(raw);
  const problems = [
    ...faults.map((fault) => problem(fault.offset, fault.message)),
    ...(result.success ? [] : describeIssues(result.error.issues, raw)).map(locate),
    ...checked.problems.map(describeFinding).map(locate),
  ].sort(byPlace);
  if (problems.length > 0 || !result.success) return { ok: false, problems };
  return { ok: true, spec: result.data, warnings: checked.warnings.map(describeFinding).map(locate).sort(byPlace) };
}

/** Reads and validates a file. Throws a `ReleaseError` (`usage`) when it cannot be read. */
export async function loadSpecFile(path: string): Promise<SpecResult> {
  return parseSpec(await readSpecFile(path), path);
}

/** The validated spec of a file. Throws a `ReleaseError`: `usage` when it cannot be read, `invalid-spec` with all problems. */
export async function loadSpec(path: string): Promise<ReleaseSpec> {
  const result = await loadSpecFile(path);
  if (result.ok) return result.spec;
  throw invalidSpec(result.problems);
}

/** All problems as one error, a line each. */
export function invalidSpec(problems: readonly SpecProblem[]): ReleaseError {
  return new ReleaseError('invalid-spec', problems.map(formatProblem).join('\n'));
}

async function readSpecFile(path: string): Promise<string> {
  const hint = 'Name the release.yaml of the service, or make one after examples/specs.';
  let bytes: Buffer;
  try {
    const info = await stat(path);
    if (info.isDirectory()) throw new ReleaseError('usage', `${path} is a directory, not a file.`, { hint });
    if (info.size > BOUNDS.fileBytes) throw new ReleaseError('usage', `${path} is larger than 1 MiB.`, { hint });
    bytes = await readFile(path);
  } catch (error) {
    if (error instanceof ReleaseError) throw error;
    throw new ReleaseError('usage', `${path} ${whyUnreadable(error)}.`, { hint, cause: error });
  }
  if (bytes.length > BOUNDS.fileBytes) throw new ReleaseError('usage', `${path} is larger than 1 MiB.`, { hint });
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new ReleaseError('usage', `${path} is not UTF-8 text.`, { hint, cause: error });
  }
}

function whyUnreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'does not exist';
    case 'EACCES':
    case 'EPERM':
      return 'may not be read';
    default:
      return `cannot be read (${String(code ?? error)})`;
  }
}

interface Fault {
  readonly offset: number;
  readonly message: string;
}

type Yaml =
  | { readonly ok: true; readonly document: Document; readonly raw: unknown; readonly faults: readonly Fault[] }
  | { readonly ok: false; readonly faults: readonly Fault[] };

function readYaml(text: string, lineCounter: LineCounter): Yaml {
  let document: Document;
  try {
    document = parseDocument(text, {
      lineCounter,
      prettyErrors: false,
      schema: 'core',
      resolveKnownTags: false,
      logLevel: 'silent',
    });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { ok: false, faults: [{ offset: 0, message: 'the document is nested too deeply.' }] };
  }
  const faults = [...document.errors, ...document.warnings].map((error) => ({
    offset: error.pos[0],
    message: sentenceOf(error, text),
  }));
  // Keys given twice leave a document that can be read on; anything else would only yield errors about the error.
  if (document.errors.some((error) => error.code !== 'DUPLICATE_KEY'))
    return { ok: false, faults: faults.slice(0, 20) };
  try {
    const raw: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
    if (typeof raw === 'object' && raw !== null && !Array.isArray(raw)) return { ok: true, document, raw, faults };
    const what =
      raw === null ? 'the document is empty' : `the document is ${Array.isArray(raw) ? 'a list' : 'a single value'}`;
    return {
      ok: false,
      faults: [
        ...faults,
        {
          offset: document.contents?.range?.[0] ?? 0,
          message: `${what}. Allowed: a mapping with apiVersion, kind, metadata and spec.`,
        },
      ],
    };
  } catch (error) {
    if (error instanceof RangeError)
      return { ok: false, faults: [{ offset: 0, message: 'the document is nested too deeply.' }] };
    if (error instanceof ReferenceError || error instanceof TypeError)
      return { ok: false, faults: [...faults, aliasFault(document, error)] };
    throw error;
  }
}

function sentenceOf(error: YAMLError, text: string): string {
  switch (error.code) {
    case 'DUPLICATE_KEY': {
      const key = /^["']?([^\s:"',}\]]+)/.exec(text.slice(error.pos[0]))?.[1] ?? '';
      return `the key "${key}" is given twice in the same mapping. Allowed: each key once.`;
    }
    case 'MULTIPLE_DOCS':
      return 'a second document begins here. Allowed: one release for each file.';
    case 'TAB_AS_INDENT':
      return 'a tab is used as indentation. Allowed: spaces.';
    case 'TAG_RESOLVE_FAILED':
      return `${error.message.replace(/\.$/, '')}. Allowed: plain YAML without tags.`;
    default:
      return `not well-formed YAML: ${error.message.replace(/\.$/, '')}.`;
  }
}

function aliasFault(document: Document, error: Error): Fault {
  let first: number | undefined;
  visit(document, {
    Alias(_key, node) {
      const unresolved = node.resolve(document) === undefined;
      if (first === undefined || unresolved) first = node.range?.[0];
      return unresolved ? visit.BREAK : undefined;
    },
  });
  const message = error.message.startsWith('Excessive alias')
    ? `the aliases come to more than ${MAX_ALIASES} copies. Allowed: at most ${MAX_ALIASES}.`
    : `${error.message.replace(/\.$/, '')}. Allowed: an alias after its anchor.`;
  return { offset: first ?? 0, message };
}

/** Where in the text a path's key or value begins; the nearest thing around it when the path leads nowhere. */
function offsetOf(document: Document, { path, on }: UnplacedProblem): number {
  let node: unknown = document.contents;
  let best = startOf(node) ?? 0;
  for (const [depth, key] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    const child = childOf(node, key);
    if (child === null) break;
    const wantsKey = on === 'key' && depth === path.length - 1;
    best = (wantsKey ? startOf(child.key) : null) ?? startOf(child.value) ?? startOf(child.key) ?? best;
    node = child.value;
  }
  return best;
}

function childOf(node: unknown, key: PropertyKey): { key: unknown; value: unknown } | null {
  if (isSeq(node)) return typeof key === 'number' ? { key: null, value: node.items[key] } : null;
  if (!isMap(node)) return null;
  const pair = node.items.find((item) => String(isScalar(item.key) ? item.key.value : item.key) === String(key));
  return pair === undefined ? null : { key: pair.key, value: pair.value };
}

function startOf(node: unknown): number | null {
  return (node as Node | null | undefined)?.range?.[0] ?? null;
}

function byPlace(a: SpecProblem, b: SpecProblem): number {
  return a.line - b.line || a.column - b.column;
}
