import { checkRouting } from '../analysis/routing-check';
import { messageOf, ReleaseError } from '../errors';
import type { MetricSource, Routed } from '../metrics/metric-source';
import type { Reassertion } from '../targets/target';
import type { MeasureInput } from '../workflows/activity-types';
import type { RoutingReport } from '../workflows/api';
import { askedMoment } from './asked-moment';
import type { Clock } from './asked-moment';

/**
 * A gateway that was just told serves by the old weight a moment longer, and what it served then is in the first scrape
 * after the change.
 */
const SETTLING_MS = 5_000;

/** No counts of less; an hour's worth says what there is to say, and a window of days is a burden for Prometheus. */
const SHORTEST_MS = 5_000;
const LONGEST_MS = 3_600_000;

/** What the target said of the routing, what time it is, and when the look is broken off. */
export interface Looking {
  readonly clock: Clock;
  readonly tracks: Reassertion['tracks'];
  readonly dealing: Reassertion['dealing'];
  readonly signal: AbortSignal;
}

/**
 * The share that the canary really got since the weight changed, held against what was asked for; null where there is
 * nothing to hold it against: at 0 and 100 % nobody splits, and while stable takes its traffic back both tracks are the
 * new version. Never throws for a backend's fault.
 */
export async function lookAtRouting(
  source: () => MetricSource,
  input: MeasureInput,
  { dealing, ...how }: Looking,
): Promise<RoutingReport | null> {
  const { analysis, weight, subject, match, unsettled = false } = input;
  if (unsettled) return null;
  const share = (dealing?.share ?? weight) / 100;
  if ((analysis.routingCheck ?? 'off') === 'off' || subject !== 'canary' || !(share > 0 && share < 1)) return null;
  const before = input.routing ?? null;
  const routed = await ask(source, input, how);
  if (routed.kind !== 'counts') {
    const verdict = routed.kind === 'error' ? ('error' as const) : ('insufficient-data' as const);
    const sentence = `The routing could not be looked at: ${routed.message}.`;
    return { ...NOTHING, verdict, asked: share, sentence, query: routed.query, highest: before?.highest ?? 0 };
  }
  const { canary, stable, cluster, unit, query } = routed;
  const perDecision = unit === 'request' ? Math.max(1, dealing?.perDecision ?? 1) : 1;
  const { verdict, delivered, state, sentence } = checkRouting(
    { share, atLeast: match.length > 0, cluster: cluster * perDecision, noun: unit },
    before,
    { canary, total: canary + stable },
  );
  return { verdict, asked: share, delivered, canary, stable, sentence, query, highest: state.highest };
}

const NOTHING = { delivered: null, canary: null, stable: null } as const;

async function ask(
  source: () => MetricSource,
  input: MeasureInput,
  { tracks, clock, signal }: Omit<Looking, 'dealing'>,
): Promise<Routed> {
  const since = input.since + Math.max(input.analysis.initialDelayMs, SETTLING_MS);
  const { lagMs = 0 } = input.analysis;
  const at = Math.min(askedMoment(input), since + LONGEST_MS);
  if (at - since < SHORTEST_MS) {
    return { kind: 'no-data', query: '', message: 'the weight has only just changed' };
  }
  try {
    return await source().routed({
      service: input.service,
      namespace: input.namespace,
      versions: { canary: input.version, stable: input.stableVersion ?? '' },
      ...(tracks === undefined ? {} : { tracks }),
      metrics: input.analysis.metrics,
      weight: input.weight,
      at,
      ...clock,
      ...(lagMs > 0 ? { lagMs } : {}),
      since,
      signal,
    });
  } catch (error) {
    // A setting that no retry mends, or a question that was broken off: the sample says so, too.
    if (!(error instanceof ReleaseError) && !signal.aborted) throw error;
    return { kind: 'error', query: '', message: messageOf(error) };
  }
}
