import { bytesAsJson, cutText } from '../analysis/bounded-text';
import { withoutHistogram } from '../analysis/without-histogram';
import type { MetricVerdict } from '../analysis/verdict';
import type { Measurement } from '../workflows/api';

/**
 * One measurement, as the workflow is told of it, which keeps and shows many: a payload of Temporal is 2 MB, and 50
 * metrics with queries as long as they may be are more than one.
 */
export const MEASUREMENT_BYTES = 96 * 1024;

/** Of the measurement's own sentence, and of what the routing was asked by. */
const SENTENCE_CHARS = 2_000;

/** How long texts may be, ever less: of the metrics that decided, which are to be understood, and of the others. */
const ROOMS = [
  ...[1_000, 200, 80, 40].map((others) => ({ deciding: Infinity, others })),
  ...[4_000, 2_000, 1_000, 500, 200, 80].map((deciding) => ({ deciding, others: 80 })),
];

/**
 * A measurement with its texts cut as far as it takes, those of the metrics that decided last. Numbers all stay, but for
 * those of a look's histogram at the boundaries that are not shown, which are as many as a text has letters.
 */
export function fitMeasurement(measurement: Measurement): Measurement {
  if (bytesAsJson(measurement) <= MEASUREMENT_BYTES) return measurement;
  let cut = measurement;
  for (const room of ROOMS) {
    cut = cutTexts(measurement, room);
    if (bytesAsJson(cut) <= MEASUREMENT_BYTES) break;
  }
  return cut;
}

function cutTexts(measurement: Measurement, { deciding, others }: (typeof ROOMS)[number]): Measurement {
  const { routing, verdict } = measurement;
  const decided = (metric: MetricVerdict): boolean => verdict !== 'pass' && metric.verdict === verdict;
  return {
    ...measurement,
    sentence: cutText(measurement.sentence, SENTENCE_CHARS),
    metrics: measurement.metrics.map((metric) => cutMetric(metric, decided(metric) ? deciding : others)),
    ...(routing === undefined ? {} : { routing: { ...routing, query: cutText(routing.query, SENTENCE_CHARS) } }),
  };
}

/** Clauses about targets are shown whole or not at all; and of so little of a query nobody sees which track's it is. */
const SHORTEST_CLAUSE = 200;

function cutMetric(metric: MetricVerdict, chars: number): MetricVerdict {
  const { stableQuery, ...others } = metric;
  const { evidence, note } = metric;
  const tooShort = chars < SHORTEST_CLAUSE;
  return {
    ...(tooShort ? others : metric),
    limit: cutText(metric.limit, chars),
    sentence: cutText(metric.sentence, chars),
    query: cutText(metric.query, chars),
    ...(stableQuery === undefined || tooShort ? {} : { stableQuery: cutText(stableQuery, chars) }),
    ...(note === undefined ? {} : { note: cutText(note, chars) }),
    ...(evidence === undefined
      ? {}
      : {
          evidence: {
            ...(Number.isFinite(chars) ? withoutHistogram(evidence) : evidence),
            sentence: cutText(evidence.sentence, chars),
            query: cutText(evidence.query, chars),
            dropped: chars > SHORTEST_CLAUSE ? evidence.dropped : [],
          },
        }),
  };
}
