import { messageOf } from '../errors';
import type { MetricSample, Observation, Sample } from '../analysis/sample';
import type { MetricPlan, MetricQuery } from '../spec/plan-types';
import { promDuration, resolveQuery, type QueryValues } from '../spec/query-template';
import { createHttpClient, describeHttpFailure, displayUrl, type HttpAnswer, type HttpClient } from './http';
import type { ClosableMetricSource, Routed, RoutedRequest, SampleRequest } from './metric-source';
import { mapBounded } from './pool';
import { readAnswer, readPairs, type QueryResult, type SeriesResult } from './prometheus-answer';
import { countSeries } from './prometheus-counts';

export interface PrometheusOptions {
  /** Base URL, with a path prefix where the server has one: `http://prometheus:9090`. */
  readonly url: string;
  /** Bearer token. */
  readonly token?: string;
  /** For one query, milliseconds; Prometheus is told to give up after the same time. */
  readonly timeoutMs: number;
  /** Largest answer accepted, bytes. Default 8 MiB: the buckets of a thousand targets at two moments. */
  readonly maxBytes?: number;
}

const MAX_BYTES = 8 * 1024 * 1024;

/** Enough to fill a round trip, and no burst worth mentioning for a shared Prometheus. */
const CONCURRENT_QUERIES = 4;

type Problem = NonNullable<Observation['problem']>;

/** Metrics from a Prometheus (or anything with its query API), by instant queries at the time asked for. */
export function createPrometheusSource(options: PrometheusOptions): ClosableMetricSource {
  const client = createHttpClient({
    timeoutMs: options.timeoutMs,
    maxBytes: options.maxBytes ?? MAX_BYTES,
    ...(options.token === undefined ? {} : { headers: { Authorization: `Bearer ${options.token}` } }),
  });
  return {
    sample: (request) => sample(client, options, request),
    routed: (request) => routed(client, options, request),
    count: (request) =>
      countSeries((query, from, to) => askPairs(client, options, { ...request, from, to }, query), request),
    close: () => client.close(),
  };
}

async function sample(client: HttpClient, options: PrometheusOptions, request: SampleRequest): Promise<Sample> {
  const queries = request.metrics.flatMap((metric) =>
    (['canary', 'stable'] as const).flatMap((track) => prepare(metric, track, request)),
  );
  const results = await mapBounded(queries, CONCURRENT_QUERIES, async (query) => ({
    query,
    result: query.problem ?? (await ask(client, options, request, query.text)),
  }));
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
async function routed(client: HttpClient, options: PrometheusOptions, request: RoutedRequest): Promise<Routed> {
  const { service, namespace, versions } = request;
  const template = request.metrics.map(({ query }) => requestsOf(query)).find((one) => one?.includes('{{window}}'));
  if (template === undefined || template === null) {
    return { kind: 'no-data', query: '', message: 'no metric counts its requests over {{window}}' };
  }
  const count = async (track: Track): Promise<{ text: string; result: QueryResult }> => {
    const name = request.tracks?.[track] ?? track;
    const windowMs = request.at - request.since;
    const values = { service, namespace, track: name, version: versions[track], windowMs };
    const text = resolveQuery(template, values);
    return { text, result: await ask(client, options, request, text) };
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
  /** The resolved PromQL; the template where it cannot be resolved. */
  readonly text: string;
  readonly problem: QueryResult | null;
}

interface Answered {
  readonly query: PreparedQuery;
  readonly result: QueryResult;
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
    if (metric.query.kind === 'builtin') {
      const message = `"${metric.query.metric}" is a metric of the in-app router, which Prometheus is not`;
      return { metric, track, role, text: template, problem: { kind: 'error', message } };
    }
    try {
      return { metric, track, role, text: resolveQuery(template, values), problem: null };
    } catch (error) {
      const message = `the query's template cannot be filled: ${messageOf(error)}`;
      return { metric, track, role, text: template, problem: { kind: 'error', message } };
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
    case 'builtin':
      return [['expression', query.metric]];
  }
}

/** One instant query. Every fault of the backend is an `error` result with one clear sentence. */
async function ask(
  client: HttpClient,
  options: PrometheusOptions,
  request: Pick<SampleRequest, 'at' | 'signal'>,
  query: string,
): Promise<QueryResult> {
  const answer = await post(client, options, request, {
    path: '/api/v1/query',
    form: { query, time: seconds(request.at) },
    read: readAnswer,
  });
  return typeof answer === 'string' ? { kind: 'error', message: answer } : answer;
}

/** The series of an expression at two moments, in one query: a range with one step. */
async function askPairs(
  client: HttpClient,
  options: PrometheusOptions,
  { from, to, ...request }: Pick<SampleRequest, 'signal'> & { readonly from: number; readonly to: number },
  query: string,
): Promise<SeriesResult> {
  const answer = await post(client, options, request, {
    path: '/api/v1/query_range',
    form: { query, start: seconds(from), end: seconds(to), step: seconds(to - from) },
    read: (each) => readPairs(each, from, to),
  });
  return typeof answer === 'string' ? { kind: 'error', message: answer } : answer;
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}

/** Asks and reads; or says in a clause why there is nothing to read. */
async function post<T>(
  client: HttpClient,
  options: PrometheusOptions,
  { signal }: Pick<SampleRequest, 'signal'>,
  question: {
    readonly path: string;
    readonly form: Readonly<Record<string, string>>;
    readonly read: (answer: HttpAnswer) => T;
  },
): Promise<T | string> {
  const where = `Prometheus at ${displayUrl(options.url)}`;
  try {
    const answer = await client.request({
      method: 'POST',
      url: `${options.url.replace(/\/+$/, '')}${question.path}`,
      body: new URLSearchParams({ ...question.form, timeout: promDuration(options.timeoutMs) }),
      ...(signal === undefined ? {} : { signal }),
    });
    const apart = clocksApart(answer);
    return apart === null ? question.read(answer) : `${where} ${apart}`;
  } catch (error) {
    return `${where} ${describeHttpFailure(error)}`;
  }
}

/** What came before a weight change cannot be told from what came after it by a clock that is that wrong. */
const CLOCKS_APART_MS = 10_000;

/** A clause about the server's clock; null when it goes as ours does, or is not known. */
function clocksApart({ headers }: HttpAnswer): string | null {
  const date = Date.parse(headers['date'] ?? '');
  const apart = date - Date.now();
  if (Number.isNaN(date) || Math.abs(apart) <= CLOCKS_APART_MS) return null;
  const by = `${Math.round(Math.abs(apart) / 1000)} s`;
  return `has a clock that is ${by} ${apart > 0 ? 'ahead of' : 'behind'} this one; set both clocks right`;
}

/**
 * Bad of all requests. The denominator decides whether there is data; a numerator without a series then means that
 * nothing bad was ever counted.
 */
function observeRatio(numerator: Answered | undefined, denominator: Answered | undefined): Observation {
  const query = `(${numerator?.query.text ?? ''}) / (${denominator?.query.text ?? ''})`;
  const total = numberOf(denominator, 'the denominator');
  const bad = numerator?.result.kind === 'empty' ? { value: 0 } : numberOf(numerator, 'the numerator');
  const problem = firstError(total.problem, bad.problem);
  if (problem !== undefined || total.value === undefined || bad.value === undefined) {
    return { query, value: null, problem: problem ?? { kind: 'no-data', message: 'the query answered nothing' } };
  }
  if (total.value < 0 || bad.value < 0) {
    return { query, value: null, problem: { kind: 'error', message: 'the query counted fewer than no requests' } };
  }
  if (total.value === 0) {
    const events = { bad: 0, total: 0 };
    return {
      query,
      value: null,
      events,
      problem: { kind: 'no-data', message: 'there were no requests in the window' },
    };
  }
  return { query, value: bad.value / total.value, events: { bad: bad.value, total: total.value } };
}

function observeValue(expression: Answered | undefined, requests: Answered | undefined): Observation {
  const query = expression?.query.text ?? '';
  const value = numberOf(expression, 'the query');
  // Without a single series of requests there were none.
  const counted = requests?.result.kind === 'empty' ? { value: 0 } : numberOf(requests, 'the query for requests');
  const behind = requests === undefined || counted.value === undefined ? {} : { requests: Math.max(0, counted.value) };
  const problem = requests === undefined ? value.problem : firstError(value.problem, counted.problem);
  if (problem !== undefined || value.value === undefined) {
    return {
      query,
      value: null,
      ...behind,
      problem: problem ?? { kind: 'no-data', message: 'the query answered nothing' },
    };
  }
  return { query, value: value.value, ...behind };
}

function numberOf(answered: Answered | undefined, what: string): { value?: number; problem?: Problem } {
  const result: QueryResult = answered?.result ?? { kind: 'empty' };
  switch (result.kind) {
    case 'value':
      return { value: result.value };
    case 'empty':
      return { problem: { kind: 'no-data', message: `${what} matched no series` } };
    case 'not-a-number':
      return { problem: { kind: 'no-data', message: `${what} answered ${result.text}, which is no number` } };
    case 'error':
      return { problem: { kind: 'error', message: result.message } };
  }
}

/** A broken backend outweighs missing data: what one query misses may be the backend's fault, too. */
function firstError(...problems: (Problem | undefined)[]): Problem | undefined {
  return problems.find((problem) => problem?.kind === 'error') ?? problems.find((problem) => problem !== undefined);
}
