import { MIN_POINTS } from '../analysis/kayenta-judge';
import type { KayentaPolicy } from '../analysis/kayenta-policy';
import type { Finding, Soak } from './analysis-plan';
import { found } from './fields';
import { checkKayentaConfig } from './kayenta-config';
import { nearest } from './nearest';
import { DEFAULT_METRICS } from './presets';
import type { AnalysisSpec } from './schema';
import { formatDuration } from './units';

const AT = ['spec', 'analysis'] as const;

/** Kayenta's judge as a release can ask it; null where a spec has none of it, or with problems. */
export function resolveKayenta(
  analysis: AnalysisSpec,
  soaks: readonly Soak[],
  {
    intervalMs,
    initialDelayMs,
    lagMs = 0,
  }: { readonly intervalMs: number; readonly initialDelayMs: number; readonly lagMs?: number },
  problems: Finding[],
): KayentaPolicy | null {
  if (analysis.kayenta === undefined) return null;
  const problem = (path: readonly PropertyKey[], message: string, on: Finding['on'] = 'value'): void => {
    problems.push({ path: [...AT, ...path.map((key) => (typeof key === 'number' ? key : String(key)))], on, message });
  };
  const before = problems.length;
  const checked = checkKayentaConfig(analysis.kayenta);
  if (checked.ok) matchMetrics(checked.value, analysis, problem);
  else for (const { path, message } of checked.problems) problem(['kayenta', ...path], message);

  const { window: windowMs, until } = analysis;
  if (windowMs !== intervalMs) {
    const [window, interval] = [formatDuration(windowMs), formatDuration(intervalMs)];
    problem(
      ['window'],
      `the window is ${window} and the interval ${interval}, and Kayenta's judge compares values of windows that neither overlap nor leave anything out. Allowed: both alike, such as interval: 60s with window: 60s.`,
    );
  }
  if (until === 'evidence') {
    problem(['until'], "Kayenta's judge is asked at the end of a soak. Allowed: until: soak beside kayenta.");
  }
  const compared = soaks.filter(({ weight }) => weight < 100);
  if (soaks.length > 0 && compared.length === 0) {
    const message =
      'no step has a weight below 100, and at 100 % nothing is left to compare with. Allowed: kayenta with a weight below 100.';
    problem(['kayenta'], message, 'key');
  }
  const shortest = Math.min(...compared.map(({ ms }) => ms));
  const room = Math.floor((shortest - initialDelayMs - lagMs) / intervalMs);
  if (room < MIN_POINTS) {
    const message = `${formatDuration(shortest)}, the shortest soak below 100 %, has room for ${Math.max(0, room)} measurements, and Kayenta's judge needs ${MIN_POINTS} values of each track. Allowed: a longer soak, or a shorter interval.`;
    problem(['kayenta'], message, 'key');
  }
  return checked.ok && problems.length === before ? checked.value : null;
}

/** Each metric of the config is one of the spec's, by its name. */
function matchMetrics(
  { metrics }: KayentaPolicy,
  analysis: AnalysisSpec,
  problem: (path: readonly PropertyKey[], message: string, on?: Finding['on']) => void,
): void {
  const dry = (analysis.metrics ?? []).flatMap(({ name, dryRun }) => (dryRun ? [name] : []));
  const known: readonly string[] = analysis.metrics?.map(({ name }) => name) ?? DEFAULT_METRICS;
  for (const [index, { name, muted }] of metrics.entries()) {
    const path = ['kayenta', 'metrics', index, 'name'];
    if (dry.includes(name) && !muted) {
      const allowed = 'Allowed: muted: true here, or the metric without dryRun.';
      problem(path, `${found(name)} has dryRun: true, and would be acted on by Kayenta's judge. ${allowed}`);
    }
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    const hint = near === null ? '.' : `; did you mean "${near}"?`;
    problem(path, `${found(name)} is no metric of this analysis${hint} Allowed: ${known.join(', ')}.`);
  }
  if (metrics.every(({ muted }) => muted)) {
    problem(['kayenta', 'metrics'], 'all metrics are muted, so that none could pass. Allowed: one that is not.');
  }
}
