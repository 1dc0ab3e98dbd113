import type { Counted } from '../analysis/counts';
import type { MetricSample, Observation, Sample } from '../analysis/sample';
import type { Cohort } from '../router/protocol';
import { RouterDefaults } from '../router/defaults';
import { RouterPaths } from '../router/protocol';
import { describeBuiltin, observeCounts, type WindowCounts } from './builtin-metrics';
import { sumHistograms } from './histogram';
import { createHttpClient, displayUrl, type HttpClient } from './http';
import type { ClosableMetricSource, CountRequest, Routed, RoutedRequest, SampleRequest } from './metric-source';
import { countReadings } from './router-counts';
import { askInstances, whyNotServed, type InstanceAnswer } from './router-instances';

export interface RouterSourceOptions {
  /** Base URLs of all instances, for example `http://10.0.0.7:3000`. */
  readonly instances: readonly string[];
  /** For one instance, milliseconds. Default 5 s: the answer comes from the instance's memory. */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 5_000;

const WORDS = {
  notBuiltin: 'the in-app router knows error-rate, latency and requests, and answers no PromQL',
  none: 'there were no requests in the window',
  unlikeBuckets: 'the instances have different latency buckets, which cannot be summed',
} as const;

/** The router keeps five minutes. */
const MAX_WINDOW_SECONDS = 300;

/**
 * Metrics from the in-app cohort routers themselves, summed over all instances. The routers answer as of now: `at` is
 * only recorded. An instance that does not answer, or that serves other versions than those asked for, makes the whole
 * measurement an `error`: its requests are missing from both tracks, and a part is never taken for the whole.
 */
export function createRouterSource(options: RouterSourceOptions): ClosableMetricSource {
  const client = createHttpClient({ timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS });
  const look = lookTogether(client, options.instances);
  return {
    sample: (request) => sample(look, request),
    routed: (request) => routed(look, request),
    count: (request) => count(look, request),
    close: () => client.close(),
  };
}

interface Look {
  /** What was asked, in words. */
  readonly asked: string;
  readonly answers: readonly InstanceAnswer[];
}

/** With a window only where what is in it matters: everything else is the same in every document. */
type Ask = (request: Pick<SampleRequest, 'at' | 'signal'>, windowSeconds?: number) => Promise<Look>;

/**
 * One document of an instance tells the window, the subjects and what was counted at the weight: questions about one
 * moment that are asked while its document is under way share it. So they also speak of the same requests.
 */
function lookTogether(client: HttpClient, instances: readonly string[]): Ask {
  const underWay = new Map<number, Promise<Look>>();
  return (request, windowSeconds) => {
    const known = underWay.get(request.at);
    if (known !== undefined && windowSeconds === undefined) return known;
    const path = `${RouterDefaults.adminPath}${RouterPaths.metrics}?window=${windowSeconds ?? 1}`;
    const asked = `GET ${path} at ${instances.map(displayUrl).join(', ')}`;
    const look = askInstances(client, instances, path, request).then((answers) => ({ asked, answers }));
    underWay.set(request.at, look);
    const forget = (): void => {
      if (underWay.get(request.at) === look) underWay.delete(request.at);
    };
    look.then(forget, forget);
    return look;
  };
}

async function sample(look: Ask, request: SampleRequest): Promise<Sample> {
  const seconds = Math.min(MAX_WINDOW_SECONDS, Math.max(1, Math.floor(request.windowMs / 1000)));
  const { asked, answers } = await look(request, seconds);
  const counts = { canary: countsOf(answers, 'canary', request), stable: countsOf(answers, 'stable', request) };
  return {
    at: request.at,
    windowMs: seconds * 1000,
    metrics: request.metrics.map((metric): MetricSample => {
      const observe = (track: Cohort): Observation => ({
        query: `${asked}: ${describeBuiltin(metric.query)} of ${track} ${request.versions[track]}`,
        ...observeCounts(metric, counts[track], WORDS),
      });
      return { name: metric.name, canary: observe('canary'), stable: observe('stable') };
    }),
  };
}

async function count(look: Ask, request: CountRequest): Promise<readonly Counted[]> {
  const { asked, answers } = await look(request);
  return countReadings(answers, request, asked);
}

/**
 * The subjects that the instances have decided about since the weight changed, each once at each instance: a user's
 * requests all go the same way, so that a thousand of them are one piece of evidence.
 */
async function routed(look: Ask, request: RoutedRequest): Promise<Routed> {
  const { asked, answers } = await look(request);
  const query = `${asked}: subjects routed at ${request.weight ?? 0} %`;
  let canary = 0;
  let stable = 0;
  for (const { instance, answer } of answers) {
    if (typeof answer === 'string')
      return { kind: 'error', query, message: `instance ${displayUrl(instance)} ${answer}` };
    // One that is at another weight still has counted nothing of this one.
    if (answer.routed === undefined || answer.routed.weight !== request.weight) continue;
    canary += answer.routed.canary;
    stable += answer.routed.stable;
  }
  return { kind: 'counts', query, canary, stable, unit: 'subject', cluster: Math.max(1, answers.length) };
}

function countsOf(answers: readonly InstanceAnswer[], track: Cohort, request: SampleRequest): WindowCounts {
  const wrong = answers.flatMap((each) => whyNotServed(each, track, request) ?? []);
  if (answers.length === 0) return { kind: 'problem', message: 'the target has no instances' };
  if (wrong.length > 0) return { kind: 'problem', message: wrong.join('; ') };
  const windows = answers.flatMap(({ answer }) => (typeof answer === 'string' ? [] : answer.cohorts[track].window));
  return {
    kind: 'counts',
    requests: windows.reduce((sum, { requests }) => sum + requests, 0),
    errors: windows.reduce((sum, { errors }) => sum + errors, 0),
    histogram: sumHistograms(
      windows.map(({ histogram }) => ({ bounds: histogram.boundsMs, cumulative: histogram.cumulative })),
    ),
  };
}
