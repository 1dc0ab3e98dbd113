import { minus, readBetween, whyAnew } from '../analysis/counts';
import type { ArmBatch, CountCursor, Counted, CountedSince, CountedUntil } from '../analysis/counts';
import type { MetricSample, Observation, Sample } from '../analysis/sample';
import type { OutcomesAnswer } from '../flags/answers';
import { FlagServiceClient, FlagServiceError } from '../flags/client/flag-service-client';
import { displayUrl } from './http';
import { describeBuiltin, observeCounts, type WindowCounts } from './builtin-metrics';
import type { ClosableMetricSource, CountRequest, SampleRequest } from './metric-source';

export interface FlagSourceOptions {
  /** The flag service's address. */
  readonly url: string;
  readonly apiKey?: string;
  readonly flag: string;
  readonly environment: string;
  /** For one answer, milliseconds. Default 5 s: it is one read of the service's store. */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 5_000;

/** The service keeps five minutes. */
const MAX_WINDOW_SECONDS = 300;

/**
 * Outcomes that an application held back, and those that the service has not yet handed to its store, are of the
 * percentage before: nothing that comes sooner than this after a change is counted.
 */
const SETTLING_MS = 2_000;

const SIDES = { canary: 'enabled', stable: 'disabled' } as const;
type Track = keyof typeof SIDES;

const WORDS = {
  notBuiltin: 'outcomes of a flag answer error-rate, latency and requests, and no PromQL',
  none: 'no outcomes came in within the window',
  unlikeBuckets: 'the latencies of the outcomes cannot be read',
} as const;

/**
 * Metrics from the outcomes that applications posted to the flag service: users with the flag are the canary, those
 * without it stable. The service answers as of now: `at` is only recorded. A service that does not answer is an `error`.
 */
export function createFlagSource(options: FlagSourceOptions): ClosableMetricSource {
  const { url, apiKey, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const service = new FlagServiceClient({ url, timeoutMs, ...(apiKey === undefined ? {} : { apiKey }) });
  const look: Look = (windowSeconds, signal) => askOutcomes(service, { ...options, windowSeconds, signal });
  return {
    sample: (request) => sample(look, request),
    // Who has the flag is decided by the service's own hash, and who uses it by nobody: there is no share to be held to.
    routed: () =>
      Promise.resolve({ kind: 'no-data', query: '', message: 'outcomes do not tell how users were divided' }),
    count: (request) => count(look, request),
    close: () => undefined,
  };
}

interface Looked {
  /** What was asked, in words. */
  readonly asked: string;
  /** Or why there is none. */
  readonly answer: OutcomesAnswer | string;
}

type Look = (windowSeconds: number, signal: AbortSignal | undefined) => Promise<Looked>;

async function askOutcomes(
  service: FlagServiceClient,
  {
    url,
    flag,
    environment,
    windowSeconds,
    signal,
  }: FlagSourceOptions & { readonly windowSeconds: number; readonly signal: AbortSignal | undefined },
): Promise<Looked> {
  const asked = `GET /api/feature-flags/${flag}/outcomes?environment=${environment}&window=${windowSeconds} at ${displayUrl(url)}`;
  try {
    const options = signal === undefined ? {} : { signal };
    return { asked, answer: await service.outcomes(flag, { environment, windowSeconds }, options) };
  } catch (error) {
    if (!(error instanceof FlagServiceError)) throw error;
    return { asked, answer: error.message.replace(/\.$/, '') };
  }
}

async function sample(look: Look, request: SampleRequest): Promise<Sample> {
  const seconds = Math.min(MAX_WINDOW_SECONDS, Math.max(1, Math.floor(request.windowMs / 1000)));
  const { asked, answer } = await look(seconds, request.signal);
  const counts = { canary: windowOf(answer, 'canary'), stable: windowOf(answer, 'stable') };
  return {
    at: request.at,
    windowMs: seconds * 1000,
    metrics: request.metrics.map((metric): MetricSample => {
      const observe = (track: Track): Observation => ({
        query: `${asked}: ${describeBuiltin(metric.query)}, ${SIDES[track]}`,
        ...observeCounts(metric, counts[track], WORDS),
      });
      return { name: metric.name, canary: observe('canary'), stable: observe('stable') };
    }),
  };
}

function windowOf(answer: OutcomesAnswer | string, track: Track): WindowCounts {
  if (typeof answer === 'string') return { kind: 'problem', message: answer };
  const { total, failed, latency } = answer.window[SIDES[track]];
  const histogram = { bounds: answer.bounds_ms, cumulative: latency };
  return { kind: 'counts', requests: total, errors: failed, histogram };
}

async function count(look: Look, request: CountRequest): Promise<readonly Counted[]> {
  const { asked, answer } = await look(1, request.signal);
  return request.metrics.flatMap(({ name, counters }): Counted[] => {
    if (counters === undefined || counters === null) return [];
    const cursor = request.cursors[name];
    const between = readBetween(cursor, request.at);
    const problem = (kind: 'error' | 'no-data', message: string): Counted[] => [
      { name, query: asked, asked: between, kind: 'problem', problem: { kind, message } },
    ];
    if (counters.kind !== 'builtin') return problem('error', WORDS.notBuiltin);
    if (typeof answer === 'string') return problem('error', answer);
    if (answer.counters === null) return problem('no-data', 'no outcomes came in yet');
    if (cursor === undefined && request.at - request.since < SETTLING_MS) {
      return problem('no-data', 'the percentage has only just changed');
    }
    const query = `${asked}: ${counters.metric} of both sides`;
    const { metric } = counters;
    const { at } = request;
    const since = sinceCursor({ ...answer, counters: answer.counters }, { metric, cursor, at });
    return [{ name, query, asked: between, ...since }];
  });
}

/**
 * What came since the last look. Counters know nothing of percentages, so that counting begins at the first look after
 * one has changed; and anew where other counters answer, or where these have lost what they had.
 */
function sinceCursor(
  answer: OutcomesAnswer & { readonly counters: string },
  { metric, cursor, at }: CountedUntil,
): CountedSince {
  const batchOf = ({ total, failed, latency }: OutcomesAnswer['enabled']): ArmBatch =>
    metric === 'errors' ? { bad: failed, total } : { cumulative: latency };
  const now = { canary: batchOf(answer.enabled), stable: batchOf(answer.disabled) };
  const next: CountCursor = { kind: 'reading', counters: [answer.counters], ...now, at };
  if (cursor === undefined)
    return { kind: 'begin', why: 'what came before the first look at this weight', cursor: next };
  const anew = { kind: 'begin', why: whyAnew(cursor, 'the outcomes are counted anew'), cursor: next } as const;
  if (cursor.kind !== 'reading' || cursor.counters.join() !== answer.counters) return anew;
  const batch = { canary: minus(now.canary, cursor.canary), stable: minus(now.stable, cursor.stable) };
  // A store that came back from an older copy has the same counters with less in them.
  if (hasShrunk(batch.canary) || hasShrunk(batch.stable)) return anew;
  const boundaries = metric === 'errors' ? {} : { boundaries: answer.bounds_ms.map((ms) => ms / 1000) };
  return { kind: 'batch', ...batch, ...boundaries, dropped: [], cursor: next };
}

function hasShrunk(batch: ArmBatch): boolean {
  const counts = 'cumulative' in batch ? batch.cumulative : [batch.bad, batch.total];
  return counts.some((count) => count < 0);
}
