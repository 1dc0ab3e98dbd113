import { addSpread, NO_SPREAD } from '../analysis/counts';
import type { Spread } from '../analysis/counts';
import { clustersOf } from '../analysis/gather-evidence';
import { messageOf } from '../errors';
import type { AnalysisPlan, MetricPlan, Plan } from '../spec/plan-types';
import { lazy } from './lazy';
import type { Session } from './session';
import { trackNames } from './track-names';

/** By how many bad events of one cause a metric's evidence would be divided, if a release began now. */
export interface PresentClusters {
  readonly clusters: number;
  /** Why that is not simply what the plan says, as a sentence; null where it is. */
  readonly note: string | null;
}

/** Long enough for a verdict of the spread between two processes that are scraped twice a minute. */
const SPREAD_WINDOW_MS = 30 * 60_000;

interface Asked {
  readonly versions: { readonly canary: string; readonly stable: string };
  /** Both of a pair, of which either may have the users. */
  readonly tracks: readonly ('canary' | 'stable')[];
  readonly signal: AbortSignal;
}

/**
 * How bad events cluster between stable's processes now: counted and summed as a release does it, from what a
 * Prometheus has recorded. A metric is missing where nothing raises the plan's own divisor. Never throws.
 */
export async function presentClusters(
  session: Session,
  plan: Plan,
  metrics: readonly MetricPlan[],
  asked: Asked,
): Promise<ReadonlyMap<string, PresentClusters>> {
  const { analysis } = plan;
  const events = metrics.filter(({ counters }) => counters?.kind === 'events');
  const found = new Map<string, PresentClusters>();
  const policy = analysis.evidence ?? null;
  if (analysis.source.kind !== 'prometheus' || policy === null || events.length === 0) return found;
  try {
    for (const [name, spread] of await askSpreads(session, plan, events, asked)) {
      const clusters = clustersOf(policy, spread);
      if (clusters > policy.clusters) found.set(name, { clusters, note: raised(name, clusters, policy.clusters) });
    }
  } catch (error) {
    const why = messageOf(error).replace(/[.\s]+$/u, '');
    for (const { name } of events) found.set(name, { clusters: policy.clusters, note: unknown(name, policy, why) });
  }
  return found;
}

async function askSpreads(
  session: Session,
  plan: Plan,
  metrics: readonly MetricPlan[],
  asked: Asked,
): Promise<[string, Spread][]> {
  const { analysis, service, namespace } = plan;
  const { intervalMs, windowMs } = analysis;
  const names = trackNames(plan);
  const ticks = Math.max(1, Math.floor(SPREAD_WINDOW_MS / intervalMs));
  const history = lazy.metrics().createHistory(analysis.source, session.cli.env);
  try {
    const [recording] = await history.record({
      ...asked,
      ...(names === null ? {} : { trackNames: names }),
      ...{ service, namespace, metrics, windowMs },
      tickMs: intervalMs,
      ranges: [{ from: session.cli.now() - ticks * intervalMs, ticks }],
      onProgress: () => undefined,
    });
    return (recording?.metrics ?? []).map(({ name, stable, canary }): [string, Spread] => {
      const counted = [...(stable.counts ?? []), ...(canary.counts ?? [])];
      const spreads = counted.flatMap((tick) => (tick.kind === 'batch' ? (tick.spread ?? []) : []));
      return [name, spreads.reduce(addSpread, NO_SPREAD)];
    });
  } finally {
    history.close();
  }
}

function raised(name: string, clusters: number, planned: number): string {
  return `${name}: bad events come in clusters of about ${formatClusters(clusters)} between stable's processes now; evidence is reckoned with that, as in a release, and not with the ${formatClusters(planned)} of the plan.`;
}

function unknown(name: string, { clusters }: NonNullable<AnalysisPlan['evidence']>, why: string): string {
  return `${name}: how bad events cluster between stable's processes could not be asked for, so evidence is reckoned with the ${formatClusters(clusters)} of the plan: ${why}.`;
}

export function formatClusters(clusters: number): string {
  return String(Number(clusters.toFixed(1)));
}
