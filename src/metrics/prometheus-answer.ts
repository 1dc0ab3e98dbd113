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
const Warnings = z.array(z.string()).default([]);
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
  warnings: Warnings,
});
/** `[boundary rule, lower end, upper end, count]`: https://prometheus.io/docs/prometheus/latest/querying/api/#native-histograms */
const NativeBucket = z.tuple([z.number(), z.string(), z.string(), z.string()]);
const NativePoint = z.tuple([z.number(), z.object({ count: z.string(), buckets: z.array(NativeBucket).default([]) })]);
const Matrix = z.object({
  status: z.literal('success'),
  data: z.object({
    resultType: z.literal('matrix'),
    result: z.array(
      z.object({
        metric: z.record(z.string(), z.string()),
        values: z.array(Point).default([]),
        histograms: z.array(NativePoint).default([]),
      }),
    ),
  }),
  warnings: Warnings,
});
const Failure = z.object({ status: z.literal('error'), errorType: z.string().optional(), error: z.string() });

/**
 * Reads an answer of `/api/v1/query`.
 *
 * @throws HttpFailure when the answer is not one of Prometheus at all.
 */
export function readAnswer(answer: HttpAnswer): QueryResult {
  const refused = readRefusal(answer);
  if (refused !== null) return { kind: 'error', message: refused };
  const success = Success.safeParse(expectJson(answer));
  if (!success.success) throw new HttpFailure('body', 'answered JSON that is not a query result of Prometheus');
  const { data, warnings } = success.data;
  const partial = describeWarning(warnings);
  if (partial !== null) return { kind: 'error', message: partial };
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

/** A number of an answer, as what its query came to. */
export function readNumber(text: string): QueryResult {
  const value = numberIn(text);
  return Number.isFinite(value) ? { kind: 'value', value } : { kind: 'not-a-number', text: shorten(text) };
}

/** One series at two moments: how it is written by Prometheus, null where it had no sample. */
export interface SeriesPair {
  readonly labels: Readonly<Record<string, string>>;
  readonly from: SeriesValue | null;
  readonly to: SeriesValue | null;
}

export type SeriesValue =
  | { readonly kind: 'number'; readonly text: string }
  /** The counts of all buckets with both of their ends, ascending. */
  | {
      readonly kind: 'native';
      readonly count: string;
      readonly buckets: readonly { readonly above: string; readonly le: string; readonly count: string }[];
    };

/** One series on a grid of moments. */
export interface SeriesRange {
  readonly labels: Readonly<Record<string, string>>;
  /** One for each moment; null where it had no sample. */
  readonly values: readonly (SeriesValue | null)[];
}

/** The series as they were at both ends of a step of the grid, counted from 0. */
export function pairsIn(series: readonly SeriesRange[], step: number): SeriesPair[] {
  return series.flatMap(({ labels, values }) => {
    const [from, to] = [values[step] ?? null, values[step + 1] ?? null];
    return from === null && to === null ? [] : [{ labels, from, to }];
  });
}

/** Moments a step apart, the first at `start`: epoch milliseconds. */
export interface RangeGrid {
  readonly start: number;
  readonly stepMs: number;
  readonly moments: number;
}

export type RangeResult =
  | { readonly kind: 'series'; readonly series: readonly SeriesRange[] }
  | { readonly kind: 'error'; readonly message: string };

/**
 * Reads an answer of `/api/v1/query_range` that was asked for the moments of a grid.
 *
 * @throws HttpFailure when the answer is not one of Prometheus at all.
 */
export function readRange(answer: HttpAnswer, grid: RangeGrid): RangeResult {
  const refused = readRefusal(answer);
  if (refused !== null) return { kind: 'error', message: refused };
  const matrix = Matrix.safeParse(expectJson(answer));
  if (!matrix.success) throw new HttpFailure('body', 'answered JSON that is not a range of Prometheus');
  const partial = describeWarning(matrix.data.warnings);
  if (partial !== null) return { kind: 'error', message: partial };
  const series = matrix.data.data.result.map(({ metric, values, histograms }): SeriesRange => {
    const placed = new Array<SeriesValue | null>(grid.moments).fill(null);
    const place = (at: number, value: SeriesValue): void => {
      const index = Math.round((at * 1000 - grid.start) / grid.stepMs);
      if (index >= 0 && index < grid.moments) placed[index] = value;
    };
    for (const [at, text] of values) place(at, { kind: 'number', text });
    for (const [at, histogram] of histograms) place(at, nativeValue(histogram));
    return { labels: metric, values: placed };
  });
  return { kind: 'series', series };
}

function nativeValue({ count, buckets }: z.output<typeof NativePoint>[1]): SeriesValue {
  return { kind: 'native', count, buckets: buckets.map(([, above, le, each]) => ({ above, le, count: each })) };
}

/** A number as Prometheus writes it; NaN and the infinities are themselves. */
export function numberIn(text: string): number {
  if (text === '+Inf') return Infinity;
  if (text === '-Inf') return -Infinity;
  return /^[+-]?(\d|\.\d)/.test(text) ? Number(text) : Number.NaN;
}

function readRefusal({ json }: HttpAnswer): string | null {
  const failure = Failure.safeParse(json);
  if (!failure.success) return null;
  const kind = failure.data.errorType === undefined ? '' : ` (${shorten(failure.data.errorType)})`;
  return `Prometheus refused the query${kind}: ${shorten(failure.data.error)}`;
}

/**
 * A part of the data could not be asked, or was of the wrong kind: an empty answer then does not say that nothing bad
 * happened. `infos` are about the query's style.
 */
function describeWarning([warning]: readonly string[]): string | null {
  return warning === undefined ? null : `Prometheus answered with a warning, so perhaps in part: ${shorten(warning)}`;
}
