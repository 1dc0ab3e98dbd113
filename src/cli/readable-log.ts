import { pino } from 'pino';
import type { Logger } from 'pino';
import { LOG_SERIALIZERS } from '../worker/log-serializers';
import { safeText } from './display-width';
import { paint } from './style';
import type { Look, Tone } from './style';
import { formatTime } from './units';

const LEVELS: Readonly<Record<number, readonly [string, Tone | null]>> = {
  10: ['trace', 'dim'],
  20: ['debug', 'dim'],
  30: ['info', null],
  40: ['warn', 'warn'],
  50: ['error', 'bad'],
  60: ['fatal', 'bad'],
};
/** Names of levels, as Temporal's server writes them. */
const LEVEL_NUMBERS: Readonly<Record<string, number>> = { debug: 20, info: 30, warn: 40, error: 50, fatal: 60 };
/**
 * What says nothing to a person beside the sentence and the release's id: parts of the line itself, what is the same on
 * every line, and names that only Temporal has a use for. The JSON log of `sluice worker` has them all.
 */
const LEFT_OUT = new Set([
  ...['level', 'time', 'ts', 'msg', 'pid', 'hostname', 'v', 'seq'],
  ...['sdkComponent', 'taskQueue', 'namespace', 'workflowType', 'isLocal', 'logging-call-at', 'stacktrace'],
  ...['taskToken', 'activityId', 'runId', 'workflowRunId', 'updateId', 'updateName'],
]);

/** A pino logger whose lines are for people: `14:03:07 info  release started  release=… service=…`. */
export function createReadableLogger(write: (line: string) => void, look: Look, level: string): Logger {
  return pino({ level, serializers: LOG_SERIALIZERS }, { write: (json: string) => write(readableLine(json, look)) });
}

/** One JSON line of a log as a person reads it; what is no JSON stays as it is. */
export function readableLine(json: string, look: Look): string {
  const entry = parse(json);
  if (entry === null) return safeText(json);
  const [name, tone] = LEVELS[levelOf(entry['level'])] ?? ['info', null];
  const time = formatTime(timeOf(entry));
  const rest = Object.entries(entry)
    .filter(([key]) => !LEFT_OUT.has(key))
    .map(([key, value]) => `${key}=${shown(value)}`);
  const line = `${paint(time, 'dim', look)} ${paint(name.padEnd(5), tone, look)} ${safeText(String(entry['msg'] ?? ''))}`;
  return rest.length === 0 ? line : `${line}  ${paint(safeText(rest.join(' ')), 'dim', look)}`;
}

function levelOf(level: unknown): number {
  return typeof level === 'string' ? (LEVEL_NUMBERS[level.toLowerCase()] ?? 30) : Number(level);
}

/** Pino's is in milliseconds, the server's a text. */
function timeOf({ time, ts }: Record<string, unknown>): number {
  if (typeof time === 'number') return time;
  const said = typeof ts === 'string' ? Date.parse(ts) : Number.NaN;
  return Number.isNaN(said) ? Date.now() : said;
}

function shown(value: unknown): string {
  if (typeof value === 'string') return /[\s"=]/u.test(value) ? JSON.stringify(value) : value;
  // Of an error the message says what a person needs; the stack is in the JSON log of `sluice worker`.
  if (typeof value === 'object' && value !== null && 'message' in value) return JSON.stringify(value.message);
  return JSON.stringify(value) ?? String(value);
}

function parse(json: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
