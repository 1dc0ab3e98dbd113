import { z } from 'zod';
import { HttpFailure, expectJson, shorten, type HttpAnswer } from './http';

/** What an instant query came to: one finite number, or why there is none. */
export type QueryResult =
  | { readonly kind: 'value'; readonly value: number }
  /** A successful answer without a single series. */
  | { readonly kind: 'empty' }
  /** The answer is NaN or infinite; `text` as Prometheus writes it. */
  | { readonly kind: 'not-a-number'; readonly text: string }
  | { readonly kind: 'error'; readonly message: string };

// The answer format of the HTTP API v1: https://prometheus.io/docs/prometheus/latest/querying/api/
const Point = z.tuple([z.number(), z.string()]);
const Success = z.object({
  status: z.literal('success'),
  data: z.discriminatedUnion('resultType', [
    z.object({ resultType: z.literal('scalar'), result: Point }),
    z.object({
      resultType: z.literal('vector'),
      result: z.array(z.object({ value: Point.optional(), histogram: z.unknown().optional() })),
    }),
    z.object({ resultType: z.literal('matrix'), result: z.unknown() }),
    z.object({ resultType: z.literal('string'), result: z.unknown() }),
  ]),
  warnings: z.array(z.string()).default([]),
});
const Failure = z.object({ status: z.literal('error'), errorType: z.string().optional(), error: z.string() });

/**
 * Reads an answer of `/api/v1/query`.
 *
 * @throws HttpFailure when the answer is not one of Prometheus at all.
 */
export function readAnswer(answer: HttpAnswer): QueryResult {
  const failure = Failure.safeParse(answer.json);
  if (failure.success) {
    const kind = failure.data.errorType === undefined ? '' : ` (${shorten(failure.data.errorType)})`;
    return { kind: 'error', message: `Prometheus refused the query${kind}: ${shorten(failure.data.error)}` };
  }
  const success = Success.safeParse(expectJson(answer));
  if (!success.success) throw new HttpFailure('body', 'answered JSON that is not a query result of Prometheus');
  const { data, warnings } = success.data;
  const [warning] = warnings;
  // A part of the data could not be asked, or was of the wrong kind: an empty answer then does not say that nothing
  // bad happened. `infos` are about the query's style.
  if (warning !== undefined) {
    return { kind: 'error', message: `Prometheus answered with a warning, so perhaps in part: ${shorten(warning)}` };
  }
  switch (data.resultType) {
    case 'scalar':
      return readNumber(data.result[1]);
    case 'vector': {
      const [first, ...others] = data.result;
      if (first === undefined) return { kind: 'empty' };
      if (others.length > 0) {
        const message = `the query answered ${data.result.length} series instead of one; aggregate them with sum()`;
        return { kind: 'error', message };
      }
      if (first.value === undefined) {
        return { kind: 'error', message: 'the query answered a native histogram; take a number of it' };
      }
      return readNumber(first.value[1]);
    }
    case 'matrix':
    case 'string':
      return { kind: 'error', message: `the query answered a ${data.resultType} instead of one number` };
  }
}

function readNumber(text: string): QueryResult {
  const value = /^[+-]?(\d|\.\d)/.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(value) ? { kind: 'value', value } : { kind: 'not-a-number', text: shorten(text) };
}
