import { z } from 'zod';
import type { Cohort } from '../router/protocol';
import { describeHttpFailure, displayUrl, expectJson, HttpFailure, type HttpClient } from './http';
import type { SampleRequest } from './metric-source';
import { mapBounded } from './pool';

const CONCURRENT_INSTANCES = 8;

// The part of the router's metrics document that is used; src/router/protocol.ts has the whole.
const Count = z.number().int().nonnegative();
const HistogramDocument = z.object({ boundsMs: z.array(z.number()), cumulative: z.array(Count) });
const CountsDocument = z.object({ requests: Count, errors: Count, histogram: HistogramDocument });
const CohortDocument = z.object({
  version: z.string().nullable(),
  window: z.object({
    requests: Count,
    errors: Count,
    histogram: HistogramDocument,
  }),
});
const MetricsAnswer = z.object({
  instance: z.string(),
  windowSeconds: z.number(),
  cohorts: z.object({ stable: CohortDocument, canary: CohortDocument }),
  // A router of before it counted them has none.
  routed: z.object({ weight: z.number(), stable: Count, canary: Count }).optional(),
  atWeight: z
    .object({ weight: z.number(), since: z.string(), stable: CountsDocument, canary: CountsDocument })
    .optional(),
});
export type MetricsAnswer = z.infer<typeof MetricsAnswer>;

/** One instance's document, or why there is none. */
export type InstanceAnswer = { readonly instance: string; readonly answer: MetricsAnswer | string };

/** The instance's document, or why there is none. */
async function ask(client: HttpClient, url: string, signal: AbortSignal | undefined): Promise<MetricsAnswer | string> {
  try {
    const answer = await client.request({ method: 'GET', url, ...(signal === undefined ? {} : { signal }) });
    const parsed = MetricsAnswer.safeParse(expectJson(answer));
    if (parsed.success) return parsed.data;
    throw new HttpFailure('body', 'answered JSON that is not a metrics document of the router');
  } catch (error) {
    return describeHttpFailure(error);
  }
}

/** Asks all instances for one and the same document. */
export function askInstances(
  client: HttpClient,
  instances: readonly string[],
  path: string,
  { signal }: Pick<SampleRequest, 'signal'>,
): Promise<InstanceAnswer[]> {
  return mapBounded(instances, CONCURRENT_INSTANCES, async (instance) => ({
    instance,
    answer: await ask(client, `${instance.replace(/\/+$/, '')}${path}`, signal),
  }));
}

/** Why an instance's numbers are not about the track that is meant; null when they are. */
export function whyNotServed(
  { instance, answer }: InstanceAnswer,
  track: Cohort,
  { versions }: Pick<SampleRequest, 'versions'>,
): string | null {
  if (typeof answer === 'string') return `instance ${displayUrl(instance)} ${answer}`;
  const { version } = answer.cohorts[track];
  if (version === versions[track]) return null;
  const served = version === null ? `has no ${track} version` : `serves ${version} as ${track}`;
  return `instance ${displayUrl(instance)} ${served}, not ${versions[track]}`;
}
