import type { Observation } from '../analysis/sample';
import type { QueryResult } from './prometheus-answer';

/** A query, and what it came to. */
export interface Answered {
  readonly query: { /** As sent. */ readonly text: string };
  readonly result: QueryResult;
}

type Problem = NonNullable<Observation['problem']>;

/**
 * Bad of all requests. The denominator decides whether there is data; a numerator without a series then means that
 * nothing bad was ever counted.
 */
export function observeRatio(numerator: Answered | undefined, denominator: Answered | undefined): Observation {
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

/** A value, and the requests behind it where they are asked for. */
export function observeValue(expression: Answered | undefined, requests: Answered | undefined): Observation {
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
