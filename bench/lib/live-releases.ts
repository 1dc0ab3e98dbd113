import { addEvidence, ERROR_ALTERNATIVES, logEvidence, NO_EVIDENCE } from '../../src/analysis/event-evidence';
import { seededRandom } from '../../src/analysis/seeded-random';
import { drawBinomial } from '../../src/backtest/binomial-draw';
import { parseSpec } from '../../src/spec/load';
import { plan } from '../../src/spec/plan';
import type { EvidencePlan, Plan } from '../../src/spec/plan-types';
import { startPrometheus } from '../../test/metrics/real-prometheus';
import type { ScrapeTarget } from '../../test/metrics/real-prometheus';
import { BENCH_TOKEN, serve, startInstance } from './instance';
import type { Instance } from './instance';
import { percentile } from './statistics';

/** A shop with the in-app router under load, scraped by a Prometheus each second, and one release of it. */
export interface LiveOptions {
  /** Releases by the plan, and answers how it ended. */
  readonly release: (plan: Plan) => Promise<LivePlayed>;
  readonly prometheus: string;
  readonly releases: number;
  readonly weights: readonly number[];
  readonly soak: string;
  readonly requestsPerSecond: number;
  /** Share of stable's requests that fail; the canary's is `times` that. */
  readonly base: number;
  readonly times: number;
}

export interface LivePlayed {
  /** `failed`: rolled back by a verdict; `other`: anything but that and a promotion. */
  readonly outcome: 'promoted' | 'failed' | 'other';
  readonly message: string;
}

export interface LiveRelease extends LivePlayed {
  /** Requests that the canary had. */
  readonly canaryRequests: number;
}

const NAMESPACE = 'live';
/** What workers of these releases need. */
export const LIVE_ENVIRONMENT: Readonly<Record<string, string>> = { SLUICE_ROUTER_TOKEN: BENCH_TOKEN };

const LOAD_EVERY_MS = 100;
/** As often as is scraped, and once more for a machine that is busy. */
const INTERVAL_MS = 2_000;

/** Plays the releases, all at once, and answers how each ended. */
export async function playLiveReleases(options: LiveOptions): Promise<readonly LiveRelease[]> {
  const { releases, requestsPerSecond, base, times } = options;
  const shops = await Promise.all(Array.from({ length: releases }, (_, index) => startShop(`live-${times}x-${index}`)));
  const targets = shops.map(({ service, instance }): ScrapeTarget => ({
    address: new URL(instance.url).host,
    labels: { app: service },
  }));
  const prometheus = await startPrometheus(options.prometheus, targets);
  const random = seededRandom(20_261_121);
  const load = setInterval(() => {
    for (const shop of shops) {
      serve(shop.instance, (requestsPerSecond * LOAD_EVERY_MS) / 1_000, (cohort) => {
        if (cohort === 'canary') shop.canaryRequests += 1;
        return random() < (cohort === 'canary' ? base * times : base) ? 500 : 200;
      });
    }
  }, LOAD_EVERY_MS);
  try {
    return await Promise.all(
      shops.map(async (shop) => {
        const played = await options.release(livePlan(options, { ...shop, prometheusUrl: prometheus.url }));
        return { ...played, canaryRequests: shop.canaryRequests };
      }),
    );
  } finally {
    clearInterval(load);
    await prometheus.stop();
    for (const { instance } of shops) await instance.stop();
  }
}

interface LiveShop {
  readonly service: string;
  readonly instance: Instance;
  canaryRequests: number;
}

async function startShop(service: string): Promise<LiveShop> {
  const guard = { maxErrorRate: false, maxErrorRatio: false, maxLatencyMs: false } as const;
  return { service, instance: await startInstance({ prometheusPath: '/metrics', guard }), canaryRequests: 0 };
}

function livePlan(
  { weights, soak }: Pick<LiveOptions, 'weights' | 'soak'>,
  { service, instance, prometheusUrl }: { service: string; instance: Pick<Instance, 'url'>; prometheusUrl: string },
): Plan {
  const parsed = parseSpec(
    `
apiVersion: sluice.dev/v1
kind: Release
metadata: { name: ${service}, namespace: ${NAMESPACE} }
spec:
  target: { router: { instances: [${instance.url}] } }
  steps:
${weights.map((weight) => `    - { weight: ${weight}, soak: ${soak} }`).join('\n')}
  analysis:
    source: { prometheus: { url: "${prometheusUrl}", labels: { app: ${service} } } }
    interval: ${INTERVAL_MS}ms
    minRequests: 5
    minMeasurements: 1
    consecutiveErrorLimit: 10
    routingCheck: 'off'
    onNoData: { extend: 60s, then: rollback }
    metrics: [{ name: error-rate, max: 60% }]
`,
    'live.yaml',
  );
  if (!parsed.ok) throw new Error(`The spec of the live releases is wrong: ${JSON.stringify(parsed.problems)}`);
  return plan(parsed.spec, 'v2');
}

/** What the judge of a live plan is told. */
function liveEvidence(options: Pick<LiveOptions, 'weights' | 'soak'>): EvidencePlan {
  const { analysis } = livePlan(options, {
    service: 'live',
    instance: { url: 'http://127.0.0.1:9' },
    prometheusUrl: 'http://127.0.0.1:9',
  });
  if (analysis.evidence === undefined || analysis.evidence === null)
    throw new Error('The live plan gathers no evidence.');
  return analysis.evidence;
}

const PREDICTIONS = 500;
/** In batches: what is not worse is never found. */
const LONGEST_PREDICTION = 1_000;
/**
 * What the canary has beside what is counted: before counting begins, since the last scrape, until the next look, and on
 * the way back.
 */
const UNCOUNTED_BATCHES = 4;

/** How many requests the canary has before its fault is found in 95 % of the releases, at the first weight. */
export function predictRequests(options: LiveOptions): number {
  const { base, times, requestsPerSecond, weights } = options;
  const share = (weights[0] ?? 0) / 100;
  const { alpha, tolerate, clusters, plannedBatches } = liveEvidence(options);
  const design = { alternatives: ERROR_ALTERNATIVES, tolerate, clusters, onset: { plannedBatches } };
  const perBatch = (requestsPerSecond * INTERVAL_MS) / 1_000;
  const atCanary = Math.round(perBatch * share);
  const random = seededRandom(7);
  const needed = Array.from({ length: PREDICTIONS }, () => {
    let evidence = NO_EVIDENCE;
    let batches = 0;
    while (batches < LONGEST_PREDICTION && logEvidence(design, evidence) < Math.log(1 / alpha)) {
      batches += 1;
      evidence = addEvidence(design, evidence, {
        canary: { bad: drawBinomial(random, atCanary, base * times), total: atCanary },
        stable: { bad: drawBinomial(random, perBatch - atCanary, base), total: perBatch - atCanary },
      });
    }
    return batches;
  });
  return (percentile(needed, 95) + UNCOUNTED_BATCHES) * atCanary;
}
