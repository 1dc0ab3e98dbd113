import type { MetricPolicy } from './verdict';

// How numbers of a verdict are written for people: `6.3 %`, `210 ms`, `1.3 s`, `2120`.

type Unit = MetricPolicy['unit'];

/** A value with its unit. `digits`: significant ones, 2 unless told otherwise. */
export function formatValue(value: number, unit: Unit, digits = 2): string {
  switch (unit) {
    case 'ratio':
      return `${significant(value * 100, digits)} %`;
    case 'seconds':
      return Math.abs(value) < 1 ? `${significant(value * 1000, digits)} ms` : `${significant(value, digits)} s`;
    case 'count':
      return significant(value, Math.max(digits, 3));
  }
}

/**
 * A value beside the limit it is held against, with as many digits as it takes to tell them apart: a value over the
 * limit is never written like the limit itself.
 */
export function formatAgainst(value: number, limit: number, unit: Unit): string {
  const limitText = formatLimit(limit, unit);
  for (let digits = 2; digits <= 12; digits += 1) {
    const text = formatValue(value, unit, digits);
    if (text !== limitText || value === limit) return text;
  }
  return formatValue(value, unit, 17);
}

/** A limit as its author wrote it: nothing is rounded away but floating-point noise. */
export function formatLimit(limit: number, unit: Unit): string {
  return formatValue(limit, unit, 12);
}

/** A count of requests or events; those extrapolated by a backend are fractional and are rounded to be read. */
export function formatCount(count: number): string {
  return String(Math.round(count));
}

/** A count with its noun: `1 request`, `2120 requests`. */
export function countOf(count: number, noun: string): string {
  const text = formatCount(count);
  return `${text} ${noun}${text === '1' ? '' : 's'}`;
}

/** How often: `once`, `twice`, `3 times`. */
export function timesOf(count: number): string {
  return count === 1 ? 'once' : count === 2 ? 'twice' : `${count} times`;
}

/**
 * So many of so many, beside which their share is written: `7 of 120`. Counts that a backend extrapolated are fractional,
 * and few of them rounded would give another share (6.4 of 11.5 are 56 %, 6 of 12 are not): `about 6 of 12`.
 */
export function formatPart(part: number, total: number, noun: string | null = null): string {
  const written = (some: number, all: number): string =>
    `${some} of ${all}${noun === null ? '' : ` ${noun}${all === 1 ? '' : 's'}`}`;
  const [few, all] = [Math.round(part), Math.round(total)];
  if (formatValue(few / all, 'ratio') === formatValue(part / total, 'ratio')) return written(few, all);
  // Of less than half an event "about 0" would say that there was none.
  if (few === 0 || all === 0) return written(Number(part.toFixed(1)), Number(total.toFixed(1)));
  return `about ${written(few, all)}`;
}

/** A probability: `0.0032`, `4.1e-9`. */
export function formatProbability(p: number): string {
  if (p === 0) return 'below 1e-300';
  return p < 1e-4 ? p.toExponential(1) : significant(p, 2);
}

function significant(value: number, digits: number): string {
  if (value === 0) return '0';
  const integerDigits = Math.floor(Math.log10(Math.abs(value))) + 1;
  // Digits before the point are never rounded away: 2120 stays 2120.
  return String(Number(value.toPrecision(Math.min(17, Math.max(digits, integerDigits)))));
}
