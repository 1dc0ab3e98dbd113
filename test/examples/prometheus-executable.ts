import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { cacheDirectory } from '../../src/devserver/cache-directory';

/**
 * A Prometheus server: `SLUICE_PROMETHEUS` (which `scripts/test` sets), the PATH or the cache; null when there is none,
 * which is then printed as the reason why tests are skipped.
 */
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
    try {
      execFileSync(place, ['--version'], { stdio: 'ignore' });
      return place;
    } catch {
      // Missing or not runnable is the same here: the next place is looked at.
    }
  }
  process.stderr.write(
    'Skipped: tests against a real Prometheus, since there is none (SLUICE_PROMETHEUS, the PATH or the cache; ./scripts/test fetches it).\n',
  );
  return null;
}
