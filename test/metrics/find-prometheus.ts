import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { cacheDirectory } from '../../src/devserver/cache-directory';

/** `SLUICE_PROMETHEUS` (which `scripts/test` sets), the PATH or the cache. */
export function findPrometheusExecutable(): string | null {
  const cache = path.join(cacheDirectory(), 'prometheus');
  const places = [
    process.env['SLUICE_PROMETHEUS'],
    'prometheus',
    path.join(cache, 'bin', 'prometheus'),
    path.join(cache, 'usr', 'bin', 'prometheus'),
  ];
  for (const place of places) {
    if (place === undefined || place === '') continue;
    if (runs(place)) return place;
  }
  return null;
}

/** Whether an executable is there and runs. */
export function runs(executable: string): boolean {
  try {
    execFileSync(executable, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    // Missing or not runnable is the same here: another place is looked at, or the suite is skipped.
    return false;
  }
}
