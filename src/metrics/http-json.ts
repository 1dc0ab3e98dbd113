import type { MetricSample, Observation, Sample } from '../analysis/sample';
import { messageOf } from '../errors';
import { HTTP_METRICS_HOSTS_ENV } from '../spec/defaults';
import { parseJsonPath, valuesAt } from '../spec/json-path';
import type { MetricPlan } from '../spec/plan-types';
import { resolveUrl } from '../spec/url-template';
import type { AllowedHosts } from './allowed-hosts';
import { createHttpClient, describeHttpFailure, displayUrl, expectJson, shorten, type HttpClient } from './http';
import type { ClosableMetricSource, SampleRequest } from './metric-source';
import { mapBounded } from './pool';

export interface HttpJsonOptions {
  /** Bearer token. */
  readonly token?: string;
  /** For one answer, milliseconds. */
  readonly timeoutMs: number;
  /** Where the operator lets this worker ask. */
  readonly allowed: AllowedHosts;
}

const CONCURRENT_REQUESTS = 4;

type Problem = NonNullable<Observation['problem']>;
type Answer =
  { readonly kind: 'document'; readonly document: unknown } | { readonly kind: 'error'; readonly message: string };

/** Metrics from any server that answers JSON: a number at a JSONPath of an address. Nothing is counted by it. */
export function createHttpJsonSource(options: HttpJsonOptions): ClosableMetricSource {
  const client = createHttpClient({
    timeoutMs: options.timeoutMs,
    ...(options.token === undefined ? {} : { headers: { Authorization: `Bearer ${options.token}` } }),
  });
  return {
    sample: (request) => sample(client, options, request),
    routed: () =>
      Promise.resolve({
        kind: 'no-data',
        query: '',
        message: 'a source of kind http does not count requests by track',
      }),
    count: () => Promise.resolve([]),
    close: () => client.close(),
  };
}

async function sample(client: HttpClient, options: HttpJsonOptions, request: SampleRequest): Promise<Sample> {
  const asked = request.metrics.flatMap((metric) =>
    (['canary', 'stable'] as const).map((track) => ({ metric, track, address: addressOf(metric, track, request) })),
  );
  // One document often has several metrics: it is asked for once.
  const urls = [...new Set(asked.flatMap(({ address }) => (address.kind === 'url' ? [address.url] : [])))];
  const answers = new Map<string, Answer>();
  await mapBounded(urls, CONCURRENT_REQUESTS, async (url) => {
    answers.set(url, await ask(client, options, url, request.signal));
  });
  const observe = (metric: MetricPlan, track: 'canary' | 'stable'): Observation => {
    const found = asked.find((each) => each.metric === metric && each.track === track);
    const address: Address = found?.address ?? { kind: 'error', message: 'it was not asked for' };
    if (address.kind === 'error') return unknown(metric.name, { kind: 'error', message: address.message });
    return read(metric, address.url, answers.get(address.url) ?? { kind: 'error', message: 'it was not asked for' });
  };
  return {
    at: request.at,
    windowMs: request.windowMs,
    metrics: request.metrics.map((metric): MetricSample => ({
      name: metric.name,
      canary: observe(metric, 'canary'),
      stable: observe(metric, 'stable'),
    })),
  };
}

type Address = { readonly kind: 'url'; readonly url: string } | { readonly kind: 'error'; readonly message: string };

function addressOf({ query }: MetricPlan, track: 'canary' | 'stable', request: SampleRequest): Address {
  if (query.kind !== 'http') return { kind: 'error', message: 'the metric has no address to be asked at' };
  const other = track === 'canary' ? 'stable' : 'canary';
  const name = request.subject === 'stable' ? other : track;
  try {
    // Whole seconds, as not every server takes fractions; within the window, which may begin with the weight.
    const url = resolveUrl(query.url, {
      service: request.service,
      namespace: request.namespace,
      track: request.tracks?.[name] ?? name,
      version: request.versions[track],
      windowMs: request.windowMs,
      start: String(Math.ceil((request.at - request.windowMs) / 1000)),
      end: String(Math.floor(request.at / 1000)),
    });
    return { kind: 'url', url };
  } catch (error) {
    return { kind: 'error', message: `the address cannot be filled in: ${messageOf(error)}` };
  }
}

/** One document. Every fault of the server is an `error` with one clear clause. */
async function ask(
  client: HttpClient,
  { allowed }: HttpJsonOptions,
  url: string,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  if (!allowed(url)) {
    const message = `${new URL(url).host} is not among the hosts that may be asked; ${HTTP_METRICS_HOSTS_ENV} names them where the worker runs`;
    return { kind: 'error', message };
  }
  try {
    const answer = await client.request({ method: 'GET', url, ...(signal === undefined ? {} : { signal }) });
    return { kind: 'document', document: expectJson(answer) };
  } catch (error) {
    return { kind: 'error', message: `${displayUrl(url)} ${describeHttpFailure(error)}` };
  }
}

function read({ name, query }: MetricPlan, url: string, answer: Answer): Observation {
  if (query.kind !== 'http')
    return unknown(name, { kind: 'error', message: 'the metric has no address to be asked at' });
  const asked = `${url} at ${query.value}`;
  if (answer.kind === 'error') return unknown(asked, { kind: 'error', message: answer.message });
  const value = numberAt(query.value, answer.document);
  const requests = query.requests === null ? null : numberAt(query.requests, answer.document);
  const behind = requests?.kind === 'number' ? { requests: Math.max(0, requests.value) } : {};
  const problem = [value, requests].flatMap((each) => (each?.kind === 'problem' ? [each.problem] : []));
  // A broken answer outweighs a missing number.
  const worst = problem.find(({ kind }) => kind === 'error') ?? problem[0];
  if (worst !== undefined || value.kind === 'problem') {
    return { ...unknown(asked, worst ?? { kind: 'no-data', message: 'there is no value' }), ...behind };
  }
  return { query: asked, value: value.value, ...behind };
}

function unknown(query: string, problem: Problem): Observation {
  return { query, value: null, problem };
}

type Found =
  { readonly kind: 'number'; readonly value: number } | { readonly kind: 'problem'; readonly problem: Problem };

/** The one number at a path; a text that is a number is one, as many servers write them. */
function numberAt(path: string, document: unknown): Found {
  const problem = (kind: Problem['kind'], message: string): Found => ({ kind: 'problem', problem: { kind, message } });
  const parsed = parseJsonPath(path);
  if (!parsed.ok) return problem('error', `the path ${path} ${parsed.reason}`);
  let values: readonly unknown[];
  try {
    values = valuesAt(parsed.path, document);
  } catch (error) {
    return problem('error', `the path ${path} cannot be followed: ${shorten(messageOf(error))}`);
  }
  const [first] = values;
  if (values.length === 0 || first === null) return problem('no-data', `the answer has nothing at ${path}`);
  if (values.length > 1) return problem('error', `the answer has ${values.length} values at ${path} instead of one`);
  const value = typeof first === 'string' && NUMBER.test(first.trim()) ? Number(first) : first;
  if (typeof value === 'number') {
    return Number.isFinite(value)
      ? { kind: 'number', value }
      : problem('no-data', `the answer has ${value} at ${path}`);
  }
  if (typeof first === 'string' && /^[+-]?(nan|inf(inity)?)$/iu.test(first.trim())) {
    return problem('no-data', `the answer has ${shorten(first)} at ${path}, which is no number`);
  }
  return problem('error', `the answer has ${kindOf(first)} at ${path}, which is no number`);
}

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/iu;

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'string') return JSON.stringify(shorten(value));
  return typeof value === 'object' ? 'an object' : String(value);
}
