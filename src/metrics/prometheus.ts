import { messageOf } from '../errors';
import type { MetricSample, Observation, Sample } from '../analysis/sample';
import type { MetricPlan, MetricQuery } from '../spec/plan-types';
import { asksOverWindow, resolveQuery, type QueryValues } from '../spec/query-template';
import type { HttpClient } from './http';
import type { ClosableMetricSource, Routed, RoutedRequest, SampleRequest } from './metric-source';
import { mapBounded } from './pool';
import { readAnswer, readRange, type QueryResult, type RangeGrid, type RangeResult } from './prometheus-answer';
import { countSeries } from './prometheus-counts';
import { observeRatio, observeValue, type Answered } from './prometheus-observation';
import { createRetentionCheck, lookBackOf } from './prometheus-retention';
import type { CheckRetention } from './prometheus-retention';
import { aheadOfOurs, askOrSay, createPrometheusClient, seconds, type PrometheusOptions } from './prometheus-request';

/** Enough to fill a round trip, and no burst worth mentioning for a shared Prometheus. */
const CONCURRENT_QUERIES = 4;

/** Metrics from a Prometheus (or anything with its query API), by instant queries at the time asked for. */
export function createPrometheusSource(options: PrometheusOptions): ClosableMetricSource {
  const client = createPrometheusClient(options);
  const server: Server = { client, options, beyondRetention: createRetentionCheck(client, options) };
  return {
    sample: (request) => sample(server, request),
    routed: (request) => routed(server, request),
    count: (request) => {
      const ahead = aheadOfOurs(request.present);
      const { signal, onClock } = request;
      return countSeries((query, grid) => askRange(client, options, { signal, ahead, onClock, grid }, query), request);
    },
    close: () => client.close(),
  };
}

interface Server {
  readonly client: HttpClient;
  readonly options: PrometheusOptions;
  readonly beyondRetention: CheckRetention;
}

interface PreparedAnswer {
  readonly query: PreparedQuery;
  readonly result: QueryResult;
}

async function sample({ client, options, beyondRetention }: Server, request: SampleRequest): Promise<Sample> {
  const queries = request.metrics.flatMap((metric) =>
    (['canary', 'stable'] as const).flatMap((track) => prepare(metric, track, request)),
  );
  const ahead = aheadOfOurs(request.present);
  const { at, windowMs: wholeMs, lagMs = 0, signal } = request;
  const lookBack = (query: PreparedQuery): Parameters<CheckRetention>[0] => ({
    at,
    windowMs: asksOverWindow(query.template) ? wholeMs : 0,
    lookBackMs: lookBackOf(query.text),
    lagMs,
    signal,
  });
  // One question for all; only a server that keeps too little for one of them has something to say of each.
  const lookBackMs = Math.max(0, ...queries.map((query) => lookBackOf(query.text)));
  const anyBeyond = (await beyondRetention({ at, windowMs: wholeMs, lookBackMs, lagMs, signal })) !== null;
  const results = await mapBounded(queries, CONCURRENT_QUERIES, async (query): Promise<PreparedAnswer> => {
    if (query.problem !== null) return { query, result: query.problem };
    const beyond = anyBeyond ? await beyondRetention(lookBack(query)) : null;
    if (beyond !== null) return { query, result: { kind: 'error', message: beyond } };
    return { query, result: await ask(client, options, { ...request, ahead }, query.text) };
  });
  const observe = (metric: MetricPlan, track: Track): Observation => {
    const own = results.filter(({ query }) => query.metric === metric && query.track === track);
    const find = (role: Role): Answered | undefined => own.find(({ query }) => query.role === role);
    return metric.query.kind === 'ratio'
      ? observeRatio(find('numerator'), find('denominator'))
      : observeValue(find('expression'), find('requests'));
  };
  const metrics = request.metrics.map((metric): MetricSample => ({
    name: metric.name,
    canary: observe(metric, 'canary'),
    stable: observe(metric, 'stable'),
  }));
  return { at: request.at, windowMs: request.windowMs, metrics };
}

/**
 * `increase` fills the edges of its window up from what it saw between two scrapes: up to twice as many requests as were
 * counted, which is that much less evidence than it looks.
 */
const EXTRAPOLATED = 2;

/** The requests of each track in one window that begins with the weight: by the metric that counts them. */
async function routed({ client, options, beyondRetention }: Server, request: RoutedRequest): Promise<Routed> {
  const { service, namespace, versions } = request;
  const template = request.metrics.flatMap(({ query }) => requestsOf(query) ?? []).find(asksOverWindow);
  if (template === undefined) {
    return { kind: 'no-data', query: '', message: 'no metric counts its requests over {{window}}' };
  }
  const windowMs = request.at - request.since;
  const ahead = aheadOfOurs(request.present);
  const { at, lagMs = 0, signal } = request;
  const beyond = await beyondRetention({ at, windowMs, lookBackMs: lookBackOf(template), lagMs, signal });
  if (beyond !== null) return { kind: 'error', query: template, message: beyond };
  const count = async (track: Track): Promise<{ text: string; result: QueryResult }> => {
    const name = request.tracks?.[track] ?? track;
    const values = { service, namespace, track: name, version: versions[track], windowMs };
    const text = resolveQuery(template, values);
    return { text, result: await ask(client, options, { ...request, ahead }, text) };
  };
  const [canary, stable] = await Promise.all([count('canary'), count('stable')]);
  const query = `${canary.text} against ${stable.text}`;
  const numbers = [canary, stable].map(({ result }): number | Routed => {
    switch (result.kind) {
      case 'value':
        return Math.max(0, result.value);
      case 'error':
        return { kind: 'error', query, message: result.message };
      case 'empty':
      case 'not-a-number':
        return { kind: 'no-data', query, message: 'one of the tracks has no series of requests yet' };
    }
  });
  const [canaries = 0, stables = 0] = numbers;
  if (typeof canaries !== 'number') return canaries;
  if (typeof stables !== 'number') return stables;
  return { kind: 'counts', query, canary: canaries, stable: stables, unit: 'request', cluster: EXTRAPOLATED };
}

/** The query that counts the requests behind a metric; null where it has none. */
function requestsOf(query: MetricQuery): string | null {
  switch (query.kind) {
    case 'ratio':
      return query.denominator;
    case 'value':
      return query.requests;
    case 'http':
    case 'builtin':
      return null;
  }
}

type Track = 'canary' | 'stable';
type Role = 'numerator' | 'denominator' | 'expression' | 'requests';

interface PreparedQuery {
  readonly metric: MetricPlan;
  readonly track: Track;
  readonly role: Role;
  readonly template: string;
  /** The resolved PromQL; the template where it cannot be resolved. */
  readonly text: string;
  readonly problem: QueryResult | null;
}

function prepare(metric: MetricPlan, track: Track, request: SampleRequest): PreparedQuery[] {
  const other = track === 'canary' ? 'stable' : 'canary';
  const name = request.subject === 'stable' ? other : track;
  const values: QueryValues = {
    service: request.service,
    namespace: request.namespace,
    track: request.tracks?.[name] ?? name,
    version: request.versions[track],
    windowMs: request.windowMs,
  };
  return templatesOf(metric.query).map(([role, template]) => {
    if (metric.query.kind === 'http') {
      const message = 'it is at an address of its own, where Prometheus is not asked';
      return { metric, track, role, template, text: template, problem: { kind: 'error', message } };
    }
    if (metric.query.kind === 'builtin') {
      const message = `"${metric.query.metric}" is a metric of the in-app router, which Prometheus is not`;
      return { metric, track, role, template, text: template, problem: { kind: 'error', message } };
    }
    try {
      return { metric, track, role, template, text: resolveQuery(template, values), problem: null };
    } catch (error) {
      const message = `the query's template cannot be filled: ${messageOf(error)}`;
      return { metric, track, role, template, text: template, problem: { kind: 'error', message } };
    }
  });
}

function templatesOf(query: MetricQuery): [Role, string][] {
  switch (query.kind) {
    case 'ratio':
      return [
        ['numerator', query.numerator],
        ['denominator', query.denominator],
      ];
    case 'value': {
      const expression: [Role, string] = ['expression', query.expression];
      return query.requests === null ? [expression] : [expression, ['requests', query.requests]];
    }
    case 'http':
      return [['expression', query.url]];
    case 'builtin':
      return [['expression', query.metric]];
  }
}

/** One instant query. Every fault of the backend is an `error` result with one clear sentence. */
async function ask(
  client: HttpClient,
  options: PrometheusOptions,
  request: Pick<SampleRequest, 'at' | 'signal' | 'onClock'> & { readonly ahead: number | null },
  query: string,
): Promise<QueryResult> {
  const answer = await askOrSay(client, options, {
    ...(request.signal === undefined ? {} : { signal: request.signal }),
    ahead: request.ahead,
    onClock: request.onClock,
    path: '/api/v1/query',
    form: { query, time: seconds(request.at) },
    read: readAnswer,
  });
  return typeof answer === 'string' ? { kind: 'error', message: answer } : answer;
}

interface RangeRequest {
  readonly signal: AbortSignal | undefined;
  readonly ahead: number | null;
  readonly onClock: SampleRequest['onClock'];
  readonly grid: RangeGrid;
}

/** The series of an expression at all moments of a grid, in one query. */
async function askRange(
  client: HttpClient,
  options: PrometheusOptions,
  { signal, grid, ...clocks }: RangeRequest,
  query: string,
): Promise<RangeResult> {
  const { start, stepMs, moments } = grid;
  const end = start + (moments - 1) * stepMs;
  const answer = await askOrSay(client, options, {
    ...(signal === undefined ? {} : { signal }),
    ...clocks,
    path: '/api/v1/query_range',
    form: { query, start: seconds(start), end: seconds(end), step: seconds(stepMs) },
    read: (each) => readRange(each, grid),
  });
  return typeof answer === 'string' ? { kind: 'error', message: answer } : answer;
}
