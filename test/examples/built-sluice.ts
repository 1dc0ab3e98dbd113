import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

/** `scripts/sluice`, after it has built what is missing or out of date: that may take longer than a test should. */
export async function builtSluice(): Promise<string> {
  const script = path.join(__dirname, '..', '..', 'scripts', 'sluice');
  await promisify(execFile)(script, ['version']);
  return script;
}

/** For the `beforeAll` that builds. */
export const BUILD_WITHIN_MS = 600_000;
