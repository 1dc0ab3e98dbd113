import { clocksApart } from '../analysis/clocks-apart';
import { promDuration } from '../spec/query-template';
import {
  createHttpClient,
  describeHttpFailure,
  displayUrl,
  HttpFailure,
  type HttpAnswer,
  type HttpClient,
} from './http';

/** Where a Prometheus is, and how long it is waited for. */
export interface PrometheusAddress {
  /** Base URL, with a path prefix where the server has one: `http://prometheus:9090`. */
  readonly url: string;
  /** For one query, milliseconds; Prometheus is told to give up after the same time. */
  readonly timeoutMs: number;
}

export interface PrometheusOptions extends PrometheusAddress {
  /** Bearer token. */
  readonly token?: string;
  /** Largest answer accepted, bytes. Default 8 MiB: the buckets of a thousand targets at two moments. */
  readonly maxBytes?: number;
}

const MAX_BYTES = 8 * 1024 * 1024;

export function createPrometheusClient({ timeoutMs, token, maxBytes = MAX_BYTES }: PrometheusOptions): HttpClient {
  return createHttpClient({
    timeoutMs,
    maxBytes,
    ...(token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } }),
  });
}

export interface PrometheusQuestion<T> {
  readonly path: '/api/v1/query' | '/api/v1/query_range';
  readonly form: Readonly<Record<string, string>>;
  readonly read: (answer: HttpAnswer) => T;
  readonly signal?: AbortSignal;
  /** By how much the clock of the moments asked about is ahead of ours, milliseconds; null where it is not to be checked. */
  readonly ahead?: number | null;
  /** Told what the server's clock had come to, at least, when it answered. */
  readonly onClock?: ((ms: number) => void) | undefined;
}

/** How far a clock that says a moment now is ahead of ours. */
export function aheadOfOurs(present: number | undefined): number | null {
  return present === undefined ? null : present - Date.now();
}

/** A moment or a length of time as the API takes it. */
export function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}

/** `Prometheus at http://…`, to begin a sentence with. */
export function nameOf({ url }: PrometheusAddress): string {
  return `Prometheus at ${displayUrl(url)}`;
}

/**
 * Asks and reads.
 *
 * @throws HttpFailure without an answer, and with one from a server whose clock is wrong.
 */
export async function askPrometheus<T>(
  client: HttpClient,
  address: PrometheusAddress,
  { path, form, read, signal, ahead = null, onClock }: PrometheusQuestion<T>,
): Promise<T> {
  const sentAt = Date.now();
  const answer = await client.request({
    method: 'POST',
    url: `${address.url.replace(/\/+$/, '')}${path}`,
    body: new URLSearchParams({ ...form, timeout: promDuration(address.timeoutMs) }),
    ...(signal === undefined ? {} : { signal }),
  });
  const date = Date.parse(answer.headers['date'] ?? '');
  const apart = Number.isNaN(date) ? null : problemOf(date, { sentAt, receivedAt: Date.now(), ahead });
  if (apart !== null) throw new HttpFailure('body', apart);
  if (!Number.isNaN(date)) onClock?.(date);
  return read(answer);
}

/** The same; or says in a clause why there is nothing to read. */
export async function askOrSay<T>(
  client: HttpClient,
  address: PrometheusAddress,
  question: PrometheusQuestion<T>,
): Promise<T | string> {
  try {
    return await askPrometheus(client, address, question);
  } catch (error) {
    return `${nameOf(address)} ${describeHttpFailure(error)}`;
  }
}

interface Exchange {
  /** By our clock. */
  readonly sentAt: number;
  readonly receivedAt: number;
  readonly ahead: number | null;
}

/**
 * A clause about the server's clock; null when it goes as ours and as that of the moments does, or may do so.
 *
 * Its `Date` is in whole seconds, and of some moment while we waited, which may have been long: at a slow server, or
 * while this process stood still. So only what is beyond both is held against a clock:
 *
 * 1. when the answer was here, the server's clock had come to `Date` at least: it is ahead by the rest;
 * 2. when the question was sent, it had not come to the second after `Date` yet: it is behind by the rest.
 *
 * A weight changes, and is looked at, by Temporal's clock, which is further on than `ahead` by as long as the look
 * waited for a worker. So here it can only be told to be ahead of the server's; whether it is behind, `onClock` tells
 * who can ask Temporal for the time after the answer.
 */
function problemOf(date: number, { sentAt, receivedAt, ahead }: Exchange): string | null {
  const behindMs = sentAt - (date + 1_000);
  return (
    clocksApart(date - receivedAt, 'ahead of this one') ??
    clocksApart(behindMs, 'behind this one') ??
    (ahead === null ? null : clocksApart(behindMs + ahead, "behind Temporal's"))
  );
}
