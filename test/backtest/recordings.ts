import { seededRandom } from '../../src/analysis/seeded-random';
import { drawBinomial } from '../../src/backtest/binomial-draw';
import { NOT_RECORDED } from '../../src/analysis/recording';
import type { CountedTick, RecordedMetric, Recording } from '../../src/analysis/recording';
import { parseSpec } from '../../src/spec/load';
import { plan } from '../../src/spec/plan';
import type { Plan } from '../../src/spec/plan-types';

export const TICK_MS = 5_000;
export const START = 1_700_000_000_000;

/** A Kubernetes canary by a Prometheus, with the default steps of 60 s. */
export function planOf(analysis = '', url = 'http://127.0.0.1:9'): Plan {
  const text = `
apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout, namespace: shop }
spec:
  target: { kubernetes: { deployment: checkout, service: checkout, traffic: { replicas: {} } } }
  analysis:
    source: { prometheus: { url: "${url}" } }
${analysis}`;
  const parsed = parseSpec(text, 'release.yaml');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return plan(parsed.spec, 'registry.test/checkout:2');
}

export const batch = (bad: number, total: number): CountedTick => ({
  kind: 'batch',
  counts: { bad, total },
  dropped: [],
  appeared: false,
});

/** Cumulative counts at 0.1, 1 and infinity. */
export const histogram = (fast: number, total: number): CountedTick => ({
  kind: 'batch',
  counts: { cumulative: [fast, total, total] },
  dropped: [],
  appeared: false,
});

/** Stable with a steady rate, and an error rate that may change. */
export function recordingOf(options: {
  readonly ticks: number;
  readonly perTick?: number;
  readonly errors?: (tick: number) => number;
  readonly seed?: number;
  readonly canary?: (tick: number) => CountedTick;
}): Recording {
  const { ticks, perTick = 500, errors = () => 0.005, seed = 1, canary } = options;
  const random = seededRandom(seed);
  const each = <T>(of: (tick: number) => T): T[] => Array.from({ length: ticks }, (_, index) => of(index + 1));
  const stable = each((tick) => batch(drawBinomial(random, perTick, errors(tick)), perTick));
  const metrics: RecordedMetric[] = [
    {
      name: 'error-rate',
      query: 'errors',
      boundaries: null,
      stable: { counts: stable, values: null },
      canary: canary === undefined ? NOT_RECORDED : { counts: each(canary), values: null },
    },
    {
      name: 'p95-latency',
      query: 'buckets',
      boundaries: [0.1, 1],
      stable: { counts: each(() => histogram(perTick - drawBinomial(random, perTick, 0.02), perTick)), values: null },
      canary:
        canary === undefined
          ? NOT_RECORDED
          : { counts: each((tick) => histogram(requests(canary(tick)), requests(canary(tick)))), values: null },
    },
  ];
  return { start: START, tickMs: TICK_MS, ticks, metrics };
}

function requests(tick: CountedTick): number {
  return tick.kind === 'batch' && tick.counts !== null && 'bad' in tick.counts ? tick.counts.total : 0;
}
