import type { Observation, Sample } from './sample';

/**
 * The canary's realised share of requests in a sample, a fraction from 0 to 1; null when no metric knows the requests
 * of both tracks, or there were none. Taken from the metric that saw most requests: a metric may count only a part
 * (one route, one method).
 */
export function observedShare(sample: Sample): number | null {
  let best: { canary: number; total: number } | null = null;
  for (const metric of sample.metrics) {
    const canary = requestsOf(metric.canary);
    const stable = requestsOf(metric.stable);
    if (canary === null || stable === null) continue;
    if (best === null || canary + stable > best.total) best = { canary, total: canary + stable };
  }
  return best === null || best.total <= 0 ? null : best.canary / best.total;
}

/** The requests behind an observation; null when the source does not know them. Zero is an answer. */
export function requestsOf(observation: Observation | null): number | null {
  const requests = observation?.events?.total ?? observation?.requests;
  return requests === undefined || !Number.isFinite(requests) || requests < 0 ? null : requests;
}
