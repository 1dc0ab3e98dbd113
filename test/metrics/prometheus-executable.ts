import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { cacheDirectory } from '../../src/devserver/cache-directory';

/** A suite against a real Prometheus server; skipped, and said so in its name and on stderr, where there is none. */
export function describeWithPrometheus(name: string, suite: (executable: string) => void): void {
  const executable = findPrometheusExecutable();
  if (executable !== null) {
    describe(name, () => suite(executable));
    return;
  }
  const reason = 'no Prometheus in SLUICE_PROMETHEUS, on the PATH or in the cache; ./scripts/test fetches it';
  process.stderr.write(`skipped "${name}": ${reason}\n`);
  describe.skip(name, () => {
    it(`needs a Prometheus server: ${reason}`, () => undefined);
  });
}

/** The same with `promtool`, which comes with every Prometheus and lies beside it. */
export function describeWithPromtool(
  name: string,
  suite: (executables: { readonly prometheus: string; readonly promtool: string }) => void,
): void {
  const prometheus = findPrometheusExecutable();
  const promtool = prometheus === null ? null : path.join(path.dirname(prometheus), 'promtool');
  if (prometheus === null || promtool === null || !runs(promtool)) {
    const reason = 'no Prometheus with its promtool in SLUICE_PROMETHEUS, on the PATH or in the cache';
    process.stderr.write(`skipped "${name}": ${reason}\n`);
    describe.skip(name, () => {
      it(`needs a promtool: ${reason}`, () => undefined);
    });
    return;
  }
  describe(name, () => suite({ prometheus, promtool }));
}

function runs(executable: string): boolean {
  try {
    execFileSync(executable, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    // Missing or not runnable is the same here: another place is looked at, or the suite is skipped.
    return false;
  }
}

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
