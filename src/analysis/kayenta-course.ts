import type { KayentaPolicy, KayentaResult } from './kayenta-policy';
import type { Judgement, MetricVerdict, Verdict } from './verdict';

// How Kayenta's judge stands in a soak: a value of each look at a weight, and one question at the soak's end. The
// question itself is in `kayenta-report.ts`; this part is the workflow's.

/**
 * So many values of each metric and track are kept, the newest: an hour and more of looks a few times a minute, and with
 * 50 metrics still a fifth of what Temporal takes in one piece.
 */
export const POINTS_KEPT = 200;

/** What the looks at one weight saw of a metric, oldest first; null where a look saw no value. */
export interface KayentaPoints {
  readonly name: string;
  readonly canary: readonly (number | null)[];
  readonly stable: readonly (number | null)[];
}

/** Kayenta's answer about one weight. Its verdict is its own, beside that of the metrics. */
export interface KayentaReport {
  readonly verdict: Verdict;
  /** A sentence a person understands; of a verdict other than `pass` with those of the metrics that it is about. */
  readonly sentence: string;
  /** How many looks it is about, those without a value, too. */
  readonly looks: number;
  /** null where it was not asked, because nothing is left to compare with: then it has no say. */
  readonly result: Omit<KayentaResult, 'sentence'> | null;
}

/** The points with those of one more look. A value of fewer than `minRequests` requests is none. */
export function addPoints(
  { metrics }: KayentaPolicy,
  points: readonly KayentaPoints[],
  look: readonly MetricVerdict[],
  minRequests: number,
): readonly KayentaPoints[] {
  const valid = (value: number | null, requests: number | null): number | null =>
    requests !== null && requests < minRequests ? null : value;
  return metrics.map(({ name }) => {
    const seen = look.find((metric) => metric.name === name);
    const before = points.find((metric) => metric.name === name);
    const add = (values: readonly (number | null)[] = [], value: number | null): (number | null)[] =>
      [...values, value].slice(-POINTS_KEPT);
    return {
      name,
      canary: add(before?.canary, valid(seen?.canary ?? null, seen?.canaryRequests ?? null)),
      stable: add(before?.stable, valid(seen?.stable ?? null, seen?.stableRequests ?? null)),
    };
  });
}

type StepJudgement = Pick<Judgement, 'decision' | 'stepVerdict' | 'stepSentence'>;

/**
 * What a step comes to by its metrics and by Kayenta's last answer at this weight; null before it was asked, when a step
 * can fail, and not pass.
 */
export function withKayenta(step: StepJudgement, answer: KayentaReport | null): StepJudgement {
  const { decision, stepVerdict, stepSentence } = step;
  if (decision !== 'continue') return { decision, stepVerdict, stepSentence };
  if (answer === null) {
    if (stepVerdict !== 'pass') return { decision, stepVerdict, stepSentence };
    const waits = "Kayenta's judge has not been asked yet.";
    return { decision, stepVerdict: 'insufficient-data', stepSentence: `${stepSentence} ${waits}` };
  }
  const told = `${stepSentence} ${answer.sentence}`;
  if (answer.result === null) return { decision, stepVerdict, stepSentence: told };
  if (answer.verdict === 'fail') return { decision: 'fail', stepVerdict: 'fail', stepSentence: answer.sentence };
  // Of a step that does not pass by its metrics they have the last word: more of them may still come.
  if (stepVerdict !== 'pass') return { decision, stepVerdict, stepSentence: told };
  return { decision, stepVerdict: answer.verdict, stepSentence: answer.verdict === 'pass' ? told : answer.sentence };
}
