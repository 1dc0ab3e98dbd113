import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument, visit } from 'yaml';
import type { Document, Node, Pair, YAMLError } from 'yaml';

/** A YAML text as plain data, with the way back from a path to its place in the text. */
export interface YamlDocument {
  /** The mapping it holds; null when there is none that could be validated, and `faults` says why. */
  readonly data: object | null;
  /** What is wrong with the YAML itself. */
  readonly faults: readonly YamlFault[];
  /** Line and column (from 1) of a fault's offset. */
  place(offset: number): Place;
  /** Offset at which a path's key or value begins; of the nearest thing around it when the path leads nowhere. */
  offsetOf(path: readonly PropertyKey[], on: 'key' | 'value'): number;
}

export interface YamlFault {
  readonly offset: number;
  readonly message: string;
}

export interface Place {
  readonly line: number;
  readonly column: number;
}

/** How many copies the aliases (`*name`) of a document may come to once all are resolved; against those that explode. */
const MAX_ALIASES = 100;

/** Of a text that is not well-formed. */
const MAX_FAULTS = 5;

const NEEDED = 'Allowed: a mapping with apiVersion, kind, metadata and spec.';
const TOO_DEEP: YamlFault = { offset: 0, message: 'the document is nested too deeply.' };

/** Reads one YAML 1.2 document (core schema: no tags, no merge keys, no second document). Never throws. */
export function readYaml(text: string): YamlDocument {
  const lines = new LineCounter();
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const failed = (faults: readonly YamlFault[]): YamlDocument => ({ data: null, faults, place, offsetOf: () => 0 });
  if (text.replace(/^\uFEFF/, '').trim() === '')
    return failed([{ offset: 0, message: `the file is empty. ${NEEDED}` }]);
  try {
    const document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      schema: 'core',
      resolveKnownTags: false,
      // yaml compares every key with every other one; `duplicateKeys` does it in one pass.
      uniqueKeys: false,
      logLevel: 'error',
    });
    const broken = document.errors.map(faultOf);
    if (broken.length > 0) return failed(firstOf(broken));
    const faults = [...document.warnings.map(faultOf), ...duplicateKeys(document)];
    const { data, fault } = dataOf(document);
    if (fault !== null) return failed([...faults, fault]);
    return { data, faults, place, offsetOf: (path, on) => offsetOf(document, path, on) };
  } catch (error) {
    if (isStackOverflow(error)) return failed([TOO_DEEP]);
    throw error;
  }
}

/** What is no YAML at some place is misread from there on: the first faults are what is wrong, the rest comes of them. */
function firstOf(faults: readonly YamlFault[]): readonly YamlFault[] {
  const inOrder = [...faults].sort((a, b) => a.offset - b.offset);
  const next = inOrder[MAX_FAULTS];
  if (next === undefined) return inOrder;
  const message = `${inOrder.length - MAX_FAULTS} more from here on are not shown; they may come of those before.`;
  return [...inOrder.slice(0, MAX_FAULTS), { offset: next.offset, message }];
}

function dataOf(document: Document): { data: object | null; fault: YamlFault | null } {
  const offset = startOf(document.contents) ?? 0;
  let data: unknown;
  try {
    data = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    if (isStackOverflow(error)) throw error;
    return { data: null, fault: aliasFault(document, error) };
  }
  if (typeof data === 'object' && data !== null && !Array.isArray(data)) return { data, fault: null };
  const what = data === null ? 'empty' : Array.isArray(data) ? 'a list' : 'a single value';
  return { data: null, fault: { offset, message: `the document is ${what}. ${NEEDED}` } };
}

function faultOf(error: YAMLError): YamlFault {
  const offset = error.pos[0];
  // The parser quotes what it found, blanks and all.
  const reason = error.message.trim().replace(/\s*\.$/, '');
  switch (error.code) {
    case 'MULTIPLE_DOCS':
      return { offset, message: 'a second document begins here. Allowed: one release for each file.' };
    case 'TAB_AS_INDENT':
      return { offset, message: 'a tab is used as indentation. Allowed: spaces.' };
    case 'TAG_RESOLVE_FAILED':
      return { offset, message: `${reason}. Allowed: plain YAML without tags.` };
    default:
      return { offset, message: `not well-formed YAML: ${reason}.` };
  }
}

function duplicateKeys(document: Document): YamlFault[] {
  const faults: YamlFault[] = [];
  visit(document, {
    Map(_key, node) {
      const seen = new Set<string>();
      for (const pair of node.items) {
        const name = nameOf(pair);
        if (seen.has(name)) {
          const message = `the key ${JSON.stringify(name.slice(0, 60))} is given twice in the same mapping. Allowed: each key once.`;
          faults.push({ offset: startOf(pair.key) ?? 0, message });
        }
        seen.add(name);
      }
    },
  });
  return faults;
}

/** What `toJS` did not like about an alias, at the first one that is to blame. */
function aliasFault(document: Document, error: unknown): YamlFault {
  const reason = error instanceof Error ? error.message.replace(/\.$/, '') : String(error);
  let first: number | undefined;
  visit(document, {
    Alias(_key, node) {
      const unresolved = node.resolve(document) === undefined;
      if (first === undefined || unresolved) first = node.range?.[0];
      return unresolved ? visit.BREAK : undefined;
    },
  });
  const message = reason.startsWith('Excessive alias')
    ? `the aliases come to more than ${MAX_ALIASES} copies. Allowed: at most ${MAX_ALIASES}.`
    : `${reason}. Allowed: an alias after its anchor.`;
  return { offset: first ?? 0, message };
}

function offsetOf(document: Document, path: readonly PropertyKey[], on: 'key' | 'value'): number {
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
  const pair = node.items.find((item) => nameOf(item) === String(key));
  return pair === undefined ? null : { key: pair.key, value: pair.value };
}

function nameOf({ key }: Pair): string {
  return String(isScalar(key) ? key.value : key);
}

function startOf(node: unknown): number | null {
  return (node as Node | null | undefined)?.range?.[0] ?? null;
}

function isStackOverflow(error: unknown): boolean {
  return error instanceof Error && error.name === 'RangeError';
}
