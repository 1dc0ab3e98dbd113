import { mayPass, nextDelayMs, retryAfterMs } from '../../../src/targets/kubernetes/retry';

const policy = { maxTries: 4, budgetMs: 10_000, firstDelayMs: 100, maxDelayMs: 300 };

function answer(retryAfter?: string) {
  return {
    status: 429,
    headers: retryAfter === undefined ? {} : { 'retry-after': retryAfter },
    text: '',
    json: undefined,
  };
}

it.each([
  [200, false],
  [404, false],
  [409, false],
  [429, true],
  [500, true],
  [504, true],
])('%i may pass: %s', (status, passing) => {
  expect(mayPass(status)).toBe(passing);
});

it.each([
  [undefined, null],
  ['2', 2_000],
  ['0', 0],
  ['Thu, 01 Jan 1970 00:00:05 GMT', 4_000],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
  ['soon', null],
])('Retry-After: %s is a wish of %s ms', (value, wish) => {
  expect(retryAfterMs(answer(value), 1_000)).toBe(wish);
});

it.each([
  ['doubles', { tries: 2, elapsedMs: 0, wishMs: null, random: 0.5 }, 100],
  ['is capped', { tries: 3, elapsedMs: 0, wishMs: null, random: 0.5 }, 150],
  ['keeps the wish and adds jitter', { tries: 1, elapsedMs: 0, wishMs: 1_000, random: 0.5 }, 1_050],
  ['ends with the tries', { tries: 4, elapsedMs: 0, wishMs: null, random: 0 }, null],
  ['ends with the budget', { tries: 1, elapsedMs: 9_990, wishMs: null, random: 0.5 }, null],
  ['does not wait for what the budget forbids', { tries: 1, elapsedMs: 0, wishMs: 11_000, random: 0 }, null],
])('the wait %s', (_name, state, delay) => {
  expect(nextDelayMs(policy, state)).toBe(delay);
});
