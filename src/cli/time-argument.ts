import { ReleaseError } from '../errors';
import { parseDuration } from '../spec/units';

const DATE = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})?)?$/u;

/** A moment, epoch milliseconds: a date in UTC or with its offset, `now`, or a duration for that long ago; null for none. */
export function parseTime(text: string, now: number): number | null {
  const trimmed = text.trim();
  if (trimmed === 'now') return now;
  const ago = parseDuration(trimmed);
  if (ago.ok) return now - ago.value;
  const match = DATE.exec(trimmed);
  if (match === null) return null;
  const isWhole = trimmed.length > '2026-11-21'.length;
  const at = Date.parse(`${trimmed.replace(' ', 'T')}${isWhole && match[1] === undefined ? 'Z' : ''}`);
  // 31 February is read as 3 March: what a person did not write is not meant.
  if (Number.isNaN(at)) return null;
  return new Date(Date.parse(`${trimmed.slice(0, 10)}T00:00:00Z`)).toISOString().startsWith(trimmed.slice(0, 10))
    ? at
    : null;
}

/** The same; throws `usage` for anything else. */
export function parseTimeArgument(text: string, what: string, now: number): number {
  const at = parseTime(text, now);
  if (at !== null) return at;
  throw new ReleaseError('usage', `${what} is ${JSON.stringify(text)}, which is no time.`, { hint: TIMES });
}

export const TIMES = 'Write a time in UTC, 2026-11-20T14:00Z or 2026-11-20, a duration for that long ago, 7d, or now.';
