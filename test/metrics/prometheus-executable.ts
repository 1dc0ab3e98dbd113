import path from 'node:path';
import { findPrometheusExecutable, runs } from './find-prometheus';

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
