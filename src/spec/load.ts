import { readFile, stat } from 'node:fs/promises';
import { ReleaseError } from '../errors';
import { checkDocument } from './checks';
import { BOUNDS } from './defaults';
import { describeFinding, describeIssues, formatPath, formatProblem } from './problems';
import type { SpecProblem } from './problems';
import { releaseSchema } from './schema';
import type { ReleaseSpec } from './schema';
import { readYaml } from './yaml-document';

export type { ReleaseSpec } from './schema';
export { formatProblem } from './problems';
export type { SpecProblem } from './problems';

export type SpecResult =
  | { readonly ok: true; readonly spec: ReleaseSpec; readonly warnings: readonly SpecProblem[] }
  /** In file order. */
  | { readonly ok: false; readonly problems: readonly SpecProblem[] };

/** Nobody mends more at once; a file of another kind would otherwise be answered with thousands of lines. */
const MAX_PROBLEMS = 100;

/** Validates the text of a release.yaml. Never throws: whatever is wrong is a problem with its place. */
export function parseSpec(text: string, file: string): SpecResult {
  const yaml = readYaml(text);
  const placed = (offset: number, path: string, message: string): SpecProblem => ({
    file,
    ...yaml.place(offset),
    path,
    message,
  });
  const locate = ({ path, on, message }: ReturnType<typeof describeFinding>): SpecProblem =>
    placed(yaml.offsetOf(path, on), formatPath(path), message);

  const faults = yaml.faults.map(({ offset, message }) => placed(offset, '', message));
  if (yaml.data === null) return { ok: false, problems: inOrder(faults) };
  const result = releaseSchema.safeParse(yaml.data);
  const issues = result.success ? [] : describeIssues(result.error.issues, yaml.data);
  const checked = checkDocument(yaml.data);
  const problems = [...faults, ...[...issues, ...checked.problems.map(describeFinding)].map(locate)];
  if (problems.length > 0 || !result.success) return { ok: false, problems: inOrder(problems) };
  return { ok: true, spec: result.data, warnings: inOrder(checked.warnings.map(describeFinding).map(locate)) };
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

/** Which service a file is about, also where the rest of it is wrong; null where it does not say so. */
export async function loadName(path: string): Promise<ReleaseSpec['metadata'] | null> {
  const { data } = readYaml(await readSpecFile(path));
  const metadata = releaseSchema.shape.metadata.safeParse((data as { metadata?: unknown } | null)?.metadata);
  return metadata.success ? metadata.data : null;
}

/** All problems as one error, a line each. */
export function invalidSpec(problems: readonly SpecProblem[]): ReleaseError {
  return new ReleaseError('invalid-spec', problems.map(formatProblem).join('\n'));
}

function inOrder(problems: readonly SpecProblem[]): readonly SpecProblem[] {
  const sorted = [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
  const next = sorted[MAX_PROBLEMS];
  if (next === undefined) return sorted;
  const message = `${sorted.length - MAX_PROBLEMS} more problems from here on are not shown.`;
  return [...sorted.slice(0, MAX_PROBLEMS), { ...next, path: '', message }];
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
  // A pipe has no size beforehand.
  if (bytes.length > BOUNDS.fileBytes) throw new ReleaseError('usage', `${path} is larger than 1 MiB.`, { hint });
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new ReleaseError('usage', `${path} is not UTF-8 text.`, { hint, cause: error });
  }
}

function whyUnreadable(error: unknown): string {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
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
