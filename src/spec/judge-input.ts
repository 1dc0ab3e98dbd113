import { z } from 'zod';
import type { EvidenceMetric, EvidencePolicy, HistogramBatch } from '../analysis/evidence-judge';
import type { ArmCounts, EventBatch } from '../analysis/event-evidence';
import { BOUNDS, DEFAULTS } from './defaults';
import { decimal, found, wholeNumber } from './fields';
import { checkJson, listOf, name, strictly } from './json-document';
import type { JsonResult } from './json-document';

/** Counts to be judged at once: what the evidence judge is told batch by batch during a release. */
export interface JudgeInput {
  readonly policy: EvidencePolicy;
  readonly metrics: readonly {
    readonly metric: EvidenceMetric;
    readonly batches: readonly (EventBatch | HistogramBatch)[];
  }[];
}

type Arm = ArmCounts | { readonly cumulative: readonly number[] };

const COUNT = `Allowed: a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`;

const arm = z.unknown().transform((input, context): Arm => {
  const problem = (path: readonly PropertyKey[], message: string): void =>
    context.addIssue({ code: 'custom', path: [...path], message });
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    problem([], `${found(input)} is no count of an arm. Allowed: {bad, total} or {cumulative}.`);
    return z.NEVER;
  }
  const keys = Object.keys(input);
  const unknown = keys.filter((key) => !['bad', 'total', 'cumulative'].includes(key));
  for (const key of unknown) {
    problem([], `unknown key ${found(key)} in the counts of an arm. Allowed: bad and total, or cumulative.`);
  }
  if (unknown.length > 0) return z.NEVER;
  const { bad, total, cumulative } = input as { bad?: unknown; total?: unknown; cumulative?: unknown };
  if (cumulative !== undefined && keys.length > 1) {
    problem([], 'cumulative stands beside bad or total. Allowed: {bad, total} or {cumulative}.');
    return z.NEVER;
  }
  return cumulative === undefined ? checkEvents(bad, total, problem) : checkHistogram(cumulative, problem);
});

type Tell = (path: readonly PropertyKey[], message: string) => void;

function checkEvents(bad: unknown, total: unknown, problem: Tell): ArmCounts {
  if (!isCount(total)) problem(['total'], notACount(total, 'the number of all requests'));
  if (!isCount(bad)) problem(['bad'], notACount(bad, 'the number of bad requests'));
  if (!isCount(total) || !isCount(bad)) return z.NEVER;
  if (bad <= total) return { bad, total };
  problem(['bad'], `${bad} is more than the total, ${total}. Allowed: a whole number from 0 to ${total}.`);
  return z.NEVER;
}

function checkHistogram(cumulative: unknown, problem: Tell): { readonly cumulative: readonly number[] } {
  const rule = 'Allowed: counts at or below each boundary, which never fall; the last one is the total';
  if (!Array.isArray(cumulative) || cumulative.length < 2) {
    const what = Array.isArray(cumulative) ? `a list of ${cumulative.length}` : found(cumulative);
    problem(['cumulative'], `${what} is no histogram. ${rule}, so two at least.`);
    return z.NEVER;
  }
  let before = 0;
  for (const [index, count] of (cumulative as unknown[]).entries()) {
    if (!isCount(count)) {
      problem(['cumulative', index], notACount(count, 'the requests at or below the boundary'));
      return z.NEVER;
    }
    if (count < before) {
      problem(['cumulative', index], `${count} is less than the count before it, ${before}. ${rule}.`);
      return z.NEVER;
    }
    before = count;
  }
  return { cumulative: cumulative as readonly number[] };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function notACount(value: unknown, meaning: string): string {
  return `${found(value)} is no count. ${COUNT}: ${meaning}.`;
}

const batch = strictly('batch', { canary: arm, stable: arm });

const metric = strictly('metric', { name: name('the metric'), batches: listOf(batch, 'batches') }).superRefine(
  ({ batches }, context) => {
    const first = batches[0]?.canary;
    if (first === undefined) return;
    for (const [index, each] of batches.entries()) {
      for (const track of ['canary', 'stable'] as const) {
        const problem = differs(each[track], first);
        if (problem !== null) context.addIssue({ code: 'custom', path: ['batches', index, track], message: problem });
      }
    }
  },
);

/** What is judged together has the same boundaries throughout. */
function differs(counts: Arm, first: Arm): string | null {
  const [has, wanted] = [sizeOf(counts), sizeOf(first)];
  if (has === wanted) return null;
  const rule = 'Allowed: the same boundaries, or {bad, total}, in both arms of all batches of a metric';
  const write = (size: number | null): string => (size === null ? '{bad, total}' : `a histogram of ${size} counts`);
  return `${write(has)}, and the metric's first batch has ${write(wanted)}. ${rule}.`;
}

function sizeOf(counts: Arm): number | null {
  return 'cumulative' in counts ? counts.cumulative.length : null;
}

const { alpha, tolerate } = DEFAULTS.analysis.compare;
const { clusters, plannedBatches } = DEFAULTS.analysis.evidence;

const judgeInput = strictly('input', {
  alpha: decimal(BOUNDS.alpha).default(alpha),
  tolerate: decimal(BOUNDS.tolerate).default(tolerate),
  clusters: decimal(BOUNDS.clusters).default(clusters),
  onset: strictly('onset', { plannedBatches: wholeNumber(BOUNDS.plannedBatches) })
    .nullable()
    .default({ plannedBatches }),
  metrics: listOf(metric, 'metrics, each with its name and its batches').superRefine((metrics, context) => {
    if (metrics.length === 0) {
      context.addIssue({ code: 'custom', message: 'the list is empty. Allowed: one metric at least.' });
    }
    for (const [index, { name: own }] of metrics.entries()) {
      const first = metrics.findIndex((other) => other.name === own);
      if (first === index) continue;
      const message = `${found(own)} is metrics[${first}], too. Allowed: a name of its own for each metric.`;
      context.addIssue({ code: 'custom', path: [index, 'name'], message });
    }
  }),
});

/** Checks counts to be judged; what is left out is as in a release. */
export function parseJudgeInput(document: unknown): JsonResult<JudgeInput> {
  const checked = checkJson(judgeInput, document);
  if (!checked.ok) return checked;
  const { metrics, ...rest } = checked.value;
  const described = metrics.map(({ name: own, batches }) => {
    const first = batches[0]?.canary;
    const kind: EvidenceMetric['kind'] = first !== undefined && 'cumulative' in first ? 'latency' : 'errors';
    // `metric` has made sure that all arms are of the one kind.
    return { metric: { name: own, kind }, batches: batches as readonly (EventBatch | HistogramBatch)[] };
  });
  const policy = {
    ...rest,
    minRequests: DEFAULTS.analysis.minRequests,
    metrics: described.map((each) => each.metric),
  };
  return { ok: true, value: { policy, metrics: described } };
}
