import { NO_SPREAD, slowerThan } from '../analysis/counts';
import type { Spread } from '../analysis/counts';
import { clustersOf } from '../analysis/gather-evidence';
import { spreadsIn } from '../analysis/recording';
import type { CountedTick } from '../analysis/recording';
import { timeBefore } from '../analysis/time-before';
import { messageOf } from '../errors';
import type { PrometheusHistory } from '../metrics/prometheus-history';
import type { MetricPlan, Plan } from '../spec/plan-types';
import { slowShare } from './detection-input';
import { lazy } from './lazy';
import type { Session } from './session';
import { askByTracks } from './track-names';
import type { TrackNames } from './track-names';
import { formatDuration } from './units';

/** For the source as a whole: a person waits. */
export const PATIENCE_MS = 10_000;

/** What became of a question that was cut off, as the end of a sentence. */
export function notInTime(): string {
  return `the metric source had not answered within ${formatDuration(PATIENCE_MS)}`;
}

/** By how many bad events of one cause a metric's evidence would be divided, if a release began now. */
export interface PresentClusters {
  readonly clusters: number;
  /** Why that is not simply what the plan says, as a sentence; null where it is. */
  readonly note: string | null;
}

interface Asked {
  readonly versions: { readonly canary: string; readonly stable: string };
  /** Both of a pair, of which either may have the users. */
  readonly tracks: readonly ('canary' | 'stable')[];
  readonly signal: AbortSignal;
}

/**
 * How bad events cluster between stable's processes now: counted and summed as a release does it, from what a
 * Prometheus has recorded. Of a histogram, at the boundary that lies nearest to the metric's quantile. A metric is
 * missing where nothing raises the plan's own divisor. Never throws.
 */
export async function presentClusters(
  session: Session,
  plan: Plan,
  metrics: readonly MetricPlan[],
  asked: Asked,
): Promise<ReadonlyMap<string, PresentClusters>> {
  const { source, evidence = null } = plan.analysis;
  const found = new Map<string, PresentClusters>();
  if (source.kind !== 'prometheus' || evidence === null) return found;
  const history = lazy.metrics().createHistory(source, session.cli.env);
  try {
    for (const metric of metrics) {
      if (metric.counters?.kind !== 'events' && metric.counters?.kind !== 'histogram') continue;
      try {
        const clusters = clustersOf(evidence, await askSpread(history, session, { plan, metric, ...asked }));
        if (clusters > evidence.clusters)
          found.set(metric.name, { clusters, note: raised(metric, clusters, evidence.clusters) });
      } catch (error) {
        // That its request was cancelled is how it ends when the time is over, and no reason.
        const why = asked.signal.aborted ? notInTime() : messageOf(error).replace(/[.\s]+$/u, '');
        found.set(metric.name, { clusters: evidence.clusters, note: unknown(metric, evidence.clusters, why) });
      }
    }
  } finally {
    history.close();
  }
  return found;
}

async function askSpread(
  history: PrometheusHistory,
  session: Session,
  { plan, metric, ...asked }: Asked & { readonly plan: Plan; readonly metric: MetricPlan },
): Promise<Spread> {
  const { analysis, service, namespace } = plan;
  const { windowMs, lagMs = 0 } = analysis;
  const { tickMs, ...range } = timeBefore(session.cli.now() - lagMs);
  const record = async (names: TrackNames | null): Promise<readonly CountedTick[]> => {
    const [recording] = await history.record({
      ...asked,
      ...(names === null ? {} : { trackNames: names }),
      ...{ service, namespace, metrics: [metric], windowMs },
      tickMs,
      ranges: [range],
      onProgress: () => undefined,
    });
    const [recorded] = recording?.metrics ?? [];
    return [...(recorded?.stable.counts ?? []), ...(recorded?.canary.counts ?? [])];
  };
  const counted = await askByTracks(plan, record, (ticks) =>
    ticks.some((tick) => tick.kind === 'error' || tick.counts !== null),
  );
  return spreadsIn(counted)[eventAt(counted, slowShare(metric))] ?? NO_SPREAD;
}

/** The place of the boundary that the share of requests nearest to this one is slower than; 0 for events. */
function eventAt(counted: readonly CountedTick[], share: number): number {
  const bad: number[] = [];
  let total = 0;
  for (const tick of counted) {
    if (tick.kind === 'error' || tick.counts === null || !('cumulative' in tick.counts)) continue;
    for (const [index, slow] of slowerThan(tick.counts.cumulative).entries()) bad[index] = (bad[index] ?? 0) + slow.bad;
    total += tick.counts.cumulative.at(-1) ?? 0;
  }
  const distances = bad.map((count) => Math.abs(count - share * total));
  return Math.max(0, distances.indexOf(Math.min(...distances)));
}

function raised(metric: MetricPlan, clusters: number, planned: number): string {
  return `${metric.name}: ${bad(metric)} come in clusters of about ${formatClusters(clusters)} between stable's processes now; evidence is reckoned with that, as in a release, and not with the ${formatClusters(planned)} of the plan.`;
}

function unknown(metric: MetricPlan, planned: number, why: string): string {
  return `${metric.name}: how ${bad(metric)} cluster between stable's processes could not be asked for, so evidence is reckoned with the ${formatClusters(planned)} of the plan: ${why}.`;
}

function bad({ counters }: MetricPlan): string {
  return counters?.kind === 'histogram' ? 'slow requests' : 'bad events';
}

function formatClusters(clusters: number): string {
  return String(Number(clusters.toFixed(1)));
}
