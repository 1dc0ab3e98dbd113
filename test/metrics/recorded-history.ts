import { seededRandom } from '../../src/analysis/seeded-random';
import { drawBinomial } from '../../src/backtest/binomial-draw';

/** Traffic of one track over a time, as a Prometheus would have scraped it from two processes. */
export interface RecordedTrack {
  readonly track: 'canary' | 'stable';
  /** Epoch milliseconds, whole scrapes. */
  readonly from: number;
  readonly to: number;
  readonly requestsPerSecond: number;
  /** Share of the requests that fail. */
  readonly errors: (at: number) => number;
}

export const SCRAPE_MS = 15_000;
const INSTANCES = ['10.0.0.1:80', '10.0.0.2:80'];
const BOUNDS = [0.1, 0.25, 1];
/** Share of the requests at or below each boundary. */
const WITHIN = [0.9, 0.98, 1];

/** The counters of the preset `http` of a service shop/checkout, in the OpenMetrics format. */
export function openMetricsOf(tracks: readonly RecordedTrack[], seed = 11): string {
  const random = seededRandom(seed);
  const requests: string[] = [];
  const buckets: string[] = [];
  for (const { track, from, to, requestsPerSecond, errors } of tracks) {
    for (const instance of INSTANCES) {
      const labels = `job="shop",instance="${instance}",service="checkout",namespace="shop",track="${track}"`;
      const perScrape = (requestsPerSecond * SCRAPE_MS) / 1000 / INSTANCES.length;
      const samples = {
        good: [] as string[],
        bad: [] as string[],
        le: BOUNDS.map(() => [] as string[]),
        all: [] as string[],
      };
      let [good, bad, all] = [0, 0, 0];
      const within = BOUNDS.map(() => 0);
      for (let at = from; at <= to; at += SCRAPE_MS) {
        const failed = drawBinomial(random, perScrape, errors(at));
        good += perScrape - failed;
        bad += failed;
        all += perScrape;
        const time = at / 1000;
        samples.good.push(`http_requests_total{${labels},status="200"} ${good} ${time}`);
        samples.bad.push(`http_requests_total{${labels},status="500"} ${bad} ${time}`);
        let rest = perScrape;
        let before = 0;
        let cumulative = 0;
        for (const [index, share] of WITHIN.entries()) {
          const here = drawBinomial(random, rest, (share - before) / (1 - before));
          cumulative += here;
          rest -= here;
          before = share;
          within[index] = (within[index] ?? 0) + cumulative;
          samples.le[index]?.push(
            `http_request_duration_seconds_bucket{${labels},le="${BOUNDS[index]}"} ${within[index]} ${time}`,
          );
        }
        samples.all.push(`http_request_duration_seconds_bucket{${labels},le="+Inf"} ${all} ${time}`);
      }
      requests.push(...samples.good, ...samples.bad);
      buckets.push(...samples.le.flat(), ...samples.all);
    }
  }
  return [
    '# TYPE http_requests counter',
    ...requests,
    '# TYPE http_request_duration_seconds histogram',
    ...buckets,
    '# EOF',
    '',
  ].join('\n');
}
