import { ReleaseError } from '../errors';
import { parseDuration, parsePercent } from '../spec/units';

/** `90s`, `5m`, `1h30m`, `250ms` to milliseconds, as in a spec. Throws `usage` for anything else. */
export function parseDurationArgument(text: string, what: string): number {
  const parsed = parseDuration(text);
  if (parsed.ok) return parsed.value;
  throw new ReleaseError('usage', `${what} is ${JSON.stringify(text)}, which ${parsed.reason}.`, {
    hint: 'Write a duration with its unit: 250ms, 30s, 5m, 1h30m.',
  });
}

/** `5%` or `0.5%` to a fraction, as in a spec. Throws `usage` for anything else. */
export function parsePercentArgument(text: string, what: string): number {
  const parsed = parsePercent(text);
  if (parsed.ok) return parsed.value;
  throw new ReleaseError('usage', `${what} is ${JSON.stringify(text)}, which ${parsed.reason}.`, {
    hint: 'Write a percentage with its sign: 5%, 0.5%.',
  });
}

/** A weight as people type it: `25` or `25%`, a whole number from 0 to 100. The hint says how it is written. */
export function parseWeightArgument(
  text: string,
  hint = 'Write a whole number from 0 to 100: sluice traffic checkout 25.',
): number {
  const match = /^(\d{1,3})\s*%?$/u.exec(text.trim());
  const value = match === null ? Number.NaN : Number(match[1]);
  if (!(value <= 100)) {
    throw new ReleaseError('usage', `The weight is ${JSON.stringify(text)}, which is no whole percentage.`, { hint });
  }
  return value;
}

/** `1h05m`, `5m00s`, `12.4s`, `250ms`: two units at most, of a width that hardly changes while it grows. */
export function formatDuration(ms: number): string {
  const value = Math.max(0, ms);
  if (value < 1000) return `${Math.round(value)}ms`;
  if (value < 10_000) return `${(Math.floor(value / 100) / 10).toFixed(1)}s`;
  const seconds = Math.floor(value / 1000);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${pad(seconds % 60)}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}h${pad(minutes % 60)}m`;
  return `${Math.floor(hours / 24)}d${pad(hours % 24)}h`;
}

/** The same in whole seconds: for what is still growing, and would flicker otherwise. */
export function formatElapsed(ms: number): string {
  return ms < 10_000 ? `${Math.max(0, Math.floor(ms / 1000))}s` : formatDuration(ms);
}

/** `02:10`, or `1:02:10` from an hour on. */
export function formatClock(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const rest = `${pad(Math.floor(seconds / 60) % 60)}:${pad(seconds % 60)}`;
  return seconds < 3600 ? rest : `${Math.floor(seconds / 3600)}:${rest}`;
}

/** A fraction as a percentage with three significant digits: `0.21 %`, `24.6 %`. */
export function formatPercent(fraction: number): string {
  return `${trimZeros((fraction * 100).toPrecision(3))} %`;
}

export function formatSeconds(seconds: number): string {
  return seconds < 1 ? `${trimZeros((seconds * 1000).toPrecision(3))} ms` : `${trimZeros(seconds.toPrecision(3))} s`;
}

export function formatValue(value: number | null, unit: 'ratio' | 'seconds' | 'count'): string {
  if (value === null) return 'none';
  if (unit === 'ratio') return formatPercent(value);
  return unit === 'seconds' ? formatSeconds(value) : formatCount(value);
}

/** `950`, `18.2k`, `3.1M`. */
export function formatCount(count: number): string {
  if (Math.abs(count) < 1000) return trimZeros(count.toPrecision(3));
  if (Math.abs(count) < 1e6) return `${(count / 1000).toFixed(1)}k`;
  return `${(count / 1e6).toFixed(1)}M`;
}

/** `14:03:07Z`: of a line about now. In UTC like every other time that is printed, so that logs can be compared. */
export function formatTime(at: number): string {
  return formatDate(at).slice('2026-11-21 '.length);
}

/** `2026-11-21 14:03:07Z`: for stories that are read later and elsewhere. */
export function formatDate(at: number): string {
  return new Date(at)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/u, 'Z');
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}

/** `0.210` to `0.21`, `5.00` to `5`; `1.00e+3`, which toPrecision makes of large numbers, to `1000`. */
function trimZeros(text: string): string {
  return text.includes('e') ? String(Number(text)) : text.includes('.') ? text.replace(/\.?0+$/u, '') : text;
}

/** A step as people count them, from 1. */
export function parseStepNumber(text: string): number {
  const number = /^\d{1,3}$/u.test(text) ? Number(text) : 0;
  if (number >= 1) return number;
  throw new ReleaseError('usage', `--step is ${JSON.stringify(text)}, which is no step's number.`, {
    hint: 'Steps count from 1, as `sluice status` prints them.',
  });
}

/** A TCP port, 0 for a free one. */
export function parsePort(text: string, what: string): number {
  const port = /^\d{1,5}$/u.test(text) ? Number(text) : Number.NaN;
  if (port <= 65_535) return port;
  throw new ReleaseError('usage', `${what} is ${JSON.stringify(text)}, which is no port.`, {
    hint: 'Write a number from 0 to 65535; 0 takes a free one.',
  });
}
