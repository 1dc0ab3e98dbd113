import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Environment } from './cache-directory';

/** Whether there is a file that may be executed. */
export async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    // Every way of not being there (ENOENT, ENOTDIR, EACCES…) has the same meaning for the caller: not usable.
    return false;
  }
}

/** All executables of a name on the PATH, in its order, then those in `alsoIn` (folders installers do not always add to it). */
export async function findExecutables(
  name: string,
  env: Environment,
  alsoIn: readonly string[] = [],
): Promise<readonly string[]> {
  const folders = [...(env['PATH'] ?? '').split(path.delimiter), ...alsoIn].filter((folder) => folder !== '');
  const found: string[] = [];
  for (const folder of new Set(folders)) {
    const file = path.resolve(folder, name);
    if (await isExecutable(file)) found.push(file);
  }
  return found;
}
