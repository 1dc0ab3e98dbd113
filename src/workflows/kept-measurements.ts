import { bytesAsJson, cutText } from '../analysis/bounded-text';
import { withoutHistogram } from '../analysis/without-histogram';
import type { Measurement, ReleaseState } from './api';

/**
 * What of measurements a release keeps and shows, so that its state fits into a payload of Temporal (2 MB, with the plan
 * beside it) whatever the spec asks: up to 50 metrics, each with query texts of thousands of characters. The usual
 * release, of a few metrics and steps, is far from these bounds.
 */

/** The newest ones that are kept. */
const MEASUREMENTS_KEPT = 60;

/** The newest ones together; and those that steps and events keep. */
const LIST_BYTES = 256 * 1024;
const STORY_BYTES = 192 * 1024;

const BARE_SENTENCE_CHARS = 300;

/**
 * Bounds what is kept, the newest as it is. Older measurements lose the texts of their queries, which the newer ones
 * have, too, and of a look's histogram all but the boundary that is shown; then the list is cut, and what steps and events keep has no more than its verdict and its sentence.
 */
export function boundKept(state: Pick<ReleaseState, 'measurements' | 'steps' | 'events'>): void {
  const newest = state.measurements.slice(-MEASUREMENTS_KEPT).reverse();
  const room = roomOf(LIST_BYTES);
  const kept: Measurement[] = [];
  for (const measurement of newest) {
    const fitting = room(measurement);
    if (fitting === null) break;
    kept.push(fitting);
  }
  state.measurements = kept.reverse();
  boundStory(state);
}

interface Reference {
  readonly evidence: Measurement;
  readonly replace: (evidence: Measurement) => void;
}

function boundStory({ steps, events }: Pick<ReleaseState, 'steps' | 'events'>): void {
  const references: Reference[] = [];
  // Steps first: of a measurement that both keep, the step's is what people are shown.
  for (const [index, step] of steps.entries()) {
    if (step.evidence === null) continue;
    references.push({ evidence: step.evidence, replace: (evidence) => (steps[index] = { ...step, evidence }) });
  }
  for (const [index, event] of events.entries()) {
    if (event.evidence === undefined) continue;
    references.push({ evidence: event.evidence, replace: (evidence) => (events[index] = { ...event, evidence }) });
  }
  references.sort((one, other) => other.evidence.at - one.evidence.at);
  const room = roomOf(STORY_BYTES);
  for (const { evidence, replace } of references) {
    const fitting = room(evidence) ?? bare(evidence);
    if (fitting !== evidence) replace(fitting);
  }
}

/**
 * Takes measurements in, as they are into one half, and without their queries and whole histograms into the rest; null
 * once it is full.
 */
function roomOf(bytes: number): (measurement: Measurement) => Measurement | null {
  let used = 0;
  return (measurement) => {
    const fitting = used + bytesOf(measurement) <= bytes / 2 ? measurement : withoutQueries(measurement);
    used += bytesOf(fitting);
    return used <= bytes ? fitting : null;
  };
}

function withoutQueries(measurement: Measurement): Measurement {
  const isWithout = measurement.metrics.every(
    ({ query, stableQuery, evidence }) =>
      query === '' &&
      stableQuery === undefined &&
      (evidence === undefined || (evidence.query === '' && evidence.batch?.histogram === undefined)),
  );
  if (isWithout) return measurement;
  return {
    ...measurement,
    metrics: measurement.metrics.map(({ evidence, stableQuery: _stableQuery, ...metric }) => ({
      ...metric,
      query: '',
      ...(evidence === undefined ? {} : { evidence: { ...withoutHistogram(evidence), query: '' } }),
    })),
  };
}

function bare(measurement: Measurement): Measurement {
  if (measurement.metrics.length === 0) return measurement;
  const { routing: _routing, kayenta: _kayenta, ...others } = measurement;
  return { ...others, sentence: cutText(measurement.sentence, BARE_SENTENCE_CHARS), metrics: [] };
}

/** A measurement is never changed, and is asked for at each look. */
const known = new WeakMap<Measurement, number>();

function bytesOf(measurement: Measurement): number {
  const before = known.get(measurement);
  if (before !== undefined) return before;
  const bytes = bytesAsJson(measurement);
  known.set(measurement, bytes);
  return bytes;
}
