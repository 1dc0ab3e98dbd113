import { mkdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { hasCode } from '../../devserver/error-code';
import { ReleaseError } from '../../errors';
import type { ServiceFiles } from './service-files';

type Files = ServiceFiles['files'];

/** @throws ReleaseError `conflict` that names every file that is there already. */
export async function refuseOverwriting(folder: string, files: Files): Promise<void> {
  const present: string[] = [];
  for (const file of files) if (await exists(path.join(folder, file.path))) present.push(path.join(folder, file.path));
  if (present.length === 0) return;
  const many = present.length > 1;
  throw new ReleaseError(
    'conflict',
    `${present.join(', ')} ${many ? 'are' : 'is'} there already; nothing was written.`,
    {
      hint: `--force overwrites ${many ? 'them' : 'it'}; another FOLDER leaves ${many ? 'them' : 'it'} alone.`,
    },
  );
}

/** Writes all and answers their paths. Without `force`, a file that appeared in the meantime is left as it is, too. */
export async function writeFiles(folder: string, files: Files, force: boolean): Promise<string[]> {
  const written: string[] = [];
  for (const file of files) {
    const target = path.join(folder, file.path);
    try {
      await mkdir(path.dirname(target), { recursive: true });
      await writeFile(target, file.text, { flag: force ? 'w' : 'wx' });
    } catch (error) {
      const before = written.length === 0 ? 'Nothing was written' : `Written until then: ${written.join(', ')}`;
      throw new ReleaseError('usage', `${target} cannot be written (${reasonOf(error)}). ${before}.`, {
        hint: 'Name a FOLDER that you may write to.',
        cause: error,
      });
    }
    written.push(target);
  }
  return written;
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    // Whatever else keeps us from looking is met, and told, when it is written.
    return !['ENOENT', 'ENOTDIR', 'EACCES'].some((code) => hasCode(error, code));
  }
}

function reasonOf(error: unknown): string {
  const known = typeof error === 'object' && error !== null && 'code' in error ? error.code : error;
  return String(known);
}
