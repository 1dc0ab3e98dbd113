/**
 * Durations and percentages as people write them in a spec: `60s`, `1h30m`, `5%`. Strict on purpose: a number without
 * its unit, a space or a decimal hour is refused with a reason rather than guessed at.
 */

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  /** Why not, as the end of a sentence that begins with the text: `has no unit`. */
  | { readonly ok: false; readonly reason: string };

const DURATION_UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
  ['ms', 1],
] as const;

/** Regular expression of a duration: each unit at most once, the largest first. */
export const DURATION_PATTERN = '^(?=\\d)(\\d{1,9}d)?(\\d{1,9}h)?(\\d{1,9}m)?(\\d{1,9}s)?(\\d{1,9}ms)?$';

/** Regular expression of a percentage with at most four decimals. */
export const PERCENT_PATTERN = '^\\d{1,3}(\\.\\d{1,4})?%$';

const durationRegExp = new RegExp(DURATION_PATTERN);
const percentRegExp = new RegExp(PERCENT_PATTERN);

/** Milliseconds of `500ms`, `60s`, `5m`, `1h30m` or `2d`. */
export function parseDuration(text: string): Parsed<number> {
  if (!durationRegExp.test(text)) return { ok: false, reason: whyNoDuration(text) };
  let total = 0;
  for (const [, digits, unit] of text.matchAll(/(\d+)(ms|[dhms])/g)) {
    total += Number(digits) * (DURATION_UNITS.find(([name]) => name === unit)?.[1] ?? 0);
  }
  if (!Number.isSafeInteger(total)) return { ok: false, reason: 'is too long to count' };
  return { ok: true, value: total };
}

/** The shortest text that `parseDuration` reads back as the same number; `ms` is a whole number of milliseconds. */
export function formatDuration(ms: number): string {
  let rest = ms;
  let text = '';
  for (const [unit, size] of DURATION_UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) text += `${count}${unit}`;
  }
  return text === '' ? '0s' : text;
}

/** The fraction (0 to 1) that `5%` or `0.25%` stands for. */
export function parsePercent(text: string): Parsed<number> {
  if (!percentRegExp.test(text)) return { ok: false, reason: whyNoPercent(text) };
  const percent = Number(text.slice(0, -1));
  if (percent > 100) return { ok: false, reason: 'is above 100%' };
  return { ok: true, value: Math.round(percent * 10_000) / 1_000_000 };
}

/** `5%` for 0.05; at most four decimals, as `parsePercent` reads them. */
export function formatPercent(fraction: number): string {
  return `${Math.round(fraction * 1_000_000) / 10_000}%`;
}

function whyNoDuration(text: string): string {
  if (text === '') return 'is empty';
  if (/^\d+(\.\d+)?$/.test(text)) return 'has no unit';
  if (/\s/.test(text) && durationRegExp.test(text.replace(/\s/g, ''))) return 'has a space in it';
  if (/^-/.test(text)) return 'is negative';
  if (/^\d*\.\d+/.test(text)) return 'has a decimal point: write whole numbers, 1h30m for one and a half hours';
  const unknown = [...text.matchAll(/\d\s*([^\d\s]+)/g)].map(([, unit]) => unit ?? '');
  const unit = unknown.find((name) => !DURATION_UNITS.some(([known]) => known === name));
  if (unit !== undefined && /^\d+\s*\p{L}/u.test(text)) return `has the unknown unit "${unit}"`;
  if (/\d{10}/.test(text)) return 'has a number of more than nine digits';
  if (/^(\d+(ms|[dhms]))+$/.test(text)) return 'must name each unit once, the largest first';
  return 'is not a duration';
}

function whyNoPercent(text: string): string {
  if (/^\d+(\.\d+)?$/.test(text)) return 'has no percent sign';
  if (/^\d+(\.\d+)?\s+%$/.test(text)) return 'has a space before the percent sign';
  if (/^-/.test(text)) return 'is negative';
  if (/^\d+\.\d{5,}%$/.test(text)) return 'has more than four decimals';
  if (/^\d{4,}(\.\d+)?%$/.test(text)) return 'is above 100%';
  return 'is not a percentage';
}
