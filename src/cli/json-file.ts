import { readFile, stat } from 'node:fs/promises';
import { messageOf, ReleaseError } from '../errors';
import { readJson } from '../spec/json-document';
import type { JsonResult } from '../spec/json-document';
import type { Cli } from './cli';
import { safeText } from './display-width';

/** Read whole into memory. */
const MAX_BYTES = 64 * 1024 * 1024;

export interface JsonFile<T> {
  /** A path, or `-` for the standard input. */
  readonly path: string;
  /** What the file holds, for the hint: `counts to be judged`. */
  readonly holds: string;
  readonly check: (document: unknown) => JsonResult<T>;
}

/** Reads and checks a JSON file; whatever is wrong is a `usage` error that says where and what is allowed. */
export async function readJsonFile<T>(cli: Pick<Cli, 'stdin'>, { path, holds, check }: JsonFile<T>): Promise<T> {
  const shown = path === '-' ? 'standard input' : safeText(path);
  const hint = `Give the path of a JSON file with ${holds}, or - for the standard input.`;
  const text = path === '-' ? await readStream(cli.stdin, hint) : await readPath(path, shown, hint);
  let document: unknown;
  try {
    document = readJson(text);
  } catch (error) {
    throw new ReleaseError('usage', `${shown} is not JSON: ${safeText(messageOf(error))}.`, { hint, cause: error });
  }
  const checked = check(document);
  if (checked.ok) return checked.value;
  throw new ReleaseError('usage', checked.problems.map((problem) => `${shown}: ${safeText(problem)}`).join('\n'));
}

async function readPath(path: string, shown: string, hint: string): Promise<string> {
  try {
    const info = await stat(path);
    if (info.isDirectory()) throw new ReleaseError('usage', `${shown} is a directory, not a file.`, { hint });
    if (info.size > MAX_BYTES) throw tooLarge(shown, hint);
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof ReleaseError) throw error;
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const why = missing ? 'does not exist' : `cannot be read (${messageOf(error)})`;
    throw new ReleaseError('usage', `${shown} ${why}.`, { hint, cause: error });
  }
}

async function readStream(stream: NodeJS.ReadableStream, hint: string): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > MAX_BYTES) throw tooLarge('standard input', hint);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function tooLarge(shown: string, hint: string): ReleaseError {
  return new ReleaseError('usage', `${shown} is larger than 64 MiB.`, { hint });
}
